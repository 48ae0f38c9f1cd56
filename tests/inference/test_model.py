"""Priors as NumPyro distributions, and the model that they make."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats
from numpyro import handlers

from starcensus.forward import (
    Constant,
    Dirichlet,
    Fixed,
    NodesExtinction,
    Normal,
    Population,
    PowerLaw,
    PowerLawAge,
    Separable,
    Uniform,
)
from starcensus.inference import PopulationModel
from starcensus.inference.draws import prior_draws
from starcensus.inference.fit import _check_kinds
from starcensus.inference.sampling import numpyro_rules
from starcensus.selection import complete


def population() -> Population:
    return Population(
        Separable(PowerLaw((3.0, 6.0), -2.0), Constant((6.0, 9.0))),
        NodesExtinction((0.0, 1.0, 2.0), np.array([0.2, 0.5, 0.3])),
        2.5,
    )


@pytest.mark.parametrize(
    ("prior", "truth"),
    [
        (Uniform(low=-3.0, high=1.0), scipy.stats.uniform(-3.0, 4.0)),
        (Normal(mean=-2.0, sd=0.5), scipy.stats.norm(-2.0, 0.5)),
        (
            Normal(mean=-2.0, sd=0.5, low=-3.0, high=-1.8),
            scipy.stats.truncnorm(-2.0, 0.4, -2.0, 0.5),
        ),
        (Normal(mean=0.0, sd=2.0, low=0.5), scipy.stats.truncnorm(0.25, np.inf, 0.0, 2.0)),
        (Normal(mean=0.0, sd=2.0, high=0.5), scipy.stats.truncnorm(-np.inf, 0.25, 0.0, 2.0)),
    ],
)
def test_scalar_priors(prior, truth):
    x = truth.ppf(np.linspace(0.01, 0.99, 31))
    with numpyro_rules():
        made = prior.distribution()
        np.testing.assert_allclose(made.log_prob(jnp.asarray(x)), truth.logpdf(x), rtol=1e-10)
        draws = np.asarray(made.sample(jax.random.key(0), (4000,)))
    # A false alarm in a thousand.
    assert scipy.stats.kstest(draws, truth.cdf).pvalue > 1e-3


@pytest.mark.parametrize("concentration", [1.0, 0.5, 4.0])
def test_dirichlet_prior(concentration):
    truth = scipy.stats.dirichlet([concentration] * 3)
    x = truth.rvs(20, random_state=1)
    with numpyro_rules():
        got = Dirichlet(concentration=concentration).distribution(3).log_prob(jnp.asarray(x))
    np.testing.assert_allclose(got, [truth.logpdf(row) for row in x], rtol=1e-9)


def test_fixed_prior_has_no_distribution():
    with pytest.raises(ValueError, match="fixed"):
        Fixed().distribution()


def test_unknown_parameter():
    with pytest.raises(ValueError, match=r"\['alpha_x'\].*does not have.*alpha_m"):
        PopulationModel(population(), {"alpha_x": Uniform(low=0.0, high=1.0)})


@pytest.mark.parametrize(
    ("name", "prior", "expected"),
    [
        ("p_av", Uniform(low=0.0, high=1.0), r"prior of p_av: flat.*expected.*dirichlet"),
        ("alpha_m", Dirichlet(), r"prior of alpha_m: Dirichlet.*expected.*scalar"),
    ],
)
def test_wrong_kind(name, prior, expected):
    with pytest.raises(ValueError, match=expected):
        PopulationModel(population(), {name: prior})


def test_override_and_default():
    given = Uniform(low=-2.5, high=-1.5)
    model = PopulationModel(population(), {"alpha_m": given})
    by_name = {p.name: model.prior(p) for p in model.population.parameters()}
    assert by_name["alpha_m"] == given
    assert by_name["p_av"] == Dirichlet(concentration=1.0)
    assert [p.name for p in model.fitted()] == ["alpha_m", "p_av", "log_n"]


def test_fixed_parameters_keep_a_value():
    model = PopulationModel(population(), {"alpha_m": Fixed(value=-1.7), "p_av": Fixed()})
    assert [p.name for p in model.fitted()] == ["log_n"]
    assert model.fixed_values() == {"alpha_m": -1.7}
    assert set(model.start()) == {"log_n"}


def test_conditional_form_fixes_the_number():
    model = PopulationModel(population(), form="conditional")
    assert [p.name for p in model.fitted()] == ["alpha_m", "p_av"]


def test_prior_draws_follow_the_priors():
    model = PopulationModel(population(), {"alpha_m": Uniform(low=-2.5, high=-1.5)})
    draws = prior_draws(model, 3000, seed=0)
    assert set(draws) == {"alpha_m", "p_av", "log_n"}
    assert draws["p_av"].shape == (3000, 3)
    np.testing.assert_allclose(draws["p_av"].sum(axis=1), 1.0)
    cases = (
        (draws["alpha_m"], scipy.stats.uniform(-2.5, 1.0)),
        (draws["log_n"], scipy.stats.uniform(0.0, 9.0)),
        (draws["p_av"][:, 1], scipy.stats.beta(1.0, 2.0)),
    )
    for values, truth in cases:
        assert scipy.stats.kstest(values, truth.cdf).pvalue > 1e-3
    again = prior_draws(model, 3000, seed=0)
    np.testing.assert_array_equal(again["alpha_m"], draws["alpha_m"])


@pytest.mark.parametrize(
    ("value", "prior"),
    [
        (-9.0, Uniform(low=-3.0, high=-1.0)),
        (-3.0, Uniform(low=-3.0, high=-1.0)),
        (-1.0, Uniform(low=-3.0, high=-1.0)),
        (-1.0, Normal(mean=-2.0, sd=0.5, low=-3.0, high=-1.0)),
        (-3.0, Normal(mean=-2.0, sd=0.5, low=-3.0, high=-1.0)),
        (-2.1, Normal(mean=-2.0, sd=0.5, low=-2.001, high=-2.0)),
        (7.0, Normal(mean=-2.0, sd=0.5)),
    ],
)
def test_start_is_strictly_inside_the_support(value, prior):
    start = population().with_values({"alpha_m": np.asarray(value)})
    got = PopulationModel(start, {"alpha_m": prior}).start()["alpha_m"]
    assert prior.low < got < prior.high
    if prior.low < value < prior.high and not np.isfinite(prior.low):
        assert got == value


def test_start_leaves_the_corner_of_a_simplex():
    corner = population().with_values({"p_av": np.array([1.0, 0.0, 0.0])})
    shares = PopulationModel(corner).start()["p_av"]
    assert shares.min() > 0
    assert shares.sum() == pytest.approx(1.0)


MDD = {
    ("alpha_m", "log_n"): dist.MultivariateNormal(
        np.array([-2.0, 2.5]), np.array([[0.04, 0.015], [0.015, 0.01]])
    )
}


@pytest.mark.parametrize("key", [("alpha_m", "log_n"), "alpha_m, log_n"])
def test_a_prior_of_two_parameters_together(key):
    [given] = MDD.values()
    model = PopulationModel(population(), {key: given})
    assert [p.name for p in model.fitted()] == ["alpha_m", "p_av", "log_n"]
    assert set(model.start()) == {"alpha_m", "p_av", "log_n"}
    draws = prior_draws(model, 4000, seed=0)
    assert set(draws) == {"alpha_m", "p_av", "log_n"}
    found = np.cov(draws["alpha_m"], draws["log_n"])
    np.testing.assert_allclose(found, given.covariance_matrix, rtol=0.1)
    [record] = [model.record(p) for p in model.population.parameters() if p.name == "log_n"]
    assert "together with alpha_m" in record["words"]


def test_a_tied_parameter_follows_the_other_into_draws_and_population():
    tied = Population(
        Separable(PowerLaw((3.0, 6.0), -2.0), PowerLawAge((6.0, 9.0), -0.5)),
        NodesExtinction((0.0, 1.0, 2.0)),
        2.5,
    )
    model = PopulationModel(tied, {"alpha_m": (-1.5, -0.2), "alpha_t": "alpha_m"})
    assert [p.name for p in model.fitted()] == ["alpha_m", "p_av", "log_n"]
    draws = prior_draws(model, 50, seed=0)
    np.testing.assert_array_equal(draws["alpha_t"], draws["alpha_m"])
    assert model.start()["alpha_t"] == model.start()["alpha_m"]
    with numpyro_rules(), handlers.seed(rng_seed=0):
        values = model.sample_population().values()
    assert values["alpha_t"] == values["alpha_m"]
    held = PopulationModel(tied, {"alpha_m": -1.0, "alpha_t": "alpha_m"})
    assert held.fixed_values() == {"alpha_m": -1.0, "alpha_t": -1.0}


@pytest.mark.parametrize(
    ("priors", "form", "words"),
    [
        ({"alpha_m": "log_n", "log_n": "alpha_m"}, "poisson", "tied to each other"),
        ({"alpha_m": "alpha_x"}, "poisson", "tied to 'alpha_x'"),
        ({"alpha_m": "p_av"}, "poisson", "same shape"),
        ({"alpha_m": "log_n"}, "conditional", "log_n"),
        ({"alpha_m": 1.0, "alpha_m,log_n": dist.Normal(0.0, 1.0)}, "poisson", "two priors"),
        ({"p_av,log_n": dist.Normal(0.0, 1.0)}, "poisson", "p_av is a simplex"),
        ({"alpha_m,log_n": Normal(0.0, 1.0)}, "poisson", "prior of alpha_m, log_n.*shape"),
        ({"alpha_m": dist.Dirichlet(np.ones(3))}, "poisson", "alpha_m.*scalar"),
        ({"p_av": dist.Dirichlet(np.ones(4))}, "poisson", r"p_av.*\(4,\)"),
        ({"p_av": 0.5}, "poisson", "own shares"),
    ],
)
def test_priors_that_contradict(priors, form, words):
    with pytest.raises(ValueError, match=words):
        PopulationModel(population(), priors, form)


def test_values_that_are_no_numbers_are_refused():
    wrong = population().with_values({"alpha_m": np.nan})
    with pytest.raises(ValueError, match="alpha_m of the population is not finite"):
        PopulationModel(wrong)


def test_a_fit_says_what_it_was_given():
    # Annotations are checked in tests alone; the fit's own check is what users meet.
    model, operator = PopulationModel(population()), complete(population().box)
    for given, words in (
        ((operator, operator, model), "objects is a CompleteSelection"),
        ((model, operator, model), "objects is a PopulationModel"),
        (("catalogue.ecsv", operator, model), "objects is a str"),
    ):
        with pytest.raises(TypeError, match=words):
            _check_kinds(*given)
