"""PSFs of survey and galaxy files: from FITS images, or the embedded models."""

import functools
import math
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.images import PsfTable
from starcensus.experiments.schema.paths import Sources
from starcensus.runs import Input
from starcensus.simulate import PSF, optical_psf, read_psf
from starcensus.simulate.images.psf import SCALE_TOLERANCE

# A scale that a user states is meant to more digits than headers have.
_EXACT = 1e-3


def read_table(table: PsfTable, band: str, survey_scale_arcsec: float, sources: Sources) -> PSF:
    """The PSF of a band, for pixels of `survey_scale_arcsec`.

    Raises `ConfigError` for a file that is not there or does not say how it is sampled, and
    `ValueError` as `read_psf`.
    """
    path = sources.file(table.path, f"psf.{band}")
    sampling = _sampling(table, band, path, survey_scale_arcsec)
    return read_psf(
        path,
        band,
        sampling.oversampling,
        survey_scale_arcsec,
        extension=table.extension,
        plane=table.plane,
        pixel_integrated=table.pixel_integrated,
        image_scale_arcsec=sampling.image_scale_arcsec,
    )


def _sampling(table: PsfTable, band: str, path: pathlib.Path, survey: float) -> "_Sampling":
    if table.pixel_scale_arcsec is not None:
        return _fitting(table.pixel_scale_arcsec, survey, _EXACT)
    says = _header(band, path, table.extension)
    oversampling = table.oversampling or says.oversampling
    if oversampling is None and says.scale_arcsec is None:
        raise ConfigError(
            f"psf.{band}: {path} has no OVERSAMP and no pixel scale; give {{path = ..., "
            "oversampling = ...}, image pixels per pixel of the survey, or pixel_scale_arcsec"
        )
    if oversampling is None:
        return _fitting(says.scale_arcsec or survey, survey, SCALE_TOLERANCE)
    if says.scale_arcsec is None:
        return _Sampling(oversampling, None)
    meant = survey / oversampling
    if abs(says.scale_arcsec - meant) <= SCALE_TOLERANCE * meant:
        return _Sampling(oversampling, None)
    from_file = "" if table.oversampling else ", of the header's OVERSAMP"
    raise ConfigError(
        f"psf.{band}: {says.keyword} of {path} says pixels of {says.scale_arcsec:g} arcsec, "
        f"and the survey's {survey:g} arcsec over oversampling {oversampling}{from_file}, are "
        f"{meant:.5g}; give an oversampling that fits, or pixel_scale_arcsec = ..., of the "
        "file's pixels, alone: it overrides the header"
    )


class _Sampling(NamedTuple):
    """Image pixels per pixel of the survey, and the file's scale where that is another."""

    oversampling: int
    image_scale_arcsec: float | None


def _fitting(scale: float, survey: float, tolerance: float) -> _Sampling:
    """The sampling of a file's scale, at least as fine as the file where they do not fit."""
    ratio = survey / scale
    whole = max(1, round(ratio))
    if abs(ratio - whole) <= tolerance * whole:
        return _Sampling(whole, None)
    return _Sampling(max(1, math.ceil(ratio)), scale)


class _Header(NamedTuple):
    oversampling: int | None
    scale_arcsec: float | None
    keyword: str


def _header(band: str, path: pathlib.Path, extension: int) -> _Header:
    """What a file says of its sampling."""
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        try:
            header = fits.getheader(path, extension)
        except (OSError, IndexError) as error:
            raise ConfigError(f"psf.{band}: {path} cannot be read as FITS ({error})") from error
        oversampling = header.get("OVERSAMP")
        whole = isinstance(oversampling, int) and oversampling >= 1
        for keyword in ("PIXSCALE", "PIXELSCL"):
            value = header.get(keyword)
            if isinstance(value, int | float) and value > 0:
                return _Header(oversampling if whole else None, float(value), keyword)
        return _Header(oversampling if whole else None, _wcs_scale(header), "the WCS")


def _wcs_scale(header: Any) -> float | None:
    """Pixel scale of a WCS in angles, arcsec; None where there is none."""
    from astropy import units
    from astropy.wcs import WCS, FITSFixedWarning
    from astropy.wcs.utils import proj_plane_pixel_scales

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(header, naxis=2)
            unit = wcs.wcs.cunit[0]
            if unit.physical_type != "angle":
                return None
            return float(proj_plane_pixel_scales(wcs)[0] * unit.to(units.arcsec))
        except (ValueError, KeyError, MemoryError):
            return None


def make_psfs(
    given: Mapping[str, PsfTable],
    bands: tuple[str, ...],
    pixel_scale_arcsec: float,
    sources: Sources,
) -> dict[str, PSF]:
    """PSF of each band, the embedded model where none is given."""
    if unknown := [band for band in given if band not in bands]:
        raise ConfigError(f"psf: no band {', '.join(unknown)}; there are {', '.join(bands)}")
    return {
        band: read_table(given[band], band, pixel_scale_arcsec, sources)
        if band in given
        else _embedded_psf(band, pixel_scale_arcsec)
        for band in bands
    }


def psf_inputs(given: Mapping[str, PsfTable], sources: Sources) -> dict[str, Input]:
    """The files of PSFs."""
    return {
        f"psf.{band}": Input.of(sources.file(table.path, f"psf.{band}"))
        for band, table in given.items()
    }


@functools.lru_cache(maxsize=16)
def _embedded_psf(band: str, pixel_scale_arcsec: float) -> PSF:
    return optical_psf(band, pixel_scale_arcsec)
