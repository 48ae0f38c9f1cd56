"""Every cluster under the population of all: against quadrature, and against the marginal fit."""

import dataclasses

import numpy as np
import pytest

from starcensus.forward import HalfNormal, Population, PowerLaw, PowerLawAge, Separable
from starcensus.inference import ObjectSamples, ObjectsError, latents
from starcensus.inference.likelihood import log_object_terms
from starcensus.inference.model import OPERATOR
from starcensus.inference.objects.nodes import deposit, rules_of_box
from starcensus.inference.objects.rows import RowSamples
from starcensus.inference.sampling import double_precision, numpyro_rules
from starcensus.theta import Box

BOX = Box((3.0, 6.0), (6.0, 9.0), (0.0, 2.0))
POPULATION = Population(
    Separable(PowerLaw(BOX.log_mass, -2.0), PowerLawAge(BOX.log_age, -0.5)), HalfNormal(BOX.a_v)
)
CENTRES = np.array([[4.0, 7.5, 0.5], [4.6, 8.0, 1.0], [3.6, 6.8, 0.3]])
SD = np.array([0.25, 0.2, 0.2])


def even_samples(n: int, seed: int, log_likelihood) -> ObjectSamples:
    """Points that are even in the box, weighted by a likelihood."""
    rng = np.random.default_rng(seed)
    ends = np.array(list(BOX.as_dict().values()))
    theta = rng.uniform(ends[:, 0], ends[:, 1], (len(CENTRES), n, 3))
    log_w = np.stack([log_likelihood(i, x) for i, x in enumerate(theta)])
    return ObjectSamples(np.moveaxis(theta, -1, 0), log_w, np.ones(len(CENTRES), bool))


def gaussian(i: int, theta: np.ndarray) -> np.ndarray:
    return -0.5 * (((theta - CENTRES[i]) / SD) ** 2).sum(axis=-1)


