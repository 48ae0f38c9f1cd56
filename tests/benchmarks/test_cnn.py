"""Benchmarks of networks, with one whose answers are known: fresh mocks, and mocks in a galaxy."""

import dataclasses
import json

import numpy as np
import pytest
from astropy.table import Table
from benchmarks.cnn import bench_cnn, known_network, mocks_of
from benchmarks.recall import Rounds, bench_recall, recall_of

from starcensus.networks import ConvSettings, save_network
from starcensus.selection.finder import FinderSettings, Said, grid_of
from starcensus.simulate.stamps import StampSettings

SETTINGS = StampSettings(log_mass=(4.5, 5.5), log_age=(6.6, 7.6), a_v=(0.0, 0.5))
GRID = grid_of(SETTINGS)
CONV = ConvSettings(
    SETTINGS.bands,
    (0.01, 0.015, 0.03),
    stages=(((5, 2),), ((3, 2), (3, 2)), ((3, 2), (3, 2), (3, 2))),
    heads=tuple(GRID.heads().items()),
)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """It passes the flux of F438W on, finds clusters where that is high, and knows nothing else."""
    arrays = {name: np.zeros(shape) for name, shape in CONV.shapes().items()}
    arrays["stage_0.conv_0.weight"][0, 4, 2, 2] = 1.0
    for stage in ("stage_1.conv_0", "stage_1.conv_1", *(f"stage_2.conv_{k}" for k in range(3))):
        arrays[f"{stage}.weight"][0, 0, 1, 1] = 1.0
    arrays["heads.class.weight"][1, 0], arrays["heads.class.bias"][1] = 8.0, -28.0
    arrays["heads.visibility.bias"][12] = 9.0
    path = tmp_path_factory.mktemp("network") / "eye.json"
    prior = np.full(GRID.heads()["joint"], 1 / GRID.heads()["joint"])
    about = {
        "grid": GRID.as_dict(),
        "prior": prior.tolist(),
        "stamps": SETTINGS.describe(),
        "bank": {"seed": 1},
    }
    save_network(path, CONV, arrays, about)
    return path


def test_settings_of_mocks_are_read_from_a_network():
    assert mocks_of(SETTINGS.describe()).describe() == SETTINGS.describe()
    other = SETTINGS.describe() | {"z": 0.03}
    assert mocks_of(other).z == 0.03
    strange = SETTINGS.describe()
    strange["engine"] = {**strange["engine"], "grid": "sha256:0"}
    with pytest.raises(ValueError, match="mocks of other stars than the carried ones"):
        mocks_of(strange)


def test_a_network_is_not_judged_by_what_it_was_taught(network):
    assert known_network(network, 2)[0] == CONV
    with pytest.raises(ValueError, match="seed 1 is that of the network's own mocks"):
        known_network(network, 1)


def test_a_network_that_knows_nothing_is_as_good_as_its_prior(network):
    found = bench_cnn(5, 100, network, workers=1, side=512)
    assert found["n"] == 100 and found["all.n"] == 100
    assert found["surroundings.alone"] == pytest.approx(0.0, abs=1e-4)
    # The middle of the bins, for truths that are even over half of them: a quarter of the range.
    assert found["p95_mass_dex"] == pytest.approx(0.5, abs=0.1)
    assert found["median.p95_a_v_mag"] <= 0.3
    volume = np.prod([axis.n_bins * axis.width for axis in GRID.continuous])
    assert found["log_score"] == pytest.approx(-np.log(volume), abs=1e-4)


@pytest.fixture(scope="module")
def recalled(network, tmp_path_factory):
    """What `bench_recall` returns, and its folder."""
    pytest.importorskip("galsim")
    pytest.importorskip("sep")
    out = tmp_path_factory.mktemp("run") / "recall"
    return bench_recall(6, 1, network, side=512, stride=2, workers=1, out=out), out


