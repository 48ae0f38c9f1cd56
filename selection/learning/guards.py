"""What networks may be learned from, and what a learned operator may be judged by.

Two mistakes give numbers that look well and are wrong. Networks that see less than the pilot by
which clusters were chosen learn the choice with the sky; and an operator that is judged by the
injections that it was trained on passes whatever it learned. Both are refused here.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, UInt64

from ..injection import InjectionTable
from .features import Inputs
from .validate import MIN_ROWS

# Of a table with a share f of the training rows, all are missed with probability (1 - f)^256.
_ROWS_KEPT = 256

Tables = InjectionTable | Mapping[str, InjectionTable]


class LearningError(ValueError):
    """Injections cannot teach, or judge, what is asked; the message says why and what to do."""


def named_tables(tables: Tables) -> dict[str, InjectionTable]:
    """Tables by name; a single one is "the table". Raises `LearningError` for none."""
    if isinstance(tables, InjectionTable):
        return {"the table": tables}
    if not tables:
        raise LearningError("there is no injection table; expected one or more")
    return dict(tables)


def row_marks(table: InjectionTable) -> UInt64[np.ndarray, "n"]:
    """A number for each injection, by what was put in and where, whatever table it is in.

    The smallest of a table's are a fair sample of its rows, and the same one however they are
    joined, ordered or selected.

    ```python
    len(np.unique(row_marks(table))) == len(table)
    ```
    """
    marks = np.zeros(len(table), np.uint64)
    for values in (table.log_mass, table.log_age, table.a_v, table.x, table.y):
        marks ^= np.ascontiguousarray(values, np.float64).view(np.uint64)
        # Steps of splitmix64, which spread every bit over all.
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            marks = (marks ^ (marks >> np.uint64(shift))) * np.uint64(factor)
        marks ^= marks >> np.uint64(31)
    return marks


@dataclasses.dataclass(frozen=True)
class TrainingMarks:
    """By what the injections of a training are known again.

    **Arguments:**

    - `joined`: checksum of all rows as they were trained on.
    - `tables`: checksum of each table.
    - `rows`: the smallest `row_marks`, up to 256, in order.

    ```python
    marks = TrainingMarks.of({"mine": table}, table)
    TrainingMarks.from_facts(marks.facts()) == marks
    ```
    """

    joined: str | None
    tables: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()

    @classmethod
    def of(cls, tables: Mapping[str, InjectionTable], joined: InjectionTable) -> "TrainingMarks":
        """Those of tables and of the one that they are joined into."""
        rows = np.sort(row_marks(joined))[:_ROWS_KEPT]
        sums = tuple(each.sha256() for each in tables.values())
        return cls(joined.sha256(), sums, tuple(int(mark) for mark in rows))

    def facts(self) -> dict[str, Any]:
        """For an operator's provenance, JSON-ready; `from_facts` reads it."""
        return {
            "injection_table_sha256": self.joined,
            "tables_sha256": list(self.tables),
            "rows": " ".join(f"{mark:016x}" for mark in self.rows),
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "TrainingMarks":
        """From an operator's provenance; one that says nothing gives marks of nothing."""
        return cls(
            facts.get("injection_table_sha256"),
            tuple(facts.get("tables_sha256", ())),
            tuple(int(mark, 16) for mark in facts.get("rows", "").split()),
        )

    def refuse(self, tables: Mapping[str, InjectionTable], operator: str) -> None:
        """Raises `LearningError` for tables, alone or joined, whole or in part, of the training."""
        seen = {*self.tables, self.joined}
        rows = np.array(self.rows, np.uint64)
        own = [
            name
            for name, each in tables.items()
            if each.sha256() in seen or np.isin(rows, row_marks(each)).any()
        ]
        if own or InjectionTable.concatenate(*tables.values()).sha256() in seen:
            raise LearningError(
                f"{operator} was trained on {', '.join(own) or 'these tables'}, or on a part of "
                "it; evaluate it on injections that it has not seen"
            )


def training_weight(
    tables: Mapping[str, InjectionTable], joined: InjectionTable, inputs: Inputs, weighted: bool
) -> Float[np.ndarray, "n"] | None:
    """Weights of the rows in the loss, with mean 1, that undo a choice of clusters; None for 1.

    Those that put injections where their plan says are among them for networks that do not see the
    sky. Networks that do see what places differ in: unweighted rows say more, and the average over
    the skies of the plan is the operator's (covariate shift: Shimodaira 2000, J. Stat. Plan.
    Inference 90, 227).

    **Arguments:**

    - `inputs`: inputs of the networks.
    - `weighted`: undo the choice.

    Raises `LearningError` for weights where nothing was chosen, and for a choice that has to be
    undone and is not: one by a pilot that sees what these networks do not.
    """
    if not weighted:
        for name, table in tables.items():
            _refuse_biased_choice(name, table, inputs)
        return None if inputs.background else joined.place_weight
    weight = pool_weight(dataclasses.replace(joined, place_weight=None))
    if weight is None:
        raise LearningError(
            "weighted is true, and no table has the column inclusion: its clusters were not "
            "chosen; leave weighted out"
        )
    if joined.place_weight is not None and not inputs.background:
        weight = weight * joined.place_weight
    return weight / weight.mean()


def pool_weight(table: InjectionTable) -> Float[np.ndarray, "n"] | None:
    """Weights `(n,)` under which the rows stand for a pool, each at the places of the plan.

    None for a table with neither `inclusion` nor `place_weight`. Rows that no choice was made of
    have 1. This is exact for one choice that left the others out of
    account. Of several rounds, clusters that an earlier one was unlikely to choose count up to
    twice.

    ```python
    pool_weight(table)  # None
    ```
    """
    if table.inclusion is None:
        return table.place_weight
    weight = 1 / np.where(np.isnan(table.inclusion), 1.0, table.inclusion)
    return weight if table.place_weight is None else weight * table.place_weight


def _refuse_biased_choice(name: str, table: InjectionTable, inputs: Inputs) -> None:
    pilots = [choice.get("inputs") for choice in table.choices]
    if None in pilots or (not pilots and table.inclusion is not None):
        raise LearningError(
            f"{name}: its clusters were chosen (column inclusion), and its meta does not say by "
            "which inputs; expected the key choice, as `starcensus inject` writes it. Networks "
            "that take the pilot's inputs need no weights, but whether these do is unknown: give "
            "the tables as they were written, or set weighted = true"
        )
    for pilot in (Inputs(**chosen) for chosen in pilots if chosen is not None):
        if pilot.kind != inputs.kind or pilot.r_eff > inputs.r_eff:
            raise LearningError(
                f"{name}: its clusters were chosen by a pilot of {_said(pilot)}, and these "
                f"networks take {_said(inputs)}; of clusters with the same inputs they are not a "
                "fair sample. Take the pilot's inputs, or set weighted = true"
            )


def _said(inputs: Inputs) -> str:
    of = "magnitudes" if inputs.kind == "photometric" else "mass, age and A_V"
    return f"{of} and r_eff" if inputs.r_eff else of


def refuse_few_held_out(table: InjectionTable, validation: float) -> None:
    """Raises `LearningError` where so few rows are held out that they cannot say anything."""
    n = int(table.catalogued.sum())
    held_out = round(validation * n) + round(validation * (len(table) - n))
    if held_out < MIN_ROWS:
        raise LearningError(
            f"validation = {validation:g} holds out {held_out} of {len(table)} injections; "
            f"expected {MIN_ROWS} or more, to check the probabilities with: inject more clusters "
            "or hold out a larger share"
        )
