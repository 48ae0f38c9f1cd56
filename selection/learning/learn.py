"""From a table of artificial cluster tests to a selection operator."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from starcensus.files import Path
from starcensus.theta import AXES, Box

from ...networks import Trained, TrainSettings, search_grid, train_ensemble
from ...networks.training import Progress, checksum
from ...simulate.library.radius import AbstractRadiusLaw
from ..injection import InjectionTable
from ..operators.network import NetworkSelection
from ..operators.nuisance import (
    BACKGROUND,
    R_EFF,
    Nuisance,
    background_distribution,
    independent,
    radius_distribution,
)
from ..operators.photometric import PhotometricNetwork
from ..operators.store import save_selection
from .facts import facts_of_table
from .features import (
    Inputs,
    LearnedOperator,
    features,
    magnitude_limits,
    nuisance_columns,
)
from .guards import (
    LearningError,
    Tables,
    TrainingMarks,
    named_tables,
    pool_weight,
    refuse_few_held_out,
    training_weight,
)
from .logistic import PHYSICAL, SAME_INPUTS, LogisticRegression, fit_regressions
from .predict import predict
from .uncertainty import logit_uncertainty
from .validate import Reliability, log_loss, loss_difference, reliability


class _Told(NamedTuple):
    """What networks may be told: in words, in a file, and in a table."""

    words: str
    setting: str
    column: str


_TOLD = {
    R_EFF: _Told("the radius", "r_eff", "r_eff_pc"),
    BACKGROUND: _Told("the local sky", "background", "background"),
}
# A table with more radii than this was drawn from a continuous distribution.
_FEW_RADII = 40
_RADIUS_NODES = 16
# Distance moduli that are the same, mag.
_SAME_MAG = 1e-6


@dataclasses.dataclass(frozen=True)
class LearnSettings:
    """What is learned and how.

    **Arguments:**

    - `inputs`: what the networks take.
    - `train`: how they are trained.
    - `search`: choose the learning rate and weight decay on C-4's grid first, with one network.
    - `weighted`: weight the rows by 1 / `inclusion`, which undoes a choice of clusters. Networks
      that take what the pilot took need it not, and learn more without.

    ```python
    LearnSettings(Inputs("photometric", background=True), TrainSettings(widths=(64, 64)))
    ```
    """

    inputs: Inputs = dataclasses.field(default_factory=Inputs)
    train: TrainSettings = dataclasses.field(default_factory=TrainSettings)
    search: bool = False
    weighted: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Learned:
    """An operator with its training, as `learn` returns it.

    **Arguments:**

    - `operator`: averages over the nuisance properties, if it has any.
    - `trained`: the ensemble.
    - `table`: all injections.
    - `held_out`: `(v,)`, rows of the table that no network saw.
    - `p`: `(v,)`, the ensemble's mean probability of these rows, each with its own nuisance
      properties.
    - `weight`: `(n,)`, weight of each row of the table in the loss, or None for 1.
    - `settings`: as used, with what a search chose.
    - `marks`: by which the injections are known again when the operator is evaluated.
    - `logistic`: regressions of the rows that the networks were trained on, see `fit_regressions`.

    ```python
    learned.operator.p_sel(4.0, 7.0, 0.5), learned.reliability().largest_miss
    ```
    """

    operator: LearnedOperator
    trained: Trained
    table: InjectionTable
    held_out: Int[np.ndarray, "v"]
    p: Float[np.ndarray, "v"]
    weight: Float[np.ndarray, "n"] | None
    settings: LearnSettings
    marks: TrainingMarks
    logistic: Mapping[str, LogisticRegression] = dataclasses.field(default_factory=dict)

    def provenance(self) -> dict[str, Any]:
        """Facts to save with the operator, JSON-ready."""
        return {
            **self.marks.facts(),
            "settings": dataclasses.asdict(self.settings),
            "train_loss": [float(x) for x in self.trained.train_loss[:, -1]],
            "validation_loss": [float(x) for x in self.trained.validation_loss[:, -1]],
            "n_held_out": len(self.held_out),
            "networks_sha256": checksum(self.trained.networks),
            "injections": dict(self.table.meta),
            "logistic": {name: each.facts() for name, each in self.logistic.items()},
        }

    def save(self, path: Path, facts: Mapping[str, Any] | None = None) -> None:
        """Write the operator with what it was trained on, so that no one judges it by that.

        `facts`: more for its provenance, JSON-ready. Raises as `save_selection`.
        """
        save_selection(self.operator, path, {**self.provenance(), **(facts or {})})

    @property
    def held_out_label(self) -> Bool[np.ndarray, "v"]:
        """Which of the held-out injections are catalogued."""
        return self.table.catalogued[self.held_out]

    @property
    def held_out_weight(self) -> Float[np.ndarray, "v"] | None:
        """Weight of each held-out injection, or None for 1."""
        return None if self.weight is None else self.weight[self.held_out]

    def reliability(self) -> Reliability:
        """Of the held-out injections; raises `TooFewRowsError` where no bin has enough of them."""
        return reliability(self.p, self.held_out_label, weight=self.held_out_weight)

    def remarks(self) -> tuple[str, ...]:
        """What the networks are not told of and who is catalogued hangs on.

        A logistic regression in mass, age, extinction, radius and local sky that knows more of the
        held-out injections than the networks do, and than one in what the networks take, by three
        standard errors each, says so.

        ```python
        for words in learned.remarks():
            print(words)
        ```
        """
        same, more = self.logistic.get(SAME_INPUTS), self.logistic.get(PHYSICAL)
        if same is None or more is None:
            return ()
        rows, label = self.table.take(self.held_out), self.held_out_label
        p = more.p_sel(rows)

        def knows_more(q: Float[np.ndarray, "v"]) -> tuple[float, float] | None:
            gain, error = loss_difference(q, p, label, self.held_out_weight)
            return (gain, error) if gain > 3 * error else None

        if (found := knows_more(self.p)) is None or knows_more(same.p_sel(rows)) is None:
            return ()
        lacking = [
            name
            for name in _TOLD
            if name in more.columns
            and name not in same.columns
            and knows_more(more.p_sel(_with_average(rows, more, name)))
        ]
        if not lacking:
            return ()
        what = " and ".join(_TOLD[name].words for name in lacking)
        how = " and ".join(f"`{_TOLD[name].setting} = true`" for name in lacking)
        return (
            f"a logistic regression that knows {what} is {found[0]:.4f} ± {found[1]:.4f} nats "
            f"better on the held-out injections than the networks, which are not told of it; {how} "
            "in [inputs] tells them",
        )

    def summary(self) -> dict[str, int | float]:
        """How the training went, by name; raises as `reliability`."""
        check, label = self.reliability(), self.held_out_label
        plain: dict[str, float] = {}
        for name, each in self.logistic.items():
            q = each.p_sel(self.table.take(self.held_out))
            gain = loss_difference(q, self.p, label, self.held_out_weight)
            plain[f"held_out.logistic.{name}.log_loss"] = log_loss(q, label, self.held_out_weight)
            (
                plain[f"held_out.logistic.{name}.gain"],
                plain[f"held_out.logistic.{name}.gain_error"],
            ) = gain
        return {
            "n_injections": len(self.table),
            "n_catalogued": int(self.table.catalogued.sum()),
            "held_out.n": len(label),
            "held_out.log_loss": log_loss(self.p, label, self.held_out_weight),
            "held_out.reliability_p_value": check.p_value,
            "held_out.largest_z": float(np.abs(check.z).max()),
            "final_train_loss": float(self.trained.train_loss[:, -1].mean()),
            "final_validation_loss": float(self.trained.validation_loss[:, -1].mean()),
            "max_rate": self.settings.train.max_rate,
            "weight_decay": self.settings.train.weight_decay,
            **plain,
        }


def _with_average(
    rows: InjectionTable, regression: LogisticRegression, name: str
) -> InjectionTable:
    """As if all had the regression's average of a property."""
    at = 10.0 ** regression.mean[regression.columns.index(name)]
    column = _TOLD[name].column
    return dataclasses.replace(rows, **{column: np.full(len(rows), at)})


