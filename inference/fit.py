"""From a catalogue, an operator and a population family to a posterior with its diagnostics."""

import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro import handlers

from ..forward import QuadratureSettings, SelectionGrid, flat_names, selection_grid
from ..selection import AbstractSelection
from ..selection.catalogue import Catalogue
from .diagnostics import Diagnostics, Thresholds, diagnose
from .likelihood import effective_sample_sizes, log_object_terms
from .model import PopulationModel
from .objects import ErrorSettings, ObjectSamples, in_bounds, object_samples
from .predictive import BinSettings, Predictions, bin_edges, binned, predict
from .sampling import Draws, Sampler, SamplerSettings, double_precision, numpyro_rules

if TYPE_CHECKING:
    from xarray import DataTree

MAX_LOG_LIKELIHOOD_VALUES = 4_000_000


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """Everything a fit does that is not the model or the data."""

    errors: ErrorSettings = dataclasses.field(default_factory=ErrorSettings)
    sampler: SamplerSettings = dataclasses.field(default_factory=SamplerSettings)
    quadrature: QuadratureSettings = dataclasses.field(default_factory=QuadratureSettings)
    bins: BinSettings = dataclasses.field(default_factory=BinSettings)
    thresholds: Thresholds = dataclasses.field(default_factory=Thresholds)
    n_predictions: int = 200


