"""One member of an operator's ensemble, as an operator."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from starcensus.theta import Box

from ._base import OPERATORS, AbstractSelection, ActsOn, Edges, Outside


@OPERATORS.register("member")
class MemberSelection(AbstractSelection):
    """p_sel of one member of an operator's ensemble; all else is as of the operator.

    **Arguments:**

    - `base`: the operator.
    - `member`: which, from 0.
    - `domain`, `outside`, `acts_on`: by default the operator's.

    Raises `ValueError` for a member that there is not.

    ```python
    first = MemberSelection(operator, 0)
    first.n_members, first.p_sel(4.0, 7.0, 0.3)
    ```
    """

    base: AbstractSelection
    member: int
    domain: Box
    outside: Outside
    acts_on: ActsOn

    def __init__(
        self,
        base: AbstractSelection,
        member: int,
        domain: Box | None = None,
        outside: Outside | None = None,
        acts_on: ActsOn | None = None,
    ):
        if not 0 <= member < base.n_members:
            raise ValueError(
                f"member is {member}; expected 0 to {base.n_members - 1}, for the ensemble has "
                f"{base.n_members}"
            )
        self.base, self.member = base, int(member)
        self.domain = domain or base.domain
        self.outside = outside or base.outside
        self.acts_on = acts_on or base.acts_on

    @classmethod
    def each(cls, base: AbstractSelection) -> tuple["MemberSelection", ...]:
        """All members of an ensemble."""
        return tuple(cls(base, member) for member in range(base.n_members))

    @property
    def n_members(self) -> int:
        return 1

    def edges(self) -> Edges:
        """Those of the operator."""
        return self.base.edges()

    def _object_members(
        self, log_mass: ArrayLike, log_age: ArrayLike, a_v: ArrayLike
    ) -> Float[Array, "member *n"]:
        theta = (log_mass, log_age, a_v)
        if self.acts_on != "mixed":
            return AbstractSelection._object_members(self, *theta)
        return self.base._object_members(*theta)[self.member][None]

    def _members_inside(
        self, log_mass: Float[Array, "n"], log_age: Float[Array, "n"], a_v: Float[Array, "n"]
    ) -> Float[Array, "member n"]:
        return self.base.members(log_mass, log_age, a_v)[self.member][None]

    def _on_grid_inside(
        self, log_mass: np.ndarray, log_age: np.ndarray, a_v: np.ndarray
    ) -> Float[Array, "member m t a"]:
        whole = self.base.on_tensor_grid(log_mass, log_age, a_v)
        return jnp.asarray(whole[self.member])[None]