def learn(
    tables: Tables,
    settings: LearnSettings = LearnSettings(),
    *,
    radius: AbstractRadiusLaw | None = None,
    distance_modulus: float | None = None,
    progress: Progress = lambda member, epoch, train, validation: None,
) -> Learned:
    """Train the networks of an operator on the labels `catalogued`.

    The operator carries what it was learned for, see `SurveyFacts`; one of mass, age and extinction
    carries its uncertainty too, see `LogitUncertainty`. Its `acts_on` is `"data"`, as
    of every operator: a published mass is fitted to the light by which its cluster was found. Where
    θ was recorded independently of the images, say `with_acts_on(operator, "truth")`.

    **Arguments:**

    - `tables`: injections of one survey: one table, or several by name, which are joined in order.
    - `settings`: inputs and training of the networks.
    - `radius`: distribution of half-light radii to average over, for networks that take r_eff; by
      default that of the table, or of the pool where the table says of its clusters how likely
      they were to be chosen from one. Local skies are those of the table, which lie where light is.
    - `distance_modulus`: distance modulus of the frame, mag, for magnitudes; by default from the
      table's `meta`, which it must not contradict.
    - `progress`: called after each epoch with member, epoch, training and held-out loss.

    Raises `LearningError` for a table without both labels, with too few rows to hold some out,
    without radii that can be learned from, without a distance modulus where one is needed, or with
    another one, and for clusters that were chosen by what these networks do not see, unless
    `settings.weighted`.

    ```python
    table = InjectionTable.load("injections.h5")
    train = TrainSettings(widths=(64, 64), epochs=20)
    learned = learn(table, LearnSettings(Inputs(r_eff=True), train))
    learned.save("operator.h5")
    ```
    """
    named = named_tables(tables)
    table = InjectionTable.concatenate(*named.values())
    inputs = settings.inputs
    weight = training_weight(named, table, inputs, settings.weighted)
    limits = magnitude_limits(table) if inputs.kind == "photometric" else None
    x = features(table, inputs, limits)
    _refuse_one_outcome(table)
    refuse_few_held_out(table, settings.train.validation)
    modulus = _distance_modulus(table, inputs, distance_modulus)
    settings = dataclasses.replace(settings, train=settings.train.with_dropout(inputs.masked))
    options: dict[str, Any] = {
        "n_masked": len(table.bands) if inputs.masked else 0,
        "weight": weight,
    }
    if settings.search:
        best, _ = search_grid(x, table.catalogued, settings.train, **options)
        settings = dataclasses.replace(settings, train=best)
    nuisance = _nuisance(table, inputs, radius)
    trained = train_ensemble(x, table.catalogued, settings.train, progress=progress, **options)
    marks = TrainingMarks.of(named, table)
    facts = facts_of_table(table, nuisance, marks.tables)
    rows = np.setdiff1d(np.arange(len(table)), trained.held_out)
    own = None if weight is None else weight[rows]
    operator: LearnedOperator
    if limits is None or modulus is None:
        operator = NetworkSelection(
            networks=trained.networks,
            domain=_domain(table),
            nuisance=nuisance,
            learned_for=facts,
        )
        known = logit_uncertainty(x[rows], predict(operator, table.take(rows)), own)
        operator = dataclasses.replace(operator, uncertainty=known)
    else:
        operator = PhotometricNetwork(
            networks=trained.networks,
            bands=table.bands,
            limits=limits,
            distance_modulus=modulus,
            outside="clip",
            nuisance=nuisance,
            masked=inputs.masked,
            learned_for=facts,
        )
    p = predict(operator, table.take(trained.held_out))
    logistic = fit_regressions(table.take(rows), inputs, own, limits)
    return Learned(operator, trained, table, trained.held_out, p, weight, settings, marks, logistic)


