"""From a catalogue to photometry: what is known of each band is carried, what is not is asked."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from starcensus.selection.catalogue import (
    BandState,
    Catalogue,
    CatalogueError,
    Classes,
    Step,
    photometry_of,
    read_legus,
    read_literature,
)

BANDS = ("WFC3_UVIS_F275W", "ACS_F435W", "ACS_F555W")
MEASURED, NOT_OBSERVED, NOT_DETECTED, UNKNOWN = range(4)


def made(**changes: Any) -> Catalogue:
    theta = np.tile([4.0, 7.0, 0.1], (4, 1))
    states = np.zeros((4, 3), np.uint8)
    states[1, 0], states[2, 0], states[3] = NOT_OBSERVED, NOT_DETECTED, [2, 2, 0]
    mags = np.where(states == MEASURED, [22.0, 23.0, 22.5], np.nan)
    cat = Catalogue(
        "mine.fits",
        np.array(["a", "b", "c", "d"]),
        theta,
        theta - 0.1,
        theta + 0.1,
        bands=BANDS,
        mags=mags,
        mag_errors=np.where(np.isnan(mags), np.nan, 0.1),
        band_states=states,
        columns={"concentration_index": np.array([1.5, 1.6, 1.4, 1.7])},
        steps=(Step("classes", 9, 4, "class in 1, 2"),),
        meta={"distance_modulus": 29.98},
    )
    return dataclasses.replace(cat, **changes)


def with_unknown() -> Catalogue:
    states = np.array(made().band_states)
    states[2, 0] = UNKNOWN
    return made(band_states=states)


def test_what_is_known_is_carried():
    cat = made()
    found = photometry_of(cat)
    assert (found.source, found.bands, found.distance_modulus) == ("mine.fits", BANDS, 29.98)
    np.testing.assert_array_equal(found.states, cat.band_states)
    np.testing.assert_array_equal(found.ids, cat.ids)
    np.testing.assert_allclose(found.mags, cat.mags)
    np.testing.assert_allclose(found.mag_errors, cat.mag_errors)
    assert found.ci is not None
    np.testing.assert_array_equal(found.ci, [1.5, 1.6, 1.4, 1.7])
    assert found.steps[0] == cat.steps[0] and found.steps[1].name == "photometry"
    assert "1 in WFC3_UVIS_F275W not observed" in found.steps[1].reason
    assert "2 in WFC3_UVIS_F275W, 1 in ACS_F435W not detected" in found.steps[1].reason
    bare = photometry_of(made(columns={}, meta={}))
    assert bare.ci is None and bare.distance_modulus is None


def test_bands_in_another_order():
    found = photometry_of(made(), (BANDS[2], BANDS[0]))
    assert found.bands == (BANDS[2], BANDS[0])
    np.testing.assert_array_equal(found.states[:, 1], [MEASURED, NOT_OBSERVED, 2, 2])
    np.testing.assert_allclose(found.mags[0], [22.5, 22.0])
    for bands in (("F555W",), (BANDS[0], BANDS[0]), ()):
        with pytest.raises(CatalogueError, match="expected different ones, some of WFC3_UVIS"):
            photometry_of(made(), bands)


def test_fluxes_of_the_table_go_first():
    """One below 0, which no magnitude holds."""
    cat = made()
    assert cat.mags is not None and cat.mag_errors is not None
    fluxes = 10 ** (-0.4 * cat.mags)
    errors = fluxes * cat.mag_errors
    fluxes[0, 0], errors[0, 0] = -2e-10, 1.5e-10
    mags = cat.mags.copy()
    mags[0, 0] = np.nan
    found = photometry_of(dataclasses.replace(cat, mags=mags, fluxes=fluxes, flux_errors=errors))
    np.testing.assert_array_equal(found.flux, fluxes)
    np.testing.assert_array_equal(found.flux_error, errors)
    assert found.measured[0, 0]


def test_what_is_unknown_is_asked_about():
    asked = (
        r"mine.fits: row 3 \(id c\), WFC3_UVIS_F275W: has no measurement.*so have 1 of 4 clusters "
        r"\(1 in WFC3_UVIS_F275W\).*unknown = \"not observed\" or unknown = \"not detected\""
    )
    with pytest.raises(CatalogueError, match=asked):
        photometry_of(with_unknown())
    assert photometry_of(with_unknown(), BANDS[1:]).bands == BANDS[1:]
    for word, state in (("not observed", NOT_OBSERVED), ("not detected", NOT_DETECTED)):
        cat = with_unknown()
        found = photometry_of(cat, unknown=word)  # pyright: ignore[reportArgumentType]
        expected = np.array(cat.band_states)
        expected[2, 0] = state
        np.testing.assert_array_equal(found.states, expected)
        assert f"1 in WFC3_UVIS_F275W unknown, taken as {word}" in found.steps[-1].reason
        # The catalogue is not changed.
        assert cat.band_states is not None and cat.band_states[2, 0] == UNKNOWN


def test_a_catalogue_without_states_knows_nothing():
    with pytest.raises(CatalogueError, match=r"row 2 \(id b\), WFC3_UVIS_F275W: has no measureme"):
        photometry_of(made(band_states=None))


def test_too_few_bands_are_cut():
    found = photometry_of(made(), min_bands=3)
    assert found.ids.tolist() == ["a"]
    assert (found.steps[-1].n_before, found.steps[-1].n_after) == (4, 1)
    assert "3 clusters with fewer than 3 measured bands left out" in found.steps[-1].reason
    # Nobody asks about a cluster that is left out.
    assert photometry_of(with_unknown(), min_bands=3).ids.tolist() == ["a"]
    assert len(photometry_of(made(), BANDS[:1])) == 1
    with pytest.raises(CatalogueError, match="min_bands = 4, expected 1 to 3"):
        photometry_of(made(), min_bands=4)
    with pytest.raises(CatalogueError, match="none of 2 clusters is measured in 1 of the bands WF"):
        photometry_of(made().keep(np.arange(4) % 2 == 1, "odd", "odd"), BANDS[:1])


@pytest.mark.parametrize("error", [0.0, np.nan])
def test_errors_that_are_missing(error):
    errors = np.array(made().mag_errors)
    errors[2, 1] = error
    said = rf"row 3 \(id c\), ACS_F435W: measured with error {error:g} .*1 in ACS_F435W such"
    with pytest.raises(CatalogueError, match=said):
        photometry_of(made(mag_errors=errors))
    with pytest.raises(CatalogueError, match="expected a positive error"):
        photometry_of(made(mag_errors=None))


def test_catalogues_without_magnitudes():
    bare = made(mags=None, mag_errors=None, band_states=None, bands=())
    with pytest.raises(CatalogueError, match="has no magnitudes; expected them in at least one"):
        photometry_of(bare)
    told = dataclasses.replace(bare, meta={"no_magnitudes": "its bands are not known"})
    with pytest.raises(CatalogueError, match="the table does, but its bands are not known"):
        photometry_of(told)


def test_distances_that_cannot_be():
    with pytest.raises(
        CatalogueError, match=r"modulus is -29.98 mag.* its sign is wrong.*say 29.98"
    ):
        photometry_of(made(meta={"distance_modulus": -29.98}))


@pytest.mark.shared
def test_real_tables(shared):
    """NGC 628-c's clusters are known in all bands, three of its other sources are not; M31's
    table says neither why a magnitude is missing nor how well the others are known."""
    legus = shared / "catalogues" / "legus"
    name = "hlsp_legus_hst_acs-wfc3_ngc628-c_multiband_v1_padagb-mwext-avgapcor.tab"
    cat = read_legus(legus / name)
    found = photometry_of(Classes()(cat))
    assert len(found) == 1017 and (found.states == BandState.NOT_DETECTED).sum() == 13
    with pytest.raises(CatalogueError, match="so have 3 of 3080 clusters"):
        photometry_of(cat)
    m31 = read_literature(shared / "catalogues" / "literature" / "fouesneau2014_m31.fits")
    with pytest.raises(CatalogueError, match="has no measurement, and the catalogue does not say"):
        photometry_of(m31)
    with pytest.raises(CatalogueError, match="measured with error nan"):
        photometry_of(m31, unknown="not observed")
