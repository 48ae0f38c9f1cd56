"""Whether stated probabilities come true."""

import itertools

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import binom

from benchmarks.fit import Result

EDGES = (0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.0)


def reliability(stated: Float[np.ndarray, " n"], true: Bool[np.ndarray, " n"]) -> Result:
    """Of the claims of each bin of stated probability how many are true, and whether each bin is
    inside the central 99% of what its mean says.

    Claims count as independent. Of probabilities that share a catalogue, and sum to 1, those in one
    bin exclude one another, which scatters less.
    """
    found: Result = {}
    reliable = True
    for low, high in itertools.pairwise(EDGES):
        inside = (stated >= low) & (stated <= high if high == 1 else stated < high)
        count, mean = int(inside.sum()), float(stated[inside].mean()) if inside.any() else 0.0
        least, most = binom.interval(0.99, count, mean) if count else (0, 0)
        seen = int(true[inside].sum())
        reliable &= bool(least <= seen <= most)
        found[f"stated_{low:g}_{high:g}"] = f"{seen} of {count} true, {count * mean:.1f} stated"
    return {**found, "reliable": reliable}
