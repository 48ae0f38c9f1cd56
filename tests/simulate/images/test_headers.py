"""Headers that say what is not so: left-over distortions, normalised times, surface brightness."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from tests.simulate.images.test_fits import ACS, COMMON, PHOT, header, make, plane, sky

from starcensus.simulate import BandImage, ReadOptions, read_band, read_frame, write_band
from starcensus.simulate.images.fits.exposure import check_other_bands

SHAPE = (96, 152)
SIP = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 3e-4, "B_0_2": -2e-4, "A_DMAX": 1.0}


def observed(exposure_s: float, level: float = 0.05, shared_pix: float = 0.0) -> np.ndarray:
    """Sky with its photons' noise and that of two reads, electrons/s; shared as drizzling does."""
    from scipy import ndimage

    rng = np.random.default_rng(0)
    electrons = rng.poisson(level * exposure_s, SHAPE) + rng.normal(0, 3.1 * 2**0.5, SHAPE)
    if shared_pix:
        electrons = ndimage.gaussian_filter(electrons, shared_pix)
    return (electrons / exposure_s).astype(np.float32)


def test_sip_terms_that_drizzling_left_over_are_left_out(tmp_path):
    """astropy applies them whatever CTYPE says: positions were off by up to 2 pixels here."""
    keys = COMMON | ACS | {"BUNIT": "ELECTRONS/S"} | PHOT
    left = read_band(make(tmp_path / "a.fits", keys | sky() | SIP, data=observed(858.0)))
    plain = WCS(header(sky()))
    corners = np.array([0.0, 151.0, 0.0]), np.array([0.0, 95.0, 95.0])
    world = left.wcs.pixel_to_world_values(*corners)
    np.testing.assert_allclose(plain.world_to_pixel_values(*world), corners, atol=1e-6)
    assert "A_ORDER, B_ORDER left out: CTYPE1 is RA---TAN" in left.notes[0]
    frame = read_frame([tmp_path / "a.fits"], 29.98)
    assert frame.notes == (f"ACS_F555W: {left.notes[0]}",)
    # Those that CTYPE names are the image's own.
    named = sky() | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"} | SIP
    own = read_band(make(tmp_path / "b.fits", keys | named, data=observed(858.0)))
    moved = np.array(plain.world_to_pixel_values(*own.wcs.pixel_to_world_values(*corners)))
    assert not own.notes and np.abs(moved - corners).max() > 1


@pytest.mark.parametrize("shared_pix", [0.0, 0.8])
@pytest.mark.parametrize("level", [0.0, 0.05, 3.0])
def test_an_exposure_time_that_the_noise_contradicts_is_refused(tmp_path, level, shared_pix):
    """Frames per second with EXPTIME 1 were read, with errors as of one second."""
    keys = COMMON | ACS | {"BUNIT": "ELECTRONS/S"} | PHOT | {"EXPTIME": 1.0, "NCOMBINE": 1}
    data = observed(858.0, level, shared_pix)
    path = make(tmp_path / "a.fits", keys, data=data)
    with pytest.raises(
        ValueError, match=r"EXPTIME gives 1 s, for .* times too small; .*exposure_s"
    ):
        read_band(path)
    assert read_band(path, options=ReadOptions(exposure_s=858.0)).exposure_s == 858
    # The true time, and a third of it, are not contradicted.
    for i, time in enumerate((858.0, 286.0)):
        assert read_band(make(tmp_path / f"{i}.fits", keys | {"EXPTIME": time}, data=data))


def test_electrons_that_are_said_to_be_per_second_are_refused(tmp_path):
    keys = COMMON | ACS | {"BUNIT": "ELECTRONS/S"} | PHOT
    path = make(tmp_path / "a.fits", keys, data=observed(858.0, 1.0) * 858)
    with pytest.raises(ValueError, match=r"times too large; it is that of about 1 s.*Pass unit"):
        read_band(path)
    image = read_band(path, options=ReadOptions(unit="ELECTRONS"))
    assert image.data.mean() == pytest.approx(1.0, rel=0.01)


def test_a_second_is_no_time_of_several_exposures(tmp_path):
    """Also where structure hides the noise."""
    keys = COMMON | ACS | {"BUNIT": "ELECTRONS/S"} | PHOT | {"EXPTIME": 1.0}
    data = np.random.default_rng(1).normal(50, 40, SHAPE)
    with pytest.raises(ValueError, match=r"EXPTIME is 1 s and 2 exposures .*pass exposure_s"):
        read_band(make(tmp_path / "a.fits", keys, data=data))


def test_structure_is_no_contradiction(tmp_path):
    """A crowded field has more scatter than noise."""
    from scipy import ndimage

    rng = np.random.default_rng(2)
    stars = np.where(rng.random(SHAPE) < 0.03, rng.pareto(1.5, SHAPE), 0.0)
    data = observed(858.0) + ndimage.gaussian_filter(stars, 1.0)
    keys = COMMON | ACS | {"BUNIT": "ELECTRONS/S"} | PHOT
    assert read_band(make(tmp_path / "a.fits", keys, data=data)).exposure_s == 858


