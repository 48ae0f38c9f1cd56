"""Populations and the counts that a survey is expected to find."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from jaxtyping import Array, Float

from starcensus.forward import (
    DoublePowerLaw,
    HalfNormal,
    LogNormal,
    MassDependentDisruption,
    MassIndependentDisruption,
    NodesExtinction,
    Population,
    PowerLaw,
    PowerLawAge,
    QuadratureSettings,
    Schechter,
    SelectionGrid,
    Separable,
    expected_count,
    expected_count_monte_carlo,
    flat_names,
    flat_values,
    marginal_densities,
    selection_grid,
)
from starcensus.selection import (
    AbstractSelection,
    ActsOn,
    Box,
    Outside,
    SelectionDomainError,
    complete,
)

MASS, AGE, A_V = (3.0, 6.0), (6.0, 9.0), (0.0, 2.0)
BOX = Box(MASS, AGE, A_V)
EVERYWHERE = Box((0.0, 9.0), (4.0, 11.0), (0.0, 9.0))
LN10 = math.log(10)


class Logistic(AbstractSelection):
    """A magnitude limit: brighter with mass, fainter with age and extinction."""

    domain: Box
    outside: Outside = "refuse"
    acts_on: ActsOn = "truth"
    width: float = 0.2
    limit: float = 0.0

    @property
    def n_members(self) -> int:
        return 1

    def _members_inside(
        self, log_mass: Float[Array, "n"], log_age: Float[Array, "n"], a_v: Float[Array, "n"]
    ) -> Float[Array, "member n"]:
        mag = -2.5 * (log_mass - 4.0) + 1.75 * (log_age - 7.5) + a_v
        return jax.nn.sigmoid((self.limit - mag) / self.width)[None]


class Broken(Logistic):
    """An operator that gives something that is no probability."""

    def _members_inside(
        self, log_mass: Float[Array, "n"], log_age: Float[Array, "n"], a_v: Float[Array, "n"]
    ) -> Float[Array, "member n"]:
        return jnp.full((1, *log_mass.shape), 1.5)


def simple(shift: float = 0.0) -> Population:
    mass_age = Separable(PowerLaw(MASS, -2.0 + shift), PowerLawAge(AGE, -0.6 + shift))
    return Population(mass_age, HalfNormal(A_V, 0.5 + shift), 3.5)


def with_kinks(shift: float = 0.0) -> Population:
    mass_age = Separable(
        Schechter(MASS, -2.0, 5.0 + shift), MassIndependentDisruption(AGE, 7.4 + shift, -1.0)
    )
    return Population(mass_age, NodesExtinction((0.0, 0.4, 1.0, 2.0)), 3.0)


def disrupted(shift: float = 0.0) -> Population:
    law = MassDependentDisruption(MASS, AGE, -2.0, 5.0 + shift, 0.65, 7.5 + shift)
    return Population(law, HalfNormal(A_V, 0.5, -0.2, age_dependent=True), 3.0)


def test_log_rate_is_number_times_density():
    population = with_kinks()
    x, t, a = np.array([3.5, 4.0]), np.array([6.5, 8.0]), np.array([0.1, 1.2])
    assert isinstance(population.mass_age, Separable)
    expected = (
        3.0 * LN10
        + population.mass_age.mass.log_prob(x)
        + population.mass_age.age.log_prob(t)
        + population.extinction.log_prob(a, t)
    )
    np.testing.assert_allclose(population.log_rate(x, t, a), expected, rtol=1e-14)
    assert population.log_rate(2.9, 7.0, 0.1) == -jnp.inf
    assert population.box == BOX


def test_samples_lie_in_the_box_and_follow_each_margin():
    population = with_kinks()
    theta = population.sample(jax.random.key(0), 20_000)
    assert theta.shape == (20_000, 3)
    assert BOX.contains(*theta.T).all()
    rule = selection_grid(complete(BOX), population)
    margins = marginal_densities(population, rule)
    for i, axis in enumerate(("log_mass", "log_age", "a_v")):
        weights = getattr(rule, {"a_v": "a_v_rule"}.get(axis, axis.removeprefix("log_") + "_rule"))
        nodes, density = margins[axis]
        mean = float((weights.weights * nodes * np.asarray(density)).sum()) / 10**population.log_n
        x = np.asarray(theta[:, i])
        assert abs(x.mean() - mean) < 4 * x.std() / math.sqrt(len(x))


def test_parameters_values_and_replacement():
    population = with_kinks()
    names = ["alpha_m", "log_m_break", "log_t_mid", "alpha_t", "p_av", "log_n"]
    assert [p.name for p in population.parameters()] == names == list(population.values())
    changed = population.with_values({"log_n": 2.0, "alpha_t": -0.3, "p_av": np.full(4, 0.25)})
    assert float(changed.values()["alpha_t"]) == -0.3 and float(changed.values()["log_n"]) == 2.0
    assert float(population.values()["alpha_t"]) == -1.0 and population.log_n == 3.0
    assert eqx.tree_equal(population.with_values({}), population)
    with pytest.raises(KeyError, match=r"no parameter \['gamma_mdd', 'x'\] in this population"):
        population.with_values({"x": 1.0, "gamma_mdd": 0.5, "log_n": 1.0})


def test_flat_names_and_values():
    population = with_kinks()
    flat = flat_values(population)
    assert list(flat) == flat_names(population.parameters())
    assert [n for n in flat if n.startswith("p_av")] == ["p_av_0", "p_av_1", "p_av_2", "p_av_3"]
    assert flat["p_av_2"] == 0.25 and flat["log_t_mid"] == 7.4
    assert all(type(v) is float for v in flat.values())


@pytest.mark.parametrize("make", [simple, with_kinks, disrupted])
def test_a_complete_survey_counts_everything(make):
    population = make(0.03)
    grid = selection_grid(complete(BOX), population)
    assert float(expected_count(population, grid)) == pytest.approx(10**population.log_n, rel=1e-9)
    assert float(grid.detected_density(population).sum()) == pytest.approx(
        float(expected_count(population, grid)), rel=1e-12
    )


def test_a_limit_in_mass_alone_has_a_closed_form():
    """A complete box that starts at a panel edge of the quadrature."""
    population = simple()
    grid = selection_grid(complete(Box((4.0, 6.0), AGE, A_V)), population)
    share = (1e-4 - 1e-6) / (1e-3 - 1e-6)
    assert float(grid.detected_fraction(population)) == pytest.approx(share, rel=1e-10)


def test_expected_count_against_nested_adaptive_quadrature():
    population, selection = simple(), Logistic(EVERYWHERE)
    grid = selection_grid(selection, population)

    def integrand(a: float, t: float, x: float) -> float:
        mag = -2.5 * (x - 4.0) + 1.75 * (t - 7.5) + a
        density = 10 ** (-(x - 3)) * 10 ** (0.4 * (t - 6)) * math.exp(-2 * a * a)
        return density / (1 + math.exp(min(mag / 0.2, 500.0)))

    options = {"epsabs": 1e-11, "epsrel": 1e-8}
    detected = scipy.integrate.nquad(integrand, [A_V, AGE, MASS], opts=[options] * 3)[0]
    norm = (
        (1 - 1e-3) / LN10
        * (10**1.2 - 1) / (0.4 * LN10)
        * 0.5 * math.sqrt(2 * math.pi) * (scipy.stats.norm.cdf(4) - 0.5)
    )  # fmt: skip
    truth = 10**3.5 * detected / norm
    assert float(expected_count(population, grid)) == pytest.approx(truth, rel=1e-6)


class OfDust(Logistic):
    """A limit on extinction that rises with age; masses do not count."""

    def _members_inside(
        self, log_mass: Float[Array, "n"], log_age: Float[Array, "n"], a_v: Float[Array, "n"]
    ) -> Float[Array, "member n"]:
        return jax.nn.sigmoid((log_age - 7.5 - 2 * (a_v - 0.5)) / self.width)[None]


def test_extinction_that_depends_on_age_against_nested_adaptive_quadrature():
    """Catches p(A_V | age) taken at one age: the share detected would be off by 8%."""
    mass_age = Separable(PowerLaw(MASS, -2.0), PowerLawAge(AGE, -0.6))
    selection = OfDust(EVERYWHERE)

    def share(slope: float) -> float:
        def integrand(a: float, t: float) -> float:
            sigma = 0.5 * 10 ** (slope * (t - 7))
            dust = math.exp(-((a / sigma) ** 2) / 2) / (sigma * math.erf(2 / sigma / math.sqrt(2)))
            passed = 1 / (1 + math.exp((7.5 - t + 2 * (a - 0.5)) / 0.2))
            return math.sqrt(2 / math.pi) * dust * 10 ** (0.4 * (t - 6)) * passed

        norm = (10**1.2 - 1) / (0.4 * LN10)
        options = {"epsabs": 1e-10, "epsrel": 1e-8}
        return scipy.integrate.nquad(integrand, [A_V, AGE], opts=[options] * 2)[0] / norm

    dust = HalfNormal(A_V, 0.5, -0.3, age_dependent=True)
    population = Population(mass_age, dust, 2.0)
    found = float(selection_grid(selection, population).detected_fraction(population))
    assert found == pytest.approx(share(-0.3), rel=1e-5)
    assert abs(share(0.0) / found - 1) > 0.05


@pytest.mark.parametrize(("make", "tolerance"), [(with_kinks, 1e-6), (disrupted, 1e-6)])
def test_the_default_quadrature_resolves_a_fifth_of_a_magnitude(make, tolerance: float):
    selection = Logistic(EVERYWHERE)
    fine = QuadratureSettings(mass_panel_dex=0.2, age_panel_dex=0.2, a_v_panel_mag=0.25)
    coarse_grid, fine_grid = (selection_grid(selection, make(), s) for s in (None, fine))
    for shift in (0.0, 0.07):
        coarse, exact = (g.detected_fraction(make(shift)) for g in (coarse_grid, fine_grid))
        assert float(coarse) == pytest.approx(float(exact), rel=tolerance)


@pytest.mark.parametrize(
    "extinction", [HalfNormal(A_V, 0.05), LogNormal(A_V, -1.5, 0.1)], ids=["half", "log"]
)
def test_extinction_narrower_than_the_panels_is_counted(
    extinction: HalfNormal | LogNormal,
):
    mass_age = Separable(DoublePowerLaw(MASS, -1.8, 4.77, -3.0), PowerLawAge(AGE, -0.8))
    population = Population(mass_age, extinction, 3.0)
    selection = Logistic(EVERYWHERE)
    exact = expected_count(population, selection_grid(selection, population))
    estimate = expected_count_monte_carlo(jax.random.key(3), population, selection, 200_000)
    assert abs(estimate.value - float(exact)) < 4 * math.sqrt(estimate.variance)
    assert float(selection_grid(complete(BOX), population).detected_fraction(population)) == (
        pytest.approx(1, abs=1e-9)
    )


def test_monte_carlo_errors_are_honest():
    population, selection = with_kinks(), Logistic(EVERYWHERE)
    truth = float(expected_count(population, selection_grid(selection, population)))
    estimates = [
        expected_count_monte_carlo(key, population, selection, 2000, max_relative_error=0.2)
        for key in jax.random.split(jax.random.key(8), 200)
    ]
    errors = np.array([(e.value - truth) / math.sqrt(e.variance) for e in estimates])
    p = scipy.stats.chi2(200).cdf((errors**2).sum())
    assert 1e-3 < p < 1 - 1e-3
    assert abs(errors.mean()) < 4 / math.sqrt(200)
    assert all(1 < e.effective_sample_size < 2000 for e in estimates)


def test_poor_monte_carlo_estimates_are_refused():
    population, selection = simple(), Logistic(EVERYWHERE)
    with pytest.raises(ValueError, match=r"relative standard error of .* raise n_draws"):
        expected_count_monte_carlo(jax.random.key(0), population, selection, 200, 0.01)
    blind = Logistic(EVERYWHERE, limit=-1e4)
    with pytest.raises(ValueError, match="relative standard error of inf"):
        expected_count_monte_carlo(jax.random.key(0), population, blind, 200)


def test_bounds_beyond_the_domain_are_refused():
    narrow = Logistic(Box((3.5, 6.0), AGE, (0.0, 1.0)))
    message = r"bounds leave the domain of Logistic: log_mass 3 to 6 goes beyond 3\.5 to 6 .*; a_v"
    with pytest.raises(SelectionDomainError, match=message):
        selection_grid(narrow, simple())
    with pytest.raises(SelectionDomainError, match=message):
        expected_count_monte_carlo(jax.random.key(0), simple(), narrow)


def test_an_operator_that_gives_no_probability_is_refused():
    with pytest.raises(ValueError, match=r"Broken gave p_sel between 1\.5 and 1\.5"):
        selection_grid(Broken(EVERYWHERE), simple())


def test_marginal_densities_against_closed_forms():
    population = simple()
    margins = marginal_densities(population, selection_grid(complete(BOX), population))
    for axis, shape in (
        ("log_mass", lambda x: LN10 * 10.0 ** (3 - x) / (1 - 1e-3)),
        ("log_age", lambda t: 0.4 * LN10 * 10 ** (0.4 * (t - 6)) / (10**1.2 - 1)),
    ):
        nodes, density = margins[axis]
        np.testing.assert_allclose(density, 10**3.5 * shape(nodes), rtol=1e-9)


def test_the_marginal_of_a_v_counts_all_clusters_and_follows_age():
    population = disrupted()
    settings = QuadratureSettings(a_v_panel_mag=0.1)
    grid = selection_grid(complete(BOX), population, settings)
    nodes, density = marginal_densities(population, grid)["a_v"]
    ages = np.asarray(population.mass_age.quadrature(grid.mass_rule, grid.age_rule).sum(axis=0))
    at = population.extinction.log_prob(
        jnp.asarray(nodes)[None, :], jnp.asarray(grid.age_rule.nodes)[:, None]
    )
    np.testing.assert_allclose(density, 10**3.0 * ages @ np.exp(at), rtol=2e-4)
    assert float(grid.a_v_rule.weights @ density) == pytest.approx(1000, rel=1e-9)


def test_gradient_of_the_expected_count():
    population = with_kinks()
    grid = selection_grid(Logistic(EVERYWHERE), population)

    @jax.jit
    def count(values: dict[str, Array]) -> Array:
        return expected_count(population.with_values(values), grid)

    values = population.values()
    gradient = jax.grad(count)(values)
    for name in ("alpha_m", "log_m_break", "log_t_mid", "alpha_t", "log_n"):
        up, down = (float(count({**values, name: values[name] + d})) for d in (1e-5, -1e-5))
        assert float(gradient[name]) == pytest.approx((up - down) / 2e-5, rel=1e-6)


class Ensemble(Logistic):
    """Surveys of several depths."""

    limits: tuple[float, ...] = (-3.0, 0.0, 0.5)

    @property
    def n_members(self) -> int:
        return len(self.limits)

    def _members_inside(
        self, log_mass: Float[Array, "n"], log_age: Float[Array, "n"], a_v: Float[Array, "n"]
    ) -> Float[Array, "member n"]:
        each = [Logistic(self.domain, limit=limit) for limit in self.limits]
        return jnp.concatenate([one.members(log_mass, log_age, a_v) for one in each])


def test_an_ensemble_counts_the_mean_of_its_members():
    population, ensemble = simple(), Ensemble(EVERYWHERE)
    alone = [
        selection_grid(Logistic(EVERYWHERE, limit=limit), population) for limit in ensemble.limits
    ]
    for k, one in enumerate(alone):
        member = selection_grid(ensemble, population, member=k)
        assert isinstance(member, SelectionGrid)
        np.testing.assert_allclose(member.p_sel, one.p_sel, rtol=1e-12)
    counts = [float(expected_count(population, one)) for one in alone]
    # The mean of counts is neither the first's nor that of the mean logit.
    assert np.mean(counts) > 1.3 * counts[0] and np.mean(counts) < 0.9 * counts[1]
    found = float(expected_count(population, selection_grid(ensemble, population)))
    assert found == pytest.approx(np.mean(counts), rel=1e-12)
    key = jax.random.key(3)
    drawn = expected_count_monte_carlo(key, population, ensemble, 200_000)
    assert abs(drawn.value - np.mean(counts)) < 4 * math.sqrt(drawn.variance)