@dataclasses.dataclass(frozen=True)
class FitResult:
    """A posterior with everything needed to judge and to show it.

    **Arguments:**

    - `tree`: ArviZ `DataTree`: posterior, sample_stats, log_likelihood, prior, prior_predictive,
        posterior_predictive, observed_data, constant_data.
    - `catalogue`: the clusters that were fitted, with every cut on the way recorded.
    - `summary`: the flat numbers of `summary.json`.
    - `sampler`: the compiled program; give it to the next fit of the same model.
    """

    tree: "DataTree"
    catalogue: Catalogue
    model: PopulationModel
    diagnostics: Diagnostics
    summary: dict[str, float | int | bool | str]
    sampler: Sampler

    def save(self, folder: str | os.PathLike) -> None:
        """Write `posterior.nc` and `summary.json` into a folder, each atomically."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "posterior.nc", lambda path: self.tree.to_netcdf(path))
        text = json.dumps(self.summary, indent=2, allow_nan=False)
        write_atomic(folder / "summary.json", lambda path: path.write_text(text + "\n"))


def write_atomic(path: pathlib.Path, write: Callable[[pathlib.Path], object]) -> None:
    """Call `write` on a temporary neighbour of `path`, then move it into place."""
    temporary = path.with_name(f".{path.name}.partial")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def fit(
    catalogue: Catalogue,
    selection: AbstractSelection,
    model: PopulationModel,
    settings: FitSettings | None = None,
    progress: Callable[[str], None] = lambda _: None,
    sampler: Sampler | None = None,
) -> FitResult:
    """Fit a population to a catalogue.

    **Arguments:**

    - `selection`: the operator; its `acts_on` decides where p_sel stands in the likelihood.
    - `progress`: called with a phrase at the start of each stage.
    - `sampler`: one from an earlier fit of the same model, to reuse its compilation.

    Raises `SelectionDomainError` if the population's bounds leave the operator's domain,
    `CatalogueError` for rows that cannot be fitted, `ValueError` if the population cannot produce
    a cluster of the catalogue.
    """
    settings = settings or FitSettings()
    started = time.perf_counter()
    population = model.population
    with double_precision():
        progress("evaluating the selection")
        grid = selection_grid(selection, population, settings.quadrature)
        progress("drawing samples of each cluster")
        catalogue = in_bounds(catalogue, population.box, settings.errors)
        objects = object_samples(catalogue, population.box, settings.errors, selection)
        _check_start(model, objects, catalogue)
        progress("compiling and sampling")
        sampler = sampler or Sampler(model, objects, grid, settings.sampler)
        draws = sampler.run(objects, grid, jax.random.key(settings.sampler.seed))
        values = _with_number(model, draws, objects, grid, settings.sampler.seed)
        flat = flatten(model, values)
        progress("checking and predicting")
        centre = {k: np.asarray(np.median(v, axis=(0, 1))) for k, v in values.items()}
        at_centre = population.with_values({**model.fixed_values(), **_on_simplex(model, centre)})
        object_ess = np.asarray(effective_sample_sizes(at_centre, objects))
        # A point without errors is its own and only sample.
        exact = settings.errors.mode == "none"
        limits = settings.thresholds
        limits = dataclasses.replace(limits, min_object_ess=1.0) if exact else limits
        diagnostics = diagnose(
            {k: v for k, v in flat.items() if np.ptp(v) > 0},
            draws,
            object_ess,
            settings.sampler.max_tree_depth,
            limits,
        )
        tree = _tree(
            catalogue, selection, model, settings, grid, objects, draws, values, object_ess
        )
    summary = _summary(catalogue, flat, diagnostics, time.perf_counter() - started)
    return FitResult(tree, catalogue, model, diagnostics, summary, sampler)


def flatten(
    model: PopulationModel, values: dict[str, Float[np.ndarray, "..."]]
) -> dict[str, Float[np.ndarray, "..."]]:
    """Draws of every fitted scalar, by flat name."""
    flat = {}
    for p in model.population.parameters():
        if p.name in values:
            names = flat_names((p,))
            columns = values[p.name] if p.size else values[p.name][..., None]
            flat |= {name: columns[..., i] for i, name in enumerate(names)}
    return flat


def _on_simplex(model: PopulationModel, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    sizes = {p.name: p.size for p in model.population.parameters()}
    return {k: v / v.sum() if sizes[k] else v for k, v in values.items()}


def _check_start(model: PopulationModel, objects: ObjectSamples, catalogue: Catalogue) -> None:
    start = {k: jnp.asarray(v) for k, v in model.start().items()}
    population = model.population.with_values({**model.fixed_values(), **start})
    terms = np.asarray(log_object_terms(population, objects))[: len(catalogue)]
    if bad := np.flatnonzero(~np.isfinite(terms)).tolist():
        best = ", ".join(f"{x:.3g}" for x in catalogue.theta[bad[0]])
        raise ValueError(
            f"{catalogue.source}: {len(bad)} clusters cannot come from this population with this "
            f"selection, the first is {catalogue.ids[bad[0]]} with (log_mass, log_age, a_v) = "
            f"({best}); widen the bounds, or cut such rows and let the selection say so"
        )


def _with_number(
    model: PopulationModel, draws: Draws, objects: ObjectSamples, grid: SelectionGrid, seed: int
) -> dict[str, np.ndarray]:
    """Add log_n to the draws of a conditional fit: N | φ ~ Gamma(n) / ∫ p_sel p dθ."""
    values = {k: np.asarray(v) for k, v in draws.values.items()}
    if model.form == "poisson":
        return values
    flat = {k: v.reshape(-1, *v.shape[2:]) for k, v in values.items()}
    population = model.population.with_values(model.fixed_values())

    def fraction(draw: dict[str, Array]) -> Float[Array, ""]:
        return grid.detected_fraction(population.with_values(draw))

    shape = draws.energy.shape
    each = jax.lax.map(fraction, {k: jnp.asarray(v) for k, v in flat.items()})
    detected = np.asarray(each).reshape(shape)
    number = np.random.default_rng(seed).gamma(objects.n_objects, size=shape) / detected
    return {**values, "log_n": np.log10(number)}


def prior_draws(model: PopulationModel, n: int, seed: int) -> dict[str, np.ndarray]:
    """Draws from the priors; a conditional fit's log_n has none and is left out."""

    def sample(key):
        with handlers.seed(rng_seed=key), handlers.trace() as trace:
            model.sample_population()
        return {name: site["value"] for name, site in trace.items()}

    keys = jax.random.split(jax.random.key(seed + 1), n)
    with double_precision(), numpyro_rules():
        return {k: np.asarray(v) for k, v in jax.vmap(sample)(keys).items()}


