"""Clusters and stars on a pixel grid: noise-free images, and the photon noise of what was added."""

import numpy as np
from jaxtyping import Float
from scipy import fft

from .psf import PSF, fast_length
from .templates import CORE_RADIUS, Template, resample


def add_sources(
    expected: Float[np.ndarray, "row col"],
    template: Template,
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    rate: Float[np.ndarray, "n"],
    negligible: float = 0.0,
) -> None:
    """Add sources of one template to a float32 image, in place; what falls outside it is lost.

    **Arguments:**

    - `expected`: `(row, col)`, the image, in electrons/s or any other unit.
    - `template`: shape of the sources, of `Templates.get` or `make_template`.
    - `x`, `y`: `(n,)`, centres, pixels.
    - `rate`: `(n,)`, total light of each, in the unit of the image.
    - `negligible`: light in a pixel, in that unit. A source whose template is below this at the
      border of the core gets the core alone.

    Raises `ValueError` for rates that are negative or not finite.

    ```python
    image = np.zeros((96, 96), np.float32)
    add_sources(
        image, templates.get("ACS_F555W", 3.0), np.array([40.3]), np.array([50.0]), np.array([12.0])
    )
    ```
    """
    fine = np.isfinite(rate) & (rate >= 0)
    if not fine.all():
        worst = int(np.argmin(fine))
        raise ValueError(f"rate of source {worst} is {rate[worst]}; expected a number >= 0")
    edge = template.edge()
    rows, cols = expected.shape
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    for k in range(len(x)):
        if rate[k] == 0:
            continue
        radius = CORE_RADIUS if edge * rate[k] <= negligible else template.radius
        top, left = y0[k] - radius, x0[k] - radius
        r0, r1 = max(top, 0), min(top + 2 * radius + 1, rows)
        c0, c1 = max(left, 0), min(left + 2 * radius + 1, cols)
        if r0 >= r1 or c0 >= c1:
            continue
        stamp = template.stamp(x[k] - x0[k], y[k] - y0[k], radius)
        stamp *= np.float32(rate[k])
        expected[r0:r1, c0:c1] += stamp[r0 - top : r1 - top, c0 - left : c1 - left]


def add_stars(
    expected: Float[np.ndarray, "row col"],
    psf: PSF,
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    rate: Float[np.ndarray, "n"],
) -> None:
    """Add any number of point sources to an image at once, in place.

    Their light is shared among nodes of a grid of half pixels by cubic B-splines, and convolved
    with the PSF divided by the transform of that sharing. What lies outside the image is left out.

    **Arguments:**

    - `expected`: `(row, col)`, the image, in electrons/s or any other unit.
    - `psf`: PSF of its band.
    - `x`, `y`: `(n,)`, centres, pixels.
    - `rate`: `(n,)`, total light of each, in the unit of the image.

    ```python
    image = np.zeros((96, 96), np.float32)
    add_stars(image, psfs["ACS_F555W"], np.array([40.3]), np.array([50.0]), np.array([12.0]))
    ```
    """
    rows, cols = expected.shape
    pad = int(psf.radius_pix)
    shape = (fast_length(2 * (rows + pad)), fast_length(2 * (cols + pad)))
    inside = (x > -0.5) & (x < cols - 0.5) & (y > -0.5) & (y < rows - 0.5)
    u, v = 2 * x[inside] + 1, 2 * y[inside] + 1
    i, j = np.floor(v).astype(np.int64), np.floor(u).astype(np.int64)
    grid = np.zeros(shape[0] * shape[1])
    for di, wi in zip((-1, 0, 1, 2), _spline_weights(v - i), strict=True):
        for dj, wj in zip((-1, 0, 1, 2), _spline_weights(u - j), strict=True):
            where = (i + di) % shape[0] * shape[1] + (j + dj) % shape[1]
            grid += np.bincount(where, wi * wj * rate[inside], len(grid))
    spectrum = np.asarray(fft.rfft2(grid.reshape(shape).astype(np.float32)))
    f_row = np.fft.fftfreq(shape[0])
    f_col = np.fft.rfftfreq(shape[1])
    sharing = (np.sinc(f_row) ** 4)[:, None] * np.sinc(f_col) ** 4
    kernel = psf_on(psf, shape, 2)
    image = np.asarray(fft.irfft2(spectrum * (kernel / sharing).astype(np.complex64), s=shape))
    expected += 4 * image[1 : 2 * rows + 1 : 2, 1 : 2 * cols + 1 : 2]


