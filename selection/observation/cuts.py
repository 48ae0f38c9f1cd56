"""Cuts of a survey on what it measured, integrated over the noise.

Every cut here is a threshold on the measured flux of a band: the band *counts* where its flux is
above so many standard deviations, and bright enough where its absolute magnitude matters. Given the
true fluxes the bands are independent, so that the probability of passing is a sum over the patterns
of counting bands that pass, at most 2^bands of them.
"""

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from starcensus.bands import of_letter


@dataclasses.dataclass(frozen=True)
class MeasuredCuts:
    """What a catalogue demands of its measured magnitudes.

    **Arguments:**

    - `min_snr`: a band counts where its flux is at least so many of its errors; minus infinity
      counts all. A largest error of 0.3 mag is an S/N of 3.6.
    - `min_bands`: how many bands must count at least.
    - `all_of`: bands that must count.
    - `any_of`: bands of which one must count, if any are named.
    - `max_absolute`: largest (faintest) measured absolute Vega magnitude by band; these bands must
      count.
    - `recorded_snr`: a table gives a band's flux where it is at least so many of its errors, and
      otherwise says that the band was not detected; 0 where fluxes of 0 and less are not given,
      minus infinity where all are. No more than `min_snr`.

    Raises `ValueError` for numbers that cannot be.

    ```python
    MeasuredCuts(min_snr=3.6, min_bands=4, max_absolute={"ACS_F555W": -6.0})
    ```
    """

    min_snr: float = -np.inf
    min_bands: int = 1
    all_of: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    max_absolute: Mapping[str, float] = dataclasses.field(default_factory=dict)
    recorded_snr: float = -np.inf

    def __post_init__(self) -> None:
        if not self.recorded_snr <= self.min_snr:
            raise ValueError(
                f"recorded_snr is {self.recorded_snr:g} and min_snr {self.min_snr:g}; what counts "
                "must be recorded, so that recorded_snr is no more than min_snr"
            )
        if np.isnan(self.min_snr) or self.min_snr > 100:
            raise ValueError(f"min_snr is {self.min_snr}; expected a number up to 100")
        if self.min_bands < 1:
            raise ValueError(f"min_bands is {self.min_bands}; expected 1 or more")
        for band, limit in self.max_absolute.items():
            if not -30 < limit < 20:
                raise ValueError(
                    f"max_absolute of {band} is {limit}; expected an absolute magnitude, such as -6"
                )

    @property
    def required(self) -> tuple[str, ...]:
        """Bands that count for every cluster of the catalogue."""
        return tuple(dict.fromkeys((*self.all_of, *self.max_absolute)))

    @property
    def words(self) -> str:
        """The cuts in words, for the report."""
        words = [f"M({band}) <= {limit:g}" for band, limit in self.max_absolute.items()]
        if np.isfinite(self.min_snr):
            words.append(f"a band counts from S/N {self.min_snr:.3g} on")
        words.append(f"{self.min_bands} bands count at least")
        words += [f"{', '.join(self.all_of)} must count"] if self.all_of else []
        words += [f"one of {', '.join(self.any_of)} must count"] if self.any_of else []
        return "; ".join(words)

    def limits(self, bands: tuple[str, ...]) -> dict[str, float]:
        """What is demanded, by the names of `LIMITS`, as steps of catalogues and facts of
        operators have them; of a demand on the absolute magnitude that on V alone.

        ```python
        legus_cuts(("ACS_F435W", "ACS_F555W", "ACS_F814W")).limits(("ACS_F435W", "ACS_F555W"))
        ```
        """
        found = {}
        in_v = [self.max_absolute[b] for b in of_letter(bands, "V") if b in self.max_absolute]
        if in_v:
            found["max_absolute_v"] = min(in_v)
        if self.min_snr > 0:
            found["max_error"] = 2.5 / np.log(10.0) / self.min_snr
        if self.min_bands > 1:
            found["min_bands"] = float(self.min_bands)
        return found

    def check_bands(self, bands: tuple[str, ...]) -> None:
        """Raises `ValueError` for cuts on bands that the survey lacks."""
        unknown = [b for b in (*self.required, *self.any_of) if b not in bands]
        if unknown or self.min_bands > len(bands):
            raise ValueError(
                f"the cuts ask for {', '.join(unknown) or f'{self.min_bands} bands'}; the survey "
                f"has {len(bands)}: {', '.join(bands)}"
            )

    def passing(self, bands: tuple[str, ...]) -> Bool[np.ndarray, "pattern band"]:
        """The patterns of counting bands that pass, one in each row."""
        self.check_bands(bands)
        patterns = np.array(list(itertools.product((False, True), repeat=len(bands))))
        good = patterns.sum(axis=1) >= self.min_bands
        for band in self.required:
            good &= patterns[:, bands.index(band)]
        if self.any_of:
            good &= patterns[:, [bands.index(band) for band in self.any_of]].any(axis=1)
        return patterns[good]

    def faintest(
        self, bands: tuple[str, ...], distance_modulus: float
    ) -> Float[np.ndarray, " band"]:
        """Fluxes (of Vega) that are bright enough in absolute magnitude; −inf where none counts.

        `distance_modulus`: mag.
        """
        limits = [self.max_absolute.get(band, np.inf) + distance_modulus for band in bands]
        return np.array([10.0 ** (-0.4 * x) if np.isfinite(x) else -np.inf for x in limits])


def probability_of(
    counting: Float[np.ndarray, "n band"], passing: Bool[np.ndarray, "pattern band"]
) -> Float[np.ndarray, " n"]:
    """Probability of one of the patterns, for bands that count independently of one another.

    **Arguments:**

    - `counting`: `(n, band)`, probability that each band does.
    - `passing`: `(pattern, band)`, the patterns.

    ```python
    probability_of(np.array([[0.5, 0.5]]), np.array([[True, True], [False, True]]))  # [0.5]
    ```
    """
    total = np.zeros(len(counting))
    for pattern in passing:
        total += np.where(pattern, counting, 1.0 - counting).prod(axis=1)
    return total


def legus_cuts(bands: tuple[str, ...], max_absolute_v: float = -6.0) -> MeasuredCuts:
    """The LEGUS cuts on measured magnitudes (Adamo et al. 2017, section 3.2).

    M_V ≤ −6, an error of 0.3 mag at most in V and in B or I, and in four bands. Fluxes of 0 and
    less have no magnitude, so that such bands are not detected.

    **Arguments:**

    - `bands`: names of the survey's bands; the letters V, B and I are found among them.
    - `max_absolute_v`: Vega mag.

    Raises `ValueError` if there is no V band.

    ```python
    legus_cuts(("WFC3_UVIS_F275W", "WFC3_UVIS_F336W", "ACS_F435W", "ACS_F555W", "ACS_F814W"))
    ```
    """
    v = of_letter(bands, "V")
    if len(v) != 1:
        raise ValueError(f"one V band is expected among {', '.join(bands)}; found {len(v)}")
    return MeasuredCuts(
        min_snr=2.5 / np.log(10.0) / 0.3,
        min_bands=min(4, len(bands)),
        any_of=of_letter(bands, "B", "I"),
        max_absolute={v[0]: max_absolute_v},
        recorded_snr=0.0,
    )