def _tree(
    catalogue: Catalogue,
    selection: AbstractSelection,
    model: PopulationModel,
    settings: FitSettings,
    grid: SelectionGrid,
    objects: ObjectSamples,
    draws: Draws,
    values: dict[str, np.ndarray],
    object_ess: np.ndarray,
) -> "DataTree":
    from arviz_base import convert_to_datatree, from_dict

    population = model.population.with_values(model.fixed_values())
    seed = settings.sampler.seed
    joined = {k: v.reshape(-1, *v.shape[2:]) for k, v in values.items()}
    n_total = len(next(iter(joined.values())))
    pick = np.linspace(0, n_total - 1, min(settings.n_predictions, n_total)).astype(int)
    after = predict(
        population,
        {k: v[pick] for k, v in joined.items()},
        grid,
        selection,
        catalogue,
        seed,
        settings.bins,
    )
    prior = prior_draws(model, len(pick), seed)
    before = predict(population, prior, grid, selection, catalogue, seed + 1, settings.bins)
    thin = max(1, int(np.ceil(n_total * len(catalogue) / MAX_LOG_LIKELIHOOD_VALUES)))
    thinned = {k: jnp.asarray(v[:, ::thin]) for k, v in values.items()}

    def shape_terms(draw: dict[str, Array]) -> Float[Array, " n"]:
        drawn = population.with_values(draw)
        return log_object_terms(drawn, objects) - jnp.log(grid.detected_fraction(drawn))

    terms = jax.lax.map(lambda chain: jax.lax.map(shape_terms, chain), thinned)
    edges = bin_edges(population, settings.bins)
    data = {
        "posterior": values,
        "sample_stats": {
            "lp": -np.asarray(draws.potential),
            "energy": np.asarray(draws.energy),
            "n_steps": np.asarray(draws.n_steps),
            "acceptance_rate": np.asarray(draws.accept),
            "diverging": np.asarray(draws.diverging),
        },
        "log_likelihood": {"objects": np.asarray(terms)[..., : len(catalogue)]},
        "prior": {k: v[None] for k, v in prior.items()},
        "prior_predictive": _predictive_group(before),
        "posterior_predictive": _predictive_group(after),
        "observed_data": {
            **{f"counts_{k}": v for k, v in binned(catalogue.theta, edges).items()},
            "theta": catalogue.theta,
            "theta_low": catalogue.theta_low,
            "theta_high": catalogue.theta_high,
        },
        "constant_data": {
            **{f"edges_{k}": v for k, v in edges.items()},
            **{f"node_{k}": v for k, v in after.nodes.items()},
            **{f"weight_{k}": v for k, v in after.weights.items()},
            "p_sel": grid.p_sel,
            "object_ess": object_ess[: len(catalogue)],
        },
    }
    per_axis = {
        f"{kind}_{axis}": [f"{step}_{axis}"]
        for axis in edges
        for kind, step in (("counts", "bin"), ("density", "at"), ("detected", "at"))
    }
    dims = {
        **per_axis,
        **{f"edges_{axis}": [f"edge_{axis}"] for axis in edges},
        **{f"{kind}_{axis}": [f"at_{axis}"] for axis in edges for kind in ("node", "weight")},
        **{p.name: [f"{p.name}_node"] for p in population.parameters() if p.size},
        "theta": ["cluster", "axis"],
        "theta_low": ["cluster", "axis"],
        "theta_high": ["cluster", "axis"],
        "object_ess": ["cluster"],
        "objects": ["cluster"],
        "p_sel": ["at_log_mass", "at_log_age", "at_a_v"],
    }
    coords = {"cluster": catalogue.ids.astype(str), "axis": ["log_mass", "log_age", "a_v"]}
    tree = from_dict(data, dims=dims, coords=coords)
    tree.attrs["parameters"] = json.dumps(
        [
            {
                "name": p.name,
                "unit": p.unit,
                "label": p.label,
                "size": p.size,
                "prior": model.prior(p).model_dump(mode="json"),
                "reason": "as given" if p.name in model.priors else p.reason,
            }
            for p in population.parameters()
        ]
    )
    return convert_to_datatree(tree)


def _predictive_group(predictions: Predictions) -> dict[str, np.ndarray]:
    """Arrays with a leading chain axis of one."""
    group: dict[str, np.ndarray] = {"n_catalogued": predictions.n_catalogued}
    for kind in ("counts", "density", "detected"):
        group |= {f"{kind}_{axis}": v for axis, v in getattr(predictions, kind).items()}
    return {k: v[None] for k, v in group.items()}


def _summary(
    catalogue: Catalogue,
    flat: dict[str, np.ndarray],
    diagnostics: Diagnostics,
    wall_s: float,
) -> dict[str, float | int | bool | str]:
    summary: dict[str, float | int | bool | str] = {
        "n_clusters": len(catalogue),
        "wall_s": round(wall_s, 2),
        "converged": diagnostics.converged,
        "verdict": diagnostics.verdict(),
        "max_r_hat": diagnostics.max_r_hat,
        "min_ess_bulk": diagnostics.min_ess_bulk,
        "min_ess_tail": diagnostics.min_ess_tail,
        "n_divergent": diagnostics.n_divergent,
        "min_bfmi": diagnostics.min_bfmi,
        "min_object_ess": diagnostics.min_object_ess,
    }
    for name, draws in flat.items():
        quantiles = np.percentile(draws, [2.5, 16, 50, 84, 97.5])
        for label, value in zip(("p2_5", "p16", "median", "p84", "p97_5"), quantiles, strict=True):
            summary[f"posterior.{name}.{label}"] = float(value)
    return summary
