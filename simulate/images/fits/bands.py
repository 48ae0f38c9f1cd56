"""Band images as FITS: drizzled HST mosaics as they are published, and our own.

An image is in the extension SCI or in the primary one, its keywords in either header. Nothing is
assumed that a file does not say: what is missing or contradicts itself is an error that names the
argument which settles it.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from starcensus.bands import BANDS, ab_minus_vega, camera_of, filter_of
from starcensus.files import replacing
from starcensus.fits_files import opened
from starcensus.settings import check_choices

from ..frame import BandImage, Frame
from . import brightness
from . import hdus as _hdus
from . import keywords as keyword
from .exposure import check_exposure, check_other_bands

_SHIFT_TOLERANCE_PIX = 0.5


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """What to take instead of what a file says, or where it says nothing. None: from the file.

    **Arguments:**

    - `extension`: name or number of the image's extension.
    - `unit`: unit of the pixels, as BUNIT says it.
    - `exposure_s`: total exposure time, s, above 0. One that is given is not checked against the
      noise of the image and the times of other bands.
    - `gain`: electrons per count, above 0, of images in counts or MJy/sr.
    - `zero_point`: Vega magnitude of 1 electron/s.
    - `ab_minus_vega`: mag, of bands of which `starcensus.bands` does not know it.
    - `read_noise_e`: electrons rms of a read.
    - `n_exposures`: how many exposures were combined.
    - `weight`: path of a file of weights, instead of an extension WHT.
    - `weight_kind`: `"inverse_variance"` keeps the weights; any other kind (exposure times, by
      AstroDrizzle's default) only says which pixels have no data. By default their BUNIT decides.
    - `zeros`: what pixels of exactly 0 are where there are no weights: `"bad"`, `"data"`, or
      `"refuse"`, which raises for more than one in a thousand.

    ```python
    read_band("images/ACS_F555W.fits", options=ReadOptions(exposure_s=900.0, zeros="bad"))
    ```
    """

    extension: str | int | None = None
    unit: str | None = None
    exposure_s: float | None = None
    gain: float | None = None
    zero_point: float | None = None
    ab_minus_vega: float | None = None
    read_noise_e: float | None = None
    n_exposures: int | None = None
    weight: str | None = None
    weight_kind: Literal["inverse_variance", "other"] | None = None
    zeros: Literal["refuse", "bad", "data"] = "refuse"

    def __post_init__(self) -> None:
        check_choices(self)


def read_band(
    path: str | os.PathLike[str], band: str | None = None, options: ReadOptions = ReadOptions()
) -> BandImage:
    """One band from a FITS file, in electrons per second.

    Pixels that are not finite, have no weight, or are not 0 in an extension BAD are `bad`; those
    that are not finite become 0.

    **Arguments:**

    - `path`: the file.
    - `band`: name as in `StellarGrid.bands`; by default from the header (filter, camera, detector).
    - `options`: what to take instead of what the file says.

    SIP terms of a CTYPE without `-SIP` are left out, as `BandImage.notes` say.

    Raises `ValueError` with file, extension, keyword, what was found and what was expected; also
    for an exposure time that the noise contradicts (its variance is below 1/50 or, in three
    quarters of the image, above 300 times that of sky and reading).

    ```python
    read_band("images/ACS_F555W.fits").zero_point
    ```
    """
    return _read(path, band, options).image


def read_frame(
    paths: Sequence[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]],
    distance_modulus: float | None = None,
    pixel_scale_arcsec: float | None = None,
    options: ReadOptions = ReadOptions(),
    by_band: Mapping[str, ReadOptions] = {},
) -> Frame:
    """Band images on one pixel grid, from one file each.

    **Arguments:**

    - `paths`: the files in order, or by the band's name.
    - `distance_modulus`: mag, by default DISTMOD of the files, as `write_frame` writes it.
    - `pixel_scale_arcsec`: arcsec, by default from the WCS or PIXSCALE of the files.
    - `options`: what to take instead of what the files say.
    - `by_band`: options for some bands, instead of `options`.

    Raises `ValueError` as `read_band`, and for bands of different shapes, scales (relative 10⁻³) or
    places on the sky (half a pixel), exposure times that differ by a factor of 100, of no files, or
    of `by_band` that is not there.

    ```python
    read_frame(["images/ACS_F435W.fits", "images/ACS_F555W.fits"]).distance_modulus
    ```
    """
    files = list(paths.items()) if isinstance(paths, Mapping) else [(None, p) for p in paths]
    if not files:
        raise ValueError("there are no files; expected one FITS image for each band")
    images, scales, moduli, times = [], [], [], []
    for named, path in files:
        band = named or band_of_file(path, options.extension)
        read = _read(path, band, by_band.get(band, options))
        image = read.image
        for other, before in zip(images, files, strict=False):
            if other.band == band:
                raise ValueError(f"{before[1]} and {path} are both {band}; expected each band once")
            if other.shape != image.shape:
                raise ValueError(
                    f"{path}: {band} has {image.shape} rows and columns and {other.band} "
                    f"{other.shape}; drizzle them to one grid"
                )
        images.append(image)
        scales.append(read.scale_arcsec)
        moduli.append(read.distance_modulus)
        times.append((image.band, path, image.exposure_s, read.time_is_given))
    known = [image.band for image in images]
    if unknown := [band for band in by_band if band not in known]:
        raise ValueError(f"there are options of {', '.join(unknown)}; files of {', '.join(known)}")
    check_other_bands(times)
    _check_grid(images, files)
    scale = _one(scales, pixel_scale_arcsec, files, "the pixel scale", "pixel_scale_arcsec")
    modulus = _one(moduli, distance_modulus, files, "the distance modulus", "distance_modulus")
    return Frame(tuple(images), modulus, scale)


def band_of_file(path: str | os.PathLike[str], extension: str | int | None = None) -> str:
    """Name of a file's band, from its header; `ValueError` where it has none."""
    with opened(path, "FITS image") as file:
        hdu = _hdus.image(file, path, extension)
        return keyword.band_name(_hdus.keywords(file, hdu, path), None)


def write_band(
    image: BandImage,
    path: str | os.PathLike[str],
    *,
    pixel_scale_arcsec: float | None = None,
    distance_modulus: float | None = None,
) -> None:
    """Write a band image that `read_band` reads as it was, atomically; pixels in 32-bit floats.

    SCI is the image in electrons/s, WHT its weights and BAD its bad pixels where it has them. Zero
    points are ZPVEGA and ZPAB; PHOTFLAM and PHOTPLAM stand beside them for other programs.

    **Arguments:**

    - `image`: the band.
    - `path`: the file, which is replaced where it is there.
    - `pixel_scale_arcsec`, `distance_modulus`: arcsec and mag, for the header.

    Raises `FileError` where it cannot be written.

    ```python
    write_band(frame.image("ACS_F555W"), "v.fits", pixel_scale_arcsec=0.0396)
    ```
    """
    from astropy.io import fits

    instrument, _, detector = camera_of(image.band).partition("_")
    primary = fits.PrimaryHDU()
    cards: list[tuple[str, Any, str]] = [
        ("CREATOR", keyword.CREATOR, ""),
        ("BAND", image.band, "name of the band"),
        ("INSTRUME", instrument, ""),
        ("DETECTOR", detector or ("WFC" if instrument == "ACS" else ""), ""),
        ("FILTER", filter_of(image.band), ""),
        ("EXPTIME", float(image.exposure_s), "total exposure time, s"),
        ("NCOMBINE", image.n_exposures, "exposures combined"),
        ("RDNOISE", float(image.read_noise_e), "electrons rms of a read"),
        ("ZPVEGA", float(image.zero_point), "Vega magnitude of 1 electron/s"),
        ("ZPAB", image.zero_point_ab, "AB magnitude of 1 electron/s"),
        ("PIXSCALE", pixel_scale_arcsec, "arcsec per pixel"),
        ("DISTMOD", distance_modulus, "distance modulus, mag"),
        *_flux_scale(image),
    ]
    for key, value, comment in cards:
        if value not in (None, ""):
            primary.header[key] = (value, comment)
    header = fits.Header()
    if image.wcs is not None:
        header.update(image.wcs.to_header(relax=True))
    science = fits.ImageHDU(np.asarray(image.data, np.float32), header, name="SCI")
    science.header["BUNIT"] = "ELECTRONS/S"
    hdus: list[Any] = [primary, science]
    if image.weight is not None:
        hdus.append(fits.ImageHDU(np.asarray(image.weight, np.float32), name="WHT"))
        hdus[-1].header["BUNIT"] = _hdus.INVERSE_VARIANCE
    if image.bad is not None:
        hdus.append(fits.ImageHDU(image.bad.astype(np.uint8), name="BAD"))
    with replacing(path) as temporary:
        fits.HDUList(hdus).writeto(temporary, overwrite=True)


def write_frame(frame: Frame, folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Write each band to `BAND.fits` in a folder that is there; returns the paths.

    Raises `FileError` where that fails.

    ```python
    write_frame(frame, prepare_folder("mine"))
    ```
    """
    paths = []
    for image in frame:
        paths.append(pathlib.Path(folder) / f"{image.band}.fits")
        write_band(
            image,
            paths[-1],
            pixel_scale_arcsec=frame.pixel_scale_arcsec,
            distance_modulus=frame.distance_modulus,
        )
    return paths


def _flux_scale(image: BandImage) -> list[tuple[str, Any, str]]:
    ab, offset = image.zero_point_ab, ab_minus_vega(image.band)
    if ab is None and offset is not None:
        ab = image.zero_point + offset
    if ab is None or image.band not in BANDS:
        return []
    pivot = BANDS[image.band].pivot_angstrom
    flux = 10 ** (-0.4 * (ab + 48.60)) * keyword.SPEED_OF_LIGHT / pivot**2
    return [
        ("PHOTFLAM", float(f"{flux:.10e}"), "inverse sensitivity, erg/cm2/A/electron"),
        ("PHOTPLAM", pivot, "pivot wavelength, A"),
    ]


class _Read(NamedTuple):
    """A band with what its file says beside the image; None where it does not say it."""

    image: BandImage
    scale_arcsec: float | None
    distance_modulus: float | None
    # The exposure time is the user's, or our own file's.
    time_is_given: bool


def _read(path: str | os.PathLike[str], band: str | None, options: ReadOptions) -> _Read:
    with opened(path, "FITS image") as file:
        hdu = _hdus.image(file, path, options.extension)
        found = _hdus.keywords(file, hdu, path)
        ours = found.get("CREATOR") == keyword.CREATOR
        name = keyword.band_name(found, band)
        wcs, scale, notes = _hdus.sky(file, hdu, found)
        unit = keyword.unit(found, options.unit)
        if unit.brightness:
            brightness.refuse_what_is_missing(found, name, options)
        exposure_s = keyword.exposure(found, options.exposure_s)
        factor, zero_point, zero_point_ab = _scale(found, name, unit, exposure_s, scale, options)
        data = _hdus.pixels(hdu, found)
        if factor != 1.0:
            data *= np.float32(factor)
        weight, bad, is_known = _where_bad(file, found, data, options, ours)
        if bad.all():
            raise ValueError(f"{path}[{found.extension}]: no pixel has a finite value and a weight")
        data[~np.isfinite(data)] = 0.0
        if weight is not None:
            weight = weight / np.float32(factor**2) if factor != 1.0 else weight
        read_noise_e = keyword.read_noise(found, options.read_noise_e)
        n_exposures = keyword.exposures(found, options.n_exposures)
        given = ours or options.exposure_s is not None
        if not given:
            check_exposure(found, data, bad, exposure_s, read_noise_e, n_exposures)
        image = BandImage(
            name,
            data,
            exposure_s,
            zero_point,
            read_noise_e,
            n_exposures,
            zero_point_ab,
            wcs,
            bad if is_known or bad.any() else None,
            weight,
            notes,
        )
        return _Read(image, scale, found.number("DISTMOD"), given)


def _scale(
    found: keyword.Keywords,
    band: str,
    unit: keyword.Unit,
    exposure_s: float,
    scale_arcsec: float | None,
    options: ReadOptions,
) -> tuple[float, float, float | None]:
    """Electrons/s of a pixel of 1, and the Vega and AB magnitude of 1 electron/s."""
    per_count = None if unit.electrons else keyword.gain(found, options.gain)
    given = options.zero_point, options.ab_minus_vega
    if unit.brightness and per_count is not None:
        factor = brightness.electrons_per_mjy_sr(found, per_count)
        ab = None
        if options.zero_point is None:
            ab = brightness.zero_point_ab(found, factor, scale_arcsec)
        return factor, *keyword.zero_points(found, band, per_count, *given, ab)
    factor = (1.0 if per_count is None else per_count) / (1.0 if unit.per_second else exposure_s)
    return factor, *keyword.zero_points(found, band, per_count, *given)


def _where_bad(
    file: Any, found: keyword.Keywords, data: np.ndarray, options: ReadOptions, ours: bool
) -> tuple[np.ndarray | None, np.ndarray, bool]:
    """Weights, bad pixels, and whether the file has a mask of its own."""
    bad = ~np.isfinite(data)
    weight, no_data = _hdus.weights(file, found, data.shape, options.weight, options.weight_kind)
    has_mask = "BAD" in file
    if has_mask:
        bad |= _hdus.same_shape(_hdus.pixels(file["BAD"], found), data, found, "BAD") != 0
    if ours and options.weight is None:
        pass  # What is bad is in BAD.
    elif no_data is not None:
        bad |= no_data
    elif not has_mask:
        bad |= _hdus.zeros(data, found, options.zeros)
    return weight, bad, has_mask


def _check_grid(images: list[BandImage], files: Sequence[tuple[Any, Any]]) -> None:
    """Bands with a WCS show the same sky in the same pixel."""
    with_wcs = [(image, path) for image, (_, path) in zip(images, files, strict=True) if image.wcs]
    if not with_wcs:
        return
    first, first_path = with_wcs[0]
    rows, cols = first.shape
    x, y = (np.array(values, float) for values in ((0, cols - 1, 0), (0, 0, rows - 1)))
    sky = first.wcs.pixel_to_world_values(x, y)
    for image, path in with_wcs[1:]:
        there = np.array(image.wcs.world_to_pixel_values(*sky))
        apart = float(np.hypot(there[0] - x, there[1] - y).max())
        if not apart < _SHIFT_TOLERANCE_PIX:
            raise ValueError(
                f"{path}: {image.band} shows another sky than {first.band} ({first_path}), up to "
                f"{apart:.3g} pixels apart; drizzle them to one grid"
            )


def _one(
    values: list[float | None],
    given: float | None,
    files: Sequence[tuple[Any, Any]],
    what: str,
    argument: str,
) -> float:
    """The value that the files agree on; the one that is given needs to agree as a scale does."""
    stated = [(v, path) for v, (_, path) in zip(values, files, strict=True) if v is not None]
    for value, path in stated[1:]:
        if abs(value - stated[0][0]) > _hdus.SCALE_TOLERANCE * abs(stated[0][0]):
            raise ValueError(
                f"{path}: {what} is {value:.6g} and in {stated[0][1]} {stated[0][0]:.6g}; expected "
                "one for all bands"
            )
    if given is None and not stated:
        raise ValueError(f"{files[0][1]}: does not say {what}; pass {argument}")
    if given is not None and argument == "pixel_scale_arcsec" and stated:
        value, path = stated[0]
        if abs(value - given) > _hdus.SCALE_TOLERANCE * value:
            raise ValueError(
                f"{path}: {what} is {value:.6g} arcsec; {argument} is {given:g}. Leave it out"
            )
    return given if given is not None else stated[0][0]
