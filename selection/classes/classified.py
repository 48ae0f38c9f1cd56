"""A survey whose candidates are classified, and which catalogues some classes alone.

LEGUS and PHANGS-HST look at every candidate, or have networks do so, and their clusters are those
of classes 1 and 2, or 1 to 3. With the classifier in the pipeline artificial clusters are judged as
the survey's own candidates are: P(class | light, size, sky) becomes a factor of the probability of
being catalogued, and a fit undoes "classes 1 and 2 only" like any other cut.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from starcensus.extras import need
from starcensus.files import FileError, checksum, read_json
from starcensus.settings import check_choices

from ...simulate.images.frame import Frame
from ..pipeline import CnnPipeline, Detections, Pipeline, describe_pipeline, find_with
from ..pipeline.taught import as_taught, as_they_are
from .ensembles import ensemble_vote
from .labels import CLASSES

CUT = "candidate_class"


@dataclasses.dataclass(frozen=True)
class ClassifierCut:
    """Which classes a survey catalogues, and who tells them.

    **Arguments:**

    - `ensemble`: definition (.json) of trained classifiers, as `ClassifierEnsemble.save` wrote it,
      relative to the survey's folder. Torch runs them: the extra `cnn`.
    - `classes`: 1 symmetric, 2 asymmetric cluster, 3 compact association, 4 star or artefact.
    - `min_quality`: share of the networks that must give the class.
    - `tie`: which of two classes with as many votes counts.
    - `stamp_pix`: side of the stamps that were taught, pixels; 0 for that which the definition
      says.
    - `bands`: of the stamps, in order; empty for those that the definition says.
    - `max_exposure_ratio`: as of `CnnSettings`, where the definition says what was taught.

    Raises `ValueError` for what is no class, none, all, and numbers out of their ranges.

    ```python
    ClassifierCut("classes.json", classes=(1, 2, 3), min_quality=0.6)
    ```
    """

    ensemble: str
    classes: tuple[int, ...] = (1, 2)
    min_quality: float = 0.0
    tie: Literal["higher", "lower"] = "higher"
    stamp_pix: int = 0
    bands: tuple[str, ...] = ()
    max_exposure_ratio: float = 1.5

    def __post_init__(self) -> None:
        check_choices(self)
        given = set(self.classes)
        if not given or not given < set(CLASSES) or len(given) < len(self.classes):
            raise ValueError(
                f"classes are {list(self.classes)}; expected one to three of 1 to 4, each once"
            )
        if not 0 <= self.min_quality <= 1 or self.stamp_pix < 0 or self.max_exposure_ratio < 1:
            raise ValueError(
                f"min_quality is {self.min_quality}, stamp_pix {self.stamp_pix}, "
                f"max_exposure_ratio {self.max_exposure_ratio}; expected 0 to 1, 0 or more, and 1 "
                "or more"
            )

    def files(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """The definition, which knows the checksum of the weights."""
        return [folder / self.ensemble]


@dataclasses.dataclass(frozen=True, eq=False)
class ClassifiedPipeline:
    """A pipeline with one more cut: the class of those that pass all others.

    The cut is `candidate_class`; the columns `candidate_class` and `candidate_class_quality` are
    the class and the share of the networks that give it, NaN of sources that fail another cut, and
    of those whose stamp is not whole, which fail this one.

    **Arguments:**

    - `pipeline`: finds and measures.
    - `settings`: with `bands` and `stamp_pix`.
    - `votes`: a function of stamps `(n, band, y, x)` that returns `(n, network)` classes 1 to 4.
    - `stamps`: what was taught (`StampSettings.describe`), or None where nobody knows.
    - `sha256`: checksum of the classifiers' definition.
    """

    pipeline: Pipeline
    settings: ClassifierCut
    votes: Callable[[Float32[np.ndarray, "n band y x"]], Int[np.ndarray, "n network"]]
    stamps: Mapping[str, Any] | None
    sha256: str

    @classmethod
    def of(
        cls,
        pipeline: Pipeline,
        settings: ClassifierCut,
        frame: Frame,
        folder: pathlib.Path = pathlib.Path(),
    ) -> "ClassifiedPipeline":
        """With the classifiers that `settings` names.

        Raises `FileError` for files that are none, and `ValueError` for bands, stamps or images
        that are not those that were taught, where this is known, or that nobody states.

        ```python
        ClassifiedPipeline.of(pipeline, ClassifierCut("classes.json"), frame).reach_pix
        ```
        """
        if isinstance(pipeline, CnnPipeline) and pipeline.settings.posteriors:
            raise ValueError(
                "a classifier judges candidates, and the pipeline cnn writes posteriors of those "
                "that it finds itself; state pipeline.posteriors = false"
            )
        path = folder / settings.ensemble
        content = read_json(path, "ensemble of classifiers")
        about = content.get("about", {}) if isinstance(content, dict) else {}
        if not isinstance(about, dict):
            raise FileError(f"{path}: its `about` is no table")
        settings, stamps = _completed(settings, about)
        made = cls(pipeline, settings, functools.partial(_votes, str(path)), stamps, checksum(path))
        made.see(frame)
        return made

    def describe(self) -> dict[str, Any]:
        said = dataclasses.asdict(self.settings)
        # The checksum says which classifiers they are, wherever they lie.
        del said["ensemble"], said["max_exposure_ratio"]
        said |= {"classes": sorted(self.settings.classes), "sha256": self.sha256}
        return {**describe_pipeline(self.pipeline), "classifier": said}

    @property
    def reach_pix(self) -> float:
        """How far from its middle a stamp reaches: artificial clusters must be that far apart."""
        return max(float(getattr(self.pipeline, "reach_pix", 0.0)), self.settings.stamp_pix / 2)

    def see(self, frame: Frame) -> Float32[np.ndarray, "band row col"]:
        """The images as the classifiers take them; raises as `of`."""
        if self.stamps is None:
            return as_they_are(frame, self.settings.bands)
        return as_taught(frame, self.settings.bands, self.stamps, self.settings.max_exposure_ratio)

    def __call__(self, frame: Frame) -> Detections:
        """Run on a frame; raises as `see` and as the pipeline does."""
        found = find_with(self.pipeline, frame)
        if CUT in found.cuts or CUT in found.columns:
            raise ValueError(
                f"the pipeline has a cut or column {CUT} itself; expected another name"
            )
        rows = np.flatnonzero(found.catalogued)
        label, quality = np.full(len(found), np.nan), np.full(len(found), np.nan)
        stamps, whole = stamps_at(
            self.see(frame), found.x[rows], found.y[rows], self.settings.stamp_pix
        )
        if whole.any():
            vote = ensemble_vote(self.votes(stamps), self.settings.tie)
            label[rows[whole]], quality[rows[whole]] = vote.mode, vote.quality
        passing = np.isin(label, self.settings.classes)
        with np.errstate(invalid="ignore"):
            passing &= quality >= self.settings.min_quality
        # Of what failed before nobody knows: it counts with the cut that it failed.
        others = np.ones(len(found), bool)
        others[rows] = False
        cuts = {**found.cuts, CUT: passing | others}
        columns = {**found.columns, CUT: label, f"{CUT}_quality": quality}
        return dataclasses.replace(found, cuts=cuts, columns=columns)


def stamps_at(
    planes: Float32[np.ndarray, "band row col"],
    x: Float[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    side: int,
) -> tuple[Float32[np.ndarray, "m band side side"], Bool[np.ndarray, " n"]]:
    """Stamps around places, of those that have one without gaps, and which these are.

    The place is within half a pixel of the middle, as centres of mocks are.

    ```python
    planes = np.zeros((2, 100, 80), np.float32)
    stamps, whole = stamps_at(planes, np.array([40.0, 3.0]), np.array([50.0, 50.0]), 32)
    ```
    """
    middle, (_, rows, cols) = (side - 1) / 2, planes.shape
    left, low = (np.rint(at - middle).astype(int) for at in (x, y))
    whole = (left >= 0) & (low >= 0) & (left + side <= cols) & (low + side <= rows)
    made = np.empty((int(whole.sum()), len(planes), side, side), np.float32)
    for k, i in enumerate(np.flatnonzero(whole)):
        made[k] = planes[:, low[i] : low[i] + side, left[i] : left[i] + side]
    good = np.isfinite(made).all(axis=(1, 2, 3))
    whole[np.flatnonzero(whole)[~good]] = False
    return made[good], whole


def _completed(
    settings: ClassifierCut, about: Mapping[str, Any]
) -> tuple[ClassifierCut, Mapping[str, Any] | None]:
    """Settings with what the definition says of its stamps; what both say must agree."""
    stamps = about.get("stamps")
    stamps = stamps if isinstance(stamps, Mapping) else None
    bands, side = about.get("bands"), about.get("stamp_pix")
    if stamps is not None:
        bands, side = [each["band"] for each in stamps["exposures"]], stamps["size_pix"]
    for name, given, known in (
        ("bands", list(settings.bands), bands),
        ("stamp_pix", settings.stamp_pix, side),
    ):
        if not given and not known:
            raise ValueError(
                f"{settings.ensemble} does not say the {name} of its stamps; state "
                f"classifier.{name}"
            )
        if given and known and given != known:
            raise ValueError(
                f"classifier.{name} is {given}, and {settings.ensemble} was taught {known}; leave "
                "it out"
            )
    own = tuple(settings.bands or bands or ()), int(settings.stamp_pix or side or 0)
    return dataclasses.replace(settings, bands=own[0], stamp_pix=own[1]), stamps


def _votes(path: str, stamps: Float32[np.ndarray, "n band y x"]) -> Int[np.ndarray, "n network"]:
    return _ensemble(path).votes(stamps)


@functools.cache
def _ensemble(path: str) -> Any:
    """Each process reads it once; loads Torch."""
    need("torch", purpose="a classifier of candidates")
    from ...networks.cnn.classify import ClassifierEnsemble

    return ClassifierEnsemble.load(path)
