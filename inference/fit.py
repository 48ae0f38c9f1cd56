"""From objects, an operator and a population family to a posterior with its diagnostics."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from ..forward import (
    CheckedGrid,
    OperatorDirections,
    Population,
    QuadratureSettings,
    flat_names,
    with_uncertainty,
)
from ..selection import (
    About,
    AbstractSelection,
    Difference,
    SurveyFacts,
    catalogue_differences,
    complete,
    differences,
    learned_facts,
    n_directions,
    refuse_other_survey,
)
from ..selection.catalogue import Catalogue
from .diagnostics import Diagnostics, Thresholds, diagnose
from .draws import flatten, prior_draws, thinned, with_number
from .ensemble import ensemble_change
from .likelihood import judged
from .model import OPERATOR, PopulationModel
from .object_ess import least_object_ess
from .object_shift import node_error, object_shift
from .objects import (
    AbstractObjects,
    ErrorSettings,
    LightObjects,
    NodeSamples,
    NodeSettings,
    PoolGrid,
    PublishedValues,
    Samples,
)
from .observation_error import ObservationChange, observation_change, refuse_certain
from .operator_error import (
    MIN_EFFECTIVE,
    operator_change,
    operator_directions,
    with_operator_directions,
)
from .predictive import BinSettings
from .remarks import remarks
from .results import FitResult, posterior_tree, summarise
from .sampling import Draws, Sampler, SamplerSettings, double_precision

_PRIOR_DRAWS, _CHECKED_DRAWS = 1000, 5
# Each halves what nodes do to ln L, about.
_REFINEMENTS = 3


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """Everything a fit does that is not the model or the data.

    **Arguments:**

    - `errors`: how the limits of a `Catalogue` become errors; other objects bring their own.
    - `sampler`: how draws are made.
    - `nodes`: from how many objects on the samples of all are deposited on nodes.
    - `quadrature`: panels and orders of the integral of p_sel.
    - `bins`: bins of the predicted counts.
    - `thresholds`: what the diagnostics must reach.
    - `n_predictions`: draws of the parameters for which a catalogue is predicted.
    - `accept`: in what the catalogue may differ from the survey that the operator was learned in.
    - `uncertainty`: whether what the injections left open about the operator is fitted along with
      the parameters, as independent standard normal numbers by which it deviates; of measured
      light, whether what they left open about the observation model widens the posterior
      (`ObservationChange`).

    ```python
    FitSettings(sampler=SamplerSettings(n_samples=1000), errors=ErrorSettings(missing="floor"))
    ```
    """

    errors: ErrorSettings = dataclasses.field(default_factory=ErrorSettings)
    sampler: SamplerSettings = dataclasses.field(default_factory=SamplerSettings)
    nodes: NodeSettings = dataclasses.field(default_factory=NodeSettings)
    quadrature: QuadratureSettings = dataclasses.field(default_factory=QuadratureSettings)
    bins: BinSettings = dataclasses.field(default_factory=BinSettings)
    thresholds: Thresholds = dataclasses.field(default_factory=Thresholds)
    n_predictions: int = 200
    accept: tuple[About, ...] = ()
    uncertainty: bool = False


def fit(
    objects: AbstractObjects | Catalogue,
    selection: AbstractSelection | None,
    model: PopulationModel,
    settings: FitSettings | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> FitResult:
    """Fit a population to what is known of catalogued clusters.

    **Arguments:**

    - `objects`: `LightObjects`, `EmulatedObjects`, `PosteriorDraws`, `GridPosteriors`,
      `PublishedValues` or a form of your own. A `Catalogue` stands for
      `PublishedValues(catalogue, settings.errors)`.
    - `selection`: the operator; its `acts_on` decides where p_sel stands in the likelihood. None
      for light, whose observation model selects.
    - `model`: the population's family and the priors of its parameters.
    - `settings`: sampler, quadrature, errors, thresholds.
    - `progress`: called with a phrase at the start of each stage.

    A fit whose nodes move ln L by more than `thresholds.max_node_error` between draws of
    its posterior is done again with panels 0.7 times as wide, three times at most; `n_refined` of
    the summary says how often, if it was.

    A catalogue that the cut `theta_range` limited is fitted as a sample of recorded values inside
    these limits: the operator is multiplied by the probability of that (`RecordedLimits`).

    With `settings.uncertainty` the operator deviates (`OperatorDirections`), the summary has what
    that does to each parameter (`OperatorChange`), and not what each member of its ensemble would.
    Of measured light the draws are then those of `ObservationChange`; the diagnostics of the chains
    are those of the fit without, and it has failed if neither its draws nor wider points reach
    that far; terms of the objects and predictions are by the model of all injections. Without the
    uncertainty, the summary says what it would do, if the observation model knows it.

    Raises `UncertaintyError` for an uncertainty that the operator does not carry, or that these
    objects cannot take, `OtherSurveyError` if the operator was learned for another survey than the
    catalogue's, in what `settings.accept` does not name, `BoundsError` for population bounds that
    contradict the objects, `SelectionDomainError` if they leave the operator's domain,
    `CatalogueError` or `ObjectsError` for objects that cannot be fitted, `ValueError` if the
    population cannot produce one of them.

    ```python
    result = fit(catalogue, load_selection("operator.h5"), PopulationModel(population))
    print(result.diagnostics.verdict(), result.summary["posterior.alpha_m.median"])
    result.save("out")
    ```
    """
    if selection is None and isinstance(objects, AbstractObjects) and objects.selects:
        selection = complete(model.population.box)
    _check_kinds(objects, selection, model)
    assert selection is not None
    settings = settings or FitSettings()
    started = time.perf_counter()
    population, seed = model.population, settings.sampler.seed
    objects = _as_objects(objects, settings.errors)
    if isinstance(objects, PublishedValues):
        found = catalogue_differences(selection, objects.catalogue)
        refuse_other_survey(found, settings.accept, objects.source)
    elif objects.survey is not None:
        _refuse_other_operator(objects.survey, selection, settings.accept, objects.source)
    if settings.uncertainty and isinstance(objects, LightObjects):
        refuse_certain(objects)
    limits = settings.thresholds
    with double_precision():
        given = _given(objects, selection, model, settings, progress)
        made = _sampled(given, model, settings.sampler, progress)
        n_refined = 0
        while made.node_error > limits.max_node_error and n_refined < _REFINEMENTS:
            n_refined += 1
            settings = dataclasses.replace(settings, nodes=settings.nodes.finer())
            progress("sampling again, with finer nodes")
            given = given.finer(population, settings.nodes)
            made = _sampled(given, model, settings.sampler, progress)
        objects, selection, checked, exact, samples, directions = given
        draws, values, error_of_nodes = made
        grid, flat = checked.grid, flatten(model, values)
        of_survey: ObservationChange | None = None
        progress("checking and predicting")
        z = values.pop(OPERATOR, None)
        drawn = values if z is None else {**values, OPERATOR: z}
        object_ess = least_object_ess(exact, model, values)
        # A point without errors is its own and only sample.
        limits = dataclasses.replace(limits, min_object_ess=1.0) if objects.exact else limits
        if checked.by_chance:
            # The noise of a library may move log N by no more than another library would.
            most = max(limits.max_integral_error, limits.max_object_shift / len(objects) ** 0.5)
            limits = dataclasses.replace(limits, max_integral_error=most)
        numbers = {} if z is None else {f"{OPERATOR}_{k}": z[..., k] for k in range(z.shape[-1])}
        shift = object_shift(objects, samples, selection, model, values, settings.nodes)
        diagnostics = diagnose(
            {k: v for k, v in flat.items() if np.ptp(v) > 0} | numbers,
            draws,
            object_ess,
            settings.sampler.max_tree_depth,
            limits,
            _remedy(objects, object_ess, shift, limits),
            _integral_error(checked, model, values),
            shift,
            error_of_nodes,
            checked.remedy,
            _share_beyond(checked, model, values),
        )
        ess = min(diagnostics.min_ess_bulk, diagnostics.min_ess_tail)
        if isinstance(objects, LightObjects) and objects.observation.halves:
            progress("weighting the draws by what the observation model leaves open")
            of_survey = observation_change(objects, samples, grid, model, values, seed, ess)
            if settings.uncertainty:
                diagnostics = _reaching(diagnostics, of_survey)
                draws, values = of_survey.counted(draws, values)
                flat, drawn = flatten(model, values), values
        tree = posterior_tree(
            objects,
            samples,
            selection,
            model,
            grid,
            draws,
            drawn,
            object_ess,
            seed,
            _bins(settings.bins, objects),
            settings.n_predictions,
        )
        left_out = None
        if directions is None:
            progress("weighting the draws by each member of the operator")
            spread = ensemble_change(objects, exact, selection, model, grid, values, ess)
            if n_directions(selection):
                left_out = with_uncertainty(grid, selection, _at_centre(model, values))
        else:
            progress("weighting the draws by the operator's mean")
            spread = operator_change(samples, model, directions, drawn, ess)
        before = flatten(model, prior_draws(model, _PRIOR_DRAWS, seed))
        shares = flat_names(tuple(p for p in population.parameters() if p.size))
        notes = remarks(objects, flat, before, shares)
    if left_out is not None:
        notes = notes.with_operator(left_out.count_sd, len(objects))
    summary = summarise(len(objects), flat, diagnostics, time.perf_counter() - started, notes)
    summary |= spread.summary()
    if of_survey is not None:
        summary |= of_survey.summary()
        summary["observation.uncertainty"] = settings.uncertainty
    if known := directions or left_out:
        summary["operator.uncertainty"] = directions is not None
        summary["operator.count_sd"] = known.count_sd
    if n_refined:
        summary["n_refined"] = n_refined
    return FitResult(
        tree, objects, selection, model, diagnostics, notes, summary, samples, grid, exact
    )


def _reaching(diagnostics: Diagnostics, change: ObservationChange) -> Diagnostics:
    """With a failure where the fit's draws cannot stand for those that count the uncertainty."""
    if change.reached:
        return diagnostics
    said = (
        "what the artificial clusters leave open about the survey moves the posterior too far for "
        f"the draws and for wider points ({change.effective:.0f} effective ones, expected "
        f"{MIN_EFFECTIVE:.0f}); inject more clusters"
    )
    return dataclasses.replace(diagnostics, failures=(*diagnostics.failures, said))


