"""Cuts: inclusive boundaries, NaN never passes, and experiment tables are checked."""

import numpy as np
import pytest

from starcensus.selection.catalogue import (
    CUTS,
    Catalogue,
    CatalogueError,
    absolute_magnitude,
    apply_cuts,
    classes,
    concentration,
    legus_stage2,
    photometric_errors,
    theta_range,
    with_estimates,
)


@pytest.fixture
def cat():
    nan = np.nan
    theta = np.array([[3.0, 7.0, 0.1], [4.0, 8.0, 0.0], [nan, nan, nan], [5.0, 9.0, 2.0]])
    mags = np.array([[20.0, 24.0], [21.0, 23.98], [22.0, nan], [23.0, 23.0]])
    errors = np.array([[0.1, 0.3], [0.1, 0.31], [0.1, nan], [0.2, 0.2]])
    columns = {
        "class_mode": np.array([1, 2, 3, 4]),
        "concentration_index": np.array([1.4, 1.39, nan, 1.6]),
        "n_filters": np.array([4, 3, 0, 5]),
    }
    limits = np.full((4, 3), nan)
    return Catalogue(
        source="made",
        ids=np.arange(4),
        theta=theta,
        theta_low=limits,
        theta_high=limits,
        bands=("WFC3_UVIS_F275W", "ACS_F555W"),
        mags=mags,
        mag_errors=errors,
        columns=columns,
        meta={"distance_modulus": 29.98},
    )


@pytest.mark.parametrize(
    "cut, arguments, kept, n_nan",
    [
        (photometric_errors, {"n_bands": 2}, [0, 3], 1),
        (photometric_errors, {"n_bands": 1}, [0, 1, 2, 3], 0),
        (absolute_magnitude, {}, [1, 3], 1),
        (absolute_magnitude, {"band": "F555W", "limit": -5.9}, [0, 1, 3], 1),
        (absolute_magnitude, {"band": "WFC3_UVIS_F275W", "limit": -8.5}, [0, 1], 0),
        (concentration, {}, [0, 3], 1),
        (classes, {}, [0, 1, 2], 0),
        (classes, {"keep": (1, 4)}, [0, 3], 0),
        (with_estimates, {}, [0, 1, 3], 1),
        (with_estimates, {"min_filters": 4}, [0, 3], 1),
        (theta_range, {"log_mass": (3.0, 4.0)}, [0, 1], 1),
        (theta_range, {"log_age": (7.5, 9.0), "a_v": (0.0, 1.0)}, [1], 1),
    ],
)
def test_cuts(cat, cut, arguments, kept, n_nan):
    after = cut(cat, **arguments)
    np.testing.assert_array_equal(after.ids, kept)
    (step,) = after.steps
    assert (step.name, step.n_before, step.n_after) == (cut.__name__, 4, len(kept))
    assert step.reason.endswith(f"{n_nan} failed for NaN")
    assert len(cat) == 4 and cat.steps == ()


def test_steps_accumulate(cat):
    with pytest.raises(CatalogueError, match="n_bands = 4, expected 1 to 2"):
        legus_stage2(cat)
    cuts = [{"name": "photometric_errors", "n_bands": 1}, {"name": "classes", "keep": [1, 2]}]
    after = apply_cuts(cat, cuts)
    assert [(step.n_before, step.n_after) for step in after.steps] == [(4, 4), (4, 2)]
    assert apply_cuts(cat, []) is cat


@pytest.mark.parametrize(
    "table, message",
    [
        ({"name": "clases"}, "cut 1: name = 'clases', expected one of photometric_errors"),
        ({"keep": [1]}, "name = None"),
        ({"name": "classes", "kept": [1]}, "unknown argument kept; allowed: keep"),
        ({"name": "legus_stage2", "limit": -6}, "unknown argument limit; allowed: none"),
        ({"name": "classes", "keep": "one"}, "keep = 'one'"),
        ({"name": "classes", "keep": [7]}, "expected some of 0, 1, 2, 3, 4"),
        ({"name": "classes", "keep": []}, "expected some of"),
        ({"name": "theta_range"}, "needs one of log_mass, log_age, a_v"),
        ({"name": "theta_range", "log_age": [8.0, 7.0]}, "is empty"),
        ({"name": "theta_range", "log_age": [8.0]}, "log_age = "),
        ({"name": "absolute_magnitude", "band": "F814W"}, "matches 0 of the bands"),
        ({"name": "concentration", "minimum": "high"}, "minimum = 'high'"),
    ],
)
def test_bad_cut_tables(cat, table, message):
    with pytest.raises(CatalogueError, match=message):
        apply_cuts(cat, [table])


def test_missing_columns_are_named(cat):
    bare = Catalogue("made", cat.ids, cat.theta, cat.theta_low, cat.theta_high)
    for name, arguments in (("classes", {}), ("concentration", {}), ("photometric_errors", {})):
        with pytest.raises(CatalogueError, match="needs"):
            CUTS[name](bare, **arguments)
