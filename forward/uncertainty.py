"""The few directions in which a learned operator's uncertainty moves an expected catalogue.

The deviations of an operator's logit at the nodes of a quadrature are D z with independent standard
normal z. Most of these numbers move logit p_sel where hardly any cluster is, so D is turned to its
principal directions under the weight of the expected catalogue, λ p_sel: the eigenvectors V of
D W Dᵀ, of which the first K hold all but a hundredth of the variance. As V is orthogonal, z' = Vᵀ z
are independent and standard normal too, and the same V turns the deviations anywhere else, so that
one z' moves the expected number and every object's own term together.
"""

import dataclasses

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ..selection import AbstractSelection, deviating, deviations
from .population import Population
from .rate import SelectionGrid

# Of the variance of logit p_sel, under the weight λ p_sel.
KEPT = 0.99
# Points that are evaluated together: one program serves any number of them.
_BLOCK = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class OperatorDirections:
    """A grid that deviates, and how its directions came about.

    **Arguments:**

    - `grid`: with the deviations of the K directions that are kept.
    - `turn`: `(direction, K)`, columns of V, from the operator's own numbers to these.
    - `kept`: share of the variance of logit p_sel that they hold.
    - `logit_sd`: root mean square of that deviation, under the weight λ p_sel.
    - `count_sd`: standard deviation of ln of the expected number of catalogued clusters, to first
      order, by all of the operator's numbers; beside n^−½ of n clusters it says whether the
      uncertainty can matter.
    """

    grid: SelectionGrid
    turn: Float[np.ndarray, "direction k"]
    kept: float
    logit_sd: float
    count_sd: float

    def at(
        self, selection: AbstractSelection, theta: Float[np.ndarray, "*n 3"]
    ) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "k *n"]]:
        """p_sel at θ, and what the K numbers add to its logit.

        **Arguments:**

        - `selection`: the operator of the grid.
        - `theta`: `(…, 3)`, log10 M_sun, log10 yr, mag.
        """
        moving = deviating(selection)
        flat = theta.reshape(-1, 3)
        rows = np.arange(-(-len(flat) // _BLOCK) * _BLOCK) % len(flat)
        blocks = [
            np.asarray(moving.members(*flat[rows[i : i + _BLOCK]].T), float)
            for i in range(0, len(rows), _BLOCK)
        ]
        found = np.concatenate(blocks, axis=1)[:, : len(flat)]
        turned = np.tensordot(self.turn.T, deviations(found), axes=1)
        return found[0].reshape(theta.shape[:-1]), turned.reshape(-1, *theta.shape[:-1])


def with_uncertainty(
    grid: SelectionGrid, selection: AbstractSelection, population: Population
) -> OperatorDirections:
    """The directions in which an operator's uncertainty moves an expected catalogue.

    **Arguments:**

    - `grid`: the operator at the nodes, of `selection_grid`.
    - `selection`: the same operator.
    - `population`: says where clusters are expected.

    Raises `UncertaintyError` as `deviating`.

    ```python
    from starcensus.networks import random_mlp

    networks = (random_mlp((3, 8), key=jax.random.key(0)),)
    known = LogitUncertainty(np.array([4.0, 7.5, 1.0]), np.ones(3), 0.1 * np.eye(20))
    uncertain = NetworkSelection(networks, population.box, uncertainty=known)
    with_uncertainty(selection_grid(uncertain, population), uncertain, population).kept
    ```
    """
    nodes = [rule.nodes for rule in grid.rules]
    found = deviations(np.asarray(deviating(selection).on_tensor_grid(*nodes), float))
    weight = np.maximum(np.asarray(grid.detected_density(population), float), 0.0)
    weight = weight / weight.sum()
    flat = found.reshape(len(found), -1)
    variance, turn = np.linalg.eigh((flat * weight.ravel()) @ flat.T)
    variance, turn = np.maximum(variance[::-1], 0.0), turn[:, ::-1]
    share = np.cumsum(variance) / max(variance.sum(), 1e-300)
    k = int(np.searchsorted(share, KEPT)) + 1
    turn = turn[:, :k]
    moved = np.tensordot(turn.T, found, axes=1)
    made = eqx.tree_at(lambda g: g.deviations, grid, moved, is_leaf=lambda x: x is None)
    # d ln Λ / dz = Σ w (1 − p) d.
    pull = flat @ (weight * (1 - np.asarray(grid.p_sel))).ravel()
    return OperatorDirections(
        made,
        turn,
        float(share[k - 1]),
        float(np.sqrt(variance.sum())),
        float(np.sqrt(pull @ pull)),
    )
