"""What a map says, against what the numbers of the table say: both must agree."""

import numpy as np
import pytest
from astropy.table import Table

from starcensus.selection.catalogue import BandState, CatalogueError, ColumnMap, read_table

LN10 = np.log(10.0)
COLUMNS = {
    "mass": [1e4, 2e4, 5e3, 8e4, 3e3, 6e3],
    "e_mass": [2e3, 3e3, 1e3, 9e4, 5e2, 6e2],
    "age": [6.5, 12.0, 30.0, 200.0, 7.1, 900.0],
    "ebv": [0.1, 0.2, 0.0, 0.4, 0.3, 0.2],
}


def read(tmp_path, changes, **mapping):
    path = tmp_path / "t.ecsv"
    units = changes.pop("units", {})
    Table({**COLUMNS, **changes}, units=units).write(path, format="ascii.ecsv", overwrite=True)
    given = {
        "mass": {"column": "mass", "unit": "Msun"},
        "age": {"column": "age", "unit": "Myr"},
        "a_v": {"column": "ebv", "unit": "E(B-V)"},
    }
    return read_table(path, ColumnMap.model_validate({**given, **mapping}))


def test_errors_as_large_as_the_value(tmp_path):
    """One mass is 8e4 with an error of 9e4: to first order that is 0.49 dex either way."""
    mass = {"column": "mass", "unit": "Msun", "sigma": "e_mass"}
    with pytest.raises(CatalogueError, match=r'limit is -10000 Msun.*1 such rows.*"first_order"'):
        read(tmp_path, {}, mass=mass)
    cat = read(tmp_path, {}, mass={**mass, "error_unit": "first_order"})
    expected = np.array(COLUMNS["e_mass"]) / np.array(COLUMNS["mass"]) / LN10
    np.testing.assert_allclose(cat.theta_high[:, 0] - cat.theta[:, 0], expected)
    np.testing.assert_allclose(cat.theta[:, 0] - cat.theta_low[:, 0], expected)


@pytest.mark.parametrize("unit, factor", [("dex", 1.0), ("fraction", 1.0 / LN10)])
def test_errors_in_dex_and_fractions(tmp_path, unit, factor):
    small = [0.2, 0.3, 0.1, 0.25, 0.15, 0.2]
    mass = {"column": "mass", "unit": "Msun", "sigma": "e_mass"}
    with pytest.raises(
        CatalogueError, match=r"errors of 0.2 beside values of 8e.03 .*look like dex"
    ):
        read(tmp_path, {"e_mass": small}, mass=mass)
    cat = read(tmp_path, {"e_mass": small}, mass={**mass, "error_unit": unit})
    np.testing.assert_allclose(cat.theta_high[:, 0] - cat.theta[:, 0], np.array(small) * factor)


def test_scaled_renamed_and_numbered_columns(tmp_path):
    cat = read(
        tmp_path,
        {"mass": [1.0, 2.0, 0.5, 8.0, 0.3, 0.6], "Cl": [1, 2, 3, 4, 1, 2], "r": [0.1] * 6},
        mass={"column": 1, "unit": "1e4 Msun"},
        columns={"class_mode": "Cl", "radius_pc": {"column": "r", "factor": 48.5, "missing": [9]}},
    )
    np.testing.assert_allclose(cat.theta[:, 0], np.log10(COLUMNS["mass"]))
    assert cat.columns["class_mode"].tolist() == [1, 2, 3, 4, 1, 2]
    np.testing.assert_allclose(cat.columns["radius_pc"], 4.85)


