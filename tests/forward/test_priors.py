"""Priors: what users give, one object of it, its density and words."""

import dataclasses
import json
import math

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats

from starcensus.forward import (
    PRIORS,
    AbstractPrior,
    Dirichlet,
    Fixed,
    Given,
    MultivariateNormal,
    Normal,
    Tied,
    Uniform,
    as_prior,
    prior_density,
    prior_words,
)
from starcensus.forward.priors import member_record, numpyro_rules

MEAN, COVARIANCE = (0.5, -2.0), ((1.0, 0.6), (0.6, 2.0))


@pytest.fixture
def log_uniform():
    """A user's own kind, for this test alone."""

    @PRIORS.register("log_uniform")
    @dataclasses.dataclass(frozen=True)
    class LogUniform(AbstractPrior):
        low: float
        high: float

        def distribution(self, size: int = 0) -> dist.Distribution:
            return dist.LogUniform(self.low, self.high)

    yield LogUniform
    del PRIORS._known["log_uniform"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (-2, Fixed(-2.0)),
        (np.float64(1.5), Fixed(1.5)),
        ((-3, -1), Uniform(-3.0, -1.0)),
        ([-3.0, -1.0], Uniform(-3.0, -1.0)),
        ("alpha_m", Tied("alpha_m")),
        (Normal(0.0, 1.0), Normal(0.0, 1.0)),
        ({"kind": "normal", "mean": -2, "sd": 0.5, "low": -3}, Normal(-2.0, 0.5, -3.0)),
        ({"kind": "dirichlet"}, Dirichlet(1.0)),
        ({"kind": "fixed"}, Fixed()),
    ],
)
def test_what_users_write(given, expected):
    assert as_prior(given) == expected


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: dist.Uniform(-3.0, -1.0), Uniform(-3.0, -1.0)),
        (lambda: dist.Normal(-2.0, 0.5), Normal(-2.0, 0.5)),
        (lambda: dist.TruncatedNormal(-2.0, 0.5, low=-3.0), Normal(-2.0, 0.5, -3.0)),
        (lambda: dist.TruncatedNormal(-2.0, 0.5, high=1.0), Normal(-2.0, 0.5, high=1.0)),
        (lambda: dist.TruncatedNormal(-2.0, 0.5, low=-3.0, high=0.0), Normal(-2.0, 0.5, -3.0, 0.0)),
        (lambda: dist.Delta(4.0), Fixed(4.0)),
    ],
)
def test_distributions_that_files_can_say_become_kinds(make, expected):
    with numpyro_rules():
        assert as_prior(make()) == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (True, "expected a NumPyro distribution"),
        (None, "expected a NumPyro distribution"),
        ((1.0, 2.0, 3.0), "expected a NumPyro distribution"),
        ((2.0, 1.0), "lower one first"),
        ((0.0, math.inf), "finite"),
        (("a", 1.0), "low is 'a'"),
        ({"mean": 1.0}, "has no kind"),
        ({"kind": "gauss"}, "'gauss' is no prior.*uniform"),
        ({"kind": "normal", "mean": 1.0, "sigma": 2.0}, "has no sigma; it has mean, sd"),
        ({"kind": "normal", "mean": 1.0}, "needs sd"),
        ({"kind": "normal", "mean": 1.0, "sd": 0.0}, "sd above 0"),
        ({"kind": "normal", "mean": 1.0, "sd": 1.0, "low": 2.0, "high": 1.0}, "not below"),
        ({"kind": "normal", "mean": True, "sd": 1.0}, "mean is True"),
        ({"kind": "dirichlet", "concentration": -1.0}, "above 0"),
        ({"kind": "multivariate_normal", "mean": [0.0, 1.0], "covariance": [[1.0]]}, "shape"),
        (
            {"kind": "multivariate_normal", "mean": [0, 1], "covariance": [[1, 2], [2, 1]]},
            "positive definite",
        ),
    ],
)
def test_what_is_no_prior(given, words):
    with pytest.raises(ValueError, match=words):
        as_prior(given)


def test_a_batch_of_distributions_is_no_prior():
    with pytest.raises(ValueError, match="batch shape"):
        as_prior(dist.Normal(np.zeros(3), 1.0))


CASES = [
    (Uniform(-3.0, 1.0), scipy.stats.uniform(-3.0, 4.0), "flat, −3 to 1"),
    (Normal(0.0, 2.0), scipy.stats.norm(0.0, 2.0), "normal, 0 ± 2"),
    (Normal(0.0, 2.0, 0.5), scipy.stats.truncnorm(0.25, np.inf, 0.0, 2.0), "above 0.5"),
    (Normal(0.0, 2.0, high=0.5), scipy.stats.truncnorm(-np.inf, 0.25, 0.0, 2.0), "below 0.5"),
    (Normal(0.0, 2.0, -1.0, 3.0), scipy.stats.truncnorm(-0.5, 1.5, 0.0, 2.0), "within −1 to 3"),
    (Given(dist.LogNormal(0.2, 0.4)), scipy.stats.lognorm(0.4, 0, np.exp(0.2)), "LogNormal, loc"),
    (Given(dist.Cauchy(0.0, 1.0)), scipy.stats.cauchy(0.0, 1.0), "Cauchy, loc 0, scale 1"),
]


