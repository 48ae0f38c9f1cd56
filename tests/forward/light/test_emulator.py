"""The density of light against other programs' Gaussians, quadrature and draws."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest, multivariate_normal
from tests.forward.light.conftest import BANDS, BOX, of_numbers

from starcensus.files import FileError
from starcensus.forward.light import (
    EmulatorError,
    EmulatorSettings,
    JudgeSettings,
    LightEmulator,
    MeanLight,
    default_emulator,
    judge_emulator,
    learn_emulator,
    shipped_emulator,
)
from starcensus.forward.light.judge import energy_test, kernel_score
from starcensus.simulate import DrawSettings, StarcensusEngine, ssp_abs_mags
from starcensus.simulate.library.engine import population_of_engine

THETA = np.array([[4.2, 6.9, 0.3], [3.1, 7.0, 0.9], [4.9, 8.4, 0.0]])


def parts_of(emulator: LightEmulator, theta: np.ndarray, row: int):
    """Weights, means and covariances at one θ, as plain matrices."""
    with jax.enable_x64(True):
        of = jax.tree.map(np.asarray, emulator.components(jnp.asarray(theta.T)))
    k, n_bands = of.mean.shape[:2]
    lower = np.zeros((k, n_bands, n_bands))
    lower[:, *np.tril_indices(n_bands)] = of.triangle[:, :, row]
    return np.exp(of.log_weight[:, row]), of.mean[:, :, row], lower @ lower.transpose(0, 2, 1)


def by_scipy(emulator, theta, mags, errors, common, row):
    weight, mean, cov = parts_of(emulator, theta, row)
    there = np.isfinite(mags[row])
    noise = np.diag(errors[row][there] ** 2) + common**2
    terms = [
        w * multivariate_normal(m[there], c[np.ix_(there, there)] + noise).pdf(mags[row][there])
        for w, m, c in zip(weight, mean, cov, strict=True)
    ]
    return np.log(sum(terms))


@pytest.mark.parametrize("missing", [(), (0,), (1,), (0, 2)])
@pytest.mark.parametrize("common", [0.0, 0.2])
def test_errors_and_missing_bands_are_exact(missing, common):
    emulator, rng = of_numbers(), np.random.default_rng(0)
    mags = emulator.draw(THETA, rng) + 0.1 * rng.standard_normal((3, 3))
    errors = rng.uniform(0.02, 0.3, (3, 3))
    mags[:, list(missing)] = np.nan
    errors[:, list(missing)] = np.nan
    found = emulator.log_prob(THETA, mags, errors, common)
    expected = [by_scipy(emulator, THETA, mags, errors, common, i) for i in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_cluster_of_which_nothing_is_known_has_density_one():
    mags = np.full((3, 3), np.nan)
    np.testing.assert_allclose(of_numbers().log_prob(THETA, mags, 0.1), 0.0, atol=1e-12)


def test_draws_follow_the_density():
    """Their ranks are uniform, and those of another density's draws are not."""
    emulator, other = of_numbers(), of_numbers(seed=4)
    theta = np.tile(THETA[:1], (5000, 1))
    drawn = emulator.draw(theta, np.random.default_rng(1))
    ranks = emulator.ranks(theta, drawn)
    assert all(kstest(column, "uniform").pvalue > 0.01 for column in ranks.T)
    assert np.abs(np.corrcoef(ranks.T)[np.triu_indices(3, 1)]).max() < 0.05
    assert min(kstest(column, "uniform").pvalue for column in other.ranks(theta, drawn).T) < 1e-6


def test_the_mean_light_is_that_of_the_stars():
    engine = StarcensusEngine(BANDS)
    stars = population_of_engine(engine)
    mean = MeanLight.of(stars, (6.5, 8.5), (0.0, 1.0), engine.settings)
    rng = np.random.default_rng(2)
    theta = np.stack([rng.uniform(*x, 300) for x in ((3, 5), (6.5, 8.5), (0, 1))])
    theta[1, :2] = 7.0, 7.0 + 2e-6
    with jax.enable_x64(True):
        found = np.asarray(mean.centre(jnp.asarray(theta)))
    exact = ssp_abs_mags(stars, theta[1], theta[2], engine.settings).T - 2.5 * theta[0]
    assert np.abs(found - exact).max() < 0.03
    # Gas ends at 10 Myr, and the table has both sides of it.
    np.testing.assert_allclose(found[:, :2], exact[:, :2], atol=2e-3)
    assert np.abs(found[:, 1] + 2.5 * theta[0, 1] - found[:, 0] - 2.5 * theta[0, 0]).max() > 0.01


def test_it_is_saved_and_read_again(tmp_path):
    emulator = of_numbers()
    emulator.save(tmp_path / "made.json")
    again = LightEmulator.load(tmp_path / "made.json")
    mags = emulator.draw(THETA, np.random.default_rng(5))
    np.testing.assert_allclose(
        again.log_prob(THETA, mags, 0.1), emulator.log_prob(THETA, mags, 0.1), rtol=1e-4
    )
    assert again.facts == emulator.facts and again.box == BOX
    (tmp_path / "made.safetensors").write_bytes(b"other")
    with pytest.raises(FileError, match="safetensors"):
        LightEmulator.load(tmp_path / "made.json")
    (tmp_path / "none.json").write_text('{"kind": "something"}')
    with pytest.raises(FileError, match="no definition of an emulator"):
        LightEmulator.load(tmp_path / "none.json")


