"""Cuts: inclusive boundaries, NaN never passes, and experiment tables are checked."""

import dataclasses

import numpy as np
import pytest

from starcensus.selection.catalogue import (
    CUTS,
    AbsoluteMagnitude,
    Catalogue,
    CatalogueError,
    Classes,
    ColumnCut,
    Concentration,
    LegusStage2,
    PhotometricErrors,
    ThetaRange,
    WithEstimates,
    apply_cuts,
    cuts_of,
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
        "region": np.array(["ycl", "outside", "", "map"]),
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
        (PhotometricErrors, {"n_bands": 2}, [0, 3], 1),
        (PhotometricErrors, {"n_bands": 1}, [0, 1, 2, 3], 0),
        (AbsoluteMagnitude, {}, [1, 3], 1),
        (AbsoluteMagnitude, {"band": "F555W", "limit": -5.9}, [0, 1, 3], 1),
        (AbsoluteMagnitude, {"band": "WFC3_UVIS_F275W", "limit": -8.5}, [0, 1], 0),
        (Concentration, {}, [0, 3], 1),
        (Classes, {"keep": (2, 3), "column": "n_filters"}, [1], 0),
        (ColumnCut, {"column": "n_filters", "low": 3.0, "high": 4.0}, [0, 1], 0),
        (ColumnCut, {"column": "ACS_F555W", "high": 23.98}, [1, 3], 1),
        (ColumnCut, {"column": "log_age", "low": 8.0}, [1, 3], 1),
        (ColumnCut, {"column": "class_mode", "keep": (1, 3)}, [0, 2], 0),
        (ColumnCut, {"column": "region", "keep": ("ycl", "map")}, [0, 3], 1),
        (Classes, {}, [0, 1, 2], 0),
        (Classes, {"keep": (1, 4)}, [0, 3], 0),
        (WithEstimates, {}, [0, 1, 3], 1),
        (WithEstimates, {"min_filters": 4}, [0, 3], 1),
        (ThetaRange, {"log_mass": (3.0, 4.0)}, [0, 1], 1),
        (ThetaRange, {"log_age": (7.5, 9.0), "a_v": (0.0, 1.0)}, [1], 1),
    ],
)
def test_cuts(cat, cut, arguments, kept, n_nan):
    after = cut(**arguments)(cat)
    np.testing.assert_array_equal(after.ids, kept)
    (step,) = after.steps
    assert (step.name, step.n_before, step.n_after) == (CUTS.name_of(cut), 4, len(kept))
    assert step.reason.endswith(f"{n_nan} failed for NaN")
    assert len(cat) == 4 and cat.steps == ()


def test_steps_accumulate(cat):
    with pytest.raises(CatalogueError, match="n_bands = 4, expected 1 to 2"):
        LegusStage2()(cat)
    cuts = [{"name": "photometric_errors", "n_bands": 1}, {"name": "classes", "keep": [1, 2]}]
    after = apply_cuts(cat, cuts_of(cuts))
    assert cuts_of(cuts) == (PhotometricErrors(n_bands=1), Classes((1, 2)))
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
        ({"name": "classes", "column": "region"}, "column 'region' holds words; expected numbers"),
        ({"name": "column", "column": "chi2", "high": 3}, "has class_mode, .*region.*ACS_F555W"),
        ({"name": "column", "column": "chi2"}, "column chi2: expected low, high or both, or keep"),
        ({"name": "theta_range"}, "needs one of log_mass, log_age, a_v"),
        ({"name": "theta_range", "log_age": [8.0, 7.0]}, "is empty"),
        ({"name": "theta_range", "log_age": [8.0]}, "log_age = "),
        ({"name": "absolute_magnitude", "band": "F814W"}, "matches 0 of the bands"),
        ({"name": "concentration", "minimum": "high"}, "minimum = 'high'"),
    ],
)
def test_bad_cut_tables(cat, table, message):
    with pytest.raises(CatalogueError, match=message):
        apply_cuts(cat, cuts_of([table]))


def test_missing_columns_are_named(cat):
    bare = Catalogue("made", cat.ids, cat.theta, cat.theta_low, cat.theta_high)
    for name, arguments in (("classes", {}), ("concentration", {}), ("photometric_errors", {})):
        with pytest.raises(CatalogueError, match="needs"):
            CUTS[name](**arguments)(bare)


@dataclasses.dataclass(frozen=True)
class Bright:
    limit: float = 22.0

    def __call__(self, catalogue: Catalogue) -> Catalogue:
        assert catalogue.mags is not None
        return catalogue.keep(catalogue.mags[:, 0] <= self.limit, "bright", "bright enough")


def test_a_cut_of_ones_own_has_a_name_in_files(cat):
    CUTS.register("bright_of_a_test")(Bright)
    after = apply_cuts(cat, cuts_of([{"name": "bright_of_a_test", "limit": 21}]))
    assert after.ids.tolist() == [0, 1] and after.steps[0].name == "bright"
    # A function does as well.
    assert len(apply_cuts(cat, [Bright(20.0), lambda each: each])) == 1
    with pytest.raises(CatalogueError, match="unknown argument faint; allowed: limit"):
        cuts_of([{"name": "bright_of_a_test", "faint": 3}])


def test_every_cut_on_theta_limits_the_sample(cat):
    """Whichever cut says it, a fit must know: else clusters that scatter across are forgotten."""
    by_column = apply_cuts(cat, [ColumnCut("log_age", low=8.0)])
    by_range = apply_cuts(cat, [ThetaRange(log_age=(8.0, 99.0))])
    np.testing.assert_array_equal(by_column.ids, by_range.ids)
    assert by_column.limits == {"log_age": (8.0, np.inf)}
    assert by_range.limits == {"log_age": (8.0, 99.0)}
    assert apply_cuts(cat, [ColumnCut("n_filters", low=3.0)]).limits == {}
    with pytest.raises(CatalogueError, match="picks single values of θ"):
        ColumnCut("log_age", keep=(8.0,))


def test_limits_that_rows_contradict_are_refused(cat):
    with pytest.raises(CatalogueError, match="rows lie beyond the limits of the sample, 8 to 9 in"):
        cat.limited({"log_age": (8.0, 9.0)})
    said = dataclasses.replace(cat, meta={"limits": {"log_age": (8.0, 9.0)}})
    with pytest.raises(CatalogueError, match="Cut the catalogue with theta_range"):
        said.check_limits()
