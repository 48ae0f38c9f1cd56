"""The image, its weights and its place on the sky in a FITS file."""

import os
import re
from typing import Any

import numpy as np

from starcensus.fits_files import opened

from ..frame import check_size
from .keywords import Keywords

INVERSE_VARIANCE = "(electrons/s)**-2"
SCALE_TOLERANCE = 1e-3
# Share of pixels of exactly 0 above which an image without weights does not say where it ends.
_MANY_ZEROS = 0.001
_SIP = re.compile(r"(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)")


def image(file: Any, path: str | os.PathLike[str], extension: str | int | None) -> Any:
    """The HDU of the image: as asked, SCI, the primary one, or the only one."""
    images = [
        hdu for hdu in file if hdu.is_image and hdu.header.get("NAXIS") == 2 and hdu.shape != ()
    ]
    there = ", ".join(f"{i} {hdu.name or 'PRIMARY'}" for i, hdu in enumerate(file))
    if extension is not None:
        try:
            hdu = file[extension]
        except (KeyError, IndexError):
            raise ValueError(f"{path}: has no extension {extension!r}; it has {there}") from None
        if not any(hdu is image for image in images):
            raise ValueError(f"{path}[{extension}]: holds no image of rows and columns")
        return hdu
    for chosen in (
        [hdu for hdu in images if hdu.name == "SCI"],
        [hdu for hdu in images if hdu is file[0]],
        [hdu for hdu in images if hdu.name not in ("WHT", "BAD", "CTX", "ERR", "DQ")],
    ):
        if len(chosen) > 1:
            raise ValueError(
                f"{path}: holds {len(chosen)} images ({there}); expected one drizzled image: name "
                "its extension"
            )
        if chosen:
            return chosen[0]
    raise ValueError(f"{path}: holds no image of rows and columns; it has {there}")


def keywords(file: Any, hdu: Any, path: str | os.PathLike[str]) -> Keywords:
    return Keywords(path, hdu.name or "PRIMARY", hdu.header, file[0].header)


def pixels(hdu: Any, found: Keywords) -> np.ndarray:
    # As it is stored and as 32-bit floats.
    check_size(hdu.shape, f"{found.path}[{hdu.name}]", bytes_per_pixel=12)
    try:
        return np.array(hdu.data, np.float32)
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(
            f"{found.path}[{hdu.name}]: its pixels cannot be read ({error}); is the file cut off?"
        ) from error


def same_shape(plane: np.ndarray, data: np.ndarray, found: Keywords, name: str) -> np.ndarray:
    if plane.shape != data.shape:
        raise ValueError(
            f"{found.path}: {name} has {plane.shape} rows and columns and the image {data.shape}"
        )
    return plane


def weights(
    file: Any, found: Keywords, shape: tuple[int, ...], path: str | None, kind: str | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Inverse variances in the image's unit where that is what weights are; where they are 0."""
    if path is not None:
        with opened(path, "FITS image of weights") as other:
            hdu = other["WHT"] if "WHT" in other else image(other, path, None)
            where = Keywords(path, hdu.name, hdu.header, {})
            plane, unit = pixels(hdu, where), str(hdu.header.get("BUNIT", ""))
    elif "WHT" in file:
        plane, unit = pixels(file["WHT"], found), str(file["WHT"].header.get("BUNIT", ""))
    else:
        return None, None
    plane = same_shape(plane, np.empty(shape, bool), found, path or "WHT")
    if kind is None:
        kind = "inverse_variance" if unit == INVERSE_VARIANCE else "other"
    empty = ~(plane > 0)
    return (plane if kind == "inverse_variance" else None), empty


def zeros(data: np.ndarray, found: Keywords, rule: str) -> np.ndarray:
    zero = data == 0
    share = float(zero.mean())
    if rule == "bad":
        return zero
    if rule == "refuse" and share > _MANY_ZEROS:
        raise ValueError(
            f"{found.path}[{found.extension}]: {100 * share:.1f}% of the pixels are exactly 0 and "
            "there is no extension WHT that says where there are data; pass weight, or zeros = "
            "'bad' or 'data'"
        )
    return np.zeros(data.shape, bool)


def sky(file: Any, hdu: Any, found: Keywords) -> tuple[Any, float | None, tuple[str, ...]]:
    """WCS and pixel scale, arcsec, None where there is none; and what was left out, in words."""
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    stated = found.agreed(("PIXSCALE",), "arcsec > 0", "pixel_scale_arcsec")
    if not {"CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2"} <= set(hdu.header):
        return None, stated, ()
    header, notes = _without_left_over_sip(hdu.header)
    try:
        wcs = WCS(header, fobj=file, naxis=2)
        sides = np.asarray(proj_plane_pixel_scales(wcs), float) * 3600
    except Exception as error:
        raise ValueError(
            f"{found.path}[{found.extension}]: its WCS cannot be used ({str(error).strip()}); "
            "correct it or remove CTYPE1"
        ) from error
    scale = float(np.sqrt(sides[0] * sides[1]))
    if not 0 < scale < np.inf:
        raise found.error("CD or CDELT and PC", "give pixels of no size; correct them")
    if abs(sides[0] - sides[1]) > SCALE_TOLERANCE * scale:
        raise found.error(
            "CD or CDELT and PC",
            f"give pixels of {sides[0]:.5g} by {sides[1]:.5g} arcsec; expected squares: drizzle "
            "the image",
        )
    if stated is not None and abs(stated - scale) > SCALE_TOLERANCE * scale:
        raise found.error(
            "PIXSCALE", f"is {stated:g} and the WCS has {scale:.5g} arcsec; correct one of them"
        )
    return wcs, scale if stated is None else stated, notes


def _without_left_over_sip(header: Any) -> tuple[Any, tuple[str, ...]]:
    """The header without distortions that its CTYPE does not name.

    Drizzling removes them and leaves the keywords of an input, which astropy would apply.
    """
    types = [str(header[name]).strip() for name in ("CTYPE1", "CTYPE2")]
    left = [name for name in header if _SIP.fullmatch(name)]
    if not left or any(name.endswith("-SIP") for name in types):
        return header, ()
    clean = header.copy()
    for name in left:
        clean.remove(name, ignore_missing=True, remove_all=True)
    orders = [name for name in left if name.endswith("_ORDER")] or left[:2]
    return clean, (
        f"{', '.join(orders)} left out: CTYPE1 is {types[0]}, so the image has no distortion of "
        "which these SIP terms could be",
    )
