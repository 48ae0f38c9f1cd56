"""Parameters of mocks that lie on a lattice, and the continuous ones that they stand for.

A mock on a lattice stands for its cell, half a step to either side. At an end of the range the half
of the cell that lies beyond it is folded back, so that the density there is twice that elsewhere.
"""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ...networks.cnn.targets import JOINT, Grid

# Columns of the parameters, in the order of `Grid.continuous`.
PARAMETERS: tuple[str, ...] = (*JOINT, "log_r_eff_pc")


def in_cells(
    parameters: Float[np.ndarray, "n 4"],
    lattice: Mapping[str, float],
    rng: np.random.Generator,
    grid: Grid | None = None,
) -> Float[np.ndarray, "n 4"]:
    """Parameters moved evenly within half a step of the lattices that they lie on.

    **Arguments:**

    - `parameters`: `(n, 4)`, in the order of `Grid.continuous`.
    - `lattice`: steps by parameter; 0 is none. `rng`: of the places.
    - `grid`: what would leave its ranges is folded back; None folds nothing.

    Raises `ValueError` for another parameter or a step below 0.

    ```python
    truth = np.array([[7.0, 1.0, 4.0, 0.5]])
    in_cells(truth, {"log_age": 0.05}, np.random.default_rng(1))  # a log age of 6.975 to 7.025
    ```
    """
    moved = parameters.copy()
    for name, step in lattice.items():
        if name not in PARAMETERS or not (math.isfinite(step) and step >= 0):
            raise ValueError(
                f"lattice has {name!r} in steps of {step}; expected one of "
                f"{', '.join(PARAMETERS)} and a step of 0 or more"
            )
        column = PARAMETERS.index(name)
        moved[:, column] += rng.uniform(-step / 2, step / 2, len(moved))
        if grid is not None:
            axis = grid.continuous[column]
            below = np.abs(moved[:, column] - axis.low) + axis.low
            moved[:, column] = axis.high - np.abs(axis.high - below)
    return moved


def cell_log_prior(
    theta: Mapping[str, Float[np.ndarray, "*shape"]], lattice: Mapping[str, float], grid: Grid
) -> Float[np.ndarray, "*shape"]:
    """ln of the density of mocks drawn evenly from a lattice, up to a constant.

    It is 0, and ln 2 more for each parameter of the lattice in the half cell at an end of its
    range.

    ```python
    from starcensus.networks.cnn import Grid

    cell_log_prior({"a_v": np.array([0.02, 1.0])}, {"a_v": 0.1}, Grid())  # ln 2, 0
    ```
    """
    total = np.zeros(np.shape(next(iter(theta.values()))))
    for name, step in lattice.items():
        axis = getattr(grid, name)
        at_end = np.minimum(theta[name] - axis.low, axis.high - theta[name]) < step / 2
        total += np.where(at_end, math.log(2), 0.0)
    return total