def by_quadrature(alphas: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Axes of a grid, and each cluster's shares of it under the mean of the given populations."""
    axes = [np.linspace(low, high, 61) for low, high in BOX.as_dict().values()]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    total = np.zeros((3, *grid.shape[:3]))
    for alpha in alphas:
        population = POPULATION.with_values({"alpha_m": alpha})
        with double_precision():
            log_p = np.asarray(population.log_prob(*grid.reshape(-1, 3).T)).reshape(grid.shape[:3])
        for i in range(3):
            p = np.exp(log_p + gaussian(i, grid))
            total[i] += p / p.sum()
    return axes, total / len(alphas)


def test_posteriors_are_those_of_quadrature():
    alphas = np.array([[-1.7, -2.0], [-2.3, -2.1]])
    samples = even_samples(60_000, 1, gaussian)
    found = latents(samples, np.array(["a", "b", "c"]), POPULATION, {"alpha_m": alphas}, seed=2)
    assert found.theta.shape == (2, 2, 3, 3)
    axes, shares = by_quadrature(alphas.ravel())
    for i in range(3):
        for axis in range(3):
            along = shares[i].sum(axis=tuple(k for k in range(3) if k != axis))
            # Half of a node's share lies below it.
            below = np.cumsum(along) - along / 2
            expected = np.interp((0.025, 0.16, 0.5, 0.84, 0.975), below, axes[axis])
            np.testing.assert_allclose(found.quantiles[:, i, axis], expected, atol=0.05)


def test_draws_go_with_the_population_that_they_were_drawn_under():
    """Where the mass function is steeper, that draw's clusters are lighter."""
    alphas = np.tile([[-1.0, -3.0]], (1, 200))
    samples = even_samples(10_000, 3, gaussian)
    found = latents(samples, np.arange(3), POPULATION, {"alpha_m": alphas}, seed=4)
    flat, steep = found.theta[0, ::2, :, 0], found.theta[0, 1::2, :, 0]
    # A Gaussian times 10^(slope x) moves by ln(10) sd² for each of the slope.
    expected = np.log(10.0) * SD[0] ** 2 * 2.0
    moved = flat.mean(axis=0) - steep.mean(axis=0)
    np.testing.assert_allclose(moved[:2], expected, atol=5 * SD[0] * np.sqrt(2 / 200))
    np.testing.assert_allclose(found.theta.mean(axis=(0, 1)), found.mean, atol=0.06)


def test_two_modes_are_both_there():
    def twofold(i, theta):
        other = theta - np.array([0.0, 1.4, 0.0])
        return np.logaddexp(gaussian(i, theta), gaussian(i, other))

    samples = even_samples(10_000, 5, twofold)
    found = latents(samples, np.arange(3), POPULATION, {"alpha_m": np.full((2, 200), -2.0)}, 6)
    old = (found.theta[..., 2, 1] > 7.5).mean(axis=(1,))
    # dN/dT ∝ T^(−1/2) is √T per dex.
    expected = 10**0.7 / (1 + 10**0.7)
    np.testing.assert_allclose(old, expected, atol=0.11)


def rows_of(samples: ObjectSamples) -> RowSamples:
    """The same points, one cluster of a library each, with another cluster that does not count."""
    n, s = samples.log_weight.shape
    padded = RowSamples(
        np.asarray(samples.theta).reshape(3, -1),
        np.asarray(samples.log_weight).ravel(),
        np.repeat(np.arange(n), s),
        np.arange(n * s),
        np.ones(n, bool),
    )
    return padded.padded(n * s + 7, n + 2)


def test_rows_of_a_library_are_points_too():
    samples, values = even_samples(9_000, 8, gaussian), {"alpha_m": np.array([[-1.8, -2.2, -2.0]])}
    one, two = (
        latents(x, np.arange(3), POPULATION, values, 5) for x in (samples, rows_of(samples))
    )
    np.testing.assert_array_equal(one.theta, two.theta)
    for name in ("mean", "quantiles", "effective"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-9)
    # Ten rows of one simulated cluster, behind other dust, are one draw of light.
    rows = rows_of(samples)
    same = dataclasses.replace(rows, cluster=np.asarray(rows.cluster) // 10)
    few = latents(same, np.arange(3), POPULATION, values, 5).effective
    with double_precision():
        each = [
            np.asarray(same.effective(POPULATION.with_values({"alpha_m": a})))[:3]
            for a in values["alpha_m"][0]
        ]
    np.testing.assert_allclose(few, np.min(each, axis=0), rtol=1e-9)
    assert (few < 0.9 * two.effective).all()


def test_the_operator_deviates_with_the_draw():
    """An operator that acts on the truth and finds more heavy clusters where z is 1."""
    samples = even_samples(12_000, 9, gaussian)
    tilt = 2.0 * (np.asarray(samples.theta)[0] - 4.0)
    p = np.full(tilt.shape, 1e-3)
    moving = dataclasses.replace(samples, p=p, deviations=tilt[None])
    still = {"alpha_m": np.full((1, 4), -2.0)}
    found = latents(moving, np.arange(3), POPULATION, still | {OPERATOR: np.ones((1, 4, 1))})
    # Of small p the odds are p, which e^(2 x) multiplies as a power law that is flatter by 2/ln 10.
    flatter = {"alpha_m": np.full((1, 4), -2.0 + 2.0 / np.log(10.0))}
    expected = latents(samples, np.arange(3), POPULATION, flatter)
    np.testing.assert_allclose(found.mean, expected.mean, atol=0.01)
    unmoved = latents(samples, np.arange(3), POPULATION, still)
    assert (found.mean[:2, 0] > unmoved.mean[:2, 0] + 0.05).all()
    with pytest.raises(ValueError, match="the objects' terms do not"):
        latents(samples, np.arange(3), POPULATION, still | {OPERATOR: np.ones((1, 4, 1))})


@pytest.mark.slow
def test_they_are_those_of_a_sampler_of_the_whole():
    """NumPyro's NUTS over the slope and 90 latents, which knows nothing of points, against draws of
    the slope from a grid of the marginal likelihood and a latent of each."""
    import jax
    import jax.numpy as jnp
    import numpyro
    from numpyro.distributions import Normal, Uniform
    from numpyro.infer import MCMC, NUTS

    ends = np.array(list(BOX.as_dict().values()))
    rng = np.random.default_rng(11)
    with double_precision():
        truth = np.asarray(POPULATION.sample(jax.random.key(3), 30))
    seen = truth + SD * rng.normal(size=truth.shape)
    far = rng.normal(size=(30, 20_000, 3)) * SD + seen[:, None]
    inside = ((far > ends[:, 0]) & (far < ends[:, 1])).all(axis=-1)
    samples = ObjectSamples(
        np.moveaxis(np.clip(far, ends[:, 0], ends[:, 1]), -1, 0),
        np.where(inside, 0.0, -np.inf),
        np.ones(30, bool),
    )
    slopes = np.linspace(-3.5, -0.8, 136)
    with double_precision():
        log_l = np.array(
            [
                np.asarray(log_object_terms(POPULATION.with_values({"alpha_m": a}), samples)).sum()
                for a in slopes
            ]
        )
    p = np.exp(log_l - log_l.max())
    drawn = rng.choice(slopes, size=(1, 4000), p=p / p.sum())
    found = latents(samples, np.arange(30), POPULATION, {"alpha_m": drawn}, 12)

    def whole():
        alpha = numpyro.sample("alpha_m", Uniform(-3.5, -0.8))
        even = Uniform(ends[:, 0], ends[:, 1]).expand([30, 3]).to_event(2)
        theta = jnp.asarray(numpyro.sample("theta", even))
        population = POPULATION.with_values({"alpha_m": alpha})
        log_p = population.log_prob(theta[:, 0], theta[:, 1], theta[:, 2])
        numpyro.factor("lambda", log_p.sum())
        numpyro.sample("seen", Normal(theta, SD).to_event(2), obs=jnp.asarray(seen))

    with double_precision(), numpyro_rules():
        mcmc = MCMC(NUTS(whole), num_warmup=500, num_samples=2000, num_chains=2,
                    chain_method="sequential", progress_bar=False)  # fmt: skip
        mcmc.run(jax.random.key(5))
        own = {k: np.asarray(v) for k, v in mcmc.get_samples().items()}
    assert drawn.mean() == pytest.approx(own["alpha_m"].mean(), abs=0.03)
    assert drawn.std() == pytest.approx(own["alpha_m"].std(), rel=0.1)
    spread = own["theta"].std(axis=0)
    assert (np.abs(found.mean - own["theta"].mean(axis=0)) < 0.15 * spread).all()
    levels = np.quantile(own["theta"], (0.16, 0.84), axis=0)
    assert (np.abs(found.quantiles[[1, 3]] - levels) < 0.2 * spread).all()
    # A cluster's mass goes with the slope in both alike.
    one, two = (
        [np.corrcoef(alpha, theta[:, i, 0])[0, 1] for i in range(30)]
        for alpha, theta in ((drawn[0], found.theta[0]), (own["alpha_m"], own["theta"]))
    )
    np.testing.assert_allclose(one, two, atol=0.12)


def test_samples_on_nodes_are_refused():
    rules = rules_of_box(BOX, (0.5, 0.5, 0.5), 2)
    nodes = deposit(rows_of(even_samples(500, 1, gaussian)), rules)
    with pytest.raises(ObjectsError, match="are no points of θ"):
        latents(nodes, np.arange(3), POPULATION, {"alpha_m": np.full((1, 3), -2.0)})


def test_clusters_without_enough_points_are_named():
    samples = even_samples(400, 7, lambda i, theta: (400.0 if i == 1 else 1.0) * gaussian(i, theta))
    with pytest.raises(ObjectsError, match=r"1 of 3 clusters .* effective points .*: second"):
        latents(samples, np.array(["first", "second", "third"]), POPULATION,
                {"alpha_m": np.full((1, 3), -2.0)})  # fmt: skip
    with pytest.raises(ObjectsError, match="2 ids are given for 3"):
        latents(samples, np.arange(2), POPULATION, {"alpha_m": np.full((1, 3), -2.0)})
