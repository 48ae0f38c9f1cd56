"""Which library gives the spectrum of which star."""

import dataclasses
import os
import pathlib

import numpy as np
from jaxtyping import Float, Int

from ..isochrones import Kind
from ._base import SpectralLibrary
from .ck04 import read_ck04
from .hot import black_bodies, read_cmfgen, read_post_agb, read_wmbasic

# Metal mass fraction of [M/H] = 0 of Castelli & Kurucz's models (Grevesse & Sauval 1998).
Z_SUN = 0.017


@dataclasses.dataclass(frozen=True, eq=False)
class Atmospheres:
    """Libraries and the rule that chooses among them, that of Starburst99 (Smith et al. 2002).

    In this order:

    1. a star of kind WN or WC takes `wn` or `wc`;
    2. a post-AGB star of 50,000 K or more takes `post_agb`;
    3. a star hotter than `hottest` takes `black_body` (with the default, none);
    4. a star of 25,000 K or more with log g from `lowest_log_g` takes `hot`, at the nearest of
       its gravities;
    5. all others take `cool`, at the nearest of its gravities where it has no model.

    A library that is not given is passed over; a star outside the temperatures of the last one is
    given a black body. `census` counts what each served.

    **Arguments:**

    - `cool`, `black_body`, `hot`, `wn`, `wc`, `post_agb`: the libraries.
    - `hot_teff`: K, where `hot` takes over.
    - `lowest_log_g`: cm s⁻² dex.
    - `hottest`: K, above which stars that are not Wolf-Rayet or post-AGB are black bodies.

    ```python
    hot, cool = black_bodies(), black_bodies()
    stars = Atmospheres(cool=cool, black_body=hot)
    stars.assign(np.array([3.7, 4.6]), np.array([4.4, 4.0]), np.zeros(2, int))
    ```
    """

    cool: SpectralLibrary
    black_body: SpectralLibrary
    hot: SpectralLibrary | None = None
    wn: SpectralLibrary | None = None
    wc: SpectralLibrary | None = None
    post_agb: SpectralLibrary | None = None
    hot_teff: float = 25_000.0
    lowest_log_g: float = 2.5
    hottest: float = np.inf

    def __post_init__(self) -> None:
        if not self.hot_teff > 0 or not self.hottest > 0:
            raise ValueError(
                f"hot_teff and hottest must be positive; got {self.hot_teff}, {self.hottest}"
            )

    @property
    def libraries(self) -> tuple[SpectralLibrary, ...]:
        """The libraries in use; `assign` gives places in this tuple."""
        given = (self.cool, self.black_body, self.hot, self.wn, self.wc, self.post_agb)
        return tuple(library for library in given if library is not None)

    def assign(
        self,
        log_teff: Float[np.ndarray, "star"],
        log_g: Float[np.ndarray, "star"],
        kind: Int[np.ndarray, "star"],
    ) -> Int[np.ndarray, "star"]:
        """Place in `libraries` of the library that serves each star."""
        place = {id(library): i for i, library in enumerate(self.libraries)}
        low, high = self.cool.log_teff[0], self.cool.log_teff[-1]
        black = place[id(self.black_body)]
        chosen = np.where((log_teff < low) | (log_teff > high), black, place[id(self.cool)])
        if self.hot is not None:
            served = (log_teff >= np.log10(self.hot_teff)) & (log_g >= self.lowest_log_g)
            served &= log_teff <= self.hot.log_teff[-1]
            chosen = np.where(served, place[id(self.hot)], chosen)
        chosen = np.where(log_teff > np.log10(self.hottest), black, chosen)
        if self.post_agb is not None:
            served = (kind == Kind.POST_AGB) & (log_teff >= self.post_agb.log_teff[0])
            chosen = np.where(served, place[id(self.post_agb)], chosen)
        for wanted, library in ((Kind.WN, self.wn), (Kind.WC, self.wc)):
            if library is not None:
                chosen = np.where(kind == wanted, place[id(library)], chosen)
        return chosen

    def census(
        self,
        log_teff: Float[np.ndarray, "star"],
        log_g: Float[np.ndarray, "star"],
        kind: Int[np.ndarray, "star"],
    ) -> dict[str, int]:
        """How many points each library serves, and how many beyond its models."""
        chosen = self.assign(log_teff, log_g, kind)
        counts = {}
        for i, library in enumerate(self.libraries):
            mine = chosen == i
            counts[library.name] = int(mine.sum())
            made = ~library.own.any(axis=1)
            real = library.log_teff[~made]
            beyond = (log_teff < real[0]) | (log_teff > real[-1])
            counts[f"{library.name}, beyond its temperatures"] = int((mine & beyond).sum())
            models = library.own[np.abs(library.log_teff[:, None] - log_teff).argmin(axis=0)]
            has = np.where(models, library.log_g, np.nan)
            lowest, highest = _extremes(has)
            beyond = mine & ((log_g < lowest - 0.25) | (log_g > highest + 0.25))
            if len(library.log_g) > 1:
                counts[f"{library.name}, beyond its gravities"] = int(beyond.sum())
        return counts


def _extremes(gravity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest gravity of each row, unlimited where it has none."""
    none = np.isnan(gravity).all(axis=1)
    low = np.min(np.where(np.isnan(gravity), np.inf, gravity), axis=1)
    high = np.max(np.where(np.isnan(gravity), -np.inf, gravity), axis=1)
    return np.where(none, -np.inf, low), np.where(none, np.inf, high)


def read_atmospheres(
    ck04: str | os.PathLike[str],
    hot: str | os.PathLike[str] | None = None,
    *,
    z: float = 0.02,
    metallicity: float | None = None,
    interpolate: bool = False,
    wolf_rayet: bool = True,
    black_body_above: float = np.inf,
) -> Atmospheres:
    """The libraries of a metallicity, from the folders that hold them.

    **Arguments:**

    - `ck04`: folder of the Castelli & Kurucz atlas.
    - `hot`: folder of FSPS's hot spectra, or None for none.
    - `z`: metal mass fraction, for the hot libraries.
    - `metallicity`: [M/H] of the cool ones, by default log10(z / 0.017).
    - `interpolate`: the cool ones between neighbouring metallicities; by default the nearest.
    - `wolf_rayet`: read the Wolf-Rayet and post-AGB libraries.
    - `black_body_above`: K, above which stars that are not Wolf-Rayet or post-AGB are black bodies.

    Raises what `read_ck04`, `read_wmbasic` and `read_cmfgen` raise.

    ```python
    read_atmospheres("ck04models", "Hot_spectra", z=0.014).libraries
    ```
    """
    if metallicity is None:
        metallicity = float(np.log10(z / Z_SUN))
    folder = None if hot is None else pathlib.Path(hot)
    rayet = folder if wolf_rayet else None
    return Atmospheres(
        cool=read_ck04(ck04, metallicity=metallicity, interpolate=interpolate),
        black_body=black_bodies(),
        hot=None if folder is None else read_wmbasic(folder, z=z),
        wn=None if rayet is None else read_cmfgen(rayet, "WN", z=z),
        wc=None if rayet is None else read_cmfgen(rayet, "WC", z=z),
        post_agb=None if rayet is None else read_post_agb(rayet),
        hottest=black_body_above,
    )
