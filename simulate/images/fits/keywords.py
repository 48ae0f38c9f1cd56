"""What the headers of drizzled HST images call things: band, unit, times, zero points, noise."""

import os
import re
from typing import Any, NamedTuple

import numpy as np

from starcensus.bands import BANDS, filter_of
from starcensus.bands import ab_minus_vega as known_ab_minus_vega

_RATE = r"(?:/S|/SEC|/SECOND|S-1|S\*\*-1|S\^-1)"
_ELECTRONS, _COUNTS = r"(?:ELECTRONS?|E-?)", r"(?:COUNTS?|DN|ADU|DATANUMBER)"
_BRIGHTNESS = r"MJY(?:/SR|SR-1|SR\*\*-1|SR\^-1)"
CREATOR = "starcensus"
SPEED_OF_LIGHT = 2.99792458e18  # Å/s
_PASS_BAND = 'pass band, in a survey file paths = { BAND = "FILE" }'
_FILTERS = ("FILTER", "FILTER1", "FILTER2", "FILTNAM1", "FILTNAM2")
_ROUNDING = 1e-6
_NOISE = ("READNSEA", "READNSEB", "READNSEC", "READNSED")
NOISES = (*_NOISE, "RDNOISE")
GAINS = ("CCDGAIN", "GAIN", "ATODGAIN")


class Keywords:
    """Keywords of an image: those of its own header, then those of the primary one.

    Errors name the file, the extension and the keyword.
    """

    def __init__(self, path: str | os.PathLike[str], extension: str, own: Any, primary: Any):
        self.path, self.extension = path, extension
        self.headers = (own, primary)

    def error(self, keyword: str, message: str) -> ValueError:
        return ValueError(f"{self.path}[{self.extension}]: {keyword} {message}")

    def get(self, keyword: str) -> Any:
        """The value, or None; `ValueError` if the two headers contradict each other."""
        values = [h[keyword] for h in self.headers if keyword in h and h[keyword] != ""]
        values = [value for value in values if value is not None]
        if len(values) == 2 and not _same(*values):
            raise self.error(
                keyword,
                f"is {values[0]!r} here and {values[1]!r} in the primary header; correct one of "
                "them, or pass the value",
            )
        return values[0] if values else None

    def comment(self, keyword: str) -> str:
        for header in self.headers:
            if keyword in header:
                return str(header.comments[keyword])
        return ""

    def number(self, keyword: str) -> float | None:
        value = self.get(keyword)
        if value is None:
            return None
        if not _is_number(value) or not np.isfinite(float(value)):
            raise self.error(keyword, f"is {value!r}; expected a number")
        return float(value)

    def agreed(self, keywords: tuple[str, ...], expected: str, argument: str) -> float | None:
        """The one positive value of keywords that mean the same."""
        found = {name: value for name in keywords if (value := self.number(name)) is not None}
        for name, value in found.items():
            if not value > 0:
                raise self.error(name, f"is {value:g}; expected {expected}, or pass {argument}")
        values = list(found.values())
        if values and not _same(min(values), max(values)):
            said = " and ".join(f"{value:g}" for value in values)
            raise self.error(
                " and ".join(found), f"are {said}; expected one value: pass {argument}"
            )
        return values[0] if values else None

    def positive(self, argument: str, value: float, expected: str) -> float:
        """A value that was given instead of a keyword's."""
        if not 0 < value < np.inf:
            raise ValueError(
                f"{self.path}[{self.extension}]: the argument {argument} is {value:g}; expected "
                f"{expected}, > 0"
            )
        return value


