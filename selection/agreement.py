"""Whether an operator is one of the survey that it is used for.

An operator that was learned in one survey says nothing of another one: with five times the sky a
field loses half of the clusters that are faint there. Where facts of both sides are known and
differ, a fit refuses, unless the user accepts the difference by its name.
"""

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, get_args

import numpy as np

from starcensus.bands import filter_of
from starcensus.settings import check_choices

from .catalogue import Catalogue
from .operators._base import ACTS_ON_WORDS, AbstractSelection
from .operators.facts import CLASS, LIMITS, QUANTILES, BandFacts, SurveyFacts, learned_facts

About = Literal[
    "acts_on",
    "field",
    "distance",
    "bands",
    "depth",
    "psf",
    "radius",
    "sky",
    "pipeline",
    "cuts",
]
ABOUT: tuple[About, ...] = get_args(About)

# Catalogues whose moduli differ by less were put at one distance, mag.
_SAME_MODULUS = 0.05
# A limit that moves by less changes no count that a fit of some thousand clusters sees, mag.
_SAME_LIMIT = 0.1
_SAME_WIDTH = 0.05
# Of radii, dex: on the mean of quantiles, and on each, which are whole parsecs in many designs.
_SAME_RADIUS, _SAME_QUANTILE = 0.1, 0.31
_MIDDLE = slice(1, 4)
_NOISE_OF_SKY = 1.25


