"""Whether methods of classification find the same numbers (Whitmore et al. 2021, section 5.5).

Of the counts of one class in one box of colours by several methods,

    QR = s / √m,    m their mean, s the standard deviation of the sample (n − 1 below),

is near 1 where they differ as Poisson counts do. The paper does not say which standard deviation;
this one gives all 43 printed values.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

LEAST_COUNT = 12
_DECIMALS = 1


def quality_ratio(counts: Int[np.ndarray, "row method"]) -> Float[np.ndarray, "row"]:
    """QR of each row of counts; NaN for a row of zeros.

    Raises `ValueError` for fewer than two methods, or counts below 0.

    ```python
    quality_ratio(np.array([[52, 34, 46, 45]]))  # 1.127
    ```
    """
    _check(counts)
    mean = counts.mean(1)
    return counts.std(1, ddof=1) / np.sqrt(np.where(mean > 0, mean, np.nan))


def eligible(
    counts: Int[np.ndarray, "row method"],
    is_class_4: Bool[np.ndarray, "row"] | None = None,
    least: int = LEAST_COUNT,
) -> Bool[np.ndarray, "row"]:
    """Rows that are compared: every method has enough objects, and they are not of class 4.

    The text says 12 or more; the note of table 2 says more than 12, but rows that hold a 12 have a
    QR in print. Class 4 depends on the candidates that a method was given, not on the method.

    **Arguments:**

    - `counts`: `(row, method)`.
    - `is_class_4`: `(row,)`, by default none is.
    - `least`: the fewest objects of each method.

    ```python
    eligible(np.array([[17, 18, 13, 12], [7, 11, 11, 8]]))  # [True, False]
    ```
    """
    _check(counts)
    enough = (counts >= least).all(1)
    return enough if is_class_4 is None else enough & ~is_class_4


def agrees(ratio: Float[np.ndarray, "row"]) -> Bool[np.ndarray, "row"]:
    """Whether QR is 1.0 or lower as printed, to one decimal; False for NaN.

    ```python
    agrees(np.array([1.034, 1.127]))  # [True, False]
    ```
    """
    return np.round(ratio, _DECIMALS) <= 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class FigureOfMerit:
    """Counts of each method over the mean of all methods, as `figure_of_merit` returns it.

    **Arguments:**

    - `mean`, `sd`: `(method,)`, over the rows; `sd` is that of the sample (n − 1 below).
    - `n_rows`: rows that were compared.
    """

    mean: Float[np.ndarray, "method"]
    sd: Float[np.ndarray, "method"]
    n_rows: int


def figure_of_merit(
    counts: Int[np.ndarray, "row method"],
    is_class_4: Bool[np.ndarray, "row"] | None = None,
    least: int = LEAST_COUNT,
) -> FigureOfMerit:
    """What each method finds of the mean of all methods, over the rows that are `eligible`.

    The paper's rows are classes 1, 2 and 3 and classes 1 and 2 in one, of five galaxies: 43 rows
    that are not independent, so that `sd` / √n is no error.

    Raises `ValueError` for fewer than two rows that are eligible.

    ```python
    figure_of_merit(np.array([[28, 27, 26, 28], [15, 13, 18, 18]])).mean
    ```
    """
    rows = counts[eligible(counts, is_class_4, least)]
    if len(rows) < 2:
        raise ValueError(
            f"{len(rows)} of {len(counts)} rows have {least} objects or more of every method; "
            "expected two or more: add rows or lower `least`"
        )
    share = rows / rows.mean(1, keepdims=True)
    return FigureOfMerit(share.mean(0), share.std(0, ddof=1), len(rows))


def _check(counts: np.ndarray) -> None:
    if counts.shape[1] < 2 or (counts < 0).any():
        raise ValueError(
            f"counts have {counts.shape[1]} methods and go down to {counts.min(initial=0)}; "
            "expected two methods or more and counts of 0 or more"
        )
