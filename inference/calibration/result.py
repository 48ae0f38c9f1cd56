"""Ranks and coverages of a calibration, the verdict, and its file."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from starcensus.files import FileError, Path
from starcensus.hdf5 import Format

from .ranks import ecdf_band, rank_ecdf

LEVELS = (0.68, 0.95)
FALSE_ALARM = 1e-3
_ARRAYS = ("ranks", "quantiles", "truth", "sizes", "min_ess_bulk")


class CalibrationFileError(FileError):
    """A file of a calibration cannot be read."""


CALIBRATION = Format(
    "starcensus-calibration",
    1,
    "calibration",
    "`starcensus calibrate` writes one",
    CalibrationFileError,
)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Ranks and intervals of every catalogue (simulation-based calibration, Talts et al. 2018).

    **Arguments:**

    - `names`: flat parameter names, and `log_likelihood`.
    - `ranks`: `(catalogue, name)`, number of ranked draws below the truth, 0 to `n_ranked`.
    - `quantiles`: `(catalogue, name)`, fraction of all draws below the truth.
    - `truth`: `(catalogue, name)`, true values.
    - `sizes`: `(catalogue,)`, clusters in each catalogue.
    - `min_ess_bulk`: `(catalogue,)`, effective draws of its worst parameter; where it is far
      below the number of draws, ranks and intervals carry the sampler's noise as well as the
      likelihood's faults.
    - `n_ranked`: draws among which truth is ranked.
    - `n_divergent`: number of divergent transitions of all fits.
    """

    names: tuple[str, ...]
    ranks: Int[np.ndarray, "catalogue name"]
    quantiles: Float[np.ndarray, "catalogue name"]
    truth: Float[np.ndarray, "catalogue name"]
    sizes: Int[np.ndarray, " catalogue"]
    min_ess_bulk: Float[np.ndarray, " catalogue"]
    n_ranked: int
    n_divergent: int

    def coverage(self, level: float) -> Float[np.ndarray, " name"]:
        """Share of catalogues whose central interval of that level holds the truth."""
        tail = (1 - level) / 2
        return ((self.quantiles >= tail) & (self.quantiles <= 1 - tail)).mean(axis=0)

    def coverage_accepted(
        self, level: float, false_alarm: float = FALSE_ALARM
    ) -> Bool[np.ndarray, " name"]:
        """Whether each coverage is what binomial noise allows, at that rate over all names."""
        from scipy.stats import binom

        n, count = len(self.sizes), self.coverage(level) * len(self.sizes)
        rate = false_alarm / len(self.names)
        low, high = binom.ppf([rate / 2, 1 - rate / 2], n, level)
        return (count >= low) & (count <= high)

    def ranks_accepted(self, false_alarm: float = FALSE_ALARM) -> Bool[np.ndarray, " name"]:
        """Whether each parameter's rank ECDF stays inside its simultaneous band."""
        rate = false_alarm / len(self.names)
        low, high = ecdf_band(len(self.sizes), self.n_ranked, rate)
        counts = rank_ecdf(self.ranks, self.n_ranked)
        return ((counts >= low[:, None]) & (counts <= high[:, None])).all(axis=0)

    def accepted(self, levels: Sequence[float] = LEVELS, false_alarm: float = FALSE_ALARM) -> bool:
        """The verdict: whether coverages at all levels, and all ranks, are what chance allows.

        `false_alarm`: rate at which each of these checks alone refuses a right likelihood.
        """
        checks = [self.coverage_accepted(level, false_alarm) for level in levels]
        return bool(np.all([*checks, self.ranks_accepted(false_alarm)]))

    def describe(self, levels: Sequence[float] = LEVELS) -> dict[str, float | int | bool]:
        """Flat numbers: the verdict, sizes, coverage of each parameter at each level."""
        numbers: dict[str, float | int | bool] = {
            "accepted": self.accepted(levels),
            "median_size": float(np.median(self.sizes)),
            "n_divergent": self.n_divergent,
            "median_min_ess_bulk": float(np.median(self.min_ess_bulk)),
            "min_ess_bulk": float(self.min_ess_bulk.min()),
        }
        ranks = self.ranks_accepted()
        coverages = {level: self.coverage(level) for level in levels}
        for i, name in enumerate(self.names):
            for level, coverage in coverages.items():
                numbers[f"{name}.coverage_{100 * level:.0f}"] = float(coverage[i])
            numbers[f"{name}.ranks_uniform"] = bool(ranks[i])
        return numbers

    @classmethod
    def joined(cls, parts: Sequence["Calibration"]) -> "Calibration":
        """One calibration of the catalogues of several, in order."""
        arrays = {name: np.concatenate([getattr(p, name) for p in parts]) for name in _ARRAYS}
        n_divergent = sum(part.n_divergent for part in parts)
        return dataclasses.replace(parts[0], **arrays, n_divergent=n_divergent)

    def save(self, path: Path, key: str = "") -> None:
        """Write it as HDF5; `key`: of the run that it is the result of."""
        with CALIBRATION.create(path) as file:
            file.attrs["key"] = key
            file.attrs["names"] = list(self.names)
            file.attrs["n_ranked"] = self.n_ranked
            file.attrs["n_divergent"] = self.n_divergent
            for name in _ARRAYS:
                file.create_dataset(name, data=getattr(self, name))

    @classmethod
    def load(cls, path: Path) -> "Calibration":
        """Read what `save` wrote; raises `CalibrationFileError` for anything else."""
        with CALIBRATION.open(path) as file:
            arrays = {name: np.asarray(file[name]) for name in _ARRAYS}
            names = tuple(np.asarray(file.attrs["names"]).astype(str).tolist())
            n_ranked, n_divergent = (
                np.asarray(file.attrs[name]).item() for name in ("n_ranked", "n_divergent")
            )
        n = len(arrays["sizes"])
        for name, values in arrays.items():
            expected = (n, len(names)) if name in _ARRAYS[:3] else (n,)
            if values.shape != expected:
                raise CalibrationFileError(
                    f"{path}: {name} has shape {values.shape}; expected {expected}"
                )
        return cls(names, **arrays, n_ranked=n_ranked, n_divergent=n_divergent)

    @staticmethod
    def key_of(path: Path) -> str:
        """The key of the run that a file is the result of; raises `CalibrationFileError`."""
        Calibration.load(path)
        with CALIBRATION.open(path) as file:
            return str(file.attrs["key"])
