"""Removal of sources that are too close to a brighter one (sections 4.4 and 5)."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

DOUBLES_PIX, REDUNDANT_PIX = 2.5, 5.0
# Distances are of floats: what is written 2.50 pixels apart counts as that.
_ROUNDING = 1e-9


def keep_brightest(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    rate: Float[np.ndarray, "n"],
    radius_pix: float = DOUBLES_PIX,
) -> Bool[np.ndarray, "n"]:
    """False for a source within `radius_pix` (inclusive) of a brighter one that is kept.

    Sources are taken in order of falling count rate. One that is dropped drops none itself, which
    the paper leaves open. Sources of equal rate keep the first row.

    Raises `ValueError` for positions or rates that are NaN.
    """
    points = np.column_stack([x, y])
    if np.isnan(points).any() or np.isnan(rate).any():
        raise ValueError("positions and rates must be numbers; leave out rows that hold NaN")
    keep = np.ones(len(x), bool)
    pairs = KDTree(points).query_pairs(radius_pix * (1 + _ROUNDING), output_type="ndarray")
    if not len(pairs):
        return keep
    rank = np.empty(len(x), int)
    rank[np.argsort(-rate, kind="stable")] = np.arange(len(x))
    swap = rank[pairs[:, 0]] > rank[pairs[:, 1]]
    pairs[swap] = pairs[swap][:, ::-1]
    order = np.lexsort((rank[pairs[:, 1]], rank[pairs[:, 0]]))
    # All pairs that may drop a source come before those in which it may drop another.
    for bright, faint in pairs[order]:
        if keep[bright]:
            keep[faint] = False
    return keep


def redundant(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    rate: Float[np.ndarray, "n"],
    classes: Int[np.ndarray, "n"],
    radius_pix: float = REDUNDANT_PIX,
) -> Bool[np.ndarray, "n"]:
    """True for a classified source within `radius_pix` of a brighter kept one of its own kind.

    Class 1 and 2 are one kind and Class 3 another; Class 4 is never redundant nor makes another so.
    """
    out = np.zeros(len(x), bool)
    for kind in ((1, 2), (3,)):
        rows = np.flatnonzero(np.isin(classes, kind))
        out[rows] = ~keep_brightest(x[rows], y[rows], rate[rows], radius_pix)
    return out
