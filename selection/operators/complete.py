"""Complete inside a box: every cluster of the box is catalogued, none outside it."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from starcensus.theta import Box

from ._base import OPERATORS, AbstractSelection, ActsOn, Outside


@OPERATORS.register("complete")
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


def complete(box: Box, acts_on: ActsOn = "data") -> CompleteSelection:
    """The operator of a complete catalogue of the clusters in `box`.

    **Arguments:**

    - `box`: of θ.
    - `acts_on`: `"data"` where the box was applied to recorded values, `"truth"` otherwise.

    ```python
    complete(Box((4.0, 6.0), (6.0, 9.0), (0.0, 2.0))).p_sel(3.9, 7.0, 0.5)  # 0
    ```
    """
    return CompleteSelection(domain=box, acts_on=acts_on)
