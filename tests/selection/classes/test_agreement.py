"""Agreement fractions, pooled classes and the paper's confusion matrix."""

import numpy as np
import pytest
from tests.selection.classes.whitmore2021 import (
    GALAXIES,
    MEAN_OF_MEANS,
    MEAN_OF_MEANS_ERROR,
    MEANS,
    PAIR_ROWS,
    RS_VG,
    UNCERTAINTIES,
)

from starcensus.selection.classes import (
    COLUMNS,
    Agreement,
    agreement,
    agreement_fractions,
    confusion,
    contingency,
    pool,
    spread,
)

# Half of the last printed decimal, for rows and means that were both rounded.
HALF = 0.005 * (1 + 1e-9)


def labels(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    one = rng.integers(1, 5, n)
    return one, np.where(rng.random(n) < 0.6, one, rng.integers(1, 5, n))


def test_counts_are_those_of_a_loop():
    one, other = labels(300, 1)
    expected = np.zeros((4, 4), int)
    for i, j in zip(one, other, strict=True):
        expected[i - 1, j - 1] += 1
    np.testing.assert_array_equal(contingency(one, other), expected)
    np.testing.assert_array_equal(contingency(["4.3", 1], [(3, 0), "4.10"])[[3, 0], [2, 3]], 1)


def test_a_fraction_is_the_mean_of_precision_and_recall():
    one, other = labels(500, 2)
    counts = contingency(one, other)
    for c, fraction in enumerate(agreement_fractions(counts), 1):
        both = ((one == c) & (other == c)).sum()
        precision, recall = both / (other == c).sum(), both / (one == c).sum()
        assert fraction == pytest.approx((precision + recall) / 2, abs=1e-12)
        assert fraction >= 2 * precision * recall / (precision + recall)


def test_eighty_of_100_and_160_agree_to_65_percent():
    counts = np.array([[80, 20], [80, 500]])
    assert agreement_fractions(counts)[0] == 0.65
    assert agreement_fractions(counts.T)[0] == 0.65


def test_pooling_forgives_exchanges_of_classes_1_and_2():
    counts = np.zeros((4, 4), int)
    counts[:2, :2] = [[50, 20], [10, 20]]
    fractions = Agreement(counts).fractions
    np.testing.assert_array_equal(np.round(fractions[:2], 3), [0.774, 0.583])
    assert Agreement(counts).clusters == 1.0
    one, other = labels(400, 3)
    merged = [np.where(each == 2, 1, each) for each in (one, other)]
    expected = contingency(*merged)[np.ix_([0, 2, 3], [0, 2, 3])]
    np.testing.assert_array_equal(pool(contingency(one, other)), expected)


@pytest.mark.parametrize("groups", [((1, 2), (3,)), ((1, 2), (2, 3), (4,)), ((1, 2, 3, 4, 5),)])
def test_groups_hold_each_class_once(groups: tuple):
    with pytest.raises(ValueError, match="each of the classes 1 to 4 once"):
        pool(np.eye(4, dtype=int), groups)


def test_the_matrix_of_the_exchanged_pair_is_the_transpose():
    one, other = labels(400, 4)
    matrix, back = confusion(contingency(one, other)), confusion(contingency(other, one))
    np.testing.assert_allclose(matrix, back.T, rtol=1e-15)
    np.testing.assert_allclose(agreement(one, other).row, agreement(other, one).row, rtol=1e-14)


def test_the_matrix_is_the_mean_of_one_and_of_the_other_reflected():
    one, other = labels(400, 5)
    classes = range(1, 5)
    # Rows of the first as truth, then of the second as truth, each normalised to 1.
    of_first = [[np.mean(other[one == i] == j) for j in classes] for i in classes]
    of_second = [[np.mean(one[other == j] == i) for i in classes] for j in classes]
    matrix = confusion(contingency(one, other))
    np.testing.assert_allclose(matrix, (np.array(of_first) + np.array(of_second).T) / 2)
    assert np.abs(matrix.sum(1) - 1).max() > 0.01


def test_a_class_that_one_of_two_does_not_give_has_no_fraction():
    pair = agreement([1, 1, 2, 3], [1, 1, 2, 4])
    assert pair.fractions[:2].tolist() == [1, 1] and np.isnan(pair.fractions[2:]).all()
    assert np.isnan(pair.mean) and pair.clusters == 1.0 and pair.n == 4


def test_other_objects_and_negative_counts_are_refused():
    with pytest.raises(ValueError, match="first has 2 labels and second 3"):
        contingency([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="go down to -1"):
        confusion(np.array([[1, -1], [0, 1]]))


def test_a_row_holds_the_columns_of_table_1():
    one, other = labels(400, 6)
    pair = agreement(one, other)
    assert COLUMNS == ("C1", "C2", "C3", "C4", "mean", "C1+2")
    np.testing.assert_array_equal(pair.row, [*pair.fractions, pair.fractions.mean(), pair.clusters])


@pytest.mark.parametrize("galaxy", GALAXIES)
def test_the_printed_means_of_table_1_are_those_of_four_classes(galaxy: str):
    for row in [*PAIR_ROWS[galaxy], RS_VG[galaxy]]:
        # 3351, RS-VG: 0.8275 is printed as 0.83, of fractions that were rounded themselves.
        assert abs(row[:4].mean() - row[4]) <= HALF


@pytest.mark.parametrize("galaxy", GALAXIES)
def test_uncertainties_of_a_galaxy_are_standard_deviations(galaxy: str):
    of_rows = spread(PAIR_ROWS[galaxy])
    columns = slice(0, 5) if galaxy == "1433" else slice(0, 6)
    # Rows and means were both rounded.
    assert np.abs(of_rows.mean - MEANS[galaxy])[columns].max() <= 2 * HALF
    assert np.abs(of_rows.sd - UNCERTAINTIES[galaxy])[columns].max() < 0.0105
    # Standard errors, which the note of the table says, are far off.
    assert np.abs(of_rows.sem - UNCERTAINTIES[galaxy])[columns].max() > 0.02


def test_class_2_of_ngc_628():
    column = spread(PAIR_ROWS["628"][:, 1])
    assert column.n == 5
    assert round(float(column.mean), 3) == 0.432 and round(float(column.sd), 3) == 0.080


def test_people_and_networks_agree_as_well_as_people_but_in_ngc_628():
    networks = {g: spread(PAIR_ROWS[g][1:, 4]).mean for g in GALAXIES}
    people = {g: PAIR_ROWS[g][0, 4] for g in GALAXIES}
    expected = {"628": 0.570, "1433": 0.618, "1566": 0.595, "3351": 0.665, "3627": 0.745}
    assert {g: round(float(networks[g]), 3) for g in GALAXIES} == pytest.approx(expected, abs=6e-4)
    assert people == {"628": 0.59, "1433": 0.60, "1566": 0.56, "3351": 0.64, "3627": 0.72}
    assert [g for g in GALAXIES if networks[g] < people[g]] == ["628"]


def test_uncertainties_of_the_mean_of_means_are_standard_errors():
    of_means = spread(np.stack([MEANS[galaxy] for galaxy in GALAXIES]))
    np.testing.assert_array_equal(np.round(of_means.mean, 2), MEAN_OF_MEANS)
    assert np.abs(of_means.sem - MEAN_OF_MEANS_ERROR).max() <= HALF
    assert np.abs(of_means.sd - MEAN_OF_MEANS_ERROR).max() > 0.04
    class_1, clusters = spread(np.array([0.80, 0.73, 0.80, 0.82, 0.84])), of_means
    assert round(float(class_1.mean), 3) == 0.798 and round(float(class_1.sem), 3) == 0.019
    assert round(clusters.mean[5], 3) == 0.822 and round(clusters.sem[5], 3) == 0.027


def test_one_value_has_no_scatter():
    with pytest.raises(ValueError, match="there are 1 values"):
        spread(np.array([0.5]))
