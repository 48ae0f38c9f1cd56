"""What a fit gives: a tree of arrays, a summary, and the files of both.

`posterior_tree` and `summarise` are all that `fit` does after sampling; with `Sampler` and
`diagnose` they make a fit of your own.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from starcensus.files import Path, prepare_folder, replacing, write_json
from starcensus.theta import AXES

from ..forward import Population, SelectionGrid
from ..selection import AbstractSelection
from .diagnostics import Diagnostics
from .draws import prior_draws
from .identity import Rules, grid_of, rules_of
from .likelihood import deviating_terms, log_object_terms
from .model import OPERATOR, PopulationModel
from .objects import AbstractObjects, Samples
from .predictive import BinSettings, Predictions, bin_edges, binned, predict
from .remarks import Remarks
from .sampling import Draws, double_precision

if TYPE_CHECKING:
    from xarray import DataTree

MAX_LOG_LIKELIHOOD_VALUES = 4_000_000
Summary = dict[str, float | int | bool | str]


@dataclasses.dataclass(frozen=True)
class FitResult:
    """A posterior with everything needed to judge and to show it.

    **Arguments:**

    - `tree`: ArviZ `DataTree`: posterior, sample_stats, log_likelihood, prior, prior_predictive,
        posterior_predictive, observed_data, constant_data.
    - `objects`: the clusters that were fitted, with every cut on the way recorded.
    - `selection`: the operator of the fit, the limits of the sample among it.
    - `notes`: what the data did not decide.
    - `summary`: the flat numbers of `summary.json`.
    - `samples`, `grid`: what the likelihood had of the clusters and of the operator. `exact`: what
        is known of the clusters, if `samples` are its deposit on nodes; else the same.
    """

    tree: "DataTree"
    objects: AbstractObjects
    selection: AbstractSelection
    model: PopulationModel
    diagnostics: Diagnostics
    notes: Remarks
    summary: Summary
    samples: Samples
    grid: SelectionGrid
    exact: Samples

    def save(self, folder: Path) -> None:
        """Write `posterior.nc` and `summary.json` into a folder, each in one step.

        Raises `FileError` where that is not possible.
        """
        made = prepare_folder(pathlib.Path(folder))
        for group in self.tree.subtree:
            # ArviZ's clock would make two files of one posterior.
            group.attrs.pop("created_at", None)
        with replacing(made / "posterior.nc") as temporary:
            self.tree.to_netcdf(temporary)
        write_json(made / "summary.json", self.summary)


def posterior_tree(
    objects: AbstractObjects,
    samples: Samples,
    selection: AbstractSelection,
    model: PopulationModel,
    grid: SelectionGrid,
    draws: Draws,
    values: dict[str, Float[np.ndarray, "chain draw ..."]],
    object_ess: Float[np.ndarray, " n"],
    seed: int = 0,
    bins: BinSettings | None = None,
    n_predictions: int = 200,
) -> "DataTree":
    """The ArviZ tree of a fit: draws, terms of the objects, predictions, observations.

    In `observed_data`, `theta` is one point for each object; the group's attribute `theta` says
    what the points are.

    **Arguments:**

    - `objects`: those that were fitted.
    - `samples`: their samples, as the sampler had them.
    - `selection`, `model`, `grid`: operator, model and quadrature of the fit.
    - `draws`: what `Sampler.run` gave.
    - `values`: its draws by name, after `with_number`; where the operator's uncertainty counts, the
      numbers behind it under `OPERATOR`.
    - `object_ess`: what `least_object_ess` gave; what lies beyond the objects is padding.
    - `seed`: seed of the predictions.
    - `bins`: bins of the predicted counts.
    - `n_predictions`: draws that are predicted, at most.
    """
    from arviz_base import convert_to_datatree, from_dict

    bins = bins or BinSettings()
    n = len(objects)
    population = model.population.with_values(model.fixed_values())
    points = objects.points()
    joined = {k: v.reshape(-1, *v.shape[2:]) for k, v in values.items()}
    n_total = len(next(iter(joined.values())))
    pick = np.linspace(0, n_total - 1, min(n_predictions, n_total)).astype(int)
    picked = {k: v[pick] for k, v in joined.items()}
    after = predict(population, picked, grid, selection, points.errors, seed, bins)
    prior = prior_draws(model, len(pick), seed)
    if k := grid.n_directions:
        prior[OPERATOR] = np.random.default_rng(seed + 2).normal(size=(len(pick), k))
    before = predict(population, prior, grid, selection, points.errors, seed + 1, bins)
    thin = max(1, int(np.ceil(n_total * n / MAX_LOG_LIKELIHOOD_VALUES)))
    thinned = {k: np.ascontiguousarray(v[:, ::thin]) for k, v in values.items()}
    with double_precision():
        terms = _shape_terms(
            population, thinned, samples, rules_of(grid), grid.p_sel, grid.deviations
        )
    edges = bin_edges(population, bins)
    data = {
        "posterior": values,
        "sample_stats": {
            "lp": -np.asarray(draws.potential),
            "energy": np.asarray(draws.energy),
            "n_steps": np.asarray(draws.n_steps),
            "acceptance_rate": np.asarray(draws.accept),
            "diverging": np.asarray(draws.diverging),
        },
        "log_likelihood": {"objects": np.asarray(terms)[..., :n]},
        "prior": {k: v[None] for k, v in prior.items()},
        "prior_predictive": _predictive_group(before),
        "posterior_predictive": _predictive_group(after),
        "observed_data": {
            **{f"counts_{k}": v for k, v in binned(points.theta, edges).items()},
            "theta": points.theta,
            "theta_low": points.low,
            "theta_high": points.high,
        },
        "constant_data": {
            **{f"edges_{k}": v for k, v in edges.items()},
            **{f"node_{k}": v for k, v in after.nodes.items()},
            **{f"weight_{k}": v for k, v in after.weights.items()},
            "p_sel": grid.p_sel,
            "object_ess": object_ess[:n],
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
        OPERATOR: ["operator_direction"],
    }
    coords = {"cluster": objects.ids.astype(str), "axis": list(AXES)}
    tree = from_dict(data, dims=dims, coords=coords)
    tree.attrs["parameters"] = json.dumps(
        [
            {
                "name": p.name,
                "unit": p.unit,
                "label": p.label,
                "size": p.size,
                "prior": model.record(p),
                "reason": "as given" if model.is_given(p) else p.reason,
            }
            for p in population.parameters()
        ]
    )
    made = convert_to_datatree(tree)
    made["observed_data"].attrs["theta"] = points.meaning
    return made


@eqx.filter_jit
def _shape_terms(
    population: Population,
    values: Mapping[str, Float[Array, "chain draw ..."] | Float[np.ndarray, "chain draw ..."]],
    samples: Samples,
    rules: Rules,
    p_sel: Float[Array, "m t a"] | Float[np.ndarray, "m t a"],
    deviations: Float[Array, "k m t a"] | Float[np.ndarray, "k m t a"] | None = None,
) -> Float[Array, "chain draw n"]:
    """ln ∫ p(d_i|θ) p(θ|φ) dθ − ln ∫ p_sel p dθ of every object, for all draws."""
    grid = grid_of(rules, p_sel, deviations)

    def terms(draw: dict[str, Array]) -> Float[Array, " n"]:
        z = draw.get(OPERATOR)
        drawn = population.with_values({k: v for k, v in draw.items() if k != OPERATOR})
        if z is None:
            return log_object_terms(drawn, samples) - jnp.log(grid.detected_fraction(drawn))
        fraction = grid.shifted(z).detected_fraction(drawn)
        return deviating_terms(drawn, samples, z) - jnp.log(fraction)

    return jax.lax.map(lambda chain: jax.lax.map(terms, chain), dict(values))


def _predictive_group(predictions: Predictions) -> dict[str, np.ndarray]:
    """Arrays with a leading chain axis of one."""
    group: dict[str, np.ndarray] = {"n_catalogued": predictions.n_catalogued}
    for kind in ("counts", "density", "detected"):
        group |= {f"{kind}_{axis}": v for axis, v in getattr(predictions, kind).items()}
    return {k: v[None] for k, v in group.items()}


def summarise(
    n_clusters: int,
    flat: dict[str, Float[np.ndarray, "chain draw"]],
    diagnostics: Diagnostics,
    wall_s: float,
    notes: Remarks | None = None,
) -> Summary:
    """The flat numbers of `summary.json`; one that is not finite is left out, and the verdict names
    what it spoils.

    **Arguments:**

    - `n_clusters`: number of clusters that were fitted.
    - `flat`: draws `(chain, draw)` by flat name.
    - `diagnostics`: diagnostics of the fit.
    - `wall_s`: how long it took, s.
    - `notes`: what the data did not decide.
    """
    summary: Summary = {
        "n_clusters": n_clusters,
        "wall_s": round(wall_s, 2),
        "converged": diagnostics.converged,
        "verdict": diagnostics.verdict(),
        "max_r_hat": diagnostics.max_r_hat,
        "min_ess_bulk": diagnostics.min_ess_bulk,
        "min_ess_tail": diagnostics.min_ess_tail,
        "n_divergent": diagnostics.n_divergent,
        "min_bfmi": diagnostics.min_bfmi,
        "min_object_ess": diagnostics.min_object_ess,
        "integral_error": diagnostics.integral_error,
        "max_object_shift": diagnostics.max_object_shift,
    }
    if diagnostics.node_error > 0:
        summary["node_error"] = diagnostics.node_error
    if diagnostics.share_beyond > 0:
        summary["share_beyond"] = diagnostics.share_beyond
    if notes is not None:
        summary["remarks"] = " ".join(notes.sentences)
        summary |= {f"contraction.{name}": value for name, value in notes.contraction.items()}
    for name, draws in flat.items():
        quantiles = np.percentile(draws, [2.5, 16, 50, 84, 97.5])
        for label, value in zip(("p2_5", "p16", "median", "p84", "p97_5"), quantiles, strict=True):
            summary[f"posterior.{name}.{label}"] = float(value)
    return {k: v for k, v in summary.items() if not isinstance(v, float) or np.isfinite(v)}
