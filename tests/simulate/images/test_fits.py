"""FITS images as HST's pipelines write them, and our own, which come back to the bit."""

import dataclasses

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from starcensus.bands import ab_minus_vega
from starcensus.files import FileError
from starcensus.simulate import (
    BandImage,
    Frame,
    ReadOptions,
    read_band,
    read_frame,
    write_band,
    write_frame,
)

SHAPE = (30, 40)
# Headers of the dialects: (primary, SCI, band, factor to electrons/s).
PHOT = {"PHOTFLAM": (1.9620e-19, "inverse sensitivity, ergs/cm2/Ang/electron"), "PHOTPLAM": 5360.9}
COMMON = {"EXPTIME": 858.0, "NCOMBINE": 2, "READNSEA": 3.0, "READNSEB": 3.2}
ACS = {"INSTRUME": "ACS", "DETECTOR": "WFC", "FILTER1": "F555W", "FILTER2": "CLEAR2L"}
WFC3 = {"INSTRUME": "WFC3", "DETECTOR": "UVIS", "FILTER": "F275W"}


def sky(scale_arcsec: float = 0.04, crval: float = 24.17, cd: bool = True) -> dict:
    step = scale_arcsec / 3600
    keys = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": crval, "CRVAL2": 15.78}
    keys |= {"CRPIX1": 20.5, "CRPIX2": 15.5, "CUNIT1": "deg", "CUNIT2": "deg"}
    if cd:
        return keys | {"CD1_1": -step, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": step}
    return keys | {"CDELT1": -step, "CDELT2": step, "PC1_1": 1.0, "PC2_2": 1.0}


def pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1.0, 0.1, SHAPE).astype(np.float32)


def header(keys: dict) -> fits.Header:
    made = fits.Header()
    for key, value in keys.items():
        made[key] = value
    return made


def make(path, primary: dict, science: dict | None = None, data=None, extra=(), **options):
    """A file with the image in SCI, or in the primary extension where `science` is None."""
    data = pixels() if data is None else data
    if science is None:
        hdus = [fits.PrimaryHDU(data, header(primary))]
    else:
        kind = options.pop("kind", fits.ImageHDU)
        hdus = [fits.PrimaryHDU(header=header(primary))]
        hdus.append(kind(data, header(science), name="SCI"))
    fits.HDUList([*hdus, *extra]).writeto(path)
    return path


def plane(name: str, data: np.ndarray, **keys) -> fits.ImageHDU:
    return fits.ImageHDU(data, header(keys), name=name)


DIALECTS = [
    (COMMON | ACS | {"BUNIT": "ELECTRONS/S"} | PHOT, None, "ACS_F555W", 1.0),
    (COMMON | ACS, {"BUNIT": "e-/s"} | PHOT, "ACS_F555W", 1.0),
    (COMMON | ACS | PHOT, {"BUNIT": "ELECTRONS"}, "ACS_F555W", 1 / 858),
    (COMMON | WFC3 | PHOT, {"BUNIT": "electron / s"}, "WFC3_UVIS_F275W", 1.0),
    (COMMON | WFC3 | {"CCDGAIN": 1.5}, {"BUNIT": "COUNTS"} | PHOT, "WFC3_UVIS_F275W", 1.5 / 858),
    (COMMON | ACS | {"GAIN": 2.0} | PHOT, {"BUNIT": "COUNTS/S"}, "ACS_F555W", 2.0),
    (
        {"TEXPTIME": 100.0, "NDRIZIM": 3, "RDNOISE": 5.0, "INSTRUME": "WFC3", "DETECTOR": "UVIS"},
        {"FILTNAM1": "F336W", "BUNIT": "ELECTRONS/SEC"} | PHOT,
        "WFC3_UVIS_F336W",
        1.0,
    ),
]


