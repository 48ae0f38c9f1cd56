"""Survey files: what their tables become."""

import dataclasses
import importlib.util
import json
import pathlib

import numpy as np
import pytest
from astropy.io import fits

from starcensus.experiments.jobs._images import Survey
from starcensus.experiments.jobs.survey import DetectJob, InjectJob
from starcensus.experiments.schema._base import ConfigError, parse
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.survey import SurveyFile
from starcensus.extras import MissingExtraError
from starcensus.files import FileError
from starcensus.selection.classes import ClassifiedPipeline
from starcensus.selection.pipeline import LegusPipeline, PhangsPipeline
from starcensus.selection.pipeline.phangs import ModelRegions
from starcensus.selection.pipeline.phangs import survey as phangs_survey
from starcensus.simulate import PSF, Frame
from starcensus.simulate.images.frame import BandImage
from starcensus.simulate.images.white import SCALE_FACTORS

BAND = "ACS_F555W"

TEXT = """
[images]
paths = "galaxy"
[pipeline]
kind = "legus"
[plan]
"""


def parsed(text: str) -> SurveyFile:
    return parse('kind = "survey"\n' + text, "survey.toml", SurveyFile)


def survey(text: str, folder: pathlib.Path, level: float = 0.1) -> Survey:
    """With images that are no files."""
    made = Survey(parsed(text), Sources(folder))
    frame, psfs = field(level)
    made.__dict__.update(frame=frame, psfs=psfs)
    return made


def test_scale_factors_of_the_placement():
    assert parsed(TEXT).plan.scale_factors == SCALE_FACTORS
    own = "scale_factors = [{ F475W = 2.5, F814W = 1 }, { F475W = 1, F814W = 1 }]"
    found = parsed(TEXT + own).plan
    assert found.scale_factors == ({"F475W": 2.5, "F814W": 1.0}, {"F475W": 1.0, "F814W": 1.0})
    assert found.describe()["scale_factors"] == list(found.scale_factors)
    with pytest.raises(ConfigError, match=r"survey\.toml: plan: scale_factors of F475W has -1\.0;"):
        parsed(TEXT + "scale_factors = [{ F475W = -1 }]")


PHANGS = """
[images]
paths = "galaxy"
[pipeline]
kind = "phangs"
sample = "ml"
min_bands = 1
ci_floor = 1.3
regions = "regions.h5"
[pipeline.models]
n_masses = 40
fwhm_pix = [2.0]
etas = [3.0]
mass_range = [1e4, 1e5]
min_models = 1
openings = 0
"""


def field(level: float = 0.1) -> tuple[Frame, dict[str, PSF]]:
    rng = np.random.default_rng(1)
    data = (rng.poisson(level * 1000, (60, 80)) / 1000).astype(np.float32)
    step = np.arange(-80, 81) / 4
    image = np.exp(-(step[:, None] ** 2 + step**2) / 2)
    frame = Frame((BandImage(BAND, data, 1000.0, 25.8),), 29.98)
    return frame, {BAND: PSF(BAND, image / image.sum(), 4, 0.0396)}


def pipeline(text: str, folder: pathlib.Path, level: float = 0.1) -> PhangsPipeline:
    made = survey(text, folder, level).pipeline
    assert isinstance(made, PhangsPipeline) and made.settings.sample == "ml"
    return made


def test_regions_of_models_are_made_once(tmp_path, monkeypatch):
    """What reads them has the same pipeline as what made them, and makes none."""
    made = pipeline(PHANGS, tmp_path)
    assert made.regions is not None and all(each.mask.any() for each in made.regions.maps)
    monkeypatch.setattr(phangs_survey, "mean_magnitudes", lambda *a: pytest.fail("made again"))
    again = pipeline(PHANGS, tmp_path)
    assert again.describe() == made.describe()
    files = survey(PHANGS.replace('"galaxy"', "[]"), tmp_path).inputs()
    assert "pipeline.regions.h5" in files
    # Of another sky, grid or PSF they are others.
    fewer = PHANGS.replace("n_masses = 40", "n_masses = 41")
    for text, level in ((PHANGS, 0.2), (fewer, 0.1)):
        with pytest.raises(FileError, match=r"regions\.h5: .*of other images, PSFs or models;"):
            pipeline(text, tmp_path, level)
    # Those that were saved from Python are the user's business.
    loaded = ModelRegions.load(tmp_path / "regions.h5")
    dataclasses.replace(loaded, source="").save(tmp_path / "regions.h5")
    assert pipeline(fewer, tmp_path).describe() == made.describe()
    (tmp_path / "regions.h5").write_text("something")
    with pytest.raises(FileError, match=r"regions\.h5: is not an HDF5 .*ModelRegions\.save"):
        pipeline(PHANGS, tmp_path)


