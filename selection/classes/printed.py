"""Whether a printed table agrees with itself, before its cells serve as truth.

Each check names the cells that cannot stand beside the others; which one of them is wrong it cannot
say. Tables are mappings from the name of a row to its cells.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

Cells = Sequence[int | float]


class PrintedTableError(ValueError):
    """A printed table contradicts itself."""


@dataclasses.dataclass(frozen=True)
class Defect:
    """A cell that contradicts others.

    **Arguments:**

    - `row`, `column`: where it stands; `column` is empty for a whole row.
    - `why`: what it contradicts, with the numbers.
    """

    row: str
    column: str
    why: str

    def __str__(self) -> str:
        return f"{self.row}{', ' * bool(self.column)}{self.column}: {self.why}"


def wrong_sums(
    whole: Mapping[str, Cells], parts: Mapping[str, Sequence[Cells]], columns: Sequence[str]
) -> list[Defect]:
    """Cells of counts that are not the sum of their parts, such as class 1+2 of classes 1 and 2.

    **Arguments:**

    - `whole`: the sums, by row.
    - `parts`: of each row the rows that should add up to it.
    - `columns`: names of the columns.

    ```python
    wrong_sums({"box 3": (44, 40)}, {"box 3": [(29, 32), (15, 13)]}, ("PH", "LG"))
    ```
    """
    return [
        Defect(name, column, f"{cell:g} is printed, and its parts add up to {sum(own):g}")
        for name, cells in whole.items()
        for column, cell, *own in zip(columns, cells, *parts[name], strict=True)
        if cell != sum(own)
    ]


def wrong_means(
    means: Mapping[str, Cells],
    rows: Mapping[str, Sequence[Cells]],
    columns: Sequence[str],
    decimals: int = 2,
) -> list[Defect]:
    """Cells that no rounding makes the mean of the rows that they are the mean of.

    **Arguments:**

    - `means`: the printed means, by name.
    - `rows`: of each the rows that it is the mean of.
    - `columns`: names of the columns.
    - `decimals`: to which all were rounded; each number may be half of the last one off.

    ```python
    wrong_means({"NGC 1433": (0.74,)}, {"NGC 1433": [(0.80,), (0.68,), (0.68,)]}, ("C1+2",))
    ```
    """
    # A mean is off by half a unit as its rows are, and by half when it is printed itself.
    allowed = 10.0**-decimals * (1 + 1e-9)
    return [
        Defect(name, column, f"{cell:g} is printed, and the mean of its rows is {np.mean(own):.4g}")
        for name, cells in means.items()
        for column, cell, *own in zip(columns, cells, *rows[name], strict=True)
        if abs(cell - np.mean(own)) > allowed
    ]


def repeated_rows(rows: Mapping[str, Cells]) -> list[Defect]:
    """Rows that have another row's numbers in every cell.

    Two rows of many cells are hardly ever equal by chance; of few cells they may be.

    ```python
    repeated_rows({"LG-RS": (0.68, 0.56, 0.53), "LG-VG": (0.68, 0.56, 0.53)})
    ```
    """
    return [
        Defect(other, "", f"has the numbers of {one} in all {len(rows[one])} columns")
        for one, other in itertools.combinations(rows, 2)
        if tuple(rows[one]) == tuple(rows[other])
    ]


def doubtful_errors(
    errors: Mapping[str, Cells], columns: Sequence[str], share: float = 0.2
) -> list[Defect]:
    """Errors of fits that are 0, or far smaller than the others of their table.

    **Arguments:**

    - `errors`: by row.
    - `columns`: names of the columns.
    - `share`: of the table's median, below which an error is doubtful.

    ```python
    doubtful_errors({"C1+2": (0.12, 0.25, 0.0, 0.09)}, ("PH", "LG", "RS", "VG"))
    ```
    """
    middle = float(np.median([cell for cells in errors.values() for cell in cells]))
    return [
        Defect(name, column, f"an error of {cell:.2f} is printed, and the median is {middle:.3g}")
        for name, cells in errors.items()
        for column, cell in zip(columns, cells, strict=True)
        if cell < share * middle or cell == 0
    ]


def refuse_defects(defects: Iterable[Defect], table: str) -> None:
    """Raises `PrintedTableError`, which names each defect, if there is one.

    ```python
    refuse_defects(repeated_rows({"PH-LG": (0.8, 0.5), "PH-RS": (0.7, 0.6)}), "table 1")
    ```
    """
    found = list(defects)
    if found:
        raise PrintedTableError(
            f"{table} contradicts itself and is no truth to compare with; leave out these "
            f"{len(found)}, or find out which number is right: {'; '.join(map(str, found))}"
        )
