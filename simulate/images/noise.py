"""The noise of a pixel, measured in an image that has structure."""

import numpy as np
from jaxtyping import Float

from .frame import BandImage

# Pixels so far apart share no drizzled noise.
LAG = 3
# Variance of a pixel less the mean of two others, over that of a pixel; σ over the median of |x|.
_OF_DIFFERENCE, _OF_MEDIAN = 1.5, 1.4826


def differences(data: Float[np.ndarray, "row col"]) -> Float[np.ndarray, "row less"]:
    """Each pixel less the mean of those three to the left and right, where both are there."""
    return data[:, LAG:-LAG] - (data[:, : -2 * LAG] + data[:, 2 * LAG :]) / 2


def scatter(apart: np.ndarray) -> float:
    """Standard deviation of a pixel by `differences`, of which outliers do not count."""
    return _OF_MEDIAN * float(np.median(np.abs(apart))) / _OF_DIFFERENCE**0.5


def pixel_noise(image: BandImage) -> float:
    """Noise of a typical pixel, electrons/s; that of the exposure where nothing varies.

    Smooth light does not count, structure of less than three pixels does.

    ```python
    pixel_noise(frame.image("ACS_F555W"))
    ```
    """
    apart = differences(image.data.astype(np.float32))
    if image.bad is not None:
        good = ~np.asarray(image.bad)
        apart = apart[good[:, LAG:-LAG] & good[:, : -2 * LAG] & good[:, 2 * LAG :]]
    found = scatter(apart) if apart.size else 0.0
    if found > 0:
        return found
    level = max(float(np.median(image.data)), 0.0) * image.exposure_s
    return (level + image.read_noise_e**2 * image.n_exposures) ** 0.5 / image.exposure_s