def test_models_are_those_of_the_file(tmp_path):
    text = PHANGS.replace('regions = "regions.h5"\n', "")
    found = pipeline(text, tmp_path).describe()["regions"]
    assert not list(tmp_path.iterdir())
    assert found["bin_sizes"] == [0.01, 0.02, 0.04] and found["hits"][0] > found["hits"][2] > 0
    other = pipeline(text + "bin_sizes = [0.04]", tmp_path).describe()["regions"]
    assert other["hits"] == found["hits"][2:]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n_masses", "n_mass", r"pipeline: models\.n_mass: unknown key"),
        ("n_masses = 40", "n_masses = 0", r"pipeline: models: n_masses >= 1"),
        ('sample = "ml"', "", "models and regions are given and sample is 'human', which"),
        (
            "min_bands = 1",
            "min_band = 1",
            r"pipeline of kind phangs has no min_band; it has sample, .*, regions",
        ),
    ],
)
def test_what_the_models_cannot_be(old, new, message):
    assert old in PHANGS
    with pytest.raises(ConfigError, match=rf"survey\.toml: .*{message}"):
        parsed(PHANGS.replace(old, new))


def test_regions_are_written_into_a_folder_that_is_there(tmp_path):
    text = PHANGS.replace("regions.h5", "none/regions.h5")
    with pytest.raises(FileError, match=r"cannot write .*regions\.h5"):
        pipeline(text, tmp_path)


def test_profiles_of_model_clusters():
    text = TEXT + "[profile]\n"
    assert parsed(text).profile.kind == "eff"
    king = parsed(text + 'kind = "king"\nconcentration = 15\naxis_ratio = 0.7').profile
    assert (king.kind, king.concentration, king.axis_ratio) == ("king", 15.0, 0.7)
    with pytest.raises(ConfigError, match=r"profile\.eta is not of kind king; remove it"):
        parsed(text + 'kind = "king"\neta = 2')
    with pytest.raises(ConfigError, match=r"concentration"):
        parsed(text + 'kind = "king"\nconcentration = 0.1')


def test_options_of_surface_brightness_go_with_a_list_of_paths(tmp_path):
    """NIRCam's i2d: of all bands in [images.read], of one in [images.read_band.BAND]."""
    for name in ("F150W", "F200W"):
        keys = {"INSTRUME": "NIRCAM", "FILTER": name, "PUPIL": "CLEAR", "TEXPTIME": 1200.0}
        primary = fits.PrimaryHDU()
        primary.header.update(keys)
        image = fits.ImageHDU(np.full((20, 30), 0.5, np.float32), name="SCI")
        image.header.update({"BUNIT": "MJy/sr", "PIXAR_SR": 2.25e-14, "PHOTMJSR": 2.0})
        fits.HDUList([primary, image]).writeto(tmp_path / f"{name}_i2d.fits")
    text = """
    [images]
    paths = ["F150W_i2d.fits", "F200W_i2d.fits"]
    distance_modulus = 29.0
    pixel_scale_arcsec = 0.031
    [images.read]
    gain = 2.0
    read_noise_e = 12.0
    n_exposures = 4
    ab_minus_vega = 1.2
    [images.read_band.NIRCAM_F200W]
    ab_minus_vega = 1.7
    [pipeline]
    kind = "legus"
    """
    frame = Survey(parsed(text), Sources(tmp_path)).frame
    assert frame.bands == ("NIRCAM_F150W", "NIRCAM_F200W")
    assert frame.images[0].data[0, 0] == pytest.approx(0.5)
    apart = [i.zero_point_ab - i.zero_point for i in frame if i.zero_point_ab is not None]
    assert apart == pytest.approx([1.2, 1.7])
    with pytest.raises(ValueError, match=r"n_exposures.*\[images\.read_band\.NIRCAM_F150W\]"):
        _ = Survey(parsed(text.replace("n_exposures = 4", "")), Sources(tmp_path)).frame


CLASSIFIED = """
[images]
paths = []
[pipeline]
kind = "legus"
min_bands = 1
[classifier]
ensemble = "classes.json"
classes = [1, 2, 3]
"""


def test_a_classifier_stands_behind_the_pipeline(tmp_path):
    about = {"bands": [BAND], "stamp_pix": 24}
    (tmp_path / "classes.json").write_text(json.dumps({"kind": "any", "about": about}))
    made = survey(CLASSIFIED, tmp_path)
    assert isinstance(made.pipeline, ClassifiedPipeline)
    assert isinstance(made.pipeline.pipeline, LegusPipeline)
    said = made.pipeline.describe()
    limit = made.pipeline.pipeline.settings.ci_limit
    assert said["pipeline"] == "legus" and said["ci_limit"] == limit
    assert said["classifier"]["classes"] == [1, 2, 3] and said["classifier"]["stamp_pix"] == 24
    assert {"classifier"} <= made.inputs().keys()
    with pytest.raises(ConfigError, match=r"classifier: classes are \[7\]; expected one to three"):
        parsed(CLASSIFIED.replace("[1, 2, 3]", "[7]"))
    (tmp_path / "classes.json").unlink()
    with pytest.raises(ConfigError, match=r"classes\.json"):
        survey(CLASSIFIED, tmp_path).inputs()


def test_without_torch_a_classifier_is_refused_before_images_are_read(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else find(name)
    )
    for job in (DetectJob, InjectJob):
        made = job(parsed(CLASSIFIED), CLASSIFIED, Sources(tmp_path), tmp_path / "out")
        with pytest.raises(MissingExtraError, match=r"\[classifier\] needs torch.*\[cnn\]"):
            made.check()
