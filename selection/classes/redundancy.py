"""Candidates that stand for a brighter one beside them (Whitmore et al. 2021, section 6.3.1)."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from ..pipeline.phangs.duplicates import REDUNDANT_PIX, keep_brightest
from .labels import REDUNDANT, class_labels


def mark_redundant(
    labels: Iterable[object],
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    mag: Float[np.ndarray, "n"],
    radius_pix: float = REDUNDANT_PIX,
) -> np.ndarray:
    """Labels in which candidates near a brighter one are 4.9.

    Candidates are taken in order of brightness. One that is not yet 4.9 keeps its class, whichever
    it is, and makes all fainter ones within the radius 4.9; one that is 4.9, as given too, makes
    none. Equal magnitudes keep the first row. (`starcensus.selection.pipeline.phangs.redundant`
    is the rule of Thilker et al. 2022, which compares only objects of one kind.)

    **Arguments:**

    - `labels`: `(n,)`, as `class_labels` takes them.
    - `x`, `y`: `(n,)`, pixels. `mag`: `(n,)`, in V.
    - `radius_pix`: of redundancy, pixels; the radius itself counts.

    Returns `(n,)` words. Raises `ValueError` for NaN among positions or magnitudes, for arrays of
    other lengths, and as `class_labels`.

    ```python
    mark_redundant([1, 3], np.array([0.0, 4.9]), np.zeros(2), np.array([21.0, 22.0]))  # "1", "4.9"
    ```
    """
    words = class_labels(labels)
    if not len(words) == len(x) == len(y) == len(mag):
        raise ValueError(
            f"labels, x, y and mag have lengths {len(words)}, {len(x)}, {len(y)} and {len(mag)}; "
            "expected one of each for a candidate"
        )
    rows = np.flatnonzero(words != REDUNDANT)
    keep = keep_brightest(x[rows], y[rows], -mag[rows], radius_pix)
    words[rows[~keep]] = REDUNDANT
    return words
