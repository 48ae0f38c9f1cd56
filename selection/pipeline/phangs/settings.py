"""Settings of the pipeline, with the survey's values."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Literal

from starcensus.settings import check_choices

from .concentration import checked_fiducial
from .duplicates import DOUBLES_PIX
from .models import ModelSettings
from .routes import HD_LIMIT_M_V, HD_MCI_IN


@dataclasses.dataclass(frozen=True)
class PhangsSettings:
    """Settings; defaults are of Thilker et al. (2022), or, where it says nothing, marked †.

    **Arguments:**

    - `sample`: `"human"`, whose region is the semi-empirical polygon, or `"ml"`, whose regions are
      those of model clusters.
    - `aperture_correction`: mag to add to the 4-pixel magnitude of each band, negative. See
      `total_corrections` and `starcensus.selection.pipeline.aperture_corrections`.
    - `fiducial_ci`: CI of the fiducial cluster in the V band, see `fiducial_ci`.
    - `star_fwhm_pix`†, `star_radius_sigma`†: Gaussian kernel of the list that stands for DOLPHOT's
      and where it ends; one that ends as soon as DAOStarFinder's (1.5) takes the light of clusters
      for background. `star_separation_pix`†: least distance of two of its peaks.
    - `dao_fwhm_pix`: kernel of the survey's own DAOStarFinder list.
    - `threshold_sigma`: threshold of both lists, DOLPHOT's.
    - `distinct_pix`, `flux_ratio`: see `augments`.
    - `sharpness_range`†, `roundness_range`†: of both lists, DAOFIND's.
    - `back_size_pix`†: mesh of the background and of the noise of detection.
    - `min_detection_snr`: least S/N of the fitted kernel.
    - `max_error`, `min_bands`: general criteria; mag, and bands with that error, V among them.
    - `min_snr`, `max_mci_errors`: of the morphology route; S/N in V within 4 pixels, and errors of
      (MCI_in, MCI_out).
    - `noise_correlation`†: factor by which noise that drizzled pixels share raises the variance of
      a sum, in all errors; see `aperture_photometry`.
    - `bottom`: lowest MCI_out of the polygon, or None for `crop_mci_out` of the distance.
      `full_within_mpc`†: see there.
    - `exclusion_level`: level of the stellar exclusion region that `for_field` makes,
      as a share of the peak of the stars' density.
    - `ci_floor`: least CI(1, 3) of the morphology route, mag, or None. 1.3 to 1.4 stands for a
      stellar exclusion region where there is none.
    - `hd_limit_m_v`, `hd_mci_in`: limits of the super-H-D route.
    - `doubles_pix`: distance within which the fainter candidate is dropped.

    ```python
    PhangsSettings(min_bands=2, ci_floor=1.35)
    ```
    """

    sample: Literal["human", "ml"] = "human"
    aperture_correction: Mapping[str, float] = dataclasses.field(default_factory=dict)
    fiducial_ci: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    star_fwhm_pix: float = 2.0
    star_radius_sigma: float = 4.0
    star_separation_pix: float = 1.5
    dao_fwhm_pix: float = 2.5
    threshold_sigma: float = 3.5
    distinct_pix: float = 2.0
    flux_ratio: float = 2.5
    sharpness_range: tuple[float, float] = (0.2, 1.0)
    roundness_range: tuple[float, float] = (-1.0, 1.0)
    back_size_pix: int = 32
    min_detection_snr: float = 5.0
    max_error: float = 0.3
    min_bands: int = 3
    min_snr: float = 10.0
    max_mci_errors: tuple[float, float] = (0.3, 1.0)
    noise_correlation: float = 1.0
    bottom: float | None = None
    full_within_mpc: float = 5.0
    exclusion_level: float = 0.5
    ci_floor: float | None = None
    hd_limit_m_v: float = HD_LIMIT_M_V
    hd_mci_in: tuple[float, float] = HD_MCI_IN
    doubles_pix: float = DOUBLES_PIX

    def __post_init__(self) -> None:
        check_choices(self)
        positive = {
            name: getattr(self, name)
            for name in (
                "star_fwhm_pix",
                "star_radius_sigma",
                "star_separation_pix",
                "dao_fwhm_pix",
                "threshold_sigma",
                "distinct_pix",
                "flux_ratio",
                "max_error",
                "noise_correlation",
                "doubles_pix",
            )
        }
        for name, value in positive.items():
            if not value > 0:
                raise ValueError(f"{name} is {value}; expected more than 0")
        if self.back_size_pix < 8 or self.min_bands < 1:
            raise ValueError(
                f"back_size_pix is {self.back_size_pix} and min_bands {self.min_bands}; expected "
                ">= 8 and >= 1"
            )
        if not 0 < self.exclusion_level < 1:
            raise ValueError(f"exclusion_level is {self.exclusion_level}; expected 0 to 1")
        for name in ("sharpness_range", "roundness_range", "hd_mci_in"):
            low, high = getattr(self, name)
            if not low < high:
                raise ValueError(f"{name} is {(low, high)}; expected low < high")
        for band, value in self.aperture_correction.items():
            if not value <= 0:
                raise ValueError(
                    f"aperture_correction of {band} is {value}; expected mag to add to the "
                    "aperture's, which are negative. `total_corrections` knows both conventions"
                )
        for fiducial in self.fiducial_ci.values():
            checked_fiducial(fiducial)


@dataclasses.dataclass(frozen=True)
class PhangsSurveySettings(PhangsSettings):
    """`PhangsSettings`, and for the sample `"ml"`:

    - `models`: the grid of model clusters.
    - `regions`: a file for the regions that they fill, relative to the survey's folder. It is
      written if it is not there, and read by every later process; one that `ModelRegions.save`
      wrote in Python is taken as it is.
    """

    models: ModelSettings = dataclasses.field(default_factory=ModelSettings)
    regions: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sample == "human" and (self.regions or self.models != ModelSettings()):
            raise ValueError(
                "models and regions are given and sample is 'human', which uses none; set "
                "sample = 'ml' or remove them"
            )

    @property
    def plain(self) -> PhangsSettings:
        """Those of the pipeline alone."""
        names = [field.name for field in dataclasses.fields(PhangsSettings)]
        return PhangsSettings(**{name: getattr(self, name) for name in names})

    def files(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """What is read beside the survey's images."""
        return [] if self.regions is None else [folder / self.regions]
