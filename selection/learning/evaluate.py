"""How good a learned operator is, by injections that it was not trained on."""

import dataclasses
from collections.abc import Collection, Mapping
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
from .logistic import LogisticRegression
from .monotonic import monotonic_breaks
from .predict import predict
from .validate import (
    NEIGHBOURS,
    PERCENTILES,
    Neighbours,
    Reliability,
    Scores,
    TestSet,
    TooFewRowsError,
    log_loss,
    loss_difference,
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
class Plain:
    """What a logistic regression, fitted on the operator's own training rows, makes of injections.

    **Arguments:**

    - `regression`: properties and coefficients.
    - `log_loss`: mean cross-entropy, nats, as of the networks on the same rows.
    - `gain`, `gain_error`: log-loss of the regression less that of the networks, and the standard
      error of that mean of pairs: above 0 where the networks know more.
    - `reliability`: of all injections; None where these are too few for it, whose probabilities are
      spread otherwise than the networks'.
    """

    regression: LogisticRegression
    log_loss: float
    gain: float
    gain_error: float
    reliability: Reliability | None


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
    - `logistic`: logistic regressions beside the networks, by name (`fit_regressions`); empty for
      an operator that keeps none.
    """

    table: InjectionTable
    p: Float[np.ndarray, "m"]
    log_loss: float
    reliability: Reliability
    breaks: dict[str, float]
    repeats: Repeats | None
    differences: tuple[Difference, ...] = ()
    logistic: Mapping[str, Plain] = dataclasses.field(default_factory=dict)

    def summary(self) -> dict[str, int | float]:
        """All numbers by name; the scores of other counts of neighbours are in `by_k`."""
        out: dict[str, int | float] = {
            "n_injections": len(self.table),
            "log_loss": self.log_loss,
            "reliability_p_value": self.reliability.p_value,
            "reliability_largest_miss": self.reliability.largest_miss,
        }
        out |= {f"monotonic.{name}": value for name, value in self.breaks.items()}
        for name, each in self.logistic.items():
            out |= {
                f"logistic.{name}.n_terms": len(each.regression.coefficients),
                f"logistic.{name}.log_loss": each.log_loss,
                f"logistic.{name}.gain": each.gain,
                f"logistic.{name}.gain_error": each.gain_error,
            }
            if each.reliability is not None:
                check = each.reliability
                out[f"logistic.{name}.reliability_p_value"] = check.p_value
                out[f"logistic.{name}.reliability_largest_miss"] = check.largest_miss
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
    others the log-loss and the reliability alone. Beside the networks stand logistic regressions of
    the same training rows, where the operator keeps them.

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
    networks, marks, name, regressions = _with_marks(operator)
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
    of_once = None if test is not None else weight
    loss = log_loss(p, once.catalogued, of_once)
    breaks = monotonic_breaks(networks, once)
    plain = {}
    for label, each in regressions.items():
        q = each.p_sel(once)
        gain = loss_difference(q, p, once.catalogued, of_once)
        try:
            its = reliability(each.p_sel(table), table.catalogued, weight=weight, group=group)
        except TooFewRowsError:
            its = None
        plain[label] = Plain(each, log_loss(q, once.catalogued, of_once), *gain, its)
    if test is None:
        return Evaluation(table, p, loss, check, breaks, None, differ, plain)
    # p_true is over the places of the repeats, each with its own sky.
    at = _means(table.cluster, every)
    x = features(test.first, operator_inputs(networks))[:, : n_informative(networks)]
    repeats = Repeats(test, test.scores(at), test.neighbours(x, neighbours))
    return Evaluation(table, at, loss, check, breaks, repeats, differ, plain)


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


def _with_marks(
    operator: Learned | Path,
) -> tuple[LearnedOperator, TrainingMarks, str, Mapping[str, LogisticRegression]]:
    """Networks that take whatever an injection has, what they were trained on, a name, and the
    regressions of the same training."""
    if isinstance(operator, Learned):
        networks, marks, name = operator.operator, operator.marks, "the operator"
        regressions = operator.logistic
    else:
        networks = learned_networks(operator)
        facts: dict[str, Any] = selection_provenance(operator)
        marks, name = TrainingMarks.from_facts(facts), str(operator)
        kept = facts.get("logistic", {})
        regressions = {k: LogisticRegression.from_facts(each) for k, each in kept.items()}
    if isinstance(networks, PhotometricNetwork):
        networks = networks.simulated()
    return networks, marks, name, regressions


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
