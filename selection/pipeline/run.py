"""How a survey pipeline is run on the images of a field."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, UInt8

from starcensus.bands import reference_band

from ...simulate.images.frame import Frame
from ...simulate.images.psf import PSF
from ..catalogue.photometry import BandState
from ._base import Pipeline, describe_pipeline, find_with
from .detections import Detections
from .facts import facts_of_frame
from .photometry import APERTURE_PIX, SKY_PIX, is_whole


def run_pipeline(
    pipeline: Pipeline, frame: Frame, psfs: Mapping[str, PSF] | None = None
) -> Detections:
    """What a pipeline finds in a frame, with positions on the sky and facts of the survey.

    The column `near_edge` is True where V, or the band nearest to it, has no data somewhere within
    8 pixels of a source, which its aperture or its sky may lack. Where the pipeline does not say
    why a band has no magnitude, it is not observed where the band lacks data within 4 pixels, and
    not detected elsewhere.

    **Arguments:**

    - `pipeline`: ours, or any function from a frame to `Detections` that describes itself.
    - `frame`: the images. `psfs`: of its bands, where known, for the facts.

    Raises as `find_with`.

    ```python
    found = run_pipeline(pipeline, frame)
    found.counts, found.mags[found.catalogued]
    ```
    """
    return completed(find_with(pipeline, frame), pipeline, frame, psfs)


def completed(
    found: Detections,
    pipeline: Pipeline,
    frame: Frame,
    psfs: Mapping[str, PSF] | None = None,
) -> Detections:
    """What `run_pipeline` makes of what a pipeline returned for a frame.

    ```python
    completed(find_with(pipeline, frame), pipeline, frame).sky
    ```
    """
    described = describe_pipeline(pipeline)
    reference = frame.image(reference_band(frame.bands))
    near_edge = ~is_whole(reference, found.x, found.y, SKY_PIX[1])
    return dataclasses.replace(
        found,
        columns={**found.columns, "near_edge": near_edge},
        states=_states(frame, found) if found.states is None else found.states,
        sky=_sky(frame, found),
        distance_modulus=frame.distance_modulus,
        pipeline=described,
        survey=facts_of_frame(frame, psfs, described),
    )


def _states(frame: Frame, found: Detections) -> UInt8[np.ndarray, "n band"]:
    """Why sources have no magnitude in a band: a pipeline gives one to every positive flux."""
    whole = [is_whole(image, found.x, found.y, APERTURE_PIX) for image in frame]
    lacking = np.where(np.stack(whole, axis=1), BandState.NOT_DETECTED, BandState.NOT_OBSERVED)
    return np.where(np.isnan(found.mags), lacking, BandState.MEASURED).astype(np.uint8)


def _sky(frame: Frame, found: Detections) -> Float[np.ndarray, "n 2"] | None:
    """Right ascension and declination of the sources, by the first image that has a WCS."""
    wcs = next((image.wcs for image in frame if image.wcs is not None), None)
    if wcs is None:
        return None
    return np.stack(
        [np.asarray(each, float) for each in wcs.pixel_to_world_values(found.x, found.y)], 1
    )
