"""The whole pipeline, from a frame to candidates."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from starcensus.bands import find_band

from ....simulate import StellarGrid, StellarPopulation
from ....simulate.images.frame import Frame
from ....simulate.images.psf import PSF
from .._base import PIPELINES, Field
from ..detections import Detections
from ..legus import aperture_corrections
from ..photometry import (
    APERTURE_PIX,
    MEDIAN_VARIANCE,
    SKY_PIX,
    Apertures,
    aperture_photometry,
    magnitudes,
)
from .concentration import RADII_PIX, concentration, fiducial_ci, multi_scale
from .detection import find_sources
from .duplicates import keep_brightest
from .hits import ModelRegions
from .kept import load_kept, regions_source
from .models import ModelSettings, mean_magnitudes
from .polygon import crop_mci_out, in_polygon
from .routes import super_hd, well_measured, well_shaped
from .settings import PhangsSettings, PhangsSurveySettings
from .stars import StellarExclusion, clean_stars, stellar_exclusion
from .synthetic import model_regions
from .uncertainty import multi_scale_errors


@PIPELINES.register("phangs")
@dataclasses.dataclass(frozen=True, eq=False)
class PhangsPipeline:
    """Candidate clusters as PHANGS-HST selects them (Thilker et al. 2022). Needs sep, photutils.

    Cuts, in order:

    - `detection_snr`: S/N of the kernel fitted in detection.
    - `photometry`: `min_bands` bands with errors ≤ `max_error`, V among them.
    - `candidate`: the morphology route (S/N, errors of MCI, the region of the sample, outside the
      stellar exclusion region, CI floor) or the super-H-D route. The columns `morphology` and
      `super_hd` say which.
    - `single`: no brighter candidate that is kept within `doubles_pix`; passed by sources that are
      no candidates. Brightness is the count rate in V within 4 pixels.

    Classification, by eye or by networks, is not part of it; `votes` and `redundant` serve what
    comes after it.

    **Arguments:**

    - `settings`: thresholds, limits and corrections, see `PhangsSettings`.
    - `regions`: regions of model clusters, for the sample `"ml"`.
    - `exclusion`: the region of stars, or None for none. Both belong to a target; `for_field`
      makes them.

    Raises `ValueError` for the sample `"ml"` without regions.
    """

    settings: PhangsSettings = dataclasses.field(default_factory=PhangsSettings)
    regions: ModelRegions | None = None
    exclusion: StellarExclusion | None = None

    Settings: ClassVar[type] = PhangsSurveySettings

    def __post_init__(self) -> None:
        if self.settings.sample == "ml" and self.regions is None:
            raise ValueError(
                "sample is 'ml' and regions is None; expected regions of model clusters, from "
                "`PhangsPipeline.for_field` or `model_regions`. The sample 'human' needs none"
            )

    @classmethod
    def for_field(
        cls,
        frame: Frame,
        psfs: Mapping[str, PSF],
        settings: PhangsSettings | None = None,
        *,
        magnitudes: Float[np.ndarray, "age a_v"] | None = None,
        models: ModelSettings | None = None,
        exclusion: StellarExclusion | Literal["field"] | None = "field",
        seed: int = 0,
    ) -> "PhangsPipeline":
        """The pipeline of a target, with what the survey derives from the target's own images.

        **Arguments:**

        - `psfs`: one PSF for each band of the frame.
        - `settings`: its `aperture_correction` and `fiducial_ci` are filled in where they are
          empty, for the PSFs and a cluster of 3 pc.
        - `magnitudes`, `models`, `seed`: of the synthetic clusters, see `model_regions`; for the
          sample `"ml"`.
        - `exclusion`: a region of stars, None for none, or `"field"` for that of the frame's own.

        Raises `ValueError` for a frame without V, a band without a PSF, the sample `"ml"` without
        magnitudes, and a frame with too few stars for a region.
        """
        settings = PhangsSettings() if settings is None else settings
        v = find_band(frame.bands, "V")
        missing = [band for band in frame.bands if band not in psfs]
        if missing:
            raise ValueError(
                f"no PSF of {', '.join(missing)}; got {', '.join(psfs) or 'none'}, and the frame "
                f"has {', '.join(frame.bands)}. `default_psfs(frame.bands)` makes them"
            )
        if settings.sample == "ml" and magnitudes is None:
            raise ValueError(
                "sample is 'ml' and magnitudes is None; expected absolute V magnitudes of 1 M_sun "
                "on the grid of model clusters, see `mean_magnitudes`"
            )
        if not settings.fiducial_ci:
            settings = dataclasses.replace(settings, fiducial_ci=fiducial_ci({v: psfs[v]}))
        if not settings.aperture_correction:
            used = {band: psfs[band] for band in frame.bands}
            corrections = aperture_corrections(used, frame.pc_per_pixel)
            settings = dataclasses.replace(settings, aperture_correction=corrections)
        regions = None
        if settings.sample == "ml" and magnitudes is not None:
            regions = model_regions(
                frame.image(v),
                psfs[v],
                frame.distance_modulus,
                frame.pc_per_pixel,
                magnitudes,
                models or ModelSettings(),
                seed,
                _fiducial(settings, v),
            )
        if exclusion == "field":
            human = cls(dataclasses.replace(settings, sample="human"))
            found = human(frame)
            snr = found.columns["detection_snr"]
            stars = clean_stars(frame.image(v), psfs[v], found.x, found.y, snr)
            mci = (found.columns[name][stars] for name in ("mci_in", "mci_out"))
            exclusion = stellar_exclusion(*mci, level=settings.exclusion_level)
        return cls(settings, regions, exclusion)

    @classmethod
    def for_survey(cls, settings: PhangsSurveySettings, field: Field) -> "PhangsPipeline":
        """As `for_field`, from the parts of a survey file; regions of models are kept in a file.

        The region of the frame's stars is left out where `ci_floor` stands for one.

        Raises `FileError` for regions of other images, PSFs or models, and `ValueError` as
        `PhangsPipeline.for_field`.
        """
        frame, psfs = field.frame, field.psfs
        # First what takes a second, for it may fail, and models take minutes.
        human = cls.for_field(
            frame,
            psfs,
            dataclasses.replace(settings.plain, sample="human"),
            exclusion="field" if settings.ci_floor is None else None,
        )
        if settings.sample == "human":
            return human
        complete = dataclasses.replace(human.settings, sample="ml")
        v = find_band(frame.bands, "V")
        path = None if settings.regions is None else field.folder / settings.regions
        source = regions_source(frame, psfs[v], complete, settings.models)
        if path is not None and path.exists():
            return cls(complete, load_kept(path, source), human.exclusion)
        stars = StellarPopulation(StellarGrid.default())
        made = cls.for_field(
            frame,
            psfs,
            complete,
            magnitudes=mean_magnitudes(stars, v, settings.models),
            models=settings.models,
            exclusion=human.exclusion,
        )
        if path is not None and made.regions is not None:
            dataclasses.replace(made.regions, source=source).save(path)
        return made

    def describe(self) -> dict[str, Any]:
        """Settings and regions; JSON."""
        settings = dataclasses.asdict(self.settings)
        return json.loads(
            json.dumps(
                {
                    "pipeline": "phangs",
                    **settings,
                    "regions": self.regions and self.regions.describe(),
                    "exclusion": self.exclusion and self.exclusion.describe(),
                }
            )
        )

    def __call__(self, frame: Frame) -> Detections:
        """Run on a frame; it must have a V band, and `min_bands` bands.

        Its `ci` is CI(1, 3). Columns: `mci_in` and `mci_out` with `_error`, `detection_snr`,
        `snr_v` (within 4 pixels), `sky_v` (electrons/s/pixel), and True or False for `in_polygon`,
        `excluded`, `morphology`, `super_hd` and `added_by_dao`.

        Raises `ValueError` for a frame that lacks them, and for a band without an aperture
        correction or the V band without fiducial CI.
        """
        s = self.settings
        v = frame.image(find_band(frame.bands, "V"))
        if len(frame.bands) < s.min_bands:
            raise ValueError(
                f"the frame has {len(frame.bands)} bands, {', '.join(frame.bands)}; {s.min_bands} "
                "are needed with small errors. Lower min_bands"
            )
        missing = [band for band in frame.bands if band not in s.aperture_correction]
        if missing:
            raise ValueError(
                f"no aperture correction for {', '.join(missing)}; `PhangsPipeline.for_field`, "
                "`aperture_corrections` or `total_corrections` gives them"
            )
        fiducial = _fiducial(s, v.band)
        sources = find_sources(v, s)
        n, v_at = len(sources), frame.index(v.band)
        mags, errors, seven = _photometry(frame, v_at, sources.x, sources.y, s.noise_correlation)
        mags += np.array([s.aperture_correction[band] for band in frame.bands])
        at_4 = RADII_PIX.index(APERTURE_PIX)
        rate, rate_error = seven.flux[:, at_4], seven.error[:, at_4]
        ci = concentration(seven.flux)
        mci_in, mci_out = multi_scale(ci, fiducial)
        in_error, out_error = multi_scale_errors(
            v, sources.x, sources.y, seven, fiducial, s.noise_correlation
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            snr_v = rate / rate_error
        ci_13 = ci[:, : RADII_PIX.index(3.0)].sum(1)

        detected = sources.snr >= s.min_detection_snr
        measured = well_measured(errors, v_at, s.max_error, s.min_bands)
        excluded = np.zeros(n, bool)
        if self.exclusion is not None:
            excluded |= self.exclusion.contains(mci_in, mci_out)
        if s.ci_floor is not None:
            excluded |= ~(ci_13 >= s.ci_floor)
        bottom = s.bottom
        if bottom is None:
            mpc = 10 ** (frame.distance_modulus / 5 - 5)
            bottom = crop_mci_out(mpc, s.full_within_mpc)
        polygon = in_polygon(mci_in, mci_out, bottom)
        region = polygon
        if s.sample == "ml" and self.regions is not None:
            region = self.regions.contains(mci_in, mci_out)
        morphology = region & ~excluded
        morphology &= well_shaped(snr_v, in_error, out_error, s.min_snr, s.max_mci_errors)
        bright = super_hd(
            mags[:, v_at] - frame.distance_modulus, mci_in, s.hd_limit_m_v, s.hd_mci_in
        )
        rows = np.flatnonzero(detected & measured & (morphology | bright))
        single = np.ones(n, bool)
        single[rows] = keep_brightest(sources.x[rows], sources.y[rows], rate[rows], s.doubles_pix)
        cuts = {
            "detection_snr": detected,
            "photometry": measured,
            "candidate": morphology | bright,
            "single": single,
        }
        columns = {
            "mci_in": mci_in,
            "mci_out": mci_out,
            "mci_in_error": in_error,
            "mci_out_error": out_error,
            "detection_snr": sources.snr,
            "snr_v": snr_v,
            "sky_v": seven.sky,
            "in_polygon": polygon,
            "excluded": excluded,
            "morphology": morphology,
            "super_hd": bright,
            "added_by_dao": sources.added,
        }
        return Detections(frame.bands, sources.x, sources.y, mags, errors, ci_13, cuts, columns)


def _photometry(
    frame: Frame,
    v_at: int,
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    correlation: float,
) -> tuple[Float[np.ndarray, "n band"], Float[np.ndarray, "n band"], Apertures]:
    """Magnitudes within 4 pixels and their errors, and all seven apertures in V."""
    radii: list[tuple[float, ...]] = [(APERTURE_PIX,)] * len(frame.bands)
    radii[v_at] = RADII_PIX
    measured = [
        aperture_photometry(image, x, y, each, SKY_PIX, MEDIAN_VARIANCE, correlation)
        for image, each in zip(frame, radii, strict=True)
    ]
    pairs = []
    for image, each, apertures in zip(frame, radii, measured, strict=True):
        column = each.index(APERTURE_PIX)
        pairs.append(magnitudes(image, apertures.flux[:, column], apertures.error[:, column]))
    mags, errors = (np.stack(columns, axis=1) for columns in zip(*pairs, strict=True))
    return mags, errors, measured[v_at]


def _fiducial(settings: PhangsSettings, band: str) -> tuple[float, ...]:
    if band not in settings.fiducial_ci:
        raise ValueError(
            f"no fiducial CI of {band}; got {', '.join(settings.fiducial_ci) or 'none'}. "
            "`fiducial_ci` gives them for a PSF, `PhangsPipeline.for_field` for a frame's PSFs"
        )
    return settings.fiducial_ci[band]
