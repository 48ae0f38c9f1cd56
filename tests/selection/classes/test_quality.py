"""Quality ratios and figures of merit against table 2 and section 5.5."""

import numpy as np
import pytest
from tests.selection.classes.whitmore2021 import COUNTS, METHODS, PRINTED_QR

from starcensus.selection.classes import agrees, eligible, figure_of_merit, quality_ratio

NAMES = list(COUNTS)
TABLE = np.array(list(COUNTS.values()))
IS_CLASS_4 = np.array([name[1] == "4" for name in NAMES])


@pytest.mark.parametrize(
    ("counts", "ratio", "decimals"),
    [((52, 34, 46, 45), 1.127, 3), ((84, 84, 82, 76), 0.419, 3), ((78, 239, 257, 327), 7.01, 2)],
)
def test_three_ratios(counts: tuple, ratio: float, decimals: int):
    assert round(float(quality_ratio(np.array([counts]))[0]), decimals) == ratio


def test_the_standard_deviation_is_that_of_a_sample():
    counts = np.array([52, 34, 46, 45])
    assert round(float(quality_ratio(counts[None])[0]), 1) == 1.1
    assert round(counts.std(ddof=0) / np.sqrt(counts.mean()), 1) == 1.0


def test_rows_with_a_printed_ratio_are_the_eligible_ones():
    chosen = eligible(TABLE, IS_CLASS_4)
    assert [n for n, yes in zip(NAMES, chosen, strict=True) if yes] == list(PRINTED_QR)
    assert chosen.sum() == 43
    # "More than 12", as the note of the table says, would be fewer rows.
    assert eligible(TABLE, IS_CLASS_4, least=13).sum() < 43
    assert eligible(TABLE).sum() > 43


@pytest.mark.parametrize("name", PRINTED_QR)
def test_every_printed_ratio_to_its_decimal(name: tuple[str, str, str]):
    assert round(float(quality_ratio(np.array([COUNTS[name]]))[0]), 1) == PRINTED_QR[name]


def test_28_rows_agree_and_15_do_not():
    ratio = quality_ratio(TABLE[eligible(TABLE, IS_CLASS_4)])
    assert (agrees(ratio).sum(), (~agrees(ratio)).sum()) == (28, 15)


def test_the_printed_ratio_decides():
    """27, 26, 36, 37: 1.034, printed as 1.0 and counted as good."""
    ratio = quality_ratio(np.array([[27, 26, 36, 37]]))
    assert round(float(ratio[0]), 3) == 1.034 and agrees(ratio).tolist() == [True]
    assert agrees(np.array([1.04, 1.06, np.nan])).tolist() == [True, False, False]


def test_figures_of_merit_of_four_methods():
    merit = figure_of_merit(TABLE, IS_CLASS_4)
    assert merit.n_rows == 43
    found = {
        method: (round(mean, 3), round(sd, 3))
        for method, mean, sd in zip(METHODS, merit.mean, merit.sd, strict=True)
    }
    assert found == {
        "PH": (1.011, 0.180),
        "LG": (0.971, 0.164),
        "RS": (1.002, 0.135),
        "VG": (1.016, 0.169),
    }
    # Section 5.5 prints two decimals of these.
    np.testing.assert_array_equal(np.round(merit.mean, 2), [1.01, 0.97, 1.00, 1.02])
    np.testing.assert_array_equal(np.round(merit.sd, 2), [0.18, 0.16, 0.14, 0.17])


def test_without_the_pooled_rows_the_figures_are_others():
    single = np.array([name[1] != "1+2" for name in NAMES])
    merit = figure_of_merit(TABLE[single], IS_CLASS_4[single])
    assert merit.n_rows == 25
    assert (np.round(merit.mean, 2) != [1.01, 0.97, 1.00, 1.02]).any()


def test_poisson_counts_have_a_ratio_near_1():
    """E[QR²] = 1 for the sample's variance, up to terms of 1/count."""
    counts = np.random.default_rng(1).poisson(200, (20_000, 4))
    assert np.mean(quality_ratio(counts) ** 2) == pytest.approx(1, abs=0.02)


def test_rows_of_zeros_have_no_ratio_and_do_not_count():
    assert np.isnan(quality_ratio(np.zeros((1, 4), int))).all()
    with pytest.raises(ValueError, match="0 of 1 rows have 12 objects or more"):
        figure_of_merit(np.zeros((1, 4), int))


@pytest.mark.parametrize("counts", [np.array([[5]]), np.array([[5, -1]])])
def test_counts_that_are_none_are_refused(counts: np.ndarray):
    for function in (quality_ratio, eligible):
        with pytest.raises(ValueError, match="expected two methods or more"):
            function(counts)