def test_what_it_does_not_know_is_refused():
    emulator = of_numbers()
    mags = np.zeros((1, 3))
    with pytest.raises(EmulatorError, match=r"outside of what the emulator was taught"):
        emulator.log_prob(np.array([[5.2, 7.0, 0.1]]), mags)
    with pytest.raises(EmulatorError, match="knows no WFC3_UVIS_F275W"):
        emulator.columns(("ACS_F435W", "WFC3_UVIS_F275W"))
    with pytest.raises(ValueError, match="errors of magnitudes"):
        emulator.log_prob(THETA[:1], mags, -0.1)
    with pytest.raises(ValueError, match="expected \\(1, 3\\)"):
        emulator.log_prob(THETA[:1], mags[:, :2])
    other = StarcensusEngine(BANDS, settings=DrawSettings(nebular=False))
    with pytest.raises(EmulatorError, match="other gas than the file"):
        emulator.check_engine(other.describe(), "the file")
    with pytest.raises(ValueError, match="a layer has weights"):
        dataclasses.replace(emulator, weights=emulator.weights[::-1])


def test_what_is_learned_is_nearly_what_was_drawn(learned, engine):
    """Better than a Gaussian of the right mean and covariance, and than its own density of light
    elsewhere; the ranks at each θ are nearly uniform."""
    cells = judge_emulator(learned, engine, JudgeSettings((3.5, 4.5), (7.5,), 0.4, 0.1, 400, 4000))
    for cell in cells:
        assert cell.score > cell.kernel_score - 0.15
        assert cell.rank_distance < 0.16
        assert cell.shift_seen < 0.5
    theta = np.tile([4.5, 7.5, 0.4], (300, 1))
    drawn = learned.draw(theta, np.random.default_rng(3))
    here, there = (learned.log_prob(theta + d, drawn, 0.1).mean() for d in (0.0, [0.0, 0.4, 0.0]))
    assert here > there + 1.0


def test_the_same_library_gives_the_same_network(library, engine):
    few = EmulatorSettings(3, (8,), 2, (0.05, 0.2), 1, 256, seed=4)
    one, two = (learn_emulator(library, engine, BOX, few) for _ in range(2))
    np.testing.assert_array_equal(one.weights[0], two.weights[0])
    assert one.facts["training"]["n_components"] == 3


def test_libraries_of_others_are_refused(library, engine):
    few = EmulatorSettings(3, (8,), 2, epochs=1)
    gas = StarcensusEngine(BANDS)
    with pytest.raises(EmulatorError, match="drawn by"):
        learn_emulator(library, gas, BOX, few)
    with pytest.raises(EmulatorError, match="lie outside"):
        smaller = dataclasses.replace(BOX, log_mass=(3.5, 5.0))
        learn_emulator(library, engine, smaller, few)
    with pytest.raises(EmulatorError, match="needs 1000"):
        learn_emulator(library.take(slice(0, 900)), engine, BOX, few)
    dark = dataclasses.replace(library, abs_mags=np.where(library.abs_mags < -8, np.inf, 0.0))
    with pytest.raises(EmulatorError, match="give no light"):
        learn_emulator(dark, engine, BOX, few)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"n_components": 0}, "n_components is 0"),
        ({"widths": ()}, "at least one hidden layer"),
        ({"noise_mag": (0.2, 0.1)}, "noise_mag"),
        ({"validation": 1.0}, "validation"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        EmulatorSettings(**wrong)


def test_kernel_sums_and_the_energy_distance_are_what_they_say():
    rng = np.random.default_rng(6)
    simulated, seen = rng.normal(size=(50, 2)), rng.normal(size=(7, 2))
    expected = [
        np.log(np.mean([multivariate_normal(x, 0.09 * np.eye(2)).pdf(y) for x in simulated]))
        for y in seen
    ]
    np.testing.assert_allclose(kernel_score(seen, simulated, 0.3), expected, rtol=1e-4)
    same, moved = rng.normal(size=(300, 2)), rng.normal(size=(300, 2)) + np.array([0.5, 0.0])
    assert energy_test(same, rng.normal(size=(300, 2)), rng) > 0.01
    assert energy_test(same, moved, rng) <= 0.01
    # Of equal means and spreads: two clumps against one.
    clumps = np.sign(rng.normal(size=(300, 2))) * 0.98 + 0.2 * rng.normal(size=(300, 2))
    assert energy_test(same, clumps, rng) <= 0.01


def test_the_shipped_emulator_is_small_and_of_the_shipped_stars():
    files = shipped_emulator(), shipped_emulator().with_suffix(".safetensors")
    assert sum(file.stat().st_size for file in files) < 3_000_000
    emulator = default_emulator()
    emulator.check_engine(StarcensusEngine(emulator.bands).describe(), "the package")


def test_the_shipped_emulator_knows_clusters_it_was_not_taught():
    emulator = default_emulator()
    settings = JudgeSettings((3.0, 4.7), (7.7, 9.0), n_test=400, n_kernel=3000, seed=77)
    for cell in judge_emulator(emulator, StarcensusEngine(emulator.bands), settings):
        assert cell.score > cell.kernel_score - 0.12, cell
        assert cell.rank_distance < 0.13, cell
