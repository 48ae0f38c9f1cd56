"""Mock catalogues: their number, their truth, their noise, and what they refuse."""

import functools
import re

import jax
import numpy as np
import pytest
import scipy.stats

from starcensus.forward import (
    HalfNormal,
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
    selection_grid,
)
from starcensus.forward.mock import Mock, mock_catalogue
from starcensus.selection import (
    AbstractSelection,
    ActsOn,
    Box,
    MagnitudeLimit,
    Outside,
    RecordedSelection,
    SelectionDomainError,
    complete,
    with_outside,
)

MASS, AGE, A_V = (3.0, 6.0), (6.0, 9.0), (0.0, 2.0)
EVERYWHERE = Box((0.0, 9.0), AGE, (-2.0, 9.0))
SIGMA = (0.15, 0.0, 0.1)


def population(log_n: float = 2.5) -> Population:
    mass_age = Separable(Schechter(MASS, -1.8, 5.0), MassIndependentDisruption(AGE, 7.4, -1.0))
    return Population(mass_age, NodesExtinction((0.0, 0.5, 1.0, 2.0)), log_n)


def limit(acts_on: ActsOn, outside: Outside = "refuse", domain: Box = EVERYWHERE) -> MagnitudeLimit:
    return MagnitudeLimit(
        [6.0, 7.5, 9.0],
        [-2.0, 0.5, 3.0],
        limit_mag=21.5,
        distance_modulus=29.0,
        extinction_ratio=1.0,
        width_mag=0.3,
        domain=domain,
        outside=outside,
        acts_on=acts_on,
    )


@functools.cache
def operator(kind: str) -> AbstractSelection:
    match kind:
        case "truth":
            return limit("truth")
        case "recorded limit":
            return RecordedSelection(limit("data", "zero"), SIGMA, order=16)
        case _:
            return RecordedSelection(complete(Box((3.6, 5.5), (6.3, 8.8), (0.2, 1.5))), SIGMA)


@functools.cache
def grid(kind: str) -> SelectionGrid:
    # Panels end where the box of recorded ages, which have no errors here, does.
    settings = QuadratureSettings(age_panel_dex=0.3, a_v_panel_mag=0.5, a_v_order=6)
    return selection_grid(operator(kind), population(), settings)


