"""Laws that every operator of θ keeps, and files that bring each back bit for bit."""

import dataclasses
import json
import os
from typing import Literal

import equinox as eqx
import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from starcensus.networks import random_mlp
from starcensus.selection import (
    AbstractSelection,
    Box,
    GridSelection,
    MagnitudeLimit,
    NetworkSelection,
    PhotometricNetwork,
    RecordedSelection,
    SelectionDomainError,
    SelectionFileError,
    complete,
    load_selection,
    save_selection,
    tabulate,
    with_acts_on,
    with_outside,
)
from starcensus.selection.operators._base import ActsOn, Outside

BOX = Box((2.0, 6.0), (6.0, 10.0), (0.0, 3.0))
NODES = (np.linspace(2, 6, 5), np.linspace(6, 10, 4), np.linspace(0, 3, 3))


def network(inputs: Literal["log", "linear"] = "log", n: int = 2) -> NetworkSelection:
    mean, scale = np.array([4.0, 8.0, 1.5]), np.array([1.0, 1.0, 0.8])
    if inputs == "linear":
        mean, scale = np.array([1e5, 1e9, 1.5]), np.array([3e5, 3e9, 0.8])
    keys = jax.random.split(jax.random.key(3), n)
    return NetworkSelection(
        networks=tuple(random_mlp((3, 8), key=key, mean=mean, scale=scale) for key in keys),
        domain=BOX,
        inputs=inputs,
    )


def grid() -> GridSelection:
    p = np.random.default_rng(2).uniform(0.02, 0.98, (3, 5, 4, 3))
    return GridSelection.from_probabilities(NODES, p, outside="zero")


def magnitude() -> MagnitudeLimit:
    return MagnitudeLimit.default("F555W", domain=BOX)


def photometric() -> PhotometricNetwork:
    return PhotometricNetwork(
        networks=(random_mlp((2, 8), key=jax.random.key(0), mean=np.full(2, 22.0)),),
        bands=("F435W", "F555W"),
        limits=np.array([[15.0, 30.0], [15.0, 29.0]]),
        distance_modulus=29.98,
    )


def wrapped() -> RecordedSelection:
    return RecordedSelection(
        RecordedSelection(grid(), (0.1, 0.0, 0.0), order=4), (0.0, 0.2, 0.0), order=3
    )


OPERATORS = {
    "complete": lambda: complete(BOX),
    "network": network,
    "network_linear": lambda: network("linear", 1),
    "magnitude": magnitude,
    "grid": grid,
    "recorded": lambda: RecordedSelection(
        with_outside(magnitude(), "zero"), (0.1, 0.0, 0.2), order=5
    ),
    "recorded_twice": wrapped,
}


@pytest.fixture(params=OPERATORS)
def operator(request):
    return OPERATORS[request.param]()


@pytest.fixture
def theta():
    rng = np.random.default_rng(5)
    return rng.uniform(2.1, 5.9, 40), rng.uniform(6.1, 9.9, 40), rng.uniform(0.1, 2.9, 40)


def test_probabilities(operator, theta):
    members = operator.members(*theta)
    assert members.shape == (operator.n_members, 40)
    assert bool(((members >= 0) & (members <= 1)).all())
    np.testing.assert_allclose(operator.p_sel(*theta), members.mean(axis=0))


def test_broadcasts(operator):
    p = operator.p_sel(np.linspace(2.5, 5.5, 4)[:, None], np.linspace(6.5, 9, 3)[None], 0.5)
    assert p.shape == (4, 3)
    np.testing.assert_allclose(p[1, 2], operator.p_sel(3.5, 9.0, 0.5), rtol=1e-12)
    assert operator.p_sel(4.0, 8.0, 1.0).shape == ()


