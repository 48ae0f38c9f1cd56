"""From [selections.NAME] to an operator, and what is known of where it comes from."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.selection import SelectionTable
from starcensus.runs import Input
from starcensus.selection import (
    AbstractSelection,
    ProductSelection,
    RecordedSelection,
    complete,
    operator_from_settings,
    selection_provenance,
    with_acts_on,
    with_outside,
)
from starcensus.selection.catalogue import Catalogue
from starcensus.theta import Box


def build_selection(
    table: SelectionTable, box: Box, sources: Sources, catalogue: Catalogue | None = None
) -> AbstractSelection:
    """The operator of a table.

    **Arguments:**

    - `box`: bounds of the population. `catalogue`: gives the errors of `recorded_limits`.
    """
    operator = _bare(table, box, sources)
    if table.acts_on is not None:
        operator = with_acts_on(operator, table.acts_on)
    if table.recorded_sigma is not None:
        operator = RecordedSelection(with_outside(operator, "zero"), table.recorded_sigma)
    if table.recorded_limits is not None:
        sigma = table.limits_sigma or _median_errors(catalogue)
        kept = RecordedSelection(complete(table.recorded_limits), sigma)
        operator = ProductSelection(operator, with_acts_on(kept, operator.acts_on))
    return operator


def operator_inputs(tables: Mapping[str, SelectionTable], sources: Sources) -> dict[str, Input]:
    """The files of operators, with the images and tables that each was learned from."""
    return {
        f"selections.{name}": operator_input(str(table.path), sources)
        for name, table in tables.items()
        if table.path is not None
    }


def operator_input(path: str, sources: Sources) -> Input:
    """One file of an operator."""
    file = sources.file(path, "selection")
    return Input.of(file, _origin(selection_provenance(file)))


def _origin(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Galaxy, bands, distance, pipeline and tables of a learned operator, of those that it says."""
    test: Mapping[str, Any] = facts.get("injections") or {}
    found = {name: facts[name] for name in ("title", "version", "tables_sha256") if name in facts}
    learned = facts.get("inputs")
    found |= {"tables": learned} if learned else {}
    for name in ("galaxy", "frame", "bands", "distance_modulus", "pipeline"):
        if name in test:
            found[name] = test[name]
    return found


def _bare(table: SelectionTable, box: Box, sources: Sources) -> AbstractSelection:
    options = dict(table.options)
    if table.path is not None:
        options["path"] = sources.file(table.path, "selection")
    try:
        return operator_from_settings(table.kind, options, box)
    except ValueError as error:
        if table.path is None or table.path in str(error):
            raise
        raise ConfigError(f"{table.path}: {error}") from error


def _median_errors(catalogue: Catalogue | None) -> tuple[float, float, float]:
    if catalogue is None:
        raise ConfigError("recorded_limits needs limits_sigma where there is no catalogue")
    half = (catalogue.theta_high - catalogue.theta_low) / 2
    medians = np.nanmedian(np.where(half > 0, half, np.nan), axis=0)
    if not np.isfinite(medians).all():
        raise ConfigError(
            f"{catalogue.source} has no errors to take for recorded_limits; give limits_sigma"
        )
    return (float(medians[0]), float(medians[1]), float(medians[2]))