LOG_AGES = [6.5, 7.1, 8.0, 8.3, 9.1, 6.9]
CONTRADICTIONS = {
    # Seven, eight, nine Myr would be possible ages.
    "log ages as Myr": (
        {"age": LOG_AGES},
        {},
        "between 6.5 and 9.1 Myr: they look like log10 of y",
    ),
    "log ages as Gyr": (
        {"age": LOG_AGES},
        {"age": {"column": "age", "unit": "Gyr"}},
        "between 6.5 and 9.1 Gyr: they look like log10 of years",
    ),
    "log yr as log Myr": (
        {"age": LOG_AGES},
        {"age": {"column": "age", "unit": "Myr", "scale": "log10"}},
        "column log_age: received 1",
    ),
    "log Myr as log yr": (
        {"age": [0.5, 1.1, 2.0, 2.3, 3.1, 0.9]},
        {"age": {"column": "age", "unit": "yr", "scale": "log10"}},
        "column log_age: received 0.5",
    ),
    "linear errors of logs": (
        {"mass": [4.0, 4.3, 3.7, 4.9, 3.5, 3.8]},
        {"mass": {"column": "mass", "unit": "Msun", "scale": "log10", "sigma": "e_mass"}},
        "look like a linear error or per cent, not dex",
    ),
    "per cent as fractions": (
        {"e_mass": [20.0, 30.0, 10.0, 25.0, 15.0, 20.0]},
        {
            "mass": {
                **{"column": "mass", "unit": "Msun", "sigma": "e_mass"},
                "error_unit": "fraction",
            }
        },
        "look like per cent or a linear error, not a fraction",
    ),
    "log limits of linear values": (
        {"lo": [3.9] * 6, "hi": [4.9] * 6},
        {"mass": {"column": "mass", "unit": "Msun", "lower": "lo", "upper": "hi"}},
        "look like log10; expected limits in the scale of the values",
    ),
    "E(B-V) as A_V": (
        {},
        {"a_v": {"column": "ebv", "unit": "mag"}},
        r"its name says E\(B-V\), the column map says unit 'mag', which is A_V",
    ),
    "A_V as E(B-V)": (
        {"A_V": [0.1] * 6},
        {"a_v": {"column": "A_V", "unit": "E(B-V)"}},
        r"its name says A_V, the column map says unit 'E\(B-V\)'",
    ),
    "error in another unit": (
        {"units": {"mass": "Msun", "e_mass": "dex"}},
        {"mass": {"column": "mass", "unit": "Msun", "sigma": "e_mass"}},
        "column e_mass: the file says unit 'dex', the column map says linear Msun",
    ),
    "linear error called dex": (
        {"units": {"mass": "Msun", "e_mass": "Msun"}},
        {"mass": {"column": "mass", "unit": "Msun", "sigma": "e_mass", "error_unit": "dex"}},
        "column e_mass: the file says unit 'solMass', the column map says error_unit 'dex'",
    ),
    "a factor that the file denies": (
        {"units": {"mass": "Msun"}},
        {"mass": {"column": "mass", "unit": "1e4 Msun"}},
        "the file says unit 'solMass', the column map says linear 1e4 Msun",
    ),
    "everything twice": (
        {name: [*values[:3], *values[:3]] for name, values in COLUMNS.items()},
        {},
        r"lines \d+ to \d+ repeat lines \d+ to \d+, all 3 of them; remove one half",
    ),
}


@pytest.mark.parametrize("mistake", CONTRADICTIONS)
def test_contradictions(tmp_path, mistake):
    changes, mapping, message = CONTRADICTIONS[mistake]
    with pytest.raises(CatalogueError, match=message) as caught:
        read(tmp_path, dict(changes), **mapping)
    assert "t.ecsv" in str(caught.value)


def test_what_the_user_states_is_believed(tmp_path):
    """Ages of 6.5 to 9.1 Myr, and an A_V in a column called ebv, given by its number."""
    age = {"column": "age", "unit": "Myr", "scale": "linear"}
    cat = read(tmp_path, {"age": LOG_AGES}, age=age, a_v={"column": 4, "unit": "mag"})
    np.testing.assert_allclose(cat.theta[:, 1], 6.0 + np.log10(LOG_AGES))
    np.testing.assert_allclose(cat.theta[:, 2], COLUMNS["ebv"])


def test_fluxes(tmp_path):
    """A negative error marks an upper limit, which is no measurement."""
    flux = [2.291, 1.0, -0.5, 1.0, 1.0, 1.0]
    error = [0.2291, 0.1, 0.1, -1.0, 0.1, 0.1]
    band = {"name": "ACS_F555W", "column": "f", "error": "e", "unit": "uJy"}
    cat = read(tmp_path, {"f": flux, "e": error}, bands=[band])
    assert cat.mags is not None and cat.mag_errors is not None
    # 2.291 uJy is AB 23.0; AB minus Vega of F555W is next to nothing.
    assert cat.mags[0, 0] == pytest.approx(23.0, abs=0.02)
    np.testing.assert_allclose(cat.mag_errors[0, 0], 0.1 * 2.5 / LN10)
    assert np.isnan(cat.mags[[2, 3], 0]).all() and np.isfinite(cat.mags[4, 0])
    # A flux below 0 is a measurement, one with a negative error an upper limit.
    assert cat.band_states is not None and cat.fluxes is not None
    expected = np.zeros((6, 1))
    expected[3] = BandState.NOT_DETECTED
    np.testing.assert_array_equal(cat.band_states, expected)
    np.testing.assert_allclose(cat.fluxes[2, 0] / cat.fluxes[1, 0], -0.5)


def test_a_few_bad_rows_of_a_table(tmp_path):
    rng = np.random.default_rng(2)
    mass, age, ebv = rng.uniform(1e3, 1e5, 60), rng.uniform(1.0, 400.0, 60), rng.uniform(0, 1, 60)
    age[7], mass[20], mass[30] = 19000.0, 2.8e8, -9.0
    cat = read(tmp_path, {"mass": mass, "age": age, "ebv": ebv, "e_mass": mass / 10})
    assert len(cat) == 57
    (step,) = cat.steps
    assert (step.name, step.n_before, step.n_after) == ("bad rows", 60, 57)
    listed = cat.meta["bad_rows"]
    assert isinstance(listed, tuple)
    for text, part in zip(
        listed, ("1.9e+10 yr); no", "2.8e+08 M_sun); no cluster", "received -9 Msun"), strict=True
    ):
        assert part in text
