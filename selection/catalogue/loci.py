"""Mistakes of whole catalogues that colours and distances betray.

Star clusters lie on a sheet in the space of colours: mean populations of every age, behind dust. A
catalogue whose AB magnitudes are taken for Vega's lies beside it by up to 1.5 mag in the
ultraviolet, and falls onto it when AB minus Vega is taken away.
"""

import functools

import numpy as np
from jaxtyping import Float

from starcensus.bands import BANDS, ab_minus_vega

from ...simulate.clusters.bins import StellarPopulation
from ...simulate.clusters.cluster import ssp_abs_mags
from ...simulate.stars.grid import StellarGrid
from .photometry import Photometry

DISTANCE_MODULUS_RANGE = (15.0, 45.0)
# Of a measurement that counts, mag; of models and of stochastic clusters, added in quadrature.
_MAX_ERROR, _FLOOR = 0.3, 0.1
# Bands of a cluster, and how far AB minus Vega spreads over them, mag. Without a band in the
# ultraviolet dust makes up for the difference.
_MIN_SPREAD = 1.0
_FEWEST_BANDS, _FEWEST_CLUSTERS, _MOST_CLUSTERS = 3, 10, 1000
# LEGUS's 22 tables, in five, four or three bands, as they are: a ratio of medians of 1.8 and more,
# and at most 27% of the clusters nearer; with AB minus Vega added at most 0.46, and at least 67%.
_MAX_RATIO, _MIN_SHARE = 0.7, 0.55
_LOG_AGES, _A_VS = np.arange(60, 102) / 10, np.arange(31) / 10


def distance_sign(photometry: Photometry) -> str | None:
    """What is wrong with a distance modulus: its sign, or a value that no galaxy has.

    Expected are 15 to 45 mag, or None. Returns a sentence, or None where nothing is wrong.

    ```python
    seen = Photometry.from_mags("mine", np.array(["a"]), ("ACS_F555W",), [[23.0]], [[0.1]])
    distance_sign(dataclasses.replace(seen, distance_modulus=-29.98))
    ```
    """
    modulus = photometry.distance_modulus
    low, high = DISTANCE_MODULUS_RANGE
    if modulus is None or low <= modulus <= high:
        return None
    said = f"the distance modulus is {modulus:g} mag, expected {low:g} to {high:g}"
    if low <= -modulus <= high:
        return f"{said}: its sign is wrong, for it is m - M, above 0; say {-modulus:g}"
    if modulus > 0:
        meant = 5.0 * np.log10(modulus) + 25.0
        return f"{said}; if it is a distance in Mpc, say {meant:.2f}"
    return f"{said}; it is m - M, 5 log10(distance in Mpc) + 25"


def vega_or_ab(photometry: Photometry) -> str | None:
    """Whether magnitudes that are said to be Vega's look like AB magnitudes.

    The distance of each cluster to the colours of mean populations (6 to 10.1 in log age, 0 to 3
    mag of A_V) is taken as the magnitudes are, and less AB minus Vega. Clusters count with three or
    more bands measured to 0.3 mag, one of which is in the ultraviolet.

    **Arguments:**

    - `photometry`: in bands some of which the carried grid of stars has.

    Returns a sentence where nearly all clusters are far nearer under the second reading; None where
    they are not, and where bands or clusters are too few to tell.

    ```python
    seen = Photometry.from_mags("mine", np.array(["a"]), ("ACS_F555W",), [[23.0]], [[0.1]])
    vega_or_ab(seen)  # one band has no colours: None
    ```
    """
    grid = StellarGrid.default().bands
    bands = tuple(band for band in photometry.bands if band in grid and band in BANDS)
    offsets = np.array([ab_minus_vega(band) for band in bands], float)
    known = np.isfinite(offsets)
    bands = tuple(band for band, is_known in zip(bands, known, strict=True) if is_known)
    if len(bands) < _FEWEST_BANDS:
        return None
    seen = photometry.select(bands)
    mags, errors = seen.mags, seen.mag_errors
    with np.errstate(invalid="ignore"):
        use = seen.measured & (errors <= _MAX_ERROR)
    offsets = offsets[known]
    highest = np.where(use, offsets, -np.inf).max(axis=1)
    spread = highest - np.where(use, offsets, np.inf).min(axis=1)
    rows = np.flatnonzero((use.sum(axis=1) >= _FEWEST_BANDS) & (spread >= _MIN_SPREAD))
    if len(rows) < _FEWEST_CLUSTERS:
        return None
    # Evenly through the table, which may be sorted.
    rows = rows[:: -(-len(rows) // _MOST_CLUSTERS)]
    use, mags, errors = use[rows], mags[rows], errors[rows]
    weights = np.where(use, 1.0 / (np.where(use, errors, 1.0) ** 2 + _FLOOR**2), 0.0)
    mags = np.where(use, mags, 0.0)
    as_vega = _distance(mags, weights, bands)
    as_ab = _distance(mags - offsets, weights, bands)
    ratio = float(np.median(as_ab) / np.median(as_vega))
    share = float((as_ab < as_vega).mean())
    if ratio > _MAX_RATIO or share < _MIN_SHARE:
        return None
    return (
        f"the magnitudes are said to be Vega's and look like AB: {share:.0%} of {len(rows)} "
        f"clusters are nearer to the colours of star clusters less AB minus Vega (median distance "
        f"{np.median(as_ab):.2f} instead of {np.median(as_vega):.2f} standard deviations, "
        f"{', '.join(bands)}). If they are AB, say unit = 'ABmag' in the column map"
    )


@functools.lru_cache(maxsize=8)
def _locus(bands: tuple[str, ...]) -> Float[np.ndarray, "model band"]:
    """Magnitudes of mean populations over age and extinction."""
    stars = StellarPopulation(StellarGrid.default().select(bands))
    log_age, a_v = (each.ravel() for each in np.meshgrid(_LOG_AGES, _A_VS))
    return ssp_abs_mags(stars, log_age, a_v)


def _distance(
    mags: Float[np.ndarray, "n band"], weights: Float[np.ndarray, "n band"], bands: tuple[str, ...]
) -> Float[np.ndarray, " n"]:
    """Root mean square of the residuals of the nearest model of any mass, over their errors.

    Σ w (d − d̄)² = Σ w d² − (Σ w d)²/Σ w, of d = m − m_model, for each cluster and model.
    """
    models = _locus(bands)
    total = weights.sum(axis=1)
    # Of about 0, so that nothing cancels.
    mags = mags - (weights * mags).sum(axis=1, keepdims=True) / total[:, None]
    models = models - models.mean(axis=1, keepdims=True)
    square = (weights * mags**2).sum(axis=1)[:, None] - 2.0 * (weights * mags) @ models.T
    square += weights @ (models**2).T
    linear = (weights * mags).sum(axis=1)[:, None] - weights @ models.T
    chi2 = (square - linear**2 / total[:, None]).min(axis=1)
    return np.sqrt(np.maximum(chi2, 0.0) / ((weights > 0).sum(axis=1) - 1))
