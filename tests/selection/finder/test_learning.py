"""A finder is learned from a bank and backgrounds, and is on disk what it was in memory."""

import dataclasses

import numpy as np
import pytest
from tests.simulate.stamps.test_compose import backgrounds
from tests.simulate.stamps.toys import PSFS, toy_settings

from starcensus.networks import ConvNetwork, ConvSettings, read_network
from starcensus.networks.cnn.mixture import mixture_outputs
from starcensus.networks.cnn.schedules import LoopSettings
from starcensus.networks.cnn.targets import Grid
from starcensus.networks.cnn.widening import Widening
from starcensus.selection.finder import grid_of, training_prior
from starcensus.selection.finder.learning import (
    LearningSettings,
    curves_of,
    flux_scales,
    learn_finder,
)
from starcensus.simulate.stamps import ComposeSettings, StampBank, run_stamps

torch = pytest.importorskip("torch", reason="torch: needs Torch, the extra `cnn`")

PLAN = LearningSettings(
    ComposeSettings(4, 6, dihedral=True),
    LoopSettings(steps=6, max_rate=5e-3, validate_every=3, checkpoint_every=2),
    LoopSettings(steps=4, max_rate=1e-3, validate_every=2, checkpoint_every=2),
    n_validation=12,
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return toy_settings(tmp_path_factory.mktemp("bank"), size_pix=16)


@pytest.fixture(scope="module")
def bank(settings, tmp_path_factory) -> StampBank:
    path = tmp_path_factory.mktemp("drawn") / "bank.h5"
    run_stamps(settings, 40, 4, path, psfs=PSFS)
    return StampBank.load(path)


@pytest.fixture(scope="module")
def around(bank):
    """Of all splits: the test's places serve as two."""
    made = backgrounds(bank)
    split = np.arange(len(made)) % 3
    return dataclasses.replace(made, split=split)


@pytest.fixture(scope="module")
def conv(bank, around) -> ConvSettings:
    stages = (((3, 6),), ((3, 8),))
    heads = (*Grid().heads().items(), ("mixture", mixture_outputs(2)))
    return ConvSettings(bank.bands, flux_scales(around), stages=stages, box_pix=9, heads=heads)


def learned(conv, bank, around, settings, plan=PLAN, **options):
    return learn_finder(conv, bank, around, grid_of(settings), 3, plan, **options)


def test_files_say_what_was_learned(conv, bank, around, settings, tmp_path):
    made = learned(conv, bank, around, settings, facts={"of": "toys"})
    made.save(tmp_path / "network.json")
    found, arrays, about = read_network(tmp_path / "network.json")
    assert found == conv and about["of"] == "toys"
    assert Grid.from_dict(about["grid"]) == made.grid
    for name, values in made.arrays.items():
        np.testing.assert_array_equal(arrays[name], values)
    # Of bins, and not of the Gaussians before.
    expected = training_prior(bank.take(slice(0, 28)), made.grid, bank.lattice)
    np.testing.assert_allclose(about["prior"], expected, rtol=1e-3, atol=1e-12)
    assert about["lattice"] == bank.lattice
    taught = np.array(about["taught"])
    assert taught.max() <= 1 and taught.min() > 0
    # The network in memory has logits; the file has them divided by the temperatures.
    said = ConvNetwork(found, arrays)(bank.images[:3])
    with torch.no_grad():
        own = made.trained.network(torch.as_tensor(bank.images[:3]))
    for name in ("joint", "size", "visibility"):
        expected = own[name].flatten(1).numpy() / about["temperatures"][name]
        np.testing.assert_allclose(said[name], expected, rtol=1e-3, atol=1e-3)
    widened = Widening(**about["widening"]).of_outputs(own["mixture"].flatten(1).numpy())
    np.testing.assert_allclose(said["mixture"], widened, rtol=1e-3, atol=1e-3)
    curves = curves_of(made.trained)
    assert len(curves["train.total"]) == 10
    assert curves["validation_step"].tolist() == [3, 6, 8, 10]


@pytest.mark.parametrize("at", [4, 8])
def test_an_interruption_leaves_no_trace(conv, bank, around, settings, tmp_path, at):
    whole = learned(conv, bank, around, settings)

    class Stop(Exception):
        pass

    def stop(step: int, loss: float, validation: float | None) -> None:
        if step == at:
            raise Stop

    with pytest.raises(Stop):
        learned(conv, bank, around, settings, checkpoint=tmp_path / "at", report=stop)
    again = learned(conv, bank, around, settings, checkpoint=tmp_path / "at")
    for name, values in whole.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], values)


def test_what_validates_takes_no_part_in_training(conv, bank, around, settings):
    """Other mocks at the end of the bank change the losses of validation and nothing else."""
    images = bank.images.copy()
    images[28:] *= 3
    other = dataclasses.replace(bank, images=images)
    one, two = (learned(conv, each, around, settings) for each in (bank, other))
    # Which step is best is chosen by them, and where the second training begins.
    n = PLAN.loop.steps
    np.testing.assert_array_equal(
        one.trained.train_loss["total"][:n], two.trained.train_loss["total"][:n]
    )
    assert (one.trained.validation_loss["total"] != two.trained.validation_loss["total"]).all()


def test_stamps_that_do_not_fit_are_refused(conv, bank, around, settings):
    wider = dataclasses.replace(conv, box_pix=11)
    with pytest.raises(ValueError, match=r"a window of 18 pixels .* the stamps have 16"):
        learned(wider, bank, around, settings)
    with pytest.raises(ValueError, match="has 40 mocks, of which 40 are for validation"):
        learned(conv, bank, around, settings, dataclasses.replace(PLAN, n_validation=40))


def test_a_scale_is_the_scatter_of_most_backgrounds(around):
    expected = [np.median([np.std(s) for s in around.images[:, k]]) for k in range(3)]
    np.testing.assert_allclose(flux_scales(around), expected, rtol=0.2)
