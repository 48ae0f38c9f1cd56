"""Batches made as they are asked for: their halves, noise and visibilities."""

import numpy as np
import pytest

from starcensus.networks.cnn.batches import Pairs
from starcensus.networks.cnn.decoding import decode
from starcensus.networks.cnn.targets import Grid

NAMES = ("log_age", "a_v", "log_mass", "log_r_eff_pc")


def pairs(n_clusters: int = 6, n_backgrounds: int = 5, side: int = 12, **changed) -> Pairs:
    """Clusters of flux 1000 (1 + number), backgrounds of 1 + number."""
    shape = (2, side, side)
    made = {
        "clusters": 1000 * (1 + np.arange(n_clusters))[:, None, None, None] * np.ones(shape),
        "backgrounds": (1 + np.arange(n_backgrounds))[:, None, None, None] * np.ones(shape),
        "truths": {name: np.linspace(6.7, 7.7, n_clusters) for name in NAMES},
        "mean_flux": np.full((n_clusters, 2), 3.0),
        "background_sd": np.tile([[0.5, 1.0]], (n_backgrounds, 1)),
        "per_kind": 8,
    }
    return Pairs(**(made | changed))


def test_half_are_backgrounds_and_half_clusters_on_others():
    images, targets = next(pairs(per_kind=256)(0))
    assert images.shape == (512, 2, 12, 12) and images.dtype == np.float32
    assert targets["is_cluster"].sum() == 256
    level = images[:, 0, 0, 0]
    assert (level[~targets["is_cluster"]] <= 5).all()
    which = (level[targets["is_cluster"]] // 1000).astype(int) - 1
    assert set(which) == set(range(6))
    # Truths go with the cluster that is in the image.
    ages = decode(targets["joint"][targets["is_cluster"]], Grid().joint)[:, 0]
    np.testing.assert_allclose(ages, np.linspace(6.7, 7.7, 6)[which], atol=0.02)
    backgrounds = level[targets["is_cluster"]] % 1000
    assert len(set(zip(which.tolist(), backgrounds.tolist(), strict=True))) == 30


def test_a_step_is_the_same_whenever_it_is_asked_for():
    whole = pairs()(0)
    for _ in range(3):
        next(whole)
    images, targets = next(whole)
    again, others = next(pairs()(3))
    assert (images == again).all() and (targets["joint"] == others["joint"]).all()
    assert not (next(pairs(seed=1)(3))[0] == images).all()


def test_visibility_is_the_mean_flux_in_deviations_of_the_background():
    _, targets = next(pairs()(0))
    found = decode(targets["visibility"], (Grid().log_visibility,))[:, 0]
    np.testing.assert_allclose(found[targets["is_cluster"]], np.log10((6 + 3) / 2), atol=0.01)


def test_noise_is_that_of_the_electrons_of_cluster_and_sky():
    many = pairs(
        n_clusters=1, n_backgrounds=1, side=60, electrons_per_flux=(0.04, 0.5), per_kind=20
    )
    images, targets = next(many(0))
    light = images[targets["is_cluster"]].astype(float) - 1.0
    n = light[:, 0].size
    for band, electrons in enumerate((0.04, 0.5)):
        variance = (1000 + 1) / electrons
        assert light[:, band].mean() == pytest.approx(1000, abs=5 * np.sqrt(variance / n))
        assert light[:, band].var() == pytest.approx(variance, rel=5 * np.sqrt(2 / n))
    assert (images[~targets["is_cluster"]] == 1).all()


def test_a_jitter_is_one_factor_for_a_band_of_a_stamp():
    images, _ = next(pairs(n_backgrounds=1, background_jitter=0.2, per_kind=500)(0))
    factors = images[:500]
    assert (factors == factors[:, :, :1, :1]).all()
    assert factors[:, :, 0, 0].std() == pytest.approx(0.2, abs=0.02)
    assert abs(np.corrcoef(factors[:, :, 0, 0].T)[0, 1]) < 0.15


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backgrounds": np.ones((3, 2, 9, 9))}, "same bands and pixels"),
        ({"truths": {"log_age": np.ones(6)}}, "expected a_v"),
        ({"mean_flux": np.ones((6, 1))}, "one number for each band"),
        ({"background_sd": np.zeros((5, 2))}, "not positive"),
        ({"electrons_per_flux": (1.0,)}, "expected 2"),
        ({"per_kind": 0}, "1 or more"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        pairs(**change)
