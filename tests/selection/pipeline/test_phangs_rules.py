"""Rules of the PHANGS-HST selection on numbers alone: routes, doubles, votes, corrections."""

import numpy as np
import pytest

from starcensus.selection.pipeline import aperture_corrections
from starcensus.selection.pipeline.phangs import (
    consensus,
    count_bracket,
    keep_brightest,
    mode_class,
    redundant,
    super_hd,
    total_corrections,
    well_measured,
    well_shaped,
)
from starcensus.simulate.images.frame import Frame
from starcensus.simulate.images.psf import optical_psf

FIVE = ("ACS_F275W", "ACS_F336W", "ACS_F438W", "ACS_F555W", "ACS_F814W")


def at(*values: float) -> np.ndarray:
    return np.array(values, float)


def test_super_hd_and_its_edges():
    m_v = at(-10.0, -9.99, -11, -11, -11, -11, np.nan, -11)
    mci_in = at(0, 0, -0.55, 0.45, -0.56, 0.46, 0, np.nan)
    expected = [True, False, True, True, False, False, False, False]
    assert super_hd(m_v, mci_in).tolist() == expected


@pytest.mark.parametrize(("mpc", "v"), [(9.9, 19.978), (8.3, 19.595), (18, 21.276), (10, 20.0)])
def test_the_limit_in_apparent_magnitude(mpc: float, v: float):
    modulus = 5 * np.log10(mpc * 1e5)
    m_v = at(v - 0.001, v + 0.001) - modulus
    assert super_hd(m_v, np.zeros(2)).tolist() == [True, False]


def test_three_bands_with_small_errors_v_among_them():
    errors = np.array([[0.1, 0.3, 0.3, 9.0], [0.1, 0.1, 9.0, 0.1], [0.1, 0.3, 0.31, 9.0]])
    assert well_measured(errors, 2).tolist() == [True, False, False]
    assert well_measured(errors, 1).tolist() == [True, True, False]
    assert well_measured(np.full((1, 3), np.nan), 0).tolist() == [False]


def test_quality_of_the_morphology_route():
    passed = well_shaped(
        at(10, 9.9, 50, 50, np.nan), at(0.3, 0.1, 0.31, 0.1, 0.1), at(1, 0.1, 0.1, 1.1, 0.1)
    )
    assert passed.tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(("gap", "kept"), [(2.5, False), (2.51, True)])
def test_doubles_are_within_2_5_pixels(gap: float, kept: bool):
    assert keep_brightest(at(7.3, 7.3 + gap), at(5, 5), at(2, 1)).tolist() == [True, kept]


def test_what_is_dropped_drops_nothing():
    x = at(0, 2, 4)
    assert keep_brightest(x, np.zeros(3), at(3, 2, 1)).tolist() == [True, False, True]
    assert keep_brightest(x, np.zeros(3), at(1, 3, 2)).tolist() == [False, True, False]


def test_doubles_are_those_of_the_walk_down_the_list():
    rng = np.random.default_rng(3)
    points, rate = rng.uniform(0, 40, (300, 2)), rng.random(300)
    kept: list[int] = []
    for i in np.argsort(-rate):
        if all(np.hypot(*(points[i] - points[k])) > 2.5 for k in kept):
            kept.append(i)
    found = keep_brightest(points[:, 0], points[:, 1], rate)
    assert set(np.flatnonzero(found)) == set(kept) and 50 < len(kept) < 250


def test_positions_and_rates_are_numbers():
    with pytest.raises(ValueError, match="leave out rows that hold NaN"):
        keep_brightest(at(0, 1), at(0, 0), at(1, np.nan))
    assert keep_brightest(at(), at(), at()).tolist() == []


def test_redundancy_does_not_cross_classes():
    x, y, rate = at(0, 4, 4, 4.5), np.zeros(4), at(4, 3, 2, 1)
    classes = np.array([1, 3, 2, 4])
    assert redundant(x, y, rate, classes).tolist() == [False, False, True, False]
    assert redundant(at(0, 5, 5.01), np.zeros(3), at(3, 2, 1), np.array([3, 3, 3])).tolist() == [
        False,
        True,
        False,
    ]


