"""Tables that give one magnitude and colours: column maps, missing bands, mistakes."""

import pathlib

import numpy as np
import pytest

from starcensus.files import FileError
from starcensus.selection.catalogue import BandState, Catalogue, read_catalogue

LINES = """# name V eV UB eUB BV eBV VR eVR
a -5.475 0.010 -0.853 0.003 -0.001 0.011  0.016 0.024
b -6.0   0.020  0.5   0.004  0.25  0.012 99.9   99.9
c 99.9   99.9  -0.1   0.005  0.1   0.013  0.3   0.031
"""
U = {"name": "BESSELL_U", "column": "UB", "error": "eUB", "bluer_than": "BESSELL_B"}
B = {"name": "BESSELL_B", "column": "BV", "error": "eBV", "bluer_than": "BESSELL_V"}
V = {
    "name": "BESSELL_V",
    "column": "V",
    "error": "eV",
    "absolute": True,
    "not_observed": [99.9],
}
R = {
    "name": "BESSELL_R",
    "column": "VR",
    "error": "eVR",
    "redder_than": "BESSELL_V",
    "not_detected": [99.9],
}


def read(folder: pathlib.Path, *bands: dict, **more: object) -> Catalogue:
    (folder / "clusters.dat").write_text(LINES)
    tables = {"id": "name", "estimates": False, "distance_modulus": 18.5, "bands": list(bands)}
    # As a file of settings has them: tables, not the path of a file of their own.
    return read_catalogue(folder / "clusters.dat", "table", column_map={**tables, **more})


def test_magnitudes_follow_from_colours(tmp_path):
    cat = read(tmp_path, U, B, V, R)
    assert cat.bands == ("BESSELL_U", "BESSELL_B", "BESSELL_V", "BESSELL_R")
    v = 18.5 - 5.475
    assert cat.mags is not None and cat.mag_errors is not None
    np.testing.assert_allclose(cat.mags[0], [v - 0.001 - 0.853, v - 0.001, v, v - 0.016])
    np.testing.assert_allclose(cat.mag_errors[0], [0.003, 0.011, 0.010, 0.024])
    np.testing.assert_allclose(cat.mags[1, :3], [18.5 - 6 + 0.75, 18.5 - 6 + 0.25, 18.5 - 6])


def test_a_band_without_the_other_one_is_not_measured(tmp_path):
    cat = read(tmp_path, U, B, V, R)
    assert cat.mags is not None and cat.band_states is not None
    unknown, nothing, not_seen = BandState.UNKNOWN, BandState.NOT_OBSERVED, BandState.NOT_DETECTED
    assert list(cat.band_states[2]) == [unknown, unknown, nothing, unknown]
    assert np.isnan(cat.mags[2]).all()
    assert cat.band_states[1, 3] == not_seen and np.isnan(cat.mags[1, 3])


MISTAKES = {
    "no such band": ((B,), {}, "colour with BESSELL_V, which is no band of the map"),
    "both": (
        ({**B, "redder_than": "BESSELL_R"}, V, R),
        {},
        "bluer_than BESSELL_V and redder_than BESSELL_R",
    ),
    "of itself": (({**B, "bluer_than": "BESSELL_B"}, V), {}, "BESSELL_B: each is a colour"),
    "in a circle": (
        (B, {**V, "bluer_than": "BESSELL_B", "absolute": False}),
        {},
        "BESSELL_B, BESSELL_V: each is a colour with another",
    ),
    "AB": (({**B, "unit": "ABmag"}, V), {}, "unit 'ABmag' of a colour; expected 'mag'"),
    "with AB": ((B, {**V, "unit": "ABmag"}), {}, "of unit 'ABmag'; expected Vega"),
    "with a flux": ((B, {**V, "unit": "Jy", "absolute": False}), {}, "of unit 'Jy'"),
    "absolute flux": (({**V, "unit": "Jy"},), {}, "absolute goes with magnitudes"),
    "absolute colour": (({**B, "absolute": True}, V), {}, "absolute goes with magnitudes"),
    "no modulus": ((V,), {"distance_modulus": None}, "need the distance_modulus"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_colours_that_lead_to_no_magnitude_are_refused(name: str, tmp_path):
    bands, more, words = MISTAKES[name]
    with pytest.raises(FileError, match=words):
        read(tmp_path, *bands, **more)