class OtherSurveyError(ValueError):
    """An operator is used for a survey in which it was not learned; the message says how both
    differ, and how to accept that."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """One thing in which two surveys differ.

    **Arguments:**

    - `about`: the name by which it is accepted. Cuts alone need no word: a user may know that a
      class was given to all, and is told of it.
    - `words`: a sentence with the values of both sides.
    """

    about: About
    words: str

    def __post_init__(self) -> None:
        check_choices(self)

    @property
    def is_warning(self) -> bool:
        return self.about == "cuts"


def differences(
    learned: SurveyFacts,
    here: SurveyFacts,
    what: str = "the catalogue",
    given: Collection[str] = (),
) -> tuple[Difference, ...]:
    """In what a survey differs from the one that an operator was learned in; known facts alone.

    **Arguments:**

    - `learned`: facts of the operator. `here`: of the survey or catalogue that it is used for.
    - `what`: what `here` are facts of, for the sentences.
    - `given`: `radius` or `sky`, where the operator is told each cluster's own.

    Depth and sky differ where they move a limit by 0.1 mag, widths of PSFs by 5%, distances by
    0.05 mag, radii by a quarter.

    ```python
    near, far = SurveyFacts(distance_modulus=28.2), SurveyFacts(distance_modulus=29.98)
    differences(near, far)[0].words
    ```
    """
    found = [
        *_of_field(learned, here, what),
        *_of_bands(learned, here, what),
        *_of_spread(learned, here, what, given),
        *_of_pipeline(learned, here, what),
    ]
    return tuple(found)


def not_compared(learned: SurveyFacts, here: SurveyFacts) -> tuple[About, ...]:
    """What one side or the other does not know, so that it may differ unseen.

    ```python
    not_compared(SurveyFacts("NGC 628-C"), SurveyFacts("NGC 628-C"))  # all but the field
    ```
    """

    def known(facts: SurveyFacts) -> dict[About, bool]:
        return {
            "field": facts.field is not None,
            "distance": facts.distance_modulus is not None,
            "bands": bool(facts.bands),
            "depth": any(band.noise_mag is not None for band in facts.bands),
            "psf": any(band.psf_sha256 is not None for band in facts.bands),
            "radius": bool(facts.radius_pc),
            "sky": bool(facts.sky),
            "pipeline": facts.pipeline is not None,
        }

    both = known(learned), known(here)
    return tuple(about for about in both[0] if not (both[0][about] and both[1][about]))


def facts_of_catalogue(catalogue: Catalogue) -> SurveyFacts:
    """What a catalogue knows of its survey: its `meta`, its bands, and the cuts of its steps.

    A catalogue of our own pipelines has all of it (`meta["survey"]`), a published one field,
    distance, bands and cuts.

    ```python
    facts_of_catalogue(catalogue).limits
    ```
    """
    meta = catalogue.meta
    facts = SurveyFacts.read(meta["survey"]) if "survey" in meta else SurveyFacts()
    modulus, field = meta.get("distance_modulus"), meta.get("field")
    known: dict[str, Any] = {
        "limits": (*facts.limits, *(pair for step in catalogue.steps for pair in step.limits))
    }
    if isinstance(modulus, int | float):
        known["distance_modulus"] = float(modulus)
    if isinstance(field, str):
        known["field"] = field
    if catalogue.bands and not facts.bands:
        known["bands"] = tuple(BandFacts(name) for name in catalogue.bands)
    return dataclasses.replace(facts, **known)


def catalogue_differences(
    selection: AbstractSelection, catalogue: Catalogue
) -> tuple[Difference, ...]:
    """`differences` of an operator, whatever it is made of, and a catalogue.

    A catalogue may also know whether its θ was recorded independently of its selection
    (`meta["acts_on"]`), as a mock's is; what a learned operator says must agree.

    ```python
    catalogue_differences(operator, catalogue)  # () where nothing is known, or all agrees
    ```
    """
    here, learned = facts_of_catalogue(catalogue), learned_facts(selection)
    each = [d for facts in learned for d in differences(facts, here)]
    said = str(catalogue.meta.get("acts_on"))
    if learned and said in ACTS_ON_WORDS and said != selection.acts_on:
        words = (
            f"the operator acts on the {selection.acts_on}, and the catalogue was selected by the "
            f"{said}: {ACTS_ON_WORDS[said]}; say acts_on = {json.dumps(said)}"
        )
        each.insert(0, Difference("acts_on", words))
    return tuple(dict.fromkeys(each))


def refuse_other_survey(
    found: Collection[Difference], accept: Collection[str] = (), source: str = "the catalogue"
) -> None:
    """Raises `OtherSurveyError` for differences that are neither accepted nor mere warnings.

    **Arguments:**

    - `found`: what `differences` or `catalogue_differences` gave.
    - `accept`: names of what may differ.
    - `source`: the file, for the message.

    ```python
    refuse_other_survey(catalogue_differences(operator, catalogue), accept=("distance",))
    ```
    """
    refused = [d for d in found if not d.is_warning and d.about not in accept]
    if not refused:
        return
    names = list(dict.fromkeys(d.about for d in refused))
    sentences = "; ".join(f"{d.about}: {d.words}" for d in refused)
    raise OtherSurveyError(
        f"{source}: the operator was not learned for this survey. {sentences}. Take an operator of "
        f"this survey, or accept the difference, which the report then says: accept = "
        f"{json.dumps(names)} in the settings, --accept {','.join(names)} on the command line"
    )


def _of_field(learned: SurveyFacts, here: SurveyFacts, what: str) -> Iterator[Difference]:
    if None not in (learned.field, here.field) and _plain(learned.field) != _plain(here.field):
        yield Difference("field", f"it was learned in {learned.field}, {what} is of {here.field}")
    if learned.distance_modulus is None or here.distance_modulus is None:
        return
    moved = here.distance_modulus - learned.distance_modulus
    if abs(moved) > _SAME_MODULUS:
        yield Difference(
            "distance",
            f"it was learned at distance modulus {learned.distance_modulus:g}, {what} is at "
            f"{here.distance_modulus:g}: each cluster is {abs(moved):.2f} mag "
            f"{'fainter' if moved > 0 else 'brighter'} there",
        )


def _of_bands(learned: SurveyFacts, here: SurveyFacts, what: str) -> Iterator[Difference]:
    if not learned.bands or not here.bands:
        return
    pairs, left = [], list(here.bands)
    for mine in learned.bands:
        if (other := next((b for b in left if _same_band(mine.name, b.name)), None)) is not None:
            left.remove(other)
            pairs.append((mine, other))
    if left or len(pairs) < len(learned.bands):
        names = [", ".join(band.name for band in each.bands) for each in (learned, here)]
        yield Difference("bands", f"it was learned in {names[0]}; {what} has {names[1]}")
    depths = [
        f"{mine.name} {other.noise_mag - mine.noise_mag:+.2f} mag"
        for mine, other in pairs
        if mine.noise_mag is not None
        and other.noise_mag is not None
        and abs(other.noise_mag - mine.noise_mag) > _SAME_LIMIT
    ]
    if depths:
        words = f"the noise of a pixel differs, {what} less where it was learned: "
        yield Difference("depth", words + ", ".join(depths))
    psfs = [text for mine, other in pairs if (text := _other_psf(mine, other))]
    if psfs:
        yield Difference(
            "psf", f"{what} has another PSF than it was learned with: {', '.join(psfs)}"
        )


def _other_psf(mine: BandFacts, other: BandFacts) -> str:
    """In what two PSFs differ; empty where they do not, or nothing is known."""
    if mine.psf_sha256 is None or mine.psf_sha256 == other.psf_sha256 or other.psf_sha256 is None:
        return ""
    widths = mine.psf_fwhm_arcsec, other.psf_fwhm_arcsec
    if widths[0] is None or widths[1] is None:
        return f"{mine.name} (other checksums)"
    wide = abs(widths[1] / widths[0] - 1) > _SAME_WIDTH
    of = f"FWHM {widths[1]:.3f} for {widths[0]:.3f} arcsec"
    return f"{mine.name} ({of})" if wide else f"{mine.name} (other wings, {of})"


def _of_spread(
    learned: SurveyFacts, here: SurveyFacts, what: str, given: Collection[str]
) -> Iterator[Difference]:
    one, other = (np.array(facts.radius_pc)[_MIDDLE] for facts in (learned, here))
    if "radius" not in given and len(one) and len(other):
        moved = np.abs(np.log10(other / one))
        if moved.mean() > _SAME_RADIUS or moved.max() > _SAME_QUANTILE:
            yield Difference(
                "radius",
                f"it averages over half-light radii of {_said(learned.radius_pc)} pc, those of "
                f"{what} are {_said(here.radius_pc)}",
            )
    one, other = (np.array(facts.sky)[_MIDDLE] for facts in (learned, here))
    # A sky that was subtracted is no sky; the depth tells of its noise.
    if "sky" not in given and len(one) and len(other) and min(one.min(), other.min()) > 0:
        moved = _NOISE_OF_SKY * np.abs(np.log10(other / one))
        if moved.max() > _SAME_LIMIT:
            yield Difference(
                "sky",
                f"it was learned at local skies of {_said(learned.sky)} electrons/s/pixel, those "
                f"of {what} are {_said(here.sky)}: its limit moves by up to {moved.max():.2f} mag",
            )


def _said(values: tuple[float, ...]) -> str:
    low, middle, high = values[_MIDDLE]
    return f"{middle:.3g} ({QUANTILES[1]:g}% to {QUANTILES[3]:g}%: {low:.3g} to {high:.3g})"


def _of_pipeline(learned: SurveyFacts, here: SurveyFacts, what: str) -> Iterator[Difference]:
    one, other = learned.settings, here.settings
    if one and other:
        changed = [
            f"{name} {json.dumps(other.get(name))} for {json.dumps(one.get(name))}"
            for name in sorted({*one, *other})
            if not _same(one.get(name), other.get(name))
        ]
        if changed:
            yield Difference("pipeline", f"{what} has other settings: {', '.join(changed)}")
    if not one:
        return
    yield from _of_classes(one, other, here, what)
    yield from _of_limits(learned, here, what)


def _of_classes(
    one: Mapping[str, Any], other: Mapping[str, Any], here: SurveyFacts, what: str
) -> Iterator[Difference]:
    kept = sorted({int(value) for name, value in here.limits if name == CLASS})
    counted = one.get("classifier", {}).get("classes")
    listed = ", ".join(map(str, kept))
    if kept and counted is None:
        yield Difference(
            "cuts",
            f"{what} keeps the classes {listed}, which were given by inspection; the injections "
            "that the operator was learned from were not inspected, so that clusters of other "
            "classes are missing from the catalogue and not from the expected number",
        )
    # Two pipelines of ours are compared setting by setting.
    if counted is None or (other and not kept):
        return
    words = f"the operator counts what its classifier puts into {', '.join(map(str, counted))}"
    if not kept and (here.limits or here.bands):
        yield Difference("cuts", f"{words}, and no step says that {what} keeps these classes")
    elif kept and kept != sorted(counted):
        yield Difference("cuts", f"{words}, and {what} keeps the classes {listed}")


def _of_limits(learned: SurveyFacts, here: SurveyFacts, what: str) -> Iterator[Difference]:
    cut = {name: value for name, value in here.limits if name != CLASS}
    # The pipeline that made a catalogue has cut it; of a published one its steps must say so.
    known = dict(here.pipeline_limits) | cut
    if not known and not here.bands:
        return
    for name, value in learned.pipeline_limits:
        rule = LIMITS[name].format(value)
        if name not in known:
            words = f"the operator counts what has {rule}, and no step says that {what} was cut so"
            yield Difference("cuts", words)
        elif not np.isclose(known[name], value):
            words = f"the operator counts what has {rule}, and {what} was cut at "
            yield Difference("cuts", words + LIMITS[name].format(known[name]))
    # A pipeline that names none of its cuts is not known to make none.
    for name, value in cut.items() if learned.pipeline_limits else ():
        if name in LIMITS and name not in dict(learned.pipeline_limits):
            words = f"{what} was cut at {LIMITS[name].format(value)}, and the operator counts all"
            yield Difference("cuts", words)


def _plain(name: str | None) -> str:
    return "".join(letter for letter in str(name).lower() if letter.isalnum())


def _same_band(one: str, other: str) -> bool:
    """By full name, or by the filter where one of them names no camera."""
    if one == other:
        return True
    bare = one == filter_of(one) or other == filter_of(other)
    return bare and filter_of(one) == filter_of(other)


def _same(one: Any, other: Any) -> bool:
    """Equality, of numbers to the digits that machines share."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(v, other[k]) for k, v in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return bool(np.isclose(one, other, rtol=1e-6, atol=0))
    return one == other
