"""Boxes in the plane of V − I and U − B (Whitmore et al. 2021, section 5 and table 2).

Colours are Vega magnitudes, without correction for dust. A box holds its lower edges and not its
upper ones, so that boxes which touch share no object; all limits are strict in print. The boxes
leave parts of the plane out.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int

from .labels import CLASSES, four_classes

BOX_3_LOW_TEXT = 0.2
"""Lower edge of box 3 in V − I in the paper's text, mag."""

BOX_3_LOW_TABLE = 0.1
"""The same in the note of its table 2, mag."""


@dataclasses.dataclass(frozen=True)
class ColourBox:
    """A rectangle of colours.

    **Arguments:**

    - `name`: what it holds.
    - `v_i`, `u_b`: lower edge, which is inside, and upper edge, which is not, mag.

    Raises `ValueError` for edges that are not finite or not in order.

    ```python
    ColourBox("old", v_i=(0.95, 1.5), u_b=(-0.4, 1.0))
    ```
    """

    name: str
    v_i: tuple[float, float]
    u_b: tuple[float, float]

    def __post_init__(self) -> None:
        for axis in ("v_i", "u_b"):
            low, high = getattr(self, axis)
            if not -math.inf < low < high < math.inf:
                raise ValueError(
                    f"{axis} of the box {self.name!r} is {low:g} to {high:g}; expected finite "
                    "edges, the lower one first"
                )

    def overlaps(self, other: "ColourBox") -> bool:
        """Whether some colours are in both."""
        edges = zip((self.v_i, self.u_b), (other.v_i, other.u_b), strict=True)
        return all(max(a[0], b[0]) < min(a[1], b[1]) for a, b in edges)


def colour_boxes(box_3_low: float = BOX_3_LOW_TEXT) -> tuple[ColourBox, ...]:
    """The four boxes of the paper: over 1 Gyr, 0.1 to 1 Gyr, 10 to 100 Myr, under 10 Myr.

    **Arguments:**

    - `box_3_low`: lower edge of box 3 in V − I, mag: 0.2 in the text (`BOX_3_LOW_TEXT`), 0.1 in the
      note of table 2 (`BOX_3_LOW_TABLE`).

    ```python
    [box.name for box in colour_boxes(BOX_3_LOW_TABLE)]
    ```
    """
    return (
        ColourBox("old", (0.95, 1.5), (-0.4, 1.0)),
        ColourBox("intermediate", (0.2, 0.95), (-0.4, 1.0)),
        ColourBox("young", (box_3_low, 0.95), (-1.1, -0.4)),
        ColourBox("very young", (-0.6, 0.95), (-1.8, -1.1)),
    )


def which_box(
    v_i: Float[np.ndarray, "n"], u_b: Float[np.ndarray, "n"], boxes: Sequence[ColourBox] = ()
) -> Int[np.ndarray, "n"]:
    """Number of each object's box, from 1; 0 for none, and where a colour is NaN.

    **Arguments:**

    - `v_i`, `u_b`: `(n,)`, V − I and U − B, mag.
    - `boxes`: by default `colour_boxes()`.

    Raises `ValueError` for boxes that overlap.

    ```python
    which_box(np.array([1.1, 0.5, 0.0]), np.array([0.2, -0.7, -0.7]))  # [1, 3, 0]
    ```
    """
    boxes = tuple(boxes) or colour_boxes()
    for one, other in itertools.combinations(boxes, 2):
        if one.overlaps(other):
            raise ValueError(
                f"the boxes {one.name!r} and {other.name!r} overlap; expected boxes that share no "
                "colours"
            )
    number = np.zeros(len(v_i), int)
    for i, box in enumerate(boxes, 1):
        (left, right), (bottom, top) = box.v_i, box.u_b
        number[(v_i >= left) & (v_i < right) & (u_b >= bottom) & (u_b < top)] = i
    return number


def box_counts(
    v_i: Float[np.ndarray, "n"],
    u_b: Float[np.ndarray, "n"],
    labels: Iterable[object],
    boxes: Sequence[ColourBox] = (),
) -> Int[np.ndarray, "class box"]:
    """Objects of each class in each box: a column of the paper's table 2.

    **Arguments:**

    - `v_i`, `u_b`, `boxes`: as `which_box` takes them.
    - `labels`: `(n,)`, as `class_labels` takes them.

    Returns `(4, box)`; the first two rows add up to those of classes 1 and 2 in one. Raises
    `ValueError` as `which_box` and `class_labels`, and for another number of labels.

    ```python
    box_counts(np.array([1.1, 0.5]), np.array([0.2, -0.7]), [1, "4.2"])
    ```
    """
    boxes = tuple(boxes) or colour_boxes()
    number, classes = which_box(v_i, u_b, boxes), four_classes(labels)
    if len(classes) != len(number):
        raise ValueError(f"there are {len(classes)} labels of {len(number)} objects")
    inside = number > 0
    flat = (classes[inside] - 1) * len(boxes) + number[inside] - 1
    shape = (len(CLASSES), len(boxes))
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)
