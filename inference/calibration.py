"""Simulation-based calibration of population fits (Talts et al. 2018; Modrák et al. 2023).

Parameters are drawn from the priors, a mock catalogue is made of each, and all catalogues, padded
to one size, are fitted by one program. If likelihood, priors and sampler are right, the rank of
the true value among the posterior's draws is uniform for every parameter, and so is the rank of
the log-likelihood of the truth, which also catches posteriors that ignore part of the data.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..forward import QuadratureSettings, selection_grid
from ..forward.mock import Mock, mock_catalogue
from ..selection import AbstractSelection
from .draws import flatten, prior_draws
from .likelihood import log_likelihood
from .model import PopulationModel
from .objects import ErrorSettings, ObjectSamples, object_samples, padded_size
from .sampling import Sampler, SamplerSettings, double_precision

LIKELIHOOD = "log_likelihood"


@dataclasses.dataclass(frozen=True)
class CalibrationSettings:
    """Size of a calibration.

    **Arguments:**

    - `n_catalogues`: mock catalogues; 200 tell coverages of 68% from 58% and 78%.
    - `n_ranked`: posterior draws, thinned to be nearly independent, among which truth is ranked.
    - `batch`: catalogues that each device fits side by side, in step: every one then waits for the
        longest trajectory among them, which an accelerator makes up for and a CPU does not.
    - `seed`: of everything random.
    """

    n_catalogues: int = 200
    n_ranked: int = 99
    batch: int = 1
    seed: int = 0
    errors: ErrorSettings = dataclasses.field(default_factory=lambda: ErrorSettings(n_samples=32))
    quadrature: QuadratureSettings = dataclasses.field(default_factory=QuadratureSettings)
    sampler: SamplerSettings = dataclasses.field(
        # Too few or too dependent draws blur ranks and intervals, and coverages fall short.
        default_factory=lambda: SamplerSettings(
            n_chains=2, n_warmup=150, n_samples=200, max_tree_depth=6, target_accept=0.8
        )
    )


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Ranks and intervals of every catalogue.

    **Arguments:**

    - `names`: flat parameter names, and `log_likelihood`.
    - `ranks`: number of ranked draws below the truth, shape (catalogue, name), 0 to `n_ranked`.
    - `quantiles`: fraction of all draws below the truth, shape (catalogue, name).
    - `truth`: true values, shape (catalogue, name).
    - `sizes`: clusters in each catalogue.
    - `min_ess_bulk`: of the worst parameter of each catalogue; where it is far below the number of
        draws, ranks and intervals carry the sampler's noise as well as the likelihood's faults.
    """

    names: tuple[str, ...]
    ranks: Int[np.ndarray, "catalogue name"]
    quantiles: Float[np.ndarray, "catalogue name"]
    truth: Float[np.ndarray, "catalogue name"]
    sizes: Int[np.ndarray, " catalogue"]
    min_ess_bulk: Float[np.ndarray, " catalogue"]
    n_ranked: int
    n_divergent: int

    def coverage(self, level: float) -> Float[np.ndarray, " name"]:
        """Share of catalogues whose central interval of that level holds the truth."""
        tail = (1 - level) / 2
        return ((self.quantiles >= tail) & (self.quantiles <= 1 - tail)).mean(axis=0)

    def coverage_accepted(self, level: float, false_alarm: float = 1e-3) -> Bool[np.ndarray, "n"]:
        """Whether each coverage is what binomial noise allows, at that rate over all names."""
        from scipy.stats import binom

        n, count = len(self.sizes), self.coverage(level) * len(self.sizes)
        rate = false_alarm / len(self.names)
        low, high = binom.ppf([rate / 2, 1 - rate / 2], n, level)
        return (count >= low) & (count <= high)

    def ranks_accepted(self, false_alarm: float = 1e-3) -> Bool[np.ndarray, "n"]:
        """Whether each parameter's rank ECDF stays inside its simultaneous band."""
        rate = false_alarm / len(self.names)
        low, high = ecdf_band(len(self.sizes), self.n_ranked, rate)
        counts = rank_ecdf(self.ranks, self.n_ranked)
        return ((counts >= low[:, None]) & (counts <= high[:, None])).all(axis=0)


def rank_ecdf(ranks: Int[np.ndarray, "n k"], n_ranked: int) -> Int[np.ndarray, "edge k"]:
    """Number of ranks not above 0, 1, ..., n_ranked − 1."""
    return (ranks[None] <= np.arange(n_ranked)[:, None, None]).sum(axis=1)


def ecdf_band(
    n: int, n_ranked: int, false_alarm: float, n_simulations: int = 20_000, seed: int = 0
) -> tuple[Float[np.ndarray, " edge"], Float[np.ndarray, " edge"]]:
    """Bounds that the ECDF of n uniform ranks leaves anywhere with probability `false_alarm`.

    Pointwise binomial bounds whose common level is set by simulation, as in Säilynoja, Bürkner &
    Vehtari (2022); counts, inclusive. For rates below 10 / `n_simulations`, where simulation has
    too few exceedances, the pointwise level is Bonferroni's, which is wider.
    """
    from scipy.stats import binom

    z = np.arange(1, n_ranked + 1) / (n_ranked + 1)
    if false_alarm * n_simulations < 10:
        level = false_alarm / n_ranked
        return binom.ppf(level / 2, n, z), binom.isf(level / 2, n, z)
    rng = np.random.default_rng(seed)
    smallest = np.empty(n_simulations)
    for i in range(n_simulations):
        ranks = rng.integers(0, n_ranked + 1, size=n)
        counts = np.cumsum(np.bincount(ranks, minlength=n_ranked + 1))[:-1]
        tails = np.minimum(binom.cdf(counts, n, z), binom.sf(counts - 1, n, z))
        smallest[i] = 2 * tails.min()
    level = np.quantile(smallest, false_alarm)
    return binom.ppf(level / 2, n, z), binom.isf(level / 2, n, z)


