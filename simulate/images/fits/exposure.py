"""Whether an exposure time is that of the image: what its noise, its reads and other bands say.

Photons of the sky and reading make noise of variance sky/t + n r²/t² in images of electrons per
second. Drizzling shares noise among pixels, which lowers their own, and structure raises it, both
within limits; the time of a frame that was normalised to a second is off by hundreds.
"""

import os

import numpy as np
from jaxtyping import Bool, Float

from ..noise import LAG, differences, scatter
from .keywords import Keywords

_BLOCK = 32
_MOST_BLOCKS = 2000
_FEWEST_BLOCKS = 4
# Noise of drizzled pixels has 0.1 to 1 of the variance of independent ones; structure has to hide
# in three quarters of the blocks to be above the other limit.
_LEAST, _MOST = 0.02, 300.0
_QUANTILE = 0.25
# Exposure times of bands of one field differ by factors up to ten.
_OTHER_BANDS = 100.0


def check_exposure(
    found: Keywords,
    rate: Float[np.ndarray, "row col"],
    bad: Bool[np.ndarray, "row col"],
    exposure_s: float,
    read_noise_e: float,
    n_exposures: int,
) -> None:
    """Raises `ValueError` for an exposure time that the image itself contradicts.

    **Arguments:**

    - `found`: keywords of the image, for messages.
    - `rate`: `(row, col)`, electrons/s. `bad`: where there are none.
    - `exposure_s`, `read_noise_e`, `n_exposures`: as in `BandImage`.
    """
    if exposure_s == 1 and n_exposures > 1:
        raise found.error(
            "EXPTIME",
            f"is 1 s and {n_exposures} exposures were combined: the frame was normalised to a "
            "second; pass exposure_s, the total in seconds",
        )
    level, variance = _blocks(rate, bad)
    if len(level) < _FEWEST_BLOCKS:
        return
    of_reading = n_exposures * read_noise_e**2
    photons = np.maximum(level, 0) * exposure_s
    expected = (photons + of_reading) / exposure_s**2
    ratio = float(np.quantile(variance / expected, _QUANTILE)) if expected.min() > 0 else 1.0
    lit = photons > of_reading
    too_high = lit.sum() >= _FEWEST_BLOCKS and (
        float(np.quantile((variance / np.maximum(expected, 1e-300))[lit], _QUANTILE)) > _MOST
    )
    if ratio >= _LEAST and not too_high:
        return
    middle = int(np.argsort(variance / np.maximum(expected, 1e-300))[int(_QUANTILE * len(level))])
    noise, mean = float(variance[middle]), max(float(level[middle]), 0.0)
    fitting = (mean + np.sqrt(mean**2 + 4 * noise * of_reading)) / (2 * noise)
    smaller = ratio < _LEAST
    factor = np.sqrt(expected[middle] / noise) ** (1 if smaller else -1)
    raise found.error(
        "EXPTIME",
        f"gives {exposure_s:g} s, for which the noise of the pixels, {np.sqrt(noise):.3g} "
        f"electrons/s at a level of {mean:.3g}, is {factor:.3g} times too "
        f"{'small' if smaller else 'large'}; it is that of about {fitting:.2g} s. "
        + (
            "Was the frame normalised to a second? Pass exposure_s, the total in seconds"
            if smaller
            else "Is it electrons, and not electrons per second? Pass unit, or exposure_s"
        ),
    )


def check_other_bands(
    times: list[tuple[str, str | os.PathLike[str], float, bool]],
) -> None:
    """Raises `ValueError` for a band whose time is a hundredth, or a hundred times, the others'.

    `times`: name of each band, its file, exposure time (s), and whether it is a user's own number.
    """
    for band, path, exposure_s, given in times:
        others = [time for other, _, time, _ in times if other != band]
        if given or not others:
            continue
        usual = float(np.median(others))
        if not 1 / _OTHER_BANDS < exposure_s / usual < _OTHER_BANDS:
            raise ValueError(
                f"{path}: EXPTIME of {band} is {exposure_s:g} s, and other bands have "
                f"{', '.join(f'{time:g}' for time in others)}; was it normalised to a second? Pass "
                "exposure_s for this band, the total in seconds (in a survey file "
                f"[images.read_band.{band}])"
            )


def _blocks(
    rate: Float[np.ndarray, "row col"], bad: Bool[np.ndarray, "row col"]
) -> tuple[Float[np.ndarray, "block"], Float[np.ndarray, "block"]]:
    """Level (electrons/s) and variance of a pixel in blocks of the image without bad pixels.

    Of `differences`, so that smooth light does not count.
    """
    width = _BLOCK + 2 * LAG
    n_rows, n_cols = rate.shape[0] // _BLOCK, rate.shape[1] // width
    places = np.arange(n_rows * n_cols)
    places = places[:: max(1, len(places) // _MOST_BLOCKS)]
    levels, variances = [], []
    for row, col in zip(*np.divmod(places, max(n_cols, 1)), strict=True):
        at = slice(row * _BLOCK, (row + 1) * _BLOCK), slice(col * width, (col + 1) * width)
        if bad[at].any():
            continue
        block = rate[at].astype(float)
        sigma = scatter(differences(block))
        # Where nothing varies there is no noise to judge by.
        if sigma > 0:
            levels.append(float(np.median(block)))
            variances.append(sigma**2)
    return np.array(levels), np.array(variances)
