"""The semi-empirical region of the MCI plane, and its crop with distance (section 4.4, table 2)."""

import itertools

import numpy as np
from jaxtyping import Bool, Float

CORNERS = ((0.05, 0.6), (0.3, 0.6), (0.11, -0.7), (-0.2, -2.0), (-0.525, -2.0))
"""(MCI_in, MCI_out) without a crop."""
_TOP, _BOTTOM = 0.6, -2.0


def crop_mci_out(distance_mpc: float, full_within_mpc: float = 5.0) -> float:
    """Bottom edge of the region for a galaxy's distance.

    −1.7 to 8 Mpc, −1.1 to 14 Mpc, −0.7 from there on; the paper leaves 14 Mpc itself open. It finds
    the whole region better for galaxies as near as NGC 4826 (4.4 Mpc); up to which distance is the
    choice of `full_within_mpc`, and 0 does without.

    Raises `ValueError` for a distance that is not positive.
    """
    if not distance_mpc > 0:
        raise ValueError(f"distance_mpc is {distance_mpc}; expected more than 0")
    if distance_mpc <= full_within_mpc:
        return _BOTTOM
    if distance_mpc <= 8:
        return -1.7
    return -1.1 if distance_mpc < 14 else -0.7


def polygon(bottom: float = _BOTTOM) -> Float[np.ndarray, "corner 2"]:
    """Corners of the region, in order, cut off below MCI_out = `bottom`.

    Raises `ValueError` for a bottom outside of it.
    """
    if not _BOTTOM <= bottom < _TOP:
        raise ValueError(
            f"the polygon spans MCI_out from {_BOTTOM} to {_TOP}; got a bottom of {bottom}"
        )
    corners = []
    for (x0, y0), (x1, y1) in itertools.pairwise([*CORNERS, CORNERS[0]]):
        if y0 >= bottom:
            corners.append((x0, y0))
        if (y0 - bottom) * (y1 - bottom) < 0:
            corners.append((x0 + (x1 - x0) * (bottom - y0) / (y1 - y0), bottom))
    return np.array(corners)


def in_polygon(
    mci_in: Float[np.ndarray, "n"], mci_out: Float[np.ndarray, "n"], bottom: float = _BOTTOM
) -> Bool[np.ndarray, "n"]:
    """Whether points lie in the region, its edge included. NaN does not."""
    corners = polygon(bottom)
    inside = np.ones(len(mci_in), bool)
    # Its corners run clockwise and it is convex: inside is left of no edge.
    for (x0, y0), (x1, y1) in itertools.pairwise([*corners, corners[0]]):
        inside &= (x1 - x0) * (mci_out - y0) - (y1 - y0) * (mci_in - x0) <= 1e-12
    return inside
