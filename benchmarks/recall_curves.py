"""What a cut in class probability keeps of the mocks, and of what is none."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, Real

from starcensus.selection.finder import FinderSettings

if TYPE_CHECKING:
    from astropy.table import Table

# Cuts of the JSON line. A network is so sure of most mocks that steps are those of 1 - p.
CUTS = (0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999)


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """Class probabilities of all that a cut in them may keep.

    **Arguments:**

    - `found`: `(n,)`, of the mocks that have a peak and pass every other cut.
    - `false`: `(m,)`, of the peaks that pass every other cut and are of no mock.
    - `n_true`: number of mocks, found or not.

    ```python
    Scores(np.array([0.9, 0.6]), np.array([0.7]), 4).at(np.array([0.5]))["recall"]  # 0.5
    ```
    """

    found: Float[np.ndarray, "n"]
    false: Float[np.ndarray, "m"]
    n_true: int

    @classmethod
    def of(
        cls,
        columns: Mapping[str, np.ndarray],
        false: Mapping[str, np.ndarray],
        finder: FinderSettings,
        within_pix: float,
    ) -> "Scores":
        """Those of a run, whose peaks are of mocks within some pixels; the visibility cut stays.

        **Arguments:** `columns`, `false`: as of `Rounds`.
        """
        seen = columns["visibility"] >= finder.min_visibility
        seen &= columns["distance_pix"] <= within_pix
        lone = false["visibility"] >= finder.min_visibility
        return cls(columns["p_cluster"][seen], false["p_cluster"][lone], len(seen))

    def at(self, cuts: Float[np.ndarray, "cut"]) -> dict[str, Real[np.ndarray, "cut"]]:
        """What is left at some cuts: `purity` is NaN where nothing is.

        `false_per_found`: false detections for each true entry of the catalogue.
        """
        found, false = _left(self.found, cuts), _left(self.false, cuts)
        every = found + false
        return {
            "min_class": cuts,
            "n_found": found,
            "recall": found / self.n_true,
            "n_false": false,
            "false_per_found": false / np.maximum(found, 1),
            "purity": np.where(every > 0, found / np.maximum(every, 1), np.nan),
        }

    def rows(self, cuts: tuple[float, ...] = CUTS) -> list[dict[str, Any]]:
        """`at` as JSON, one dictionary for each cut."""
        made = self.at(np.array(cuts))
        rows = [{name: values[k].item() for name, values in made.items()} for k in range(len(cuts))]
        # JSON has no NaN.
        return [row | {"purity": purity_of(row["n_found"], row["n_false"])} for row in rows]

    def table(self) -> "Table":
        """The whole curve: a row for each cut at which something is lost, the lowest first."""
        from astropy.table import Table

        return Table(self.at(np.unique(np.concatenate([self.found, self.false]))))

    def cut_leaving(self, n: int, within: float = 0.01) -> float | None:
        """The cut that keeps n mocks or, where equal probabilities forbid it, about as many.

        None where no cut keeps a number that differs by less than `within` of all mocks: too few
        are found, or too many are equally certain.

        ```python
        Scores(np.array([0.9, 0.6]), np.array([0.7]), 4).cut_leaving(1)  # 0.9
        ```
        """
        cuts = np.unique(self.found)
        off = np.abs(_left(self.found, cuts) - n)
        # Of two that are as near the lower cut: it keeps more.
        best = int(np.argmin(off)) if len(cuts) else 0
        return float(cuts[best]) if len(cuts) and off[best] <= within * self.n_true else None


def purity_of(n_found: int, n_false: int) -> float | None:
    """Share of a catalogue that is mocks; None of an empty one."""
    return n_found / (n_found + n_false) if n_found + n_false else None


def _left(
    probability: Float[np.ndarray, "n"], cuts: Float[np.ndarray, "cut"]
) -> Int[np.ndarray, "cut"]:
    return len(probability) - np.searchsorted(np.sort(probability), cuts, side="left")
