"""Objects that two catalogues share."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from ..injection.matching import match_one_to_one

RADIUS_PIX = 2.0
# Distances are of floats: what is written 2.00 pixels apart counts as that.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class CrossMatch:
    """The intersection of two catalogues, as `cross_match` returns it.

    **Arguments:**

    - `first`, `second`: `(pair,)`, rows of the two catalogues, in the order of the first.
    - `distance_pix`: `(pair,)`, between the two, pixels.
    - `n_first`, `n_second`: objects of each catalogue in the common field.
    """

    first: Int[np.ndarray, "pair"]
    second: Int[np.ndarray, "pair"]
    distance_pix: Float[np.ndarray, "pair"]
    n_first: int
    n_second: int

    def __len__(self) -> int:
        return len(self.first)

    @property
    def share_of_union(self) -> float:
        """Objects of both over objects of either, in the common field; NaN where there are none."""
        union = self.n_first + self.n_second - len(self)
        return len(self) / union if union else float("nan")


def cross_match(
    first_xy: Float[np.ndarray, "n 2"],
    second_xy: Float[np.ndarray, "m 2"],
    radius_pix: float = RADIUS_PIX,
    in_field: tuple[Bool[np.ndarray, "n"], Bool[np.ndarray, "m"]] | None = None,
) -> CrossMatch:
    """Match two catalogues one to one, within two pixels (Whitmore et al. 2021, section 4).

    The closest pair of all comes first, then the closest of the objects that are left: each object
    is used once, mutual nearest neighbours are always a pair, and no two unmatched objects lie
    within the radius. The paper says only that matches are one to one. Equal distances go to the
    lower row of the first catalogue, then of the second.

    **Arguments:**

    - `first_xy`, `second_xy`: `(n, 2)` and `(m, 2)`, positions in one frame, pixels.
    - `radius_pix`: pairs farther apart do not count; the radius itself does.
    - `in_field`: which objects of each lie in the field that both catalogues cover, by default all.
      The others count nowhere.

    Raises `ValueError` for positions that are not finite, and a radius that is not above 0.

    ```python
    first = np.array([[10.0, 10.0], [50.0, 50.0]])
    match = cross_match(first, np.array([[49.0, 50.0], [12.1, 10.0]]))
    match.first, match.second, match.share_of_union  # [1], [0], 1/3
    ```
    """
    if not radius_pix > 0:
        raise ValueError(f"radius_pix is {radius_pix:g}; expected pixels, above 0")
    rows = []
    for name, xy, inside in zip(
        ("first_xy", "second_xy"), (first_xy, second_xy), in_field or (None, None), strict=True
    ):
        kept = np.arange(len(xy)) if inside is None else np.flatnonzero(inside)
        if not np.isfinite(xy[kept]).all():
            raise ValueError(f"{name} holds NaN or infinity; leave such objects out by in_field")
        rows.append(kept)
    one, other = first_xy[rows[0]], second_xy[rows[1]]
    found = match_one_to_one(
        one[:, 0], one[:, 1], other[:, 0], other[:, 1], radius_pix * (1 + _ROUNDING)
    )
    matched = np.flatnonzero(found >= 0)
    first, second = rows[0][matched], rows[1][found[matched]]
    apart = np.hypot(*(first_xy[first] - second_xy[second]).T)
    return CrossMatch(first, second, apart, len(rows[0]), len(rows[1]))
