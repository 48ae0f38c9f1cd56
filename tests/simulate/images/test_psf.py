"""The embedded PSF against STScI's encircled energy and the PHANGS concentration indices."""

import csv
import dataclasses

import numpy as np
import pytest
from astropy.io import fits

from starcensus.bands import BANDS, Band
from starcensus.selection.pipeline import aperture_photometry
from starcensus.simulate.clusters.profiles import Moffat
from starcensus.simulate.images.frame import BandImage
from starcensus.simulate.images.psf import OPTICS, PSF, optical_psf, read_psf
from starcensus.simulate.images.render import add_sources
from starcensus.simulate.images.templates import Templates, make_template

NATIVE = 0.0396


@pytest.mark.shared
@pytest.mark.parametrize("name", ["F275W", "F336W", "F438W", "F555W", "F814W"])
def test_encircled_energy_is_stscis_within_two_percent(name: str, shared):
    with open(shared / "psf" / "ee" / "wfc3uvis1_aper_007_syn.csv") as file:
        rows = list(csv.reader(file))
    # Column names are rounded: the radii are whole numbers of pixels of 0.0396 arcsec.
    radii = NATIVE * np.arange(1, 14)
    table = np.array(next(row for row in rows if row[0] == name)[2:15], float)
    used = radii > 0.1
    found = optical_psf(f"WFC3_UVIS_{name}").encircled_energy(radii)
    np.testing.assert_allclose(found[used], table[used], rtol=0.02)


# Bohlin (2016, AJ 152, 60): 0.1 to 0.5 arcsec in steps of 0.05, then 1. The numbers of ACS come
# from fits to UVIS, so that nothing of the model was fitted to these.
ACS_RADII = np.r_[np.arange(2, 11) * 0.05, 1.0]
ACS = {
    "F435W": (0.0225, (0.663, 0.792, 0.839, 0.863, 0.877, 0.887, 0.895, 0.902, 0.907, 0.941)),
    "F555W": (0.02, (0.668, 0.794, 0.841, 0.868, 0.885, 0.895, 0.903, 0.910, 0.915, 0.946)),
    "F606W": (0.0215, (0.661, 0.795, 0.839, 0.866, 0.885, 0.896, 0.904, 0.910, 0.916, 0.947)),
    "F814W": (0.02, (0.611, 0.770, 0.830, 0.853, 0.871, 0.889, 0.901, 0.908, 0.914, 0.949)),
}


@pytest.mark.parametrize("name", ACS)
def test_encircled_energy_of_acs_is_bohlins(name: str):
    miss, table = ACS[name]
    found = optical_psf(f"ACS_{name}").encircled_energy(ACS_RADII)
    np.testing.assert_allclose(found[:-1], table[:-1], rtol=miss)
    assert found[-1] == pytest.approx(table[-1], rel=0.03)


def test_a_fiducial_cluster_has_the_phangs_concentration_indices():
    # Thilker et al. (2022), table 1: Moffat of FWHM 2 pixels and eta 3, WFC3/UVIS F555W.
    psf = optical_psf("WFC3_UVIS_F555W")
    core = 2 / 2 / np.sqrt(2 ** (1 / 3) - 1)
    assert Moffat(2.0, eta=3.0).core_radius_pc == pytest.approx(core)
    template = make_template(psf, Moffat(2.0, eta=3.0), 1.0)
    # Medians over sub-pixel places, as those of clusters that are put anywhere.
    radii = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
    fluxes = []
    for offset in [(0.0, 0.0), (0.25, 0.25), (0.5, 0.5), (0.25, 0.0), (0.5, 0.0)]:
        image = BandImage("V", template.stamp(*offset, template.radius), 1.0, 0.0)
        at = [np.array([template.radius + step]) for step in offset]
        fluxes.append(aperture_photometry(image, *at, radii).flux[0])
    ci = np.median(2.5 * np.diff(np.log10(fluxes), axis=1), axis=0)
    expected = [0.746, 0.447, 0.288, 0.186, 0.201, 0.0858]
    np.testing.assert_allclose(ci, expected, atol=0.05)


def write(path, image: np.ndarray):
    fits.writeto(path, image.astype(np.float32))
    return path


