"""A tabulated operator: p_sel on a rectilinear grid of θ, interpolated in the logit."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from starcensus.theta import AXES, Box

from ._base import OPERATORS, AbstractSelection, ActsOn, Outside
from .facts import SurveyFacts, learned_facts

_FLOOR = 1e-9


@OPERATORS.register("grid")
class GridSelection(AbstractSelection):
    """Trilinear interpolation of logit p between the nodes of a grid.

    Probabilities are clipped to [1e-9, 1 − 1e-9] before the logit is taken. Continuous everywhere,
    differentiable except across the planes of nodes. Build it from probabilities with
    `GridSelection.from_probabilities`, or from another operator with `tabulate`.

    **Arguments:**

    - `log_mass`, `log_age`, `a_v`: increasing nodes of each axis (log10 M_sun, log10 yr, mag), at
      least two.
    - `logit`: `(member, log_mass, log_age, a_v)`.
    - `domain`: where the operator is known, inside the nodes.
    - `outside`: `"refuse"`, `"zero"` or `"clip"`, what it says beyond its domain.
    - `acts_on`: `"data"` or `"truth"`, what the survey's selection looked at.
    - `learned_for`: the survey that it was learned in, see `SurveyFacts`.

    Raises `ValueError` for nodes, logits or a domain that do not fit each other.

    ```python
    nodes = (np.array([3.0, 4.0, 5.0]), np.array([6.0, 9.0]), np.array([0.0, 2.0]))
    p = np.broadcast_to(np.array([0.1, 0.5, 0.9])[:, None, None], (3, 2, 2))
    GridSelection.from_probabilities(nodes, p).p_sel(4.5, 7.0, 0.3)
    ```
    """

    log_mass: Float[Array, "i"] | Float[np.ndarray, "i"]
    log_age: Float[Array, "j"] | Float[np.ndarray, "j"]
    a_v: Float[Array, "k"] | Float[np.ndarray, "k"]
    logit: Float[Array, "member _ _ _"] | Float[np.ndarray, "member _ _ _"]
    domain: Box
    outside: Outside = "refuse"
    acts_on: ActsOn = "data"
    learned_for: SurveyFacts | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        for axis in AXES:
            nodes = np.asarray(getattr(self, axis))
            if nodes.ndim != 1 or len(nodes) < 2 or not (np.diff(nodes) > 0).all():
                raise ValueError(
                    f"the grid's nodes in {axis} are {nodes}; expected two or more, increasing"
                )
            low, high = getattr(self.domain, axis)
            if low < nodes[0] - 1e-9 or high > nodes[-1] + 1e-9:
                raise ValueError(
                    f"the domain's {axis} {low:g} to {high:g} goes beyond the grid's nodes "
                    f"{nodes[0]:g} to {nodes[-1]:g}; narrow the domain"
                )
        expected = tuple(len(getattr(self, axis)) for axis in AXES)
        if self.logit.shape[1:] != expected or not np.isfinite(np.asarray(self.logit)).all():
            raise ValueError(
                f"logit has shape {self.logit.shape}; expected (member, "
                f"{', '.join(map(str, expected))}), all finite"
            )

    @classmethod
    def from_probabilities(
        cls,
        nodes: Sequence[np.ndarray],
        p: np.ndarray,
        domain: Box | None = None,
        outside: Outside = "refuse",
        acts_on: ActsOn = "data",
        learned_for: SurveyFacts | None = None,
    ) -> "GridSelection":
        """From probabilities at the nodes of a grid.

        **Arguments:**

        - `nodes`: (log_mass, log_age, a_v), increasing nodes of each axis.
        - `p`: `(log_mass, log_age, a_v)`, or with a leading axis of the ensemble's members.
        - `domain`: by default the whole grid.
        - `outside`, `acts_on`, `learned_for`: as of the class.

        Raises `ValueError` if a probability is NaN or outside [0, 1].
        """
        axes = [np.array(n, float) for n in nodes]
        values = np.array(p, float)
        if values.ndim == 3:
            values = values[None]
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(
                f"p runs from {values.min():g} to {values.max():g}; expected probabilities, "
                "without NaN"
            )
        clipped = np.clip(values, _FLOOR, 1 - _FLOOR)
        whole = Box(*((float(n[0]), float(n[-1])) for n in axes))
        return cls(
            log_mass=axes[0],
            log_age=axes[1],
            a_v=axes[2],
            logit=np.log(clipped) - np.log1p(-clipped),
            domain=domain or whole,
            outside=outside,
            acts_on=acts_on,
            learned_for=learned_for,
        )

    @property
    def n_members(self) -> int:
        return self.logit.shape[0]

    def _members_inside(
        self, log_mass: Float[Array, "n"], log_age: Float[Array, "n"], a_v: Float[Array, "n"]
    ) -> Float[Array, "member n"]:
        dtype = jnp.result_type(float)
        table = jnp.asarray(self.logit, dtype)
        cells = []
        for axis, x in zip(AXES, (log_mass, log_age, a_v), strict=True):
            nodes = jnp.asarray(getattr(self, axis), dtype)
            x = jnp.asarray(x, dtype)
            lower = jnp.clip(jnp.searchsorted(nodes, x, side="right") - 1, 0, len(nodes) - 2)
            cells.append((lower, (x - nodes[lower]) / (nodes[lower + 1] - nodes[lower])))
        logit = jnp.zeros((self.n_members, cells[0][0].shape[0]), dtype)
        for corner in np.ndindex(2, 2, 2):
            index = tuple(lower + step for (lower, _), step in zip(cells, corner, strict=True))
            weight = jnp.ones_like(cells[0][1])
            for (_, fraction), step in zip(cells, corner, strict=True):
                weight = weight * (fraction if step else 1 - fraction)
            logit = logit + weight[None] * table[:, index[0], index[1], index[2]]
        return jax.nn.sigmoid(logit)


def tabulate(
    selection: AbstractSelection, log_mass: ArrayLike, log_age: ArrayLike, a_v: ArrayLike
) -> GridSelection:
    """An operator on the grid of the given nodes, every member of it.

    `log_mass` in log10 M_sun, `log_age` in log10 yr, `a_v` in mag: increasing nodes. Raises
    `SelectionDomainError` where the operator refuses a node.

    ```python
    tabulate(operator, np.linspace(3.0, 6.0, 31), np.linspace(6.0, 9.0, 31), np.arange(0.0, 3.0))
    ```
    """
    nodes = [np.asarray(n, float) for n in (log_mass, log_age, a_v)]
    mesh = np.meshgrid(*nodes, indexing="ij")
    selection.check_points(*mesh)
    p = np.asarray(selection.members(*mesh), float)
    return GridSelection.from_probabilities(
        nodes,
        np.clip(p, 0, 1),
        outside=selection.outside,
        acts_on=selection.acts_on,
        learned_for=next(iter(learned_facts(selection)), None),
    )
