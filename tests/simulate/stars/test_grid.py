"""The stellar grid as a container: its checks, its file, its selections."""

import dataclasses
import pathlib

import h5py
import numpy as np
import pytest

from starcensus.files import FileError
from starcensus.simulate.stars import StellarGrid


def make_grid() -> StellarGrid:
    """Two isochrones of made-up stars in two bands."""
    rng = np.random.default_rng(3)
    sizes = (40, 25)
    mass = np.concatenate([np.sort(rng.uniform(0.1, 90, n)) for n in sizes])
    n = len(mass)
    a_v = np.array([0.0, 0.7, 2.5, 4.3, 5.0])
    mags = rng.uniform(-9, 12, (n, 2, 1)) + np.array([1.9, 0.6])[:, None] * a_v
    return StellarGrid(
        bands=("WFC3_UVIS_F275W", "ACS_F814W"),
        log_age=np.array([6.0, 7.0]),
        start=np.array([0, 40, 65]),
        initial_mass=mass,
        current_mass=0.9 * mass,
        log_lum=3.5 * np.log10(mass),
        log_teff=rng.uniform(3.5, 4.7, n),
        log_g=rng.uniform(0, 5, n),
        q_h=np.where(mass > 8, 1e48 * mass, 0.0),
        a_v=a_v,
        flux=(10 ** (-0.4 * mags)).astype(np.float32),
        nebular_a_v=np.array([0.0, 5.25, 10.5]),
        nebular_flux=rng.uniform(0, 1e-48, (2, 3)),
        provenance={"isochrones": "made up", "z": 0.02},
    )


def test_a_grid_survives_its_file(tmp_path: pathlib.Path):
    grid = make_grid()
    grid.save(tmp_path / "grid.h5", resolution=0.001)
    again = StellarGrid.load(tmp_path / "grid.h5")
    assert again.bands == grid.bands and again.provenance == grid.provenance
    for name in ("log_age", "start", "a_v", "nebular_a_v", "nebular_flux"):
        np.testing.assert_array_equal(getattr(again, name), getattr(grid, name))
    np.testing.assert_allclose(again.initial_mass, grid.initial_mass, atol=1e-9)
    for name in ("log_lum", "log_teff", "log_g"):
        np.testing.assert_allclose(getattr(again, name), getattr(grid, name), atol=6e-5)
    np.testing.assert_allclose(again.q_h, grid.q_h, rtol=2e-4)
    apart = 2.5 * np.abs(np.log10(again.flux / grid.flux))
    assert 0 < apart.max() < 0.0015
    assert [path.name for path in tmp_path.iterdir()] == ["grid.h5"]
    again.save(tmp_path / "again.h5", resolution=0.001)
    twice = StellarGrid.load(tmp_path / "again.h5")
    np.testing.assert_allclose(twice.flux, again.flux, rtol=1e-6)


def test_bands_are_selected_by_name():
    grid = make_grid()
    one = grid.select(("ACS_F814W",))
    assert one.bands == ("ACS_F814W",) and one.flux.shape == (65, 1, 5)
    np.testing.assert_array_equal(one.flux[:, 0], grid.flux[:, 1])
    np.testing.assert_array_equal(one.nebular_flux[0], grid.nebular_flux[1])
    with pytest.raises(ValueError, match="no band ACS_F850LP; it has WFC3_UVIS_F275W"):
        grid.select(("ACS_F850LP",))


def test_isochrones_are_runs_of_points():
    grid = make_grid()
    assert len(grid) == 65
    assert grid.isochrone(1) == slice(40, 65)


def falling(mass: np.ndarray) -> np.ndarray:
    mass = mass.copy()
    mass[5] = mass[4]
    return mass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": np.array([0, 40, 64])}, "start must run from 0 to 65"),
        ({"start": np.array([0, 64, 65])}, "at least two points"),
        ({"bands": ("ACS_F814W", "ACS_F814W")}, "must differ"),
        ({"a_v": np.array([0.1, 0.7, 2.5, 4.3, 5.0])}, "a_v must increase from 0"),
        ({"log_age": np.array([7.0, 6.0])}, "log_age must increase"),
        ({"q_h": np.full(65, -1.0)}, "q_h holds negative"),
        ({"log_g": np.full(65, np.nan)}, "log_g holds values that are not finite"),
        ({"initial_mass": falling(make_grid().initial_mass)}, "point 5 has"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(make_grid(), **change)


def test_files_that_hold_no_grid_are_refused(tmp_path: pathlib.Path):
    with pytest.raises(FileError, match="starcensus simulate grid"):
        StellarGrid.load(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(ValueError, match="not an HDF5 file"):
        StellarGrid.load(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["format"] = "something else"
    with pytest.raises(ValueError, match="holds something else"):
        StellarGrid.load(tmp_path / "other.h5")


def test_a_grid_is_known_by_what_is_stored_and_not_by_last_digits(tmp_path: pathlib.Path):
    """Powers of ten differ in their last digits from processor to processor."""
    make_grid().save(tmp_path / "one.h5")
    one, again = (StellarGrid.load(tmp_path / "one.h5") for _ in range(2))
    object.__setattr__(again, "flux", np.nextafter(again.flux, np.float32(np.inf)))
    assert again.digest == one.digest
    assert one.select(one.bands).digest == one.digest
    assert one.select(one.bands[:1]).digest != one.digest
    # What was changed in memory is another grid, however little.
    changed = dataclasses.replace(one, flux=np.nextafter(one.flux, np.float32(np.inf)))
    assert changed.digest != one.digest
    make_grid().save(tmp_path / "coarse.h5", resolution=0.01)
    assert StellarGrid.load(tmp_path / "coarse.h5").digest != one.digest