def test_mocks_are_found_where_they_are(recalled):
    found, out = recalled
    json.dumps(found, allow_nan=False)
    assert found["n_mocks"] == 49
    assert found["recall_3_pix"] > 0.8 and found["recall_6_pix"] >= found["recall_3_pix"]
    assert found["offset_median_pix"] < 1.5
    table = Table.read(out / "mocks.ecsv")
    mocks = np.isfinite(np.asarray(table["log_mass"]))
    assert mocks.sum() == 49
    assert (np.asarray(table["distance_pix"])[mocks] <= 3).mean() == found["recall_3_pix"]
    # Each light that the network takes for a cluster is brighter than what it passes over.
    away = ~mocks & (np.asarray(table["p_cluster"]) >= 0.95)
    assert away.sum() == found["n_false"]


def test_the_curve_and_the_maps_are_of_the_same_mocks(recalled):
    found, out = recalled
    row = next(row for row in found["curve"] if row["min_class"] == 0.95)
    assert row["recall"] == found["recall_after_cuts"] and row["n_false"] == found["n_false"]
    curve, maps = Table.read(out / "curve.ecsv"), Table.read(out / "maps.ecsv")
    assert (np.diff(np.asarray(curve["recall"])) <= 0).all()
    of_all = np.asarray(maps["where"]) == "all"
    assert maps["n"][of_all].sum() == 3 * 49
    assert maps["found"][of_all].sum() == pytest.approx(3 * 49 * found["recall_after_cuts"])
    assert (out / "recall.png").stat().st_size > 0


def test_legus_looks_at_the_same_frames_with_the_band_nearest_to_v(recalled):
    found = recalled[0]["legus"]
    assert found["reference_band"] == "WFC3_UVIS_F438W" and found["min_bands"] == 3
    # Mocks of 3e4 M_sun and more, of 4 to 40 Myr, are far above its limits.
    assert found["mocks_left"]["detected"] > 40 and found["recall"] > 0.7
    assert found["n_bright"] == 49
    groups = ("both", "only_network", "only_legus", "neither")
    assert sum(found[name]["n"] for name in groups) == 49
    assert found["n_found"] == found["both"]["n"] + found["only_legus"]["n"]
    left = list(found["mocks_left"].values())
    assert left == sorted(left, reverse=True) and left[-1] == found["n_found"]


def test_shares_are_counted_as_they_are_said():
    columns = {
        "distance_pix": np.array([0.5, 2.0, 5.0, np.inf]),
        "dx_pix": np.array([0.3, 2.0, 3.0, np.nan]),
        "dy_pix": np.array([0.4, 0.0, 4.0, np.nan]),
        "p_cluster": np.array([0.99, 0.99, 0.5, 0.0]),
        "visibility": np.array([9.0, 9.0, 9.0, 0.0]),
        "sky": np.array([1.0, 2.0, 3.0, 4.0]),
        "log_r_eff_pc": np.zeros(4),
        "log_age": np.array([7.0, 7.0, 9.0, 7.0]),
        "a_v": np.zeros(4),
        "log_mass": np.full(4, 4.0),
        "arms": np.array([0.9, 0.1, 0.2, 0.6]),
    }
    heads = GRID.heads()
    nothing = Said(*(np.full((4, heads[n]), 1 / heads[n]) for n in ("joint", "size")), None, GRID)
    false = {"p_cluster": np.array([0.99, 0.2]), "visibility": np.array([5.0, 5.0])}
    made = Rounds(columns, false, np.zeros(0, int), nothing, 1.0)
    found = recall_of(made, FinderSettings())
    assert found["recall_3_pix"] == 0.5 and found["recall_6_pix"] == 0.75
    assert found["recall_after_cuts"] == 0.5
    assert found["recall_log_age_7_log_mass_4"] == pytest.approx(2 / 3)
    assert found["n_in_arms"] == 2
    assert found["recall_in_arms"] == 0.5 and found["recall_out_of_arms"] == 0.5
    assert found["recall_faint_sky"] == 1.0 and found["recall_bright_sky"] == 0.0
    assert found["n_false"] == 1 and found["false_per_found"] == 0.5
    # Of the two that count: 0.3, 2, 0.4 and 0.
    assert found["offset_sd_pix"] == pytest.approx(np.sqrt((0.09 + 4 + 0.16) / 4))
    strict = dataclasses.replace(FinderSettings(), min_visibility=20.0)
    assert recall_of(made, strict)["recall_after_cuts"] == 0.0
