"""The catalogue corrected for completeness, after Tang et al. (2026, arXiv:2604.05291), 4.3."""

import dataclasses

import numpy as np
from jaxtyping import Float
from scipy.stats import chi2

from starcensus.experiments.report.fit.load import Run
from starcensus.selection import CorrectedCounts, corrected_counts
from starcensus.selection.corrections import CLIP_LOG_AGE, CLIP_LOG_MASS, MASK_LOG_AGE
from starcensus.theta import AXES

_CLIPS = {"log_mass": (CLIP_LOG_MASS, 0.0), "log_age": (CLIP_LOG_AGE, MASK_LOG_AGE)}


@dataclasses.dataclass(frozen=True, eq=False)
class Correction:
    """Corrected counts along one axis, and what clipping did to them."""

    counts: CorrectedCounts
    marginal: Float[np.ndarray, " node"]
    clip: float
    mask_below: float
    n_clipped: int
    n_masked: int


def marginal_completeness(run: Run, axis: str) -> Float[np.ndarray, " node"]:
    """Mean p_sel at an axis' nodes over the median fitted densities of the others (eq. 16)."""
    weights = []
    for name in AXES:
        if name == axis:
            weights.append(np.ones(len(run.nodes[name])))
            continue
        mass = np.median(run.density[name], axis=0) * run.weights[name]
        weights.append(mass / mass.sum())
    others = "".join(letter for letter, name in zip("mta", AXES, strict=True) if name != axis)
    kept = next(letter for letter, name in zip("mta", AXES, strict=True) if name == axis)
    factors = [w for w, name in zip(weights, AXES, strict=True) if name != axis]
    mean = np.einsum(f"mta,{others[0]},{others[1]}->{kept}", run.p_sel, *factors)
    return np.clip(mean, 0.0, 1.0)


def correct(run: Run, axis: str) -> Correction:
    """Completeness-corrected counts of the catalogue (eqs 17 and 18)."""
    clip, mask = _CLIPS[axis]
    marginal = marginal_completeness(run, axis)
    edges = run.edges[axis]
    # The outermost bins also hold what was recorded beyond them, as in the observed counts.
    values = np.clip(run.theta[:, AXES.index(axis)], edges[0], edges[-1])
    p = np.interp(values, run.nodes[axis], marginal)
    counts = corrected_counts(values, p, edges, clip=clip, mask_below=mask)
    masked = (counts.n_raw > 0) & np.isnan(counts.n_corrected)
    return Correction(counts, marginal, clip, mask, int((p < clip).sum()), int(masked.sum()))


def poisson_interval(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Central 68.27% limits of the mean of a Poisson count (Garwood)."""
    tail = 0.158655
    low = np.where(counts > 0, chi2.ppf(tail, 2 * np.maximum(counts, 1)) / 2, 0.0)
    return low, chi2.ppf(1 - tail, 2 * (counts + 1)) / 2


def mean_over_a_v(run: Run) -> Float[np.ndarray, "m t"]:
    """p_sel in mass and age, averaged over the median fitted distribution of a_v."""
    mass = np.median(run.density["a_v"], axis=0) * run.weights["a_v"]
    return run.p_sel @ (mass / mass.sum())
