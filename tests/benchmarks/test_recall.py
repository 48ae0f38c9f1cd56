"""Curves, maps and LEGUS beside a network, on data whose answers are known."""

import dataclasses

import numpy as np
import pytest
from benchmarks.recall_curves import Scores, purity_of
from benchmarks.recall_legus import CUTS, Legus, beside, equal_completeness, left_of
from benchmarks.recall_maps import in_arms, maps_table, recall_figure, recall_maps

from starcensus.selection.finder import FinderSettings
from starcensus.selection.pipeline import Detections, LegusSettings
from starcensus.simulate import Frame, default_psfs, white_light
from starcensus.simulate.images.frame import BandImage

M83 = ("WFC3_UVIS_F336W", "WFC3_UVIS_F438W", "WFC3_UVIS_F814W")
NGC628 = ("WFC3_UVIS_F275W", "WFC3_UVIS_F336W", "ACS_F435W", "ACS_F555W", "ACS_F814W")


def frame_of(bands, side=64):
    rng = np.random.default_rng(3)
    images = (BandImage(b, rng.gamma(2.0, 0.1, (side, side)), 1000.0, 25.0) for b in bands)
    return Frame(tuple(images), 28.266, 0.04)


def test_a_cut_keeps_what_reaches_it():
    scores = Scores(np.array([0.9, 0.6, 0.6, 0.2]), np.array([0.7, 0.6]), 5)
    at = scores.at(np.array([0.1, 0.6, 0.65, 0.95]))
    assert at["n_found"].tolist() == [4, 3, 1, 0] and at["n_false"].tolist() == [2, 2, 1, 0]
    assert at["recall"].tolist() == [0.8, 0.6, 0.2, 0.0]
    assert at["false_per_found"].tolist() == [0.5, 2 / 3, 1.0, 0.0]
    assert at["purity"][:3].tolist() == [4 / 6, 3 / 5, 1 / 2] and np.isnan(at["purity"][3])
    rows = scores.rows((0.6, 0.95))
    assert rows[0]["purity"] == 0.6 and rows[1]["purity"] is None
    assert purity_of(0, 0) is None


def test_the_curve_is_that_of_two_distributions():
    n, m = 4000, 1000
    even = (np.arange(n) + 0.5) / n
    scores = Scores(even, ((np.arange(m) + 0.5) / m) ** 2, 2 * n)
    cuts = np.linspace(0.05, 0.95, 10)
    at = scores.at(cuts)
    # Of probabilities u and u² of even u, shares 1 - c and 1 - c^½ reach a cut c.
    found, false = n * (1 - cuts), m * (1 - np.sqrt(cuts))
    assert at["recall"] == pytest.approx(found / (2 * n), abs=1 / n)
    assert at["purity"] == pytest.approx(found / (found + false), abs=2e-3)
    table = scores.table()
    assert len(table) == len(np.unique([*scores.found, *scores.false]))
    assert table["n_found"][0] == n and table["n_false"][0] == m
    assert (np.diff(np.asarray(table["recall"])) <= 0).all()


def test_scores_are_of_what_the_other_cuts_let_pass():
    columns = {
        "p_cluster": np.array([0.9, 0.8, 0.7, 0.0]),
        "visibility": np.array([9.0, 1.0, 2.5, 0.0]),
        "distance_pix": np.array([0.5, 0.5, 5.0, np.inf]),
    }
    false = {"p_cluster": np.array([0.6, 0.5]), "visibility": np.array([1.0, 3.0])}
    near, far = (Scores.of(columns, false, FinderSettings(), reach) for reach in (3.0, 6.0))
    assert near.found.tolist() == [0.9] and far.found.tolist() == [0.9, 0.7]
    assert near.false.tolist() == [0.5] and near.n_true == 4


def test_the_cut_that_keeps_so_many_or_none():
    scores = Scores(np.array([0.2, 0.5, 0.5, 0.8, 0.9]), np.empty(0), 10)
    assert scores.cut_leaving(2) == 0.8 and scores.cut_leaving(5) == 0.2
    # Three cannot be kept: two are equal. Within a tenth of all the lower cut is near enough.
    assert scores.cut_leaving(3) is None and scores.cut_leaving(3, within=0.1) == 0.5
    assert scores.cut_leaving(6) is None
    sure = Scores(np.ones(5), np.empty(0), 10)
    assert sure.cut_leaving(5) == 1.0 and sure.cut_leaving(2) is None
    assert Scores(np.empty(0), np.empty(0), 10).cut_leaving(0) is None


