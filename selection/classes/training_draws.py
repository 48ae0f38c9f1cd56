"""Draws of training images, in which classes are equally frequent (Whitmore et al. 2021, section
10.2); `turned` of `starcensus.simulate.stamps` gives the eight views of each."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int

from starcensus.settings import check_seed

from .labels import four_classes


def class_balanced_rows(labels: Iterable[object], n: int, seed: int) -> Int[np.ndarray, "n"]:
    """Rows of a training set, drawn with replacement: first a class, then one of its objects.

    That classes are drawn alike is our reading: the paper says that an object is drawn at random,
    and then a training object.

    **Arguments:**

    - `labels`: `(object,)`, as `class_labels` takes them; classes without objects are not drawn.
    - `n`: how many rows.
    - `seed`: of the draws.

    Raises `ValueError` for no labels, and as `class_labels`.

    ```python
    class_balanced_rows([1] * 90 + [2] * 10, n=32, seed=1)  # half of them from 90 on, roughly
    ```
    """
    check_seed(seed)
    classes = four_classes(labels)
    if not len(classes):
        raise ValueError("there are no labels; expected those of one object or more")
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(classes == each) for each in np.unique(classes)]
    sizes = np.array([len(rows) for rows in members])
    drawn = rng.integers(len(members), size=n)
    within = rng.integers(sizes[drawn])
    return np.concatenate(members)[np.cumsum(sizes)[drawn] - sizes[drawn] + within]