def calibrate(
    model: PopulationModel,
    generator: AbstractSelection,
    sigma: tuple[float, float, float] | None,
    selection: AbstractSelection,
    settings: CalibrationSettings | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Draw from the priors, make mocks with `generator`, fit them with `selection`.

    `generator` and `sigma` are those of `mock_catalogue`. `selection` is what the likelihood
    believes; give another than the generator to see a wrong likelihood fail.
    """
    from arviz_stats.base.array import array_stats

    cfg = settings or CalibrationSettings()
    with double_precision():
        progress("drawing catalogues")
        prior = prior_draws(model, cfg.n_catalogues, cfg.seed)
        mocks = _draw_mocks(model, generator, sigma, prior, cfg)
        sizes = np.asarray([len(mock.catalogue) for mock in mocks])
        if sizes.min() == 0:
            raise ValueError(
                f"{int((sizes == 0).sum())} of {len(sizes)} mock catalogues are empty; a fit needs "
                "at least one cluster: raise the prior of log_n"
            )
        size = padded_size(int(sizes.max()))
        box = model.population.box
        each = [
            object_samples(
                mock.catalogue,
                box,
                dataclasses.replace(cfg.errors, seed=cfg.seed + i),
                selection,
                pad=False,
            ).padded(size)
            for i, mock in enumerate(mocks)
        ]
        objects: ObjectSamples = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
        grid = selection_grid(selection, model.population, cfg.quadrature)
        sampler = Sampler(model, each[0], grid, cfg.sampler)
        n_total = cfg.sampler.n_chains * cfg.sampler.n_samples
        thin = np.linspace(0, n_total - 1, cfg.n_ranked).astype(int)
        fixed = model.population.with_values(model.fixed_values())

        def one(inputs: tuple[ObjectSamples, PRNGKeyArray, dict[str, Array]]) -> tuple:
            catalogue, key, truth = inputs
            draws = sampler.program(catalogue, grid, key)
            joined = {k: v.reshape(-1, *v.shape[2:]) for k, v in draws.values.items()}

            def value(at: dict[str, Array]) -> Float[Array, ""]:
                return log_likelihood(fixed.with_values(at), catalogue, grid, model.form)

            ranked = jax.lax.map(value, {k: v[thin] for k, v in joined.items()})
            return draws.values, ranked, value(truth), draws.diverging.sum()

        keys = jax.random.split(jax.random.key(cfg.seed + 2), cfg.n_catalogues)
        truths = {k: jnp.asarray(v) for k, v in prior.items()}
        progress(f"fitting {cfg.n_catalogues} catalogues of up to {int(sizes.max())} clusters")
        program = jax.jit(_on_devices(lambda xs: jax.lax.map(one, xs, batch_size=cfg.batch)))
        values, ranked, at_truth, diverging = jax.tree.map(
            lambda x: np.asarray(x)[: cfg.n_catalogues], program((objects, keys, truths))
        )
    names, draw_columns, ess = [], [], []
    for name, column in flatten(model, values).items():
        names.append(name)
        draw_columns.append(column.reshape(cfg.n_catalogues, -1))
        ess.append([array_stats.ess(chains, method="bulk") for chains in column])
    true_flat = flatten(model, {k: v[:, None] if v.ndim == 1 else v for k, v in prior.items()})
    true_columns = [np.asarray(true_flat[name]).reshape(cfg.n_catalogues) for name in names]
    quantiles = [
        (draws < truth[:, None]).mean(axis=1)
        for draws, truth in zip(draw_columns, true_columns, strict=True)
    ]
    ranks = [
        (draws[:, thin] < truth[:, None]).sum(axis=1)
        for draws, truth in zip(draw_columns, true_columns, strict=True)
    ]
    below = ranked < at_truth[:, None]
    return Calibration(
        (*names, LIKELIHOOD),
        np.stack([*ranks, below.sum(axis=1)], axis=1),
        np.stack([*quantiles, below.mean(axis=1)], axis=1),
        np.stack([*true_columns, at_truth], axis=1),
        sizes,
        np.asarray(ess, float).min(axis=0),
        cfg.n_ranked,
        int(diverging.sum()),
    )


def _on_devices(over_catalogues: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`over_catalogues`, each of JAX's devices working on its share of the leading axis.

    Where the catalogues do not divide evenly, the first ones are fitted again at the end.
    """
    devices = jax.local_devices()
    if len(devices) == 1:
        return over_catalogues
    mesh = jax.sharding.Mesh(np.asarray(devices), ("catalogue",))
    spec = jax.P("catalogue")
    shared = jax.shard_map(
        over_catalogues, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
    )

    def program(inputs: Any) -> Any:
        n = jax.tree.leaves(inputs)[0].shape[0]
        rows = np.arange(-(-n // len(devices)) * len(devices)) % n
        return shared(jax.tree.map(lambda x: jnp.asarray(x)[rows], inputs))

    return program


def _draw_mocks(
    model: PopulationModel,
    generator: AbstractSelection,
    sigma: tuple[float, float, float] | None,
    prior: dict[str, np.ndarray],
    cfg: CalibrationSettings,
) -> list[Mock]:
    fixed = model.population.with_values(model.fixed_values())
    keys = jax.random.split(jax.random.key(cfg.seed), cfg.n_catalogues)
    return [
        mock_catalogue(
            keys[i], fixed.with_values({k: v[i] for k, v in prior.items()}), generator, sigma
        )
        for i in range(cfg.n_catalogues)
    ]