@pytest.mark.parametrize(("primary", "science", "band", "factor"), DIALECTS)
@pytest.mark.parametrize("cd", [True, False])
def test_dialects(tmp_path, primary, science, band, factor, cd):
    place = sky(cd=cd)
    science = None if science is None else science | place
    primary = primary | place if science is None else primary
    image = read_band(make(tmp_path / "a.fits", primary, science))
    assert image.band == band and image.data.dtype == np.float32 and image.data.dtype.isnative
    np.testing.assert_allclose(image.data, pixels() * factor, rtol=1e-6)
    assert image.exposure_s == primary.get("EXPTIME", 100.0) and image.bad is None
    # STScI: AB zero point = -2.5 log10(PHOTFLAM) - 5 log10(PHOTPLAM) - 2.408.
    flam = PHOT["PHOTFLAM"][0]
    ab = -2.5 * np.log10(flam) - 5 * np.log10(PHOT["PHOTPLAM"]) - 2.408
    assert image.zero_point_ab == pytest.approx(ab, abs=1e-3)
    assert image.zero_point == pytest.approx(ab - (ab_minus_vega(band) or 0.0), abs=1e-3)
    frame = read_frame([tmp_path / "a.fits"], 29.98)
    assert frame.pixel_scale_arcsec == pytest.approx(0.04, rel=1e-6)
    assert frame.images[0].wcs.pixel_to_world_values(19.5, 14.5)[0] == pytest.approx(24.17)
    assert image.n_exposures == (3 if "NDRIZIM" in primary else 2)
    noise = 5.0 if "RDNOISE" in primary else np.sqrt((9 + 3.2**2) / 2)
    assert image.read_noise_e == pytest.approx(noise)


def test_the_magnitude_of_a_source_does_not_depend_on_the_unit(tmp_path):
    """One star in electrons, or in counts with PHOTFLAM of counts or of electrons."""
    magnitudes = []
    for i, (unit, gain, flam, per) in enumerate(
        [
            ("ELECTRONS/S", 1.0, 2e-19, "electron"),
            ("COUNTS/S", 4.0, 8e-19, "DN"),
            ("COUNTS/S", 4.0, 2e-19, "electron"),
        ]
    ):
        data = np.full(SHAPE, 40.0 / gain, np.float32)
        phot = {"PHOTFLAM": (flam, f"inverse sensitivity, ergs/cm2/Ang/{per}"), "PHOTPLAM": 5360.0}
        science = {"BUNIT": unit, "GAIN": gain} | phot
        image = read_band(make(tmp_path / f"{i}.fits", COMMON | ACS, science, data))
        magnitudes.append(image.mag(image.data[0, :1])[0])
    np.testing.assert_allclose(magnitudes, magnitudes[0], rtol=1e-6)


# STScI's ACS zero-point table for 2016-04-01: PHOTPLAM, PHOTFLAM, Vega and AB magnitude.
ACS_ZERO_POINTS = {
    "F435W": (4329.2, 3.148e-19, 25.763, 25.665),
    "F555W": (5360.9, 1.963e-19, 25.713, 25.713),
    "F606W": (5922.0, 7.811e-20, 26.405, 26.498),
    "F814W": (8045.0, 7.046e-20, 25.517, 25.944),
}
# Unit, gain's keyword and value, what PHOTFLAM is of, and one electron/s in that unit for 858 s.
UNITS = [
    ("ELECTRONS/S", {}, "electron", 1.0),
    ("ELECTRONS", {}, "electron", 858.0),
    ("COUNTS", {"ATODGAIN": 2.0}, "electron", 429.0),
    ("CPS", {"CCDGAIN": 2.0}, "DN", 0.5),
    ("COUNTS", {"GAIN": 4.0}, "count", 214.5),
]