def test_jit_and_vmap(operator, theta):
    p = operator.p_sel(*theta)
    np.testing.assert_allclose(eqx.filter_jit(operator.p_sel)(*theta), p, rtol=1e-10, atol=1e-13)
    mapped = jax.vmap(operator.p_sel)(*(jnp.asarray(x) for x in theta))
    np.testing.assert_allclose(mapped, p, rtol=1e-10, atol=1e-13)
    as_argument = eqx.filter_jit(lambda o, *x: o.p_sel(*x))(operator, *theta)
    np.testing.assert_allclose(as_argument, p, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gradient(operator, theta, axis):
    def along(step):
        moved = [x + step if k == axis else x for k, x in enumerate(theta)]
        return operator.p_sel(*moved)

    exact = jax.jvp(along, (0.0,), (1.0,))[1]
    h = 1e-5
    np.testing.assert_allclose(exact, (along(h) - along(-h)) / (2 * h), atol=1e-6)


def test_outside(operator):
    zero, refuse = with_outside(operator, "zero"), with_outside(operator, "refuse")
    far = (20.0, 8.0, 1.0)
    assert zero.p_sel(*far) == 0
    assert np.isnan(refuse.p_sel(*far))
    zero.check_points(*far)
    with pytest.raises(SelectionDomainError, match=r"log_mass = 20 log10 M_sun"):
        refuse.check_points(*far)
    np.testing.assert_array_equal(zero.p_sel(4.0, 8.0, 1.0), operator.p_sel(4.0, 8.0, 1.0))


def test_restated(operator):
    assert with_acts_on(operator, "truth").acts_on == "truth"
    assert operator.acts_on == "data"


def test_file_round_trip(operator, theta, tmp_path):
    path = tmp_path / "operator.h5"
    operator = with_acts_on(operator, "truth")
    save_selection(operator, path)
    again = load_selection(path)
    assert type(again) is type(operator) and again.acts_on == "truth"  # pyright: ignore
    np.testing.assert_array_equal(again.members(*theta), operator.members(*theta))
    arrays, metadata = operator.to_arrays()
    arrays_again, metadata_again = again.to_arrays()
    assert metadata_again == metadata == json.loads(json.dumps(metadata))
    assert arrays.keys() == arrays_again.keys()
    assert all(
        arrays[k].dtype == arrays_again[k].dtype and (arrays[k] == arrays_again[k]).all()
        for k in arrays
    )
    assert os.listdir(tmp_path) == ["operator.h5"]


def test_tabulate(operator):
    table = tabulate(operator, *NODES)
    mesh = np.meshgrid(*NODES, indexing="ij")
    np.testing.assert_allclose(table.members(*mesh), operator.members(*mesh), atol=2e-9)


def test_photometric_round_trip(tmp_path):
    mags = np.random.default_rng(1).uniform(16, 28, (9, 2))
    save_selection(photometric(), tmp_path / "p.h5")
    again = load_selection(tmp_path / "p.h5")
    assert isinstance(again, PhotometricNetwork)
    assert again.bands == ("F435W", "F555W") and again.distance_modulus == 29.98
    np.testing.assert_array_equal(again.p_sel(mags), photometric().p_sel(mags))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"row 1 has F555W = nan, which is not a magnitude"),
        (66.666, r"row 1 has F555W = 66.666, the sentinel 66.666 \(outside the frame\)"),
        (99.999, r"the sentinel 99.999 \(not detected\)"),
        (44.444, r"the sentinel 44.444 \(no correction"),
        (29.5, r"row 1 has F555W = 29.5, outside the magnitudes of the training data"),
    ],
)
def test_photometric_refuses(value, message):
    mags = np.full((3, 2), 20.0)
    mags[1, 1] = value
    with pytest.raises(ValueError, match=message):
        photometric().p_sel(mags)
    network = photometric()
    p = jax.jit(lambda x: network.p_sel(x))(mags)
    assert np.isnan(np.asarray(p)).tolist() == [False, True, False]


def test_photometric_clips_where_asked():
    clipping = dataclasses.replace(photometric(), outside="clip")
    p = clipping.p_sel(np.array([[20.0, 29.5], [20.0, 29.0]]))
    assert p[0] == p[1]
    with pytest.raises(ValueError, match=r"shape \(3, 3\); expected \(n, 2\)"):
        photometric().p_sel(np.ones((3, 3)))