def columns_of(stage, probability):
    n = len(stage)
    return {
        "legus_stage": np.array(stage),
        "p_cluster": np.array(probability),
        "visibility": np.full(n, 9.0),
        "arms": np.arange(n) / n,
        "distance_pix": np.where(np.array(probability) > 0, 1.0, np.inf),
        "log_mass": np.linspace(4.0, 5.0, n),
        "log_age": np.full(n, 7.0),
        "a_v": np.zeros(n),
        "log_r_eff_pc": np.full(n, 0.5),
        "mag_WFC3_UVIS_F438W": np.arange(n, dtype=float),
    }


def test_both_are_compared_where_they_find_equally_many():
    columns = columns_of([5, 5, 4, 2, -1, 5], [0.999, 0.97, 0.98, 0.96, 0.5, 0.0])
    false = {"p_cluster": np.array([0.99, 0.965, 0.3]), "visibility": np.array([4.0, 4.0, 9.0])}
    away = np.array([5, 5, 5, 3, 0])
    bright = np.array([True, True, True, False, False, False])
    found = beside(columns, false, away, bright, FinderSettings(), 3.0)
    assert found["n_found"] == 3 and found["recall"] == 0.5
    assert found["n_false"] == 3 and found["purity"] == 0.5
    assert found["network_recall"] == 4 / 6 and found["network_purity"] == 4 / 6
    assert found["recall_bright"] == 2 / 3 and found["network_recall_bright"] == 1.0
    left = dict(zip(("detected", *CUTS), (5, 5, 5, 4, 4, 3), strict=True))
    assert found["mocks_left"] == left == left_of(columns["legus_stage"])
    assert found["others_left"]["detected"] == 5 and found["others_left"][CUTS[-1]] == 3
    # Three of the network's are left from 0.97 up, and one of its false ones.
    equal = found["equal"]
    assert equal["network_min_class"] == 0.97 and equal["network_n_found"] == 3
    assert equal["network_n_false"] == 1 and equal["network_purity"] == 0.75
    groups = {"both": 2, "only_network": 2, "only_legus": 1, "neither": 1}
    assert {name: found[name]["n"] for name in groups} == groups
    assert found["only_network"]["log_mass"] == pytest.approx(4.5)
    assert found["only_legus"]["mag_WFC3_UVIS_F438W"] == 5.0
    assert list(found["only_network"]["legus_left"].values()) == [2, 2, 2, 1, 1, 0]
    assert found["only_network"]["n_visible"] == 2
    # The last three are in arms.
    assert found["recall_in_arms"] == 1 / 3 and found["recall_out_of_arms"] == 2 / 3
    assert found["network_recall_in_arms"] == 1 / 3 and found["network_recall_out_of_arms"] == 1.0
    columns["legus_stage"][:] = len(CUTS)
    nobody = beside(columns, false, away, bright, FinderSettings(), 3.0)
    neither = nobody["neither"]
    assert neither["n"] == neither["n_visible"] == 0 and neither["log_mass"] is None


def test_a_network_that_finds_too_few_is_said_not_to_reach():
    scores = Scores(np.array([0.99, 0.99, 0.6]), np.array([0.7]), 10)
    assert equal_completeness(scores, 5) == {
        "legus_n_found": 5,
        "network_most": 3,
        "network_surest": 2,
        "network_min_class": None,
        "network_n_found": None,
        "network_recall": None,
        "network_n_false": None,
        "network_false_per_found": None,
        "network_purity": None,
    }
    assert equal_completeness(scores, 1)["network_min_class"] is None


def test_legus_without_v_goes_by_the_band_nearest_to_it():
    frame = frame_of(M83)
    legus = Legus.for_field(frame, default_psfs(frame.bands, pixel_scale_arcsec=0.04))
    assert legus.reference == "WFC3_UVIS_F438W"
    assert legus.frame.bands == ("WFC3_UVIS_F336W", "WFC3_UVIS_F555W", "WFC3_UVIS_F814W")
    settings = legus.pipeline.settings
    assert legus.cuts["min_bands"] == 3
    assert legus.cuts["ci_limit"] == LegusSettings().ci_limit
    assert legus.cuts["max_absolute_v"] == LegusSettings().max_absolute_v
    assert set(settings.aperture_correction) == set(legus.frame.bands)
    # In another band's name its weight would be another.
    assert np.array_equal(white_light(legus.frame, settings.scale_factors), white_light(frame))
    assert not np.array_equal(white_light(legus.frame), white_light(frame))


def test_legus_with_v_is_as_it_is():
    frame = frame_of(NGC628)
    legus = Legus.for_field(frame, default_psfs(frame.bands, pixel_scale_arcsec=0.04))
    assert legus.reference == "ACS_F555W" and legus.frame.bands == frame.bands
    assert legus.pipeline.settings.min_bands == LegusSettings().min_bands
    assert np.array_equal(
        white_light(frame, legus.pipeline.settings.scale_factors), white_light(frame)
    )
    strange = dataclasses.replace(frame.image("ACS_F555W"), band="NIRCAM_F999W")
    with pytest.raises(ValueError, match="white light has no weight for NIRCAM_F999W"):
        Legus.for_field(Frame((strange,), 28.0, 0.04), {})


