"""Rows that cannot be used: left out, counted and listed, as long as they are few."""

import dataclasses

import numpy as np

from ._base import Catalogue, CatalogueError, Step

# More bad rows than this share are no bad rows: the table is read wrongly, or damaged.
MAX_SHARE = 0.1
_SHOWN = 5


@dataclasses.dataclass
class BadRows:
    """What is wrong with the rows of one table; the first reason of each row counts.

    **Arguments:**

    - `source`: the file, for messages.
    - `word`: `line` or `row`, whichever its rows are counted by.
    """

    source: str
    word: str
    reasons: dict[int, str] = dataclasses.field(default_factory=dict)

    def add(self, number: int, reason: str) -> None:
        """Note what is wrong with a row, by its number in the file."""
        self.reasons.setdefault(number, reason)

    def check(self, n_rows: int) -> None:
        """Raises `CatalogueError` where bad rows are no exception among `n_rows`."""
        n = len(self.reasons)
        if not n or (n_rows >= _SHOWN and n <= max(1.0, MAX_SHARE * n_rows)):
            return
        number, reason = min(self.reasons.items())
        raise CatalogueError(
            f"{self.source}: {self.word} {number}, {reason} ({n} of {n_rows} rows are bad; up to "
            f"{MAX_SHARE:.0%} would be left out). The table is damaged, or read with the wrong "
            "layout, units or markers of missing values"
        )

    def leave_out(self, catalogue: Catalogue) -> Catalogue:
        """The catalogue without its bad rows, with a step that lists them; raises as `check`."""
        if not self.reasons:
            return catalogue
        keep = ~np.isin(catalogue.columns["row"], list(self.reasons))
        unread = len(set(self.reasons) - set(catalogue.columns["row"].tolist()))
        n_before = len(catalogue) + unread
        self.check(n_before)
        listed = [f"{self.word} {number}, {text}" for number, text in sorted(self.reasons.items())]
        shown = "; ".join(listed[:_SHOWN]) + f"; and {len(listed) - _SHOWN} more" * (
            len(listed) > _SHOWN
        )
        left = catalogue.keep(keep, "bad rows", f"{len(listed)} left out: {shown}")
        steps = (*left.steps[:-1], Step("bad rows", n_before, len(left), left.steps[-1].reason))
        return dataclasses.replace(left, steps=steps, meta={**left.meta, "bad_rows": tuple(listed)})
