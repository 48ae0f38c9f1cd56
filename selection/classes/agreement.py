"""How far two classifications of the same objects agree (Whitmore et al. 2021, sections 4, 6.3.2).

Of n_ij objects that the first puts into class i and the second into j, N_i. and N_.j in all,

    AF_i = ½ (n_ii / N_i. + n_ii / N_.i),        M_ij = ½ (n_ij / N_i. + n_ij / N_.j).

AF is the arithmetic mean of precision and recall, whichever of the two is called the truth. None
is: M is no usual confusion matrix, and its rows need not sum to 1. The paper states M in words, as
the mean of one matrix and of the other reflected at its diagonal; the formula is our reading.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int

from .labels import CLASSES, four_classes

POOLED = ((1, 2), (3,), (4,))
"""Classes 1 and 2 in one bin, the paper's standard sample."""

COLUMNS = ("C1", "C2", "C3", "C4", "mean", "C1+2")
"""Columns of the paper's table 1."""


def contingency(
    first: Iterable[object], second: Iterable[object]
) -> Int[np.ndarray, "class class"]:
    """Objects by the class that two classifications give them.

    **Arguments:**

    - `first`, `second`: `(n,)`, labels of the same objects in the same order, as `class_labels`
      takes them; kinds of class 4 count as 4.

    Returns `(4, 4)` counts: row i of class i + 1 of the first, columns of the second. Raises
    `ValueError` for different numbers of objects, and labels that are none.

    ```python
    contingency([1, 1, 2], [1, 2, 2])[0]  # [1, 1, 0, 0]
    ```
    """
    one, other = four_classes(first), four_classes(second)
    if len(one) != len(other):
        raise ValueError(
            f"first has {len(one)} labels and second {len(other)}; expected the same objects: "
            "take the rows of a cross_match"
        )
    n = len(CLASSES)
    return np.bincount((one - 1) * n + other - 1, minlength=n * n).reshape(n, n)


def pool(
    counts: Int[np.ndarray, "class class"], groups: Sequence[Sequence[int]] = POOLED
) -> Int[np.ndarray, "group group"]:
    """Counts of groups of classes, such as classes 1 and 2 in one.

    Raises `ValueError` unless each class is in one group.

    ```python
    pool(contingency([1, 2, 3], [2, 1, 4]))[0, 0]  # 2
    ```
    """
    named = sorted(each for group in groups for each in group)
    if named != list(range(1, len(counts) + 1)):
        raise ValueError(
            f"groups are {groups!r}; expected each of the classes 1 to {len(counts)} once"
        )
    member = np.array([[each in group for each in range(1, len(counts) + 1)] for group in groups])
    return member.astype(int) @ counts @ member.T.astype(int)


def agreement_fractions(counts: Int[np.ndarray, "class class"]) -> Float[np.ndarray, "class"]:
    """AF of each class; NaN for one that either classification gives to no object.

    ```python
    agreement_fractions(np.array([[80, 20], [80, 900]]))[0]  # 0.65
    ```
    """
    return np.diag(confusion(counts)).copy()


def confusion(counts: Int[np.ndarray, "class class"]) -> Float[np.ndarray, "class class"]:
    """M of the paper's figure 21, as shares; NaN where either of the two classes is empty.

    The two classifications exchanged give the transpose.

    Raises `ValueError` for counts below 0.

    ```python
    confusion(np.array([[80, 20], [80, 900]]))[1, 0]  # half of 80 / 980 + 80 / 160
    ```
    """
    if (counts < 0).any():
        raise ValueError(f"counts go down to {counts.min()}; expected 0 or more")
    rows, columns = (counts.sum(axis).astype(float) for axis in (1, 0))
    rows[rows == 0] = columns[columns == 0] = np.nan
    return (counts / rows[:, None] + counts / columns) / 2


@dataclasses.dataclass(frozen=True, eq=False)
class Agreement:
    """Agreement of two classifications, a row of the paper's table 1.

    **Arguments:**

    - `counts`: `(4, 4)`, of `contingency`.

    ```python
    counts = np.diag([80, 60, 50, 40])
    counts[0, 1] = 20
    Agreement(counts).clusters  # 1.0
    ```
    """

    counts: Int[np.ndarray, "4 4"]

    @property
    def n(self) -> int:
        """Objects that were compared."""
        return int(self.counts.sum())

    @property
    def fractions(self) -> Float[np.ndarray, "4"]:
        """AF of classes 1 to 4."""
        return agreement_fractions(self.counts)

    @property
    def mean(self) -> float:
        """Unweighted mean of the four; NaN where one of them is."""
        return float(self.fractions.mean())

    @property
    def clusters(self) -> float:
        """AF of classes 1 and 2 in one bin."""
        return float(agreement_fractions(pool(self.counts))[0])

    @property
    def row(self) -> Float[np.ndarray, "6"]:
        """AF of classes 1 to 4, their mean, and AF of classes 1 and 2 in one: `COLUMNS`."""
        return np.array([*self.fractions, self.mean, self.clusters])


def agreement(first: Iterable[object], second: Iterable[object]) -> Agreement:
    """Agreement of two classifications of the same objects.

    Raises `ValueError` as `contingency`.

    ```python
    human, network = np.array([1, 1, 2, 3, 4]), np.array([1, 2, 2, 3, 4])
    agreement(human, network).row
    ```
    """
    return Agreement(contingency(first, second))