def _refuse_one_outcome(table: InjectionTable) -> None:
    if not 0 < table.catalogued.sum() < len(table):
        raise LearningError(
            f"{int(table.catalogued.sum())} of {len(table)} injections are catalogued; both "
            "outcomes are needed. Inject clusters on both sides of the limit"
        )


def _distance_modulus(table: InjectionTable, inputs: Inputs, given: float | None) -> float | None:
    modulus = table.meta.get("distance_modulus", given)
    if given is not None and abs(modulus - given) > _SAME_MAG:
        raise LearningError(
            f"distance_modulus is {given:g}, and the table's magnitudes are at {modulus:g}; leave "
            "distance_modulus out, or inject at the distance that is meant"
        )
    if modulus is None and inputs.kind == "photometric":
        raise LearningError(
            "the table does not say at which distance modulus its magnitudes are; give "
            "distance_modulus"
        )
    return None if modulus is None else float(modulus)


def _domain(table: InjectionTable) -> Box:
    """The box of the injections: the design's limits lie a gap between neighbours further out."""
    limits = {}
    for axis in AXES:
        values = getattr(table, axis)
        low, high = float(values.min()), float(values.max())
        gap = 10 * (high - low) / len(values)
        limits[axis] = (max(low - gap, 0.0), high + gap)
    return Box(**limits)


def _nuisance(
    table: InjectionTable, inputs: Inputs, radius: AbstractRadiusLaw | None
) -> Nuisance | None:
    parts = []
    if inputs.r_eff:
        values = np.unique(table.r_eff_pc)
        if len(values) < 2:
            raise LearningError(
                f"all injections have r_eff_pc = {values[0]:g}; a network cannot learn what it "
                "does. Inject several radii or leave r_eff out"
            )
        if radius is not None:
            parts.append(radius_distribution(radius, (float(values[0]), float(values[-1]))))
        else:
            weight = pool_weight(table)
            if len(values) > _FEW_RADII:
                shares = (np.arange(_RADIUS_NODES) + 0.5) / _RADIUS_NODES
                method = "linear" if weight is None else "inverted_cdf"
                values = np.quantile(table.r_eff_pc, shares, weights=weight, method=method)
                counts = np.ones(_RADIUS_NODES)
            else:
                counts = np.bincount(np.searchsorted(values, table.r_eff_pc), weight).astype(float)
            parts.append(Nuisance(inputs.nuisances[:1], np.log10(values)[:, None], counts))
    elif radius is not None:
        raise LearningError("radius is for networks that take r_eff; this one averages the table's")
    if inputs.background:
        column = nuisance_columns(table, inputs.nuisances[-1:])[:, 0]
        parts.append(background_distribution(column, weight=pool_weight(table)))
    return independent(*parts) if parts else None
