"""Classes of candidate clusters, and the twelve kinds of class 4 (Whitmore et al. 2021, section 2).

A label is a whole number 1 to 4, a word such as "2" or "4.10", or a pair such as (4, 10). Floats
are refused: 4.1, a single star, and 4.10, too faint to tell, are one and the same float.
"""

import re
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int

CLASSES = {
    1: "symmetric cluster",
    2: "asymmetric cluster",
    3: "compact association",
    4: "not a cluster",
}
"""What each class is."""

SUBCLASSES = {
    "4.1": "single star",
    "4.2": "pair",
    "4.3": "triplet",
    "4.4": "saturated star",
    "4.5": "diffraction spike",
    "4.6": "nucleus of the galaxy",
    "4.7": "background galaxy",
    "4.8": "fluff without a peak",
    "4.9": "redundant",
    "4.10": "too faint to tell",
    "4.11": "at the edge",
    "4.12": "bad pixel",
}
"""What each kind of class 4 is."""

TRIPLET, REDUNDANT = "4.3", "4.9"

_EXPECTED = "expected a class 1 to 4, as a number or word, or one of 4.1 to 4.12, as a word or pair"
_FLOAT = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?")


def class_labels(labels: Iterable[object]) -> np.ndarray:
    """Labels as words, such as "2" and "4.10".

    **Arguments:**

    - `labels`: `(n,)`, numbers, words or pairs, also mixed; or an `(n, 2)` array of pairs, in which
      a subclass 0 says that there is none.

    Returns `(n,)` words. Raises `ValueError` for floats and for what is no class.

    ```python
    class_labels([1, "4.10", (4, 2)])  # ["1", "4.10", "4.2"]
    ```
    """
    if isinstance(labels, str | bytes):
        raise ValueError(f"labels is the word {labels!r}; expected one label for each object")
    if isinstance(labels, np.ndarray) and np.issubdtype(labels.dtype, np.floating):
        raise ValueError(_refusal(f"labels are an array of {labels.dtype}"))
    return np.array([_word(label) for label in labels], "<U4")


def four_classes(labels: Iterable[object], promote_triplets: bool = False) -> Int[np.ndarray, "n"]:
    """Classes 1 to 4 of labels; all kinds of class 4 are 4.

    **Arguments:**

    - `labels`: as `class_labels` takes them.
    - `promote_triplets`: 4.3 becomes class 3. LEGUS counts triplets among its associations, where
      PHANGS-HST asks for four stars.

    Raises `ValueError` as `class_labels`.

    ```python
    four_classes(["1", "4.3", "4.10"])  # [1, 4, 4]
    four_classes(["1", "4.3", "4.10"], promote_triplets=True)  # [1, 3, 4]
    ```
    """
    words = class_labels(labels)
    classes = np.array([int(word[0]) for word in words], int)
    return np.where(promote_triplets & (words == TRIPLET), 3, classes)


def class_counts(labels: Iterable[object]) -> dict[str, int]:
    """How many objects each class has, and each kind of class 4, as in table 3.

    Class 4 counts its kinds too, so that "1" to "4" add up to the number of objects.

    ```python
    class_counts(["1", "4", "4.2", "4.2"])["4"]  # 3
    ```
    """
    words = class_labels(labels)
    classes = np.array([word[:1] for word in words], "<U1")
    counts = {str(each): int((classes == str(each)).sum()) for each in CLASSES}
    return counts | {each: int((words == each).sum()) for each in SUBCLASSES}


def _word(label: object) -> str:
    if isinstance(label, bool | np.bool | float | np.floating):
        raise ValueError(_refusal(f"a label is {label!r} of type {type(label).__name__}"))
    if isinstance(label, str):
        word = label
    elif isinstance(label, tuple | list | np.ndarray):
        word = _word_of_pair(label)
    elif isinstance(label, int | np.integer):
        word = str(int(label))
    else:
        raise ValueError(f"a label is {label!r} of type {type(label).__name__}; {_EXPECTED}")
    if word not in SUBCLASSES and word not in map(str, CLASSES):
        hint = _refusal(f"a label is {word!r}") if _FLOAT.fullmatch(word) else ""
        raise ValueError(hint or f"a label is {label!r}; {_EXPECTED}")
    return word


def _word_of_pair(pair: tuple | list | np.ndarray) -> str:
    whole = [isinstance(p, int | np.integer) and not isinstance(p, bool) for p in pair]
    if len(whole) != 2 or not all(whole):
        raise ValueError(f"a label is {pair!r}; {_EXPECTED}, such as (4, 10)")
    number, kind = int(pair[0]), int(pair[1])
    return f"{number}.{kind}" if kind else str(number)


def _refusal(what: str) -> str:
    return (
        f"{what}; floats cannot tell 4.1 (single star) from 4.10 (too faint to tell): give words "
        'such as "4.10", pairs such as (4, 10), or whole numbers 1 to 4'
    )