def test_a_mock_goes_by_the_best_source_near_it():
    def survey(frame):
        x = np.array([10.0, 12.0, 40.5, 30.0, 5.0])
        passed = np.array([[1, 1], [1, 0], [0, 1], [1, 1], [0, 0]], bool)
        cuts = {"first": passed[:, 0], "second": passed[:, 1]}
        none = np.full((5, 3), np.nan)
        return Detections(frame.bands, x, np.full(5, 20.0), none, none, np.full(5, np.nan), cuts)

    frame = frame_of(M83)
    mosaic = np.zeros((3, 64, 64), np.float32)
    centres = np.array([11.0, 40.0, 60.0]), np.full(3, 20.0)
    stage, away = Legus(survey, frame, M83[1]).look(mosaic, *centres, 3.0, 6.0)
    # The second cut does not count where the first is failed; 5 is no mock's, nor too far from one.
    assert stage.tolist() == [2, 0, -1]
    assert away.tolist() == [2]


def test_bins_hold_the_mocks_of_their_lower_edge_and_the_last_its_upper():
    columns = {
        "log_age": np.round(6.6 + 0.05 * np.array([0, 9, 10, 70, 70]), 10),
        "log_mass": np.array([3.5, 3.9, 4.2, 5.5, 5.2]),
        "a_v": np.round(0.1 * np.array([0, 5, 14, 30, 30]), 10),
        "arms": np.array([0.5, 0.49, 0.9, 0.1, 1.0]),
    }
    found = np.array([True, False, True, True, False])
    ranges = {"log_age": (6.6, 10.1), "log_mass": (3.5, 5.5), "a_v": (0.0, 3.0)}
    assert in_arms(columns).tolist() == [True, False, True, False, True]
    maps = recall_maps(columns, found, ranges)
    assert len(maps) == 9
    every, arms, between = maps[:3]
    assert (every.x, every.y, arms.where) == ("log_age", "log_mass", "arms")
    assert every.n.shape == (7, 4) and every.x_edges[-1] == 10.1
    assert every.n[0, 0] == 2 and every.share[0, 0] == 0.5
    assert every.n[1, 1] == 1 and every.n[6, 3] == 2
    assert np.isnan(every.share[3, 0])
    assert (arms.n + between.n == every.n).all() and arms.n.sum() == 3
    assert (arms.found + between.found == every.found).all() and every.found.sum() == 3
    a_v = maps[3]
    assert a_v.n.shape == (7, 6) and a_v.n[6, 5] == 2 and a_v.n[0, 1] == 1
    table = maps_table(maps)
    assert len(table) == 3 * (28 + 42 + 24)
    row = table[(table["where"] == "all") & (table["y"] == "log_mass") & (table["n"] == 2)][0]
    assert (row["x_low"], row["x_high"], row["y_low"], row["y_high"]) == (6.6, 7.1, 3.5, 4.0)
    assert row["found"] == 1 and row["share"] == 0.5


def test_a_range_of_no_whole_steps_ends_beyond():
    columns = {name: np.array([0.7]) for name in ("log_age", "log_mass", "a_v", "arms")}
    maps = recall_maps(columns, np.array([True]), dict.fromkeys(columns, (0.0, 0.7)))
    assert maps[0].x_edges.tolist() == [0.0, 0.5, 1.0] and maps[0].n[1, 1] == 1


def test_the_figure_names_shares_of_bins_with_mocks_enough():
    rng = np.random.default_rng(0)
    n = 400
    columns = {
        "log_age": rng.uniform(6.6, 10.1, n),
        "log_mass": rng.uniform(3.5, 5.5, n),
        "a_v": rng.uniform(0, 3, n),
        "arms": rng.random(n),
    }
    ranges = {"log_age": (6.6, 10.1), "log_mass": (3.5, 5.5), "a_v": (0.0, 3.0)}
    maps = recall_maps(columns, columns["log_mass"] > 4.0, ranges)
    figure = recall_figure(maps)
    panels = figure.axes[:9]
    assert [axes.get_title(loc="left") or axes.get_title() for axes in panels[:3]] == [
        "all mocks",
        "in spiral arms",
        "out of arms",
    ]
    for axes, each in zip(panels, maps, strict=True):
        assert len(axes.texts) == (each.n >= 10).sum()
    told = {text.get_text() for text in panels[0].texts}
    assert told == {"0", "100"}
