"""Mass, age and extinction of every cluster under the population of a fit."""

import pathlib

import numpy as np
from jaxtyping import Bool

from starcensus.experiments.jobs._job import Show
from starcensus.experiments.jobs._theta_table import theta_table, write_table
from starcensus.experiments.schema.fit import LatentsTable
from starcensus.files import replacing
from starcensus.inference import FitResult, Latents, latents
from starcensus.inference.draws import thinned
from starcensus.inference.latents import LEAST_EFFECTIVE
from starcensus.inference.results import Summary
from starcensus.theta import AXES

TABLE, DRAWS = "clusters.ecsv", "latents.nc"
COLUMNS: tuple[str, ...] = ("p2_5", "p16", "p50", "p84", "p97_5")


def latent_files(table: LatentsTable | None) -> tuple[str, ...]:
    """Names of the files that `write_latents` makes."""
    if table is None:
        return ()
    return (TABLE, DRAWS) if table.keep_draws else (TABLE,)


def write_latents(
    result: FitResult,
    table: LatentsTable | None,
    folder: pathlib.Path,
    seed: int,
    key: str,
    show: Show,
) -> Summary:
    """The files, if they are wanted, and their numbers.

    **Arguments:**

    - `result`: of the fit. `key`: of its run.
    """
    if table is None:
        return {}
    show.stage("every cluster under the population")
    model = result.model
    population = model.population.with_values(model.fixed_values())
    posterior = result.tree["posterior"].data_vars
    values = {str(name): np.asarray(each.values) for name, each in posterior.items()}
    picked = {name: each[None] for name, each in thinned(values, table.draws).items()}
    found = latents(result.exact, result.objects.ids, population, picked, seed, 0.0)
    thin = _blanked(found, result.objects.remedy, show)
    _write(found, folder, key, keep_draws=table.keep_draws, picked=picked)
    half = (found.quantiles[3] - found.quantiles[1]) / 2
    return {
        "latents.n_draws": found.theta.shape[1],
        "latents.n_blank": int(thin.sum()),
        "latents.least_effective": float(found.effective.min()),
        **{
            f"latents.median_error.{axis}": float(np.nanmedian(half[:, k]))
            for k, axis in enumerate(AXES)
            if not thin.all()
        },
    }


def _blanked(found: Latents, remedy: str, show: Show) -> Bool[np.ndarray, " n"]:
    """Which clusters have too few points, whose numbers are NaN from here on."""
    thin = found.effective < LEAST_EFFECTIVE
    if thin.any():
        shown = ", ".join(str(i) for i in found.ids[thin][:5])
        more = ", …" if thin.sum() > 5 else ""
        show.say(
            f"warning: {thin.sum()} of {len(thin)} clusters have fewer than {LEAST_EFFECTIVE:g} "
            f"effective points under some draw of the population and are blank in {TABLE}: {shown}"
            f"{more}; {remedy}"
        )
    found.mean[thin], found.quantiles[:, thin], found.theta[:, :, thin] = np.nan, np.nan, np.nan
    return thin


def _write(
    found: Latents,
    folder: pathlib.Path,
    key: str,
    *,
    keep_draws: bool,
    picked: dict[str, np.ndarray],
) -> None:
    by_name = {"mean": found.mean, **dict(zip(COLUMNS, found.quantiles, strict=True))}
    made = theta_table(
        found.ids, by_name, found.effective, "least effective number of points among the draws"
    )
    words = "posteriors under the population that all clusters imply, averaged over its own"
    write_table(made, folder / TABLE, {"prior": words, "key": key})
    if not keep_draws:
        return
    import xarray as xr  # slow to import

    ids = np.asarray(found.ids).astype(str)
    dims = ("draw", "cluster", "axis")
    coords = {"cluster": ids, "axis": list(AXES)}
    data = {"theta": (dims, found.theta[0].astype(np.float32))}
    others = {name: ("draw", *(f"{name}_{k}" for k in range(each.ndim - 2)))
              for name, each in picked.items()}  # fmt: skip
    data |= {name: (others[name], each[0]) for name, each in picked.items()}
    with replacing(folder / DRAWS) as temporary:
        xr.Dataset(data, coords, {"key": key}).to_netcdf(temporary)
