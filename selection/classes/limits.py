"""One limit in absolute magnitude for galaxies at several distances."""

import math

import numpy as np
from jaxtyping import Float


def distance_modulus(distance_mpc: float) -> float:
    """m − M at a distance, mag, without extinction.

    Raises `ValueError` for a distance that is not above 0.

    ```python
    distance_modulus(9.8)  # 29.956
    ```
    """
    if not 0 < distance_mpc < math.inf:
        raise ValueError(f"distance_mpc is {distance_mpc:g}; expected Mpc, above 0")
    return 5 * math.log10(distance_mpc) + 25


def apparent_limit(absolute_mag: float, distance_mpc: float) -> float:
    """Apparent magnitude of an absolute one, mag.

    ```python
    apparent_limit(-7.8, 17.7)  # 23.44
    ```
    """
    return absolute_mag + distance_modulus(distance_mpc)


def absolute_limit(apparent_mag: float, distance_mpc: float) -> float:
    """Absolute magnitude of an apparent one, mag.

    ```python
    absolute_limit(23.5, 9.8)  # -6.46
    ```
    """
    return apparent_mag - distance_modulus(distance_mpc)


def common_limit(
    apparent_mag: Float[np.ndarray, "galaxy"], distance_mpc: Float[np.ndarray, "galaxy"]
) -> float:
    """The faintest absolute magnitude to which all galaxies were classified, mag.

    **Arguments:**

    - `apparent_mag`: `(galaxy,)`, the limit of each galaxy, mag.
    - `distance_mpc`: `(galaxy,)`, Mpc.

    Raises `ValueError` for no galaxy.

    ```python
    common_limit(np.array([23.0, 22.5]), np.array([9.8, 11.3]))  # -7.77
    ```
    """
    if not len(apparent_mag):
        raise ValueError("there is no galaxy; expected the limit of one or more")
    pairs = zip(apparent_mag.tolist(), distance_mpc.tolist(), strict=True)
    return min(absolute_limit(mag, distance) for mag, distance in pairs)
