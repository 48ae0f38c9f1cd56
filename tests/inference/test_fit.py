"""What a fit returns: the tree, the summary, the files."""

import dataclasses
import json

import numpy as np
import pytest
import xarray

from starcensus.inference import fit, log_likelihood
from starcensus.selection import OtherSurveyError, SurveyFacts, complete, tabulate

GROUPS = {
    "posterior",
    "sample_stats",
    "log_likelihood",
    "prior",
    "prior_predictive",
    "posterior_predictive",
    "observed_data",
    "constant_data",
}


def test_groups_and_shapes(simple_fit):
    tree, n = simple_fit.result.tree, len(simple_fit.result.objects)
    assert GROUPS <= set(tree.children)
    assert tree["posterior"]["alpha_m"].shape == (4, 1000)
    assert tree["log_likelihood"]["objects"].shape == (4, 1000, n)
    assert tree["log_likelihood"]["objects"].dims == ("chain", "draw", "cluster")
    assert list(tree["observed_data"]["cluster"].values) == list(simple_fit.result.objects.ids)
    for axis in ("log_mass", "log_age", "a_v"):
        assert int(tree["observed_data"][f"counts_{axis}"].sum()) == n
        assert tree["posterior_predictive"][f"counts_{axis}"].shape[:2] == (1, 50)
    assert np.isfinite(tree["constant_data"]["object_ess"].values).all()
    parameters = json.loads(tree.attrs["parameters"])
    assert [p["name"] for p in parameters] == ["alpha_m", "sigma_av", "log_n"]
    assert all(p["unit"] and p["prior"] and p["reason"] for p in parameters)


def test_round_trip(simple_fit, tmp_path):
    simple_fit.result.save(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert sorted(p.name for p in folder.iterdir()) == ["posterior.nc", "summary.json"]
    with xarray.open_datatree(folder / "posterior.nc") as read:
        assert GROUPS <= set(read.children)
        for group in GROUPS:
            before, after = simple_fit.result.tree[group], read[group]
            assert set(before.data_vars) == set(after.data_vars)
            for name in before.data_vars:
                np.testing.assert_array_equal(after[name].values, before[name].values)
        assert read.attrs["parameters"] == simple_fit.result.tree.attrs["parameters"]
    assert json.loads((folder / "summary.json").read_text()) == simple_fit.result.summary


def test_summary_is_finite_and_complete(simple_fit):
    summary = simple_fit.result.summary
    json.dumps(summary, allow_nan=False)
    for name in ("alpha_m", "sigma_av", "log_n"):
        stem = f"posterior.{name}"
        quantiles = [summary[f"{stem}.{q}"] for q in ("p2_5", "p16", "median", "p84", "p97_5")]
        draws = simple_fit.result.tree["posterior"][name].values
        assert quantiles == pytest.approx(np.percentile(draws, [2.5, 16, 50, 84, 97.5]))
    assert summary["n_clusters"] == len(simple_fit.result.objects)
    assert summary["converged"] is True
    assert {"wall_s", "max_r_hat", "min_ess_bulk", "n_divergent"} <= set(summary)


def test_log_likelihood_adds_up_to_the_conditional_form(simple_fit):
    terms = simple_fit.result.tree["log_likelihood"]["objects"].values[1, 7]
    posterior = simple_fit.result.tree["posterior"]
    draw = {k: np.asarray(posterior[k].values[1, 7]) for k in posterior.data_vars}
    population = simple_fit.model.population.with_values(draw)
    whole = log_likelihood(population, simple_fit.objects, simple_fit.grid, "conditional")
    assert terms.sum() == pytest.approx(float(whole), rel=1e-11)


def test_an_operator_of_another_survey_is_refused_before_anything_is_sampled(simple_fit):
    far = dataclasses.replace(
        simple_fit.mock.catalogue,
        meta={**simple_fit.mock.catalogue.meta, "distance_modulus": 28.0},
    )
    nodes = (np.array([3.5, 6.5]), np.array([6.0, 8.5]), np.array([0.0, 2.0]))
    operator = dataclasses.replace(
        tabulate(complete(simple_fit.model.population.box), *nodes),
        learned_for=SurveyFacts(distance_modulus=30.0),
    )
    with pytest.raises(OtherSurveyError, match=r"distance.*2.00 mag brighter"):
        fit(far, operator, simple_fit.model)
