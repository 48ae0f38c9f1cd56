"""What surroundings tell of clusters: nothing where places are drawn apart, or what was put in."""

import dataclasses

import numpy as np
import pytest
from tests.simulate.stamps.toys import PSFS, toy_settings

from starcensus.networks import ConvNetwork, ConvSettings
from starcensus.selection.finder import grid_of
from starcensus.selection.finder.mocks import composed
from starcensus.selection.finder.surroundings import _gains, judge_surroundings
from starcensus.simulate.stamps import Backgrounds, StampBank, run_stamps

N, SEED = 1500, 3


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A bank of many mocks of few images, backgrounds of many brightnesses, and a blind network."""
    folder = tmp_path_factory.mktemp("world")
    settings = toy_settings(folder, size_pix=16)
    run_stamps(settings, 10, 4, folder / "bank.h5", psfs=PSFS)
    few, rng = StampBank.load(folder / "bank.h5"), np.random.default_rng(1)
    rows = np.arange(N) % len(few)
    columns = {name: values[rows] for name, values in few.columns.items()}
    for name in ("log_age", "a_v", "log_mass"):
        columns[name] = rng.uniform(*getattr(settings, name), N)
    sizes = np.log10(settings.pc_per_arcsec) + np.asarray(settings.log_r_h_arcsec)
    columns["r_h_pc"] = 10 ** rng.uniform(*sizes, N)
    bank = dataclasses.replace(few, images=few.images[rows], columns=columns)
    level = 10 ** rng.uniform(-2, 0, (N, 1, 1, 1))
    images = level + 0.01 * rng.standard_normal((N, len(bank.bands), 16, 16))
    backgrounds = Backgrounds(
        bank.bands,
        images.astype(np.float32),
        *np.zeros((3, N), int),
        bank.exposure_s,
        bank.zero_point,
        bank.pixel_scale_arcsec,
    )
    grid = grid_of(settings)
    conv = ConvSettings(
        bank.bands,
        (0.02,) * len(bank.bands),
        stages=(((3, 2),), ((3, 2),)),
        heads=tuple(grid.heads().items()),
        box_pix=9,
    )
    network = ConvNetwork(conv, {k: np.zeros(s) for k, s in conv.shapes().items()})
    return network, grid, bank, backgrounds


def test_places_that_are_drawn_apart_tell_nothing(world):
    found = judge_surroundings(*world, SEED)
    assert found.n == N and found.told == pytest.approx(0.0, abs=4 * found.gain_error)
    # The verdict asks for an error that can tell.
    sure = dataclasses.replace(found, gain=found.expected, gain_error=0.005)
    assert sure.tells_nothing and not dataclasses.replace(sure, gain_error=0.02).tells_nothing
    # A network that knows nothing says that all parameters are alike.
    assert found.alone == pytest.approx(0.0, abs=1e-4) and found.taken == 1.0


@pytest.mark.parametrize("r", [0.3, 0.8])
def test_what_places_tell_is_seen(world, r):
    """Ages that go with the brightness of the sky by a known correlation."""
    network, grid, bank, backgrounds = world
    sky = np.empty(N)
    for start, made in composed(bank, backgrounds, SEED):
        level = np.log10(backgrounds.median[made.background, 0])
        sky[start + made.cluster] = (level - level.mean()) / level.std()
    rng = np.random.default_rng(2)
    age = r * sky + np.sqrt(1 - r**2) * rng.standard_normal(N)
    low, high = grid.log_age.edges[[0, -1]]
    age = np.clip((low + high) / 2 + (high - low) / 10 * age, low, high)
    aged = dataclasses.replace(bank, columns={**bank.columns, "log_age": age})
    found = judge_surroundings(network, grid, aged, backgrounds, SEED)
    told = -0.5 * np.log(1 - np.corrcoef(sky, age)[0, 1] ** 2)
    assert not found.tells_nothing
    assert found.told == pytest.approx(told, abs=4 * found.gain_error)


def test_the_cost_of_fitting_is_known():
    """Of a hundred sets of numbers that tell nothing; twice or half the cost would be seen."""
    rng = np.random.default_rng(5)
    told, expected = [], 0.0
    for _ in range(100):
        gain, expected = _gains(rng.standard_normal((500, 4)), rng.standard_normal((500, 12)))
        told.append(gain.mean() - expected)
    error = np.std(told) / 10
    assert np.mean(told) == pytest.approx(0.0, abs=4 * error) and 4 * error < 0.4 * -expected


def test_few_mocks_are_refused(world):
    network, grid, bank, backgrounds = world
    with pytest.raises(ValueError, match="there are 99 mocks; expected a hundred or more"):
        judge_surroundings(network, grid, bank.take(slice(0, 99)), backgrounds, SEED)
