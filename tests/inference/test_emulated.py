"""Light explained by an emulator: unbiased sums, the same answers as simulated clusters give."""

import dataclasses

import jax
import numpy as np
import pytest
from benchmarks.known_light import BANDS, BOX, MODULUS, survey
from tests.inference.light_study import model

from starcensus.forward.light import default_emulator
from starcensus.inference import EmulatedObjects, EmulatedSettings, ObjectsError, Points
from starcensus.inference.likelihood import log_object_terms
from starcensus.inference.objects.adaptive import FIRST_WIDENED, Kernels, adapted
from starcensus.inference.objects.emulated import _log_gaussian
from starcensus.inference.sampling import double_precision
from starcensus.selection import MagnitudeLimit, complete
from starcensus.theta import Box

FEW = EmulatedSettings(n_samples=128, n_first=2048, n_expected=20_000, seed=3)


def seen(n: int, seed: int, observation=None):
    """Clusters of the emulator, of known θ, as a survey records those that it catalogues."""
    observation = observation or survey()
    rng = np.random.default_rng(seed)
    theta = np.stack([rng.uniform(*x, 4 * n) for x in ((4.0, 5.8), (6.3, 9.0), (0.0, 1.4))], axis=1)
    mags = default_emulator().draw(theta, rng)
    kept, data = observation.draw(mags + MODULUS, rng)
    data = dataclasses.replace(data.take(slice(0, n)), ids=np.arange(n).astype(str))
    return theta[kept][:n], data


@pytest.fixture(scope="module")
def objects():
    return EmulatedObjects(seen(24, 1)[1], survey(), default_emulator(), BOX, FEW)


def test_terms_are_those_of_brute_force(objects):
    """Against clusters of the emulator drawn over the whole box, each with the survey's own density
    of what was recorded."""
    rng = np.random.default_rng(9)
    n = 100_000
    ends = np.array(list(BOX.as_dict().values()))
    population = model().population
    few = objects.taking(np.isin(np.arange(24), [0, 3, 7]))
    theta = rng.uniform(ends[:, 0], ends[:, 1], (n, 3))
    mags = default_emulator().draw(theta, rng) + MODULUS
    with double_precision():
        found = np.asarray(log_object_terms(population, few.samples(BOX, pad=False)))
        p = np.exp(np.asarray(population.log_prob(*theta.T))) * np.prod(np.diff(ends, axis=1))
    for i in range(3):
        log_l = survey().log_prob(few.data, np.full(n, i), mags)
        top = log_l.max()
        each = np.exp(log_l - top) * p
        mean, error = each.mean(), each.std() / np.sqrt(n)
        tolerance = 4 * np.hypot(error / mean, 1 / np.sqrt(few.effective()[i]))
        assert error / mean < 0.25
        assert abs(found[i] - top - np.log(mean)) < tolerance


def test_more_points_change_terms_by_chance_alone(objects):
    with double_precision():
        few, many = (
            np.asarray(log_object_terms(model().population, x.samples(BOX, pad=False)))
            for x in (objects, objects.finer())
        )
    scatter = np.sqrt((1 / objects.effective()).mean() * 1.25)
    assert abs((few - many).mean()) < 4 * scatter / np.sqrt(len(few))
    assert (few - many).std() < 2 * scatter
    assert (objects.finer().effective() > 2 * objects.effective()).mean() > 0.7


def test_truths_lie_where_the_points_are(objects):
    theta, _ = seen(24, 1)
    points = objects.points()
    assert isinstance(points, Points)
    z = (theta - points.theta) / np.maximum(points.errors, 1e-3)
    assert np.median(np.abs(z)) < 1.5
    assert np.corrcoef(theta[:, 0], points.theta[:, 0])[0, 1] > 0.8


def test_the_expected_number_is_that_of_drawn_clusters(objects):
    """Against clusters drawn from the population itself, in the emulator's light."""
    population = model().population
    rng = np.random.default_rng(2)
    with double_precision():
        theta = np.asarray(population.sample(jax.random.key(2), 30_000), float)
    p = survey().p_sel(default_emulator().draw(theta, rng) + MODULUS)
    checked = objects.expected(population, complete(BOX))
    with double_precision():
        found = float(checked.grid.detected_fraction(population))
    error = np.hypot(p.std() / np.sqrt(len(p)) / p.mean(), checked.error(population))
    assert error < 0.08
    assert abs(found / p.mean() - 1) < 4 * error


def test_a_band_that_was_not_observed_says_nothing(objects):
    """The term is that of the other bands, by another survey that has these alone."""
    from starcensus.selection.catalogue.photometry import BandState
    from starcensus.selection.observation import GaussianObservation, MeasuredCuts, NoiseCurves

    noise = NoiseCurves(BANDS, np.full(5, 1e-24), np.zeros(5), np.full(5, 0.01))
    plain = {"floor": 0.1, "cuts": MeasuredCuts()}
    all_bands = GaussianObservation(BANDS, MODULUS, noise, coverage=((1.0, BANDS[1:]),), **plain)
    others = GaussianObservation(
        BANDS[1:], MODULUS, NoiseCurves(BANDS[1:], *(x[1:] for x in _curves(noise))), **plain
    )
    data = objects.data.take(slice(0, 6))
    states = data.states.copy()
    states[:, 0] = BandState.NOT_OBSERVED
    flux, error = data.flux.copy(), data.flux_error.copy()
    flux[:, 0] = error[:, 0] = np.nan
    blind = dataclasses.replace(data, flux=flux, flux_error=error, states=states)
    less = dataclasses.replace(
        data,
        bands=BANDS[1:],
        flux=flux[:, 1:],
        flux_error=error[:, 1:],
        states=states[:, 1:],
    )
    one = EmulatedObjects(blind, all_bands, default_emulator(), BOX, FEW)
    two = EmulatedObjects(less, others, default_emulator(), BOX, FEW)
    with double_precision():
        found = [
            np.asarray(log_object_terms(model().population, x.samples(BOX, pad=False)))
            for x in (one, two)
        ]
    error = 4 * np.sqrt(1 / one.effective() + 1 / two.effective())
    # A constant of each cluster may differ, and is that of the band that is not there.
    assert (np.abs(found[0] - found[1]) < error).all()


