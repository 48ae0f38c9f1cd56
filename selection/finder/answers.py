"""Posteriors of many objects, in bins or as mixtures, by what is asked of both."""

import abc
import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from starcensus.settings import check_seed

from ...networks.cnn.decoding import decode, log_density, marginal, quantiles
from ...networks.cnn.mixture import Mixtures
from ...networks.cnn.targets import JOINT, Axis, Grid
from .cells import PARAMETERS, in_cells

POINTS = ("decode", "mean", "median")


class AbstractAnswers(abc.ABC):
    """Posteriors of age, extinction, mass and size of n objects; parameters in the order of
    `PARAMETERS`.
    """

    grid: Grid

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def take(self, rows: np.ndarray) -> "AbstractAnswers":
        """Those of some objects."""

    @abc.abstractmethod
    def points(self, point: str = "mean") -> Float[np.ndarray, "n 4"]:
        """One value of each parameter: `decode`, the mean about the most probable bin, `mean` or
        `median`; raises `ValueError` for another.
        """

    @abc.abstractmethod
    def quantiles(self, levels: tuple[float, ...]) -> Float[np.ndarray, "n 4 level"]:
        """Values below which each parameter lies with given probabilities."""

    @abc.abstractmethod
    def age_shares(self) -> Float[np.ndarray, "n bin"]:
        """Probabilities of the grid's bins of log age."""

    @abc.abstractmethod
    def log_score(self, parameters: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n"]:
        """Log density at one point for each object, per dex, mag, dex and dex."""

    @abc.abstractmethod
    def below(self, parameters: Float[np.ndarray, "n 4"]) -> dict[str, Float[np.ndarray, "n"]]:
        """Probability of values below the given ones, by parameter (PIT)."""

    @abc.abstractmethod
    def draw(self, n_samples: int, rng: np.random.Generator) -> Float[np.ndarray, "n sample 4"]:
        """Draws of each posterior."""

    @abc.abstractmethod
    def spread_truths(
        self,
        parameters: Float[np.ndarray, "n 4"],
        lattice: Mapping[str, float],
        rng: np.random.Generator,
    ) -> Float[np.ndarray, "n 4"]:
        """Truths on a lattice moved within their cells, as these posteriors were taught them."""

    def check(self, truths: Mapping[str, Float[np.ndarray, "n"]]) -> Float[np.ndarray, "n 4"]:
        """Truths as columns in the order of `PARAMETERS`, once they are what they should be.

        Raises `ValueError` for fewer than two objects, and truths that are missing or lie beyond
        the bins.
        """
        if len(self) < 2:
            raise ValueError(f"there are {len(self)} objects; expected two or more")
        missing = [name for name in PARAMETERS if name not in truths]
        if missing:
            raise ValueError(f"truths lack {', '.join(missing)}; they have {', '.join(truths)}")
        for name, axis in zip(PARAMETERS, self.grid.continuous, strict=True):
            column = truths[name]
            low, high = axis.edges[0], axis.edges[-1]
            if len(column) != len(self):
                raise ValueError(f"{len(column)} truths of {name} for {len(self)} objects")
            if not ((column >= low) & (column <= high)).all():
                raise ValueError(
                    f"true {name} goes from {column.min():.4g} to {column.max():.4g}; the bins go "
                    f"from {low:.4g} to {high:.4g}"
                )
        return np.stack([truths[name].astype(float) for name in PARAMETERS], axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Binned(AbstractAnswers):
    """Probabilities of bins; densities are flat inside them, and the size is independent.

    **Arguments:**

    - `joint`: `(n, bins)`, of age, extinction and mass. `size`: `(n, sizes)`.
    - `grid`: the bins.

    Raises `ValueError` for numbers of bins that are not those of the grid, and rows that are no
    probabilities.

    ```python
    from starcensus.networks.cnn import Grid

    flat = Binned(np.full((2, 2800), 1 / 2800), np.full((2, 14), 1 / 14), Grid())
    flat.points()  # 8.35, 1.5, 4.5, 0.44
    ```
    """

    joint: Float[np.ndarray, "n bins"]
    size: Float[np.ndarray, "n sizes"]
    grid: Grid

    def __post_init__(self) -> None:
        heads = self.grid.heads()
        for name in ("joint", "size"):
            given = getattr(self, name)
            if given.shape[1] != heads[name]:
                raise ValueError(f"{name} has {given.shape[1]} bins; the grid has {heads[name]}")
            total = given.sum(axis=1, dtype=float)
            if len(given) and not ((np.abs(total - 1) < 1e-3).all() and given.min() >= 0):
                raise ValueError(
                    f"rows of {name} sum to {total.min():.4g} to {total.max():.4g}, with the least "
                    f"value {given.min():.4g}; expected probabilities (`softmax` of logits)"
                )
        if len(self.joint) != len(self.size):
            raise ValueError(f"{len(self.joint)} rows of joint and {len(self.size)} of size")

    def __len__(self) -> int:
        return len(self.joint)

    def take(self, rows: np.ndarray) -> "Binned":
        return Binned(self.joint[rows], self.size[rows], self.grid)

    @functools.cached_property
    def marginals(self) -> dict[str, Float[np.ndarray, "n _"]]:
        """Probabilities of the bins of each parameter, in double precision; rows sum to 1."""
        each = {name: marginal(self.joint, self.grid, name).astype(float) for name in JOINT}
        each["log_r_eff_pc"] = self.size.astype(float)
        return {name: share / share.sum(axis=1, keepdims=True) for name, share in each.items()}

    def points(self, point: str = "mean") -> Float[np.ndarray, "n 4"]:
        if point == "decode":
            ages = decode(self.joint, self.grid.joint)
            sizes = decode(self.size, (self.grid.log_r_eff_pc,))
            return np.concatenate([ages, sizes], axis=1)
        if point == "mean":
            axes = self.grid.continuous
            each = [p @ a.centres for p, a in zip(self.marginals.values(), axes, strict=True)]
            return np.stack(each, axis=1)
        _check_point(point, POINTS)
        return self.quantiles((0.5,))[:, :, 0]

    def quantiles(self, levels: tuple[float, ...]) -> Float[np.ndarray, "n 4 level"]:
        axes = self.grid.continuous
        each = [quantiles(p, a, levels) for p, a in zip(self.marginals.values(), axes, strict=True)]
        return np.stack(each, axis=1)

    def age_shares(self) -> Float[np.ndarray, "n bin"]:
        return self.marginals["log_age"]

    def log_score(self, parameters: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n"]:
        return log_density(self.joint, self.size, parameters, self.grid)

    def below(self, parameters: Float[np.ndarray, "n 4"]) -> dict[str, Float[np.ndarray, "n"]]:
        axes = self.grid.continuous
        return {
            name: _below(share, axis, column)
            for (name, share), axis, column in zip(
                self.marginals.items(), axes, parameters.T, strict=True
            )
        }

    def draw(self, n_samples: int, rng: np.random.Generator) -> Float[np.ndarray, "n sample 4"]:
        bins = (
            *np.unravel_index(_draw_bins(self.joint, n_samples, rng), self.grid.joint_shape),
            _draw_bins(self.size, n_samples, rng),
        )
        return np.stack(
            [
                axis.edges[0] + axis.width * (some + rng.random(some.shape))
                for axis, some in zip(self.grid.continuous, bins, strict=True)
            ],
            axis=2,
        )

    def spread_truths(
        self,
        parameters: Float[np.ndarray, "n 4"],
        lattice: Mapping[str, float],
        rng: np.random.Generator,
    ) -> Float[np.ndarray, "n 4"]:
        return in_cells(parameters, lattice, rng)


@dataclasses.dataclass(frozen=True, eq=False)
class Mixed(AbstractAnswers):
    """Mixtures of continuous parameters, read by draws of each.

    **Arguments:**

    - `mixtures`: of the objects. `grid`: gives the ranges, and bins for `age_shares`.
    - `n_samples`, `seed`: draws of each object, and what they follow from.

    Raises `ValueError` for a seed that is none, and no draws.

    ```python
    from starcensus.networks.cnn import Grid
    from starcensus.networks.cnn.mixture import Mixtures

    some = Mixed(Mixtures.of_outputs(np.zeros((2, 15)), Grid()), Grid())
    some.points().shape  # (2, 4)
    ```
    """

    mixtures: Mixtures
    grid: Grid
    n_samples: int = 999
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.n_samples < 1:
            raise ValueError(f"n_samples is {self.n_samples}; expected 1 or more")

    def __len__(self) -> int:
        return len(self.mixtures)

    def take(self, rows: np.ndarray) -> "Mixed":
        taken = dataclasses.replace(self, mixtures=self.mixtures.take(rows))
        # The draws of an object are the same among whichever others it stands.
        object.__setattr__(taken, "draws", self.draws[rows])
        return taken

    @functools.cached_property
    def draws(self) -> Float[np.ndarray, "n sample 4"]:
        """`n_samples` of each object."""
        return self.mixtures.draw(self.n_samples, np.random.default_rng(self.seed))

    def points(self, point: str = "mean") -> Float[np.ndarray, "n 4"]:
        _check_point(point, POINTS[1:])
        return np.mean(self.draws, axis=1) if point == "mean" else np.median(self.draws, axis=1)

    def quantiles(self, levels: tuple[float, ...]) -> Float[np.ndarray, "n 4 level"]:
        if not len(self):
            return np.empty((0, len(PARAMETERS), len(levels)))
        return np.moveaxis(np.quantile(self.draws, levels, axis=1), 0, -1)

    def age_shares(self) -> Float[np.ndarray, "n bin"]:
        edges, ages = self.grid.log_age.edges, self.draws[:, :, 0]
        return np.array([np.histogram(some, edges)[0] for some in ages]) / self.n_samples

    def log_score(self, parameters: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n"]:
        return self.mixtures.log_density(parameters)

    def below(self, parameters: Float[np.ndarray, "n 4"]) -> dict[str, Float[np.ndarray, "n"]]:
        share = (self.draws < parameters[:, None]).sum(axis=1)
        # Of right posteriors each of n_samples + 1 places is as likely.
        share = (share + 0.5) / (self.n_samples + 1)
        return {name: share[:, k] for k, name in enumerate(PARAMETERS)}

    def draw(self, n_samples: int, rng: np.random.Generator) -> Float[np.ndarray, "n sample 4"]:
        return self.mixtures.draw(n_samples, rng)

    def spread_truths(
        self,
        parameters: Float[np.ndarray, "n 4"],
        lattice: Mapping[str, float],
        rng: np.random.Generator,
    ) -> Float[np.ndarray, "n 4"]:
        return in_cells(parameters, lattice, rng, self.grid)


def _check_point(point: str, known: tuple[str, ...]) -> None:
    if point not in known:
        raise ValueError(f"point is {point!r}; expected one of {', '.join(known)}")


def _draw_bins(
    probability: Float[np.ndarray, "n bins"], n_samples: int, rng: np.random.Generator
) -> Int[np.ndarray, "n sample"]:
    below = probability.cumsum(axis=1, dtype=float)
    below /= below[:, -1:]
    rows = np.arange(len(below))[:, None]
    # Rows one after the other in one rising list, so that one search finds the bins of all.
    found = np.searchsorted(
        (below + rows).ravel(), rng.random((len(below), n_samples)) + rows, side="right"
    )
    return np.clip(found - rows * below.shape[1], 0, below.shape[1] - 1)


def _below(
    probability: Float[np.ndarray, "n bin"], axis: Axis, values: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    at = np.clip((values - axis.edges[0]) / axis.width, 0, axis.n_bins)
    whole = np.minimum(at.astype(int), axis.n_bins - 1)
    rows = np.arange(len(values))
    below = probability.cumsum(axis=1)
    own = probability[rows, whole]
    return np.clip(below[rows, whole] - own + own * (at - whole), 0, 1)