@pytest.mark.parametrize("name", ACS_ZERO_POINTS)
@pytest.mark.parametrize(("unit", "gain", "of", "one"), UNITS)
def test_zero_points_and_weights_of_published_acs_bands(tmp_path, name, unit, gain, of, one):
    """As AstroDrizzle writes: PHOTFLAM beside the image in SCI, weights and exposures in others."""
    photplam, photflam, vega, ab = ACS_ZERO_POINTS[name]
    # Of one count, which is `gain` electrons, for PHOTFLAM of counts.
    per = 1.0 if of == "electron" else next(iter(gain.values()))
    phot = {"PHOTFLAM": (photflam * per, f"inverse sensitivity, ergs/cm2/Ang/{of}")}
    science = {"BUNIT": unit, "PHOTPLAM": photplam} | phot | sky()
    # The other wheel is clear, which F814W is in.
    wheels = {"FILTER1": "CLEAR1L", "FILTER2": name}
    weight = np.full(SHAPE, 858.0, np.float32)
    weight[0] = 0
    extra = [plane("WHT", weight), plane("CTX", np.ones(SHAPE, np.int32))]
    data = np.full(SHAPE, 100 * one, np.float32)
    path = make(tmp_path / "a.fits", COMMON | ACS | wheels | gain, science, data, extra)
    image = read_band(path)
    assert image.band == f"ACS_{name}" and image.exposure_s == 858
    assert image.zero_point_ab == pytest.approx(ab, abs=1.5e-3)
    # AB minus Vega of this table and of `BANDS` differ by up to 0.010.
    assert image.zero_point == pytest.approx(vega, abs=0.012)
    np.testing.assert_allclose(image.mag(image.data[5, :1]), image.zero_point - 5, atol=1e-5)
    np.testing.assert_array_equal(image.bad, weight == 0)
    assert image.weight is None
    # Inverse variances are of the unit.
    image = read_band(path, options=ReadOptions(weight_kind="inverse_variance"))
    np.testing.assert_allclose(image.weight, weight * one**2, rtol=1e-6)


def test_zero_points_that_a_header_states(tmp_path):
    keys = GOOD | {"ZPAB": 25.718}
    image = read_band(make(tmp_path / "a.fits", keys))
    assert (image.zero_point, image.zero_point_ab) == pytest.approx((25.728, 25.718))
    image = read_band(make(tmp_path / "b.fits", keys | {"ABVEGA": -0.013}))
    assert (image.zero_point, image.zero_point_ab) == pytest.approx((25.731, 25.718))
    image = read_band(make(tmp_path / "c.fits", keys | {"ZPVEGA": 25.7, "ABVEGA": -0.013}))
    assert (image.zero_point, image.zero_point_ab) == (25.7, 25.718)
    wfpc2 = COMMON | {"INSTRUME": "WFPC2", "FILTNAM1": "F555W", "BUNIT": "COUNTS", "ATODGAIN": 7.0}
    image = read_band(make(tmp_path / "d.fits", wfpc2), options=ReadOptions(zero_point=24.6))
    assert image.band == "WFPC2_F555W" and image.zero_point == 24.6
    np.testing.assert_allclose(image.data, pixels() * 7 / 858, rtol=1e-6)


def test_another_program_may_say_what_is_bad(tmp_path):
    """A mask leaves pixels of exactly 0 that it does not name as they are."""
    data, mask = pixels(), np.zeros(SHAPE, np.uint8)
    data[:5], data[7, 7] = 0.0, np.nan
    mask[:2] = 4
    bad = (mask != 0) | np.isnan(data)
    path = make(tmp_path / "a.fits", COMMON | ACS | PHOT, {"BUNIT": "e/s"}, data)
    with pytest.raises(ValueError, match="of the pixels are exactly 0"):
        read_band(path)
    with fits.open(path, mode="append") as file:
        file.append(plane("BAD", mask))
    np.testing.assert_array_equal(read_band(path).bad, bad)


