"""From [selections.NAME] to an operator, and what is known of where it comes from."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.selection import SelectionTable
from starcensus.inference.identity import fingerprint
from starcensus.runs import Input
from starcensus.selection import (
    ACTS_ON_WORDS,
    AbstractSelection,
    MemberSelection,
    RecordedSelection,
    SurveyFacts,
    catalogue_differences,
    facts_of_catalogue,
    learned_facts,
    load_selection,
    n_directions,
    not_compared,
    operator_from_settings,
    selection_provenance,
    with_acts_on,
    with_outside,
)
from starcensus.selection.catalogue import Catalogue
from starcensus.theta import Box


def build_selection(
    table: SelectionTable, box: Box, sources: Sources, *, uncertain: bool = False
) -> AbstractSelection:
    """The operator of a table; `box` holds the bounds of the population.

    `uncertain`: whether the job counts an operator's uncertainty. Raises `ConfigError` where the
    table asks for it and the job does not.
    """
    if table.uncertainty and not uncertain:
        raise ConfigError(
            "uncertainty = true is for fits, which sample it along with the parameters; mocks, "
            "calibrations and comparisons of models take the operator as it is: leave it out"
        )
    operator = _bare(table, box, sources)
    if table.member is not None:
        operator = MemberSelection(operator, table.member)
    if table.acts_on is not None:
        operator = with_acts_on(operator, table.acts_on)
    if table.recorded_sigma is not None:
        operator = RecordedSelection(with_outside(operator, "zero"), table.recorded_sigma)
    return operator


def operator_inputs(tables: Mapping[str, SelectionTable], sources: Sources) -> dict[str, Input]:
    """The files of operators, with the images and tables that each was learned from."""
    return {
        f"selections.{name}": operator_input(str(table.path), sources)
        for name, table in tables.items()
        if table.path is not None
    }


def operator_digest(table: SelectionTable, box: Box, sources: Sources) -> str:
    """SHA-256 of the numbers of an operator, whatever files its options may name."""
    return fingerprint(_bare(table, box, sources))


def operator_input(path: str, sources: Sources) -> Input:
    """One file of an operator."""
    file = sources.file(path, "selection")
    return Input.of(file, _origin(selection_provenance(file), load_selection(file)))


def _origin(facts: Mapping[str, Any], operator: object) -> dict[str, Any]:
    """Galaxy, bands, distance, pipeline and tables of a learned operator, of those that it says."""
    found = {name: facts[name] for name in ("title", "version") if name in facts}
    tables = facts.get("inputs")
    found |= {"tables": tables} if tables else {}
    each = [facts_words(learned) for learned in learned_facts(operator)]
    return found | (each[0] if len(each) == 1 else {"learned_for": each} if each else {})


def facts_words(facts: SurveyFacts) -> dict[str, Any]:
    """Facts of a survey for people: the pipeline's settings one by one."""
    said = {k: v for k, v in facts.json().items() if k != "pipeline"}
    return said | ({"pipeline": facts.settings} if facts.pipeline is not None else {})


def operator_words(
    table: SelectionTable, selection: AbstractSelection, catalogue: object
) -> dict[str, Any]:
    """What a report says of an operator: what it acts on and why, and whether it is of the survey
    that made the catalogue; draws of posteriors do not say which did."""
    known = catalogue if isinstance(catalogue, Catalogue) else None
    here = SurveyFacts() if known is None else facts_of_catalogue(known)
    learned = learned_facts(selection)
    unknown = dict.fromkeys(name for facts in learned for name in not_compared(facts, here))
    return {
        "uncertainty": uncertainty_words(selection, table.uncertainty),
        "acts_on": selection.acts_on,
        "acts_on_said_by": "the operator" if table.acts_on is None else "the settings",
        "acts_on_words": ACTS_ON_WORDS[selection.acts_on],
        "learned_for": [facts_words(facts) for facts in learned],
        "differences": [
            {**dataclasses.asdict(each), "accepted": not each.is_warning}
            for each in (() if known is None else catalogue_differences(selection, known))
        ],
        "not_compared": list(unknown),
    }


def uncertainty_words(selection: AbstractSelection, counts: bool) -> str:
    """What a report says of an operator's uncertainty: whether it is known, and whether it counts.

    `counts`: whether the fit samples it.
    """
    if counts:
        return (
            "what the injections left open about the operator is fitted along with the parameters, "
            "as independent standard normal numbers by which it deviates"
        )
    if n_directions(selection):
        return (
            "the operator carries what its injections left open about it, and this fit leaves that "
            "out (uncertainty = false): the posterior is that under the operator's mean"
        )
    return "the operator does not say what is uncertain about it, and the fit takes it as it is"


def _bare(table: SelectionTable, box: Box, sources: Sources) -> AbstractSelection:
    options = dict(table.options)
    if table.path is not None:
        options["path"] = sources.file(table.path, "selection")
    if table.kind == "c4_physical" and "source" in options:
        options["source"] = str(sources.place(str(options["source"]), "selection"))
    try:
        return operator_from_settings(table.kind, options, box)
    except ValueError as error:
        if table.path is None or table.path in str(error):
            raise
        raise ConfigError(f"{table.path}: {error}") from error
