"""Complete inside a box: every cluster of the box is catalogued, none outside it."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from starcensus.theta import Box

from ._base import AbstractSelection, ActsOn, Outside


class CompleteSelection(AbstractSelection):
    """p_sel = 1 inside `domain` and 0 outside.

    Build it with `complete(box)`.
    """

    domain: Box
    acts_on: ActsOn = "data"
    outside: Outside = "zero"

    @property
    def n_members(self) -> int:
        return 1

    def _members_inside(
        self, log_mass: Float[Array, "n"], log_age: Float[Array, "n"], a_v: Float[Array, "n"]
    ) -> Float[Array, "member n"]:
        return jnp.ones_like(log_mass)[None]

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        return {}, {
            "domain": self.domain.as_dict(),
            "acts_on": self.acts_on,
            "outside": self.outside,
        }

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, np.ndarray], metadata: dict[str, object]
    ) -> "CompleteSelection":
        return cls(
            domain=Box.from_dict(metadata["domain"]),  # pyright: ignore
            acts_on=metadata["acts_on"],  # pyright: ignore
            outside=metadata["outside"],  # pyright: ignore
        )


def complete(box: Box, acts_on: ActsOn = "data") -> CompleteSelection:
    """The operator of a complete catalogue of the clusters in `box`."""
    return CompleteSelection(domain=box, acts_on=acts_on)
