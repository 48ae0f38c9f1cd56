"""Which source belongs to which injection."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from ..pipeline.detections import Detections


@dataclasses.dataclass(frozen=True, eq=False)
class Matches:
    """Where the sources of a frame stand for its injections.

    **Arguments:**

    - `source`: `(n,)`, row of the source of each injection, or -1.
    - `detected_before`, `catalogued_before`: `(n,)`, whether the untouched frame has a source, or
      one of its catalogue, within the matching radius.
    """

    source: Int[np.ndarray, "n"]
    detected_before: Bool[np.ndarray, "n"]
    catalogued_before: Bool[np.ndarray, "n"]

    @property
    def found(self) -> Bool[np.ndarray, "n"]:
        """Whether an injection has a source."""
        return self.source >= 0

    def take(self, values: np.ndarray, missing: Any, n_sources: int) -> np.ndarray:
        """Values of the injections' sources, `missing` where there is none."""
        if not n_sources:
            return np.full((len(self.source), *values.shape[1:]), missing)
        shape = (-1, *(1,) * (values.ndim - 1))
        return np.where(self.found.reshape(shape), values[np.maximum(self.source, 0)], missing)


def match_sources(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    found: Detections,
    control: Detections,
    radius_pix: float,
) -> Matches:
    """The source of each injection: one of the catalogue if there is one, else any that is left.

    A source of the catalogue within `radius_pix` of one of the untouched frame's catalogue, and
    closer to it than to any injection, is not an injection's for that: it moved a little.

    **Arguments:**

    - `x`, `y`: `(n,)`, positions of the injections, pixels.
    - `found`, `control`: detections with and without them.
    - `radius_pix`: radius within which a source belongs to an injection, pixels.

    ```python
    match_sources(galaxy.x, galaxy.y, found, found.take(np.array([], int)), radius_pix=3.0).source
    ```
    """
    old = control.catalogued
    from_old = nearest_distance(found.x, found.y, control.x[old], control.y[old])
    from_new = nearest_distance(found.x, found.y, x, y)
    moved = (from_old <= radius_pix) & (from_old < from_new)
    kept = np.flatnonzero(found.catalogued & ~moved)
    in_catalogue = match_one_to_one(x, y, found.x[kept], found.y[kept], radius_pix)
    is_in = in_catalogue >= 0
    source = np.where(is_in, kept[in_catalogue] if len(kept) else -1, -1)
    # Sources of the catalogue are taken; the other injections share what is left.
    rest = np.setdiff1d(np.arange(len(found)), source[is_in])
    others = np.flatnonzero(~is_in)
    left = match_one_to_one(x[others], y[others], found.x[rest], found.y[rest], radius_pix)
    source[others[left >= 0]] = rest[left[left >= 0]]
    return Matches(
        source,
        nearest_distance(x, y, control.x, control.y) <= radius_pix,
        nearest_distance(x, y, control.x[old], control.y[old]) <= radius_pix,
    )


def match_one_to_one(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    found_x: Float[np.ndarray, "m"],
    found_y: Float[np.ndarray, "m"],
    radius_pix: float,
) -> Int[np.ndarray, "n"]:
    """Index of the source of each injection, -1 for none: the closest pairs first, each used once.

    **Arguments:**

    - `x`, `y`: `(n,)`, positions of the injections, pixels.
    - `found_x`, `found_y`: `(m,)`, positions of the sources, pixels.
    - `radius_pix`: pairs farther apart do not count; equal distances go to the lower index.

    ```python
    match_one_to_one(galaxy.x, galaxy.y, found.x, found.y, 3.0)
    ```
    """
    out = np.full(len(x), -1)
    if not len(x) or not len(found_x):
        return out
    tree = KDTree(np.stack([found_x, found_y], axis=1))
    near = tree.query_ball_point(np.stack([x, y], axis=1), radius_pix)
    pairs = [
        (float(np.hypot(x[i] - found_x[j], y[i] - found_y[j])), i, j)
        for i, sources in enumerate(near)
        for j in sources
    ]
    used: set[int] = set()
    for _, i, j in sorted(pairs):
        if out[i] < 0 and j not in used:
            out[i] = j
            used.add(j)
    return out


def nearest_distance(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    found_x: Float[np.ndarray, "m"],
    found_y: Float[np.ndarray, "m"],
) -> Float[np.ndarray, "n"]:
    """Pixels from each position to the closest source; infinite where there is no source."""
    if not len(x) or not len(found_x):
        return np.full(len(x), np.inf)
    tree = KDTree(np.stack([found_x, found_y], axis=1))
    return np.asarray(tree.query(np.stack([x, y], axis=1))[0])


def count_within(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    found_x: Float[np.ndarray, "m"],
    found_y: Float[np.ndarray, "m"],
    radius_pix: float,
) -> Int[np.ndarray, "n"]:
    """How many sources lie within `radius_pix` of each position."""
    if not len(x) or not len(found_x):
        return np.zeros(len(x), int)
    tree = KDTree(np.stack([found_x, found_y], axis=1))
    near = tree.query_ball_point(np.stack([x, y], axis=1), radius_pix, return_length=True)
    return np.asarray(near, int)