@pytest.mark.parametrize(("prior", "truth", "words"), CASES)
def test_density_and_words_of_the_object_and_of_its_record(prior, truth, words):
    at = np.linspace(-4, 4, 81)
    np.testing.assert_allclose(prior.density(at), truth.pdf(at), rtol=1e-6, atol=1e-9)
    assert words in prior.words()
    record = json.loads(json.dumps(prior.record(), allow_nan=False))
    assert prior_words(record) == prior.words()
    # Of a distribution that has no kind the record holds a table.
    loose = 0.02 if isinstance(prior, Given) else 1e-9
    if not isinstance(getattr(prior, "given", None), dist.Cauchy):
        np.testing.assert_allclose(prior_density(record, at), truth.pdf(at), atol=loose)


def test_the_density_of_a_share():
    at = np.linspace(0.01, 0.99, 30)
    record = Dirichlet(2.0).record(4)
    np.testing.assert_allclose(prior_density(record, at, 4), scipy.stats.beta.pdf(at, 2.0, 6.0))


def test_records_of_version_0_1_are_read():
    record = {"kind": "normal", "mean": -2.0, "sd": 0.5, "low": -4.0, "high": math.inf}
    assert prior_words(record) == "normal, −2 ± 0.5, above −4"
    record = {"kind": "normal", "mean": -2.0, "sd": 0.5, "low": None, "high": None}
    assert prior_words(record) == "normal, −2 ± 0.5"
    assert prior_words({"kind": "fixed", "value": None}) == "fixed"
    assert prior_density({"kind": "fixed", "value": 1.0}, np.zeros(2)) is None
    assert prior_words({"kind": "unheard_of"}) == "unheard_of"
    assert prior_density({}, np.zeros(2)) is None


def test_a_kind_of_the_users_is_read_and_recorded_for_those_who_do_not_have_it(log_uniform):
    prior = as_prior({"kind": "log_uniform", "low": 0.1, "high": 10.0})
    assert isinstance(prior, log_uniform)
    record = json.loads(json.dumps(prior.record()))
    assert record["kind"] == "log_uniform" and record["low"] == 0.1
    del PRIORS._known["log_uniform"]
    at = np.linspace(0.2, 9, 50)
    found = prior_density(record, at)
    np.testing.assert_allclose(found, scipy.stats.loguniform(0.1, 10.0).pdf(at), rtol=0.15)
    assert prior_words(record) == "log uniform, low 0.1, high 10"
    PRIORS.add("log_uniform", log_uniform)


@pytest.mark.parametrize(
    ("prior", "value", "expected"),
    [
        (Uniform(-3.0, -1.0), -9.0, -2.96),
        (Uniform(-3.0, -1.0), -1.5, -1.5),
        (Normal(-2.0, 0.5, high=-1.0), 0.0, -1.01),
        (Normal(-2.0, 0.5), 7.0, 7.0),
        (Given(dist.LogNormal(0.0, 1.0)), 3.0, 3.0),
    ],
)
def test_starting_values(prior, value, expected):
    assert prior.start(value) == pytest.approx(expected)


def test_a_starting_value_leaves_the_edge_of_any_support():
    assert 0 < Given(dist.HalfCauchy(1.0)).start(-1.0) < 0.1


def test_a_joint_prior_is_recorded_for_each_of_its_parameters():
    at = np.linspace(-6, 4, 101)
    truth = scipy.stats.norm(-2.0, np.sqrt(2.0)).pdf(at)
    prior = as_prior(dist.MultivariateNormal(np.array(MEAN), np.array(COVARIANCE)))
    assert isinstance(prior, MultivariateNormal)
    np.testing.assert_allclose(prior.covariance, COVARIANCE)
    record = member_record(prior, ("a", "b"), 1)
    np.testing.assert_allclose(prior_density(record, at), truth, atol=2e-3)
    assert "together with a" in prior_words(record)
    # Any other: from draws.
    root = np.linalg.cholesky(COVARIANCE)
    student = Given(dist.MultivariateStudentT(200.0, np.array(MEAN), root))
    found = prior_density(member_record(student, ("a", "b"), 1), at)
    np.testing.assert_allclose(found, truth, atol=0.03)


def test_draws_take_the_precision_of_the_session():
    single = dist.LogNormal(np.float32(0.1), np.float32(0.5))
    with numpyro_rules():
        draws = Given(single).distribution().sample(jax.random.key(0), (3,))
    assert draws.dtype == np.float64
