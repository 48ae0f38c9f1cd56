"""Batches for training: targets say what is in the image beside them."""

import dataclasses

import numpy as np
import pytest
from tests.simulate.stamps.test_compose import backgrounds
from tests.simulate.stamps.toys import PSFS, toy_settings

from starcensus.networks.cnn.decoding import decode
from starcensus.networks.cnn.targets import Grid
from starcensus.selection.finder import StampBatches, grid_of
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
    order = [int(np.abs(truth - row).sum(axis=1).argmin()) for row in found]
    assert sorted(order) == list(range(20))
    np.testing.assert_allclose(found, truth[order], rtol=1e-6)
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
