"""Images as a network was taught them, or a refusal."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32

from ...simulate.images.frame import Frame

_SAME_SCALE, _SAME_MODULUS = 0.01, 0.1


def as_taught(
    frame: Frame, bands: tuple[str, ...], stamps: Mapping[str, Any], max_exposure_ratio: float
) -> Float32[np.ndarray, "band row col"]:
    """Bands of a frame with the zero points of a network's mocks; NaN where pixels are bad.

    **Arguments:**

    - `bands`: that the network looks at, in its order.
    - `stamps`: what `StampSettings.describe` said of its mocks.
    - `max_exposure_ratio`: largest ratio of an exposure to that of the mocks, either way.

    Raises `ValueError` for a frame that lacks a band, or whose pixels, distance or exposures are
    others than those of the mocks.

    ```python
    as_taught(frame, frame.bands, described, 1.5)
    ```
    """
    if missing := [band for band in bands if band not in frame.bands]:
        raise ValueError(
            f"the images have no {', '.join(missing)}, and the network looks at "
            f"{', '.join(bands)}: train one for these bands"
        )
    scale, modulus = stamps["pixel_scale_arcsec"], stamps["distance_modulus"]
    if abs(frame.pixel_scale_arcsec / scale - 1) > _SAME_SCALE:
        raise ValueError(
            f"pixels have {frame.pixel_scale_arcsec:.4g} arcsec and those that the network was "
            f"taught {scale:.4g}: train one for these images"
        )
    if abs(frame.distance_modulus - modulus) > _SAME_MODULUS:
        raise ValueError(
            f"the distance modulus is {frame.distance_modulus:.5g} and that of the network's "
            f"mocks {modulus:.5g}: masses and sizes would be wrong; train one for this distance"
        )
    planes = []
    taught = {each["band"]: each for each in stamps["exposures"]}
    for band in bands:
        image, mocks = frame.image(band), taught[band]
        ratio = image.exposure_s / mocks["exposure_s"]
        if not 1 / max_exposure_ratio <= ratio <= max_exposure_ratio:
            raise ValueError(
                f"{band} was exposed for {image.exposure_s:g} s and the network's mocks for "
                f"{mocks['exposure_s']:g} s; its noise is another. Train one for these images, "
                "or allow it by max_exposure_ratio"
            )
        planes.append(_plane(frame, band, mocks["zero_point"]))
    return np.stack(planes)


def as_they_are(frame: Frame, bands: tuple[str, ...]) -> Float32[np.ndarray, "band row col"]:
    """Bands of a frame, in electrons/s; NaN where pixels are bad.

    Raises `ValueError` for a frame that lacks a band.

    ```python
    as_they_are(frame, frame.bands)
    ```
    """
    if missing := [band for band in bands if band not in frame.bands]:
        raise ValueError(
            f"the images have no {', '.join(missing)}; there are {', '.join(frame.bands)}"
        )
    return np.stack([_plane(frame, band, frame.image(band).zero_point) for band in bands])


def _plane(frame: Frame, band: str, zero_point: float) -> Float32[np.ndarray, "row col"]:
    image = frame.image(band)
    plane = image.data.astype(np.float32) * np.float32(
        10 ** (0.4 * (zero_point - image.zero_point))
    )
    if image.bad is not None:
        plane[image.bad] = np.nan
    return plane