class _Given(NamedTuple):
    """What the posterior is made of.

    **Arguments:**

    - `objects`, `selection`: inside the bounds, as they enter. `checked`: p_sel at the nodes.
    - `exact`: what is known of every object. `samples`: what the sampler is to have of it.
    - `directions`: in which the operator deviates, if its uncertainty counts.
    """

    objects: AbstractObjects
    selection: AbstractSelection
    checked: CheckedGrid
    exact: Samples
    samples: Samples
    directions: OperatorDirections | None = None

    def finer(self, population: Population, nodes: NodeSettings) -> "_Given":
        """On finer nodes: light by its own rule, with the expected number; others on `nodes`."""
        if not isinstance(self.objects, LightObjects):
            return self._replace(samples=nodes.laid(self.exact, population))
        objects = self.objects.with_finer_nodes()
        checked = objects.expected(population, complete(population.box))
        selection, samples = checked.operator(population.box), objects.summed(population)
        return _Given(objects, selection, checked, self.exact, samples, None)


class _Sampled(NamedTuple):
    """Draws, by name with the number, and what nodes do to ln L among them (`node_error`)."""

    draws: Draws
    values: dict[str, np.ndarray]
    node_error: float


def _given(
    objects: AbstractObjects,
    selection: AbstractSelection,
    model: PopulationModel,
    settings: FitSettings,
    progress: Callable[[str], None],
) -> _Given:
    population = model.population
    progress("evaluating the selection")
    objects = objects.inside(population.box)
    selection = objects.entering(selection)
    checked = objects.expected(population, selection, settings.quadrature)
    if isinstance(checked, PoolGrid):
        selection = checked.operator(population.box)
    progress("drawing samples of each cluster")
    samples, directions = objects.within(population, selection), None
    if settings.uncertainty and not isinstance(objects, LightObjects):
        grid = checked.grid
        directions = operator_directions(objects, grid, selection, population)
        samples = with_operator_directions(samples, selection, directions)
        checked = dataclasses.replace(checked, grid=directions.grid)
    exact = samples
    if directions is None:
        # Weights that follow an operator cannot be summed before it is known.
        samples = settings.nodes.laid(samples, population)
    if isinstance(objects, LightObjects) and isinstance(samples, NodeSamples):
        # On nodes already.
        exact = objects.rows(population.box)
    return _Given(objects, selection, checked, exact, samples, directions)


