"""The imported C-4 networks: reference values, hand-made files, files that must not be loaded."""

import importlib.util
import io
import os
import pathlib
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from starcensus.selection import UnsafePickleError, import_c4
from starcensus.selection.importers.c4.networks import PACKAGE, SHA256
from starcensus.selection.importers.c4.pickles import read_checkpoint, read_scaler


def named(module: str, name: str) -> types.FunctionType:
    """A function that pickles under any name, whether or not that module is there."""
    function = types.FunctionType((lambda *_: None).__code__, {}, name)
    function.__module__, function.__qualname__ = module, name
    return function


FLOAT = named("torch", "FloatStorage")
REBUILD = named("torch._utils", "_rebuild_tensor_v2")


class Tensor:
    def __init__(self, key: str, values: np.ndarray, stride: tuple | None = None):
        self.key, self.values, self.stride = key, values, stride

    def __reduce__(self):
        shape = self.values.shape
        stride = self.stride or tuple(s // 4 for s in self.values.strides)
        return REBUILD, (Stored(self.key, self.values.size), 0, shape, stride, False, OrderedDict())


class Stored:
    def __init__(self, key: str, count: int):
        self.id = ("storage", FLOAT, key, "cpu", count)


# The Python pickler writes names without looking them up, so Torch need not be installed.
class Pickler(pickle._Pickler):  # pyright: ignore
    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012  # pyright: ignore

    def persistent_id(self, obj):
        return obj.id if isinstance(obj, Stored) else None

    def save_global(self, obj, name=None):
        self.write(f"c{obj.__module__}\n{obj.__name__}\n".encode())  # pyright: ignore
        self.memoize(obj)  # pyright: ignore

    dispatch[types.FunctionType] = save_global  # pyright: ignore


def dumps(value: object) -> bytes:
    out = io.BytesIO()
    Pickler(out, 2).dump(value)
    return out.getvalue()


def checkpoint(parameters: dict[str, np.ndarray], body: bytes | None = None, **extra) -> bytes:
    tensors = {n: Tensor(str(k), v, **extra) for k, (n, v) in enumerate(parameters.items())}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        state = {"model_state_dict": OrderedDict(tensors), "model_config": {"n_hidden": 1}}
        archive.writestr("net/data.pkl", dumps(state) if body is None else body)
        archive.writestr("net/byteorder", "little")
        for key, values in enumerate(parameters.values()):
            archive.writestr(f"net/data/{key}", values.astype("<f4").tobytes())
    return out.getvalue()


StandardScaler = type("StandardScaler", (), {"__module__": "sklearn.preprocessing._data"})


def scaler(mean: np.ndarray, scale: np.ndarray, monkeypatch) -> bytes:
    for name in ("sklearn", "sklearn.preprocessing", "sklearn.preprocessing._data"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["sklearn.preprocessing._data"].StandardScaler = StandardScaler  # pyright: ignore
    made = StandardScaler()
    made.mean_, made.scale_ = mean, scale  # pyright: ignore
    made.n_samples_seen_ = np.int64(5)  # pyright: ignore
    return pickle.dumps(made, protocol=4)


class Evil:
    def __init__(self, path: pathlib.Path):
        self.command = f"touch {path}"

    def __reduce__(self):
        return os.system, (self.command,)


def parameters(n_in: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n_in)
    shapes = {"net.0": (4, n_in), "net.2": (1, 4)}
    made = {}
    for name, shape in shapes.items():
        made[f"{name}.weight"] = rng.normal(size=shape).astype("f4")
        made[f"{name}.bias"] = rng.normal(size=shape[:1]).astype("f4")
    return made


@pytest.fixture
def files(monkeypatch) -> dict[str, bytes]:
    contents = {}
    for which, n_in in (("phys", 3), ("phot", 5)):
        contents[f"best_model_{which}_model0.pt"] = checkpoint(parameters(n_in))
        mean = np.full(n_in, 20.0) if which == "phot" else np.array([1e5, 1e8, 1.0])
        scale = np.full(n_in, 3.0) if which == "phot" else np.array([2e5, 2e8, 1.0])
        contents[f"scaler_{which}_model0.pkl"] = scaler(mean, scale, monkeypatch)
    return contents


def write(folder: pathlib.Path, contents: dict[str, bytes]) -> pathlib.Path:
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return folder


def by_hand(n_in: int, z: np.ndarray) -> float:
    p = parameters(n_in)
    h = p["net.0.weight"].astype(float) @ z + p["net.0.bias"]
    h = h * (1 + erf(h / np.sqrt(2))) / 2
    return 1 / (1 + np.exp(-(p["net.2.weight"].astype(float) @ h + p["net.2.bias"])[0]))


def test_hand_made_files(files, tmp_path):
    physical, photometric = import_c4(write(tmp_path, files), allow_other=True)
    z = np.array([(10**4.5 - 1e5) / 2e5, (10**7.5 - 1e8) / 2e8, 0.5 - 1.0])
    np.testing.assert_allclose(physical.p_sel(4.5, 7.5, 0.5), by_hand(3, z), rtol=1e-6)
    np.testing.assert_allclose(
        photometric.p_sel(np.full((1, 5), 23.0)), by_hand(5, np.ones(5)), rtol=1e-6
    )
    assert physical.outside == "refuse" and physical.acts_on == "data"
    assert photometric.bands[0] == "F275W" and photometric.distance_modulus == 29.98


def test_a_wheel_is_read_in_memory(files, tmp_path):
    wheel = tmp_path / "c4.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"{PACKAGE}/checkpoints/{name}", data)
    assert import_c4(wheel, allow_other=True)[0].n_members == 1
    with zipfile.ZipFile(tmp_path / "empty.whl", "w") as archive:
        archive.writestr("nothing", "")
    with pytest.raises(FileNotFoundError, match=r"empty.whl has no completeness_nn_api"):
        import_c4(tmp_path / "empty.whl")


def test_an_installed_package_is_not_imported(files, tmp_path, monkeypatch):
    folder = tmp_path / PACKAGE / "checkpoints"
    folder.mkdir(parents=True)
    write(folder, files)
    (tmp_path / PACKAGE / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert import_c4(allow_other=True)[1].n_members == 1
    assert PACKAGE not in sys.modules


def test_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="cluster-completeness-pipeline is not installed"):
        import_c4()
    with pytest.raises(FileNotFoundError, match="is in none of"):
        import_c4(tmp_path)
    with pytest.raises(FileNotFoundError, match="neither a folder nor a wheel"):
        import_c4(tmp_path / "absent.whl")


def test_other_files_are_refused(files, tmp_path):
    with pytest.raises(
        ValueError, match=r"best_model_phot_model0.pt has SHA-256 .*expected 8a6303"
    ):
        import_c4(write(tmp_path, files))


@pytest.mark.parametrize("name", SHA256)
def test_a_malicious_file_is_refused_and_not_run(files, tmp_path, name):
    mark = tmp_path / "mark"
    evil = pickle.dumps({"model_state_dict": Evil(mark)})
    files[name] = checkpoint({}, evil) if name.endswith(".pt") else evil
    with pytest.raises(UnsafePickleError, match=r"names (posix|nt)\.system.*not loaded"):
        import_c4(write(tmp_path, files), allow_other=True)
    assert not mark.exists()


@pytest.mark.parametrize(
    "name", ["builtins.eval", "builtins.getattr", "numpy.load", "collections.namedtuple"]
)
def test_no_other_name_is_admitted(name):
    stream = f"c{name.rsplit('.', 1)[0]}\n{name.rsplit('.', 1)[1]}\n.".encode()
    for read in (
        lambda: read_scaler(stream, "s"),
        lambda: read_checkpoint(checkpoint({}, stream), "c"),
    ):
        with pytest.raises(UnsafePickleError, match="which arrays do not need"):
            read()


def test_the_stand_ins_cannot_be_edited():
    stream = (
        b"\x80\x02csklearn.preprocessing._data\nStandardScaler\nN}X\x01\x00\x00\x00aK\x01s\x86b."
    )
    with pytest.raises(UnsafePickleError, match="sets the state of something that is no array"):
        read_scaler(stream, "s")


def test_tensors_that_leave_their_storage(tmp_path):
    weights = {"net.0.weight": np.ones((2, 3), "f4")}
    with pytest.raises(UnsafePickleError, match="expected contiguous"):
        read_checkpoint(checkpoint(weights, stride=(1, 2)), "c")
    data = checkpoint(weights)
    short = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(short, "w") as new:
        new.writestr("net/data.pkl", old.read("net/data.pkl"))
        new.writestr("net/data/0", old.read("net/data/0")[:-4])
    with pytest.raises(UnsafePickleError, match="storage 0 has 5 numbers; expected 6"):
        read_checkpoint(short.getvalue(), "c")
    with pytest.raises(ValueError, match="not a zip archive"):
        read_checkpoint(b"PK no", "c")


def test_another_architecture(files, tmp_path):
    odd = {f"{k}.gamma": v for k, v in parameters(3).items()}
    files["best_model_phys_model0.pt"] = checkpoint(odd)
    with pytest.raises(ValueError, match="expected linear layers"):
        import_c4(write(tmp_path, files), allow_other=True)
    files["best_model_phys_model0.pt"] = files["best_model_phot_model0.pt"]
    with pytest.raises(ValueError, match="do not fit the 5 inputs"):
        import_c4(write(tmp_path, files), allow_other=True)


@pytest.fixture(scope="module")
def published():
    wheel = os.environ.get("STARCENSUS_C4_WHEEL")
    if wheel is None and importlib.util.find_spec(PACKAGE) is None:
        pytest.skip(
            "cluster-completeness-pipeline 0.1.0 is not installed (STARCENSUS_C4_WHEEL unset)"
        )
    return import_c4(wheel)


@pytest.mark.shared
def test_physical_reference(published, shared):
    with np.load(shared / "c4" / "reference_phys_grid.npz") as reference:
        grid = np.meshgrid(reference["logM"], reference["logT"], reference["A_V"], indexing="ij")
        p, logit = reference["p_phys_f64"], reference["logit_f64"]
    np.testing.assert_allclose(published[0].p_sel(*grid), p, rtol=0, atol=1e-10)
    logits = published[0].logits(*(jnp.asarray(x.ravel()) for x in grid))[0]
    np.testing.assert_allclose(logits, logit.ravel(), rtol=0, atol=1e-10)


@pytest.mark.shared
def test_photometric_reference(published, shared):
    photometric = published[1]
    with np.load(shared / "c4" / "reference_phot_vectors.npz") as reference:
        pairs = [
            (reference["legus628c_mags"], reference["legus628c_p_phot"]),
            (reference["track_mags"].reshape(-1, 5), reference["track_p_phot"].ravel()),
        ]
        assert tuple(reference["bands"]) == photometric.bands
    low, high = np.asarray(photometric.limits).T
    for mags, p in pairs:
        known = ((mags >= low) & (mags <= high)).all(axis=1)
        assert known.mean() > 0.9
        np.testing.assert_allclose(photometric.p_sel(mags[known]), p[known], rtol=0, atol=1e-5)


def test_the_published_networks_load_neither_torch_nor_sklearn(published):
    assert not {"torch", "sklearn", "joblib", PACKAGE} & set(sys.modules)
    assert published[0].networks[0].n_in == 3