KINDS = ["truth", "recorded limit", "recorded box"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_catalogued_is_poisson_with_the_expected_mean(kind: str):
    mean = float(expected_count(population(), grid(kind)))
    keys = jax.random.split(jax.random.key(5), 100)
    mocks = [mock_catalogue(key, population(), operator(kind), sigma_of(kind)) for key in keys]
    counts = np.array([len(m.catalogue) for m in mocks])
    total = scipy.stats.poisson(mean * len(keys))
    assert 1e-3 < total.cdf(counts.sum()) < 1 - 1e-3
    dispersion = scipy.stats.chi2(len(keys)).cdf(((counts - mean) ** 2 / mean).sum())
    assert 1e-3 < dispersion < 1 - 1e-3
    drawn, whole = np.array([m.n_drawn for m in mocks]), 10**2.5
    assert 1e-3 < scipy.stats.poisson(whole * len(keys)).cdf(drawn.sum()) < 1 - 1e-3
    # A selection that thins a fixed number leaves much of the noise; the number has all of it.
    dispersion = scipy.stats.chi2(len(keys)).cdf(((drawn - whole) ** 2 / whole).sum())
    assert 1e-3 < dispersion < 1 - 1e-3


def sigma_of(kind: str) -> tuple[float, float, float] | None:
    return SIGMA if kind == "truth" else None


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_of_the_catalogued_follows_the_detected_density(kind: str):
    big = population(5.0)
    mock = mock_catalogue(jax.random.key(6), big, operator(kind), sigma_of(kind))
    density = np.asarray(grid(kind).detected_density(big))
    for i, rule in enumerate((grid(kind).mass_rule, grid(kind).age_rule, grid(kind).a_v_rule)):
        others = tuple(j for j in range(3) if j != i)
        expected = density.sum(axis=others).reshape(-1, rule.order).sum(axis=1)
        observed, _ = np.histogram(mock.theta_true[:, i], rule.edges)
        many = expected > 10
        chi2 = ((observed - expected)[many] ** 2 / expected[many]).sum()
        assert scipy.stats.chi2(many.sum()).sf(chi2) > 1e-4
        assert observed[~many].sum() < 60


@pytest.mark.parametrize("kind", ["truth", "recorded limit"])
def test_noise_is_gaussian_where_selection_ignores_it_and_is_selected_where_it_does_not(kind: str):
    mock = mock_catalogue(jax.random.key(7), population(4.5), operator(kind), sigma_of(kind))
    noise = mock.catalogue.theta - mock.theta_true
    assert (noise[:, 1] == 0).all()
    for axis in (0, 2):
        scale = scipy.stats.kstest(noise[:, axis] / SIGMA[axis], "norm").pvalue
        assert scale > 1e-3 if kind == "truth" else noise[:, axis].std() > 0
    if kind != "truth":
        assert noise[:, 0].mean() > 4 * SIGMA[0] / np.sqrt(len(noise))
    spread = mock.catalogue.theta_high - mock.catalogue.theta_low
    np.testing.assert_allclose(spread, np.broadcast_to(2 * np.array(SIGMA), spread.shape))


def test_a_recorded_rule_holds_for_every_recorded_value():
    mock = mock_catalogue(jax.random.key(8), population(4.0), operator("recorded box"))
    base = Box((3.6, 5.5), (6.3, 8.8), (0.2, 1.5))
    assert base.contains(*mock.catalogue.theta.T).all()
    assert not base.contains(*mock.theta_true.T).all()


def test_a_complete_survey_catalogues_every_cluster():
    everything = complete(population().box)
    mock = mock_catalogue(jax.random.key(9), population(), everything)
    assert len(mock.catalogue) == mock.n_drawn == len(mock.theta_true)
    np.testing.assert_array_equal(mock.catalogue.theta, mock.theta_true)
    assert mock.truth["log_n"] == 2.5 and mock.truth["p_av_0"] == 0.25
    step = mock.catalogue.steps[0]
    assert (step.n_before, step.n_after) == (mock.n_drawn, mock.n_drawn)
    assert len(set(mock.catalogue.ids)) == mock.n_drawn


def same(a: Mock, b: Mock) -> bool:
    return np.array_equal(a.catalogue.theta, b.catalogue.theta) and a.n_drawn == b.n_drawn


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_fixes_the_catalogue(kind: str):
    first, again, other = (
        mock_catalogue(jax.random.key(seed), population(), operator(kind), sigma_of(kind))
        for seed in (1, 1, 2)
    )
    assert same(first, again) and not same(first, other)
    np.testing.assert_array_equal(first.theta_true, again.theta_true)
    np.testing.assert_array_equal(first.catalogue.ids, again.catalogue.ids)


def test_every_law_can_be_mocked():
    disrupted = MassDependentDisruption(MASS, AGE)
    for mass_age in (disrupted, Separable(PowerLaw(MASS), PowerLawAge(AGE))):
        extinction = HalfNormal(A_V, 0.5, -0.1, age_dependent=True)
        mock = mock_catalogue(
            jax.random.key(0), Population(mass_age, extinction, 2.0), operator("truth"), SIGMA
        )
        assert mock.theta_true.shape == (len(mock.catalogue), 3)


def test_an_empty_catalogue_is_a_catalogue():
    blind = complete(Box((8.0, 9.0), AGE, A_V))
    mock = mock_catalogue(jax.random.key(0), population(), blind)
    assert len(mock.catalogue) == 0 and mock.theta_true.shape == (0, 3) and mock.n_drawn > 200


def test_other_errors_than_the_rules_own_are_refused():
    message = re.escape("sigma = (0.2, 0.0, 0.1), but the RecordedSelection was made for")
    with pytest.raises(ValueError, match=message):
        mock_catalogue(jax.random.key(0), population(), operator("recorded box"), (0.2, 0.0, 0.1))


def test_noise_with_an_operator_that_does_not_say_how_is_refused():
    with pytest.raises(ValueError, match="acts on the data but does not say how; wrap the rule"):
        mock_catalogue(jax.random.key(0), population(), limit("data"), SIGMA)
    mock_catalogue(jax.random.key(0), population(), limit("data"))


def test_too_many_clusters_are_refused():
    with pytest.raises(ValueError, match=r"log_n = 8 asks for 1e\+08 clusters; .* at most 5e\+07"):
        mock_catalogue(jax.random.key(0), population(8.0), operator("truth"))


def test_bounds_beyond_a_domain_that_refuses_are_refused():
    narrow = limit("truth", domain=Box((3.5, 6.0), AGE, A_V))
    with pytest.raises(SelectionDomainError, match=r"log_mass 3 to 6 goes beyond 3\.5 to 6"):
        mock_catalogue(jax.random.key(0), population(), narrow)
    mock = mock_catalogue(jax.random.key(0), population(), with_outside(narrow, "zero"))
    assert (mock.theta_true[:, 0] >= 3.5).all()
