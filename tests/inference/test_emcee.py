"""NUTS against emcee, an affine-invariant ensemble without gradients, on the same posterior.

The log prior is written again with SciPy. Means and standard deviations must agree within four
Monte Carlo standard errors of both samplers together (a false alarm in 16,000 each).
"""

from collections.abc import Callable

import emcee
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from arviz_stats.base.array import array_stats

from starcensus.forward import (
    MassIndependentDisruption,
    NodesExtinction,
    Population,
    Schechter,
    SelectionGrid,
    Separable,
    selection_grid,
)
from starcensus.forward.mock import mock_catalogue
from starcensus.inference import (
    FitSettings,
    ObjectSamples,
    PopulationModel,
    SamplerSettings,
    fit,
    log_likelihood,
    object_samples,
)
from starcensus.inference.objects import in_bounds

FACTOR = 4.0


def run_emcee(
    log_posterior: Callable[[np.ndarray], np.ndarray], start: np.ndarray, n_steps: int, seed: int
) -> np.ndarray:
    """Draws (walker, step, parameter) after a burn-in of a quarter of the steps."""
    sampler = emcee.EnsembleSampler(*start.shape, log_posterior, vectorize=True)
    sampler.random_state = np.random.RandomState(seed).get_state()
    sampler.run_mcmc(start, n_steps)
    tau = sampler.get_autocorr_time(discard=n_steps // 4)
    assert n_steps > 60 * tau.max(), "the ensemble ran for too short a time to be compared with"
    return np.swapaxes(sampler.get_chain(discard=n_steps // 4), 0, 1)


def assert_agree(ours: np.ndarray, theirs: np.ndarray, name: str) -> None:
    """`ours` (chain, draw) and `theirs` (walker, step): mean and standard deviation.

    Walkers of one ensemble are not independent chains; their mean over the ensemble is a series
    whose autocorrelation gives the error of the mean.
    """
    scale = ours.std()
    for what, series in (("mean", theirs), ("sd", (theirs - theirs.mean()) ** 2)):
        mean_series = series.mean(axis=0)
        tau = emcee.autocorr.integrated_time(mean_series[:, None], quiet=True)[0]
        error = mean_series.std() * np.sqrt(tau / len(mean_series))
        estimate = series.mean()
        if what == "sd":
            estimate, error = np.sqrt(estimate), error / (2 * np.sqrt(estimate))
        own = ours.mean() if what == "mean" else ours.std()
        total = np.hypot(error, array_stats.mcse(ours, method=what))
        assert abs(own - estimate) < FACTOR * total, (name, what, own, estimate, total)
        assert total < 0.08 * scale, f"{what} of {name} is not measured well enough to compare"


def likelihood_of(
    population: Population, objects: ObjectSamples, grid: SelectionGrid
) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """Our likelihood of many points at once; points are laid out as a fixed number of rows."""
    compiled = jax.jit(
        lambda many: jax.lax.map(
            lambda v: log_likelihood(population.with_values(v), objects, grid), many
        )
    )
    return lambda values: np.asarray(compiled({k: jnp.asarray(v) for k, v in values.items()}))


def padded_rows(x: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([x, np.repeat(x[:1], n - len(x), axis=0)])


@pytest.mark.slow
def test_three_parameters(simple_fit):
    """alpha_m, sigma_av and log_n."""
    value = likelihood_of(simple_fit.model.population, simple_fit.objects, simple_fit.grid)
    priors = (
        scipy.stats.truncnorm(-4.0, 4.0, loc=-2.0, scale=0.5),
        scipy.stats.uniform(0.02, 1.98),
        scipy.stats.uniform(0.0, 9.0),
    )
    names = ("alpha_m", "sigma_av", "log_n")

    def log_posterior(x: np.ndarray) -> np.ndarray:
        prior = sum(p.logpdf(x[:, i]) for i, p in enumerate(priors))
        inside = np.isfinite(prior)
        safe = np.where(inside[:, None], x, [-2.0, 0.5, 2.5])
        padded = padded_rows(safe, 24)
        found = value({name: padded[:, i] for i, name in enumerate(names)})[: len(x)]
        return np.where(inside, prior + found, -np.inf)

    start = np.array([-2.0, 0.5, np.log10(660.0)]) + 0.03 * np.random.default_rng(0).normal(
        size=(24, 3)
    )
    theirs = run_emcee(log_posterior, start, 3000, seed=1)
    for i, name in enumerate(names):
        ours = simple_fit.result.tree["posterior"][name].values
        assert_agree(ours, theirs[..., i], name)


@pytest.mark.slow
def test_full_population(survey):
    """Schechter × MID × four extinction nodes behind a magnitude limit, about 150 clusters."""
    population = Population(
        Separable(Schechter((3.5, 6.5), -2.0, 5.0), MassIndependentDisruption((6.0, 9.0), 7.5)),
        NodesExtinction((0.0, 0.5, 1.0, 2.0), np.array([0.3, 0.4, 0.2, 0.1])),
        3.0,
    )
    mock = mock_catalogue(jax.random.key(4), population, survey)
    assert 100 < len(mock.catalogue) < 250
    settings = FitSettings(
        sampler=SamplerSettings(n_warmup=500, n_samples=3000, target_accept=0.9, seed=3),
        n_predictions=2,
    )
    result = fit(mock.catalogue, survey, PopulationModel(population), settings)
    assert result.diagnostics.converged, result.diagnostics.verdict()
    kept = in_bounds(mock.catalogue, population.box, settings.errors)
    objects = object_samples(kept, population.box, settings.errors, survey)
    value = likelihood_of(population, objects, selection_grid(survey, population))
    scalars = {
        "alpha_m": scipy.stats.truncnorm(-4.0, 4.0, loc=-2.0, scale=0.5),
        "log_m_break": scipy.stats.uniform(4.4, 3.1),
        "log_t_mid": scipy.stats.uniform(6.0, 3.0),
        "alpha_t": scipy.stats.truncnorm(-2.2 / 0.6, 3.0, loc=-0.8, scale=0.6),
        "log_n": scipy.stats.uniform(0.0, 9.0),
    }
    middle = np.array([-2.0, 5.2, 7.5, -0.8, 3.0, 0.3, 0.4, 0.2])

    def log_posterior(x: np.ndarray) -> np.ndarray:
        """The last three columns are the first three shares; a flat Dirichlet is flat in them."""
        prior = np.sum([p.logpdf(x[:, i]) for i, p in enumerate(scalars.values())], axis=0)
        shares = np.column_stack([x[:, 5:], 1 - x[:, 5:].sum(axis=1)])
        inside = np.isfinite(prior) & (shares > 0).all(axis=1)
        safe = padded_rows(np.where(inside[:, None], x, middle), 64)
        values = {name: safe[:, i] for i, name in enumerate(scalars)}
        values["p_av"] = np.column_stack([safe[:, 5:], 1 - safe[:, 5:].sum(axis=1)])
        return np.where(inside, prior + value(values)[: len(x)], -np.inf)

    rng = np.random.default_rng(0)
    start = middle + rng.normal(size=(64, 8)) * [0.1, 0.1, 0.1, 0.1, 0.03, 0.03, 0.03, 0.03]
    theirs = run_emcee(log_posterior, start, 16_000, seed=2)
    posterior = result.tree["posterior"]
    for i, name in enumerate(scalars):
        assert_agree(posterior[name].values, theirs[..., i], name)
    for k in range(3):
        assert_agree(posterior["p_av"].values[..., k], theirs[..., 5 + k], f"p_av_{k}")
