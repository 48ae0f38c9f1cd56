"""The network that the package carries, without Torch, on mocks that it was not taught."""

import numpy as np
import pytest

from starcensus.networks import ConvNetwork, read_network, shipped_network
from starcensus.networks.cnn.decoding import softmax
from starcensus.networks.cnn.targets import Grid
from starcensus.selection.finder import FinderPosteriors, Said
from starcensus.selection.finder.answers import Mixed
from starcensus.simulate.stamps import (
    Backgrounds,
    ComposeSettings,
    StampBank,
    StampSettings,
    compose,
    run_stamps,
)

N = 24


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> StampBank:
    """Young massive clusters, which nobody overlooks."""
    path = tmp_path_factory.mktemp("bank") / "bank.h5"
    settings = StampSettings(log_mass=(4.4, 5.2), log_age=(6.7, 7.7), a_v=(0.0, 0.5))
    run_stamps(settings, N, 90210, path)
    return StampBank.load(path)


def empty(bank: StampBank) -> Backgrounds:
    """Even skies with photon noise."""
    rng, t = np.random.default_rng(8), bank.exposure_s[:, None, None]
    level = np.array([0.01, 0.02, 0.06])[:, None, None]
    images = rng.poisson(np.broadcast_to(level * t, (2 * N, 3, 64, 64))) / t
    nowhere = np.zeros(2 * N, int)
    return Backgrounds(
        bank.bands,
        images.astype(np.float32),
        nowhere,
        nowhere,
        nowhere,
        bank.exposure_s,
        bank.zero_point,
        bank.pixel_scale_arcsec,
    )


def test_it_tells_clusters_from_skies_and_weighs_them(bank):
    conv, arrays, about = read_network(shipped_network())
    grid = Grid.from_dict(about["grid"])
    batch = compose(bank, empty(bank), 3, 0, ComposeSettings(N, N))
    said = ConvNetwork(conv, arrays)(batch.images)
    sure = softmax(said["class"])[:, 1]
    assert (sure[N:] > 0.95).all() and (sure[:N] < 0.5).all()
    answers = Said.of_logits({name: values[N:] for name, values in said.items()}, grid).answers
    assert isinstance(answers, Mixed)
    points = answers.points()
    for column, name, within in ((0, "log_age", 0.35), (1, "a_v", 0.6), (2, "log_mass", 0.25)):
        errors = np.abs(points[:, column] - bank[name][batch.cluster[N:]])
        # Medians are a fifth of these.
        assert np.quantile(errors, 0.75) < within, name
    size = points[:, 3]
    true = np.log10(bank["r_h_pc"][batch.cluster[N:]])
    assert np.corrcoef(size, true)[0, 1] > 0.8


def test_its_file_says_what_it_was_taught():
    conv, _, about = read_network(shipped_network())
    assert conv.n_parameters < 1.2e6 and conv.window_pix == 64
    assert about["stamps"]["z"] == 0.02 and about["stamps"]["distance_modulus"] == 28.266
    assert {"seed", "n"} <= set(about["bank"])
    grid = Grid.from_dict(about["grid"])
    prior = np.array(about["prior"])
    assert prior.sum() == pytest.approx(1, abs=2e-4) and prior.min() >= 0
    flat, taught = (
        np.full(grid.heads()["size"], 1 / grid.heads()["size"]),
        np.array(about["taught"]),
    )
    made = FinderPosteriors(np.array([1]), prior[None], flat[None], prior, grid, taught)
    # Mocks were even in mass before their cut, and in log age but for rounding to the lattice.
    cube = made.theta_grid()[2]
    np.testing.assert_allclose(cube.sum(axis=(1, 2)), 1 / 12, rtol=1e-3)
    np.testing.assert_allclose(cube.sum(axis=(0, 2)), 1 / 18, rtol=0.35)
    # Faint clusters were drawn again: of the light ones few that are old, and most of the young.
    share = made.taught_grid()[1].mean(axis=2)
    assert share[:4, -4:].max() < 0.1 and share[:4, :2].mean() > 0.5 and share[-2:, :8].min() > 0.8


def test_a_name_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="there is no network 'm31'; the package carries m83"):
        shipped_network("m31")
    assert ConvNetwork.load(shipped_network()).settings.bands[1] == "WFC3_UVIS_F438W"
