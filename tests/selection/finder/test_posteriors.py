"""Posteriors of a finder on disk, and in the order of θ."""

import numpy as np
import pytest

from starcensus.files import FileError
from starcensus.inference.objects import GridPosteriors
from starcensus.networks.cnn.targets import JOINT, SIGMA_JOINT, Grid
from starcensus.selection.finder import FinderPosteriors

GRID = Grid()
N = GRID.heads()


def made(n: int = 3) -> FinderPosteriors:
    rng = np.random.default_rng(2)
    joint, size = (rng.dirichlet(np.full(N[name], 0.1), n) for name in ("joint", "size"))
    prior = rng.dirichlet(np.full(N["joint"], 5.0))
    return FinderPosteriors(np.arange(n) + 7, joint, size, prior, GRID, {"pipeline": "cnn"})


def test_what_was_written_is_read_again(tmp_path):
    one = made()
    one.save(tmp_path / "p.h5")
    again = FinderPosteriors.load(tmp_path / "p.h5")
    assert again.ids.tolist() == ["7", "8", "9"] and again.grid == GRID
    assert again.facts == {"pipeline": "cnn"}
    np.testing.assert_allclose(again.joint, one.joint, rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(again.prior, one.prior)
    (tmp_path / "p.h5").write_bytes(b"no")
    with pytest.raises(FileError, match=r"p\.h5"):
        FinderPosteriors.load(tmp_path / "p.h5")


def test_bins_are_where_theta_is():
    """A target at a known θ has its mean there, whichever order the axes are in."""
    theta = {"log_age": 7.37, "a_v": 1.11, "log_mass": 4.6}
    one = [
        getattr(GRID, name).encode(np.array([theta[name]]), 4 * SIGMA_JOINT)[0] for name in JOINT
    ]
    joint = np.einsum("i,j,k->ijk", *one).reshape(1, -1)
    flat = np.full(N["joint"], 1 / N["joint"])
    alone = FinderPosteriors(np.array(["a"]), joint, np.full((1, 14), 1 / 14), flat, GRID)
    edges, posterior, _ = alone.theta_grid()
    for i, (name, value) in enumerate((n, theta[n]) for n in ("log_mass", "log_age", "a_v")):
        share = posterior[0].sum(axis=tuple(k for k in range(3) if k != i))
        mean = share @ (edges[i][1:] + edges[i][:-1]) / 2 / share.sum()
        assert mean == pytest.approx(value, abs=0.05), name
    assert [e[0] for e in edges] == pytest.approx([3.5, 6.6, 0.0])
    assert [e[-1] for e in edges] == pytest.approx([5.5, 10.1, 3.0])


def test_padding_goes_back_into_the_bins_beside_it():
    one = made()
    _, posterior, prior = one.theta_grid()
    assert posterior.shape == (3, 12, 18, 8) and prior.shape == (12, 18, 8)
    np.testing.assert_allclose(posterior.sum(axis=(1, 2, 3)), 1.0)
    cube = one.prior.reshape(GRID.joint_shape)
    # A corner takes the eight bins of its corner.
    assert prior[0, 0, 0] == pytest.approx(cube[:2, :2, :2].sum())
    assert prior[-1, 5, 3] == pytest.approx(cube[6, 4, -2:].sum())


def test_bins_without_training_clusters_say_nothing():
    one = made()
    cube = one.prior.reshape(GRID.joint_shape).copy()
    cube[:, :, :6] = 0
    empty = FinderPosteriors(one.ids, one.joint, one.size, cube.ravel(), GRID)
    _, posterior, prior = empty.theta_grid()
    assert (prior[:5] == 0).all() and (posterior[:, :5] == 0).all() and (prior[5:] > 0).all()


def test_a_fit_takes_them():
    one = made()
    edges, posterior, prior = one.theta_grid()
    objects = GridPosteriors("cnn", one.ids, edges, posterior, prior)
    assert len(objects) == 3 and objects.box.log_age == pytest.approx((6.6, 10.1))


def test_shapes_that_differ_are_refused():
    one = made()
    fewer = np.full((3, 13), 1 / 13)
    with pytest.raises(ValueError, match=r"size has shape \(3, 13\); expected \(3, 14\)"):
        FinderPosteriors(one.ids, one.joint, fewer, one.prior, GRID)
