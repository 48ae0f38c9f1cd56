"""Ranks and coverages of a calibration, the verdict, and its file."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from starcensus.files import FileError, Path
from starcensus.hdf5 import Format, read_array

from .gate import FALSE_ALARM, LEVELS, MOMENTS, Checks, check_ranks, gate_power

_ARRAYS = ("ranks", "quantiles", "truth", "sizes", "min_ess_bulk")
_SUMS = ("n_divergent", "n_by_chains")
_KINDS = {"ranks": "iu", "sizes": "iu"}


class CalibrationFileError(FileError):
    """A file of a calibration cannot be read."""


CALIBRATION = Format(
    "starcensus-calibration",
    2,
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
    - `n_by_chains`: number of catalogues that chains were drawn for: with importance sampling,
      those whose weights forbade it.
    """

    names: tuple[str, ...]
    ranks: Int[np.ndarray, "catalogue name"]
    quantiles: Float[np.ndarray, "catalogue name"]
    truth: Float[np.ndarray, "catalogue name"]
    sizes: Int[np.ndarray, " catalogue"]
    min_ess_bulk: Float[np.ndarray, " catalogue"]
    n_ranked: int
    n_divergent: int
    n_by_chains: int

    def coverage(self, level: float) -> Float[np.ndarray, " name"]:
        """Share of catalogues whose central interval of that level holds the truth."""
        tail = (1 - level) / 2
        return ((self.quantiles >= tail) & (self.quantiles <= 1 - tail)).mean(axis=0)

    def checks(self, false_alarm: float = FALSE_ALARM) -> Checks:
        """Which checks each parameter passes; `false_alarm`: of all of them together."""
        return check_ranks(self.ranks, self.n_ranked, false_alarm)

    def accepted(self, false_alarm: float = FALSE_ALARM) -> bool:
        """The verdict: whether bias, width, skew, coverages and ranks are what chance allows.

        `false_alarm`: rate at which all checks together refuse a right likelihood.
        """
        return self.checks(false_alarm).accepted

    def power(self, bias: float = 0.2, width: float = 0.9) -> tuple[float, float]:
        """Chances that `accepted` refuses one parameter with such a bias, and with such a width
        (`gate_power`).
        """
        n, names = self.ranks.shape
        return (
            gate_power(n, names, self.n_ranked, bias=bias),
            gate_power(n, names, self.n_ranked, width=width),
        )

    def describe(self) -> dict[str, float | int | bool]:
        """Flat numbers: the verdict and its power, sizes, and what each parameter shows."""
        checks, (of_bias, of_width) = self.checks(), self.power()
        numbers: dict[str, float | int | bool] = {
            "accepted": checks.accepted,
            "power_bias_0.2": of_bias,
            "power_width_0.9": of_width,
            "median_size": float(np.median(self.sizes)),
            "n_divergent": self.n_divergent,
            "n_by_chains": self.n_by_chains,
            "median_min_ess_bulk": float(np.median(self.min_ess_bulk)),
            "min_ess_bulk": float(self.min_ess_bulk.min()),
        }
        coverages = {level: self.coverage(level) for level in LEVELS}
        for i, name in enumerate(self.names):
            for level, coverage in coverages.items():
                numbers[f"{name}.coverage_{100 * level:.0f}"] = float(coverage[i])
            for moment, values in zip(MOMENTS, checks.moments, strict=True):
                numbers[f"{name}.{moment}_in_errors"] = float(values[i])
            numbers[f"{name}.ranks_uniform"] = bool(checks.ranks_accepted[i])
        return numbers

    @classmethod
    def joined(cls, parts: Sequence["Calibration"]) -> "Calibration":
        """One calibration of the catalogues of several, in order."""
        arrays = {name: np.concatenate([getattr(p, name) for p in parts]) for name in _ARRAYS}
        sums = {name: sum(getattr(part, name) for part in parts) for name in _SUMS}
        return dataclasses.replace(parts[0], **arrays, **sums)

    def save(self, path: Path, key: str = "") -> None:
        """Write it as HDF5; `key`: of the run that it is the result of."""
        with CALIBRATION.create(path) as file:
            file.attrs["key"] = key
            file.attrs["names"] = list(self.names)
            for name in ("n_ranked", *_SUMS):
                file.attrs[name] = getattr(self, name)
            for name in _ARRAYS:
                file.create_dataset(name, data=getattr(self, name))

    @classmethod
    def load(cls, path: Path) -> "Calibration":
        """Read what `save` wrote; raises `CalibrationFileError` for anything else."""
        with CALIBRATION.open(path) as file:
            arrays = {name: read_array(file, name, _KINDS.get(name, "f")) for name in _ARRAYS}
            names = tuple(np.asarray(file.attrs["names"]).astype(str).tolist())
            n_ranked, n_divergent, n_by_chains = (
                int(np.asarray(file.attrs[name]).item()) for name in ("n_ranked", *_SUMS)
            )
        n = len(arrays["sizes"])
        for name, values in arrays.items():
            expected = (n, len(names)) if name in _ARRAYS[:3] else (n,)
            if values.shape != expected:
                raise CalibrationFileError(
                    f"{path}: {name} has shape {values.shape}; expected {expected}"
                )
        return cls(
            names, **arrays, n_ranked=n_ranked, n_divergent=n_divergent, n_by_chains=n_by_chains
        )

    @staticmethod
    def key_of(path: Path) -> str:
        """The key of the run that a file is the result of; raises `CalibrationFileError`."""
        Calibration.load(path)
        with CALIBRATION.open(path) as file:
            return str(file.attrs["key"])