def _same(one: Any, other: Any) -> bool:
    """Equal; numbers to the digits that headers are rounded to."""
    if not (_is_number(one) and _is_number(other)):
        return bool(one == other)
    return bool(abs(one - other) <= _ROUNDING * max(abs(one), abs(other)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def band_name(keywords: Keywords, band: str | None) -> str:
    """Name as in `StellarGrid.bands`; a given name must be of the filter that the header names."""
    own = keywords.get("BAND")
    found = {
        str(value).strip().upper() for name in _FILTERS if (value := keywords.get(name)) is not None
    }
    found = {name for name in found if not name.startswith("CLEAR") and name not in ("N/A", "NONE")}
    # JWST's narrow filters stand in the other wheel, before a wide one.
    pupil = str(keywords.get("PUPIL") or "").strip().upper()
    if re.fullmatch(r"F\d+[A-Z]+", pupil):
        found = {pupil}
    # Other programs may mean another thing by BAND.
    trusted = keywords.get("CREATOR") == CREATOR or re.search(r"_F\d+[A-Z]+$", str(own))
    known = str(own) if own is not None and trusted else None
    if band is not None:
        named = {filter_of(known)} if known is not None else found
        if named and filter_of(band) not in named:
            raise keywords.error(
                "FILTER",
                f"is {', '.join(sorted(named))}; expected that of {band}: is it the wrong file?",
            )
        return band
    if known is not None:
        return known
    if len(found) != 1:
        said = f"name {', '.join(sorted(found))}" if found else "are not there"
        raise keywords.error(
            ", ".join(_FILTERS), f"{said}; expected one filter that is not CLEAR: {_PASS_BAND}"
        )
    camera, detector = keywords.get("INSTRUME"), keywords.get("DETECTOR")
    camera = "" if camera is None else str(camera).strip().upper()
    detector = "" if detector is None else str(detector).strip().upper()
    [name] = found
    if camera == "WFPC2":
        return f"WFPC2_{name}"
    if (camera, detector) == ("ACS", "WFC"):
        return f"ACS_{name}"
    if camera in ("ACS", "WFC3") and detector:
        return f"{camera}_{detector}_{name}"
    if camera in ("NIRCAM", "MIRI", "NIRISS"):
        return f"{camera}_{name}"
    raise keywords.error(
        "INSTRUME and DETECTOR",
        f"are {camera or 'not there'} and {detector or 'not there'}; expected those of ACS, WFC3, "
        f"WFPC2, NIRCAM, MIRI or NIRISS: {_PASS_BAND}",
    )


class Unit(NamedTuple):
    """What pixels count: electrons (else counts, or MJy/sr), and whether per second."""

    electrons: bool
    per_second: bool
    brightness: bool = False


def unit(keywords: Keywords, given: str | None) -> Unit:
    """The unit of the pixels."""
    value = given if given is not None else keywords.get("BUNIT")
    if value is None:
        raise keywords.error("BUNIT", "is not there; expected such as ELECTRONS/S: pass unit")
    text = re.sub(r"[\s.]", "", str(value).upper())
    if re.fullmatch(_BRIGHTNESS, text):
        return Unit(False, True, True)
    for electrons, pattern in ((True, _ELECTRONS), (False, _COUNTS)):
        if text in ("CPS",) and not electrons:
            return Unit(False, True)
        if match := re.fullmatch(f"{pattern}({_RATE})?", text):
            return Unit(electrons, match[1] is not None)
    raise keywords.error(
        "BUNIT",
        f"is {value!r}; expected electrons or counts, or either per second (ELECTRONS/S, e-/s, "
        "COUNTS), or the surface brightness MJy/sr: convert the image, or pass unit",
    )


def exposure(keywords: Keywords, given: float | None) -> float:
    """Total exposure time, s."""
    if given is not None:
        return keywords.positive("exposure_s", given, "the total in seconds")
    found = keywords.agreed(("EXPTIME", "TEXPTIME"), "the total in seconds", "exposure_s")
    if found is None:
        raise keywords.error(
            "EXPTIME", "is not there, nor is TEXPTIME; expected the total in seconds: pass "
            "exposure_s"
        )  # fmt: skip
    return found


def gain(keywords: Keywords, given: float | None) -> float:
    """Electrons per count."""
    if given is not None:
        return keywords.positive("gain", given, "electrons per count")
    found = keywords.agreed(GAINS, "electrons per count", "gain")
    if found is None:
        raise keywords.error(
            "CCDGAIN", "is not there, nor are GAIN and ATODGAIN, and the image is in counts; pass "
            "gain, electrons per count"
        )  # fmt: skip
    return found


def read_noise(keywords: Keywords, given: float | None) -> float:
    """Electrons rms of a read; root mean square of the amplifiers'."""
    if given is not None:
        return given
    each = [value for name in _NOISE if (value := keywords.number(name)) is not None and value > 0]
    if each:
        return float(np.sqrt(np.mean(np.square(each))))
    found = keywords.number("RDNOISE")
    if found is None or found < 0:
        raise keywords.error(
            "READNSEA to READNSED, or RDNOISE,",
            f"{'is not there' if found is None else f'is {found:g}'}; expected electrons rms: "
            "pass read_noise_e",
        )
    return found


def exposures(keywords: Keywords, given: int | None) -> int:
    """How many exposures were combined.

    NDRIZIM counts the chips that were drizzled; the files are counted where D001DATA and so on name
    them. NCOMBINE above 1 beside another NDRIZIM is of the inputs, and refused.
    """
    if given is not None:
        return given
    combined = keywords.number("NCOMBINE")
    drizzled = keywords.agreed(("NDRIZIM", "NDRIZ"), "how many images", "n_exposures")
    if drizzled is not None:
        names = {
            str(value).split("[")[0]
            for i in range(1, int(drizzled) + 1)
            if (value := keywords.get(f"D{i:03d}DATA")) is not None
        }
        n = float(len(names)) if names else drizzled
        if combined is not None and combined > 1 and combined not in (n, drizzled):
            raise keywords.error(
                "NCOMBINE and NDRIZIM",
                f"are {combined:g} and {drizzled:g}; expected one number of exposures: pass "
                "n_exposures",
            )
    elif combined is not None:
        n = combined
    else:
        raise keywords.error(
            "NCOMBINE", "is not there, nor is NDRIZIM; expected how many exposures were combined: "
            "pass n_exposures"
        )  # fmt: skip
    if n < 1 or n % 1:
        raise keywords.error("NCOMBINE or NDRIZIM", f"is {n:g}; expected a whole number >= 1")
    return int(n)


def zero_points(
    keywords: Keywords,
    band: str,
    electrons_per_count: float | None,
    given: float | None,
    ab_minus_vega: float | None,
    known_ab: float | None = None,
) -> tuple[float, float | None]:
    """Vega and AB magnitude of 1 electron/s; AB is None where the file does not say.

    `electrons_per_count` is None for an image in electrons. PHOTFLAM is of what its comment says,
    electrons or counts, else of the image's unit if that is electrons. `known_ab` stands for it.
    """
    explicit = keywords.number("ZPVEGA") if given is None else given
    stated = keywords.number("ZPAB")
    if explicit is not None:
        return explicit, stated
    if stated is None:
        stated = known_ab
    if stated is None:
        stated = _photflam(keywords, electrons_per_count)
    if ab_minus_vega is None:
        ab_minus_vega = keywords.number("ABVEGA")
    if ab_minus_vega is None:
        ab_minus_vega = known_ab_minus_vega(band)
        if ab_minus_vega is None:
            there = ", ".join(known for known in BANDS if known_ab_minus_vega(known) is not None)
            raise keywords.error(
                "ZPVEGA",
                f"is not there and AB minus Vega of {band} is not known; it is of "
                f"{there}. Pass ab_minus_vega or zero_point, mag",
            )
    return stated - ab_minus_vega, stated


def _photflam(keywords: Keywords, electrons_per_count: float | None) -> float:
    values = []
    for name, what in (
        ("PHOTFLAM", "erg/s/cm2/Angstrom of 1 electron/s"),
        ("PHOTPLAM", "the pivot wavelength, Angstrom"),
    ):
        value = keywords.agreed((name,), what, "zero_point")
        if value is None:
            raise keywords.error(name, f"is not there; expected {what}: pass zero_point (Vega)")
        values.append(value)
    photflam, photplam = values
    comment = keywords.comment("PHOTFLAM").lower()
    of_electrons = re.search(r"elec|/\s*\(?e-?\b", comment) is not None
    of_counts = re.search(r"count|\bdn\b|\badu\b", comment) is not None
    if electrons_per_count is None and of_counts and not of_electrons:
        raise keywords.error(
            "PHOTFLAM", f"is of counts ({comment!r}) and the image of electrons; pass zero_point"
        )
    if electrons_per_count is not None and of_electrons == of_counts:
        raise keywords.error(
            "PHOTFLAM",
            f"does not say whether it is of electrons or of counts ({comment!r}), and the image "
            "is in counts; pass zero_point, the Vega magnitude of 1 electron/s",
        )
    if electrons_per_count is not None and of_counts:
        photflam /= electrons_per_count
    return float(-2.5 * np.log10(photflam * photplam**2 / SPEED_OF_LIGHT) - 48.60)
