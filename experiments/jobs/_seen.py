"""From [catalogue], [photometry] and [observation] to what a survey recorded, and its model."""

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np

from starcensus.bands import filter_of
from starcensus.experiments.jobs.fit import catalogue_inputs, read
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.fit import CatalogueTable
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.photometry import (
    LegusCuts,
    ObservationTable,
    PhotometryTable,
)
from starcensus.runs import Input
from starcensus.selection import (
    Difference,
    PhotometricNetwork,
    differences,
    facts_of_catalogue,
    import_c4,
    learned_facts,
    load_selection,
    refuse_other_survey,
)
from starcensus.selection.catalogue import (
    BandState,
    Catalogue,
    Photometry,
    Step,
    close_pairs,
    photometry_of,
    vega_or_ab,
)
from starcensus.selection.catalogue.close_pairs import among, words_of_pairs
from starcensus.selection.observation import (
    AbstractObservation,
    GaussianObservation,
    MeasuredCuts,
    NoiseCurves,
    legus_cuts,
    load_observation,
)
from starcensus.selection.operators.facts import LIMITS
from starcensus.selection.operators.marginal import Photometric

C4 = "c4_photometric"
# Cuts that ask for more the larger they are, and what asks for nothing.
_FROM = {"ci_limit": -np.inf, "min_bands": 1.0}
# Absolute magnitudes among which half of the clusters of any catalogue lie.
_CLUSTERS = (5.0, -20.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """What was recorded, and by what survey.

    **Arguments:**

    - `catalogue`: after its cuts. `data`: its photometry, after the survey's own.
    - `observation`: the survey. `differences`: of what it was learned in, and the catalogue.
    - `warnings`: sentences by the name of the doubt.
    """

    catalogue: Catalogue
    data: Photometry
    observation: AbstractObservation
    differences: tuple[Difference, ...]
    warnings: dict[str, str]


def read_seen(
    catalogue: CatalogueTable,
    photometry: PhotometryTable,
    observation: ObservationTable,
    sources: Sources,
    *,
    counted: bool = True,
) -> Seen:
    """Read all; raises `ValueError` for data that the survey cannot have recorded, and for an
    uncertainty that the observation model does not know.

    `counted`: whether how many clusters are catalogued tells anything, so that every cut must be
    one that the observation model makes.
    """
    read_in, data = photometry_of_tables(catalogue, photometry, sources)
    doubt = vega_or_ab(data)
    model = build_observation(observation, data, sources)
    if observation.uncertainty and not model.halves:
        raise ConfigError(
            f"observation.uncertainty = true, and the model of {observation.path} does not know "
            "its own: learn it with n_halves = 5 or more in [train], or leave uncertainty out"
        )
    _check_brightness(data, model.distance_modulus)
    found = _of_another_survey(read_in, model, observation.accept)
    if counted:
        found += refuse_unmodelled(read_in, data.steps, model, observation.accept)
    data = passing(model, data)
    model.check(data)
    if counted:
        model.check_expected(data)
    warnings = {} if doubt is None else {"vega_or_ab": doubt}
    if pairs := among(close_pairs(read_in), data.ids):
        warnings["close_pairs"] = words_of_pairs(pairs)
    return Seen(read_in, data, model, found, warnings)


def photometry_of_tables(
    catalogue: CatalogueTable, photometry: PhotometryTable, sources: Sources
) -> tuple[Catalogue, Photometry]:
    """The catalogue, and the magnitudes that a file takes of it."""
    read_in = read(catalogue, sources)
    if not isinstance(read_in, Catalogue):
        raise ConfigError(
            f"catalogue.format is {catalogue.format!r}; expected a table of magnitudes"
        )
    data = photometry_of(
        read_in, photometry.bands, unknown=photometry.unknown, min_bands=photometry.min_bands
    )
    return read_in, whole(data) if photometry.whole else data


def _of_another_survey(
    catalogue: Catalogue, model: AbstractObservation, accept: Collection[str]
) -> tuple[Difference, ...]:
    here = facts_of_catalogue(catalogue)
    each = [d for facts in learned_facts(model) for d in differences(facts, here)]
    found = tuple(dict.fromkeys(each))
    refuse_other_survey(found, accept, catalogue.source)
    return found


def refuse_unmodelled(
    catalogue: Catalogue,
    steps: tuple[Step, ...],
    model: AbstractObservation,
    accept: Collection[str] = (),
) -> tuple[Difference, ...]:
    """Cuts on what was measured that the model of the survey does not make, if they are accepted.

    `steps`: of the catalogue and its photometry. Raises `ConfigError` for such cuts otherwise: the
    selection of a fit of light is the model's alone, and clusters that something else has cut would
    be missing from the catalogue and not from the expected number. Steps say what they cut by the
    names of `LIMITS`, or as limits of a column; classes and what else is in no measured magnitude
    are not looked at.
    """
    known, said = model.limits, []
    for name, value in (pair for step in steps for pair in step.limits if pair[0] in LIMITS):
        own = known.get(name, _FROM.get(name, np.inf))
        more = value > own if name in _FROM else value < own
        # 0.3 mag are an S/N of 3.6, about.
        if more and not np.isclose(value, own, rtol=0.01 if name == "max_error" else 1e-6):
            theirs = LIMITS[name].format(own) if name in known else "no such cut"
            said.append(f"{LIMITS[name].format(value)} (the observation model has {theirs})")
    said += [f"limits of recorded {axis}" for axis in catalogue.limits]
    said += [f"{step.name} ({step.reason})" for step in steps if step.on_measured]
    if not said:
        return ()
    words = (
        f"the catalogue was cut by {'; '.join(dict.fromkeys(said))}: the likelihood of light "
        "counts the cuts of its observation model alone, and expects what these have taken"
    )
    if "cuts" not in accept:
        raise ConfigError(
            f"{catalogue.source}: {words}. State them in observation.cuts instead (or in the "
            "pipeline that the model is learned from), leave them out, or accept that: "
            'observation.accept = ["cuts"]'
        )
    return (Difference("cuts", words),)


def seen_inputs(
    catalogue: CatalogueTable, observation: ObservationTable, sources: Sources
) -> dict[str, Input]:
    """The files of catalogue, model and operator."""
    found = catalogue_inputs(catalogue, sources)
    if observation.path is not None:
        found["observation"] = Input.of(sources.file(observation.path, "observation"))
    if observation.selection not in (None, C4):
        path = sources.file(str(observation.selection), "observation.selection")
        found["observation.selection"] = Input.of(path)
    return found


def whole(data: Photometry) -> Photometry:
    """The clusters that lie where every band was observed."""
    kept = (data.states != BandState.NOT_OBSERVED).all(axis=1)
    return _cut(data, kept, "whole", "every band was observed there; the survey is that area")


def build_observation(
    table: ObservationTable, data: Photometry, sources: Sources
) -> AbstractObservation:
    """The model of a table; the noise of kind `gaussian` is that of the catalogue's own errors."""
    if table.path is not None:
        return load_observation(sources.file(table.path, "observation"))
    modulus = data.distance_modulus if table.distance_modulus is None else table.distance_modulus
    if modulus is None:
        raise ConfigError(
            f"{data.source}: says no distance modulus; expected catalogue.options."
            "distance_modulus, or observation.distance_modulus, m - M in mag"
        )
    cuts = MeasuredCuts() if table.cuts is None else table.cuts
    if isinstance(cuts, LegusCuts):
        cuts = legus_cuts(data.bands, cuts.max_absolute_v)
    return GaussianObservation(
        data.bands,
        modulus,
        NoiseCurves.of(data),
        floor=table.floor,
        common=table.common,
        cuts=cuts,
        coverage=table.coverage,
        selection=_operator(table.selection, data.bands, sources),
    )


def _check_brightness(data: Photometry, modulus: float) -> None:
    """Raises `ConfigError` for magnitudes that are none, or are at another distance."""
    faint, bright = _CLUSTERS
    for k, band in enumerate(data.bands):
        mags = data.mags[:, k][np.isfinite(data.mags[:, k])]
        middle = float(np.median(mags)) if len(mags) else np.nan
        if len(mags) and not bright < middle - modulus < faint:
            raise ConfigError(
                f"{data.source}: half of the clusters are brighter than {middle:.4g} mag in "
                f"{band}, {middle - modulus:.4g} mag in absolute magnitude; expected {bright:g} to "
                f"{faint:g}: if the column holds fluxes say so (unit = 'mJy', or 'flux' with its "
                "zero point, in the column map), or correct the distance modulus"
            )


def _operator(given: str | None, bands: tuple[str, ...], sources: Sources) -> Photometric | None:
    """An operator of true magnitudes; bands that it names without a camera are the survey's."""
    if given is None:
        return None
    if given == C4:
        operator: Any = import_c4()[1]
    else:
        operator = load_selection(sources.file(given, "observation.selection"))
    if not isinstance(operator, Photometric):
        raise ConfigError(
            f"observation.selection: {given} is an operator of mass, age and extinction; expected "
            "one of magnitudes, for the model of the light decides the rest"
        )
    named = tuple(operator.bands)
    if isinstance(operator, PhotometricNetwork) and named == tuple(map(filter_of, bands)):
        return dataclasses.replace(operator, bands=bands)
    return operator


def passing(observation: AbstractObservation, data: Photometry) -> Photometry:
    """The clusters that pass the survey's own cuts; a step counts the rest."""
    if data.bands != observation.bands:
        # The model's own check says what is wrong.
        return data
    kept, reason = observation.passing(data)
    made = _cut(data, kept, "the survey's cuts", reason)
    if not len(made):
        raise ConfigError(
            f"{data.source}: none of {len(data)} clusters passes the survey's cuts ({reason}); "
            "check the cuts, the distance modulus and the unit of the magnitudes"
        )
    return made


def _cut(data: Photometry, kept: np.ndarray, name: str, reason: str) -> Photometry:
    step = Step(name, len(data), int(kept.sum()), reason)
    return dataclasses.replace(data.take(kept), steps=(*data.steps, step))
