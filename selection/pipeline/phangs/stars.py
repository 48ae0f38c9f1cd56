"""The stellar exclusion region of the MCI plane, from a field's own stars (section 4.3)."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from ....simulate.images.frame import BandImage
from ....simulate.images.psf import PSF
from ....simulate.images.templates import make_template
from ..photometry import SKY_PIX, annulus_sky
from .hits import HitMap, ModelRegions

_FIT_PIX = 3
# Share of the light by which the PSF may be wrong in a pixel: DOLPHOT's NoiseMult (table B1).
_PSF_ERROR = 0.10
_PLANE = 1.5


@dataclasses.dataclass(frozen=True, eq=False)
class StellarExclusion:
    """The plane's region of stars: where their smoothed density exceeds a share of its peak.

    **Arguments:**

    - `map`: the region. `peak`: its densest point, (MCI_in, MCI_out). `n_stars`: behind it.
    """

    map: HitMap
    peak: tuple[float, float]
    n_stars: int

    def contains(
        self, mci_in: Float[np.ndarray, "n"], mci_out: Float[np.ndarray, "n"]
    ) -> Bool[np.ndarray, "n"]:
        """Whether points lie in the region. NaN does not."""
        return self.map.contains(mci_in, mci_out)

    def describe(self) -> dict[str, Any]:
        """Its peak, the number of stars and a checksum; JSON."""
        region = ModelRegions((self.map,)).describe()
        return {"peak": list(self.peak), "n_stars": self.n_stars, "sha256": region["sha256"]}


def stellar_exclusion(
    mci_in: Float[np.ndarray, "n"],
    mci_out: Float[np.ndarray, "n"],
    *,
    level: float = 0.5,
    smoothing: float = 1.0,
    min_stars: int = 50,
    resolution: float = 0.0025,
) -> StellarExclusion:
    """The region enclosed by the contour at `level` of the peak of the stars' density.

    The kernel, which the paper leaves open, is a Gaussian of Scott's width n^(−1/6) times the
    spread of each axis, from its quartiles, so that pairs do not widen it; `smoothing` multiplies
    it. Where the density crosses the level elsewhere too, the region around the peak is the one.

    **Arguments:**

    - `mci_in`, `mci_out`: of clean stars, see `clean_stars`. NaN are left out.
    - `resolution`: bin size of the region.

    Raises `ValueError` for fewer than `min_stars` stars.
    """
    ok = (np.abs(mci_in) < _PLANE) & (np.abs(mci_out) < _PLANE)
    n = int(ok.sum())
    if n < min_stars:
        raise ValueError(
            f"{n} clean stars do not make a stellar exclusion region; {min_stars} are needed. "
            "Pass `exclusion` from a field with the same camera and band, or set `ci_floor`"
        )
    values = np.stack([mci_in[ok], mci_out[ok]])
    spread = np.diff(np.quantile(values, (0.25, 0.75), axis=1), axis=0)[0] / 1.349
    width = np.maximum(smoothing * n ** (-1 / 6) * spread, 2 * resolution)
    half = round(_PLANE / resolution) + int(np.ceil(4 * width.max() / resolution))
    edges = (np.arange(2 * half + 2) - half) * resolution
    counts = np.histogram2d(values[0], values[1], bins=(edges, edges))[0]
    density = np.asarray(ndimage.gaussian_filter(counts, width / resolution, mode="constant"))
    at = np.unravel_index(np.argmax(density), density.shape)
    labels: Any = ndimage.label(density >= level * density[at])
    mask = np.asarray(ndimage.binary_fill_holes(labels[0] == labels[0][at]))
    peak = (float(edges[at[0]] + resolution / 2), float(edges[at[1]] + resolution / 2))
    return StellarExclusion(HitMap(resolution, (float(edges[0]), float(edges[0])), mask), peak, n)


def clean_stars(
    image: BandImage,
    psf: PSF,
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    snr: Float[np.ndarray, "n"],
    min_snr: float = 40.0,
    max_chi2: float = 1.5,
) -> Bool[np.ndarray, "n"]:
    """Bright sources that the PSF fits.

    The survey takes DOLPHOT's S/N above 40, its sharpness and its χ² with limits tuned by hand.
    Here χ² alone judges the shape: the mean over pixels within 3 pixels of squared residuals from
    the PSF, its height fitted above the annulus's sky, in units of their variance. That holds the
    noise of sky and source and, as DOLPHOT's, a tenth of the source's own light in the pixel.

    **Arguments:**

    - `snr`: `(n,)`, of detection. `max_chi2`: the limit.
    """
    chi2 = np.full(len(x), np.inf)
    bright = np.flatnonzero(snr > min_snr)
    sky, std, _ = annulus_sky(image, x[bright], y[bright], SKY_PIX)
    template = make_template(psf, None, 1.0)
    step = np.arange(-_FIT_PIX, _FIT_PIX + 1)
    dy, dx = np.meshgrid(step, step, indexing="ij")
    rows, cols = image.shape
    for k, row in enumerate(bright):
        col0, row0 = int(np.floor(x[row])), int(np.floor(y[row]))
        inside = _FIT_PIX <= col0 < cols - _FIT_PIX and _FIT_PIX <= row0 < rows - _FIT_PIX
        if not inside or not std[k] > 0:
            continue
        u, v = x[row] - col0, y[row] - row0
        near = np.hypot(dx - u, dy - v) <= _FIT_PIX
        at = (row0 + dy[near], col0 + dx[near])
        if image.bad is not None and image.bad[at].any():
            continue
        shape = template.stamp(u, v, _FIT_PIX)[near].astype(float)
        light = image.data[at].astype(float) - sky[k]
        height = (light * shape).sum() / (shape**2).sum()
        model = height * shape
        variance = std[k] ** 2 + np.maximum(model, 0) / image.exposure_s + (_PSF_ERROR * model) ** 2
        chi2[row] = ((light - model) ** 2 / variance).mean()
    return chi2 <= max_chi2
