"""Images of surface brightness (MJy/sr), as JWST's pipeline resamples them (i2d).

The pipeline multiplied counts per second with PHOTMJSR; what it divided by is taken back, so that
pixels are electrons per second again. How many electrons a count is, and what a read adds, its
headers do not say.
"""

import math
from typing import Any

import numpy as np

from starcensus.bands import ab_minus_vega as known_ab_minus_vega

from .keywords import GAINS, NOISES, Keywords

# AB magnitude of 1 Jy.
_AB_OF_JY = 2.5 * math.log10(3631)
# PIXAR_SR may be that of a detector's mean pixel.
_AREA_TOLERANCE = 0.05
_SR_PER_ARCSEC2 = (math.pi / 648000) ** 2


def refuse_what_is_missing(found: Keywords, band: str, options: Any) -> None:
    """Raises one `ValueError` for all that such an image does not say and the options do not."""

    def there(*names: str) -> bool:
        return any(found.get(name) is not None for name in names)

    zero_point = options.zero_point is not None or options.ab_minus_vega is not None
    known = zero_point or there("ZPVEGA", "ABVEGA") or known_ab_minus_vega(band) is not None
    lacks = {
        "PIXAR_SR (steradian of a pixel)": there("PIXAR_SR"),
        "PHOTMJSR (MJy/sr of one count per second)": there("PHOTMJSR"),
    }
    wants = {
        "gain (electrons of a count)": options.gain is not None or there(*GAINS),
        "read_noise_e": options.read_noise_e is not None or there(*NOISES),
        "n_exposures": options.n_exposures is not None or there("NDRIZ", "NDRIZIM", "NCOMBINE"),
        "exposure_s": options.exposure_s is not None or there("EXPTIME", "TEXPTIME"),
        f"ab_minus_vega of {band} or zero_point": known,
    }
    keywords, arguments = (
        [name for name, said in each.items() if not said] for each in (lacks, wants)
    )
    if not keywords and not arguments:
        return
    need = [f"the keywords {', '.join(keywords)}"] if keywords else []
    need += [f"the options {', '.join(arguments)}"] if arguments else []
    raise found.error(
        "BUNIT",
        "is a surface brightness (MJy/sr); electrons per second, which noise and magnitudes need, "
        f"follow from it with {' and with '.join(need)}. Pass these options, in a survey file in "
        f"[images.read] or [images.read_band.{band}], or convert the image to electrons per second",
    )


def electrons_per_mjy_sr(found: Keywords, gain: float) -> float:
    """Electrons per second of a pixel with 1 MJy/sr; raises `ValueError` for no number above 0."""
    one = found.agreed(("PHOTMJSR",), "MJy/sr of one count per second", "unit")
    assert one is not None
    return gain / one


def zero_point_ab(found: Keywords, per_mjy_sr: float, scale_arcsec: float | None) -> float:
    """AB magnitude of 1 electron per second.

    Raises `ValueError` for a PIXAR_SR that is not the area of the WCS's pixels within 5%.
    """
    area = found.agreed(("PIXAR_SR",), "steradian of a pixel", "zero_point")
    assert area is not None
    if scale_arcsec is not None:
        own = scale_arcsec**2 * _SR_PER_ARCSEC2
        if abs(area - own) > _AREA_TOLERANCE * own:
            raise found.error(
                "PIXAR_SR",
                f"is {area:.4g} sr and pixels of the WCS have {own:.4g}; expected the image's own "
                "pixels: correct it, or pass zero_point",
            )
    return float(_AB_OF_JY - 2.5 * np.log10(1e6 * area / per_mjy_sr))
