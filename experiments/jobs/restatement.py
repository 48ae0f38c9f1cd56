"""What an operator file says of itself, stated again: its numbers stay as they are."""

import dataclasses
import pathlib
from typing import Any

from starcensus.experiments.jobs._images import Survey
from starcensus.experiments.schema._base import ConfigError, load
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.survey import SurveyFile
from starcensus.selection import (
    AbstractSelection,
    BandFacts,
    SurveyFacts,
    learned_facts,
    load_selection,
    save_selection,
    selection_provenance,
    with_acts_on,
)
from starcensus.selection.learning import averaged_radii
from starcensus.selection.pipeline import facts_of_frame


def restate(
    path: pathlib.Path,
    out: pathlib.Path,
    *,
    survey: pathlib.Path | None = None,
    field: str | None = None,
    distance_modulus: float | None = None,
    bands: tuple[str, ...] = (),
    acts_on: Any = None,
) -> SurveyFacts:
    """Write an operator with facts of the survey that it was learned in; returns them.

    **Arguments:**

    - `path`, `out`: the operator file, and the one to write.
    - `survey`: survey file of its injections: its images give depth, PSFs and skies.
    - `field`, `distance_modulus`, `bands`: what neither the operator nor the images say.
    - `acts_on`: where it stands in the likelihood.

    Raises `ConfigError` for an operator that is made of others, and for images that are not those
    of its injections.
    """
    operator = load_selection(path)
    facts = _known(operator, path) if survey is None else _with_images(operator, survey, path)
    said: dict[str, Any] = {"field": field, "distance_modulus": distance_modulus}
    said["bands"] = tuple(BandFacts(name) for name in bands) or None
    facts = dataclasses.replace(facts, **{k: v for k, v in said.items() if v is not None})
    made = dataclasses.replace(operator, learned_for=facts)
    if acts_on is not None:
        if not isinstance(made, AbstractSelection):
            raise ConfigError(f"{path}: an operator of magnitudes stands in no likelihood")
        made = with_acts_on(made, acts_on)
    save_selection(made, out, selection_provenance(path) or None)
    return facts


def _known(operator: Any, path: pathlib.Path) -> SurveyFacts:
    """What an operator says already, with the radii that it averages over."""
    if "learned_for" not in {each.name for each in dataclasses.fields(operator)}:
        raise ConfigError(
            f"{path}: holds a {type(operator).__name__}, which carries no facts of its own; "
            "expected networks or a grid"
        )
    facts = next(iter(learned_facts(operator)), SurveyFacts())
    radii = averaged_radii(getattr(operator, "nuisance", None))
    return dataclasses.replace(facts, radius_pc=facts.radius_pc or radii)


def _with_images(operator: Any, survey: pathlib.Path, path: pathlib.Path) -> SurveyFacts:
    before = _known(operator, path)
    file, _ = load(survey, SurveyFile)
    made = Survey(file.model_copy(update={"library": None}), Sources.beside(survey, ()))
    facts = facts_of_frame(made.frame, made.templates.psfs, made.pipeline)
    if before.frame_sha256 is not None and before.frame_sha256 != facts.frame_sha256:
        raise ConfigError(
            f"{survey}: its images have the checksum {facts.frame_sha256}, those of the injections "
            f"behind {path} have {before.frame_sha256}; give the survey file of the injections"
        )
    kept = {name: getattr(before, name) for name in ("radius_pc", "tables_sha256")}
    kept |= {"sky": before.sky or facts.sky, "pipeline": before.pipeline or facts.pipeline}
    return dataclasses.replace(facts, **kept)
