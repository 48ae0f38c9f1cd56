"""How good a learned operator is, by injections that it was not trained on."""

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from starcensus.files import Path

from ..agreement import About, Difference, differences, refuse_other_survey
from ..injection import InjectionTable
from ..operators.facts import SurveyFacts
from ..operators.network import NetworkSelection
from ..operators.photometric import PhotometricNetwork
from ..operators.store import load_selection, selection_provenance
from .facts import facts_of_table
from .features import LearnedOperator, features, n_informative, operator_inputs
from .guards import LearningError, Tables, TrainingMarks, named_tables
from .learn import Learned
from .monotonic import monotonic_breaks
from .predict import predict
from .validate import (
    NEIGHBOURS,
    PERCENTILES,
    Neighbours,
    Reliability,
    Scores,
    TestSet,
    log_loss,
    reliability,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Repeats:
    """What repeated injections of each cluster say.

    **Arguments:**

    - `test`: the clusters and p_true.
    - `scores`: distances of the operator's probabilities from it.
    - `neighbours`: a yardstick for what the operator's inputs allow, see `TestSet.neighbours`.
    """

    test: TestSet
    scores: Scores
    neighbours: Neighbours


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """An operator against injections, as `evaluate` returns it.

    **Arguments:**

    - `table`: all injections.
    - `p`: probability of each cluster, over the places of its repeats, each with its own sky, where
      there are repeats; else of each row.
    - `log_loss`: mean cross-entropy, nats, of one injection of each cluster.
    - `reliability`: probabilities against outcomes, of all injections.
    - `breaks`: see `monotonic_breaks`.
    - `repeats`: None for a table without repeats.
    - `differences`: in what its survey differs from that of the training, as was accepted.
    """

    table: InjectionTable
    p: Float[np.ndarray, "m"]
    log_loss: float
    reliability: Reliability
    breaks: dict[str, float]
    repeats: Repeats | None
    differences: tuple[Difference, ...] = ()

    def summary(self) -> dict[str, int | float]:
        """All numbers by name; the scores of other counts of neighbours are in `by_k`."""
        out: dict[str, int | float] = {
            "n_injections": len(self.table),
            "log_loss": self.log_loss,
            "reliability_p_value": self.reliability.p_value,
            "reliability_largest_miss": self.reliability.largest_miss,
        }
        out |= {f"monotonic.{name}": value for name, value in self.breaks.items()}
        if self.repeats is None:
            return out
        test, near = self.repeats.test, self.repeats.neighbours
        out |= {"n_clusters": len(test), "n_repeats": test.n_repeats, "neighbours.k": near.k}
        for name, scores in (("error", self.repeats.scores), ("neighbours", near.scores)):
            out |= {f"{name}.{key}": value for key, value in dataclasses.asdict(scores).items()}
        noise = zip(PERCENTILES, test.noise_percentiles(), strict=True)
        return out | {f"repeat_noise.p{q:.0f}": float(value) for q, value in noise}

    def by_k(self) -> list[dict[str, int | float]]:
        """Scores of the yardstick with each count of neighbours; empty without repeats."""
        if self.repeats is None:
            return []
        found = self.repeats.neighbours.by_k
        return [{"k": k, **dataclasses.asdict(scores)} for k, scores in found.items()]


def evaluate(
    operator: Learned | Path,
    tables: Tables,
    neighbours: tuple[int, ...] = NEIGHBOURS,
    accept: Collection[About] = (),
) -> Evaluation:
    """Compare an operator with injections that it was not trained on.

    Tables with repeats give the scores against p_true, the noise of the repeats and a yardstick;
    others the log-loss and the reliability alone.

    **Arguments:**

    - `operator`: what `learn` returned, or a file that `Learned.save` wrote: either knows what it
      was trained on.
    - `tables`: injections: one table, or several by name, which are joined.
    - `neighbours`: counts of neighbours to try.
    - `accept`: in what the tables may differ from the survey of the training.

    Raises `OtherSurveyError` for tables of another survey, where `accept` does not say so,
    `LearningError` for a file without networks, tables in other bands, and tables that the
    operator was trained on, whole or in part, alone or joined; `SelectionDomainError` for clusters
    outside an operator's domain; and `ValueError` as `TestSet.of` and `reliability`.

    ```python
    few = TrainSettings(widths=(8,), n_members=2, epochs=3, validation=0.3)
    learned = learn(table.take(table.cluster < 90), LearnSettings(train=few))
    found = evaluate(learned, table.take(table.cluster >= 90), neighbours=(20,))
    print(found.summary())
    ```
    """
    networks, marks, name = _with_marks(operator)
    named = named_tables(tables)
    table = InjectionTable.concatenate(*named.values())
    if isinstance(networks, PhotometricNetwork) and networks.bands != table.bands:
        raise LearningError(
            f"the operator's bands are {', '.join(networks.bands)}, those of the table "
            f"{', '.join(table.bands)}"
        )
    marks.refuse(named, name)
    differ = _differences(networks, table, name, accept)
    if isinstance(networks, NetworkSelection):
        networks.check_points(table.log_mass, table.log_age, table.a_v)
    test = TestSet.of(table) if table.repeat.max() > 0 else None
    if test is not None and table.place_weight is not None:
        raise LearningError(
            "the repeats of a cluster are not where the plan puts clusters, for injections kept "
            "one another out of crowded places: inject fewer per frame, or nearer to one another"
        )
    # Repeats of a cluster share its light, so only one of each counts as an independent outcome.
    once = table if test is None else test.first
    p = predict(networks, once)
    every = p if test is None else predict(networks, table)
    group, weight = None if test is None else table.cluster, table.place_weight
    check = reliability(every, table.catalogued, weight=weight, group=group)
    loss = log_loss(p, once.catalogued, None if test is not None else weight)
    breaks = monotonic_breaks(networks, once)
    if test is None:
        return Evaluation(table, p, loss, check, breaks, None, differ)
    # p_true is over the places of the repeats, each with its own sky.
    at = _means(table.cluster, every)
    x = features(test.first, operator_inputs(networks))[:, : n_informative(networks)]
    repeats = Repeats(test, test.scores(at), test.neighbours(x, neighbours))
    return Evaluation(table, at, loss, check, breaks, repeats, differ)


def _differences(
    networks: LearnedOperator, table: InjectionTable, name: str, accept: Collection[About]
) -> tuple[Difference, ...]:
    """In what the table's survey differs; each injection brings what the networks are told."""
    told = operator_inputs(networks)
    given = ("radius",) * told.r_eff + ("sky",) * told.background
    learned = networks.learned_for or SurveyFacts()
    found = differences(learned, facts_of_table(table), "the table", given)
    refuse_other_survey(found, accept, name)
    return found


def _with_marks(operator: Learned | Path) -> tuple[LearnedOperator, TrainingMarks, str]:
    """Networks that take whatever an injection has, what they were trained on, and a name."""
    if isinstance(operator, Learned):
        networks, marks, name = operator.operator, operator.marks, "the operator"
    else:
        networks = learned_networks(operator)
        facts: dict[str, Any] = selection_provenance(operator)
        marks, name = TrainingMarks.from_facts(facts), str(operator)
    if isinstance(networks, PhotometricNetwork):
        networks = networks.simulated()
    return networks, marks, name


def learned_networks(path: Path) -> LearnedOperator:
    """The networks of an operator file; raises `LearningError` for a file of another operator.

    ```python
    learned.save("mine.h5")
    learned_networks("mine.h5").n_members
    ```
    """
    loaded = load_selection(path)
    if not isinstance(loaded, NetworkSelection | PhotometricNetwork):
        raise LearningError(f"{path}: holds a {type(loaded).__name__}; expected learned networks")
    return loaded


def _means(group: Int[np.ndarray, "n"], values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "m"]:
    """Mean value of each group, groups in ascending order."""
    _, index, counts = np.unique(group, return_inverse=True, return_counts=True)
    return np.bincount(index, values) / counts
