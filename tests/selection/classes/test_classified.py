"""A classifier in a pipeline: what it is shown, what it cuts, and what a fit gets of it."""

import dataclasses
import importlib
import inspect
import json

import numpy as np
import pytest
from tests.selection.injection.toy_survey import BAND, Toy, ToySurvey

from starcensus.files import FileError
from starcensus.selection.classes import ClassifiedPipeline, ClassifierCut, stamps_at
from starcensus.selection.injection import InjectionTable, Injector, run_injections
from starcensus.selection.pipeline import Detections, Pipeline, describe_pipeline, run_pipeline
from starcensus.simulate import Frame
from starcensus.simulate.images.frame import BandImage

SIDE = 12
DARK = 1e-3


def by_sky(stamps: np.ndarray) -> np.ndarray:
    """Three networks, two of which call what lies on bright sky a star."""
    sky = np.median(stamps[:, 0], axis=(1, 2))
    label = np.where(sky < DARK, 2, 4)
    return np.stack([label, label, np.full_like(label, 1)], axis=1)


def classified(pipeline: Pipeline, **changes) -> ClassifiedPipeline:
    settings = ClassifierCut("classes.json", bands=(BAND,), stamp_pix=SIDE, **changes)
    return ClassifiedPipeline(pipeline, settings, by_sky, None, "0" * 64)


def frame() -> Frame:
    """Sources on dark and on bright sky, one too faint, one at the edge, one beside a gap."""
    data = np.zeros((60, 90), np.float32)
    data[:, 45:] = 2 * DARK
    for x, y, flux in ((20, 30, 9.0), (70, 30, 9.0), (30, 15, 0.5), (3, 45, 9.0), (30, 50, 9.0)):
        data[y, x] += flux
    bad = np.zeros(data.shape, bool)
    bad[50, 34] = True
    return Frame((BandImage(BAND, data, 1000.0, 25.7, bad=bad),), 29.98)


@dataclasses.dataclass(frozen=True)
class TwoCuts(ToySurvey):
    """Pixels above the threshold, with a limit that what was detected may fail."""

    def __call__(self, frame):
        image = frame.images[0]
        y, x = np.nonzero(image.data > self.threshold)
        mags = image.mag(image.data[y, x].astype(float))[:, None]
        cuts = {"bright": mags[:, 0] < image.mag(np.array(1.0))}
        x, y = x.astype(float), y.astype(float)
        return Detections((BAND,), x, y, mags, np.zeros_like(mags), np.zeros(len(x)), cuts)


@dataclasses.dataclass(frozen=True)
class WithColumns(TwoCuts):
    """As PHANGS-HST's, with columns that say how candidates came to be."""

    names: tuple[str, ...] = ()

    def __call__(self, frame):
        found = super().__call__(frame)
        return dataclasses.replace(found, columns={k: np.ones(len(found)) for k in self.names})


@dataclasses.dataclass(frozen=True)
class Classified:
    """Builds the toy's injector, with the classifier behind its pipeline or without."""

    cut: bool

    def __call__(self) -> Injector:
        plain = Toy()()
        pipeline = classified(plain.pipeline) if self.cut else plain.pipeline
        return dataclasses.replace(plain, pipeline=pipeline)


def test_some_classes_are_catalogued_and_the_reason_is_told():
    found = run_pipeline(classified(TwoCuts(0.1)), frame())
    at = {(int(x), int(y)): i for i, (x, y) in enumerate(zip(found.x, found.y, strict=True))}
    dark, bright, faint, edge, gap = (
        at[place] for place in ((20, 30), (70, 30), (30, 15), (3, 45), (30, 50))
    )
    assert found.catalogued[dark] and found.catalogued.sum() == 1
    assert list(found.cuts) == ["bright", "candidate_class"]
    assert found.columns["candidate_class"][[dark, bright]].tolist() == [2, 4]
    np.testing.assert_allclose(found.columns["candidate_class_quality"][[dark, bright]], 2 / 3)
    # Nobody looked at what was too faint, and nobody could at what has no whole stamp.
    assert np.isnan(found.columns["candidate_class"][[faint, edge, gap]]).all()
    assert found.cuts["candidate_class"][[faint, edge, gap]].tolist() == [True, False, False]
    assert found.counts()["candidate_class"] == 1
    assert not run_pipeline(classified(TwoCuts(0.1), min_quality=0.9), frame()).catalogued.any()
    both = run_pipeline(classified(TwoCuts(0.1), classes=(2, 4)), frame())
    assert both.catalogued.sum() == 2


def test_it_stands_behind_each_of_our_pipelines():
    """None has a cut or a column of its name; one that has is refused."""
    for module in ("legus", "cnn", "phangs.survey"):
        code = inspect.getsource(importlib.import_module(f"starcensus.selection.pipeline.{module}"))
        assert "candidate_class" not in code
    found = run_pipeline(classified(WithColumns(0.1, ("morphology", "super_hd"))), frame())
    assert {"morphology", "candidate_class"} <= found.columns.keys()
    with pytest.raises(
        ValueError, match="a cut or column candidate_class itself; expected another"
    ):
        run_pipeline(classified(WithColumns(0.1, ("candidate_class",))), frame())


