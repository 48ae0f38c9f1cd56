"""Errors of MCI. The paper limits them and does not say how they are propagated."""

import functools

import numpy as np
from jaxtyping import Float

from ....simulate.images.frame import BandImage
from ..photometry import MEDIAN_VARIANCE, Apertures
from .concentration import RADII_PIX, checked_fiducial

_HALF = 6  # pixels around a source that its largest aperture may touch
_STEPS = 8  # sub-pixel centres per pixel for which weights are kept
_CHUNK = 4000


def multi_scale_errors(
    image: BandImage,
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    measured: Apertures,
    fiducial: tuple[float, ...],
    correlation: float = 1.0,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Errors of (MCI_in, MCI_out), to first order; NaN where an aperture's flux is not positive.

    MCI is a function of the sums F_i = Σ_k w_ik d_k, w_ik the share of pixel k inside radius i, so
    its variance is Σ_k (Σ_i g_i w_ik)² σ_k² with g_i = ∂MCI/∂F_i, plus that of the sky they share.
    Treating the rings between radii as independent counts the pixels on a circle's edge twice and
    is 20% too large for MCI_in.

    **Arguments:**

    - `image`, `x`, `y`: of the photometry. `measured`: in `RADII_PIX`.
    - `correlation`: factor by which noise that drizzled pixels share raises the variance of a sum.
    """
    slopes = mci_slopes(measured.flux, fiducial)
    area = np.pi * np.array(RADII_PIX) ** 2
    n_sky = np.maximum(measured.n_sky, 1)
    sky_variance = correlation * measured.sky_std**2
    shared = MEDIAN_VARIANCE * sky_variance / n_sky * (slopes @ area).T ** 2
    step = np.arange(-_HALF, _HALF + 1)
    col, row = np.rint(x).astype(int), np.rint(y).astype(int)
    # Weights are kept for centres from -1/2 to +1/2 pixel.
    u = np.rint((x - col) * _STEPS).astype(int) + _STEPS // 2
    v = np.rint((y - row) * _STEPS).astype(int) + _STEPS // 2
    own = np.empty_like(shared)
    for start in range(0, len(x), _CHUNK):
        part = slice(start, start + _CHUNK)
        rows = np.clip(row[part, None, None] + step[:, None], 0, image.shape[0] - 1)
        cols = np.clip(col[part, None, None] + step, 0, image.shape[1] - 1)
        above = image.data[rows, cols].reshape(len(rows), -1) - measured.sky[part, None]
        variance = above / image.exposure_s + sky_variance[part, None]
        gradient = np.einsum("nmi,nik->nmk", slopes[part], _weights()[v[part], u[part]])
        own[:, part] = np.einsum("nmk,nk->mn", gradient**2, variance)
    errors = np.sqrt(np.maximum(own + shared, 0.0))
    return errors[0], errors[1]


def mci_slopes(
    flux: Float[np.ndarray, "n 7"], fiducial: tuple[float, ...]
) -> Float[np.ndarray, "n 2 7"]:
    """∂(MCI_in, MCI_out)/∂F in each aperture; NaN for a row with a flux that is not positive."""
    per_log = np.zeros((2, len(RADII_PIX)))
    for pair, weight in enumerate(1 / (3 * checked_fiducial(fiducial))):
        per_log[pair // 3, pair + 1] -= weight
        per_log[pair // 3, pair] += weight
    positive = np.where(flux > 0, flux, np.nan)
    return 2.5 / np.log(10) * per_log / positive[:, None, :]


@functools.cache
def _weights() -> Float[np.ndarray, "v u 7 k"]:
    """Share of each pixel around a source inside each radius, for each sub-pixel centre."""
    from photutils.geometry import circular_overlap_grid  # pyright: ignore[reportAttributeAccessIssue]

    n = 2 * _HALF + 1
    shifts = np.arange(_STEPS + 1) / _STEPS - 0.5
    edge = _HALF + 0.5
    return np.array(
        [
            [
                [
                    circular_overlap_grid(
                        -edge - dx, edge - dx, -edge - dy, edge - dy, n, n, r, 1, 1
                    ).ravel()
                    for r in RADII_PIX
                ]
                for dx in shifts
            ]
            for dy in shifts
        ]
    )
