"""Numbers out of a grid of probabilities: points, marginals, quantiles, densities."""

import math

import numpy as np
from jaxtyping import Float

from .targets import JOINT, Axis, Grid

_CHUNK = 512


def softmax(logits: Float[np.ndarray, "n bins"]) -> Float[np.ndarray, "n bins"]:
    """Probabilities of logits, in double precision.

    ```python
    softmax(np.array([[0.0, np.log(3.0)]]))  # 0.25, 0.75
    ```
    """
    shares = np.exp(logits.astype(float) - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def decode(
    probability: Float[np.ndarray, "n bins"], axes: tuple[Axis, ...], radius_bins: float = 3.0
) -> Float[np.ndarray, "n axis"]:
    """One point for each object: the weighted mean of the bins about the most probable one.

    With two modes further apart than the radius it is in one of them, and not between (thesis of
    J. Bialopetravičius, section 3).

    **Arguments:**

    - `probability`: `(n, bins)`, over one axis or, in their order, over several.
    - `axes`: the bins along each axis.
    - `radius_bins`: distance in bins within which the mean is taken, over all axes together.

    Raises `ValueError` for probabilities whose number is not that of the bins.

    ```python
    axis = Grid().log_age
    decode(axis.encode(np.array([7.3]), 0.5), (axis,))  # 7.3
    ```
    """
    shape = tuple(axis.n_bins for axis in axes)
    if probability.shape[1] != math.prod(shape):
        raise ValueError(
            f"there are {probability.shape[1]} probabilities; expected {math.prod(shape)}, the "
            f"bins {shape}"
        )
    bins = np.indices(shape).reshape(len(shape), -1)
    centres = np.stack([axis.centres[i] for axis, i in zip(axes, bins, strict=True)], axis=1)
    found = np.empty((len(probability), len(axes)))
    for first in range(0, len(probability), _CHUNK):
        part = probability[first : first + _CHUNK].astype(float)
        peak = bins[:, part.argmax(1)]
        distance2 = sum(
            (i[None] - p[:, None]).astype(float) ** 2 for i, p in zip(bins, peak, strict=True)
        )
        near = np.where(distance2 <= radius_bins**2, part, 0.0)
        found[first : first + _CHUNK] = near @ centres / near.sum(1, keepdims=True)
    return found


def marginal(
    joint: Float[np.ndarray, "n bins"], grid: Grid, parameter: str
) -> Float[np.ndarray, "n bin"]:
    """Probabilities of the bins of one parameter of the joint head.

    `parameter` is `log_age`, `a_v` or `log_mass`; raises `ValueError` for another.

    ```python
    marginal(np.full((1, 2800), 1 / 2800), Grid(), "a_v")  # 0.1 in each of ten bins
    ```
    """
    if parameter not in JOINT:
        raise ValueError(f"parameter is {parameter!r}; expected one of {', '.join(JOINT)}")
    others = tuple(1 + i for i, name in enumerate(JOINT) if name != parameter)
    return joint.reshape(-1, *grid.joint_shape).sum(axis=others)


def quantiles(
    probability: Float[np.ndarray, "n bin"], axis: Axis, levels: tuple[float, ...]
) -> Float[np.ndarray, "n level"]:
    """Values below which a parameter lies with given probabilities, its density flat in each bin.

    **Arguments:**

    - `probability`: `(n, bin)`, of any normalisation.
    - `levels`: probabilities from 0 to 1; (0.16, 0.5, 0.84) gives the median and a 68% interval.

    Raises `ValueError` for a level outside.

    ```python
    quantiles(np.full((1, 10), 0.1), Axis(0.0, 3.0, 10), (0.16, 0.5, 0.84))  # 0.225, 1.5, 2.775
    ```
    """
    if not all(0 <= level <= 1 for level in levels):
        raise ValueError(f"levels are {levels}; expected probabilities from 0 to 1")
    below = np.concatenate([np.zeros((len(probability), 1)), probability.cumsum(1)], axis=1)
    below = below / below[:, -1:]
    found = [np.interp(levels, row, axis.edges) for row in below]
    return np.array(found, float).reshape(len(probability), len(levels))


def log_density(
    joint: Float[np.ndarray, "n bins"],
    size: Float[np.ndarray, "n bin"],
    parameters: Float[np.ndarray, "n 4"],
    grid: Grid,
) -> Float[np.ndarray, "n"]:
    """Log density that the bins give to parameters: probability of a bin over its volume.

    In the units of a density over continuous parameters, with which it may be compared.

    **Arguments:**

    - `joint`: `(n, bins)`, probabilities of the joint head. `size`: `(n, bin)`, of the size head,
      which is independent of it.
    - `parameters`: `(n, 4)`, (log_age, a_v, log_mass, log_r_eff_pc).

    Parameters outside the bins have the density 0.

    ```python
    flat = np.full((1, 2800), 1 / 2800), np.full((1, 14), 1 / 14)
    log_density(*flat, np.array([[7.0, 1.0, 4.0, 0.5]]), Grid())  # -ln of the whole volume
    ```
    """
    axes = grid.continuous
    found = [
        np.floor((values - axis.edges[0]) / axis.width).astype(int)
        for axis, values in zip(axes, parameters.T, strict=True)
    ]
    inside = np.all(
        [(i >= 0) & (i < axis.n_bins) for i, axis in zip(found, axes, strict=True)], axis=0
    )
    *bins, size_bin = (np.where(inside, i, 0) for i in found)
    rows = np.arange(len(parameters))
    cube = joint.reshape(-1, *grid.joint_shape)
    shares = cube[(rows, *bins)].astype(float) * size[rows, size_bin]
    volume = math.prod(axis.width for axis in axes)
    with np.errstate(divide="ignore"):
        return np.where(inside, np.log(shares / volume), -np.inf)
