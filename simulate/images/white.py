"""The white-light image on which LEGUS detects clusters (Calzetti et al. 2015; C-4, appendix A)."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from starcensus.bands import find_band, look_up

from .frame import Frame

# C-4, table 1: scale factors for main-sequence stars of 21 Myr, and for red giants.
SCALE_FACTORS: tuple[Mapping[str, float], ...] = (
    {"NUV": 55.8, "U": 45.3, "B": 44.2, "V": 65.7, "I": 29.3},
    {"NUV": 0.5, "U": 0.8, "B": 3.1, "V": 11.2, "I": 13.7},
)


def white_light(
    frame: Frame, scale_factors: tuple[Mapping[str, float], ...] = SCALE_FACTORS
) -> Float[np.ndarray, "row col"]:
    """Mean, over the sets of scale factors, of [Σ (f'/s)²]^½ / [Σ 1/s²]^½ (Tang et al.,
    arXiv:2604.05291, equation 19).

    f' is a band's image minus its median, clipped at zero. As light adds in quadrature, an image
    with clusters in it is not the sum of an image without and one of clusters: it has to be made
    from the bands that have them. Where a band is bad both sums are over the others; where all are
    the value is 0.

    **Arguments:**

    - `frame`: the bands.
    - `scale_factors`: sets of s, by band, filter or letter of the broad band.

    Raises `ValueError` for a band without a scale factor.

    ```python
    white_light(frame, ({"B": 60.0, "V": 65.7},)).shape
    ```
    """
    every = []
    for factors in scale_factors:
        every.append({b: s for b in frame.bands if (s := look_up(factors, b)) is not None})
        if missing := [band for band in frame.bands if band not in every[-1]]:
            raise ValueError(
                f"no scale factor for {', '.join(missing)}; there are {', '.join(factors)}. Pass "
                "scale_factors with one for each band, filter or letter (NUV, U, B, V, I)"
            )
    sums = [np.zeros(frame.shape, np.float32) for _ in scale_factors]
    norms = [np.zeros(frame.shape, np.float32) for _ in scale_factors]
    for image in frame:
        good = np.ones(image.shape, bool) if image.bad is None else ~image.bad
        above = image.data - np.float32(np.median(image.data[good]))
        np.maximum(above, 0, out=above)
        above[~good] = 0
        above *= above
        for total, norm, found in zip(sums, norms, every, strict=True):
            weight = np.float32(found[image.band] ** -2)
            total += above * weight
            norm += good * weight
    white = np.zeros(frame.shape, np.float32)
    for total, norm in zip(sums, norms, strict=True):
        ratio = np.divide(total, norm, out=np.zeros_like(total), where=norm > 0)
        white += np.sqrt(ratio) / len(scale_factors)
    return white


def placement_density(
    frame: Frame,
    sigma_pc: float = 120.0,
    margin_pix: int = 12,
    scale_factors: tuple[Mapping[str, float], ...] = SCALE_FACTORS,
) -> Float[np.ndarray, "row col"]:
    """Probability of placing a cluster in each pixel: white light smoothed with a Gaussian.

    At 9.9 Mpc and 0.0396 arcsec per pixel 120 pc are 63 pixels (C-4, section 3.2.2). Pixels within
    `margin_pix` of the border or of one that is bad in V, where apertures do not fit, get none.

    Raises `ValueError` for a frame without V band, or that leaves no pixel, or no light.
    """
    white = white_light(frame, scale_factors)
    density = ndimage.gaussian_filter(white, sigma_pc / frame.pc_per_pixel, mode="nearest")
    inner = np.zeros(frame.shape, bool)
    inner[margin_pix : frame.shape[0] - margin_pix, margin_pix : frame.shape[1] - margin_pix] = True
    bad = frame.image(find_band(frame.bands, "V")).bad
    if bad is not None and bad.any():
        inner &= np.asarray(ndimage.distance_transform_edt(~bad)) > margin_pix
    density = np.where(inner, density, 0.0).astype(np.float64)
    total = density.sum()
    if not total > 0:
        raise ValueError(
            f"no pixel of the frame of {frame.shape} can take a cluster: all are dark, bad, or "
            f"within {margin_pix} pixels of the border"
        )
    return density / total


def draw_positions(
    density: Float[np.ndarray, "row col"], n: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """`n` independent positions (x, y), uniform within the pixels that the density chooses."""
    cumulative = np.cumsum(density, axis=None)
    pixel = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
    row, col = np.divmod(np.minimum(pixel, density.size - 1), density.shape[1])
    offset = rng.random((2, n)) - 0.5
    return col + offset[0], row + offset[1]
