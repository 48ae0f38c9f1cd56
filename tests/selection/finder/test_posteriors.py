"""Posteriors of a finder on disk, and in the order of θ."""

import dataclasses

import jax
import numpy as np
import pytest

from starcensus.files import FileError
from starcensus.inference.objects import GridPosteriors, PosteriorDraws
from starcensus.inference.objects._base import ObjectsError
from starcensus.networks.cnn.targets import JOINT, SIGMA_JOINT, Grid
from starcensus.selection import AbstractSelection
from starcensus.selection.finder import FinderPosteriors
from starcensus.selection.finder.cells import PARAMETERS
from starcensus.selection.operators._base import ActsOn, Outside
from starcensus.theta import Box

GRID = Grid()
N = GRID.heads()


class MassLimit(AbstractSelection):
    domain: Box
    limit: float
    outside: Outside = "zero"
    acts_on: ActsOn = "data"

    @property
    def n_members(self) -> int:
        return 1

    def _members_inside(self, log_mass, log_age, a_v):
        return jax.nn.sigmoid((log_mass - self.limit) / 0.05)[None]


def made(n: int = 3) -> FinderPosteriors:
    rng = np.random.default_rng(2)
    joint, size = (rng.dirichlet(np.full(N[name], 0.1), n) for name in ("joint", "size"))
    prior = rng.dirichlet(np.full(N["joint"], 5.0))
    taught = rng.uniform(0.2, 1.0, N["joint"])
    low, high = (np.array([getattr(a, end) for a in GRID.continuous]) for end in ("low", "high"))
    draws = low + (high - low) * rng.random((n, 40, 4))
    lattice = {"log_age": 0.05, "a_v": 0.1}
    return FinderPosteriors(
        np.arange(n) + 7, joint, size, prior, GRID, taught, draws, lattice, {"pipeline": "cnn"}
    )


def test_what_was_written_is_read_again(tmp_path):
    one = made()
    one.save(tmp_path / "p.h5")
    again = FinderPosteriors.load(tmp_path / "p.h5")
    assert again.ids.tolist() == ["7", "8", "9"] and again.grid == GRID
    assert again.facts == {"pipeline": "cnn"}
    assert again.lattice == one.lattice
    np.testing.assert_allclose(again.draws, one.draws, rtol=1e-6)
    np.testing.assert_array_equal(again.taught, one.taught)
    dataclasses.replace(one, draws=None).save(tmp_path / "bins.h5")
    assert FinderPosteriors.load(tmp_path / "bins.h5").draws is None
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
    sizes = np.full((1, 14), 1 / 14)
    alone = FinderPosteriors(np.array(["a"]), joint, sizes, flat, GRID, np.ones(N["joint"]))
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


def test_a_fit_takes_bins_or_draws():
    one = made()
    assert one.draws is not None
    objects = GridPosteriors.of_finder(one, "cnn")
    assert len(objects) == 3 and objects.box.log_age == pytest.approx((6.6, 10.1))
    draws = PosteriorDraws.of_finder(one, "cnn")
    assert draws.counts.tolist() == [40] * 3 and draws.support == objects.box
    np.testing.assert_allclose(draws.theta[:40, 0], one.draws[0, :, PARAMETERS.index("log_mass")])
    # Where mocks of the lattice's ends were folded back they were twice as dense.
    ends = np.abs(draws.theta[:, 2] - 1.5) > 1.45
    young = np.abs(draws.theta[:, 1] - 8.35) > 1.725
    np.testing.assert_allclose(draws.log_prior, np.log(2) * (ends.astype(int) + young))
    with pytest.raises(ValueError, match="has no densities"):
        PosteriorDraws.of_finder(dataclasses.replace(one, draws=None), "cnn")


@pytest.mark.parametrize("form", [GridPosteriors, PosteriorDraws])
def test_an_operator_that_lets_through_what_was_not_taught_is_refused(form):
    """Mocks end at 10^4.5; operators that reach a little and far below."""
    one = made()
    cube = np.ones(GRID.joint_shape)
    cube[:, :, : 1 + 6] = 1e-3
    objects = form.of_finder(dataclasses.replace(one, taught=cube.ravel()), "net.h5")
    box = objects.box if form is GridPosteriors else objects.support

    right, wrong = MassLimit(box, 4.9), MassLimit(box, 4.4)
    assert len(objects.samples(box, right).mask) >= 3
    assert objects.taught.beyond(box, right) < 1e-3 < 0.02 < objects.taught.beyond(box, wrong)
    with pytest.raises(ObjectsError, match=r"net\.h5: \d+% or more .* fainter than those"):
        objects.samples(box, wrong)
    # Bounds that leave them out.
    objects.taught.check("net.h5", Box((4.5, 5.5), box.log_age, box.a_v), wrong)


def test_shapes_that_differ_are_refused():
    one = made()
    fewer = np.full((3, 13), 1 / 13)
    with pytest.raises(ValueError, match=r"size has shape \(3, 13\); expected \(3, 14\)"):
        dataclasses.replace(one, size=fewer)
    assert one.draws is not None
    with pytest.raises(ValueError, match=r"draws have shape \(3, 40, 3\); expected \(3, some, 4\)"):
        dataclasses.replace(one, draws=one.draws[..., :3])
