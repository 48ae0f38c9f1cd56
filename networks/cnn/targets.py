"""Bins of age, extinction, mass, size and visibility: targets of a network, and its answers read.

A parameter is a Gaussian about its true value, integrated over each bin. Its value at the bins'
centres, which the thesis of J. Bialopetravičius (Vilnius) may have used, moves the mean of a joint
target of sigma 0.25 bin by up to 0.27 bin; the integral by 0.09 bin.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr

from starcensus.theta import AXES

# Sigmas of the thesis, section 3: of each axis of the joint head, and of the others.
SIGMA_JOINT = 0.25
SIGMA_SINGLE = 0.5
# Axes of the joint head, in its order.
JOINT = ("log_age", "a_v", "log_mass")


@dataclasses.dataclass(frozen=True)
class Axis:
    """Bins of equal width in one parameter.

    **Arguments:**

    - `low`, `high`: range of the training clusters, in the unit of the parameter.
    - `n_bins`: number of bins, with the padding.
    - `padding`: bins on each side that lie beyond the range, so that a target at its end is not
      cut off.

    Raises `ValueError` for a range or numbers that leave no bin.

    ```python
    Axis(0.0, 3.0, 10).edges  # -0.375 to 3.375 in steps of 0.375
    ```
    """

    low: float
    high: float
    n_bins: int
    padding: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"an axis from {self.low} to {self.high}; expected low below high")
        if self.padding < 0 or self.n_bins - 2 * self.padding < 1:
            raise ValueError(
                f"{self.n_bins} bins with {self.padding} of padding on each side; expected one "
                "bin or more inside"
            )

    @property
    def width(self) -> float:
        """Width of a bin."""
        return (self.high - self.low) / (self.n_bins - 2 * self.padding)

    @property
    def edges(self) -> Float[np.ndarray, "edge"]:
        """Edges of the bins, one more than there are bins."""
        return self.low + self.width * (np.arange(self.n_bins + 1) - self.padding)

    @property
    def centres(self) -> Float[np.ndarray, "bin"]:
        """Middles of the bins."""
        return self.edges[:-1] + self.width / 2

    def encode(
        self, values: Float[np.ndarray, "n"], sigma_bins: float
    ) -> Float[np.ndarray, "n bin"]:
        """Gaussians about values, integrated over each bin; rows sum to 1.

        **Arguments:**

        - `values`: `(n,)`; those beyond the outer edges count as the edges.
        - `sigma_bins`: standard deviation in bins.

        Raises `ValueError` for a value that is NaN.

        ```python
        Axis(0.0, 3.0, 10).encode(np.array([0.5625]), 0.5)[0, 1:4]  # 0.157, 0.683, 0.157
        ```
        """
        if np.isnan(values).any():
            raise ValueError("a value to encode is NaN; expected a number")
        at = (np.clip(values, self.edges[0], self.edges[-1]) - self.edges[0]) / self.width
        below = ndtr((np.arange(self.n_bins + 1) - at[:, None]) / sigma_bins)
        shares = np.diff(below, axis=1)
        return shares / shares.sum(1, keepdims=True)

    def encode_cells(
        self, values: Float[np.ndarray, "n"], width: float
    ) -> Float[np.ndarray, "n bin"]:
        """Shares of cells of some width about values in each bin; rows sum to 1.

        **Arguments:**

        - `values`: `(n,)`; those beyond the outer edges count as the edges.
        - `width`: of a cell, in the unit of the parameter; with 0 a value is in one bin alone.

        Raises `ValueError` for a value that is NaN.

        ```python
        Axis(0.0, 3.0, 10).encode_cells(np.array([0.4]), 0.1)[0, 1:3]  # 0.25, 0.75
        ```
        """
        if np.isnan(values).any():
            raise ValueError("a value to encode is NaN; expected a number")
        # A cell of no width would be divided by; one of a millionth of a bin is the same.
        width = max(width, 1e-6 * self.width)
        inside = np.clip(values, self.edges[0] + width / 2, self.edges[-1] - width / 2)
        return np.diff(np.clip((self.edges - inside[:, None]) / width + 0.5, 0.0, 1.0), axis=1)


@dataclasses.dataclass(frozen=True)
class Grid:
    """Bins of all heads: the joint head has `log_age` × `a_v` × `log_mass`.

    The ranges are those of the thesis for M83 at 4.5 Mpc, whose sizes of 0.04 to 0.4 arcsec are
    0.87 to 8.7 pc; its numbers of bins are kept.

    **Arguments:**

    - `log_age`: log10 of years. `a_v`: mag. `log_mass`: log10 of solar masses.
    - `log_r_eff_pc`: log10 of the half-light radius in pc.
    - `log_visibility`: log10 of the cluster's mean flux per pixel inside its half-light radius, in
      standard deviations of the background.

    ```python
    Grid().joint_shape  # 20, 10, 14
    ```
    """

    log_age: Axis = Axis(6.6, 10.1, 20)
    a_v: Axis = Axis(0.0, 3.0, 10)
    log_mass: Axis = Axis(3.5, 5.5, 14)
    log_r_eff_pc: Axis = Axis(-0.0591, 0.9409, 14)
    log_visibility: Axis = Axis(-1.0, 3.0, 20, 0)

    @property
    def joint(self) -> tuple[Axis, Axis, Axis]:
        """The axes of the joint head, in its order."""
        return self.log_age, self.a_v, self.log_mass

    @property
    def joint_shape(self) -> tuple[int, int, int]:
        """Bins of the joint head along each of its axes."""
        age, a_v, mass = (axis.n_bins for axis in self.joint)
        return age, a_v, mass

    @property
    def continuous(self) -> tuple[Axis, Axis, Axis, Axis]:
        """The axes of a density over continuous parameters, in its order."""
        return *self.joint, self.log_r_eff_pc

    def heads(self) -> dict[str, int]:
        """Outputs of each head by its name.

        ```python
        Grid().heads()  # {"joint": 2800, "size": 14, "class": 2, "visibility": 20}
        ```
        """
        return {
            "joint": math.prod(self.joint_shape),
            "size": self.log_r_eff_pc.n_bins,
            "class": 2,
            "visibility": self.log_visibility.n_bins,
        }

    def theta_posterior(
        self, joint: Float[np.ndarray, "n bins"]
    ) -> tuple[tuple[np.ndarray, ...], Float[np.ndarray, "n m t a"]]:
        """Edges and probabilities in the order of θ, as `GridPosteriors` takes them.

        ```python
        edges, posterior = Grid().theta_posterior(np.full((1, 2800), 1 / 2800))
        posterior.shape  # (1, 14, 20, 10)
        ```
        """
        cube = joint.reshape(-1, *self.joint_shape)
        edges = tuple(getattr(self, name).edges for name in AXES)
        return edges, cube.transpose(0, *(1 + JOINT.index(name) for name in AXES))

    def as_dict(self) -> dict[str, Any]:
        """The bins for JSON; `from_dict` reads it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Mapping[str, Any]]) -> "Grid":
        """The grid of `as_dict`; raises `TypeError` or `ValueError` for what is none.

        ```python
        Grid.from_dict(Grid().as_dict()) == Grid()  # True
        ```
        """
        return cls(**{name: Axis(**axis) for name, axis in given.items()})