def _curves(noise):
    return noise.sky, noise.source, noise.share


def test_what_does_not_fit_is_refused(objects):
    data = objects.data
    with pytest.raises(ObjectsError, match="reach beyond what the emulator was taught"):
        EmulatedObjects(data, survey(), default_emulator(), Box((1.0, 6.0), (6.2, 9.5), (0.0, 1.5)))
    with pytest.raises(ObjectsError, match="reach beyond where clusters may be"):
        objects.inside(Box((3.0, 6.0), (6.2, 9.5), (0.0, 1.5)))
    with pytest.raises(ObjectsError, match="would count beside it"):
        objects.entering(MagnitudeLimit.default("ACS_F555W", limit_mag=24.0, domain=BOX))
    strange = dataclasses.replace(survey(), distance_modulus=25.0)
    with pytest.raises(ObjectsError, match="distance modulus"):
        EmulatedObjects(data, strange, default_emulator(), BOX, FEW)
    for wrong in ({"n_samples": 8}, {"panels": (0.0, 0.1, 0.1)}, {"seed": -1}):
        with pytest.raises(ValueError, match="expected"):
            EmulatedSettings(**wrong)


def test_kernels_are_densities_inside_the_box():
    """Their integral over the box is 1, whatever lies at its edges, and draws follow them."""
    rng = np.random.default_rng(4)
    box = np.array([[0.0, 1.0], [2.0, 3.0], [0.0, 2.0]])
    kernels = Kernels(rng.uniform(box[:, 0], box[:, 1], (2, 5, 3)), np.full((2, 5, 3), 0.3))
    even = rng.uniform(box[:, 0], box[:, 1], (2, 40_000, 3))
    integral = 2.0 * np.exp(kernels.log_density(even, box)).mean(axis=1)
    np.testing.assert_allclose(integral, 1.0, atol=0.03)
    drawn = kernels.draw(20_000, box, rng)
    weights = np.exp(kernels.log_density(even, box))
    for axis in range(3):
        expected = (weights * even[..., axis]).sum(axis=1) / weights.sum(axis=1)
        np.testing.assert_allclose(drawn[..., axis].mean(axis=1), expected, atol=0.02)


def test_every_kernel_has_the_same_chance():
    """Of a number of draws that the kernels do not divide: which have one more is chance."""
    rng = np.random.default_rng(6)
    box = np.array([[0.0, 10.0]] * 3)
    centre = np.broadcast_to(np.array([1.0, 5.0, 9.0])[None, :, None], (4000, 3, 3))
    drawn = Kernels(centre, np.full(centre.shape, 0.01)).draw(4, box, rng)
    counts = [(np.abs(drawn[..., 0] - c) < 1).sum() for c in (1, 5, 9)]
    # 4 of 3 kernels: one each, and one more of a kernel with a chance of 1/3.
    np.testing.assert_allclose(counts, 16_000 / 3, atol=5 * np.sqrt(4000 * 2 / 9))


def test_two_far_modes_are_both_found():
    """Sharp ones, whose first look is wide: none is lost, whatever the random numbers."""
    modes = np.array([[3.0, 7.0, 0.5], [4.5, 8.9, 1.5]])
    box = Box((2.0, 6.0), (6.0, 10.0), (0.0, 2.0))
    ends = np.array(list(box.as_dict().values()))

    def target(objects, theta, widened):
        # As magnitudes of half a dex of θ each.
        width = np.hypot(0.02, widened)
        near = [((theta - c) / width) ** 2 for c in modes]
        return np.logaddexp(*(-0.5 * x.sum(axis=-1) for x in near)) - 3 * np.log(width)

    shares, ratios = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        first = rng.uniform(ends[:, 0], ends[:, 1], (4096, 3))
        made = adapted(first, target(None, first[None], FIRST_WIDENED), target, box, 512, rng)
        weight = np.exp(target(None, made.theta, 0.0) - made.log_density)[0]
        ratios.append(weight.mean() / (2 * (2 * np.pi) ** 1.5))
        shares.append(weight[made.theta[0, :, 0] < 3.8].sum() / weight.sum())
        assert weight.sum() ** 2 / (weight**2).sum() > 80
    assert np.min(shares) > 0.25 and np.max(shares) < 0.75
    assert abs(np.mean(ratios) - 1) < 4 * np.std(ratios) / np.sqrt(12)


def test_gaussians_with_a_shared_error_are_scipys():
    from scipy.stats import multivariate_normal

    away = np.array([[0.1, np.nan, -0.2], [0.3, 0.1, 0.0]])
    errors = np.array([[0.1, np.nan, 0.2], [0.2, 0.3, 0.1]])
    found = _log_gaussian(away, errors, np.array([0.15, 0.0]))
    for i, common in enumerate((0.15, 0.0)):
        there = np.isfinite(away[i])
        cov = np.diag(errors[i, there] ** 2) + common**2
        assert found[i] == pytest.approx(multivariate_normal(cov=cov).logpdf(away[i, there]))
