"""The table of bands against published numbers, and names of bands."""

import pathlib

import numpy as np
import pytest

from starcensus.bands import (
    BANDS,
    Band,
    ab_minus_vega,
    camera_of,
    filter_of,
    find_band,
    full_name,
    letter_of,
    look_up,
    of_letter,
    wavelength_order,
)

# Published pivots, Å (WFC3 Instrument Handbook, ACS throughput tables of STScI), and AB minus Vega:
# ABMAG less VEGAMAG zero points of STScI's tables, rounded to 0.01.
PUBLISHED = {
    "WFC3_UVIS_F275W": (2710.2, 1.50),
    "WFC3_UVIS_F336W": (3354.8, 1.19),
    "WFC3_UVIS_F438W": (4325.6, -0.15),
    "WFC3_UVIS_F555W": (5308.1, -0.02),
    "WFC3_UVIS_F814W": (8029.5, 0.42),
    "ACS_F435W": (4328.0, -0.10),
    "ACS_F555W": (5360.0, -0.01),
    "ACS_F606W": (5921.0, 0.09),
    "ACS_F814W": (8057.0, 0.43),
    # Bessell's curves: pivots as SVO's filter profile service has them; Blanton & Roweis (2007, AJ
    # 133, 734), table 1.
    "BESSELL_U": (3584.8, 0.79),
    "BESSELL_B": (4371.1, -0.09),
    "BESSELL_V": (5477.7, 0.02),
    "BESSELL_R": (6498.1, 0.21),
    "BESSELL_I": (8020.1, 0.45),
}
# Those that a grid has by default.
WITH_CURVES = [name for name, band in BANDS.items() if band.curve is not None]


@pytest.mark.parametrize("name", BANDS)
def test_pivots_and_zero_points_are_the_published_ones(name: str):
    pivot, offset = PUBLISHED[name]
    band = BANDS[name]
    assert band.pivot_angstrom == pytest.approx(pivot, rel=2e-3)
    assert band.ab_minus_vega == pytest.approx(offset, abs=0.02 if band.curve else 0.03)


@pytest.mark.shared
@pytest.mark.parametrize("name", WITH_CURVES)
def test_pivots_are_near_those_of_the_filter_curves(shared: pathlib.Path, name: str):
    band = BANDS[name]
    assert band.curve is not None
    lines = (shared / "filters" / band.curve).read_text().replace(",", " ").splitlines()
    rows = []
    for line in lines:
        words = line.replace("FILTER", "").split()
        try:
            rows.append([float(word) for word in words[:2]])
        except ValueError:
            continue
    wave, throughput = np.array([row for row in rows if len(row) == 2]).T
    # Photons: λ_p² = ∫ T λ dλ / ∫ T dλ / λ, whose steps are fine in these files.
    square = np.trapezoid(throughput * wave, wave) / np.trapezoid(throughput / wave, wave)
    assert np.sqrt(square) == pytest.approx(band.pivot_angstrom, rel=2e-3)


def test_a_letter_names_the_broad_band_of_its_wavelength():
    ranges = {"NUV": (2000, 3000), "U": (3000, 4000), "B": (4000, 5000), "V": (5000, 6000),
              "R": (6000, 7000), "I": (7000, 9000)}  # fmt: skip
    for band in BANDS.values():
        assert band.letter is not None
        low, high = ranges[band.letter]
        assert low < band.pivot_angstrom < high, band.name


def test_names_are_taken_apart():
    assert filter_of("WFC3_UVIS_F275W") == "F275W" and camera_of("WFC3_UVIS_F275W") == "WFC3_UVIS"
    assert filter_of("F275W") == "F275W" and camera_of("F275W") == ""
    band = BANDS["ACS_F435W"]
    assert (band.camera, band.filter, band.label) == ("ACS", "F435W", "F435W")


def test_bands_sort_from_blue_to_red_whatever_is_known_of_them():
    bands = ["mine", "NIRCAM_F200W", "WFC3_IR_F110W", "ACS_F814W", "ACS_F550M", "ACS_F435W",
             "WFC3_UVIS_F438W", "WFC3_UVIS_F225W"]  # fmt: skip
    assert sorted(bands, key=wavelength_order) == [
        "WFC3_UVIS_F225W",
        "WFC3_UVIS_F438W",
        "ACS_F435W",
        "ACS_F550M",
        "ACS_F814W",
        "WFC3_IR_F110W",
        "NIRCAM_F200W",
        "mine",
    ]


def test_bands_are_found_by_letter():
    bands = ("WFC3_UVIS_F336W", "ACS_F555W", "WFPC2_F606W", "mine")
    assert [letter_of(band) for band in bands] == ["U", "V", "V", None]
    assert of_letter(bands, "V", "U") == bands[:3] and of_letter(bands, "I") == ()
    assert find_band(bands, "V") == "ACS_F555W"
    with pytest.raises(ValueError, match=r"no F438W or .* among.*ACS_F555W"):
        find_band(bands, "B", "I")


def test_a_bare_filter_is_acs_where_it_can_be():
    assert full_name("F555W") == "ACS_F555W" and full_name("F438W") == "WFC3_UVIS_F438W"
    assert full_name("WFC3_UVIS_F555W") == "WFC3_UVIS_F555W" and full_name("F999W") == "F999W"


def test_a_table_is_read_by_the_narrowest_key():
    table = {"V": 1, "F606W": 2, "ACS_F606W": 3}
    assert look_up(table, "ACS_F606W") == 3 and look_up(table, "WFPC2_F606W") == 2
    assert look_up(table, "ACS_F555W") == 1 and look_up(table, "ACS_F814W") is None
    assert look_up({"V": 0.0}, "F555W") == 0.0


def test_zero_points_of_what_is_known():
    assert ab_minus_vega("ACS_F814W") == 0.427
    assert ab_minus_vega("F814W") is None and ab_minus_vega("ACS_F475W") is None


@pytest.mark.parametrize("pivot", [0.0, -1.0, float("nan"), float("inf"), 1e8])
def test_a_wavelength_is_positive(pivot: float):
    with pytest.raises(ValueError, match=r"mine.*pivot_angstrom"):
        Band("mine", None, pivot)


def test_a_band_of_ones_own_is_known_everywhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(BANDS, "_known", dict(BANDS))
    BANDS.add("WFC3_UVIS_F475W", Band("WFC3_UVIS_F475W", "B", 4773.1, -0.1))
    assert letter_of("WFC3_UVIS_F475W") == "B" and letter_of("ACS_F475W") == "B"
    # ACS F475W, known by its number alone, is laid at 4750 Å.
    order = sorted(["ACS_F475W", "WFC3_UVIS_F475W"], key=wavelength_order)
    assert order == ["ACS_F475W", "WFC3_UVIS_F475W"]
    with pytest.raises(ValueError, match="already"):
        BANDS.add("WFC3_UVIS_F475W", Band("WFC3_UVIS_F475W", "B", 4700.0))
