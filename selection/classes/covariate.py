"""Agreement by brightness, crowding or background (Whitmore et al. 2021, sections 4.2 to 4.4)."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int

from .agreement import Agreement, contingency
from .labels import four_classes


def equal_count_bins(values: Float[np.ndarray, "n"], n_bins: int) -> Int[np.ndarray, "n"]:
    """Bin of each value, in bins of equal numbers, from 0 for the smallest.

    Numbers differ by one at most where no two values are equal. Equal values share a bin, the
    higher one where a border would part them, so that the order of the rows decides nothing.

    Raises `ValueError` for values that are not finite, fewer values than bins, and a bin that is
    left empty by values that repeat.

    ```python
    equal_count_bins(np.array([22.0, 19.5, 23.1, 20.4]), 2)  # [1, 0, 1, 0]
    ```
    """
    if not np.isfinite(values).all():
        raise ValueError("values hold NaN or infinity; leave these objects out")
    if not 1 <= n_bins <= len(values):
        raise ValueError(f"n_bins is {n_bins}; expected 1 to {len(values)}, the number of values")
    borders = np.sort(values)[np.arange(1, n_bins) * len(values) // n_bins]
    member = np.searchsorted(borders, values, side="right")
    if len(np.unique(member)) < n_bins:
        raise ValueError(
            f"{len(np.unique(values))} different values leave one of {n_bins} bins empty; expected "
            "fewer bins"
        )
    return member


@dataclasses.dataclass(frozen=True, eq=False)
class BinnedAgreement:
    """Agreement in bins of a covariate, as `agreement_by` returns it.

    **Arguments:**

    - `median`, `low`, `high`: `(bin,)`, of the covariate of each bin's objects.
    - `bins`: the agreement of each bin.
    """

    median: Float[np.ndarray, "bin"]
    low: Float[np.ndarray, "bin"]
    high: Float[np.ndarray, "bin"]
    bins: tuple[Agreement, ...]

    @property
    def n(self) -> Int[np.ndarray, "bin"]:
        """Objects of each bin."""
        return np.array([each.n for each in self.bins])

    @property
    def rows(self) -> Float[np.ndarray, "bin 6"]:
        """Agreement fractions of each bin, by `COLUMNS`."""
        return np.stack([each.row for each in self.bins])

    def lines(self) -> Float[np.ndarray, "6 2"]:
        """Slope per unit of the covariate, and value at 0, of the line through each column.

        Least squares over the bins at their medians, all of one weight. NaN for a column that is
        known in fewer than two bins.
        """
        out = np.full((self.rows.shape[1], 2), np.nan)
        for line, values in zip(out, self.rows.T, strict=True):
            known = np.isfinite(values)
            if known.sum() > 1:
                line[:] = np.polyfit(self.median[known], values[known], 1)
        return out


def agreement_by(
    covariate: Float[np.ndarray, "n"],
    first: Iterable[object],
    second: Iterable[object],
    n_bins: int = 4,
) -> BinnedAgreement:
    """Agreement of two classifications in bins of equal numbers of objects, of all classes.

    **Arguments:**

    - `covariate`: `(n,)`, such as V magnitude, DOLPHOT's crowding or the background.
    - `first`, `second`: `(n,)`, labels of the same objects, as `class_labels` takes them.
    - `n_bins`: number of bins; the paper has four.

    Raises `ValueError` for other numbers of labels, and as `equal_count_bins`.

    ```python
    v_mag = np.linspace(20.0, 24.0, 80)
    human = np.tile([1, 2, 3, 4], 20)
    network = np.where((v_mag > 23) & (human == 2), 1, human)
    agreement_by(v_mag, human, network).rows[:, 1]  # class 2: 1 in the bright bins, NaN at last
    ```
    """
    one, other = four_classes(first), four_classes(second)
    if not len(covariate) == len(one) == len(other):
        raise ValueError(
            f"covariate, first and second have lengths {len(covariate)}, {len(one)} and "
            f"{len(other)}; expected the same objects"
        )
    member = equal_count_bins(covariate, n_bins)
    parts = [np.flatnonzero(member == each) for each in range(n_bins)]
    low, median, high = np.array([np.quantile(covariate[p], (0.0, 0.5, 1.0)) for p in parts]).T
    bins = tuple(Agreement(contingency(one[part], other[part])) for part in parts)
    return BinnedAgreement(median, low, high, bins)
