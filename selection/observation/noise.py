"""How large the noise of a flux is, as a function of the flux itself.

σ_f² = a + b f + (c f)²: the sky and the detector, the photons of the source, and what grows with
the flux. `NoiseCurves.of` finds the three of each band from the errors that a catalogue quotes, for
what is asked about clusters that were never observed: how noisy would they have been?
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from ..catalogue.photometry import Photometry

# Errors of a band are fitted from so many measurements at least.
_MIN_MEASURED = 5
# Of weighted squares that become least deviations; what is off by a smaller share counts alike.
_ITERATIONS, _ALIKE = 60, 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseCurves:
    """Variance of the flux in each band, a + b f + (c f)², in units of Vega's flux.

    **Arguments:**

    - `bands`: names of the bands.
    - `sky`: `(band,)`, a, the variance without a source.
    - `source`: `(band,)`, b, variance for each unit of flux.
    - `share`: `(band,)`, c, what is uncertain of every flux, as a share of it.

    Raises `ValueError` for shapes that differ or negative numbers.

    ```python
    depth = 10.0 ** (-0.4 * 27.0)  # one standard deviation of the sky is 27 mag
    curves = NoiseCurves(
        ("ACS_F555W",), np.array([depth**2]), np.array([0.0]), np.array([0.01])
    )
    curves.sigma(np.array([[0.0]]))
    ```
    """

    bands: tuple[str, ...]
    sky: Float[np.ndarray, " band"]
    source: Float[np.ndarray, " band"]
    share: Float[np.ndarray, " band"]

    def __post_init__(self) -> None:
        for name in ("sky", "source", "share"):
            values = getattr(self, name)
            if (
                values.shape != (len(self.bands),)
                or not (np.isfinite(values) & (values >= 0)).all()
            ):
                raise ValueError(
                    f"{name} of the noise is {values}; expected a number of 0 or more for each of "
                    f"{', '.join(self.bands)}"
                )
        if not (self.sky > 0).all():
            raise ValueError(f"sky of the noise is {self.sky}; expected more than 0")

    def sigma(self, flux: Float[np.ndarray, "*n band"]) -> Float[np.ndarray, "*n band"]:
        """Standard deviation of measured fluxes about true ones of 0 or more."""
        f = np.maximum(flux, 0.0)
        return np.sqrt(self.sky + self.source * f + (self.share * f) ** 2)

    def threshold(self, min_snr: float) -> Float[np.ndarray, " band"]:
        """The flux in each band that is `min_snr` of its own σ; −inf and inf where all, or none,
        are above.

        ```python
        noise.threshold(5.0)
        ```
        """
        if min_snr <= 0:
            # The noise of fluxes below 0 is the sky's.
            return (
                np.full(len(self.bands), -np.inf)
                if np.isneginf(min_snr)
                else (min_snr * np.sqrt(self.sky))
            )
        # f² = k² (a + b f + c² f²)
        k = min_snr**2
        lead, half, last = 1.0 - k * self.share**2, 0.5 * k * self.source, k * self.sky
        with np.errstate(divide="ignore", invalid="ignore"):
            root = (half + np.sqrt(half**2 + lead * last)) / lead
        return np.where(lead > 0, root, np.inf)

    @classmethod
    def of(cls, data: Photometry) -> "NoiseCurves":
        """The curves that the quoted errors of a catalogue follow.

        Non-negative a, b and c² whose sum has the least absolute deviations from the squares of
        the errors, each relative to that sum: the curve of the median error at each flux, which
        blends and other exposures do not move. (Least squares relative to the errors themselves
        would be low, the more so the more these scatter.)

        Raises `ValueError` for a band with fewer than 5 measurements.

        ```python
        NoiseCurves.of(light).sigma(light.flux)
        ```
        """
        from scipy.optimize import nnls  # slow to import, and most fits do without

        found = np.zeros((len(data.bands), 3))
        for k, band in enumerate(data.bands):
            there = data.measured[:, k] & (data.flux[:, k] > 0)
            if there.sum() < _MIN_MEASURED:
                raise ValueError(
                    f"{data.source}: {band} has {int(there.sum())} measurements; expected "
                    f"{_MIN_MEASURED} at least to learn its noise from: state the noise, or leave "
                    "the band out"
                )
            flux, variance = data.flux[there, k], data.flux_error[there, k] ** 2
            scale = np.median(flux)
            f, v = flux / scale, variance / scale**2
            powers = np.stack([np.ones_like(f), f, f**2], axis=1)
            solution, model, weight = np.zeros(3), v, np.ones_like(f)
            for _ in range(_ITERATIONS):
                design = powers * (weight / model)[:, None]
                norm = np.linalg.norm(design, axis=0)
                solution = nnls(design / norm, weight * v / model)[0] / norm
                model = np.maximum(powers @ solution, 1e-6 * v)
                # Squares that weigh as much as deviations do.
                weight = np.maximum(np.abs(v / model - 1.0), _ALIKE) ** -0.5
            # A band whose errors all grow with the flux still has a sky: that of its faintest.
            least = 1e-4 * variance.min() / scale**2
            found[k] = (
                max(solution[0], least) * scale**2, solution[1] * scale, np.sqrt(solution[2]),
            )  # fmt: skip
        return cls(data.bands, found[:, 0], found[:, 1], found[:, 2])
