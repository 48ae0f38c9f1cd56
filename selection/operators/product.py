"""Two independent stages of one selection: p_sel is the product of their probabilities."""

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from starcensus.theta import AXES, Box

from ._base import AbstractSelection, ActsOn, Outside


class ProductSelection(AbstractSelection):
    """p_sel = first · second, given θ.

    The stages must be independent given θ, and act on the same thing. A typical pair is a learned
    operator and a `RecordedSelection` of the limits that the user imposed on recorded values. The
    domain is where both are known; outside it the product refuses if either does. Ensembles of
    equal size are paired; an ensemble of one goes with any.
    """

    first: AbstractSelection
    second: AbstractSelection
    domain: Box = eqx.field(init=False)
    outside: Outside = eqx.field(init=False)
    acts_on: ActsOn = eqx.field(init=False)

    def __post_init__(self) -> None:
        if self.first.acts_on != self.second.acts_on:
            raise ValueError(
                f"the first stage acts on the {self.first.acts_on}, the second on the "
                f"{self.second.acts_on}; a product needs both to act on the same: see with_acts_on"
            )
        sizes = (self.first.n_members, self.second.n_members)
        if 1 not in sizes and sizes[0] != sizes[1]:
            raise ValueError(f"ensembles of {sizes[0]} and {sizes[1]} members cannot be paired")
        limits = {}
        for axis in AXES:
            a, b = getattr(self.first.domain, axis), getattr(self.second.domain, axis)
            limits[axis] = (max(a[0], b[0]), min(a[1], b[1]))
        self.domain = Box(**limits)
        refuses = "refuse" in (self.first.outside, self.second.outside)
        self.outside = "refuse" if refuses else "zero"
        self.acts_on = self.first.acts_on

    @property
    def n_members(self) -> int:
        return max(self.first.n_members, self.second.n_members)

    def _members_inside(
        self, log_mass: Float[Array, " n"], log_age: Float[Array, " n"], a_v: Float[Array, " n"]
    ) -> Float[Array, "member n"]:
        theta = (log_mass, log_age, a_v)
        return self.first.members(*theta) * self.second.members(*theta)

    def on_tensor_grid(
        self, log_mass: np.ndarray, log_age: np.ndarray, a_v: np.ndarray
    ) -> Float[Array, "member m t a"]:
        nodes = (log_mass, log_age, a_v)
        return self.first.on_tensor_grid(*nodes) * self.second.on_tensor_grid(*nodes)

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        from .store import pack  # the table of kinds names this class

        arrays, metadata = {}, {}
        for name in ("first", "second"):
            nested, header = pack(getattr(self, name))
            arrays |= {f"{name}/{key}": values for key, values in nested.items()}
            metadata[name] = header
        return arrays, metadata

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, np.ndarray], metadata: dict[str, object]
    ) -> "ProductSelection":
        from .store import unpack  # the table of kinds names this class

        stages = []
        for name in ("first", "second"):
            prefix = f"{name}/"
            nested = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            stages.append(unpack(nested, metadata[name]))  # pyright: ignore
        return cls(*stages)
