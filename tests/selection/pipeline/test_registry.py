"""Pipelines by name: ours, and one of the user's, by the same door."""

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest

from starcensus.experiments.jobs._images import Survey
from starcensus.experiments.schema._base import parse
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.survey import SurveyFile
from starcensus.files import checksum
from starcensus.selection.pipeline import (
    PIPELINES,
    Detections,
    Field,
    LegusPipeline,
    LegusSettings,
    aperture_corrections,
    describe_pipeline,
    facts_of_frame,
    frame_sha256,
    make_pipeline,
    pipeline_settings,
    run_pipeline,
)
from starcensus.simulate import Frame
from starcensus.simulate.images.frame import BandImage
from starcensus.simulate.images.psf import PSF

BAND = "ACS_F555W"


@PIPELINES.register("peaks_of_a_test")
@dataclasses.dataclass(frozen=True)
class Peaks:
    """Pixels above a limit.

    **Arguments:**

    - `limit`: electrons/s. `share`: of nothing, for tests of settings.
    """

    limit: float
    share: float = 0.5

    def describe(self) -> dict[str, Any]:
        return {"pipeline": "peaks", "limit": self.limit}

    def __call__(self, frame: Frame) -> Detections:
        image = frame.images[0]
        y, x = (each.astype(float) for each in np.nonzero(image.data > self.limit))
        mags = image.mag(image.data[image.data > self.limit].astype(float))[:, None]
        nothing = np.zeros((len(x), 1))
        cuts = {"there": np.ones(len(x), bool)}
        return Detections(frame.bands, x, y, mags, nothing, nothing[:, 0], cuts)


def field() -> Field:
    data = np.zeros((50, 60), np.float32)
    data[20, 30] = 5.0
    step = np.arange(-60, 61) / 4
    image = np.exp(-(step[:, None] ** 2 + step**2) / 2)
    frame = Frame((BandImage(BAND, data, 1000.0, 25.7),), 29.98)
    return Field(frame, {BAND: PSF(BAND, image / image.sum(), 4, 0.0396)}, eta=2.0)


def test_a_users_pipeline_stands_in_a_survey_file(tmp_path):
    text = 'kind = "survey"\n[images]\npaths = []\n[pipeline]\nkind = "peaks_of_a_test"\n'
    file = parse(text + "limit = 1.0", "survey.toml", SurveyFile)
    at = field()
    made = make_pipeline(file.pipeline.kind, file.pipeline.settings, at)
    assert made == Peaks(1.0)
    found = run_pipeline(made, at.frame)
    assert (found.x.tolist(), found.y.tolist()) == ([30.0], [20.0])
    assert found.distance_modulus == 29.98 and found.sky is None
    # Facts of the images that it was run on, and of the PSFs that are known.
    with_psfs = run_pipeline(made, at.frame, at.psfs)
    for each, psfs in ((found, {}), (with_psfs, at.psfs)):
        assert each.survey == facts_of_frame(at.frame, psfs, made)
    assert found.facts.frame_sha256 == frame_sha256(at.frame)
    brighter = dataclasses.replace(at.frame.images[0], data=at.frame.images[0].data + 1e-3)
    moved = run_pipeline(made, dataclasses.replace(at.frame, images=(brighter,)))
    assert moved.facts.frame_sha256 != found.facts.frame_sha256
    # Its code is among what a table depends on, and so are the fields that it does not describe.
    said = found.pipeline
    assert said["limit"] == 1.0 and said["code"]["sha256"] == checksum(__file__)
    assert describe_pipeline(Peaks(1.0, share=0.6)) != said
    inputs = Survey(file, Sources(tmp_path)).inputs()
    assert [each.name for each in inputs.values()] == ["test_registry.py"]
    for wrong, message in (
        ("limits = 1.0", ".* has no limits; it has limit, share"),
        ("", "limit: is missing"),
    ):
        with pytest.raises(ValueError, match=f"survey.toml: pipeline: {message}"):
            parse(text + wrong, "survey.toml")
    with pytest.raises(
        ValueError, match="'no_such' is no pipeline; expected one of legus, cnn, phangs"
    ):
        parse(text.replace("peaks_of_a_test", "no_such"), "survey.toml")


class NoDataclass:
    def describe(self) -> dict[str, Any]:
        return {}

    def __call__(self, frame: Frame) -> Detections:
        raise RuntimeError("too crowded")


@dataclasses.dataclass(frozen=True)
class Silent:
    def describe(self) -> dict[str, Any]:
        return {"values": np.ones(2)}

    def __call__(self, frame: Frame) -> Any:
        return [1.0]


@dataclasses.dataclass(frozen=True)
class Nothing:
    Settings: ClassVar[type] = LegusSettings

    @classmethod
    def for_survey(cls, settings: LegusSettings, field: Field) -> int:
        return 3


@pytest.fixture
def known():
    """Names that are forgotten after the test."""
    before = dict(PIPELINES)
    yield PIPELINES
    PIPELINES._known.clear()
    PIPELINES._known.update(before)


def test_what_is_no_pipeline_is_refused(known):
    for cls in (NoDataclass, Silent, Nothing):
        known.add(cls.__name__, cls)
    at = field()
    with pytest.raises(ValueError, match="NoDataclass is no dataclass"):
        pipeline_settings("NoDataclass")
    with pytest.raises(ValueError, match="describe\\(\\) of Silent cannot be written"):
        make_pipeline("Silent", Silent(), at)
    with pytest.raises(ValueError, match="is a int, which is no pipeline"):
        make_pipeline("Nothing", LegusSettings(), at)
    with pytest.raises(ValueError, match="takes LegusSettings; got Peaks"):
        make_pipeline("legus", Peaks(1.0), at)
    with pytest.raises(ValueError, match="Silent returned a list; expected Detections"):
        run_pipeline(Silent(), at.frame)
    with pytest.raises(ValueError, match="too crowded"):
        run_pipeline(NoDataclass(), at.frame)
    other = dataclasses.replace(at.frame.images[0], band="ACS_F814W")
    elsewhere = dataclasses.replace(at.frame, images=(other,))

    class Elsewhere(Peaks):
        def __call__(self, frame: Frame) -> Detections:
            return super().__call__(elsewhere)

    with pytest.raises(ValueError, match=r"magnitudes in ACS_F814W; expected .* ACS_F555W"):
        run_pipeline(Elsewhere(1.0), at.frame)


def test_aperture_corrections_of_a_field_are_filled_in():
    at = field()
    made = make_pipeline("legus", LegusSettings(min_bands=1), at)
    assert isinstance(made, LegusPipeline)
    expected = aperture_corrections(at.psfs, at.frame.pc_per_pixel, eta=2.0)
    assert made.settings.aperture_correction == expected
    given = LegusPipeline.for_field(
        at.frame, {}, LegusSettings(aperture_correction={BAND: -0.7}), eta=2.0
    )
    assert given.settings.aperture_correction == {BAND: -0.7}
    with pytest.raises(ValueError, match=f"no PSF of {BAND}, nor an aperture correction"):
        LegusPipeline.for_field(at.frame, {})
    with pytest.raises(ValueError, match="no band F555W; there are ACS_F555W"):
        LegusPipeline.for_field(
            at.frame, at.psfs, LegusSettings(aperture_correction={"F555W": -0.7})
        )
