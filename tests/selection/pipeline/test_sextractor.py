"""Detection of the LEGUS pipeline against SExtractor itself, where it is installed.

sep and SExtractor find the same sources until they CLEAN. Both deal out the faint pixels of a blend
to its parts by random numbers, each its own, so that parts differ by some pixels, and whether a
part of about DETECT_MINAREA pixels is cleaned away depends on them.
"""

import dataclasses
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits

from starcensus.selection.injection import match_one_to_one
from starcensus.selection.pipeline import LegusSettings
from starcensus.selection.pipeline.legus import detect
from starcensus.simulate import (
    ClusterLibrary,
    StellarGrid,
    StellarPopulation,
    default_psfs,
    draw_clusters,
)
from starcensus.simulate.images.galaxy import GalaxySettings, make_galaxy
from starcensus.simulate.images.white import white_light

SEXTRACTOR = shutil.which("source-extractor") or shutil.which("sex")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(SEXTRACTOR is None, reason="SExtractor is not installed"),
]
MERGED = 2


@pytest.fixture(scope="module")
def white():
    """White light of a galaxy with own clusters."""
    settings = GalaxySettings(shape=(1024, 1024))
    population = StellarPopulation(StellarGrid.default())
    rng, n = np.random.default_rng(0), 600
    theta = 3 + rng.exponential(0.5, n), rng.uniform(6.5, 9, n), rng.uniform(0, 1, n)
    light = draw_clusters(population, *theta, seeds=np.arange(n))
    radii = 10 ** rng.normal(0.45, 0.2, n)
    clusters = ClusterLibrary(*theta, population.bands, light.abs_mags, np.zeros(n), r_eff_pc=radii)
    clusters = clusters.select(settings.bands)
    galaxy = make_galaxy(settings, population, default_psfs(settings.bands), 1, clusters)
    return white_light(galaxy.frame)


def sextractor(white: np.ndarray, settings: LegusSettings, folder: pathlib.Path):
    """x, y and flags of SExtractor with the same settings, pixels counted from 0."""
    folder.mkdir(exist_ok=True)
    fits.writeto(folder / "white.fits", white, overwrite=True)
    (folder / "columns.param").write_text("X_IMAGE\nY_IMAGE\nFLAGS\n")
    options = {
        "CATALOG_NAME": "found.cat",
        "CATALOG_TYPE": "ASCII",
        "PARAMETERS_NAME": "columns.param",
        "THRESH_TYPE": "RELATIVE",
        "DETECT_THRESH": settings.detection_sigma,
        "ANALYSIS_THRESH": settings.detection_sigma,
        "DETECT_MINAREA": settings.min_area_pix,
        "FILTER": "N",
        "DEBLEND_NTHRESH": settings.deblend_levels,
        "DEBLEND_MINCONT": settings.deblend_contrast,
        "CLEAN": "Y" if settings.clean else "N",
        "CLEAN_PARAM": settings.clean or 1.0,
        "BACK_SIZE": settings.back_size_pix,
        "BACK_FILTERSIZE": settings.back_filter,
        "MEMORY_PIXSTACK": white.size + 300_000,
        "MEMORY_OBJSTACK": 20_000,
        "VERBOSE_TYPE": "QUIET",
    }
    # Settings of the machine's own default.sex are not to be read.
    command = [str(SEXTRACTOR), "white.fits", "-c", "/dev/null"]
    for name, value in options.items():
        command += [f"-{name}", str(value)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    x, y, flags = np.loadtxt(folder / "found.cat", ndmin=2).T
    return x - 1, y - 1, flags.astype(int)


def missing(x, y, other_x, other_y, radius: float = 1.0) -> np.ndarray:
    """True for the sources without a counterpart, one to one, in the other catalogue."""
    return match_one_to_one(x, y, other_x, other_y, radius) < 0


@pytest.mark.parametrize("sigma", [20.0, 10.0, 5.0])
def test_without_cleaning_every_source_is_the_same(white, tmp_path, sigma: float):
    """Background, threshold, areas and deblending agree: all sources do, within 0.01 pixels."""
    settings = LegusSettings(detection_sigma=sigma, clean=0.0)
    x, y = detect(white, settings)
    theirs = sextractor(white, settings, tmp_path)
    assert len(x) == len(theirs[0]) > 600
    assert not missing(x, y, *theirs[:2], radius=0.01).any()


@pytest.mark.parametrize("sigma", [20.0, 10.0])
def test_98_percent_of_each_catalogue_are_in_the_other(white, tmp_path, sigma: float):
    """With cleaning 98% agree within a pixel, and the rest are parts of blends."""
    settings = LegusSettings(detection_sigma=sigma)
    x, y = detect(white, settings)
    their_x, their_y, _ = sextractor(white, settings, tmp_path)
    only = missing(x, y, their_x, their_y)
    only_theirs = missing(their_x, their_y, x, y)
    print(f"{len(x)} and {len(their_x)} sources, {(~only).sum()} in common")
    assert only.mean() <= 0.02 and only_theirs.mean() <= 0.02
    all_x, all_y, flags = sextractor(white, dataclasses.replace(settings, clean=0.0), tmp_path)
    for rest_x, rest_y in ((x[only], y[only]), (their_x[only_theirs], their_y[only_theirs])):
        found = match_one_to_one(rest_x, rest_y, all_x, all_y, 1.0)
        assert (found >= 0).all()
        # Not all: a blend's part cleans sources beside it too.
        assert (flags[found] & MERGED == 0).sum() <= 0.1 * len(found)


def test_another_threshold_would_be_seen(white, tmp_path):
    """A tenth off the threshold falls short of the 98%."""
    x, y = detect(white, LegusSettings(detection_sigma=18.0))
    theirs = sextractor(white, LegusSettings(), tmp_path)
    assert missing(x, y, *theirs[:2]).mean() > 0.03
