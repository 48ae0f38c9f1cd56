"""Files of operators: of one's own, of version 0.1, damaged; operators from settings."""

import json
import os
import pathlib

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Float

from starcensus.selection import (
    OPERATORS,
    AbstractSelection,
    ActsOn,
    Box,
    CompleteSelection,
    GridSelection,
    MagnitudeLimit,
    NetworkSelection,
    Outside,
    PhotometricNetwork,
    ProductSelection,
    RecordedSelection,
    SelectionFileError,
    complete,
    load_selection,
    operator_from_settings,
    save_selection,
    selection_provenance,
    tabulate,
    with_acts_on,
)

DATA = pathlib.Path(__file__).parent / "data"
BOX = Box((2.0, 6.0), (6.0, 10.0), (0.0, 3.0))
NODES = (np.linspace(2, 6, 5), np.linspace(6, 10, 4), np.linspace(0, 3, 3))
THETA = (np.array([3.0, 4.0, 5.0]), 8.0, 1.0)


def grid() -> GridSelection:
    p = np.random.default_rng(2).uniform(0.02, 0.98, (3, 5, 4, 3))
    return GridSelection.from_probabilities(NODES, p, outside="zero")


@OPERATORS.register("test_steps")
class Steps(AbstractSelection):
    """One's own: a limit of mass that changes with age."""

    log_age: Float[np.ndarray, "k"]
    limit: Float[np.ndarray, "k"]
    domain: Box
    width: float = 0.1
    reference: tuple[float, str] | None = None
    outside: Outside = "zero"
    acts_on: ActsOn = "data"

    @property
    def n_members(self) -> int:
        return 1

    def _members_inside(self, log_mass, log_age, a_v):
        limit = jnp.interp(log_age, jnp.asarray(self.log_age), jnp.asarray(self.limit))
        return jax.nn.sigmoid((log_mass - limit) / self.width)[None]


def steps() -> Steps:
    return Steps(np.array([6.0, 10.0]), np.array([3.0, 5.0]), BOX, 0.2, (628.0, "LEGUS"))


def test_an_operator_of_ones_own_is_saved_alone_and_within_others(tmp_path):
    own = steps()
    both = ProductSelection(RecordedSelection(own, (0.1, 0.0, 0.0), order=8), complete(BOX))
    for operator in (own, both):
        save_selection(operator, tmp_path / "own.h5", {"learned_on": "nothing"})
        again = load_selection(tmp_path / "own.h5")
        assert isinstance(again, AbstractSelection) and type(again) is type(operator)
        np.testing.assert_array_equal(again.p_sel(*THETA), operator.p_sel(*THETA))
    assert isinstance(again, ProductSelection) and isinstance(again.first, RecordedSelection)
    assert isinstance(again.first.base, Steps) and again.first.base.reference == (628.0, "LEGUS")
    assert selection_provenance(tmp_path / "own.h5") == {"learned_on": "nothing"}
    with h5py.File(tmp_path / "own.h5") as file:
        np.testing.assert_array_equal(file["first/base/limit"], [3.0, 5.0])


def test_a_kind_whose_module_was_not_imported_is_named_with_those_that_are_there(tmp_path):
    save_selection(steps(), tmp_path / "own.h5")
    with h5py.File(tmp_path / "own.h5", "a") as file:
        file.attrs["operator"] = str(file.attrs["operator"]).replace("test_steps", "oracle")
    with pytest.raises(SelectionFileError, match=r"'oracle'.*magnitude_limit.*--allow-own"):
        load_selection(tmp_path / "own.h5")


