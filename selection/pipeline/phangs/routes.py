"""Which sources become candidates: photometric quality, morphology, brightness (section 4)."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from starcensus.bands import look_up

OFFSETS: Mapping[str, float] = {
    "NUV": -0.19,
    "U": -0.12,
    "B": -0.03,
    "V": 0.0,
    "I": -0.12,
}
"""Survey-wide offsets from the aperture correction in V, mag, by the letter of the band."""
HD_LIMIT_M_V = -10.0
HD_MCI_IN = (-0.55, 0.45)


def total_corrections(
    bands: tuple[str, ...],
    v_correction: float,
    convention: Literal["signed", "literal"] = "signed",
    offsets: Mapping[str, float] = OFFSETS,
) -> dict[str, float]:
    """Magnitudes to add to the 4-pixel magnitude of each band, negative.

    The paper gives corrections in V of 0.60 to 0.85 mag and offsets of other bands from V from
    −0.19 to 0. `"signed"` takes both as magnitudes to add, so that the correction in V is −0.7 and
    the ultraviolet's is larger; `"literal"` adds the offsets to the positive number, so that it is
    smaller. PSFs speak for the first: see docs/how-to/phangs.md.

    **Arguments:**

    - `v_correction`: mag to add in V; not positive.
    - `offsets`: by band, filter or letter of the broad band.

    Raises `ValueError` for a positive correction in V and for a band without an offset.
    """
    if not v_correction <= 0:
        raise ValueError(
            f"v_correction is {v_correction}; expected mag to add to the aperture's, so 0 or less"
        )
    found = {b: offset for b in bands if (offset := look_up(offsets, b)) is not None}
    if missing := [band for band in bands if band not in found]:
        raise ValueError(
            f"no offset of the aperture correction for {', '.join(missing)}; there are "
            f"{', '.join(offsets)}"
        )
    sign = 1.0 if convention == "signed" else -1.0
    return {band: v_correction + sign * offset for band, offset in found.items()}


def well_measured(
    mag_errors: Float[np.ndarray, "n band"],
    v_column: int,
    max_error: float = 0.3,
    min_bands: int = 3,
) -> Bool[np.ndarray, "n"]:
    """At least `min_bands` bands with an error ≤ `max_error`, V among them."""
    small = mag_errors <= max_error
    return small[:, v_column] & (small.sum(1) >= min_bands)


def well_shaped(
    snr_v: Float[np.ndarray, "n"],
    mci_in_error: Float[np.ndarray, "n"],
    mci_out_error: Float[np.ndarray, "n"],
    min_snr: float = 10.0,
    max_errors: tuple[float, float] = (0.3, 1.0),
) -> Bool[np.ndarray, "n"]:
    """What the morphology route asks beside the general criteria. NaN fails."""
    return (snr_v >= min_snr) & (mci_in_error <= max_errors[0]) & (mci_out_error <= max_errors[1])


def super_hd(
    m_v: Float[np.ndarray, "n"],
    mci_in: Float[np.ndarray, "n"],
    limit: float = HD_LIMIT_M_V,
    mci_in_range: tuple[float, float] = HD_MCI_IN,
) -> Bool[np.ndarray, "n"]:
    """Brighter than the Humphreys-Davidson limit of stars, and not far from a source's shape.

    `m_v` is absolute and total, without correction for extinction, which the paper does not
    mention; `limit` and both ends of `mci_in_range` pass.
    """
    return (m_v <= limit) & (mci_in >= mci_in_range[0]) & (mci_in <= mci_in_range[1])
