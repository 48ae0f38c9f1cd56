"""Samples of many objects on nodes say what they said before."""

import dataclasses

import equinox as eqx
import numpy as np
import pytest

from starcensus.inference import FitSettings, NodeSettings, fit
from starcensus.inference.draws import thinned
from starcensus.inference.likelihood import sum_of_object_terms
from starcensus.inference.objects import NodeSamples, ObjectSamples, deposit, nodes, rows_of
from starcensus.inference.sampling import SamplerSettings, double_precision

ALWAYS = NodeSettings(min_objects=1.0)


@pytest.fixture(scope="module")
def laid(simple_fit) -> NodeSamples:
    found = ALWAYS.laid(simple_fit.objects, simple_fit.model.population)
    assert isinstance(found, NodeSamples)
    return found


def test_the_likelihood_is_that_of_the_samples(simple_fit, laid):
    """Between draws of the posterior; a kernel of 0.1 dex would be lost on panels of 1 dex.

    What is expected is the same for both, and is no part of the difference."""
    posterior = simple_fit.result.tree["posterior"]
    drawn = thinned({str(k): v.values for k, v in posterior.data_vars.items()}, 12)
    population, total = simple_fit.model.population, eqx.filter_jit(sum_of_object_terms)
    wide = NodeSettings(min_objects=1.0, panels=(3.0, 2.5, 2.0))

    def moved(some) -> float:
        with double_precision():
            at = [population.with_values({k: v[i] for k, v in drawn.items()}) for i in range(12)]
            change = [float(total(p, some) - total(p, simple_fit.objects)) for p in at]
        return float(np.ptp(change))

    assert moved(laid) < 0.02
    assert moved(wide.laid(simple_fit.objects, population)) > 5 * moved(laid)


def test_few_objects_points_and_unknown_dust_stay_as_they_are(simple_fit):
    objects, population = simple_fit.objects, simple_fit.model.population
    assert NodeSettings().laid(objects, population) is objects
    exact = ObjectSamples(objects.theta[:, :, :1], objects.log_weight[:, :1], objects.mask)
    assert ALWAYS.laid(exact, population) is exact
    dustless = ObjectSamples(objects.theta[:2], objects.log_weight, objects.mask)
    assert ALWAYS.laid(dustless, population) is dustless


def test_rows_are_the_samples_that_count(simple_fit):
    objects = simple_fit.objects
    n, n_samples = objects.n_objects, objects.theta.shape[2]
    assert len(objects.mask) > n
    log_weight = np.array(objects.log_weight)
    log_weight[1, 3:] = -np.inf
    rows = rows_of(dataclasses.replace(objects, log_weight=log_weight))
    assert rows.n_objects == n == len(rows.mask)
    counts = np.bincount(rows.owner)
    assert counts[0] == n_samples and counts[1] == 3
    np.testing.assert_array_equal(rows.theta[:, counts[0] : counts[0] + 3], objects.theta[:, 1, :3])


def test_objects_are_deposited_in_parts(simple_fit, laid, monkeypatch):
    population = simple_fit.model.population
    rules = nodes.rules_of_box(population.box, (0.2, 0.15, 0.2))
    rows = rows_of(simple_fit.objects)
    whole = deposit(rows, rules)
    monkeypatch.setattr(nodes, "_ROWS", 100)
    parts = deposit(rows, rules)
    np.testing.assert_array_equal(parts.log_scale, whole.log_scale)
    for name in ("value", "square"):
        for side in ("forward", "backward"):
            one, other = (getattr(getattr(x, name), side) for x in (parts, whole))
            np.testing.assert_array_equal(one.starts, other.starts)
            np.testing.assert_array_equal(one.column, other.column)
            np.testing.assert_allclose(one.value, other.value, rtol=1e-14)


def test_panels_follow_the_number_of_objects(simple_fit, monkeypatch):
    objects, population = simple_fit.objects, simple_fit.model.population
    monkeypatch.setattr(nodes, "_OF_PANELS", objects.n_objects / 16)
    finer, widest = ALWAYS.laid(objects, population), ALWAYS.panels[0]
    assert isinstance(finer, NodeSamples)
    assert np.diff(finer.rules[0][0]).max() <= widest / 2 + 1e-12


@pytest.mark.parametrize("wrong", [{"min_objects": 0.0}, {"panels": (0.2, 0.0, 0.2)}, {"order": 1}])
def test_numbers_out_of_their_ranges_are_refused(wrong):
    with pytest.raises(ValueError, match="expected 1 or more objects, widths above 0, and 2 nodes"):
        NodeSettings(**wrong)


@pytest.mark.slow
def test_a_fit_on_nodes_has_the_posterior_of_the_samples(simple_fit):
    settings = FitSettings(
        sampler=SamplerSettings(n_chains=8, n_warmup=250, n_samples=300, seed=6),
        nodes=ALWAYS,
        n_predictions=20,
    )
    result = fit(simple_fit.mock.catalogue, simple_fit.selection, simple_fit.model, settings)
    assert 0 < result.summary["node_error"] < 0.1
    for name in ("alpha_m", "sigma_av", "log_n"):
        was, found = (r.tree["posterior"][name].values for r in (simple_fit.result, result))
        assert abs(found.mean() - was.mean()) < 0.2 * was.std()
        assert found.std() == pytest.approx(was.std(), rel=0.15)
