"""kind = "grid": a stellar grid from isochrones, atmospheres and filter curves."""

from typing import Literal

import pydantic

from starcensus.experiments.schema._base import FILES, BandsFile, Strict


class GasTable(Strict):
    """Lines of metals in the light of ionised gas, relative to Hβ.

    **Arguments:**

    - `lines`: a table of Cloudy models in the format of FSPS (`ZAU_*.lines`).
    - `log_u`: log10 of the ionisation parameter. `log_z`: log10 of the metals over the Sun's
      0.0152, by default from the isochrones' z.
    - `age_myr`: of the stars whose photons give the ratios, which gas of all ages has.
    - `temperature`: of the gas, K. `helium_lines`: whether He I has lines.
    """

    lines: str
    log_u: float = -2.5
    log_z: float | None = None
    age_myr: float = pydantic.Field(2.0, gt=0)
    temperature: float = 1e4
    helium_lines: bool = True


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
    - `gas`: lines of metals; by default there are none.
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
    gas: GasTable | None = None

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "GridFile":
        if self.curves is None and not self.filters:
            raise ValueError("no bands: give curves, or filters, or both")
        if (self.vega is None) == (self.zeropoints is None):
            raise ValueError("give either vega or zeropoints, and not both")
        if self.format != "slug" and len(self.ages) != 2:
            raise ValueError(f"ages has {len(self.ages)}; expected the lowest and the highest")
        return self
