"""Which cells of the printed tables contradict others."""

import numpy as np
import pytest
from tests.selection.classes.whitmore2021 import (
    BETA_ERROR,
    BOXES,
    COUNTS,
    FOUR_CLASSES,
    GALAXIES,
    GAMMA_ERROR,
    MEAN_OF_MEANS,
    MEANS,
    METHODS,
    PAIR_ROWS,
    PAIRS,
    RS_VG,
    SUBCLASS_COUNTS,
    TOTAL,
)

from starcensus.selection.classes import (
    COLUMNS,
    Defect,
    PrintedTableError,
    doubtful_errors,
    refuse_defects,
    repeated_rows,
    wrong_means,
    wrong_sums,
)


def cells(defects: list[Defect]) -> set[tuple[str, str]]:
    assert len({(d.row, d.column) for d in defects}) == len(defects)
    return {(d.row, d.column) for d in defects}


def rows_of_table_1() -> dict[str, tuple[float, ...]]:
    rows = {
        f"{galaxy} {pair}": tuple(row.tolist())
        for galaxy in GALAXIES
        for pair, row in zip(PAIRS, PAIR_ROWS[galaxy], strict=True)
    }
    return rows | {f"{galaxy} RS-VG": tuple(RS_VG[galaxy].tolist()) for galaxy in GALAXIES}


def test_one_row_of_table_1_repeats_another():
    [defect] = repeated_rows(rows_of_table_1())
    assert defect.row == "1433 LG-VG" and "the numbers of 1433 LG-RS in all 6 columns" in defect.why
    with pytest.raises(PrintedTableError, match=r"table 1 .* these 1, .* 1433 LG-VG: has the"):
        refuse_defects([defect], "table 1")


def test_one_mean_of_table_1_is_not_that_of_its_rows():
    means = {galaxy: MEANS[galaxy].tolist() for galaxy in GALAXIES}
    [defect] = wrong_means(means, {g: PAIR_ROWS[g].tolist() for g in GALAXIES}, COLUMNS)
    assert (defect.row, defect.column) == ("1433", "C1+2")
    assert defect.why == "0.74 is printed, and the mean of its rows is 0.726"
    of_means = {"all": MEAN_OF_MEANS.tolist()}
    assert wrong_means(of_means, {"all": list(means.values())}, COLUMNS) == []


def test_the_four_classes_of_table_1_have_the_printed_means():
    rows = rows_of_table_1()
    means = {name: row[4:5] for name, row in rows.items()}
    parts = {name: [(cell,) for cell in row[:4]] for name, row in rows.items()}
    assert wrong_means(means, parts, ("mean",)) == []


def table_2() -> list[Defect]:
    whole = {f"{g} C1+2 {b}": COUNTS[g, "1+2", b] for g in GALAXIES for b in BOXES}
    parts = {
        f"{g} C1+2 {b}": [COUNTS[g, "1", b], COUNTS[g, "2", b]] for g in GALAXIES for b in BOXES
    }
    return wrong_sums(whole, parts, METHODS)


def test_eight_cells_of_class_1_and_2_in_table_2_are_no_sums():
    """Eight boxes, in one of which two methods have each other's number."""
    defects = table_2()
    assert cells(defects) == {
        ("628 C1+2 B3", "LG"),
        ("1433 C1+2 B1", "LG"),
        ("1433 C1+2 B3", "LG"),
        ("1566 C1+2 B3", "LG"),
        ("3351 C1+2 B3", "LG"),
        ("1566 C1+2 B1", "VG"),
        ("3627 C1+2 B3", "VG"),
        ("3351 C1+2 B2", "LG"),
        ("3351 C1+2 B2", "RS"),
    }
    assert len({defect.row for defect in defects}) == 8
    numbers = {
        (d.row, d.column): [int(w.rstrip(",")) for w in d.why.split() if w.rstrip(",").isdigit()]
        for d in defects
    }
    assert numbers["628 C1+2 B3", "LG"] == [40, 45]
    assert numbers["1566 C1+2 B3", "LG"] == [138, 169]
    assert numbers["3627 C1+2 B3", "VG"] == [136, 135]
    with pytest.raises(PrintedTableError, match=r"these 9, .* 3351 C1\+2 B3, LG: 12 is printed"):
        refuse_defects(defects, "table 2")


def test_subclasses_of_table_3_add_up_in_two_galaxies_only():
    found = wrong_sums({"C4": FOUR_CLASSES[3]}, {"C4": SUBCLASS_COUNTS}, GALAXIES)
    assert cells(found) == {("C4", "628"), ("C4", "1433"), ("C4", "3351")}
    assert [d.why.split()[0] + " " + d.why.split()[-1] for d in found] == [
        "468 459",
        "291 292",
        "607 515",
    ]
    assert wrong_sums({"Total": TOTAL}, {"Total": FOUR_CLASSES}, GALAXIES) == []


def test_doubtful_errors_of_tables_4_and_5():
    beta = {f"{s} {i}": row for s, rows in BETA_ERROR.items() for i, row in enumerate(rows)}
    gamma = {f"{s} {i}": row for s, rows in GAMMA_ERROR.items() for i, row in enumerate(rows)}
    assert cells(doubtful_errors(beta, METHODS)) == {(f"C1+2 {i}", "RS") for i in range(3)}
    assert cells(doubtful_errors(gamma, METHODS)) == {("C1+2, 6.5-9 0", "LG")}
    with pytest.raises(PrintedTableError, match=r"an error of 0\.01 is printed"):
        refuse_defects(doubtful_errors(gamma, METHODS), "table 5")


def test_rounding_is_no_defect_and_more_than_rounding_is():
    rows = {"a": [(0.805,), (0.815,)]}
    assert wrong_means({"a": (0.82,)}, rows, ("x",)) == []
    assert len(wrong_means({"a": (0.821,)}, rows, ("x",))) == 1
    rng = np.random.default_rng(1)
    for _ in range(200):
        true = rng.random((5, 4))
        mean = {"a": np.round(true.mean(0), 2).tolist()}
        assert wrong_means(mean, {"a": np.round(true, 2).tolist()}, COLUMNS[:4]) == []


def test_what_agrees_with_itself_is_not_refused():
    sums = wrong_sums({"a": (3, 7)}, {"a": [(1, 3), (2, 4)]}, ("x", "y"))
    errors = doubtful_errors({"a": (0.1, 0.11, 0.09)}, ("x", "y", "z"))
    found = [*sums, *errors, *repeated_rows({"a": (1, 2), "b": (1, 3)})]
    assert found == []
    refuse_defects(found, "mine")


def test_columns_of_another_number_are_refused():
    with pytest.raises(ValueError):
        wrong_sums({"a": (3, 7)}, {"a": [(1,), (2,)]}, ("x", "y"))