def gaussian(n: int, centre: float) -> np.ndarray:
    step = np.arange(n) - centre
    return np.exp(-(step[:, None] ** 2 + step**2) / 32)


def test_images_of_odd_and_even_sides_are_read_to_a_centred_psf(tmp_path):
    odd = read_psf(write(tmp_path / "odd.fits", 7 * gaussian(61, 30)), "V", 4, 0.04)
    even = read_psf(write(tmp_path / "even.fits", gaussian(62, 31)), "V", 4, 0.04)
    assert odd.image.sum() == pytest.approx(1) and odd.image.shape == (61, 61)
    np.testing.assert_allclose(odd.image, even.image, atol=1e-9)


def test_a_pattern_is_integrated_over_a_pixel_when_asked(tmp_path):
    path = write(tmp_path / "point.fits", np.pad([[1.0]], 10))
    image = read_psf(path, "V", 4, 0.04, pixel_integrated=False).image
    assert image[10, 10] == pytest.approx(1 / 16) and image[10, 12] == pytest.approx(1 / 32)


def arcsec_spread(psf: PSF) -> np.ndarray:
    """Standard deviations along row and column."""
    n = len(psf.image)
    step = (np.arange(n) - (n - 1) / 2) * psf.pixel_scale_arcsec / psf.oversampling
    return np.sqrt([(psf.image.sum(axis) * step**2).sum() for axis in (1, 0)])


@pytest.mark.parametrize("n", [61, 62])
@pytest.mark.parametrize(("scale", "oversampling"), [(0.0396, 2), (0.021, 3), (0.0495, 2)])
def test_an_image_of_other_pixels_keeps_its_width_in_arcsec(n, scale, oversampling, tmp_path):
    """A Gaussian of 0.10 by 0.07 arcsec, for pixels of 0.05 arcsec."""
    widths = np.array([0.10, 0.07])
    step = (np.arange(n) - n // 2) * scale
    row, col = (np.exp(-(step**2) / 2 / width**2) for width in widths)
    path = write(tmp_path / "psf.fits", row[:, None] * col)
    psf = read_psf(path, "V", oversampling, 0.05, image_scale_arcsec=scale)
    np.testing.assert_allclose(arcsec_spread(psf), widths, rtol=0.002)
    assert psf.image.sum() == pytest.approx(1) and psf.image.argmax() == psf.image.size // 2
    middle = len(psf.image) // 2
    peak = (0.05 / oversampling) ** 2 / (2 * np.pi * widths.prod())
    assert psf.image[middle, middle] == pytest.approx(peak, rel=0.002)
    # Taken for what it is not, it is of another width.
    wrong = read_psf(path, "V", oversampling, 0.05)
    assert not np.allclose(arcsec_spread(wrong), widths, rtol=0.05)


def test_a_pattern_of_other_pixels_is_integrated_over_the_detectors(tmp_path):
    path = write(tmp_path / "psf.fits", gaussian(101, 50))  # of 4 pixels
    psf = read_psf(path, "V", 4, 0.05, pixel_integrated=False, image_scale_arcsec=0.0175)
    expected = np.hypot(4 * 0.0175, 0.05 / np.sqrt(12))
    np.testing.assert_allclose(arcsec_spread(psf), expected, rtol=0.01)


def test_pixels_that_are_too_large_or_left_out_are_refused(tmp_path):
    path = write(tmp_path / "psf.fits", gaussian(61, 30))
    with pytest.raises(ValueError, match=r"pixels of 0\.05 arcsec are larger than .* 0\.0396; exp"):
        read_psf(path, "V", 2, 0.0396, image_scale_arcsec=0.05)
    with pytest.raises(ValueError, match=r"0\.01 arcsec and oversampling is 2.*expected 4 or more"):
        read_psf(path, "V", 2, 0.0396, image_scale_arcsec=0.01)


@pytest.mark.shared
def test_files_as_their_makers_publish_them(shared):
    for name in ("F435W", "F475W"):  # of odd and of even side, 0.0495 arcsec per pixel
        tinytim = read_psf(shared / "psf" / "acs_wfc" / f"ACS_WFC_{name}.fits", name, 1, 0.0495)
        assert tinytim.image.shape[0] % 2 and tinytim.image.argmax() == tinytim.image.size // 2
    grid = shared / "psf" / "wfc3_uvis" / "emp_psf_f814w.fits"
    anderson = read_psf(grid, "F814W", 4, 0.0396, plane=0)
    assert anderson.radius_pix == 12.5
    template = make_template(anderson, None, 1.9)
    assert template.stamp(0.0, 0.0, 24).sum() == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match=r"values run from -0\.1 .*nowhere negative"):
        read_psf(grid, "F814W", 4, 0.0396, plane=27)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.ones((5, 7)), r"shape \(5, 7\); expected a square"),
        (np.full((5, 5), np.nan), "25 pixels are not finite"),
        (np.eye(25)[::-1] * np.arange(25), "expected it at the centre"),
        (-np.ones((5, 5)) + 2 * np.pad([[1.0]], 2), "values run from -1 to 1; expected a PSF"),
        (np.ones((3, 5, 5)), "holds 3 images and plane is None; name one from 0 to 2"),
    ],
)
def test_what_is_no_psf_is_refused(image, message: str, tmp_path):
    with pytest.raises(ValueError, match=rf"psf.fits: .*{message}"):
        read_psf(write(tmp_path / "psf.fits", image), "V", 4, 0.04)