def test_a_consensus_needs_a_cluster_and_no_star():
    first, second = np.meshgrid([1, 2, 3, 4], [1, 2, 3, 4])
    agreed = consensus(first.ravel(), second.ravel()).reshape(4, 4)
    expected = [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert (agreed == np.array(expected)).all()


def test_the_mode_of_votes_and_its_ties():
    votes = np.array([[1, 1, 4], [1, 2, 4], [2, 2, 1], [3, 4, 3]])
    assert mode_class(votes).tolist() == [1, 4, 2, 3]
    assert mode_class(votes, prefer_high=False).tolist() == [1, 1, 2, 3]
    with pytest.raises(ValueError, match="votes are classes 1 to 4"):
        mode_class(np.array([[0, 1]]))


# Table 6, of NGC 628-C, 628-E, 1433, 1566 and all of 3351.
VGG, RESNET = at(1595, 474, 342, 1194, 687), at(1447, 499, 500, 1530, 857)
AGREED = at(1218, 417, 329, 1068, 629)
# Candidates for networks, of Tables 5 and 6.
ML_SAMPLE = at(7679, 2117, 1989, 8822, 3389)


def test_table_6_uncertainties_of_counts():
    mean, uncertainty = count_bracket(VGG, RESNET, AGREED)
    np.testing.assert_allclose(100 * uncertainty, [13.3, 8.8, 21.9, 18.3, 15.7], atol=0.06)
    np.testing.assert_allclose(mean, (VGG + RESNET + AGREED) / 3)
    assert (VGG.sum(), ML_SAMPLE.sum()) == (4292, 23_996)


def ballots(classes: np.ndarray, seed: int) -> np.ndarray:
    """Ten votes for each object, of which four are for any class."""
    votes = np.repeat(classes[:, None], 10, axis=1)
    rng = np.random.default_rng(seed)
    votes[:, 6:] = rng.integers(1, 5, (len(classes), 4))
    return rng.permuted(votes, axis=1)


# Table 6: Class 1, 2, 3 and all by eye, and the purity with Class 1 + 2 and the share of Class 3.
@pytest.mark.parametrize(
    ("counts", "total", "purity", "associations"),
    [
        ((260, 211, 167), 1039, 45.3, 16.1),
        ((51, 40, 14), 174, 52.3, 8.0),
        ((87, 90, 52), 436, 40.6, 11.9),
        ((377, 257, 114), 1442, 44.0, 7.9),
        ((113, 92, 68), 569, 36.0, 12.0),
        ((136, 162, 124), 1063, 28.0, 11.7),
    ],
)
def test_purities_of_table_6_from_votes(counts, total, purity, associations):
    given = np.repeat([1, 2, 3, 4], [*counts, total - sum(counts)])
    found = mode_class(ballots(given, 1))
    clusters = consensus(found, found)
    assert 100 * clusters.mean() == pytest.approx(purity, abs=0.06)
    assert 100 * (found == 3).mean() == pytest.approx(associations, abs=0.06)


# Table 7: in both, PHANGS only, LEGUS only; union, PHANGS, LEGUS.
@pytest.mark.parametrize(
    ("parts", "union", "each"),
    [
        ((438, 252, 239), 929, (690, 677)),
        ((124, 81, 45), 250, (205, 169)),
        ((48, 22, 56), 126, (70, 104)),
        ((505, 401, 364), 1270, (906, 869)),
        ((150, 78, 36), 264, (228, 186)),
        # By eye; the printed LEGUS total of NGC 1433, 88, is not the sum of its parts.
        ((258, 103, 96), 457, (361, 354)),
        ((65, 11, 12), 88, (76, 77)),
        ((62, 26, 42), 130, (88, 104)),
        ((374, 184, 222), 780, (558, 596)),
        ((138, 55, 48), 241, (193, 186)),
    ],
)
def test_unions_of_table_7_from_votes(parts, union, each):
    # What one survey alone calls a cluster, the other calls an association; stars are in neither.
    first = mode_class(ballots(np.repeat([1, 2, 3, 1, 4], [*parts, 30, 40]), 2))
    second = mode_class(ballots(np.repeat([2, 3, 1, 4, 3], [*parts, 30, 40]), 3))
    accepted = consensus(first, second)
    assert accepted.sum() == union
    of_each = [int((accepted & (classes < 3)).sum()) for classes in (first, second)]
    assert tuple(of_each) == each


def test_corrections_of_five_bands_in_either_convention():
    literal = total_corrections(FIVE, -0.70, "literal")
    np.testing.assert_allclose(list(literal.values()), [-0.51, -0.58, -0.67, -0.70, -0.58])
    signed = total_corrections(FIVE, -0.70)
    np.testing.assert_allclose(list(signed.values()), [-0.89, -0.82, -0.73, -0.70, -0.82])


def test_psfs_speak_for_the_signed_convention():
    # Of a cluster of 3 pc at 10 Mpc behind PSFs fitted to STScI's encircled energy.
    bands = [f"WFC3_UVIS_{name}" for name in ("F275W", "F555W", "F814W")]
    found = aperture_corrections({band: optical_psf(band) for band in bands}, 1.92)
    ultraviolet, v, infrared = (found[band] for band in bands)
    assert -0.85 < v < -0.55
    assert ultraviolet < v and infrared < v


def test_corrections_say_what_they_expect():
    with pytest.raises(ValueError, match=r"v_correction is 0\.7; expected mag to add"):
        total_corrections(FIVE, 0.7)
    with pytest.raises(ValueError, match="no offset of the aperture correction for ACS_F475W"):
        total_corrections(("ACS_F475W",), -0.7)
    with pytest.raises(ValueError, match="at least one band image; got none"):
        Frame((), 30.0)