def _sampled(
    given: _Given,
    model: PopulationModel,
    settings: SamplerSettings,
    progress: Callable[[str], None],
) -> _Sampled:
    samples, grid = given.samples, given.checked.grid
    _check_start(model, samples, given.objects)
    sampler = Sampler(model, grid, settings)
    key = jax.random.key(settings.seed)
    progress("compiling the sampler")
    sampler.compile(samples, grid, key)
    progress("sampling")
    draws = sampler.run(samples, grid, key)
    values = with_number(model, draws.values, samples.n_objects, grid, settings.seed)
    own = {k: v for k, v in values.items() if k != OPERATOR}
    return _Sampled(draws, values, node_error(given.exact, samples, model, own, given.checked))


def _check_kinds(objects: object, selection: object, model: object) -> None:
    """Raises `TypeError` for arguments that are swapped or of another kind."""
    for name, value, kinds, remedy in (
        ("objects", objects, (AbstractObjects, Catalogue), "a Catalogue, draws or grids"),
        ("selection", selection, (AbstractSelection,), "an operator, as load_selection reads"),
        ("model", model, (PopulationModel,), "PopulationModel(population)"),
    ):
        if not isinstance(value, kinds):
            raise TypeError(f"{name} is a {type(value).__name__}; expected {remedy}")


