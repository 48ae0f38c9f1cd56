"""From a table of artificial cluster tests to an observation model."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from starcensus.bands import find_band

from ...networks.descent import best_epoch, first_layers
from ..catalogue.photometry import BandState, Photometry
from ..injection import InjectionTable
from ..learning import Inputs, LearningError, LearnSettings, TrainingMarks, learn, pool_weight
from ..learning.features import magnitude_limits, nuisance_columns
from ..operators.facts import SurveyFacts
from ..operators.photometric import PhotometricNetwork
from .learned import LearnedObservation
from .mixture import Layers, MixtureDensity, Recorded, Shape, Weights, log_density
from .reach import QuotedErrors, ReachTable
from .settings import ObservationSettings

# Fewer catalogued injections teach no density.
_LEAST_ROWS = 200
# Of standardised inputs in a direction; what varies less is not made larger.
_LEAST_VARIANCE = 0.03

Progress = Callable[[int, float, float], None]
Networks = tuple[tuple[Weights, tuple[Array, Array]], ...]


def recorded_photometry(table: InjectionTable, max_error: float) -> Photometry:
    """What the survey recorded of a table's catalogued injections, in their order.

    A band without a magnitude, or with an error above `max_error`, mag, is NOT_DETECTED; one that
    does not cover the place is NOT_OBSERVED.

    ```python
    seen = recorded_photometry(table, max_error=0.3)
    ```
    """
    rows = np.flatnonzero(table.catalogued)
    mags, errors = table.measured_mags[rows], table.measured_errors[rows]
    with np.errstate(invalid="ignore"):
        there = np.isfinite(mags) & (errors > 0) & (errors <= max_error)
    states = np.where(there, BandState.MEASURED, BandState.NOT_DETECTED)
    if table.covered is not None:
        states = np.where(table.covered[rows] | there, states, BandState.NOT_OBSERVED)
    modulus = table.meta.get("distance_modulus")
    return Photometry.from_mags(
        "the injections",
        rows,
        table.bands,
        np.where(there, mags, np.nan),
        np.where(there, errors, np.nan),
        states.astype(np.uint8),
        ci=table.ci[rows] if np.isfinite(table.ci[rows]).all() else None,
        distance_modulus=None if modulus is None else float(modulus),
    )


def of_whole_area(table: InjectionTable) -> InjectionTable:
    """The injections that lie where every band has data.

    Of each table, before tables are joined: one that says nothing of what is covered has all bands
    everywhere, and of a joined table nobody knows. Raises `LearningError` if none do.

    ```python
    len(of_whole_area(table))
    ```
    """
    if table.covered is None:
        return table
    inside = table.covered.all(axis=1)
    if len(table) and not inside.any():
        raise LearningError(
            f"none of {len(table)} injections lies where all of {', '.join(table.bands)} have "
            "data; inject into a part of the frame that all cover, or leave a band out"
        )
    return table.take(inside)


def learn_observation(
    table: InjectionTable,
    settings: ObservationSettings = ObservationSettings(),
    *,
    selection: PhotometricNetwork | None = None,
    progress: Progress = lambda epoch, train, validation: None,
) -> LearnedObservation:
    """Learn what a survey does to clusters of given true magnitudes.

    The cuts of the pipeline on what is measured, CI and M_V, are those that its facts say
    (`SurveyFacts.pipeline_limits`). Radii and skies have the design's distribution, or of clusters
    that were chosen from a pool, the pool's. Both halves are of the area that all bands cover:
    injections elsewhere teach nothing. The same table and settings give the same model.

    **Arguments:**

    - `table`: artificial clusters of one survey.
    - `settings`: form and training.
    - `selection`: P(det | μ), by default learned from the table too. One that takes radius or sky
      needs the same of `settings`, and states over which distribution both halves are averaged.
      It cannot be learned again from half of the injections: no `settings.n_halves` with it. Nor
      does it say of which area it is: none with a table where some band lacks data in places.
    - `progress`: called after each epoch with it and both losses, nats a row.

    Raises `LearningError` for a table with too few catalogued injections, without a distance
    modulus, without concentration indices where they are asked for, or whose operator takes other
    properties; `TrainingDiverged` where the loss is no number.

    ```python
    few = dataclasses.replace(brief, n_components=2)
    observation = learn_observation(bright, few)
    ```
    """
    if settings.n_halves and selection is not None:
        raise LearningError(
            f"n_halves is {settings.n_halves}, and the operator is given: what is uncertain about "
            "it would be left out. Leave the operator out, so that it is learned from each half "
            "too, or n_halves"
        )
    inside = of_whole_area(table)
    if selection is not None and len(inside) < len(table):
        raise LearningError(
            f"{len(table) - len(inside)} of {len(table)} injections lie where some band has no "
            "data, and the operator is given: it may have learned from them, and what is measured "
            "is of the area that all bands cover. Leave the operator out, so that both are, or "
            "those injections (of_whole_area)"
        )
    table = inside
    whole = _learned(table, settings, selection, progress)
    halves = tuple(_of_half(table, settings, k, progress) for k in range(settings.n_halves))
    return dataclasses.replace(whole, halves=halves)


def _of_half(
    table: InjectionTable, settings: ObservationSettings, number: int, progress: Progress
) -> LearnedObservation:
    """Learned from a random half of the rows, in as many steps as of all.

    Its marks are nobody's: those of the whole table say by what it was taught.
    """
    stream = np.random.SeedSequence(settings.seed, spawn_key=(3, number))
    rows = np.random.default_rng(stream).permutation(len(table))[: len(table) // 2]
    [seed] = (int(word) for word in stream.spawn(1)[0].generate_state(1))
    own = dataclasses.replace(
        settings,
        n_halves=0,
        seed=seed,
        epochs=2 * settings.epochs,
        # What all injections know as a pattern, half of them must not lack.
        min_pattern=1,
        selection=dataclasses.replace(
            settings.selection, seed=seed, epochs=2 * settings.selection.epochs
        ),
    )
    try:
        found = _learned(table.take(np.sort(rows)), own, None, progress)
    except LearningError as error:
        raise LearningError(f"from half of the injections: {error}") from error
    return dataclasses.replace(found, marks=TrainingMarks(None))


def _learned(
    table: InjectionTable,
    settings: ObservationSettings,
    selection: PhotometricNetwork | None,
    progress: Progress,
) -> LearnedObservation:
    rows = np.flatnonzero(table.catalogued)
    if len(rows) < _LEAST_ROWS:
        raise LearningError(
            f"{len(rows)} of {len(table)} injections are catalogued; a density of what is measured "
            f"needs {_LEAST_ROWS} or more: inject more clusters, or brighter ones"
        )
    inputs = Inputs("photometric", r_eff=settings.r_eff, background=settings.background)
    selection = _selection(table, inputs, settings, selection)
    data = recorded_photometry(table, settings.max_error)
    if settings.concentration and data.ci is None:
        raise LearningError(
            "some catalogued injections have no concentration index; learn with "
            "concentration=False, or inject through a pipeline that measures it"
        )
    patterns, common = _patterns(data, settings.min_pattern)
    rows, data = rows[common], data.take(common)
    caught = table.take(rows)
    facts = selection.learned_for
    assert facts is not None
    shape = _shape(data, patterns, facts, settings)
    limits = magnitude_limits(caught)
    further = nuisance_columns(caught, inputs.nuisances)
    x = np.column_stack([np.clip(caught.true_mags, *limits.T), further])
    ci = None if data.ci is None or not settings.concentration else data.ci
    recorded = _recorded(data, caught.true_mags, patterns, shape, ci)
    weight = pool_weight(table)
    weight = np.ones(len(rows)) if weight is None else weight[rows]
    layers, losses = _train(shape, x, recorded, weight, settings, progress)
    density = MixtureDensity(shape, layers, limits, patterns)
    seen = np.where(data.measured, data.mags, np.nan)
    return LearnedObservation(
        bands=table.bands,
        distance_modulus=selection.distance_modulus,
        selection=selection,
        density=density,
        errors=QuotedErrors.measure(seen, data.mag_errors),
        ranges=ReachTable.measure(caught.true_mags, seen, ci),
        max_error=settings.max_error,
        learned_for=facts,
        settings=settings,
        losses=losses,
        marks=TrainingMarks.of({"the table": table}, table),
    )


def _selection(
    table: InjectionTable,
    inputs: Inputs,
    settings: ObservationSettings,
    given: PhotometricNetwork | None,
) -> PhotometricNetwork:
    if given is None:
        chosen = table.inclusion is not None
        learned = learn(table, LearnSettings(inputs, settings.selection, weighted=chosen)).operator
        assert isinstance(learned, PhotometricNetwork)
        return learned
    names = () if given.nuisance is None else given.nuisance.names
    if names != inputs.nuisances or given.bands != table.bands or given.learned_for is None:
        raise LearningError(
            f"the operator is of {', '.join(given.bands)} and averages over "
            f"{', '.join(names) or 'nothing'}; expected {', '.join(table.bands)} and "
            f"{', '.join(inputs.nuisances) or 'nothing'}, as r_eff and background of the settings "
            "say, and an operator that was learned"
        )
    return given


def _patterns(
    data: Photometry, least: int
) -> tuple[Bool[np.ndarray, "pattern band"], Int[np.ndarray, " m"]]:
    """Sets of bands that were recorded together often enough, and the rows that have one."""
    whole = (data.states != BandState.NOT_OBSERVED).all(axis=1)
    found, which, counts = np.unique(
        data.measured[whole], axis=0, return_inverse=True, return_counts=True
    )
    if not (enough := (counts >= min(least, counts.max(initial=1)))).any():
        raise LearningError(
            "no catalogued injection lies where all bands have data; learn from a part of the "
            "frame that all cover"
        )
    return found[enough], np.flatnonzero(whole)[enough[which.ravel()]]


def _shape(
    data: Photometry,
    patterns: Bool[np.ndarray, "pattern band"],
    facts: SurveyFacts,
    settings: ObservationSettings,
) -> Shape:
    """The mixture's form, with the edges that the survey's own cuts have."""
    limits = dict(facts.pipeline_limits)
    least_ci, faintest, reference = None, None, 0
    if settings.concentration and not facts.settings.get("ci_sky_slope"):
        least_ci = limits.get("ci_limit")
    # The operator has the distance of the table, or none could be learned.
    if "max_absolute_v" in limits and data.distance_modulus is not None:
        reference = data.bands.index(find_band(data.bands, "V"))
        if patterns[:, reference].all():
            faintest = limits["max_absolute_v"] + data.distance_modulus
    ci = data.ci if settings.concentration else None
    beyond = 0
    if least_ci is not None and ci is not None:
        beyond += int((ci < least_ci).sum())
    if faintest is not None:
        beyond += int((data.mags[:, reference] > faintest).sum())
    if beyond:
        raise LearningError(
            f"{beyond} catalogued injections are beyond the cuts that the pipeline says of itself "
            f"(CI >= {least_ci}, {data.bands[reference]} <= {faintest}); the table's meta is of "
            "another pipeline"
        )
    return Shape(
        form=settings.form,
        n_bands=len(data.bands),
        n_patterns=len(patterns),
        n_components=settings.n_components,
        n_ci=settings.n_ci,
        rank=settings.rank,
        concentration=settings.concentration,
        least_ci=least_ci,
        reference=reference,
        faintest=faintest,
    )


def _recorded(
    data: Photometry,
    true: Float[np.ndarray, "n band"],
    patterns: Bool[np.ndarray, "pattern band"],
    shape: Shape,
    ci: Float[np.ndarray, " n"] | None,
) -> Recorded:
    there = data.measured
    fits = (patterns[None] == there[:, None]).all(axis=2)
    room = np.zeros(len(data))
    if shape.faintest is not None:
        room = shape.faintest - true[:, shape.reference]
    single = functools.partial(jnp.asarray, dtype=jnp.float32)
    return Recorded(
        single(np.where(there, data.mags - np.where(there, true, 0.0), 0.0).T),
        single(there.T),
        single(np.where(fits, 0.0, -np.inf).T),
        single(np.zeros(len(data)) if ci is None else ci),
        single(room),
    )


def _train(
    shape: Shape,
    x: Float[np.ndarray, "n k"],
    data: Recorded,
    weight: Float[np.ndarray, " n"],
    settings: ObservationSettings,
    progress: Progress,
) -> tuple[tuple[Layers, ...], tuple[float, float]]:
    """The networks of the epoch with the least validation loss, and its losses."""
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(2,)))
    order = rng.permutation(len(x))
    n_held = max(1, round(settings.validation * len(x)))
    held, rest = order[:n_held], order[n_held:]
    inputs, both = x, [x]
    if shape.concentration and not shape.joint:
        inputs = np.column_stack([x, np.asarray(data.ci)])
        both = [inputs, x]
    key = jax.random.key(settings.seed)
    standard = [
        (jnp.float32(part[rest].mean(0)), jnp.float32(np.maximum(part[rest].std(0), 1e-6)))
        for part in both
    ]
    turns = [
        _decorrelating((part[rest] - np.asarray(mean)) / np.asarray(scale))
        for part, (mean, scale) in zip(both, standard, strict=True)
    ]
    fixed = tuple(zip(standard, turns, strict=True))
    starts = _starts(shape, data, rest)
    sizes = [
        (part.shape[1], *settings.widths, len(s)) for part, s in zip(both, starts, strict=True)
    ]
    parameters = tuple(
        Weights(*first_layers(jax.random.fold_in(key, i), size, start))
        for i, (size, start) in enumerate(zip(sizes, starts, strict=True))
    )
    columns = (jnp.float32(x.T), data, jnp.float32(weight))
    train = jax.tree.map(lambda part: part[..., rest], columns)
    test = jax.tree.map(lambda part: part[..., held], columns)
    found, losses = best_epoch(
        _Loss(shape),
        parameters,
        fixed,
        train,
        test,
        (settings.max_rate, settings.weight_decay),
        settings.epochs,
        settings.batch_size,
        key,
        progress,
    )
    layers = tuple(
        Layers(
            tuple(np.asarray(w, float) for w in _turned(p, turn).matrices),
            tuple(np.asarray(b, float) for b in p.vectors),
            np.asarray(mean, float),
            np.asarray(scale, float),
        )
        for p, ((mean, scale), turn) in zip(found, fixed, strict=True)
    )
    return layers, losses


def _starts(shape: Shape, data: Recorded, rows: np.ndarray) -> list[Float[np.ndarray, " out"]]:
    """Biases of the last layers: components spread over what the training rows have."""
    excess, there, ci = (
        np.asarray(part, float)[..., rows] for part in (data.excess, data.there, data.ci)
    )
    k, b = shape.n_components, shape.n_bands
    shares = (np.arange(k) + 0.5) / k
    shared = excess.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    parts = np.zeros((k, shape.per_component))
    # Of the sequential form c gives the shift, so that components need not be spread over it.
    spread = shared if shape.joint or not shape.concentration else 0.3 * shared
    parts[:, 1 : 1 + b] = np.quantile(spread, shares)[:, None]
    parts[:, 1 + b : 1 + 2 * b] = np.linspace(-3.5, -1.5, k)[:, None]
    parts[:, 1 + 2 * b : 1 + (2 + shape.rank) * b] = 0.1
    if shape.rank > 1:
        # Equal columns of L would stay equal.
        tilt = 0.1 * np.linspace(-1, 1, b)
        parts[:, 1 + 3 * b : 1 + (2 + shape.rank) * b] = np.tile(tilt, shape.rank - 1)
    if shape.joint:
        end = shape.per_component - 2 - b
        parts[:, end] = np.quantile(ci, shares)
        parts[:, end + 1] = np.log(max(float(ci.std()), 0.01))
    found = [parts.ravel()]
    if shape.concentration and not shape.joint:
        own = np.zeros((shape.n_ci, 3))
        own[:, 1] = np.quantile(ci, (np.arange(shape.n_ci) + 0.5) / shape.n_ci)
        own[:, 2] = np.log(max(float(ci.std()), 0.01))
        found.append(own.ravel())
    return found


def _decorrelating(z: Float[np.ndarray, "n k"]) -> Float[Array, "k k"]:
    """A matrix that gives inputs of mean 0 one size in all directions.

    The magnitudes of a cluster are nearly one number; what a survey does to its colours must not
    hang on what is small beside that.
    """
    values, vectors = np.linalg.eigh(z.T @ z / len(z))
    return jnp.float32((vectors / np.sqrt(np.maximum(values, _LEAST_VARIANCE))).T)


def _turned(parameters: Weights, turn: Float[Array, "k k"]) -> Weights:
    """The same network for inputs that are not turned."""
    first, *others = parameters.matrices
    return Weights((first @ turn, *others), parameters.vectors)


@dataclasses.dataclass(frozen=True)
class _Loss:
    """Minus the mean log density of the rows of a form."""

    shape: Shape

    def __call__(self, parameters: Any, fixed: Any, columns: Any) -> Float[Array, ""]:
        x, data, weight = columns
        networks = tuple(
            (_turned(p, turn), standard)
            for p, (standard, turn) in zip(parameters, fixed, strict=True)
        )
        return -(weight * log_density(self.shape, networks, x, data)).sum() / weight.sum()
