"""Photometric bands: what every part of starcensus needs to know of one, in one table.

A band is a filter of a camera, named `CAMERA_FILTER`: `ACS_F555W`, `WFC3_UVIS_F275W`. Users add
bands of their own with `BANDS.add`, or in a file's `[bands.NAME]`.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from starcensus.registry import Registry

# What a band is used as: the letter of the broad band that it stands for.
Letter = Literal["NUV", "U", "B", "V", "R", "I", "J", "H"]


@dataclasses.dataclass(frozen=True)
class Band:
    """A band.

    **Arguments:**

    - `name`: `CAMERA_FILTER`, as in catalogues, grids, images and libraries.
    - `letter`: the broad band that it stands for, or None.
    - `pivot_angstrom`: pivot wavelength, Å (Koornneef et al. 1986).
    - `ab_minus_vega`: AB magnitude of an object minus its Vega magnitude, mag, or None if unknown.
    - `curve`: file of the filter curve below a folder of curves, or None.
    - `colour`: colour of the band in figures, a name or code of Matplotlib.
    - `label`: name of the band in figures and tables, by default the filter.

    Raises `ValueError` for a wavelength that is not positive.

    ```python
    BANDS.add("NIRCAM_F200W", Band("NIRCAM_F200W", None, 19886.0, ab_minus_vega=1.7))
    BANDS["NIRCAM_F200W"].filter  # "F200W"
    ```
    """

    name: str
    letter: Letter | None
    pivot_angstrom: float
    ab_minus_vega: float | None = None
    curve: str | None = None
    colour: str = "0.4"
    label: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.pivot_angstrom < 1e7:
            raise ValueError(
                f"band {self.name}: pivot_angstrom is {self.pivot_angstrom}; expected Å, above 0"
            )
        if not self.label:
            object.__setattr__(self, "label", filter_of(self.name))

    @property
    def camera(self) -> str:
        """`ACS` of `ACS_F555W`; empty where the name has none."""
        return camera_of(self.name)

    @property
    def filter(self) -> str:
        """`F555W` of `ACS_F555W`."""
        return filter_of(self.name)


def filter_of(band: str) -> str:
    """The filter of a band's name, known or not.

    ```python
    filter_of("ACS_F555W")  # "F555W", as of "F555W"
    ```
    """
    return band.rsplit("_", 1)[-1]


def camera_of(band: str) -> str:
    """The camera of a band's name, known or not; empty where the name has none.

    ```python
    camera_of("WFC3_UVIS_F275W")  # "WFC3_UVIS"
    ```
    """
    return band.rpartition("_")[0]


def wavelength_order(band: str) -> tuple[float, str]:
    """Sort key of bands, from blue to red.

    Known bands go by their pivot wavelength, others by the number of their filter; names that say
    neither come last.

    ```python
    sorted(["ACS_F814W", "WFC3_UVIS_F275W", "F606W"], key=wavelength_order)
    ```
    """
    if band in BANDS:
        return BANDS[band].pivot_angstrom, band
    number = re.search(r"F(\d+)[A-Z]*\d?$", band)
    if number is None:
        return float("inf"), band
    # HST's UVIS and ACS count in nm, infrared cameras in 10 nm.
    value = float(number[1])
    infrared = "IR" in band or "NIC" in band or "NIRCAM" in band.upper() or value < 200
    return value * (100.0 if infrared else 10.0), band


def of_letter(bands: Iterable[str], *letters: Letter) -> tuple[str, ...]:
    """Those of `bands` that stand for one of the broad bands, in their order.

    A name that is no known band counts by its filter, where a known band has that filter.

    ```python
    of_letter(["ACS_F435W", "ACS_F555W", "F606W"], "V")  # ("ACS_F555W", "F606W")
    ```
    """
    return tuple(band for band in bands if letter_of(band) in letters)


def full_name(band: str) -> str:
    """The known band that a bare filter means; any other name as it is.

    Where several cameras have the filter it is ACS's.

    ```python
    full_name("F555W")  # "ACS_F555W"
    ```
    """
    found = [known for known in BANDS if filter_of(known) == band]
    return band if band in BANDS or not found else min(found, key=lambda known: known[:4] != "ACS_")


def ab_minus_vega(band: str) -> float | None:
    """AB minus Vega magnitude of a known band, mag; None where it is unknown.

    ```python
    ab_minus_vega("ACS_F814W")  # 0.427
    ```
    """
    return BANDS[band].ab_minus_vega if band in BANDS else None


def look_up[T](table: Mapping[str, T], band: str) -> T | None:
    """What a table by bands, filters or letters says of a band, the narrowest first; or None.

    **Arguments:**

    - `table`: its keys are names of bands (`ACS_F555W`), filters (`F555W`) or letters (`V`).
    - `band`: the band that is looked up.

    ```python
    look_up({"V": 0.7, "F606W": 0.6}, "ACS_F555W")  # 0.7
    ```
    """
    for key in (band, filter_of(band), letter_of(band)):
        if key is not None and key in table:
            return table[key]
    return None


def letter_of(band: str) -> Letter | None:
    """The broad band that a band stands for; None where nothing is known of its filter.

    ```python
    letter_of("WFC3_UVIS_F336W")  # "U"
    ```
    """
    if band in BANDS:
        return BANDS[band].letter
    for known in BANDS.values():
        if known.filter == filter_of(band):
            return known.letter
    return None


def find_band(bands: Iterable[str], *letters: Letter) -> str:
    """The first of `bands` that stands for one of the broad bands.

    Raises `ValueError` where none does, naming the filters that would.

    ```python
    find_band(["ACS_F435W", "ACS_F555W"], "V", "I")  # "ACS_F555W"
    ```
    """
    bands = tuple(bands)
    if found := of_letter(bands, *letters):
        return found[0]
    known = dict.fromkeys(band.filter for band in BANDS.values() if band.letter in letters)
    raise ValueError(
        f"there is no {' or '.join(known)} among the bands {', '.join(bands)}; a band of your own "
        f"can stand for {' or '.join(letters)} by its `letter` in BANDS"
    )


def reference_band(bands: Iterable[str]) -> str:
    """The band that stands for V, or of others the one nearest to it in wavelength.

    Where artificial clusters are put, what they are matched by, and the sky around them are of this
    band. Raises `ValueError` without bands.

    ```python
    reference_band(["WFC3_UVIS_F336W", "WFC3_UVIS_F438W", "WFC3_UVIS_F814W"])  # that of F438W
    ```
    """
    bands = tuple(bands)
    if not bands:
        raise ValueError("there are no bands; expected one or more")
    v = BANDS["ACS_F555W"].pivot_angstrom
    named = of_letter(bands, "V")
    return named[0] if named else min(bands, key=lambda band: abs(wavelength_order(band)[0] - v))


BANDS = Registry[Band]("band")
# Pivots: PHOTPLAM of STScI's calibrations, from which those of the filter curves differ by up to
# 0.2%. PSFs are at them, the dust lanes of synthetic galaxies at that of the filter's `full_name`,
# one for all cameras; the table of `MagnitudeLimit` has its own, of the curves. AB minus Vega, mag:
# of STScI's VEGAMAG system (ACS and WFC3 zero-point tables); those of UVIS F438W, F555W, F814W and
# ACS F606W from total throughputs and Vega's STIS spectrum (alpha_lyr_stis_011), as in the carried
# grid of stars, and so those of Johnson's and Cousins's bands, of Bessell's curves (1990, PASP 102,
# 1181; photons counted). These have no file among the default curves: a grid names its own.
for _band in (
    Band("WFC3_UVIS_F275W", "NUV", 2710.0, 1.496, "sedpy/wfc3_uvis_f275w.par", "#7b3294"),
    Band("WFC3_UVIS_F336W", "U", 3355.0, 1.188, "sedpy/wfc3_uvis_f336w.par", "#2c5aa0"),
    Band("WFC3_UVIS_F438W", "B", 4326.0, -0.165, "eazy/wfc3_uvis_f438w.dat", "#2b83ba"),
    Band("WFC3_UVIS_F555W", "V", 5308.0, -0.029, "sedpy/wfc3_uvis_f555w.par", "#1a9641"),
    Band("WFC3_UVIS_F814W", "I", 8039.0, 0.428, "sedpy/wfc3_uvis_f814w.par", "#d7191c"),
    Band("ACS_F435W", "B", 4329.0, -0.106, "sedpy/acs_wfc_f435w.par", "#2b83ba"),
    Band("ACS_F555W", "V", 5360.0, -0.010, "sedpy/acs_wfc_f555w.par", "#1a9641"),
    Band("ACS_F606W", "V", 5922.0, 0.086, "sedpy/acs_wfc_f606w.par", "#8c9a10"),
    Band("ACS_F814W", "I", 8045.0, 0.427, "sedpy/acs_wfc_f814w.par", "#d7191c"),
    Band("BESSELL_U", "U", 3585.0, 0.791, None, "#2c5aa0"),
    Band("BESSELL_B", "B", 4371.0, -0.119, None, "#2b83ba"),
    Band("BESSELL_V", "V", 5478.0, 0.002, None, "#1a9641"),
    Band("BESSELL_R", "R", 6504.0, 0.192, None, "#d97706"),
    Band("BESSELL_I", "I", 8020.0, 0.445, None, "#d7191c"),
):
    BANDS.add(_band.name, _band)
