"""Circular-aperture photometry with a local sky, in electrons per second."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from ...simulate.images.frame import BandImage

# Of LEGUS and PHANGS-HST: the aperture of their magnitudes and the annulus of its sky.
APERTURE_PIX, SKY_PIX = 4.0, (7.0, 8.0)

_CLIP_SIGMA, _CLIP_ROUNDS = 3.0, 5
# The median of many pixels is this much more uncertain (in variance) than their mean.
MEDIAN_VARIANCE = np.pi / 2


@dataclasses.dataclass(frozen=True, eq=False)
class Apertures:
    """Photometry of n sources in several apertures.

    **Arguments:**

    - `flux`: `(n, radius)`, electrons/s above the sky.
    - `error`: `(n, radius)`, its error, electrons/s.
    - `sky`, `sky_std`: `(n,)`, median and scatter of the sky in a pixel, electrons/s.
    - `n_sky`: `(n,)`, number of pixels they come from.
    """

    flux: Float[np.ndarray, "n radius"]
    error: Float[np.ndarray, "n radius"]
    sky: Float[np.ndarray, "n"]
    sky_std: Float[np.ndarray, "n"]
    n_sky: Int[np.ndarray, "n"]


def aperture_photometry(
    image: BandImage,
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    radii_pix: tuple[float, ...],
    sky_pix: tuple[float, float] = SKY_PIX,
    sky_variance: float = 1.0,
    correlation: float = 1.0,
) -> Apertures:
    """Fluxes in circles of exact overlap with pixels, and their errors.

    The sky is the median of the pixels whose centres lie in the annulus `sky_pix`, after clipping
    at 3σ until nothing changes (at most five times). The error, with everything in electrons, is
    σ² = F + C (A σ_sky² + k A² σ_sky²/n_sky), A the area of the aperture, σ_sky the scatter of the
    annulus, which holds the noise of sky and reading. C = k = 1 is IRAF phot's. Aperture pixels
    outside the image or `bad` make NaN.

    **Arguments:**

    - `image`: the band.
    - `x`, `y`: `(n,)`, centres, pixels.
    - `radii_pix`: radii of the apertures, pixels.
    - `sky_pix`: inner and outer radius of the annulus of the sky, pixels.
    - `sky_variance`: k, the variance of the sky over that of a mean; `MEDIAN_VARIANCE` is a
      median's.
    - `correlation`: C, by which noise that drizzled pixels share raises the variance of a sum over
      that of independent pixels. Not that of the source's photons, which are counted.

    Raises `ValueError` for radii that are not positive or an annulus that is none.

    ```python
    aperture_photometry(frame.image("ACS_F555W"), galaxy.x, galaxy.y, (1.0, 3.0, 4.0)).flux
    ```
    """
    import sep

    if not (min(radii_pix) > 0 and 0 < sky_pix[0] < sky_pix[1]):
        raise ValueError(
            f"radii are positive and an annulus has 0 < inner < outer; got radii {radii_pix} and "
            f"sky_pix {sky_pix}"
        )
    # sep refuses arrays that are read-only.
    data = np.array(image.data, np.float32)
    bad = None if image.bad is None else np.array(image.bad)
    x, y = np.asarray(x, float), np.asarray(y, float)
    sky, std, n_sky = annulus_sky(image, x, y, sky_pix)
    t = image.exposure_s
    flux = np.empty((len(x), len(radii_pix)))
    error = np.empty_like(flux)
    reach = max(radii_pix)
    outside = (x < reach - 0.5) | (y < reach - 0.5)
    outside |= (x > image.shape[1] - reach - 0.5) | (y > image.shape[0] - reach - 0.5)
    for column, radius in enumerate(radii_pix):
        area = np.pi * radius**2
        total, _, flags = sep.sum_circle(data, x, y, radius, mask=bad, subpix=0)
        lost = outside | (flags & sep.APER_HASMASKED > 0)
        flux[:, column] = np.where(lost, np.nan, total - area * sky)
        electrons = np.maximum(flux[:, column], 0.0) * t
        of_sky = area + sky_variance * area**2 / np.maximum(n_sky, 1)
        variance = electrons + correlation * of_sky * (std * t) ** 2
        error[:, column] = np.sqrt(variance) / t
    return Apertures(flux, error, sky, std, n_sky)


def is_whole(
    image: BandImage,
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    radius_pix: float,
) -> Bool[np.ndarray, "n"]:
    """Whether all pixels in circles around positions are in the image and have data.

    **Arguments:**

    - `image`: the band.
    - `x`, `y`: `(n,)`, centres, pixels.
    - `radius_pix`: of the circles; pixels count that a circle touches.

    ```python
    is_whole(frame.image("ACS_F555W"), np.array([3.0, 50.0]), np.array([40.0, 40.0]), 8.0)
    ```
    """
    reach = int(np.ceil(radius_pix)) + 1
    step = np.arange(-reach, reach + 1)
    dy, dx = (d.ravel() for d in np.meshgrid(step, step, indexing="ij"))
    cols = np.rint(x).astype(int)[:, None] + dx
    rows = np.rint(y).astype(int)[:, None] + dy
    # From the centre to the nearest point of the pixel.
    nearest = np.hypot(
        np.maximum(np.abs(cols - x[:, None]) - 0.5, 0),
        np.maximum(np.abs(rows - y[:, None]) - 0.5, 0),
    )
    inside = (rows >= 0) & (rows < image.shape[0]) & (cols >= 0) & (cols < image.shape[1])
    good = inside
    if image.bad is not None:
        at = np.clip(rows, 0, image.shape[0] - 1), np.clip(cols, 0, image.shape[1] - 1)
        good = inside & ~image.bad[at]
    return np.asarray((good | (nearest >= radius_pix)).all(axis=1))


def annulus_sky(
    image: BandImage,
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    sky_pix: tuple[float, float],
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Clipped median, scatter and number of the pixels of an annulus around each position.

    NaN, NaN and 0 where no pixel of it is inside the image.

    **Arguments:**

    - `image`: the band.
    - `x`, `y`: `(n,)`, positions, pixels.
    - `sky_pix`: inner and outer radius of the annulus, pixels.

    Returns three arrays `(n,)`: electrons/s in a pixel, their scatter, and a number of pixels.

    ```python
    median, scatter, n = annulus_sky(frame.image("ACS_F555W"), galaxy.x, galaxy.y, (7.0, 8.0))
    ```
    """
    low, high = sky_pix
    reach = int(np.ceil(high)) + 1
    step = np.arange(-reach, reach + 1)
    dy, dx = (d.ravel() for d in np.meshgrid(step, step, indexing="ij"))
    near = np.abs(np.hypot(dx, dy) - (low + high) / 2) <= (high - low) / 2 + 0.75
    dx, dy = dx[near], dy[near]
    col, row = np.rint(x).astype(int), np.rint(y).astype(int)
    cols, rows = col[:, None] + dx, row[:, None] + dy
    r2 = (cols - x[:, None]) ** 2 + (rows - y[:, None]) ** 2
    used = (r2 >= low**2) & (r2 < high**2)
    used &= (rows >= 0) & (rows < image.shape[0]) & (cols >= 0) & (cols < image.shape[1])
    rows, cols = np.clip(rows, 0, image.shape[0] - 1), np.clip(cols, 0, image.shape[1] - 1)
    values = image.data[rows, cols].astype(np.float64)
    if image.bad is not None:
        used &= ~image.bad[rows, cols]
    values[~used] = np.inf
    values.sort(axis=1)
    return _clipped(values, used.sum(1))


