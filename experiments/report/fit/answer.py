"""The numbers of the answer that are no parameters of the fit."""

import dataclasses

import numpy as np

from starcensus.experiments.report.fit.load import Run


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A median with its 68% interval; `scale` says how many digits it warrants."""

    median: float
    low: float
    high: float
    scale: float


def _estimate(values: np.ndarray, least: float) -> Estimate:
    low, mid, high = (float(x) for x in np.percentile(values, [16, 50, 84]))
    return Estimate(mid, low, high, max((high - low) / 2, least))


def catalogued(run: Run) -> Estimate:
    """How much of the population a survey catalogues, in percent."""
    width = run.weights["log_mass"]
    seen = (run.detected["log_mass"] * width).sum(axis=1)
    return _estimate(100 * seen / (run.density["log_mass"] * width).sum(axis=1), 0.1)


def median_extinction(run: Run) -> Estimate | None:
    """The median a_v of the population, mag; `None` where its density says nothing."""
    at, width = run.nodes["a_v"], run.weights["a_v"]
    mass = run.density["a_v"] * width
    if not (mass.sum(axis=1) > 0).all():
        return None
    # A cell's mass is complete at its upper border.
    borders = run.edges["a_v"][0] + np.concatenate([[0.0], np.cumsum(width)])
    heap = np.concatenate([np.zeros((len(mass), 1)), np.cumsum(mass, axis=1)], axis=1)
    middles = np.array([np.interp(0.5, h / h[-1], borders) for h in heap])
    return _estimate(middles, 1e-3 * float(at[-1] - at[0]))