def convolve(image: Float[np.ndarray, "row col"], psf: PSF) -> Float[np.ndarray, "row col"]:
    """An image of extended light, sampled at the centres of pixels, as seen through a PSF.

    It is dark beyond its borders. Transforms leave rounding errors, of either sign, of 1e-7 of the
    brightest pixel.

    **Arguments:**

    - `image`: `(row, col)`, in any unit.
    - `psf`: PSF of its band.

    ```python
    convolve(np.ones((96, 96), np.float32), psfs["ACS_F555W"])
    ```
    """
    pad = int(psf.radius_pix)
    shape = (fast_length(image.shape[0] + pad), fast_length(image.shape[1] + pad))
    spectrum = np.asarray(fft.rfft2(image.astype(np.float32), s=shape))
    seen = fft.irfft2(spectrum * psf_on(psf, shape, 1).astype(np.complex64), s=shape)
    return np.asarray(seen)[: image.shape[0], : image.shape[1]]


def _spline_weights(t: np.ndarray) -> tuple[np.ndarray, ...]:
    """Cubic B-spline at the nodes -1, 0, 1, 2 for a point at t in [0, 1)."""
    return (
        (1 - t) ** 3 / 6,
        (4 - 6 * t**2 + 3 * t**3) / 6,
        (1 + 3 * t + 3 * t**2 - 3 * t**3) / 6,
        t**3 / 6,
    )


def psf_on(psf: PSF, shape: tuple[int, ...], per_pixel: int) -> np.ndarray:
    """Transform of the PSF on a grid of `per_pixel` nodes per pixel and of any shape."""
    half = psf.image.shape[0] // 2
    steps = np.arange(-half, half + 1) / psf.oversampling * per_pixel
    n = len(steps)
    square = n + psf.oversampling
    square += -square % (2 * psf.oversampling)
    grid = np.zeros((square, square))
    grid[:n, :n] = psf.image
    spectrum = np.asarray(fft.rfft2(np.roll(grid, (-half, -half), axis=(0, 1))))
    # Only what the coarse grid can carry is kept; then the kernel is laid out on the whole grid.
    wanted = square // psf.oversampling * per_pixel
    small = resample(spectrum, square, wanted)
    kernel = np.zeros(shape, np.float32)
    reach = min(wanted, *shape) // 2
    at = np.arange(-reach + 1, reach)
    kernel[np.ix_(at % shape[0], at % shape[1])] = small[np.ix_(at % wanted, at % wanted)]
    return np.asarray(fft.rfft2(kernel))


def photon_noise(
    expected: Float[np.ndarray, "row col"], exposure_s: float, rng: np.random.Generator
) -> Float[np.ndarray, "row col"]:
    """Observed electrons per second of an expected image of added light: Poisson in electrons.

    Pixels without light take no random number and stay 0. The frame has the noise of its own light
    already; the sum of two Poisson numbers is Poisson.

    **Arguments:**

    - `expected`: `(row, col)`, electrons/s.
    - `exposure_s`: total exposure time, s.
    - `rng`: a generator of NumPy.

    ```python
    photon_noise(np.full((96, 96), 0.04), 858.0, np.random.default_rng(0))
    ```
    """
    observed = np.zeros_like(expected)
    lit = expected > 0
    observed[lit] = rng.poisson(expected[lit].astype(float) * exposure_s) / exposure_s
    return observed
