"""The automatic part of the LEGUS cluster catalogues (Adamo et al. 2017; C-4, section 2)."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from starcensus.bands import find_band, of_letter

from ...simulate.images.frame import BandImage, Frame
from ...simulate.images.psf import PSF
from ...simulate.images.render import add_sources
from ...simulate.images.templates import ProfileSettings, Templates
from ...simulate.images.white import SCALE_FACTORS
from ._base import PIPELINES, Field
from .coverage import Mesh, above_background
from .detections import Detections
from .photometry import APERTURE_PIX, SKY_PIX, aperture_photometry, magnitudes

_SAME_PIX = 0.25


@dataclasses.dataclass(frozen=True)
class LegusSettings:
    """Settings of the pipeline; the defaults are those of NGC 628-C (Adamo et al. 2017).

    **Arguments:**

    - `scale_factors`: sets of weights of the white-light image, see `white_light`.
    - `detection_sigma`, `min_area_pix`: a source has so many connected pixels above so many global
      standard deviations of the background (SExtractor's DETECT_THRESH and DETECT_MINAREA).
    - `deblend_levels`, `deblend_contrast`, `clean`: as SExtractor's.
    - `back_size_pix`, `back_filter`: mesh of the background, and its median filter in meshes.
    - `centroid_sigma_pix`: width of the window of the centroids in V; 0 keeps barycentres of
      detection.
    - `centroid_shift_pix`: a source whose centroid is farther from its barycentre keeps that.
    - `aperture_pix`, `sky_pix`: radius of the aperture, and radii of the annulus of the sky,
      pixels.
    - `ci_pix`: radii of the two apertures of the concentration index, pixels.
    - `aperture_correction`: mag to add in each band, from the aperture to all light; negative. See
      `aperture_corrections`.
    - `max_error`: largest error of both stages, mag.
    - `min_bands`: number of bands with that error or less.
    - `ci_limit`: least concentration index, mag.
    - `ci_sky_slope`: its change per dex of local sky in V above `ci_sky_reference`: in bright
      surroundings the sky's noise widens the stars' distribution. 0 for one limit everywhere, as
      LEGUS used for NGC 628.
    - `ci_sky_reference`: electrons/s/pixel.
    - `max_absolute_v`: faintest absolute V magnitude, with the distance modulus of the frame.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    LegusSettings(detection_sigma=10.0, min_bands=2, ci_limit=1.3)
    ```
    """

    scale_factors: tuple[Mapping[str, float], ...] = SCALE_FACTORS
    detection_sigma: float = 20.0
    min_area_pix: int = 10
    deblend_levels: int = 32
    deblend_contrast: float = 0.005
    clean: float = 1.0
    back_size_pix: int = 30
    back_filter: int = 1
    centroid_sigma_pix: float = 1.0
    centroid_shift_pix: float = 3.0
    aperture_pix: float = APERTURE_PIX
    sky_pix: tuple[float, float] = SKY_PIX
    ci_pix: tuple[float, float] = (1.0, 3.0)
    aperture_correction: Mapping[str, float] = dataclasses.field(default_factory=dict)
    max_error: float = 0.3
    min_bands: int = 4
    ci_limit: float = 1.4
    ci_sky_slope: float = 0.0
    ci_sky_reference: float = 0.1
    max_absolute_v: float = -6.0

    def __post_init__(self) -> None:
        if not (self.detection_sigma > 0 and self.min_area_pix >= 1 and self.back_size_pix >= 4):
            raise ValueError(
                "detection_sigma > 0, min_area_pix >= 1 and back_size_pix >= 4; got "
                f"{self.detection_sigma}, {self.min_area_pix} and {self.back_size_pix}"
            )
        if not (self.centroid_sigma_pix >= 0 and self.centroid_shift_pix > 0):
            raise ValueError(
                "centroid_sigma_pix >= 0 and centroid_shift_pix > 0; got "
                f"{self.centroid_sigma_pix} and {self.centroid_shift_pix}"
            )
        if not (self.max_error > 0 and self.min_bands >= 1 and self.ci_sky_reference > 0):
            raise ValueError(
                "max_error, min_bands and ci_sky_reference are positive; got "
                f"{self.max_error}, {self.min_bands} and {self.ci_sky_reference}"
            )


@PIPELINES.register("legus")
@dataclasses.dataclass(frozen=True)
class LegusPipeline:
    """The survey of LEGUS (Adamo et al. 2017): white light, detection, photometry, stage 1 and
    stage 2. Needs sep (extra `images`).

    Sources are SExtractor's in white light; their centres are centroids in V (see `centroids`).
    Pixels that are bad in V are left out of the detection; where another band is bad, white light
    is that of the rest, scaled so that noise exceeds the threshold as often (`above_background`),
    and the source has no magnitude in that band. Of one band it is that band. Cuts, in order:

    - `v_error`: error in V ≤ max_error.
    - `b_or_i_error`: error in B or in I ≤ max_error; passed where the frame has neither band.
    - `ci`: concentration index in V at or above its limit; one that cannot be measured fails.
    - `n_bands`: at least `min_bands` bands with an error ≤ max_error (stage 2 from here).
    - `absolute_v`: M_V ≤ max_absolute_v, of the corrected magnitude.
    """

    settings: LegusSettings = dataclasses.field(default_factory=LegusSettings)

    Settings: ClassVar[type] = LegusSettings

    @classmethod
    def for_field(
        cls,
        frame: Frame,
        psfs: Mapping[str, PSF],
        settings: LegusSettings = LegusSettings(),
        *,
        eta: float = 1.5,
    ) -> "LegusPipeline":
        """The pipeline of a target: bands without an aperture correction get that of a model.

        **Arguments:**

        - `psfs`: one PSF for each band of the frame.
        - `settings`: what its `aperture_correction` says of a band is kept.
        - `eta`: slope of the isolated model cluster, see `aperture_corrections`.

        Raises `ValueError` for a correction of a band that the frame lacks, and for a band with
        neither a correction nor a PSF.

        ```python
        pipeline = LegusPipeline.for_field(frame, default_psfs(frame.bands))
        ```
        """
        corrections = all_corrections(settings, frame, psfs, eta)
        return cls(dataclasses.replace(settings, aperture_correction=corrections))

    @classmethod
    def for_survey(cls, settings: LegusSettings, field: Field) -> "LegusPipeline":
        """As `for_field`, from the parts of a survey file."""
        return cls.for_field(field.frame, field.psfs, settings, eta=field.eta)

    def describe(self) -> dict[str, Any]:
        settings = dataclasses.asdict(self.settings)
        settings["scale_factors"] = [dict(each) for each in self.settings.scale_factors]
        return {"pipeline": "legus", **settings}

    def __call__(self, frame: Frame) -> Detections:
        """Run on a frame; it must have a V band, and `min_bands` bands.

        Raises `ValueError` for a frame that lacks them or a band without an aperture correction.
        """
        s = self.settings
        v = frame.image(find_band(frame.bands, "V"))
        if len(frame.bands) < s.min_bands:
            raise ValueError(
                f"the frame has {len(frame.bands)} bands; {s.min_bands} are needed with small "
                "errors. Lower min_bands"
            )
        missing = [band for band in frame.bands if band not in s.aperture_correction]
        if missing:
            raise ValueError(
                f"no aperture correction for {', '.join(missing)}; `aperture_corrections` gives "
                "them for a PSF"
            )
        mesh = Mesh(s.back_size_pix, s.back_filter)
        above, limit = above_background(frame, s.scale_factors, mesh, s.detection_sigma, v.bad)
        x, y = _extract(above, limit, s, v.bad)
        x, y = centroids(v, x, y, s)
        n = len(x)
        mags, errors = np.empty((n, len(frame.bands))), np.empty((n, len(frame.bands)))
        ci, sky = np.full(n, np.nan), np.full(n, np.nan)
        for column, image in enumerate(frame):
            radii = (s.aperture_pix,) if image is not v else (s.aperture_pix, *s.ci_pix)
            measured = aperture_photometry(image, x, y, radii, s.sky_pix)
            mags[:, column], errors[:, column] = magnitudes(
                image, measured.flux[:, 0], measured.error[:, 0]
            )
            mags[:, column] += s.aperture_correction[image.band]
            if image is v:
                ci = image.mag(measured.flux[:, 1]) - image.mag(measured.flux[:, 2])
                sky = measured.sky
        small = errors <= s.max_error
        v_at = frame.index(v.band)
        b_or_i = [frame.index(band) for band in of_letter(frame.bands, "B", "I")]
        with np.errstate(invalid="ignore", divide="ignore"):
            dex = np.log10(np.maximum(sky, s.ci_sky_reference) / s.ci_sky_reference)
        limit = s.ci_limit + s.ci_sky_slope * np.nan_to_num(dex)
        cuts = {
            "v_error": small[:, v_at],
            "b_or_i_error": small[:, b_or_i].any(1) if b_or_i else np.ones(n, bool),
            "ci": ci >= limit,
            "n_bands": small.sum(1) >= s.min_bands,
            "absolute_v": mags[:, v_at] - frame.distance_modulus <= s.max_absolute_v,
        }
        return Detections(frame.bands, x, y, mags, errors, ci, cuts, {"sky_v": sky})


def detect(
    white: Float[np.ndarray, "row col"],
    settings: LegusSettings,
    bad: np.ndarray | None = None,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Positions (x, y) of sources, pixels, by SExtractor's method (sep).

    **Arguments:**

    - `white`: `(row, col)`, the image of detection, see `white_light`.
    - `settings`: thresholds, deblending and background.
    - `bad`: `(row, col)`, pixels to leave out, or None.

    Raises `RuntimeError` where sep gives up, with what to change.

    ```python
    x, y = detect(white_light(frame), LegusSettings(detection_sigma=10.0))
    ```
    """
    import sep

    s = settings
    white = np.ascontiguousarray(white, np.float32)
    mesh = dict(bw=s.back_size_pix, bh=s.back_size_pix, fw=s.back_filter, fh=s.back_filter)
    background = sep.Background(white, mask=_mask(bad), **mesh)
    above = white - background.back(dtype=np.float32)
    return _extract(above, s.detection_sigma * background.globalrms, s, bad)


def _mask(bad: np.ndarray | None) -> np.ndarray | None:
    # sep refuses arrays that are read-only.
    return np.array(bad) if bad is not None and bad.any() else None


def _extract(
    above: Float[np.ndarray, "row col"],
    threshold: float,
    settings: LegusSettings,
    bad: np.ndarray | None,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Positions of sources in an image without background, above a threshold."""
    import sep

    s = settings
    before = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    try:
        # All of the image may be above the threshold before sep runs out of its stack.
        sep.set_extract_pixstack(max(before[0], above.size + 300_000))
        sep.set_sub_object_limit(max(before[1], 4096))
        found = sep.extract(
            np.ascontiguousarray(above, np.float32),
            threshold,
            minarea=s.min_area_pix,
            filter_kernel=None,
            deblend_nthresh=s.deblend_levels,
            deblend_cont=s.deblend_contrast,
            clean=s.clean > 0,
            clean_param=s.clean or 1.0,
            mask=_mask(bad),
        )
    except Exception as error:
        raise RuntimeError(
            f"sep could not detect sources ({error}); a higher detection_sigma or a smaller frame "
            "leaves fewer pixels above the threshold"
        ) from error
    finally:
        sep.set_extract_pixstack(before[0])
        sep.set_sub_object_limit(before[1])
    return np.asarray(found["x"], float), np.asarray(found["y"], float)


def centroids(
    image: BandImage,
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    settings: LegusSettings,
) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "m"]]:
    """Centres of sources in an image: SExtractor's windowed positions (sep), without doubles.

    The barycentre of all pixels above the threshold is pulled aside by the light around it, by up
    to some pixels, and a star measured so far off its centre has the concentration index of a
    cluster. Of sources with one centre, within a quarter of a pixel, the one whose barycentre is
    closest to it is kept.

    **Arguments:**

    - `image`: the band, V in the pipeline.
    - `x`, `y`: `(n,)`, barycentres, pixels.
    - `settings`: width of the window, and the largest shift.

    Returns x and y of those that are left.

    ```python
    some = LegusSettings(detection_sigma=10.0)
    x, y = centroids(frame.image("ACS_F555W"), *detect(white_light(frame), some), some)
    ```
    """
    import sep

    s = settings
    if not (s.centroid_sigma_pix and len(x)):
        return x, y
    # sep refuses arrays that are read-only.
    data = np.array(image.data, np.float32)
    bad = np.array(image.bad) if image.bad is not None and image.bad.any() else None
    mesh = dict(bw=s.back_size_pix, bh=s.back_size_pix, fw=s.back_filter, fh=s.back_filter)
    data -= sep.Background(data, mask=bad, **mesh).back(dtype=np.float32)
    if bad is not None:
        data[bad] = 0
    at_x, at_y, _ = sep.winpos(data, x, y, s.centroid_sigma_pix, mask=bad)
    shift = np.hypot(at_x - x, at_y - y)
    moved = shift <= s.centroid_shift_pix
    at_x, at_y, shift = (
        np.where(moved, at_x, x),
        np.where(moved, at_y, y),
        np.where(moved, shift, 0),
    )
    pairs = KDTree(np.stack([at_x, at_y], axis=1)).query_pairs(_SAME_PIX, output_type="ndarray")
    keep = np.ones(len(x), bool)
    keep[np.where(shift[pairs[:, 0]] <= shift[pairs[:, 1]], pairs[:, 1], pairs[:, 0])] = False
    return at_x[keep], at_y[keep]


def aperture_corrections(
    psfs: Mapping[str, PSF],
    pc_per_pixel: float,
    r_eff_pc: float = 3.0,
    eta: float = 1.5,
    aperture_pix: float = APERTURE_PIX,
    sky_pix: tuple[float, float] = SKY_PIX,
) -> dict[str, float]:
    """Magnitudes to add to an aperture's to have all light, for an isolated model cluster.

    LEGUS averages isolated clusters of each field; an EFF profile of about their median radius
    behind the PSF stands for them. Negative: the aperture holds less than all light.

    **Arguments:**

    - `psfs`: one PSF for each band.
    - `pc_per_pixel`: side of a pixel, pc.
    - `r_eff_pc`, `eta`: half-light radius (pc) and slope of the model, (1 + r²/a²)^(−eta).
    - `aperture_pix`, `sky_pix`: radius of the aperture, and radii of the annulus of the sky,
      pixels.

    ```python
    aperture_corrections(psfs, frame.pc_per_pixel)["ACS_F555W"]
    ```
    """
    templates = Templates(psfs, pc_per_pixel, ProfileSettings(eta=eta))
    out = {}
    for band, psf in psfs.items():
        side = 2 * int(psf.radius_pix) + 1
        middle = np.array([float(side // 2)])
        data = np.zeros((side, side), np.float32)
        add_sources(data, templates.get(band, r_eff_pc), middle, middle, np.ones(1))
        image = BandImage(band, data, exposure_s=1.0, zero_point=0.0)
        flux = aperture_photometry(image, middle, middle, (aperture_pix,), sky_pix).flux[0, 0]
        out[band] = float(2.5 * np.log10(flux))
    return out


@runtime_checkable
class _Photometry(Protocol):
    """Settings that say how apertures are measured."""

    @property
    def aperture_correction(self) -> Mapping[str, float]: ...
    @property
    def aperture_pix(self) -> float: ...
    @property
    def sky_pix(self) -> tuple[float, float]: ...


def all_corrections(
    settings: _Photometry, frame: Frame, psfs: Mapping[str, PSF], eta: float
) -> dict[str, float]:
    """An aperture correction for each band of a frame: those that settings give, the rest of PSFs.

    **Arguments:**

    - `settings`: of the pipeline. `psfs`: of the bands that have no correction.
    - `eta`: slope of the isolated model cluster, see `aperture_corrections`.

    Raises `ValueError` for a correction of a band that the frame lacks, and for a band with
    neither a correction nor a PSF.

    ```python
    all_corrections(LegusSettings(), frame, psfs, eta=1.5)["ACS_F555W"]
    ```
    """
    given = dict(settings.aperture_correction)
    if unknown := [band for band in given if band not in frame.bands]:
        raise ValueError(
            f"aperture_correction: no band {', '.join(unknown)}; there are {', '.join(frame.bands)}"
        )
    rest = [band for band in frame.bands if band not in given]
    if missing := [band for band in rest if band not in psfs]:
        raise ValueError(
            f"no PSF of {', '.join(missing)}, nor an aperture correction; got "
            f"{', '.join(psfs) or 'none'}. `default_psfs(frame.bands)` makes them"
        )
    made = aperture_corrections(
        {band: psfs[band] for band in rest},
        frame.pc_per_pixel,
        eta=eta,
        aperture_pix=settings.aperture_pix,
        sky_pix=settings.sky_pix,
    )
    return made | given
