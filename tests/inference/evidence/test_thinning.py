"""Scores of clusters that are held out, against what is known exactly."""

import numpy as np
import pytest
from scipy.special import gammaln

from starcensus.forward import Fixed, Uniform, selection_grid
from starcensus.inference import (
    NodeSettings,
    SamplerSettings,
    log_likelihood,
    log_object_terms,
    object_samples,
)
from starcensus.inference.evidence import (
    EvidenceError,
    ThinningSettings,
    scaled_grid,
    thinned_score,
    with_objects,
)
from starcensus.inference.sampling import double_precision

N_FOLDS = 3


def test_the_number_alone_is_gamma_and_poisson(given):
    """With the shape known and a prior 1/N, the predictive of each fold is a ratio of Γ functions.

    Folds are fitted with (1 − 1/K) of the operator and scored with 1/K of it.
    """
    priors = {"alpha_m": Fixed(), "sigma_av": Fixed(), "log_n": Uniform(0.5, 5.0)}
    result = given.fitted(priors)
    settings = ThinningSettings(n_folds=N_FOLDS, seed=4)
    sampler = SamplerSettings(n_warmup=300, n_samples=1000, seed=5)
    found = thinned_score(result, settings, sampler)
    mask = np.asarray(result.samples.mask)
    n = int(mask.sum())
    fold = np.random.default_rng([4, N_FOLDS]).integers(N_FOLDS, size=n)
    with double_precision():
        population = result.model.population
        terms = np.asarray(log_object_terms(population, result.samples))[mask]
        share = float(result.grid.detected_fraction(population))
    assert found.n_held == tuple(np.bincount(fold, minlength=N_FOLDS))
    for k in range(N_FOLDS):
        held = fold == k
        n_held, n_kept, kept = held.sum(), (~held).sum(), 1 - 1 / N_FOLDS
        exact = terms[held].sum() - n_held * np.log(N_FOLDS) + gammaln(n) - gammaln(n_kept)
        exact += n_kept * np.log(kept * share) - n * np.log(share)
        assert abs(found.scores[k] - exact) < 4 * found.errors[k] + 1e-3
        assert found.errors[k] < 0.05
    assert found.total == pytest.approx(sum(found.scores))
    with pytest.raises(EvidenceError, match=r"score of fold 1 of 3 is uncertain by .*n_samples"):
        thinned_score(result, ThinningSettings(n_folds=3, max_error=1e-6), sampler)


@pytest.mark.parametrize("on_nodes", [pytest.param(False, marks=pytest.mark.slow), True])
def test_what_is_left_out_does_not_count(given, on_nodes):
    """Wherever it stands among the rows, of which blocks of padding are skipped."""
    population, catalogue = given.population, given.catalogue
    samples = object_samples(catalogue, population.box, selection=given.selection)
    if on_nodes:
        samples = NodeSettings(min_objects=1.0).laid(samples, population)
    kept = np.random.default_rng(1).uniform(size=samples.n_objects) < 0.5
    some = with_objects(samples, kept)
    assert some.n_objects == kept.sum()
    grid = scaled_grid(selection_grid(given.selection, population), 0.5)
    with double_precision():
        found = float(log_likelihood(population, some, grid))
        terms = np.asarray(log_object_terms(population, samples))[np.asarray(samples.mask)]
        number = 10 ** float(population.log_n)
        share = float(grid.detected_fraction(population))
    exact = terms[kept].sum() + kept.sum() * np.log(number) - number * share
    assert found == pytest.approx(exact, abs=1e-6)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="n_folds = 1"):
        ThinningSettings(n_folds=1)
    with pytest.raises(ValueError, match=r"max_r_hat = 1\.0"):
        ThinningSettings(max_r_hat=1.0)
