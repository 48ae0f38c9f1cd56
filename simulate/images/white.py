"""The white-light image on which LEGUS detects clusters (Calzetti et al. 2015; C-4, appendix A)."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from starcensus.bands import look_up, reference_band

from .frame import Frame

# C-4, table 1: scale factors for main-sequence stars of 21 Myr, and for red giants.
SCALE_FACTORS: tuple[Mapping[str, float], ...] = (
    {"NUV": 55.8, "U": 45.3, "B": 44.2, "V": 65.7, "I": 29.3},
    {"NUV": 0.5, "U": 0.8, "B": 3.1, "V": 11.2, "I": 13.7},
)


# Parts with a smaller share of the field keep the light of the bands that they have.
_SMALL_PART = 1e-3


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


def band_codes(covered: Bool[np.ndarray, "band row col"]) -> Int[np.ndarray, "row col"]:
    """A number for each pixel, whose bit b is set where band b has data."""
    codes = np.zeros(covered.shape[1:], np.int64)
    for band, plane in enumerate(covered):
        codes |= plane.astype(np.int64) << band
    return codes


def bands_of(code: int, n_bands: int) -> Bool[np.ndarray, "band"]:
    """Which bands a number of `band_codes` stands for."""
    return (code >> np.arange(n_bands)) & 1 == 1


def even_white_light(
    frame: Frame, scale_factors: tuple[Mapping[str, float], ...] = SCALE_FACTORS
) -> Float[np.ndarray, "row col"]:
    """White light as if all bands covered all of the field.

    Where some are missing it is multiplied by what they add where all are there, so that it has no
    step where a band ends. Raises as `white_light`.

    ```python
    even_white_light(frame)
    ```
    """
    white = white_light(frame, scale_factors)
    if not frame.bad.any():
        return white
    codes = band_codes(frame.covered)
    n = len(frame.bands)
    everywhere = codes == 2**n - 1
    kinds, counts = np.unique(codes, return_counts=True)
    for code, count in zip(kinds, counts, strict=True):
        if code in (0, 2**n - 1) or count < _SMALL_PART * codes.size or not everywhere.any():
            continue
        some = frame.select(tuple(np.array(frame.bands)[bands_of(int(code), n)].tolist()))
        light = float(white_light(some, scale_factors)[everywhere].sum(dtype=float))
        if light > 0:
            white[codes == code] *= np.float32(white[everywhere].sum(dtype=float) / light)
    return white


def placement_density(
    frame: Frame,
    sigma_pc: float = 120.0,
    margin_pix: int = 0,
    scale_factors: tuple[Mapping[str, float], ...] = SCALE_FACTORS,
) -> Float[np.ndarray, "row col"]:
    """Probability of placing a cluster in each pixel: white light smoothed with a Gaussian.

    At 9.9 Mpc and 0.0396 arcsec per pixel 120 pc are 63 pixels (C-4, section 3.2.2). Pixels within
    `margin_pix` of the border or of one that is bad in V get none, nor do those that are bad in V
    or have no pixel for a local sky; without V it is the band nearest to it. With a margin of 0
    what apertures lose at borders is part of what becomes of clusters. Light is that of
    `even_white_light`.

    Raises `ValueError` for a frame that leaves no pixel, or no light.
    """
    white = even_white_light(frame, scale_factors)
    density = ndimage.gaussian_filter(white, sigma_pc / frame.pc_per_pixel, mode="nearest")
    inner = np.zeros(frame.shape, bool)
    inner[margin_pix : frame.shape[0] - margin_pix, margin_pix : frame.shape[1] - margin_pix] = True
    bad = frame.image(reference_band(frame.bands)).bad
    if bad is not None and bad.any():
        inner &= ~bad & _has_sky(~bad)
        if margin_pix:
            inner &= np.asarray(ndimage.distance_transform_edt(~bad)) > margin_pix
    density = np.where(inner, density, 0.0).astype(np.float64)
    total = density.sum()
    if not total > 0:
        raise ValueError(
            f"no pixel of the frame of {frame.shape} can take a cluster: all are dark, bad, or "
            f"within {margin_pix} pixels of the border"
        )
    return density / total


def _has_sky(good: Bool[np.ndarray, "row col"]) -> Bool[np.ndarray, "row col"]:
    """Where a ring of 7 to 8 pixels, in which skies are measured, has a pixel with data."""
    from scipy import signal

    step = np.arange(-8, 9)
    radius = np.hypot(step[:, None], step)
    ring = ((radius >= 7) & (radius < 8)).astype(np.float32)
    n = np.asarray(signal.oaconvolve(good.astype(np.float32), ring, mode="same"))
    return n > 0.5


def draw_positions(
    density: Float[np.ndarray, "row col"], n: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """`n` independent positions (x, y), uniform within the pixels that the density chooses."""
    cumulative = np.cumsum(density, axis=None)
    pixel = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
    row, col = np.divmod(np.minimum(pixel, density.size - 1), density.shape[1])
    offset = rng.random((2, n)) - 0.5
    return col + offset[0], row + offset[1]
