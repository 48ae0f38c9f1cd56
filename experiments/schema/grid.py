"""kind = "grid": a stellar grid from isochrones, atmospheres and filter curves."""

from typing import Literal

import pydantic

from starcensus.experiments.schema._base import FILES, BandsFile


@FILES.register("grid")
class GridFile(BandsFile):
    """A stellar grid: magnitudes of stars of all masses and ages behind any extinction.

    **Arguments:**

    - `isochrones`: a file, or for `format` `"slug"` the folder that `SLUG_DIR` names.
    - `format`: of the isochrones.
    - `ck04`: folder of the Castelli-Kurucz atlas. `hot`: folder of FSPS's SPECTRA/Hot_spectra.
    - `curves`: folder with the curves of the nine default bands.
    - `filters`: further bands, NAME = "file of the curve".
    - `vega`: spectrum of magnitude 0. `zeropoints`: table of AB minus Vega in its place, mag.
    - `ages`: log10 yr; lowest and highest, or with SLUG's tracks the ages themselves.
    - `z`: metal mass fraction, where the isochrones do not say.
    - `metallicity`: [M/H] of the cool atmospheres, by default from z.
    - `interpolate`: cool atmospheres between those of neighbouring metallicities; by default, the
      nearest.
    - `curve`: extinction curve.
    - `wolf_rayet`: use the Wolf-Rayet and post-AGB spectra.
    - `black_body_above`: K, above which other stars are black bodies; by default none.
    """

    isochrones: str
    format: Literal["fsps", "cmd", "mist", "slug"] = "fsps"
    ck04: str
    hot: str | None = None
    curves: str | None = None
    filters: dict[str, str] = pydantic.Field({})
    vega: str | None = None
    zeropoints: str | None = None
    ages: tuple[float, ...] = (6.0, 10.1)
    z: float | None = None
    metallicity: float | None = None
    interpolate: bool = False
    curve: Literal["F99", "CCM89", "Calzetti00"] = "F99"
    wolf_rayet: bool = True
    black_body_above: float | None = None

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "GridFile":
        if self.curves is None and not self.filters:
            raise ValueError("no bands: give curves, or filters, or both")
        if (self.vega is None) == (self.zeropoints is None):
            raise ValueError("give either vega or zeropoints, and not both")
        if self.format != "slug" and len(self.ages) != 2:
            raise ValueError(f"ages has {len(self.ages)}; expected the lowest and the highest")
        return self
