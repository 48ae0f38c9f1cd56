"""Batches for training: targets say what is in the image beside them."""

import dataclasses

import numpy as np
import pytest
from tests.simulate.stamps.test_compose import backgrounds
from tests.simulate.stamps.toys import PSFS, toy_settings

from starcensus.networks.cnn.decoding import decode
from starcensus.networks.cnn.targets import Axis, Grid
from starcensus.selection.finder import StampBatches, grid_of, taught_share, training_prior
from starcensus.simulate.stamps import ComposeSettings, StampBank, StampSettings, run_stamps

NAMES = ("log_age", "a_v", "log_mass", "log_r_eff_pc")


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> StampSettings:
    return toy_settings(tmp_path_factory.mktemp("bank"), size_pix=16)


@pytest.fixture(scope="module")
def bank(settings, tmp_path_factory) -> StampBank:
    path = tmp_path_factory.mktemp("drawn") / "bank.h5"
    run_stamps(settings, 20, 4, path, psfs=PSFS)
    return StampBank.load(path)


@pytest.fixture(scope="module")
def batches(bank, settings) -> StampBatches:
    sizes = ComposeSettings(n_backgrounds=20, n_clusters=20)
    return StampBatches(bank, backgrounds(bank), grid_of(settings), 3, sizes)


def test_bins_are_of_the_mocks_ranges(settings):
    grid = grid_of(settings)
    for name in ("log_age", "a_v", "log_mass"):
        edges = getattr(grid, name).edges
        np.testing.assert_allclose(edges[[1, -2]], getattr(settings, name), atol=1e-12)
    # An arcsecond at 4.5 Mpc.
    far, arcsec_pc = grid_of(StampSettings()), 4.5e6 * np.pi / 180 / 3600
    expected = np.log10(arcsec_pc) + np.array([-1.4, -0.4])
    np.testing.assert_allclose(far.log_r_eff_pc.edges[[1, -2]], expected, atol=1e-4)
    assert far.heads() == Grid().heads()


def test_targets_are_of_the_cluster_in_the_image(batches, bank):
    images, targets = next(batches(0))
    assert images.shape == (40, 3, 16, 16)
    assert targets["is_cluster"].tolist() == [False] * 20 + [True] * 20
    # One pass has each mock once; the brightest of them has the brightest image.
    truth = np.column_stack(
        [bank["log_age"], bank["a_v"], bank["log_mass"], np.log10(bank["r_h_pc"])]
    )
    found = targets["continuous"][20:]
    order = [int(np.abs(truth - row)[:, 2:].sum(axis=1).argmin()) for row in found]
    assert sorted(order) == list(range(20))
    # Ages and extinctions are anywhere in the cells of their lattice.
    np.testing.assert_allclose(found[:, 2:], truth[order][:, 2:], rtol=1e-6)
    steps = np.array(list(bank.lattice.values()))
    assert (np.abs(found[:, :2] - truth[order][:, :2]) <= steps / 2 + 1e-5).all()
    light = (images[20:] - np.median(images[20:], axis=(2, 3), keepdims=True)).sum(axis=(2, 3))
    drawn = bank.images[order].sum(axis=(2, 3))
    assert np.corrcoef(light[:, 1], drawn[:, 1])[0, 1] > 0.95
    ages = decode(targets["joint"][20:], batches.grid.joint)[:, 0]
    np.testing.assert_allclose(ages, truth[order, 0], atol=0.1 * batches.grid.log_age.width)


def test_a_step_is_the_same_whenever_it_is_asked_for(batches):
    whole = batches(0)
    for _ in range(2):
        next(whole)
    images, targets = next(whole)
    again, others = next(batches(2))
    assert (images == again).all()
    assert all((targets[name] == others[name]).all() for name in targets)
    assert not (next(dataclasses.replace(batches, seed=4)(2))[0] == images).all()


def test_mocks_beyond_the_bins_are_refused(batches, settings):
    narrow = grid_of(dataclasses.replace(settings, log_mass=(3.1, 3.2)))
    with pytest.raises(ValueError, match=r"log_mass of the mocks goes from .* make the bins"):
        dataclasses.replace(batches, grid=narrow)


def test_the_prior_is_that_of_mocks_before_their_cut(bank, settings, tmp_path):
    """Of 4,000 draws those of the heavy half pass: the prior stays, and the share says which."""
    coarse = Grid(Axis(0.0, 1.0, 6), Axis(0.0, 1.0, 5), Axis(0.0, 1.0, 6))
    grid, rng = grid_of(settings, coarse), np.random.default_rng(8)
    facts = bank.meta["settings"]

    def lattice(name: str, n: int) -> np.ndarray:
        (low, high), step = facts[name], facts[f"{name}_step"]
        return low + step * rng.integers(round((high - low) / step) + 1, size=n)

    n = 4000
    low, high = facts["log_mass"]
    theta = {
        "log_mass": rng.uniform(low, high, n),
        "log_age": lattice("log_age", n),
        "a_v": lattice("a_v", n),
    }
    heavy = np.flatnonzero(theta["log_mass"] > (low + high) / 2)
    rows = np.zeros(len(heavy), int)
    drawn = np.diff(np.r_[-1, heavy[:-1], n - 1])
    columns = {name: values[rows] for name, values in bank.columns.items()}
    columns |= {name: values[heavy] for name, values in theta.items()} | {"n_drawn": drawn}
    passed = dataclasses.replace(bank, images=bank.images[rows], columns=columns)
    prior = training_prior(passed, grid, bank.lattice)
    assert prior.sum() == pytest.approx(1)
    age, a_v, mass = (
        getattr(grid, name).encode_cells(theta[name], bank.lattice.get(name, 0.0)).mean(axis=0)
        for name in ("log_age", "a_v", "log_mass")
    )
    cube = prior.reshape(grid.joint_shape)
    for axes, seen in (((1, 2), age), ((0, 2), a_v), ((0, 1), mass)):
        np.testing.assert_allclose(cube.sum(axis=axes), seen, atol=4 * np.sqrt(0.25 / n))
    share = taught_share(passed, grid, bank.lattice).reshape(grid.joint_shape)
    middle = grid.log_mass.centres > (low + high) / 2
    expected = prior.reshape(grid.joint_shape) * n
    bright = (share * (expected + 1) - 1)[:, :, middle].sum() / expected[:, :, middle].sum()
    assert bright == pytest.approx(1, abs=0.1)
    assert (share[:, :, ~middle] <= 1 / (expected[:, :, ~middle] + 1) + 1e-9).all()
