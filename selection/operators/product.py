"""Two independent stages of one selection: p_sel is the product of their probabilities."""

import numpy as np
from jaxtyping import Array, ArrayLike, Float

from starcensus.theta import AXES, Box

from ._base import OPERATORS, AbstractSelection, ActsOn, Edges, Outside


@OPERATORS.register("product")
class ProductSelection(AbstractSelection):
    """p_sel = first · second, given θ.

    The stages must be independent given θ. A typical pair is a learned operator and the
    `RecordedLimits` of a sample. Ensembles of equal size are paired; an ensemble of one goes with
    any.

    **Arguments:**

    - `first`, `second`: operators of θ.
    - `domain`: by default where both stages are known; a stage that clips is known everywhere.
    - `outside`: by default `"refuse"` if either stage refuses, else `"zero"` if either gives 0.
    - `acts_on`: by default what both stages act on; `"mixed"` if one acts on the data and one on
      the truth: the latter alone multiplies the objects' terms.

    Raises `ValueError` for domains that do not overlap, or ensembles of different sizes above one.

    ```python
    limits = complete(Box((3.5, 6.0), (6.0, 9.0), (0.0, 2.0)))
    ProductSelection(operator, RecordedSelection(limits, sigma=(0.1, 0.2, 0.0))).acts_on
    ```
    """

    first: AbstractSelection
    second: AbstractSelection
    domain: Box
    outside: Outside
    acts_on: ActsOn

    def __init__(
        self,
        first: AbstractSelection,
        second: AbstractSelection,
        domain: Box | None = None,
        outside: Outside | None = None,
        acts_on: ActsOn | None = None,
    ):
        sizes = (first.n_members, second.n_members)
        if 1 not in sizes and sizes[0] != sizes[1]:
            raise ValueError(f"ensembles of {sizes[0]} and {sizes[1]} members cannot be paired")
        self.first, self.second = first, second
        says = (first.outside, second.outside)
        self.domain = domain or _common_domain(first, second)
        self.outside = outside or min(says, key=("refuse", "zero", "clip").index)
        same = first.acts_on == second.acts_on
        self.acts_on = acts_on or (first.acts_on if same else "mixed")

    @property
    def n_members(self) -> int:
        return max(self.first.n_members, self.second.n_members)

    def edges(self) -> Edges:
        """Those of both stages."""
        ours = AbstractSelection.edges(self)
        first, second, third = (
            tuple(sorted({*a, *b, *c}))
            for a, b, c in zip(ours, self.first.edges(), self.second.edges(), strict=True)
        )
        return first, second, third

    def _object_members(
        self, log_mass: ArrayLike, log_age: ArrayLike, a_v: ArrayLike
    ) -> Float[Array, "member *n"]:
        theta = (log_mass, log_age, a_v)
        if self.acts_on != "mixed":
            return AbstractSelection._object_members(self, *theta)
        return self.first._object_members(*theta) * self.second._object_members(*theta)

    def _members_inside(
        self, log_mass: Float[Array, " n"], log_age: Float[Array, " n"], a_v: Float[Array, " n"]
    ) -> Float[Array, "member n"]:
        theta = (log_mass, log_age, a_v)
        return self.first.members(*theta) * self.second.members(*theta)

    def _on_grid_inside(
        self, log_mass: np.ndarray, log_age: np.ndarray, a_v: np.ndarray
    ) -> Float[Array, "member m t a"]:
        nodes = (log_mass, log_age, a_v)
        return self.first.on_tensor_grid(*nodes) * self.second.on_tensor_grid(*nodes)


def _common_domain(first: AbstractSelection, second: AbstractSelection) -> Box:
    stages = (first, second)
    ending = [stage for stage in stages if stage.outside != "clip"]
    limits = {}
    for axis in AXES:
        lows, highs = zip(*(getattr(s.domain, axis) for s in ending or stages), strict=True)
        # Two stages that clip do so beyond both their domains: within the hull they differ.
        limits[axis] = (max(lows), min(highs)) if ending else (min(lows), max(highs))
    return Box(**limits)
