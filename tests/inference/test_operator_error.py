"""What a learned operator's uncertainty does to a posterior, against quadrature and other fits."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, logsumexp

from starcensus.forward import (
    Fixed,
    HalfNormal,
    Population,
    PowerLaw,
    PowerLawAge,
    QuadratureSettings,
    Separable,
    Uniform,
    selection_grid,
    with_uncertainty,
)
from starcensus.inference import (
    ErrorSettings,
    FitSettings,
    PopulationModel,
    PublishedValues,
    SamplerSettings,
    fit,
    log_likelihood,
    with_operator_directions,
)
from starcensus.inference.model import OPERATOR
from starcensus.networks import MLP
from starcensus.selection import (
    Box,
    LogitUncertainty,
    NetworkSelection,
    UncertaintyError,
    complete,
    with_acts_on,
)
from starcensus.selection.catalogue import Catalogue

BOX = Box((3.0, 6.0), (6.0, 8.5), (0.0, 2.0))
POPULATION = Population(
    Separable(PowerLaw(BOX.log_mass, -2.0), PowerLawAge(BOX.log_age, -0.5)),
    HalfNormal(BOX.a_v, 0.5),
    2.8,
)
# logit p = 4 (log_mass − 4), off by a constant of standard deviation 0.5 and a slope of 0.8.
SLOPE, OFF, TILT = 4.0, 0.5, 0.8
EXACT = FitSettings(
    errors=ErrorSettings(mode="none"),
    sampler=SamplerSettings(n_chains=2, n_warmup=150, n_samples=1000, seed=3),
    quadrature=QuadratureSettings(max_relative_error=1e-2),
    n_predictions=10,
    uncertainty=True,
)


def operator(off: float = OFF, tilt: float = TILT) -> NetworkSelection:
    network = MLP([np.array([[SLOPE, 0.0, 0.0]])], [np.array([-4.0 * SLOPE])])
    root = np.zeros((20, 20))
    root[0, 0], root[1, 1] = off, tilt
    known = LogitUncertainty(np.array([4.0, 7.0, 1.0]), np.ones(3), root)
    return NetworkSelection((network,), BOX, uncertainty=known)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    theta = np.asarray(POPULATION.sample(jax.random.key(4), 1500))
    p = expit(SLOPE * (theta[:, 0] - 4.0))
    kept = theta[np.random.default_rng(5).random(1500) < p]
    return Catalogue("made", np.arange(len(kept)).astype(str), kept, kept, kept)


def _by_quadrature(log_mass: np.ndarray) -> dict[str, float]:
    """Moments of alpha_m, z and log_n with nothing of the package: the mass function and p_z."""
    mass = np.linspace(3.0, 6.0, 1201)
    dm = np.full(1201, mass[1] - mass[0])
    dm[[0, -1]] /= 2
    z = np.linspace(-4.5, 4.5, 46)
    alpha = np.linspace(-2.8, -1.2, 81)
    off, tilt = np.meshgrid(z, z, indexing="ij")

    def logit_of(x):
        u = x - 4.0
        return SLOPE * u + OFF * off[..., None] + TILT * tilt[..., None] * u

    at_nodes = expit(logit_of(mass))
    at_objects = (np.log(expit(logit_of(log_mass))) - np.log(expit(SLOPE * (log_mass - 4)))).sum(-1)
    n, log_post, fraction = len(log_mass), [], []
    for a in alpha:
        density = 10 ** ((a + 1) * (mass - 4))
        norm = density @ dm
        share = at_nodes @ (density * dm) / norm
        terms = ((a + 1) * np.log(10) * (log_mass - 4)).sum() - n * np.log(norm)
        # With ln N integrated out under the prior 1/N, or flat in log_n, which is the same.
        log_post.append(terms + at_objects - n * np.log(share) - (off**2 + tilt**2) / 2)
        fraction.append(share)
    post = np.array(log_post)
    w = np.exp(post - logsumexp(post))
    out = {}
    for name, x in (("alpha_m", alpha[:, None, None]), ("off", off), ("tilt", tilt)):
        x = np.broadcast_to(x, w.shape)
        out[name] = float((w * x).sum())
        out[f"{name}.sd"] = float(np.sqrt((w * (x - out[name]) ** 2).sum()))
    # N | φ, z ~ Gamma(n) / share.
    log_n = np.log10(n / np.array(fraction))
    out["log_n"] = float((w * log_n).sum())
    spread = (w * (log_n - out["log_n"]) ** 2).sum() + 1 / (n * np.log(10) ** 2)
    out["log_n.sd"] = float(np.sqrt(spread))
    return out


def _model(form: str) -> PopulationModel:
    priors = {
        "alpha_m": Uniform(low=-2.8, high=-1.2),
        "alpha_t": Fixed(-0.5),
        "sigma_av": Fixed(0.5),
    }
    more = {"log_n": Uniform(low=1.0, high=5.0)} if form == "poisson" else {}
    return PopulationModel(POPULATION, {**priors, **more}, form)


def test_the_likelihood_is_that_of_the_moved_operator(catalogue):
    """Against sums of our own, with the operator's logit moved by hand."""
    mass = np.linspace(3.0, 6.0, 4001)
    x = catalogue.theta[:, 0]

    def by_hand(alpha, off, tilt):
        def logit_of(m):
            return SLOPE * (m - 4) + OFF * off + TILT * tilt * (m - 4)

        density = 10 ** ((alpha + 1) * (mass - 4))
        norm = np.trapezoid(density, mass)
        share = np.trapezoid(density * expit(logit_of(mass)), mass) / norm
        change = np.log(expit(logit_of(x)) / expit(SLOPE * (x - 4))).sum()
        terms = ((alpha + 1) * np.log(10) * (x - 4)).sum() - len(x) * np.log(norm)
        return terms + change - 10**2.8 * share

    with jax.enable_x64(True):
        selection = operator()
        grid = selection_grid(selection, POPULATION, EXACT.quadrature)
        directions = with_uncertainty(grid, selection, POPULATION)
        samples = PublishedValues(catalogue, ErrorSettings(mode="none")).samples(BOX, selection)
        moving = with_operator_directions(samples, selection, directions)
        at = directions.grid
        of = eqx.filter_jit(lambda drawn, z: log_likelihood(drawn, moving, at, "poisson", z))
        ours, theirs = [], []
        for alpha, off, tilt in ((-2.0, 0, 0), (-2.0, 1, 0), (-2.0, 0, 1), (-1.7, -1.5, 0.6)):
            # The operator's own first two numbers, turned.
            z = directions.turn.T @ np.array([off, tilt, *[0.0] * 18])
            drawn = POPULATION.with_values({"alpha_m": jnp.asarray(alpha)})
            ours.append(float(of(drawn, jnp.asarray(z))))
            theirs.append(by_hand(alpha, off, tilt))
    np.testing.assert_allclose(np.diff(ours), np.diff(theirs), atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["poisson", "conditional"])