def test_stamps_are_centred_as_mocks_are():
    planes = np.arange(2 * 30 * 40, dtype=np.float32).reshape(2, 30, 40)
    for side, x, y in ((4, 10.4, 8.6), (5, 10.4, 8.6)):
        stamps, whole = stamps_at(planes, np.array([x, 0.0]), np.array([y, 15.0]), side)
        assert whole.tolist() == [True, False] and stamps.shape == (1, 2, side, side)
        row, col = np.argwhere(planes[0] == stamps[0, 0, 0, 0])[0]
        middle = (side - 1) / 2
        assert abs(x - col - middle) <= 0.5 and abs(y - row - middle) <= 0.5
        np.testing.assert_array_equal(stamps[0], planes[:, row : row + side, col : col + side])
    planes[1, 8, 11] = np.nan
    assert not stamps_at(planes, np.array([10.0]), np.array([8.0]), 4)[1].any()


def test_artificial_clusters_are_classified_as_candidates_are(tmp_path):
    """The table's label is the product of both, and says of each cut who failed it."""
    for cut in (False, True):
        run_injections(Classified(cut), tmp_path / f"{cut}.h5")
    without, table = (InjectionTable.load(tmp_path / f"{cut}.h5") for cut in (False, True))
    on_dark = by_sky(np.interp(table.x, [0, 259], [0, 2e-3])[:, None, None, None])[:, 0] == 2
    clear = np.abs(table.x / 259 * 2e-3 - DARK) > 3e-4  # its own light counts
    assert without.catalogued.sum() > 20
    np.testing.assert_array_equal(table.catalogued[clear], (without.catalogued & on_dark)[clear])
    found = without.catalogued
    assert set(table.cuts) == {"bright", "candidate_class"}
    assert np.isin(table.measured["candidate_class"][found], (2, 4)).all()
    said = table.meta["pipeline"]
    assert said["pipeline"] == "toy" and said["classifier"]["classes"] == [1, 2]
    assert table.meta["pipeline"] != without.meta["pipeline"]


def test_what_the_classifier_is_belongs_to_the_facts():
    one, other = classified(ToySurvey(0.1)), classified(ToySurvey(0.1), classes=(1, 2, 3))
    assert describe_pipeline(one) != describe_pipeline(other)
    elsewhere = dataclasses.replace(one.settings, ensemble="other/classes.json")
    assert describe_pipeline(dataclasses.replace(one, settings=elsewhere)) == describe_pipeline(one)
    weights = dataclasses.replace(one, sha256="1" * 64)
    assert describe_pipeline(weights) != describe_pipeline(one)
    assert one.reach_pix == SIDE / 2


def write(path, about: dict) -> None:
    path.write_text(json.dumps({"kind": "any", "about": about}))


def test_what_is_stated_twice_must_agree(tmp_path):
    where = tmp_path / "classes.json"
    toy, image = ToySurvey(0.1), frame()

    def made(**told) -> ClassifiedPipeline:
        return ClassifiedPipeline.of(toy, ClassifierCut("classes.json", **told), image, tmp_path)

    write(where, {"bands": [BAND], "stamp_pix": SIDE})
    assert made().settings.stamp_pix == SIDE and made(stamp_pix=SIDE).settings.bands == (BAND,)
    with pytest.raises(ValueError, match=r"stamp_pix is 16, and classes.json was taught 12"):
        made(stamp_pix=16)
    with pytest.raises(ValueError, match=r"bands is \['V'\], and classes.json was taught"):
        made(bands=("V",))
    write(where, {"bands": ["F336W", BAND], "stamp_pix": SIDE})
    with pytest.raises(ValueError, match=rf"no F336W; there are {BAND}"):
        made()
    write(where, {})
    with pytest.raises(ValueError, match="does not say the bands of its stamps; state"):
        made(stamp_pix=SIDE)
    exposure = {"band": BAND, "exposure_s": 1000.0, "zero_point": 25.7}
    stamps = {
        "exposures": [exposure],
        "size_pix": SIDE,
        "pixel_scale_arcsec": image.pixel_scale_arcsec,
        "distance_modulus": 29.98,
    }
    write(where, {"stamps": stamps})
    assert made().see(image).shape == (1, 60, 90)
    for changed, words in (
        ({"distance_modulus": 28.3}, "train one for this distance"),
        ({"pixel_scale_arcsec": 0.05}, "train one for these images"),
        ({"exposures": [{**exposure, "exposure_s": 100.0}]}, "its noise is another"),
    ):
        write(where, {"stamps": {**stamps, **changed}})
        with pytest.raises(ValueError, match=words):
            made()
    with pytest.raises(FileError):
        ClassifiedPipeline.of(toy, ClassifierCut("none.json"), image, tmp_path)


@pytest.mark.parametrize("classes", [(), (1, 2, 3, 4), (1, 1), (0, 1), (5,)])
def test_classes_that_say_nothing_are_refused(classes):
    with pytest.raises(ValueError, match="one to three of 1 to 4"):
        ClassifierCut("classes.json", classes=classes)


def test_numbers_out_of_range_are_refused():
    for told in ({"min_quality": 1.2}, {"stamp_pix": -1}, {"max_exposure_ratio": 0.5}):
        with pytest.raises(ValueError, match="expected 0 to 1, 0 or more"):
            ClassifierCut("classes.json", **told)