def test_a_psf_is_centred_and_whole():
    with pytest.raises(ValueError, match="odd side"):
        PSF("V", np.full((4, 4), 1 / 16), 4, 0.04)
    with pytest.raises(ValueError, match="sums to 25; expected 1"):
        PSF("V", np.ones((5, 5)), 4, 0.04)
    with pytest.raises(ValueError, match=r"sums to 0\.99; expected 1"):
        PSF("V", np.full((3, 3), 0.11), 4, 0.04)
    with pytest.raises(ValueError, match="there is no PSF model of F999W"):
        optical_psf("F999W")


def test_an_own_band_has_the_optics_of_its_camera_and_letter(monkeypatch):
    monkeypatch.setattr(BANDS, "_known", dict(BANDS))
    BANDS.add("ACS_F550M", Band("ACS_F550M", "V", 5581.0))
    BANDS.add("WFPC2_F547M", Band("WFPC2_F547M", "V", 5483.0))
    own, v = optical_psf("ACS_F550M", radius_pix=30), optical_psf("ACS_F555W", radius_pix=30)
    radii = np.array([0.1])
    assert own.encircled_energy(radii) < v.encircled_energy(radii)  # a longer wavelength
    same = dataclasses.replace(OPTICS["ACS", "V"], wavelength_angstrom=5360.0)
    np.testing.assert_array_equal(
        optical_psf("ACS_F550M", radius_pix=30, optics=same).image, v.image
    )
    with pytest.raises(ValueError, match=r"WFPC2_F547M.*\[bands\.WFPC2_F547M\].*pass `optics`"):
        optical_psf("WFPC2_F547M")
    with pytest.raises(ValueError, match="wavelength_angstrom"):
        optical_psf("F999W", optics=OPTICS["ACS", "V"])


@pytest.mark.shared
def test_the_psf_decides_the_concentration_of_compact_clusters(shared):
    """The figures of the documents: CI(1, 3) of clusters behind two PSFs of ACS F555W."""
    path = shared / "psf" / "acs_wfc" / "ACS_WFC_F555W.fits"
    psfs = optical_psf("ACS_F555W", 0.0495), read_psf(path, "ACS_F555W", 1, 0.0495)
    middle, wanted = np.array([60.0]), {1.0: (1.22, 1.08), 3.0: (1.48, 1.38)}
    for radius, values in wanted.items():
        for psf, value in zip(psfs, values, strict=True):
            data = np.zeros((121, 121), np.float32)
            template = Templates({"ACS_F555W": psf}, 2.378).get("ACS_F555W", radius)
            add_sources(data, template, middle, middle, np.array([1e4]))
            image = BandImage("ACS_F555W", data, 1.0, 25.0)
            flux = aperture_photometry(image, middle, middle, (1.0, 3.0)).flux[0]
            assert 2.5 * np.log10(flux[1] / flux[0]) == pytest.approx(value, abs=0.015)