def test_a_fit_finds_what_a_sum_over_all_operators_finds(catalogue, form):
    result = fit(catalogue, operator(), _model(form), EXACT)
    expected = _by_quadrature(catalogue.theta[:, 0])
    posterior = result.tree["posterior"]
    for name in ("alpha_m", "log_n"):
        draws = np.asarray(posterior[name])
        assert draws.mean() == pytest.approx(expected[name], abs=0.08 * expected[f"{name}.sd"])
        assert draws.std() == pytest.approx(expected[f"{name}.sd"], rel=0.07)
    z = np.asarray(posterior[OPERATOR])
    # Principal directions mix the two numbers; the sum of their variances stays what it is.
    shrunk = expected["off.sd"] ** 2 + expected["tilt.sd"] ** 2
    assert z.shape[-1] == 2
    assert z.reshape(-1, 2).var(axis=0).sum() == pytest.approx(shrunk, rel=0.1)
    assert np.hypot(*z.reshape(-1, 2).mean(axis=0)) == pytest.approx(
        np.hypot(expected["off"], expected["tilt"]), abs=0.1
    )
    assert result.diagnostics.converged, result.diagnostics.verdict()
    assert {f"{OPERATOR}_0", f"{OPERATOR}_1"} <= set(result.diagnostics.r_hat)


@pytest.mark.slow
def test_the_change_is_that_between_two_fits(catalogue):
    model = _model("poisson")
    both = fit(catalogue, operator(), model, EXACT)
    alone = fit(catalogue, operator(), model, dataclasses.replace(EXACT, uncertainty=False))
    assert both.summary["operator.uncertainty"] and not alone.summary["operator.uncertainty"]
    assert both.summary["operator.effective_draws"] > 50
    for name in ("alpha_m", "log_n"):
        a, b = (np.asarray(r.tree["posterior"][name]) for r in (alone, both))
        assert both.summary[f"operator.{name}.widening"] == pytest.approx(
            b.std() / a.std(), rel=0.15
        )
        assert both.summary[f"operator.{name}.widening"] > 1.1
        shift = (b.mean() - a.mean()) / a.std()
        assert both.summary[f"operator.{name}.shift"] == pytest.approx(shift, abs=0.25)
    assert alone.summary["operator.count_sd"] == pytest.approx(
        both.summary["operator.count_sd"], rel=0.1
    )
    assert "ensemble.member_0.alpha_m" not in both.summary