def test_pixels_without_data(tmp_path):
    data = pixels()
    data[3, 4], data[5, 6] = np.nan, 0.0
    weight = np.ones(SHAPE, np.float32)
    weight[:, 30:] = 0
    data[:, 30:] = 0
    science = {"BUNIT": "ELECTRONS/S"} | PHOT
    expected = weight == 0
    expected[3, 4] = True
    path = make(tmp_path / "a.fits", COMMON | ACS, science, data, [plane("WHT", weight)])
    image = read_band(path)
    np.testing.assert_array_equal(image.bad, expected)
    assert image.data[3, 4] == 0 and image.weight is None
    assert read_band(path, options=ReadOptions(weight_kind="inverse_variance")).weight is not None
    # The same weights from a file of their own; inverse variances scale with the unit.
    make(tmp_path / "wht.fits", {}, None, weight)
    science |= {"BUNIT": "ELECTRONS"}
    path = make(tmp_path / "b.fits", COMMON | ACS, science, data)
    options = ReadOptions(weight=str(tmp_path / "wht.fits"), weight_kind="inverse_variance")
    image = read_band(path, options=options)
    np.testing.assert_array_equal(image.bad, expected)
    np.testing.assert_allclose(image.weight, weight * 858.0**2)
    # Without any, the file does not say what 0 is.
    with pytest.raises(ValueError, match=r"b.fits\[SCI\]: 25.1% of the pixels are exactly 0 and"):
        read_band(path)
    counts = [np.sum(read_band(path, options=ReadOptions(zeros=z)).bad) for z in ("bad", "data")]
    assert counts == [302, 1]


