"""Facts of a survey from its images, PSFs and pipeline."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from starcensus.bands import reference_band

from ...simulate.images.frame import BandImage, Frame
from ...simulate.images.psf import PSF
from ...simulate.images.white import draw_positions, placement_density
from ..operators.facts import BandFacts, SurveyFacts, pipeline_text, quantiles
from ._base import Pipeline, describe_pipeline
from .photometry import SKY_PIX, annulus_sky

# Pixels and places that are enough for a median to 1%.
_PIXELS, _PLACES = 200_000, 4_000
_SIGMA_OF_MAD = 1.4826


def facts_of_frame(
    frame: Frame,
    psfs: Mapping[str, PSF] | None = None,
    pipeline: Pipeline | Mapping[str, Any] | None = None,
    density: Float[np.ndarray, "row col"] | None = None,
) -> SurveyFacts:
    """What the images say of a survey; its skies are those of places that follow the light.

    **Arguments:**

    - `frame`: the untouched images.
    - `psfs`: of the bands, where known. `pipeline`: the survey's, or what it says of itself.
    - `density`: where clusters are put, by default as `InjectionPlan` has it. The skies are not
      known where that has no place: no light, or a band without a weight in it.

    ```python
    facts_of_frame(frame, psfs, pipeline).sky
    ```
    """
    psfs = psfs or {}
    sums = {band: psf.sha256() for band, psf in psfs.items()}
    said = pipeline
    if said is not None and not isinstance(said, Mapping):
        said = describe_pipeline(said)
    return SurveyFacts(
        field=frame.field or None,
        distance_modulus=frame.distance_modulus,
        bands=tuple(
            BandFacts(
                image.band,
                image.exposure_s,
                noise_mag(image),
                sums.get(image.band),
                None if image.band not in psfs else fwhm_arcsec(psfs[image.band]),
            )
            for image in frame
        ),
        sky=_skies(frame, density),
        pipeline=None if said is None else pipeline_text(said),
        frame_sha256=frame_sha256(frame),
    )


def noise_mag(image: BandImage) -> float | None:
    """Vega magnitude of the rms noise of a pixel, from the differences of pixels two apart.

    None where no pair of pixels is good, or where they do not differ.

    ```python
    noise_mag(frame.image("ACS_F555W"))
    ```
    """
    good = np.isfinite(image.data) if image.bad is None else ~image.bad
    pairs = good[:, 2:] & good[:, :-2]
    steps = (image.data[:, 2:] - image.data[:, :-2])[pairs].astype(float)
    steps = steps[:: max(1, len(steps) // _PIXELS)]
    if not len(steps):
        return None
    rms = _SIGMA_OF_MAD * float(np.median(np.abs(steps - np.median(steps)))) / np.sqrt(2)
    return float(image.mag(np.array(rms))) if rms > 0 else None


def fwhm_arcsec(psf: PSF) -> float:
    """Width of a PSF at half of its peak, arcsec: of the circle with the area above half.

    ```python
    fwhm_arcsec(psfs["ACS_F555W"])
    ```
    """
    side = psf.pixel_scale_arcsec / psf.oversampling
    return float(2 * np.sqrt(_area_above_half(psf.image) / np.pi) * side)


def _area_above_half(image: Float[np.ndarray, "row col"]) -> float:
    """Pixels above half of the peak, those that the level cuts in part, so that it is smooth."""
    from scipy.ndimage import zoom

    half = image.shape[0] // 2
    reach = min(half, 24)
    middle = image[half - reach : half + reach + 1, half - reach : half + reach + 1]
    fine = 8
    smooth = np.asarray(
        zoom(np.asarray(middle, float), fine, order=3, mode="nearest", grid_mode=True)
    )
    return float((smooth > smooth.max() / 2).sum()) / fine**2


def frame_sha256(frame: Frame) -> str:
    """Checksum of the images' pixels and of the numbers that make them magnitudes.

    ```python
    frame_sha256(frame)
    ```
    """
    pixels = hashlib.sha256()
    for image in frame:
        pixels.update(image.band.encode())
        for plane in (image.data, image.bad, image.weight):
            pixels.update(b"" if plane is None else np.ascontiguousarray(plane).tobytes())
        numbers = [image.exposure_s, image.zero_point, image.read_noise_e, image.n_exposures]
        pixels.update(json.dumps(numbers).encode())
    return pixels.hexdigest()


def _skies(frame: Frame, density: Float[np.ndarray, "row col"] | None) -> tuple[float, ...]:
    """Quantiles of the local sky, in the reference band, where injections are put."""
    image = frame.image(reference_band(frame.bands))
    if density is None:
        try:
            density = placement_density(frame)
        except ValueError:
            return ()
    x, y = draw_positions(density, _PLACES, np.random.default_rng(0))
    return quantiles(annulus_sky(image, x, y, SKY_PIX)[0])