def test_settings_name_operators():
    options = {"log_age": [6, 10], "limit": [3.0, 5.0], "width": 0.2, "reference": [628, "LEGUS"]}
    own = operator_from_settings("test_steps", options, BOX)
    assert isinstance(own, Steps) and own.domain == BOX and own.reference == (628.0, "LEGUS")
    np.testing.assert_array_equal(own.p_sel(*THETA), steps().p_sel(*THETA))
    narrow = {"log_mass": [3, 4], "log_age": [6, 7], "a_v": [0, 1]}
    given = operator_from_settings("test_steps", options | {"domain": narrow}, BOX)
    assert given.domain == Box((3.0, 4.0), (6.0, 7.0), (0.0, 1.0))
    limit = operator_from_settings("magnitude", {"band": "F814W"}, BOX)
    assert isinstance(limit, MagnitudeLimit) and limit.band == "ACS_F814W"
    everything = operator_from_settings("complete", {}, BOX)
    assert isinstance(everything, CompleteSelection) and everything.domain == BOX
    from_file = operator_from_settings("file", {"path": DATA / "version1_product.h5"}, BOX)
    assert isinstance(from_file, ProductSelection)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("oracle", {}, "'oracle'.*complete, magnitude, file, c4_physical.*--allow-own"),
        ("test_steps", {"limit": [1.0]}, "needs the option 'log_age'"),
        ("test_steps", {"depth": 1}, "has no option depth; it has log_age, limit"),
        ("test_steps", {"log_age": [6, 7], "limit": "deep"}, "limit"),
        ("test_steps", {"log_age": [6, 7], "limit": [[1, 2]]}, r"limit has .* shape \(1, 2\)"),
        ("test_steps", {"log_age": [6, 7], "limit": [1, 2], "width": "thin"}, "width is 'thin'"),
        ("test_steps", {"log_age": [6], "limit": [1], "outside": "maybe"}, "outside is 'maybe'"),
        ("magnitude", {"bnad": "F814W"}, "bnad"),
        ("file", {"path": DATA / "version1_photometric.h5"}, "is one of magnitudes"),
    ],
)
def test_settings_that_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        operator_from_settings(kind, options, BOX)


class Nameless(Steps):
    pass


@OPERATORS.register("test_opaque")
class Opaque(Steps):
    table: dict[str, float] | None = None


@OPERATORS.register("test_hidden")
class Hidden(Steps):
    def __init__(self, depth: float):
        self.log_age, self.limit = np.array([6.0, 10.0]), np.full(2, depth)
        self.domain, self.width, self.reference = BOX, 0.1, None
        self.outside, self.acts_on = "zero", "data"


def test_operators_that_no_file_can_hold(tmp_path):
    parts = (np.array([6.0, 10.0]), np.array([3.0, 5.0]), BOX)
    with pytest.raises(ValueError, match="Nameless has no name as a selection operator"):
        save_selection(Nameless(*parts), tmp_path / "o.h5")
    with pytest.raises(TypeError, match=r"table is of the type dict\[str, float\]"):
        save_selection(Opaque(*parts, table={"a": 1.0}), tmp_path / "o.h5")
    with pytest.raises(TypeError, match=r"Hidden takes \['depth'\]"):
        save_selection(Hidden(3.0), tmp_path / "o.h5")
    assert not os.listdir(tmp_path)
    save_selection(tabulate(Nameless(*parts), *NODES), tmp_path / "o.h5")
    assert isinstance(load_selection(tmp_path / "o.h5"), GridSelection)


def test_files_of_version_0_1():
    operator = load_selection(DATA / "version1_product.h5")
    assert isinstance(operator, ProductSelection) and operator.acts_on == "truth"
    network, limit = operator.first, operator.second
    assert isinstance(network, NetworkSelection) and isinstance(limit, RecordedSelection)
    assert network.nuisance is not None and network.nuisance.mass_radius == (0.14, 0.21)
    assert network.outside == "zero" and network.inputs == "log"
    assert limit.sigma == (0.1, 0.0, 0.2) and limit.order == 3
    assert isinstance(limit.base, MagnitudeLimit) and limit.base.band == "ACS_F555W"
    with h5py.File(DATA / "version1_product.h5") as file:
        stored = {
            "first/network_1/weight_0": network.networks[1].weights[0],
            "first/network_1/bias_1": network.networks[1].biases[1],
            "first/network_0/mean": network.networks[0].mean,
            "first/nuisance_values": network.nuisance.values,
            "first/nuisance_weights": network.nuisance.weights,
            "second/base/abs_mag": limit.base.abs_mag,
        }
        for name, values in stored.items():
            assert np.asarray(file[name]).tobytes() == np.asarray(values).tobytes(), name
    # What the code of version 0.1 gave.
    expected = [
        [2.732587275428959e-06, 0.32333754917961927, 0.584554402645993],
        [2.223559570107901e-06, 0.27414271700072435, 0.5117557219622078],
    ]
    np.testing.assert_allclose(operator.members(*THETA), expected, rtol=1e-12)
    assert selection_provenance(DATA / "version1_product.h5") == {"made_by": "starcensus 0.1"}


def test_a_network_of_magnitudes_of_version_0_1():
    operator = load_selection(DATA / "version1_photometric.h5")
    assert isinstance(operator, PhotometricNetwork)
    assert operator.masked and operator.outside == "clip" and not operator.simulation
    assert operator.bands == ("F435W", "F555W") and operator.distance_modulus == 29.98
    expected = [
        [0.4733631447745188, 0.4453130348142319, 0.44733595567063694],
        [0.44500793668224486, 0.4556884891890406, 0.5374211284293435],
    ]
    mags = np.array([[20.0, 21.0], [25.0, np.nan], [31.0, 22.0]])
    np.testing.assert_allclose(operator.members(mags), expected, rtol=1e-12)