def test_scaled_and_compressed_images(tmp_path):
    science = {"BUNIT": "ELECTRONS/S"} | PHOT
    whole = np.arange(1200, dtype=np.int16).reshape(SHAPE) + 1
    hdu = fits.ImageHDU(whole, header(science), name="SCI")
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.5, 100.0
    fits.HDUList([fits.PrimaryHDU(header=header(COMMON | ACS)), hdu]).writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", do_not_scale_image_data=True) as raw:
        stored = np.array(raw[1].data)
        scale = raw[1].header.get("BSCALE", 1), raw[1].header.get("BZERO", 0)
    np.testing.assert_allclose(read_band(tmp_path / "a.fits").data, stored * scale[0] + scale[1])
    make(tmp_path / "b.fits", COMMON | ACS, science, kind=fits.CompImageHDU)
    np.testing.assert_allclose(read_band(tmp_path / "b.fits").data, pixels(), atol=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_written_comes_back(tmp_path, seed):
    rng = np.random.default_rng(seed)
    bad, weight = rng.random(SHAPE) < 0.1, rng.random(SHAPE).astype(np.float32)
    weight[:3] = 0
    image = BandImage(
        ["ACS_F555W", "WFC3_UVIS_F438W", "NIRCAM_F200W", "V"][seed],
        rng.normal(0, 10.0 ** rng.uniform(-4, 3), SHAPE).astype(np.float32),
        float(rng.uniform(1, 3000)),
        float(rng.uniform(20, 30)),
        float(rng.uniform(0, 10)),
        seed + 1,
        float(rng.uniform(20, 30)) if seed % 2 else None,
        WCS(header(sky())) if seed < 2 else None,
        bad if seed != 2 else None,
        weight if seed < 3 else None,
    )
    write_band(image, tmp_path / "a.fits")
    back = read_band(tmp_path / "a.fits")
    for name in ("data", "bad", "weight"):
        one, two = getattr(image, name), getattr(back, name)
        if one is None:
            assert two is None
        else:
            assert one.dtype == two.dtype and one.tobytes() == two.tobytes()
    for field in ("band", "exposure_s", "zero_point", "zero_point_ab", "read_noise_e"):
        assert getattr(back, field) == getattr(image, field)
    assert back.n_exposures == seed + 1 and (back.wcs is None) == (image.wcs is None)
    if seed < 2:
        corner = np.array([0.0, 39.0]), np.array([0.0, 29.0])
        world = (np.array(i.wcs.pixel_to_world_values(*corner)) for i in (image, back))
        np.testing.assert_allclose(*world, rtol=0, atol=1e-10)
    with pytest.raises(FileError, match="cannot write"):
        write_band(image, tmp_path / "none" / "a.fits")
    assert [p.name for p in tmp_path.iterdir()] == ["a.fits"]


def test_other_programs_get_the_zero_point_from_photflam(tmp_path):
    image = BandImage("ACS_F555W", pixels(), 858.0, 25.731, n_exposures=2)
    write_band(image, tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update") as file:
        for key in ("ZPVEGA", "CREATOR", "BAND"):
            del file[0].header[key]
    back = read_band(tmp_path / "a.fits")
    assert back.band == "ACS_F555W" and back.zero_point == pytest.approx(25.731, abs=1e-6)


def test_frames(tmp_path):
    wcs = WCS(header(sky()))
    images = tuple(
        BandImage(band, pixels(i), 858.0, 25.7, wcs=wcs)
        for i, band in enumerate(("ACS_F814W", "ACS_F555W"))
    )
    scale = 0.040000123
    paths = write_frame(Frame(images, 29.98, scale), tmp_path)
    assert [path.name for path in paths] == ["ACS_F814W.fits", "ACS_F555W.fits"]
    frame = read_frame(paths)
    assert frame.bands == ("ACS_F814W", "ACS_F555W") and frame.distance_modulus == 29.98
    assert frame.pixel_scale_arcsec == scale
    assert read_frame(paths, 30.5).distance_modulus == 30.5
    named = dict(zip(frame.bands, paths, strict=True))
    options = {"ACS_F555W": ReadOptions(exposure_s=9.0)}
    frame = read_frame(named, by_band=options)
    assert frame.image("ACS_F555W").exposure_s == 9 and frame.images[0].exposure_s == 858
    with pytest.raises(ValueError, match="options of ACS_F606W; files of ACS_F814W, ACS_F555W"):
        read_frame(named, by_band={"ACS_F606W": ReadOptions()})
    with pytest.raises(ValueError, match="there are no files"):
        read_frame([])
    with pytest.raises(ValueError, match="are both ACS_F814W; expected each band once"):
        read_frame([paths[0], paths[0]])
    with pytest.raises(ValueError, match="is F814W; expected that of ACS_F555W: is it the wrong"):
        read_frame({"ACS_F555W": paths[0]})
    with pytest.raises(ValueError, match=r"pixel_scale_arcsec is 0.05. Leave it out"):
        read_frame(paths, pixel_scale_arcsec=0.05)
    other = BandImage("ACS_F435W", pixels()[:, :-1], 858.0, 25.7)
    write_band(other, tmp_path / "c.fits")
    with pytest.raises(ValueError, match=r"c.fits: ACS_F435W has \(30, 39\) rows and columns and"):
        read_frame([*paths, tmp_path / "c.fits"])
    with pytest.raises(ValueError, match=r"c.fits: does not say the pixel scale; pass pixel_sc"):
        read_frame([tmp_path / "c.fits"], 29.98)
    for name, place, message in (
        ("d", sky(0.0401), "shows another sky than ACS_F814W|the pixel scale is 0.0401"),
        ("e", sky(crval=24.17 + 0.08 / 3600), "shows another sky than ACS_F814W .* pixels apart"),
    ):
        moved = BandImage("ACS_F435W", pixels(), 858.0, 25.7, wcs=WCS(header(place)))
        write_band(moved, tmp_path / f"{name}.fits")
        with pytest.raises(ValueError, match=message):
            read_frame([*paths, tmp_path / f"{name}.fits"])


GOOD = COMMON | ACS | {"BUNIT": "ELECTRONS/S"} | PHOT
MISTAKES = [
    ({"BUNIT": None}, r"\[PRIMARY\]: BUNIT is not there; expected such as ELECTRONS/S: pass unit"),
    ({"BUNIT": "JY/SR"}, "BUNIT is 'JY/SR'; expected electrons or counts"),
    ({"BUNIT": "COUNTS"}, "CCDGAIN is not there, nor are GAIN .*in counts; pass gain"),
    ({"BUNIT": "COUNTS", "CCDGAIN": 1.0, "GAIN": 2.0}, "CCDGAIN and GAIN are 1 and 2; expected on"),
    (
        {"BUNIT": "COUNTS", "GAIN": 2.0, "PHOTFLAM": 1e-19},
        "PHOTFLAM does not say whether it is of electrons or of counts",
    ),
    ({"PHOTFLAM": (1e-19, "erg/cm2/A/DN")}, "PHOTFLAM is of counts .*image of electrons; pass z"),
    ({"PHOTFLAM": 0.0}, "PHOTFLAM is 0; expected erg/s/cm2/Angstrom of 1 electron/s"),
    ({"PHOTPLAM": None}, "PHOTPLAM is not there; expected the pivot .*pass zero_point"),
    ({"EXPTIME": None}, "EXPTIME is not there, nor is TEXPTIME; expected the total in seconds"),
    ({"EXPTIME": 0.0}, "EXPTIME is 0; expected the total in seconds"),
    ({"EXPTIME": "long"}, "EXPTIME is 'long'; expected a number"),
    ({"TEXPTIME": 1716.0}, "EXPTIME and TEXPTIME are 858 and 1716; expected one value: pass exp"),
    ({"READNSEA": None, "READNSEB": None}, "READNSEA to READNSED, or RDNOISE, is not there; .*pas"),
    ({"NCOMBINE": None}, "NCOMBINE is not there, nor is NDRIZIM; .*pass n_exposures"),
    ({"NDRIZIM": 6}, "NCOMBINE and NDRIZIM are 2 and 6; expected one number of exposures"),
    ({"FILTER1": "CLEAR1L"}, "FILTNAM2 are not there; expected one filter .*: pass band"),
    ({"FILTER2": "POL0V"}, "name F555W, POL0V; expected one filter that is not CLEAR: pass band"),
    ({"INSTRUME": "NICMOS"}, "INSTRUME and DETECTOR are NICMOS and WFC; expected those of ACS"),
    ({"FILTER1": "F625W"}, "AB minus Vega of ACS_F625W is not known; .*Pass ab_minus_vega or zero"),
    ({**sky(), "CD2_2": 0.05 / 3600}, "give pixels of 0.04 by 0.05 arcsec; expected squares"),
    ({**sky(), "PIXSCALE": 0.05}, "PIXSCALE is 0.05 and the WCS has 0.04 arcsec"),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES)
def test_what_a_file_does_not_say_is_refused(tmp_path, change, message):
    header = {k: v for k, v in (GOOD | change).items() if v is not None}
    with pytest.raises(ValueError, match=message) as raised:
        read_band(make(tmp_path / "a.fits", header))
    assert str(raised.value).startswith(str(tmp_path / "a.fits"))


def test_arguments_settle_what_a_file_does_not_say(tmp_path):
    keys = {"FILTER1": "F625W", "EXPTIME": 1.0, "TEXPTIME": 2.0, "BUNIT": "COUNTS"}
    path = make(tmp_path / "a.fits", keys)
    options = ReadOptions(
        exposure_s=10.0,
        gain=2.0,
        zero_point=26.4,
        read_noise_e=4.0,
        n_exposures=4,
    )
    image = read_band(path, "ACS_F625W", options)
    np.testing.assert_allclose(image.data, pixels() * 0.2, rtol=1e-6)
    assert (image.zero_point, image.zero_point_ab, image.read_noise_e) == (26.4, None, 4.0)
    options = dataclasses.replace(options, unit="electrons", ab_minus_vega=0.08, zero_point=None)
    path = make(tmp_path / "b.fits", keys | PHOT)
    image = read_band(path, "ACS_F625W", options)
    assert image.zero_point_ab is not None
    assert image.zero_point == pytest.approx(image.zero_point_ab - 0.08)
    # The chips of two exposures, which their names say.
    names = [f"j{i}_flc.fits[sci,{chip}]" for i in (1, 2) for chip in (1, 2)]
    data = {f"D{i + 1:03d}DATA": name for i, name in enumerate(names)}
    path = make(tmp_path / "c.fits", {**GOOD, "NCOMBINE": 1, "NDRIZIM": 4} | data)
    assert read_band(path).n_exposures == 2


@pytest.mark.parametrize("value", [0.0, -2.0, np.nan, np.inf])
@pytest.mark.parametrize("name", ["gain", "exposure_s"])
@pytest.mark.parametrize("unit", ["COUNTS", "COUNTS/S"])
def test_given_gains_and_times_are_positive(tmp_path, name, value, unit):
    path = make(tmp_path / "a.fits", {**GOOD, "BUNIT": unit, "CCDGAIN": 1.0})
    options = ReadOptions(**{"zero_point": 25.0, name: value})
    what = {"gain": "electrons per count", "exposure_s": "the total in seconds"}[name]
    message = rf"a\.fits\[PRIMARY\]: the argument {name} is {value:g}; expected {what}, > 0"
    with pytest.raises(ValueError, match=message):
        read_band(path, options=options)


def test_a_time_of_0_for_electrons_is_refused(tmp_path):
    path = make(tmp_path / "a.fits", {**GOOD, "BUNIT": "ELECTRONS"})
    with pytest.raises(ValueError, match="exposure_s is 0; expected the total in seconds, > 0"):
        read_band(path, options=ReadOptions(exposure_s=0.0))


def test_both_headers_may_round_a_number_differently(tmp_path):
    flam, comment = PHOT["PHOTFLAM"]
    for name, apart, text in (("a", 1.5e-8, None), ("b", 1e-5, "PHOTFLAM is .*in the primary")):
        other = {"PHOTFLAM": (flam * (1 + apart), comment)}
        path = make(tmp_path / f"{name}.fits", GOOD, other)
        if text is None:
            assert read_band(path).zero_point_ab == pytest.approx(
                -2.5 * np.log10(flam) - 5 * np.log10(PHOT["PHOTPLAM"]) - 2.408, abs=1e-3
            )
        else:
            with pytest.raises(ValueError, match=text):
                read_band(path)
    # Words must be the same, and a number is no word.
    for key, own in (("BUNIT", "ELECTRONS"), ("EXPTIME", "858")):
        with pytest.raises(ValueError, match=f"{key} is .* here and .* in the primary header"):
            read_band(make(tmp_path / f"{key}.fits", {**GOOD, "NCOMBINE": 1}, {key: own}))


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileError, match=r"none.fits: there is no such FITS image"):
        read_band(tmp_path / "none.fits")
    (tmp_path / "a.fits").write_text("no FITS")
    with pytest.raises(ValueError, match=r"a.fits: cannot be read as FITS"):
        read_band(tmp_path / "a.fits")
    whole = make(tmp_path / "b.fits", GOOD).read_bytes()
    (tmp_path / "c.fits").write_bytes(whole[:-4000])
    with pytest.raises(ValueError, match=r"c\.fits"):
        read_band(tmp_path / "c.fits")
    fits.PrimaryHDU().writeto(tmp_path / "d.fits")
    with pytest.raises(
        ValueError, match=r"d.fits: holds no image of rows and columns; it has 0 PR"
    ):
        read_band(tmp_path / "d.fits")
    two = [plane("SCI", pixels()), plane("SCI", pixels())]
    make(tmp_path / "e.fits", GOOD, {}, extra=two[:1])
    with pytest.raises(ValueError, match=r"e.fits: holds 2 images .*: name its extension"):
        read_band(tmp_path / "e.fits")
    assert read_band(tmp_path / "e.fits", options=ReadOptions(extension=2)).shape == SHAPE
    with pytest.raises(ValueError, match=r"e.fits: has no extension 7; it has 0 PRIMARY, 1 SCI"):
        read_band(tmp_path / "e.fits", options=ReadOptions(extension=7))
    make(tmp_path / "f.fits", GOOD, {"EXPTIME": 3.0})
    with pytest.raises(ValueError, match=r"f.fits\[SCI\]: EXPTIME is 3.0 here and 858.0 in the pr"):
        read_band(tmp_path / "f.fits")
    make(tmp_path / "g.fits", GOOD, {}, extra=[plane("WHT", pixels()[1:])])
    with pytest.raises(ValueError, match=r"g.fits: WHT has \(29, 40\) rows and columns"):
        read_band(tmp_path / "g.fits")
