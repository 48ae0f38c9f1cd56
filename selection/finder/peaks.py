"""Where a map of probabilities has its peaks, and what a network says there.

Smoothing, local maxima and averages over 5×5 pixels are those of the thesis of J. Bialopetravičius
(section 3.3.1), which gives no weights: ours are the probability of a cluster times a Gaussian of
the distance from the peak.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True)
class PeakSettings:
    """How peaks are found.

    **Arguments:**

    - `smoothing_pix`: standard deviation of the Gaussian that smooths the map, pixels.
    - `window_pix`: side of the square about a peak over which numbers are averaged, odd.
    - `weight_pix`: standard deviation of the weights with distance there, pixels.
    - `min_height`: peaks of the smoothed map that are lower are none.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    PeakSettings(smoothing_pix=2.0)
    ```
    """

    smoothing_pix: float = 3.0
    window_pix: int = 5
    weight_pix: float = 1.5
    min_height: float = 0.05

    def __post_init__(self) -> None:
        lengths = self.smoothing_pix, self.weight_pix
        if not all(math.isfinite(length) and length > 0 for length in lengths):
            raise ValueError(
                f"smoothing_pix and weight_pix are {lengths}; expected pixels, above 0"
            )
        if self.window_pix < 1 or self.window_pix % 2 == 0:
            raise ValueError(f"window_pix is {self.window_pix}; expected an odd number of pixels")
        if not 0 <= self.min_height < 1:
            raise ValueError(f"min_height is {self.min_height}; expected a probability below 1")


@dataclasses.dataclass(frozen=True, eq=False)
class Peaks:
    """Peaks of a map, the highest first.

    **Arguments:**

    - `y`, `x`: `(n,)`, rows and columns of the map.
    - `height`: `(n,)`, of the smoothed map.
    - `rows`, `columns`: `(n, window)`, pixels of the square about each; inside the map.
    - `weight`: `(n, window)`, of each of them, with the sum 1; 0 where the map has no number.
    """

    y: Int[np.ndarray, "n"]
    x: Int[np.ndarray, "n"]
    height: Float[np.ndarray, "n"]
    rows: Int[np.ndarray, "n window"]
    columns: Int[np.ndarray, "n window"]
    weight: Float[np.ndarray, "n window"]

    def __len__(self) -> int:
        return len(self.y)

    def mean(self, values: Float[np.ndarray, "y x"]) -> Float[np.ndarray, "n"]:
        """Weighted mean of a map about each peak.

        ```python
        probability = np.zeros((40, 40))
        probability[20, 20] = 1.0
        find_peaks(probability).mean(np.full((40, 40), 2.5))  # 2.5
        ```
        """
        near = np.where(self.weight > 0, values[self.rows, self.columns], 0.0)
        return (self.weight * near).sum(axis=1)

    def take(self, kept: np.ndarray) -> "Peaks":
        """Those of a mask or of some rows.

        ```python
        peaks = find_peaks(np.pad([[1.0]], 20))
        len(peaks.take(peaks.height > 2.0))  # 0
        ```
        """
        parts = {f.name: getattr(self, f.name)[kept] for f in dataclasses.fields(self)}
        return Peaks(**parts)


def find_peaks(
    probability: Float[np.ndarray, "y x"], settings: PeakSettings = PeakSettings()
) -> Peaks:
    """Local maxima of a smoothed map.

    A maximum is no lower than its eight neighbours; of several that touch and are equal it is the
    one in the middle. Pixels without a number take no part: the map is smoothed by what is left.

    **Arguments:**

    - `probability`: `(y, x)`, from 0 to 1, NaN where nothing is known.
    - `settings`: how.

    Raises `ValueError` for a map that leaves 0 to 1.

    ```python
    probability = np.zeros((40, 40))
    probability[20, 12] = 1.0
    find_peaks(probability).x  # 12
    ```
    """
    # SciPy's image filters are slow to load.
    from scipy import ndimage

    known = np.isfinite(probability)
    some = np.where(known, probability, 0.0).astype(float)
    if some.size and (some.min() < 0 or some.max() > 1 + 1e-6):
        raise ValueError(
            f"the map goes from {some.min():g} to {some.max():g}; expected probabilities"
        )

    def smooth(values: Float[np.ndarray, "y x"]) -> Float[np.ndarray, "y x"]:
        return ndimage.gaussian_filter(values, settings.smoothing_pix, mode="constant", truncate=4)

    share = smooth(known.astype(float))
    height = np.where(known, smooth(some) / np.maximum(share, 1e-12), 0.0)
    least = max(settings.min_height, 1e-12)
    top = (ndimage.maximum_filter(height, 3, mode="nearest") == height) & (height >= least)
    label = np.zeros(top.shape, int)
    n = int(ndimage.label(top, np.ones((3, 3)), output=label))  # pyright: ignore[reportArgumentType]
    middle = np.array(ndimage.center_of_mass(top, label, np.arange(1, n + 1))).reshape(n, 2)
    places = np.rint(middle).astype(int)
    y, x = places[:, 0], places[:, 1]
    order = np.argsort(-height[y, x], kind="stable")
    return _with_windows(y[order], x[order], height, some, known, settings)


def _with_windows(
    y: Int[np.ndarray, "n"],
    x: Int[np.ndarray, "n"],
    height: Float[np.ndarray, "y x"],
    probability: Float[np.ndarray, "y x"],
    known: np.ndarray,
    settings: PeakSettings,
) -> Peaks:
    reach = settings.window_pix // 2
    dy, dx = (offset.ravel() for offset in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    rows, columns = y[:, None] + dy, x[:, None] + dx
    inside = (rows >= 0) & (rows < known.shape[0]) & (columns >= 0) & (columns < known.shape[1])
    rows, columns = np.where(inside, rows, y[:, None]), np.where(inside, columns, x[:, None])
    near = np.exp(-(dy**2 + dx**2) / (2 * settings.weight_pix**2))
    weight = np.where(inside & known[rows, columns], probability[rows, columns] * near, 0.0)
    total = weight.sum(axis=1, keepdims=True)
    # Where all of the square says 0, the distance alone decides.
    plain = np.where(inside & known[rows, columns], near, 0.0)
    weight = np.where(
        total > 0,
        weight / np.where(total > 0, total, 1.0),
        plain / np.maximum(plain.sum(axis=1, keepdims=True), 1e-300),
    )
    return Peaks(y, x, height[y, x], rows, columns, weight)
