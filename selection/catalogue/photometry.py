"""Photometry: what a survey measured of each cluster in each band, and why it did not.

A band without a magnitude says one of two things. Either nobody looked (the cluster lies outside
the frame): the band tells nothing. Or somebody looked and found nothing: the cluster is fainter
than a limit. The two are kept apart, and nothing is ever filled in.
"""

import dataclasses
import enum

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from ._base import Step


class BandState(enum.IntEnum):
    """What a band says of a cluster.

    `UNKNOWN` is a band without a magnitude of which the table does not say why.
    """

    MEASURED = 0
    NOT_OBSERVED = 1
    NOT_DETECTED = 2
    UNKNOWN = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Photometry:
    """Measured fluxes of clusters, relative to Vega: 10^(−0.4 m).

    A flux may be 0 or negative: with its error it is a measurement like any other.

    **Arguments:**

    - `source`: the file or generator it came from, for messages.
    - `ids`: unique identifier of each cluster.
    - `bands`: names of the columns.
    - `flux`, `flux_error`: `(n, band)`, relative to Vega; NaN where the band is not measured.
    - `states`: `(n, band)`, each a `BandState`.
    - `ci`: `(n,)`, concentration index, mag; NaN where there is none, or None for all.
    - `distance_modulus`: mag, if known.
    - `steps`: what was cut on the way.

    Raises `ValueError` for shapes that differ, a measured band without a flux or a positive error,
    and a flux of a band that is not measured.

    ```python
    seen = Photometry.from_mags(
        "mine", np.array(["a"]), ("ACS_F435W", "ACS_F555W"), [[23.1, np.nan]], [[0.05, np.nan]],
        np.array([[BandState.MEASURED, BandState.NOT_OBSERVED]], np.uint8),
    )
    seen.mags, seen.measured
    ```
    """

    source: str
    ids: np.ndarray
    bands: tuple[str, ...]
    flux: Float[np.ndarray, "n band"]
    flux_error: Float[np.ndarray, "n band"]
    states: UInt8[np.ndarray, "n band"]
    ci: Float[np.ndarray, " n"] | None = None
    distance_modulus: float | None = None
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.bands))
        for name in ("flux", "flux_error", "states"):
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"{self.source}: {name} has shape {getattr(self, name).shape}; expected "
                    f"{shape}, one column for each of {', '.join(self.bands)}"
                )
        if self.ci is not None and self.ci.shape != shape[:1]:
            raise ValueError(f"{self.source}: ci has shape {self.ci.shape}; expected {shape[:1]}")
        if (self.states > max(BandState)).any():
            raise ValueError(
                f"{self.source}: states go up to {self.states.max()}; expected those of BandState, "
                f"0 to {max(BandState)}"
            )
        with np.errstate(invalid="ignore"):
            whole = np.isfinite(self.flux) & np.isfinite(self.flux_error) & (self.flux_error > 0)
        self._refuse(self.measured & ~whole, "is said to be measured, without flux or error")
        self._refuse(~self.measured & ~np.isnan(self.flux), "has a flux, and is not measured")

    def _refuse(self, bad: np.ndarray, what: str) -> None:
        if bad.any():
            row, band = (int(i) for i in np.argwhere(bad)[0])
            raise ValueError(
                f"{self.source}: {int(bad.any(axis=1).sum())} clusters cannot be used; the first "
                f"is {self.ids[row]}: {self.bands[band]} {what} (flux {self.flux[row, band]:g}, "
                f"error {self.flux_error[row, band]:g}, state "
                f"{BandState(int(self.states[row, band])).name})"
            )

    @classmethod
    def from_mags(
        cls,
        source: str,
        ids: np.ndarray,
        bands: tuple[str, ...],
        mags: Float[np.ndarray, "n band"] | list,
        mag_errors: Float[np.ndarray, "n band"] | list,
        states: UInt8[np.ndarray, "n band"] | None = None,
        **more: object,
    ) -> "Photometry":
        """From Vega magnitudes and their errors; NaN where a band is not measured.

        **Arguments:**

        - `states`: by default a band without a magnitude is `UNKNOWN`.
        - `more`: `ci`, `distance_modulus`, `steps`.
        """
        values = np.asarray(mags, float)
        if states is None:
            absent = np.isnan(values)
            states = np.where(absent, BandState.UNKNOWN, BandState.MEASURED).astype(np.uint8)
        flux = 10.0 ** (-0.4 * values)
        error = flux * np.asarray(mag_errors, float) * (0.4 * np.log(10.0))
        error = np.where(np.isnan(flux), np.nan, error)
        return cls(source, np.asarray(ids), tuple(bands), flux, error, states, **more)  # pyright: ignore

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def measured(self) -> Bool[np.ndarray, "n band"]:
        """Which bands are measurements."""
        return self.states == BandState.MEASURED

    @property
    def mags(self) -> Float[np.ndarray, "n band"]:
        """Vega magnitudes; NaN where not measured, or measured at no flux or less."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.flux > 0, -2.5 * np.log10(self.flux), np.nan)

    @property
    def mag_errors(self) -> Float[np.ndarray, "n band"]:
        """Errors of `mags` to first order, NaN where these are."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(
                self.flux > 0, self.flux_error / self.flux / (0.4 * np.log(10.0)), np.nan
            )

    def take(self, rows: np.ndarray | slice) -> "Photometry":
        """The given rows (indices, a slice or a boolean mask)."""
        return dataclasses.replace(
            self,
            ids=self.ids[rows],
            flux=self.flux[rows],
            flux_error=self.flux_error[rows],
            states=self.states[rows],
            ci=None if self.ci is None else self.ci[rows],
        )

    def select(self, bands: tuple[str, ...]) -> "Photometry":
        """The same clusters in these bands alone, in this order; `ValueError` for unknown ones."""
        unknown = [band for band in bands if band not in self.bands]
        if unknown or not bands:
            raise ValueError(
                f"{self.source}: has no band {', '.join(unknown)}; it has {', '.join(self.bands)}"
            )
        columns: Int[np.ndarray, " k"] = np.array([self.bands.index(band) for band in bands])
        return dataclasses.replace(
            self,
            bands=tuple(bands),
            flux=self.flux[:, columns],
            flux_error=self.flux_error[:, columns],
            states=self.states[:, columns],
        )