@pytest.mark.slow
def test_importance_sampling_sees_the_operator(catalogue):
    settings = dataclasses.replace(
        EXACT, sampler=SamplerSettings(n_chains=2, n_samples=1500, method="importance")
    )
    result = fit(catalogue, operator(), _model("poisson"), settings)
    expected = _by_quadrature(catalogue.theta[:, 0])
    draws = np.asarray(result.tree["posterior"]["alpha_m"])
    assert draws.std() == pytest.approx(expected["alpha_m.sd"], rel=0.1)
    assert draws.mean() == pytest.approx(expected["alpha_m"], abs=0.12 * expected["alpha_m.sd"])


def test_selection_of_the_truth_deviates_as_that_of_the_data(catalogue):
    """Of exact objects p_0 is a constant, and p_z / p_0 multiplies both."""
    values = []
    with jax.enable_x64(True):
        for selection in (operator(), with_acts_on(operator(), "truth")):
            grid = selection_grid(selection, POPULATION)
            directions = with_uncertainty(grid, selection, POPULATION)
            objects = PublishedValues(catalogue, ErrorSettings(mode="none"))
            samples = objects.samples(BOX, selection)
            moving = with_operator_directions(samples, selection, directions)
            of = [
                float(
                    log_likelihood(POPULATION, moving, directions.grid, "poisson", jnp.asarray(z))
                )
                for z in ([0.0, 0.0], [0.7, -1.1])
            ]
            plain = float(log_likelihood(POPULATION, samples, grid))
            assert of[0] == pytest.approx(plain, abs=1e-8)
            values.append(of[1] - of[0])
            with pytest.raises(ValueError, match="the objects' terms do not"):
                log_likelihood(POPULATION, samples, directions.grid, "poisson", jnp.zeros(2))
    assert values[0] == pytest.approx(values[1], abs=1e-8)


def test_few_directions_hold_the_variance_of_the_expected_number():
    rng = np.random.default_rng(0)
    root = np.tril(rng.normal(size=(20, 20))) * 0.2 * 0.7 ** np.arange(20)
    known = LogitUncertainty(np.array([4.5, 7.2, 1.0]), np.array([0.9, 0.7, 0.6]), root)
    selection = dataclasses.replace(operator(), uncertainty=known)
    with jax.enable_x64(True):
        grid = selection_grid(selection, POPULATION)
        found = with_uncertainty(grid, selection, POPULATION)
        assert found.kept > 0.99 and found.grid.n_directions < 20
        np.testing.assert_allclose(
            found.turn.T @ found.turn, np.eye(found.turn.shape[1]), atol=1e-12
        )
        z = rng.normal(size=(400, 20))
        ln = np.log(
            [float(found.grid.shifted(x @ found.turn).detected_fraction(POPULATION)) for x in z]
        )
        # The same numbers, with nothing left out, by shifting the operator itself.
        theta = np.stack(np.meshgrid(*[r.nodes for r in grid.rules], indexing="ij"), -1)
        d = np.asarray(known.directions(jnp.asarray(theta.reshape(-1, 3)))).reshape(
            *theta.shape[:3], 20
        )
        logit = SLOPE * (theta[..., 0] - 4.0)
        density = np.asarray(grid.detected_density(POPULATION)) / np.asarray(grid.p_sel)
        whole = np.log([(density * expit(logit + d @ x)).sum() for x in z])
    assert np.corrcoef(ln, whole)[0, 1] ** 2 > 0.98
    assert found.count_sd == pytest.approx(whole.std(), rel=0.25)


def test_what_cannot_deviate_is_refused(catalogue):
    model = _model("poisson")
    with pytest.raises(UncertaintyError, match=r"carries no uncertainty: .* learned"):
        fit(catalogue, complete(BOX), model, EXACT)
    with jax.enable_x64(True):
        selection = operator()
        directions = with_uncertainty(selection_grid(selection, POPULATION), selection, POPULATION)
        flat = PublishedValues(catalogue, ErrorSettings(mode="none")).samples(BOX)
        flat = dataclasses.replace(flat, theta=flat.theta[:2])
        with pytest.raises(UncertaintyError, match="which these objects do not have"):
            with_operator_directions(flat, selection, directions)