def test_a_restated_product_stays_restated(tmp_path):
    product = with_acts_on(ProductSelection(grid(), complete(BOX)), "truth")
    save_selection(product, tmp_path / "o.h5")
    assert load_selection(tmp_path / "o.h5").acts_on == "truth"  # pyright: ignore


def edited(path: pathlib.Path, change) -> pathlib.Path:
    """A file of a grid, changed: `change` takes the tree that it holds, or the file."""
    save_selection(grid(), path)
    with h5py.File(path, "a") as file:
        tree = json.loads(str(file.attrs["operator"]))
        if isinstance(change, str):
            file.attrs["operator"] = change
        elif change.__code__.co_varnames[0] == "tree":
            change(tree)
            file.attrs["operator"] = json.dumps(tree)
        else:
            change(file)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.attrs.__setitem__("format", "oracle"), "holds oracle, and is no selection"),
        (lambda f: f.attrs.__setitem__("version", 99), "version 99 of selection operator"),
        (lambda f: f.attrs.__delitem__("format"), "names no format"),
        (lambda f: f.attrs.__delitem__("operator"), "damaged"),
        (lambda f: f.__delitem__("logit"), "kind grid lacks 'logit'"),
        (lambda f: f.move("logit", "logits"), "kind grid lacks 'logit'"),
        (lambda tree: tree["fields"].pop("domain"), "kind grid lacks 'domain'"),
        (lambda tree: tree["fields"].update(domain=3), "domain is 3; expected"),
        (lambda tree: tree["fields"].update(domain={"a_v": [0, 1]}), "lacks 'domain/log_mass'"),
        (lambda tree: tree["fields"]["domain"].update(a_v=[0, 1, 2]), "domain/a_v has 3 elements"),
        (lambda tree: tree["fields"]["domain"].update(a_v=[0, "1"]), "domain/a_v/1 is '1'"),
        (lambda tree: tree["fields"].update(outside="maybe"), "outside is 'maybe'; expected"),
        (lambda tree: tree["fields"].update(outside=["zero"]), "outside is \\['zero'\\]"),
        (lambda tree: tree["fields"].update(depth=1.0), "GridSelection knows no depth"),
        (lambda tree: tree.update(kind=["grid"]), "is no selection operator"),
        (lambda tree: tree.update(fields=[]), "expected a kind and its fields"),
        ("{", "bad.h5"),
        ("3", "expected a kind and its fields"),
        ("[" * 100_000, "bad.h5"),
    ],
)
def test_bad_files(tmp_path, change, message):
    with pytest.raises(SelectionFileError, match=message):
        load_selection(edited(tmp_path / "bad.h5", change))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("starcensus_kind", "oracle", "'oracle'.*expected one of"),
        ("format_version", 2, "format version 2; expected 1"),
        ("metadata", "{", "bad.h5"),
        ("metadata", "3", "metadata are no table"),
        ("metadata", "{}", "lacks 'first'"),
    ],
)
def test_bad_files_of_version_0_1(tmp_path, name, value, message):
    path = tmp_path / "bad.h5"
    path.write_bytes((DATA / "version1_product.h5").read_bytes())
    with h5py.File(path, "a") as file:
        file.attrs[name] = value
    with pytest.raises(SelectionFileError, match=message):
        load_selection(path)


def test_arrays_of_other_shapes_are_refused(tmp_path):
    save_selection(steps(), tmp_path / "o.h5")
    with h5py.File(tmp_path / "o.h5", "a") as file:
        del file["limit"]
        file["limit"] = np.ones((2, 2))
    with pytest.raises(SelectionFileError, match=r"limit has float64 values of shape \(2, 2\)"):
        load_selection(tmp_path / "o.h5")


def test_files_that_are_no_files(tmp_path):
    with pytest.raises(SelectionFileError, match="there is no such selection operator"):
        load_selection(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("mass age")
    for read in (load_selection, selection_provenance):
        with pytest.raises(SelectionFileError, match="is not an HDF5 file"):
            read(tmp_path / "text.h5")
    with pytest.raises(ValueError, match=r"cannot write .*o.h5"):
        save_selection(grid(), tmp_path / "absent" / "o.h5")


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "o.h5"
    save_selection(grid(), path)
    before = path.read_bytes()
    with pytest.raises(ValueError):
        save_selection(MagnitudeLimit.default(limit_mag=float("nan")), path)
    with pytest.raises(TypeError):
        save_selection(grid(), path, {"made": object()})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["o.h5"]