def _refuse_other_operator(
    survey: SurveyFacts, selection: AbstractSelection, accept: tuple[About, ...], source: str
) -> None:
    """Raises `OtherSurveyError` for an operator of another survey than the objects', or one that
    would count the selection twice."""
    each = [d for facts in learned_facts(selection) for d in differences(facts, survey)]
    if selection.acts_on != "data":
        words = (
            f"the operator acts on the {selection.acts_on}, and what is known of each object is "
            'that the survey catalogued it, too: say acts_on = "data"'
        )
        each.insert(0, Difference("acts_on", words))
    refuse_other_survey(tuple(dict.fromkeys(each)), accept, source)


def _as_objects(objects: AbstractObjects | Catalogue, errors: ErrorSettings) -> AbstractObjects:
    """Raises `ValueError` when `errors` are given that the objects do not follow."""
    if isinstance(objects, Catalogue):
        return PublishedValues(objects, errors)
    own = objects.errors if isinstance(objects, PublishedValues) else ErrorSettings()
    if errors not in (own, ErrorSettings()):
        raise ValueError(
            f"settings.errors is {errors}, but {type(objects).__name__} bring their own; leave it "
            "out, or give fit the Catalogue"
        )
    return objects


def _bins(bins: BinSettings, objects: AbstractObjects) -> BinSettings:
    """One bin for an axis of which nothing is known: its counts cannot be compared."""
    return dataclasses.replace(bins, **dict.fromkeys(objects.unmeasured, float("inf")))


def _integral_error(
    checked: CheckedGrid, model: PopulationModel, values: dict[str, np.ndarray]
) -> float:
    """Largest relative error of the expected count among some draws of the posterior."""
    return max(map(checked.error, _some(model, values)))


def _share_beyond(
    checked: CheckedGrid, model: PopulationModel, values: dict[str, np.ndarray]
) -> float:
    """Largest share of the expected count, among some draws of the posterior, that comes from
    clusters fainter than every artificial one."""
    if not isinstance(checked, PoolGrid):
        return 0.0
    return max(map(checked.share_beyond, _some(model, values)))


def _some(model: PopulationModel, values: dict[str, np.ndarray]) -> list[Population]:
    picked = thinned(values, _CHECKED_DRAWS)
    fixed = model.population.with_values(model.fixed_values())
    return [
        fixed.with_values({name: v[i] for name, v in picked.items()})
        for i in range(len(next(iter(picked.values()))))
    ]


def _at_centre(model: PopulationModel, values: dict[str, np.ndarray]) -> Population:
    """The population at the medians, shares of a whole made whole again."""
    sizes = {p.name: p.size for p in model.population.parameters()}
    centre = {k: np.asarray(np.median(v, axis=(0, 1))) for k, v in values.items()}
    whole = {k: v / v.sum() if sizes[k] else v for k, v in centre.items()}
    return model.population.with_values({**model.fixed_values(), **whole})


def _remedy(
    objects: AbstractObjects,
    object_ess: Float[np.ndarray, " n"],
    shift: Mapping[str, float],
    limits: Thresholds,
) -> str:
    """What helps where samples are too few: so many times as many that they would not be."""
    known = object_ess[np.isfinite(object_ess)]
    wanted = limits.min_object_ess / max(float(known.min(initial=np.inf)), 1.0)
    far = max((abs(x) for x in shift.values()), default=0.0)
    if far > limits.max_object_shift > 0:
        # A shift by chance falls with the root of their number.
        wanted = max(wanted, (far / limits.max_object_shift) ** 2)
    return objects.remedy_for(wanted)


def _check_start(model: PopulationModel, samples: Samples, objects: AbstractObjects) -> None:
    start = {k: np.asarray(v, float) for k, v in model.start().items()}
    population = model.population.with_values({**model.fixed_values(), **start})
    terms = np.asarray(judged(population, samples)[0])[: len(objects)]
    if bad := np.flatnonzero(~np.isfinite(terms)).tolist():
        best = ", ".join(f"{x:.3g}" for x in objects.points().theta[bad[0]])
        raise ValueError(
            f"{objects.source}: {len(bad)} clusters cannot come from this population with this "
            f"selection, the first is {objects.ids[bad[0]]} with (log_mass, log_age, a_v) = "
            f"({best}); widen the bounds, or cut such rows and let the selection say so"
        )