def make_targets(
    grid: Grid,
    is_cluster: Bool[np.ndarray, "n"],
    *,
    log_age: Float[np.ndarray, "n"],
    a_v: Float[np.ndarray, "n"],
    log_mass: Float[np.ndarray, "n"],
    log_r_eff_pc: Float[np.ndarray, "n"],
    visibility: Float[np.ndarray, "n"],
    cells: Mapping[str, float] | None = None,
) -> dict[str, np.ndarray]:
    """Targets of a batch, in single precision.

    **Arguments:**

    - `grid`: the bins.
    - `is_cluster`: `(n,)`, whether a stamp holds a cluster or is background alone.
    - `log_age` (log10 yr), `a_v` (mag), `log_mass` (log10 M_sun), `log_r_eff_pc`, `visibility`
      (linear): `(n,)`; what backgrounds have there is not read.
    - `cells`: None for Gaussians, which say that bins side by side are alike, and from which a
      network learns to be a little less sure than it could be. Or by parameter the step of the
      lattice on which the truths lie, 0 for those not named: a truth is then its bin alone, or its
      cell's share of two, and the shares that a network learns are those with which truths occur.

    Returns `joint` `(n, bins)` and `size` `(n, bins)`, 0 for backgrounds; `class` `(n, 2)`, the
    second column of clusters; `visibility` `(n, bins)`, for backgrounds at its lower end;
    `continuous` `(n, 4)`, the parameters of clusters; and `is_cluster`.

    Raises `ValueError` for a cluster whose parameters are NaN or whose visibility is negative.

    ```python
    one = {name: np.ones(2) for name in ("log_age", "a_v", "log_mass", "log_r_eff_pc")}
    made = make_targets(Grid(), np.array([True, False]), **one, visibility=np.ones(2))
    made["joint"].sum(1)  # 1, 0
    ```
    """
    which = np.flatnonzero(is_cluster)
    made = {
        name: np.zeros((len(is_cluster), n), np.float32) for name, n in grid.heads().items()
    } | {"continuous": np.zeros((len(is_cluster), 4), np.float32), "is_cluster": is_cluster}
    parameters = np.stack([log_age, a_v, log_mass, log_r_eff_pc], axis=1)[which]
    names = (*JOINT, "log_r_eff_pc")
    sigmas = (SIGMA_JOINT,) * len(JOINT) + (SIGMA_SINGLE,)
    *single, sizes = (
        axis.encode(values, sigma)
        if cells is None
        else axis.encode_cells(values, cells.get(name, 0.0))
        for name, axis, values, sigma in zip(
            names, grid.continuous, parameters.T, sigmas, strict=True
        )
    )
    cubes = np.einsum("ni,nj,nk->nijk", *single)
    made["joint"][which] = cubes.reshape(len(which), made["joint"].shape[1])
    made["size"][which] = sizes
    made["continuous"][which] = parameters
    made["class"][np.arange(len(is_cluster)), is_cluster.astype(int)] = 1
    seen = np.where(is_cluster, visibility, 0.0)
    if not (seen >= 0).all():
        raise ValueError("a visibility is negative or NaN; expected 0 or more")
    with np.errstate(divide="ignore"):
        made["visibility"][...] = grid.log_visibility.encode(np.log10(seen), SIGMA_SINGLE)
    return made