def test_exposure_times_of_bands_may_not_contradict_each_other(tmp_path):
    keys = COMMON | {"BUNIT": "ELECTRONS/S", "INSTRUME": "ACS", "DETECTOR": "WFC"} | PHOT
    # As bright as a bulge, so that the noise alone does not tell a time of 5 s.
    data = observed(858.0) + np.random.default_rng(1).normal(50, 1.7, SHAPE).astype(np.float32)
    paths = [
        make(
            tmp_path / f"{name}.fits", keys | {"FILTER1": name, "EXPTIME": time} | sky(), data=data
        )
        for name, time in (("F435W", 1358.0), ("F555W", 5.0), ("F814W", 922.0))
    ]
    with pytest.raises(
        ValueError, match=r"EXPTIME of ACS_F555W is 5 s, and .* 1358, 922; .*read_b"
    ):
        read_frame(paths, 29.98)
    given = {"ACS_F555W": ReadOptions(exposure_s=5.0)}
    assert read_frame(paths, 29.98, by_band=given).image("ACS_F555W").exposure_s == 5
    # LEGUS's own differ by a factor of three, others' by ten.
    check_other_bands(
        [("U", "u", 2481.0, False), ("V", "v", 858.0, False), ("I", "i", 90.0, False)]
    )


def test_our_own_files_are_believed(tmp_path):
    """What `write_band` wrote may have no noise, such as a model's expectation."""
    image = BandImage("ACS_F555W", observed(858.0) * 1e-3 + 0.05, 1.0, 25.7)
    write_band(image, tmp_path / "a.fits")
    assert read_band(tmp_path / "a.fits").exposure_s == 1


NIRCAM = {
    "TELESCOP": "JWST",
    "INSTRUME": "NIRCAM",
    "DETECTOR": "MULTIPLE",
    "FILTER": "F200W",
    "PUPIL": "CLEAR",
    "TEXPTIME": 1202.5,
}
# Of NIRCam's short channel: 0.031 arcsec, MJy/sr of one count per second.
AREA = (0.031 / 206264.806) ** 2
SB = {"BUNIT": "MJy/sr", "PIXAR_SR": AREA, "PHOTMJSR": 1.9}
OPTIONS = ReadOptions(gain=2.05, read_noise_e=12.0, n_exposures=4, ab_minus_vega=1.7)


def i2d(path, science: dict, data: np.ndarray, primary: dict = NIRCAM):
    extra = [plane("ERR", np.ones(SHAPE, np.float32)), plane("WHT", np.ones(SHAPE, np.float32))]
    return make(path, primary, science | sky(0.031), data, extra)


def test_surface_brightness_of_jwst(tmp_path):
    """A star of known flux has its AB magnitude, and the image the noise of its electrons."""
    # 1e-6 Jy in one pixel, on a sky of 0.4 electrons/s.
    per_mjy_sr = 2.05 / 1.9
    data = observed(1202.5, 0.4) / per_mjy_sr
    star = 1e-12 / AREA
    data[40, 70] += star
    path = i2d(tmp_path / "jw_i2d.fits", SB, data)
    image = read_band(path, options=OPTIONS)
    assert (image.band, image.exposure_s, image.n_exposures) == ("NIRCAM_F200W", 1202.5, 4)
    assert image.zero_point_ab is not None
    rate = star * per_mjy_sr
    assert image.zero_point_ab - 2.5 * np.log10(rate) == pytest.approx(23.9, abs=1e-3)
    assert image.zero_point == pytest.approx(image.zero_point_ab - 1.7)
    assert np.median(image.data) == pytest.approx(0.4, rel=0.01)
    # From a list of paths, with options by band, as a survey file has them.
    frame = read_frame([path], 24.5, by_band={"NIRCAM_F200W": OPTIONS})
    assert frame.bands == ("NIRCAM_F200W",)
    # The narrow filter of the other wheel is the band.
    narrow = NIRCAM | {"FILTER": "F150W2", "PUPIL": "F162M"}
    other = i2d(tmp_path / "narrow.fits", SB, data, narrow)
    assert read_band(other, options=OPTIONS).band == "NIRCAM_F162M"


def test_one_message_names_all_that_surface_brightness_lacks(tmp_path):
    path = i2d(tmp_path / "a.fits", {"BUNIT": "MJy/sr", "PHOTMJSR": 1.9}, observed(1200.0))
    with pytest.raises(ValueError, match="BUNIT is a surface brightness") as raised:
        read_band(path)
    said = str(raised.value)
    assert str(path) in said and "[images.read_band.NIRCAM_F200W]" in said
    for word in ("PIXAR_SR", "gain", "read_noise_e", "n_exposures", "ab_minus_vega", "zero_point"):
        assert word in said
    assert "exposure_s" not in said and "PHOTMJSR" not in said
    path = i2d(tmp_path / "b.fits", SB | {"PIXAR_SR": 4 * AREA}, observed(1200.0))
    with pytest.raises(ValueError, match=r"PIXAR_SR is .* sr and pixels of the WCS have"):
        read_band(path, options=OPTIONS)


def test_a_band_that_no_header_names_is_named_in_a_survey_file(tmp_path):
    keys = COMMON | {"BUNIT": "ELECTRONS/S"} | PHOT
    with pytest.raises(ValueError, match=r'in a survey file paths = \{ BAND = "FILE" \}'):
        read_band(make(tmp_path / "a.fits", keys))


def test_what_a_file_declares_is_refused_before_it_is_read(tmp_path):
    """40 kB that declare 4e6 x 4e6 compressed pixels asked for 58 TiB."""
    hdu = fits.CompImageHDU(observed(858.0), header({"BUNIT": "ELECTRONS/S"}), name="SCI")
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(header=header(COMMON | ACS | PHOT)), hdu]).writeto(path)
    raw = path.read_bytes()
    for name, size in (("ZNAXIS1", 152), ("ZNAXIS2", 96)):
        card = f"{name:8}= {size:20d}".encode()
        assert card in raw
        raw = raw.replace(card, f"{name:8}= {4_000_000:20d}".encode())
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"a\.fits.* declares 4000000 x 4000000 pixels"):
        read_band(path)
