"""PSF files of a survey: how finely they are sampled, and what is said where they contradict it."""

import pathlib

import numpy as np
import pydantic
import pytest
from astropy.io import fits

from starcensus.experiments.jobs._psfs import read_table
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.images import PsfTable
from starcensus.experiments.schema.paths import Sources
from starcensus.simulate import PSF

SIGMA = 0.08  # arcsec, of all


def write(folder: pathlib.Path, scale: float, **keywords: object) -> pathlib.Path:
    """A Gaussian, in pixels of `scale` arcsec."""
    step = np.arange(-40, 41) * scale
    shape = np.exp(-(step[:, None] ** 2 + step**2) / 2 / SIGMA**2)
    hdu = fits.PrimaryHDU(shape.astype(np.float32))
    hdu.header.update(keywords)
    hdu.writeto(folder / "psf.fits", overwrite=True)
    return folder


def psf(folder: pathlib.Path, survey: float, **given: object) -> PSF:
    return read_table(PsfTable(path="psf.fits", **given), "V", survey, Sources(folder))


def spread(found: PSF) -> float:
    """Standard deviation, arcsec."""
    n = len(found.image)
    step = (np.arange(n) - (n - 1) / 2) * found.pixel_scale_arcsec / found.oversampling
    return float(np.sqrt((found.image.sum(0) * step**2).sum()))


def wcs(scale: float) -> dict[str, object]:
    first = {"CTYPE1": "RA---TAN", "CRVAL1": 10.0, "CRPIX1": 41.0, "CD1_1": -scale / 3600}
    second = {"CTYPE2": "DEC--TAN", "CRVAL2": 5.0, "CRPIX2": 41.0, "CD2_2": scale / 3600}
    return {**first, **second, "CD1_2": 0.0, "CD2_1": 0.0}


@pytest.mark.parametrize(
    ("scale", "keywords", "survey", "oversampling"),
    [
        # Whole fractions of the survey's pixel, as headers round them: TinyTim's, WebbPSF's, a WCS.
        (0.0100, {"PIXSCALE": 0.0100}, 0.05, 5),
        (0.0396, {"PIXSCALE": 0.0396}, 0.0396, 1),
        (0.0396 / 5, {"PIXSCALE": 0.0080}, 0.0396, 5),
        (0.01, {"PIXELSCL": 0.01, "OVERSAMP": 4}, 0.04, 4),
        (0.01, wcs(0.01), 0.04, 4),
        # Others: WFC3's pixels for ACS's.
        (0.0396, {"PIXSCALE": 0.0396}, 0.05, 2),
        (0.0396 / 2, wcs(0.0396 / 2), 0.05, 3),
    ],
)
def test_the_header_says_how_an_image_is_sampled(scale, keywords, survey, oversampling, tmp_path):
    found = psf(write(tmp_path, scale, **keywords), survey)
    assert (found.oversampling, found.pixel_scale_arcsec) == (oversampling, survey)
    assert spread(found) == pytest.approx(SIGMA, rel=0.01)


def test_a_stated_scale_overrides_the_header_and_is_exact(tmp_path):
    write(tmp_path, 0.0125, PIXSCALE=0.05, OVERSAMP=1)
    found = psf(tmp_path, 0.05, pixel_scale_arcsec=0.0125)
    assert found.oversampling == 4 and spread(found) == pytest.approx(SIGMA, rel=1e-3)
    # 1% off the survey's: taken as it is from a header, interpolated where it is stated.
    write(tmp_path, 0.0495, PIXSCALE=0.0495)
    assert psf(tmp_path, 0.05).oversampling == 1
    found = psf(tmp_path, 0.05, pixel_scale_arcsec=0.0495)
    assert found.oversampling == 2 and spread(found) == pytest.approx(SIGMA, rel=1e-3)


def test_oversampling_alone_is_taken_at_its_word(tmp_path):
    write(tmp_path, 0.01)
    assert spread(psf(tmp_path, 0.04, oversampling=4)) == pytest.approx(SIGMA, rel=1e-3)
    # A CDELT without a unit is no scale.
    write(tmp_path, 0.01, CDELT1=1.0, CDELT2=1.0)
    assert psf(tmp_path, 0.04, oversampling=4).oversampling == 4


@pytest.mark.parametrize(
    ("keywords", "given", "message"),
    [
        (
            {"PIXSCALE": 0.0396},
            {"oversampling": 1},
            r"psf\.V: PIXSCALE of .*psf\.fits says pixels of 0\.0396 arcsec, and the survey's "
            r"0\.05 arcsec over oversampling 1, are 0\.05; give .* pixel_scale_arcsec",
        ),
        (
            {"PIXELSCL": 0.01, "OVERSAMP": 4},
            {},
            r"PIXELSCL .*0\.01 arcsec.* oversampling 4, of the header's OVERSAMP, are 0\.0125",
        ),
        (wcs(0.01), {"oversampling": 4}, r"the WCS of .* says pixels of 0\.01 arcsec"),
        ({}, {}, r"has no OVERSAMP and no pixel scale; give .* or pixel_scale_arcsec"),
        ({"PIXSCALE": 0.06}, {}, r"pixels of 0\.06 arcsec are larger than the detector's of 0\.05"),
    ],
)
def test_what_contradicts_the_survey_is_refused(keywords, given, message, tmp_path):
    write(tmp_path, 0.01, **keywords)
    with pytest.raises(ValueError, match=message):
        psf(tmp_path, 0.05, **given)


def test_rounding_is_no_contradiction(tmp_path):
    write(tmp_path, 0.0396 / 5, PIXSCALE=0.0080)
    assert psf(tmp_path, 0.0396, oversampling=5).oversampling == 5
    write(tmp_path, 0.0396 / 5, PIXSCALE=0.0082)
    with pytest.raises(ConfigError, match="PIXSCALE"):
        psf(tmp_path, 0.0396, oversampling=5)


def test_one_of_the_two_is_given():
    with pytest.raises(pydantic.ValidationError, match=r"oversampling is 4 and .* 0\.01; give one"):
        PsfTable(path="psf.fits", oversampling=4, pixel_scale_arcsec=0.01)


@pytest.mark.shared
def test_scales_that_tinytim_writes(shared):
    """Of the file's pixels, sub-sampled or not."""
    for name, survey, oversampling in (
        ("acs_wfc/ACS_WFC_F435W.fits", 0.05, 1),
        ("wfc3_uvis/paltas_acs_tinytim_psf_tt_1.fits", 0.05, 2),
        ("wfc3_uvis/wfc3_uvis_f814w_flat_sub5.fits", 0.0396, 5),
    ):
        found = read_table(PsfTable(path=name), "V", survey, Sources(shared / "psf"))
        assert found.oversampling == oversampling
