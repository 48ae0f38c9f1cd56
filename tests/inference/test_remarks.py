"""What a fit says of data that decide little."""

import numpy as np
import pytest

from starcensus.inference import PublishedValues, remarks
from starcensus.inference.remarks import Remarks
from starcensus.selection.catalogue import Catalogue


def objects(n: int, log_age: float | None = None) -> PublishedValues:
    rng = np.random.default_rng(1)
    theta = np.stack([rng.uniform(3, 5, n), rng.uniform(6, 9, n), rng.uniform(0, 1, n)], axis=1)
    if log_age is not None:
        theta[:, 1] = log_age + rng.uniform(-0.02, 0.02, n)
    return PublishedValues(
        Catalogue("t", np.arange(n).astype(str), theta, theta - 0.1, theta + 0.1)
    )


def test_contraction_against_normal_distributions():
    rng = np.random.default_rng(0)
    prior = {"a": rng.normal(0, 1, 20_000), "b": rng.normal(0, 1, 20_000)}
    posterior = {
        "a": rng.normal(0, 0.5, (4, 5000)),
        "b": rng.normal(0, 0.99, (4, 5000)),
        "log_n": rng.normal(0, 1, (4, 100)),
    }
    made = remarks(objects(300), posterior, prior)
    assert made.contraction["a"] == pytest.approx(0.75, abs=0.02)
    assert made.contraction["b"] == pytest.approx(0.02, abs=0.06)
    assert set(made.contraction) == {"a", "b"}
    assert made.sentences == (
        "The data say next to nothing of b: what is quoted is the prior (contraction below 0.2).",
    )


def test_few_clusters_and_one_age_are_named():
    said = remarks(objects(12, log_age=7.0), {}, {}).sentences
    assert said[0].startswith("There are 12 clusters")
    assert said[1].startswith("All clusters have one log_age, 7 log10 yr") or "6.99" in said[1]
    assert remarks(objects(1), {}, {}).sentences[0].startswith("There is one cluster")
    assert remarks(objects(50), {}, {}).sentences == ()


def test_a_posterior_at_an_end_of_its_prior_is_named():
    """Of log_n at 8.99 under a uniform prior to 9, but not of a share that is nearly 0."""
    rng = np.random.default_rng(3)
    prior = {name: rng.uniform(0, 9, 1000) for name in ("log_n", "inside", "p_av_0")}
    posterior = {
        "log_n": rng.normal(8.98, 0.01, (2, 500)),
        "inside": rng.normal(8.8, 0.01, (2, 500)),
        "p_av_0": rng.uniform(0, 0.01, (2, 500)),
    }
    [said] = remarks(objects(300), posterior, prior, {"p_av_0"}).sentences
    assert said.startswith("The posterior of log_n lies at the high end of its prior")
    low = {"log_n": 9 - posterior["log_n"]}
    [said] = remarks(objects(300), low, prior).sentences
    assert "low end" in said


def test_an_operator_that_is_too_uncertain_for_the_catalogue_is_named():
    made = Remarks(("a",), {})
    assert made.with_operator(0.03, 200) is made
    told = made.with_operator(0.11, 300).sentences
    assert len(told) == 2 and "uncertain by 11.0%" in told[1] and "2.2 times as long" in told[1]
    assert "uncertainty = true" in told[1]
