"""Lengths on the sky: what an arcsec and a pixel span at a distance."""

import math

ARCSEC_PER_RADIAN = 648000 / math.pi


def pc_per_arcsec(distance_modulus: float) -> float:
    """Length that one arcsec spans at a distance modulus (mag), pc.

    ```python
    pc_per_arcsec(29.98)  # 48.0
    ```
    """
    return 10 ** (distance_modulus / 5 + 1) / ARCSEC_PER_RADIAN


def pc_per_pixel(distance_modulus: float, pixel_scale_arcsec: float) -> float:
    """Length that one pixel spans at a distance, pc.

    **Arguments:**

    - `distance_modulus`: mag.
    - `pixel_scale_arcsec`: side of a pixel, arcsec.

    Raises `ValueError` for a pixel scale that is not positive.

    ```python
    pc_per_pixel(29.98, 0.0396)  # 1.9
    ```
    """
    if not 0 < pixel_scale_arcsec < math.inf:
        raise ValueError(
            f"pixel_scale_arcsec is {pixel_scale_arcsec:g}; expected arcsec per pixel, above 0"
        )
    return pc_per_arcsec(distance_modulus) * pixel_scale_arcsec
