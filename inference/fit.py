"""From objects, an operator and a population family to a posterior with its diagnostics."""

import dataclasses
import time
from collections.abc import Callable

import jax
import numpy as np

from ..forward import QuadratureSettings, selection_grid
from ..selection import AbstractSelection
from ..selection.catalogue import Catalogue
from .diagnostics import Thresholds, diagnose
from .draws import flatten, with_number
from .likelihood import judged
from .model import PopulationModel
from .objects import AbstractObjects, ErrorSettings, ObjectSamples, PublishedValues
from .predictive import BinSettings
from .results import FitResult, posterior_tree, summarise
from .sampling import Sampler, SamplerSettings, double_precision


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """Everything a fit does that is not the model or the data.

    **Arguments:**

    - `errors`: how the limits of a `Catalogue` become errors; other objects bring their own.
    - `sampler`: chains and steps of NUTS.
    - `quadrature`: panels and orders of the integral of p_sel.
    - `bins`: bins of the predicted counts.
    - `thresholds`: what the diagnostics must reach.
    - `n_predictions`: draws of the parameters for which a catalogue is predicted.

    ```python
    FitSettings(sampler=SamplerSettings(n_samples=1000), errors=ErrorSettings(missing="floor"))
    ```
    """

    errors: ErrorSettings = dataclasses.field(default_factory=ErrorSettings)
    sampler: SamplerSettings = dataclasses.field(default_factory=SamplerSettings)
    quadrature: QuadratureSettings = dataclasses.field(default_factory=QuadratureSettings)
    bins: BinSettings = dataclasses.field(default_factory=BinSettings)
    thresholds: Thresholds = dataclasses.field(default_factory=Thresholds)
    n_predictions: int = 200


def fit(
    objects: AbstractObjects | Catalogue,
    selection: AbstractSelection,
    model: PopulationModel,
    settings: FitSettings | None = None,
    progress: Callable[[str], None] = lambda _: None,
    sampler: Sampler | None = None,
) -> FitResult:
    """Fit a population to what is known of catalogued clusters.

    **Arguments:**

    - `objects`: `PosteriorDraws`, `GridPosteriors`, `PublishedValues` or a form of your own. A
      `Catalogue` stands for `PublishedValues(catalogue, settings.errors)`.
    - `selection`: the operator; its `acts_on` decides where p_sel stands in the likelihood.
    - `model`: the population's family and the priors of its parameters.
    - `settings`: sampler, quadrature, errors, thresholds.
    - `progress`: called with a phrase at the start of each stage.
    - `sampler`: one from an earlier fit of the same model, to reuse its compilation.

    Raises `SelectionDomainError` if the population's bounds leave the operator's domain,
    `CatalogueError` or `ObjectsError` for objects that cannot be fitted, `ValueError` if the
    population cannot produce one of them.

    ```python
    result = fit(catalogue, load_selection("operator.h5"), PopulationModel(population))
    print(result.diagnostics.verdict(), result.summary["posterior.alpha_m.median"])
    result.save("out")
    ```
    """
    _check_kinds(objects, selection, model)
    settings = settings or FitSettings()
    started = time.perf_counter()
    population, seed = model.population, settings.sampler.seed
    objects = _as_objects(objects, settings.errors)
    with double_precision():
        progress("evaluating the selection")
        grid = selection_grid(selection, population, settings.quadrature)
        progress("drawing samples of each cluster")
        objects = objects.inside(population.box)
        samples = objects.samples(population.box, selection)
        _check_start(model, samples, objects)
        progress("compiling and sampling")
        sampler = sampler or Sampler(model, grid, settings.sampler)
        sampler.check(model, grid, settings.sampler)
        draws = sampler.run(samples, grid, jax.random.key(seed))
        values = with_number(model, draws.values, samples.n_objects, grid, seed)
        flat = flatten(model, values)
        progress("checking and predicting")
        centre = {k: np.asarray(np.median(v, axis=(0, 1))) for k, v in values.items()}
        at_centre = population.with_values({**model.fixed_values(), **_on_simplex(model, centre)})
        object_ess = np.asarray(judged(at_centre, samples)[1])
        # A point without errors is its own and only sample.
        limits = settings.thresholds
        limits = dataclasses.replace(limits, min_object_ess=1.0) if objects.exact else limits
        diagnostics = diagnose(
            {k: v for k, v in flat.items() if np.ptp(v) > 0},
            draws,
            object_ess,
            settings.sampler.max_tree_depth,
            limits,
            objects.remedy,
        )
        tree = posterior_tree(
            objects,
            samples,
            selection,
            model,
            grid,
            draws,
            values,
            object_ess,
            seed,
            settings.bins,
            settings.n_predictions,
        )
    summary = summarise(len(objects), flat, diagnostics, time.perf_counter() - started)
    return FitResult(tree, objects, model, diagnostics, summary, sampler)


def _check_kinds(objects: object, selection: object, model: object) -> None:
    """Raises `TypeError` for arguments that are swapped or of another kind."""
    for name, value, kinds, remedy in (
        ("objects", objects, (AbstractObjects, Catalogue), "a Catalogue, draws or grids"),
        ("selection", selection, (AbstractSelection,), "an operator, as load_selection reads"),
        ("model", model, (PopulationModel,), "PopulationModel(population)"),
    ):
        if not isinstance(value, kinds):
            raise TypeError(f"{name} is a {type(value).__name__}; expected {remedy}")


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


def _on_simplex(model: PopulationModel, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    sizes = {p.name: p.size for p in model.population.parameters()}
    return {k: v / v.sum() if sizes[k] else v for k, v in values.items()}


def _check_start(model: PopulationModel, samples: ObjectSamples, objects: AbstractObjects) -> None:
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
