"""What networks are told of catalogued clusters: numbers of a table, as normal scores."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtri

from ..injection import InjectionTable
from ..learning import LearningError
from ..pipeline.detections import Detections
from .settings import PosteriorSettings

_MAG, _CI = "mag_", "ci"
_KNOTS = 25
# Beyond the rows of the training a score goes on as it ended, and no farther than this.
_MOST = 6.0


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """One column of numbers as normal scores of its values in training; monotonic.

    **Arguments:**

    - `knots`: rising values of the column. `scores`: theirs.
    - `has_gaps`: whether rows may lack the number; a second column then says which have it.

    ```python
    from starcensus.selection.posterior.inputs import Scores

    Scores.of("ci", np.random.default_rng(1).lognormal(size=500))(np.array([1.0]))  # near 0
    ```
    """

    knots: Float[np.ndarray, "knot"]
    scores: Float[np.ndarray, "knot"]
    has_gaps: bool

    @classmethod
    def of(cls, name: str, values: Float[np.ndarray, "n"]) -> "Scores":
        """Those of a column; raises `LearningError` for one of infinities or one value alone."""
        some = values[~np.isnan(values)]
        if not np.isfinite(some).all():
            raise LearningError(f"{name} is infinite in some catalogued rows; leave it out")
        n = max(len(some), 1)
        share = (np.arange(_KNOTS) + 0.5) / _KNOTS
        share = np.concatenate([[0.5 / n], share[(share > 1 / n) & (share < 1 - 1 / n)]])
        share = np.append(share, 1 - 0.5 / n)
        knots = np.quantile(some, share) if len(some) else np.zeros(len(share))
        rising = np.append(True, np.diff(knots) > 1e-9 * max(np.ptp(knots), 1e-300))
        if rising.sum() < 3:
            raise LearningError(
                f"{name} has nearly one value in all of {len(some)} catalogued rows, and tells "
                "nothing; leave it out"
            )
        return cls(knots[rising], ndtri(share)[rising], len(some) < len(values))

    def __call__(self, values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        from scipy.interpolate import PchipInterpolator  # slow to load

        low, high = self.knots[0], self.knots[-1]
        inside = PchipInterpolator(self.knots, self.scores)(np.clip(values, low, high))
        first, last = self._slopes
        beyond = np.minimum(values - low, 0) * first + np.maximum(values - high, 0) * last
        return np.clip(np.where(np.isnan(values), 0.0, inside + beyond), -_MOST, _MOST)

    @property
    def _slopes(self) -> tuple[float, float]:
        slope = np.diff(self.scores) / np.diff(self.knots)
        return float(slope[0]), float(slope[-1])


@dataclasses.dataclass(frozen=True, eq=False)
class MeasuredInputs:
    """The columns that networks take.

    **Arguments:**

    - `scores`: by name: `mag_BAND`, `ci`, and further columns of the pipeline.

    ```python
    from starcensus.selection.posterior.inputs import MeasuredInputs

    MeasuredInputs({}).names
    ```
    """

    scores: Mapping[str, Scores]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns that are read."""
        return tuple(self.scores)

    @classmethod
    def of_table(cls, table: InjectionTable, settings: PosteriorSettings) -> "MeasuredInputs":
        """Those that the settings ask for, with the scores of the catalogued rows.

        Raises `LearningError` for a column that the table has not, or that says nothing.
        """
        there = _columns(table.bands, table.measured_mags, table.ci, table.measured)
        further = settings.columns or tuple(table.measured)
        names = [_MAG + band for band in table.bands] if settings.magnitudes else []
        names += [_CI] if settings.concentration else []
        names += [*further]
        if missing := [name for name in names if name not in there]:
            raise LearningError(
                f"the table has no column {', '.join(missing)}; it has {', '.join(there)}"
            )
        if not names:
            raise LearningError(
                "the networks are told nothing: the table has no further columns of the pipeline, "
                "and neither magnitudes nor the concentration index are asked for"
            )
        some = table.catalogued
        return cls({name: Scores.of(name, there[name][some]) for name in names})

    def of_injections(self, table: InjectionTable) -> Float[np.ndarray, "n k"]:
        """Inputs of a table's rows; raises `LearningError` for a table of other columns."""
        return self._inputs(
            "the table", _columns(table.bands, table.measured_mags, table.ci, table.measured)
        )

    def of_detections(self, found: Detections, source: str) -> Float[np.ndarray, "n k"]:
        """Inputs of detections; raises `LearningError` for columns that are not there, or lack
        numbers where no injection did.
        """
        columns = {n: v.astype(float) for n, v in found.columns.items() if v.dtype.kind in "iuf"}
        return self._inputs(source, _columns(found.bands, found.mags, found.ci, columns))

    def unlike_injections(self, found: Detections) -> dict[str, Bool[np.ndarray, "n"]]:
        """By column, the detections that lack a number that every catalogued injection had."""
        columns = {n: v.astype(float) for n, v in found.columns.items() if v.dtype.kind in "iuf"}
        there = _columns(found.bands, found.mags, found.ci, columns)
        lacking = {
            name: np.isnan(there[name])
            for name, scores in self.scores.items()
            if name in there and not scores.has_gaps
        }
        return {name: rows for name, rows in lacking.items() if rows.any()}

    def _inputs(self, source: str, there: Mapping[str, np.ndarray]) -> Float[np.ndarray, "n k"]:
        if missing := [name for name in self.names if name not in there]:
            raise LearningError(
                f"{source}: has no column {', '.join(missing)}, which the posterior was learned "
                "with; take the same pipeline, with the same options"
            )
        made = []
        for name, scores in self.scores.items():
            values = there[name]
            gaps = np.isnan(values)
            if gaps.any() and not scores.has_gaps:
                raise LearningError(
                    f"{source}: row {int(np.argmax(gaps)) + 1} has no {name}, and every "
                    "injection that was catalogued had one; leave such sources out (leave_out)"
                )
            made.append(scores(values))
            if scores.has_gaps:
                made.append(np.where(gaps, -1.0, 1.0))
        return np.stack(made, axis=1)


def _columns(
    bands: tuple[str, ...],
    mags: Float[np.ndarray, "n band"],
    ci: Float[np.ndarray, "n"],
    further: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    return {**{_MAG + b: mags[:, i] for i, b in enumerate(bands)}, _CI: ci, **further}