def _clipped(values: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median, scatter and count of each row's first n sorted values after clipping."""
    finite = np.where(np.isfinite(values), values, 0.0)
    zero = np.zeros((len(values), 1))
    sums = np.hstack([zero, finite.cumsum(1)])
    squares = np.hstack([zero, (finite**2).cumsum(1)])
    rows = np.arange(len(values))
    start, stop = np.zeros(len(values), int), n.astype(int)
    median = std = np.zeros(len(values))
    for _ in range(_CLIP_ROUNDS + 1):
        count = stop - start
        inner = np.maximum(count, 1)
        mean = (sums[rows, stop] - sums[rows, start]) / inner
        square = (squares[rows, stop] - squares[rows, start]) / inner
        std = np.sqrt(np.maximum(square - mean**2, 0.0))
        last = values.shape[1] - 1
        low_middle = finite[rows, np.minimum(start + (inner - 1) // 2, last)]
        median = 0.5 * (low_middle + finite[rows, np.minimum(start + inner // 2, last)])
        keep = np.abs(values - median[:, None]) <= _CLIP_SIGMA * std[:, None]
        index = np.arange(values.shape[1])
        keep &= (index >= start[:, None]) & (index < stop[:, None])
        kept = keep.sum(1)
        if (kept == count).all():
            break
        start = np.where(kept > 0, keep.argmax(1), start)
        stop = np.where(kept > 0, start + kept, stop)
    nothing = stop == start
    return (
        np.where(nothing, np.nan, median),
        np.where(nothing, np.nan, std),
        stop - start,
    )


def magnitudes(
    image: BandImage, flux: Float[np.ndarray, "n"], error: Float[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Vega magnitudes and errors (1.0857 σ/F); NaN where flux is not positive.

    **Arguments:**

    - `image`: the band, whose zero point counts.
    - `flux`, `error`: `(n,)`, electrons/s.

    ```python
    magnitudes(frame.image("ACS_F555W"), np.array([12.0]), np.array([0.6]))
    ```
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        mag_error = np.where(flux > 0, 2.5 / np.log(10) * error / flux, np.nan)
    return image.mag(flux), mag_error
