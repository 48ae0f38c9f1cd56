"""Photometry: what it refuses, magnitudes and errors to and from fluxes, rows and bands."""

import numpy as np
import pytest

from starcensus.selection.catalogue import BandState, Photometry

BANDS = ("WFC3_UVIS_F275W", "ACS_F555W")
MEASURED, NOT_OBSERVED, NOT_DETECTED = range(3)
STATES = np.array([[MEASURED, MEASURED], [NOT_DETECTED, MEASURED], [NOT_OBSERVED, MEASURED]])


def seen(**changes) -> Photometry:
    given = {
        "mags": [[22.0, 23.0], [np.nan, 24.0], [np.nan, 21.0]],
        "mag_errors": [[0.1, 0.05], [np.nan, 0.2], [np.nan, 0.01]],
        "states": STATES.astype(np.uint8),
        "ci": np.array([1.5, 1.4, np.nan]),
        "distance_modulus": 29.98,
    }
    return Photometry.from_mags("mine", np.array(["a", "b", "c"]), BANDS, **(given | changes))


def test_magnitudes_come_back():
    made = seen()
    np.testing.assert_allclose(made.flux[0], [10**-8.8, 10**-9.2])
    np.testing.assert_allclose(made.mags, [[22.0, 23.0], [np.nan, 24.0], [np.nan, 21.0]])
    np.testing.assert_allclose(made.mag_errors[:, 1], [0.05, 0.2, 0.01])
    np.testing.assert_array_equal(made.measured, STATES == MEASURED)
    unknown = seen(states=None).states
    np.testing.assert_array_equal(unknown[:, 0], [MEASURED, BandState.UNKNOWN, BandState.UNKNOWN])


def test_a_flux_of_nothing_is_measured():
    flux = np.array([[-2e-10], [0.0]])
    error, states = np.full((2, 1), 1e-10), np.zeros((2, 1), np.uint8)
    made = Photometry("mine", np.array([1, 2]), BANDS[1:], flux, error, states)
    assert made.measured.all() and np.isnan(made.mags).all() and np.isnan(made.mag_errors).all()


def test_rows_and_bands():
    made = seen().take(np.array([2, 0]))
    assert made.ids.tolist() == ["c", "a"] and made.ci is not None
    np.testing.assert_array_equal(made.ci, [np.nan, 1.5])
    np.testing.assert_array_equal(made.states, STATES[[2, 0]])
    swapped = seen().select(BANDS[::-1])
    np.testing.assert_array_equal(swapped.states, STATES[:, ::-1])
    np.testing.assert_array_equal(swapped.flux, seen().flux[:, ::-1])
    assert swapped.distance_modulus == 29.98 and len(swapped) == 3
    with pytest.raises(ValueError, match="has no band F814W; it has WFC3_UVIS_F275W, ACS_F555W"):
        seen().select(("F814W",))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"states": np.zeros((3, 2), np.uint8)}, "2 clusters .* first is b: WFC3_UVIS_F275W is sa"),
        (
            {"states": np.full((3, 2), 2, np.uint8)},
            "first is a: WFC3_UVIS_F275W has a flux, and is",
        ),
        (
            {"states": np.full((3, 2), 4, np.uint8)},
            "states go up to 4; expected those of BandState",
        ),
        (
            {"mag_errors": [[0.1, 0.0], [0.1, 0.2], [0.1, 0.1]]},
            r"ACS_F555W is said .*error 0, state",
        ),
    ],
)
def test_what_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        seen(**changes)
