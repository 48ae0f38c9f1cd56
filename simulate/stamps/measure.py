"""What is measured in stamps: radii behind the PSF, the noise of backgrounds, and visibility."""

import numpy as np
from jaxtyping import Float, Float32

from ..clusters.profiles import Profile

# The aperture in which a background's scatter is measured: 25 pixels, 1 arcsec in M83.
SIGMA_RADIUS_PIX = 25.0


def observed_radius(
    stamp: Float32[np.ndarray, "band row col"], x: float, y: float
) -> tuple[Float[np.ndarray, "band"], Float[np.ndarray, "band"]]:
    """Radius that holds half of a noiseless stamp's light in each band, and the mean rate within.

    The first is r_h,obs of the thesis, the radius of a cluster widened by the PSF, as measured
    about the cluster's centre: √(n/π) of the n pixels nearest to it that hold half of the light.
    The second is that light over n, for `visibility`. Both are 0 where a band has no light.

    **Arguments:**

    - `stamp`: light, any unit. `x`, `y`: centre, pixels.

    ```python
    column, row = np.meshgrid(np.arange(33), np.arange(33))
    disc = (np.hypot(column - 16, row - 16) < 8.0).astype(np.float32)
    observed_radius(disc[None], 16.0, 16.0)  # about 8/√2, and 1
    ```
    """
    n_band, rows, cols = stamp.shape
    r = np.hypot(np.arange(rows)[:, None] - y, np.arange(cols) - x).ravel()
    nearest = np.argsort(r, kind="stable")
    within = np.cumsum(stamp.reshape(n_band, -1)[:, nearest], axis=1, dtype=float)
    radius, rate = np.zeros(n_band), np.zeros(n_band)
    for band in np.flatnonzero(within[:, -1] > 0):
        half = 0.5 * within[band, -1]
        n = np.interp(half, np.r_[0.0, within[band]], np.arange(len(r) + 1))
        radius[band], rate[band] = np.sqrt(n / np.pi), half / n
    return radius, rate


def background_sigma(
    stamps: Float32[np.ndarray, "n band row col"], radius_pix: float = SIGMA_RADIUS_PIX
) -> Float[np.ndarray, "n band"]:
    """Standard deviation of the pixels around the middle of each background: σ_b of `visibility`.

    ```python
    noise = np.random.default_rng(1).normal(0.0, 0.2, (4, 2, 64, 64)).astype(np.float32)
    background_sigma(noise)
    ```
    """
    n, n_band, rows, cols = stamps.shape
    y, x = np.arange(rows) - (rows - 1) / 2, np.arange(cols) - (cols - 1) / 2
    inside = np.flatnonzero(np.hypot(y[:, None], x) <= radius_pix)
    flat = stamps.reshape(n, n_band, rows * cols)
    out = np.empty((n, n_band))
    for row in range(n):
        pixels = flat[row].take(inside, axis=1)
        pixels -= pixels.mean(axis=1, dtype=float, keepdims=True).astype(np.float32)
        out[row] = np.einsum("bp,bp->b", pixels, pixels, dtype=float)
    return np.sqrt(out / len(inside))


def visibility(
    core_rate: Float[np.ndarray, "n band"], sigma: Float[np.ndarray, "n band"]
) -> Float[np.ndarray, "n"]:
    """f_c / (n σ_b) of clusters on backgrounds (thesis, equation 3.2), the mean of all bands.

    f_c is a cluster's light within r_h,obs, n the number of pixels there, σ_b the scatter of the
    background. It is 1 for a cluster that is as bright as its background scatters. The thesis does
    not say in which band; the mean is led by those in which a cluster stands out. A background
    without scatter makes it infinite.

    **Arguments:**

    - `core_rate`: f_c/n, of `observed_radius`. `sigma`: of `background_sigma`, the same unit.

    ```python
    visibility(np.array([[0.2, 0.4]]), np.array([[0.1, 0.1]]))  # 3
    ```
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(core_rate > 0, core_rate / sigma, 0.0)
    return each.mean(axis=1)


def half_light_radius(
    r_pc: Float[np.ndarray, "star"],
    light: Float[np.ndarray, "star column"],
    profile: Profile,
    smooth: Float[np.ndarray, "column"],
) -> Float[np.ndarray, "column"]:
    """Radius about the centre that holds half of a cluster's light, before any PSF, pc.

    Light is counted in 512 rings out to eight half-light radii of the profile, and taken as even
    within each; where less than half of it is there the radius is infinite. It is 0 for a column
    without light.

    **Arguments:**

    - `r_pc`: of each star from the centre, pc. `light`: of each star, any unit.
    - `profile`: of the smooth light, circular. `smooth`: that light, the same unit.

    ```python
    profile = EFF(2.0, 3.0)
    r = np.hypot(*profile.sample(np.random.default_rng(1), 1000).T)
    half_light_radius(r, np.ones((1000, 1)), profile, np.zeros(1))  # about 3.46
    ```
    """
    edges = np.linspace(0.0, 8 * profile.half_light_radius, 513)
    ring = np.minimum(r_pc / edges[1], 512).astype(np.intp)
    enclosed = profile.enclosed(edges)
    out = np.zeros(light.shape[1])
    for column, values in enumerate(light.T):
        stars = np.cumsum(np.bincount(ring, values, 513))
        within = np.r_[0.0, stars[:-1]] + smooth[column] * enclosed
        total = stars[-1] + smooth[column]
        if total > 0:
            out[column] = np.interp(0.5 * total, within, edges, right=np.inf)
    return out
