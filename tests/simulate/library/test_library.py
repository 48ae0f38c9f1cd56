"""Libraries on disk and in memory."""

import h5py
import numpy as np
import pytest

from starcensus.files import FileError
from starcensus.simulate import ClusterLibrary
from starcensus.simulate.library.library import write_library


def library(n=10, seed=0, **extra):
    rng = np.random.default_rng(seed)
    mags = rng.normal(-5, 2, (n, 3))
    mags[0] = np.inf
    return ClusterLibrary(
        log_mass=rng.uniform(2, 6, n),
        log_age=rng.uniform(6, 10, n),
        a_v=rng.uniform(0, 3, n),
        bands=("u", "b", "v"),
        abs_mags=mags,
        log_density=np.full(n, -3.0),
        birth_mass=rng.uniform(1, 2, n),
        n_stars=rng.integers(0, 2**40, n),
        seed=rng.integers(0, 2**64, n, dtype=np.uint64),
        meta={"design": {"n": n}},
        **extra,
    )


def test_a_file_gives_the_library_back(tmp_path):
    made = library(r_eff_pc=np.arange(1.0, 11.0))
    made.save(tmp_path / "a.h5")
    read = ClusterLibrary.load(tmp_path / "a.h5")
    assert read.bands == made.bands and read.meta == made.meta
    assert set(read.columns()) == set(made.columns()) and read.live_mass is None
    for name, values in made.columns().items():
        found = read.columns()[name]
        assert found.dtype == values.dtype
        if name == "abs_mags":
            np.testing.assert_array_equal(found, values.astype(np.float32))
            np.testing.assert_allclose(found[1:], values[1:], atol=2e-6)
        else:
            np.testing.assert_array_equal(found, values)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["r_eff_pc"].attrs["unit"] == "pc" and file["abs_mags"].attrs["unit"] == "mag"
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_apparent_magnitudes_lie_a_distance_modulus_fainter():
    made = library()
    found = made.apparent(29.98, ["v", "u"])
    np.testing.assert_array_equal(found, made.abs_mags[:, [2, 0]] + 29.98)
    np.testing.assert_array_equal(made.apparent(0.0), made.abs_mags)
    assert np.isposinf(found[0]).all()
    with pytest.raises(ValueError, match="has no band x; it has u, b, v"):
        made.apparent(30.0, ["x"])


def test_a_library_of_version_1_is_read(tmp_path):
    """It is the same but for the name of one dataset."""
    made = library()
    made.save(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.attrs["version"] = 1
        file.move("abs_mags", "mags")
    read = ClusterLibrary.load(tmp_path / "a.h5", bands=["v"])
    np.testing.assert_array_equal(read.abs_mags, made.abs_mags[:, 2:].astype(np.float32))
    assert set(read.columns()) == set(made.columns())
    assert len(list(ClusterLibrary.chunks(tmp_path / "a.h5", 4))) == 3


def test_bands_rows_and_chunks(tmp_path):
    made = library()
    made.save(tmp_path / "a.h5")
    part = ClusterLibrary.load(tmp_path / "a.h5", bands=("v", "u"), rows=slice(2, 5))
    np.testing.assert_array_equal(part.abs_mags, made.abs_mags[2:5, [2, 0]].astype(np.float32))
    np.testing.assert_array_equal(made.select(["v", "u"]).abs_mags, made.abs_mags[:, [2, 0]])
    pieces = list(ClusterLibrary.chunks(tmp_path / "a.h5", 4, bands=["b"]))
    assert [len(piece) for piece in pieces] == [4, 4, 2]
    whole = np.concatenate([piece.column("seed") for piece in pieces])
    np.testing.assert_array_equal(whole, made.seed)


def test_a_column_that_is_not_there():
    assert library().column("n_stars").shape == (10,)
    with pytest.raises(ValueError, match="has no column q_h; it has log_mass"):
        library().column("q_h")


def test_take_and_concatenate():
    made = library(r_eff_pc=np.arange(1.0, 11.0))
    taken = made.take(np.array([3, 1]))
    seed = made.column("seed")
    assert taken.column("r_eff_pc").tolist() == [4, 2]
    np.testing.assert_array_equal(taken.column("seed"), seed[[3, 1]])
    joined = ClusterLibrary.concatenate(made, library(seed=1))
    assert len(joined) == 20 and joined.r_eff_pc is None and np.isnan(joined.log_density).all()
    np.testing.assert_array_equal(joined.column("seed")[:10], seed)
    assert joined.meta["parts"][0] == made.meta
    with pytest.raises(ValueError, match="different bands cannot be joined"):
        ClusterLibrary.concatenate(made, made.select(["u"]))


def test_parts_are_checked(tmp_path):
    made = library()
    with pytest.raises(ValueError, match="the parts have 10 clusters together; expected 11"):
        write_library(tmp_path / "a.h5", 11, made.bands, {}, [made.columns])
    with pytest.raises(ValueError, match="the part at row 10 has the columns"):
        other = made.columns() | {"q_h": np.ones(10)}
        write_library(tmp_path / "a.h5", 20, made.bands, {}, [made.columns, lambda: other])
    assert not list(tmp_path.iterdir())


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def text(path):
    path.write_text("log_mass log_age")


def no_column(path):
    with h5py.File(path, "a") as file:
        del file["a_v"]


def other_length(path):
    with h5py.File(path, "a") as file:
        del file["a_v"]
        file["a_v"] = np.ones(3)


def other_format(path):
    with h5py.File(path, "w") as file:
        file["x"] = 1


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (cut, {}, "is cut off or damaged .*truncated"),
        (text, {}, "is not an HDF5 file; `starcensus simulate library` writes one"),
        (no_column, {}, "has no column a_v; it has"),
        (other_length, {}, "columns of different length"),
        (other_format, {}, "names no format.* read_slug3"),
        (None, {"bands": ["u", "x"]}, "has no band x; it has u, b, v"),
        (None, {"bands": []}, "bands is empty"),
    ],
)
def test_refuses_files(tmp_path, spoil, options, message):
    library().save(tmp_path / "a.h5")
    if spoil:
        spoil(tmp_path / "a.h5")
    with pytest.raises(ValueError, match=message) as said:
        ClusterLibrary.load(tmp_path / "a.h5", **options)
    assert ("damaged" in str(said.value)) == (spoil is cut)


def test_no_file(tmp_path):
    with pytest.raises(FileError, match="there is no such cluster library"):
        ClusterLibrary.load(tmp_path / "a.h5")