def test_grid_is_exact_at_nodes_and_linear_in_the_logit():
    p = np.random.default_rng(0).uniform(0.1, 0.9, (5, 4, 3))
    operator = GridSelection.from_probabilities(NODES, p)
    np.testing.assert_allclose(operator.p_sel(*np.meshgrid(*NODES, indexing="ij")), p, rtol=1e-12)
    logit = np.log(p / (1 - p))
    middle = (logit[0, 0, 0] + logit[1, 0, 0]) / 2
    np.testing.assert_allclose(operator.p_sel(2.5, 6.0, 0.0), 1 / (1 + np.exp(-middle)))


def test_linear_inputs_are_linear():
    operator = network("linear", 1)
    features = jnp.array([[10**4.5, 10**7.5, 1.0]])
    expected = jax.nn.sigmoid(operator.networks[0](features))[0]
    np.testing.assert_allclose(operator.p_sel(4.5, 7.5, 1.0), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: NetworkSelection(networks=(), domain=BOX), "no networks"),
        (
            lambda: NetworkSelection(
                networks=(random_mlp((2, 4), key=jax.random.key(0)),), domain=BOX
            ),
            "network 0 has 2 inputs; expected 3",
        ),
        (lambda: GridSelection.from_probabilities(NODES, np.full((5, 4, 3), 1.5)), "1.5 to 1.5"),
        (lambda: GridSelection.from_probabilities(NODES, np.ones((5, 4, 2))), "logit has shape"),
        (
            lambda: GridSelection.from_probabilities(
                NODES, np.ones((5, 4, 3)), Box((1.0, 6.0), (6.0, 10.0), (0.0, 3.0))
            ),
            "log_mass 1 to 6 goes beyond the grid's nodes",
        ),
        (lambda: tabulate(network(), np.array([1.0, 3]), *NODES[1:]), "outside the domain"),
    ],
)
def test_refuses(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def edited(path, change):
    save_selection(grid(), path)
    with h5py.File(path, "a") as file:
        change(file)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.attrs.__setitem__("starcensus_kind", "oracle"), "kind is 'oracle'; expected"),
        (lambda f: f.attrs.__setitem__("format_version", 99), "format version 99; this starcensus"),
        (lambda f: f.__delitem__("logit"), "kind grid lacks 'logit'"),
        (lambda f: f.attrs.__delitem__("metadata"), "holds no selection operator"),
        (lambda f: f.attrs.__setitem__("metadata", "{}"), "kind grid lacks 'domain'"),
        (lambda f: f.attrs.__setitem__("metadata", "{"), "bad.h5"),
        (lambda f: f.attrs.__setitem__("metadata", "3"), "metadata of an operator of kind grid"),
    ],
)
def test_bad_files(tmp_path, change, message):
    with pytest.raises(SelectionFileError, match=message):
        load_selection(edited(tmp_path / "bad.h5", change))


def test_files_that_are_no_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_selection(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("mass age")
    with pytest.raises(SelectionFileError, match="is not an HDF5 file"):
        load_selection(tmp_path / "text.h5")
    with pytest.raises(FileNotFoundError, match="make it first"):
        save_selection(grid(), tmp_path / "absent" / "o.h5")


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "o.h5"
    save_selection(grid(), path)
    before = path.read_bytes()
    broken = eqx.tree_at(lambda o: o.limit_mag, magnitude(), float("nan"))
    with pytest.raises(ValueError):
        save_selection(broken, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["o.h5"]


class Homemade(AbstractSelection):
    domain: Box = BOX
    outside: Outside = "zero"
    acts_on: ActsOn = "data"

    @property
    def n_members(self) -> int:
        return 1

    def _members_inside(self, log_mass, log_age, a_v):
        return jnp.full_like(log_mass, 0.5)[None]

    def to_arrays(self):
        return {}, {}

    @classmethod
    def from_arrays(cls, arrays, metadata):
        return cls()


def test_an_operator_of_an_unknown_class(tmp_path):
    with pytest.raises(TypeError, match="Homemade cannot be stored; expected one of Complete"):
        save_selection(Homemade(), tmp_path / "o.h5")
    save_selection(tabulate(Homemade(), *NODES), tmp_path / "o.h5")
    assert load_selection(tmp_path / "o.h5").p_sel(4.0, 8.0, 1.0) == 0.5  # pyright: ignore
