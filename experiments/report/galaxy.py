"""A picture of a galaxy's frame in colour."""

import pathlib

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.image import imsave

from starcensus.bands import of_letter, wavelength_order
from starcensus.files import replacing
from starcensus.simulate import Frame

_SIDE, _SOFTENING = 640, 20.0


def write_picture(frame: Frame, path: pathlib.Path, side: int = _SIDE) -> None:
    """Write a PNG to look at, at most `side` pixels wide."""
    picture = colour_picture(frame, side)
    with replacing(path) as temporary:
        imsave(temporary, picture, origin="lower", format="png")


def colour_picture(frame: Frame, side: int = _SIDE) -> UInt8[np.ndarray, "row col 3"]:
    """Red, green and blue of a frame, at most `side` pixels wide; the first row is at the bottom.

    Light above the sky is stretched by arcsinh, its colour kept; the mean colour is made grey.
    """
    bands = sorted(frame.bands, key=wavelength_order)
    green = (*of_letter(bands, "V"), bands[len(bands) // 2])[0]
    blue = (*of_letter(bands, "B"), bands[0])[0]
    step = max(1, int(np.ceil(max(frame.shape) / side)))
    channels = [_channel(frame, band, step) for band in (bands[-1], green, blue)]
    return _stretch(np.stack(channels, axis=2))


def _channel(frame: Frame, band: str, step: int) -> Float[np.ndarray, "row col"]:
    """Light of a band above its sky in units of its mean, in blocks of `step` pixels."""
    image = frame.image(band)
    rows, cols = (n // step for n in frame.shape)
    data = np.where(image.bad, 0, image.data) if image.bad is not None else image.data
    data = data[: rows * step, : cols * step].reshape(rows, step, cols, step).mean((1, 3))
    data = np.maximum(data - np.percentile(data, 0.5), 0)
    return data / max(float(data.mean()), 1e-30)


def _stretch(light: Float[np.ndarray, "row col 3"]) -> UInt8[np.ndarray, "row col 3"]:
    total = light.mean(2)
    top = max(float(np.percentile(total, 99.95)), 1e-30)
    shown = np.arcsinh(total * _SOFTENING / top) / np.arcsinh(_SOFTENING)
    rgb = light * (shown / np.maximum(total, 1e-30))[:, :, None]
    # Colours that do not fit keep their ratios.
    rgb /= np.maximum(rgb.max(2), 1.0)[:, :, None]
    # Noise takes most of a PNG; nobody sees its last two bits.
    return (np.round(rgb * 63) * (255 / 63)).astype(np.uint8)
