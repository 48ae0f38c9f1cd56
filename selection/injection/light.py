"""Whose light a source is: what a cluster gives of the V light in an aperture on the source."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from ...simulate.images.frame import BandImage
from ...simulate.images.templates import CORE_RADIUS, Templates
from ..pipeline.photometry import APERTURE_PIX, SKY_PIX, aperture_photometry

SHARE = 0.5
_STEP_PIX, _ANGLES = 0.25, 8


@dataclasses.dataclass(frozen=True, eq=False)
class ApertureLight:
    """Light of model clusters in a 4-pixel aperture with the sky at 7 to 8 pixels.

    **Arguments:**

    - `templates`: templates of the clusters.
    - `band`: one of its bands.
    - `reach_pix`: farthest distance of an aperture from a cluster that will be asked for.

    ```python
    ApertureLight(templates, "ACS_F555W").fraction(np.array([1.0, 3.0]), np.array([0.0, 2.0]))
    ```
    """

    templates: Templates
    band: str
    reach_pix: float = 3.0
    _made: dict[float, np.ndarray] = dataclasses.field(init=False, repr=False, default_factory=dict)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_made": {}}

    def fraction(
        self, r_eff_pc: Float[np.ndarray, "n"], offset_pix: Float[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n"]:
        """Share of a cluster's light in an aperture `offset_pix` from its centre, less the sky's.

        The mean over directions. Negative where the aperture holds less than the annulus. Raises
        `ValueError` for an offset beyond `reach_pix`.
        """
        offset_pix = np.asarray(offset_pix, float)
        # Whoever chose the pairs may have rounded their distance otherwise.
        if len(offset_pix) and not offset_pix.max() <= self.reach_pix * (1 + 1e-9):
            raise ValueError(f"offset is {offset_pix.max()} pixels; reach_pix is {self.reach_pix}")
        out = np.empty(len(offset_pix))
        for r_eff in np.unique(r_eff_pc):
            rows = np.flatnonzero(r_eff_pc == r_eff)
            curve = self._curve(float(r_eff))
            out[rows] = np.interp(offset_pix[rows], np.arange(len(curve)) * _STEP_PIX, curve)
        return out

    def _curve(self, r_eff_pc: float) -> Float[np.ndarray, "offset"]:
        radius = self.templates.radius(r_eff_pc)
        if radius not in self._made:
            n = int(np.ceil(self.reach_pix / _STEP_PIX)) + 1
            offset = np.arange(n)[:, None] * _STEP_PIX
            angle = np.arange(_ANGLES) * (2 * np.pi / _ANGLES)
            x = (CORE_RADIUS + offset * np.cos(angle)).ravel()
            y = (CORE_RADIUS + offset * np.sin(angle)).ravel()
            stamp = self.templates.get(self.band, radius).stamp(0.0, 0.0, CORE_RADIUS)
            image = BandImage(self.band, stamp, exposure_s=1.0, zero_point=0.0)
            flux = aperture_photometry(image, x, y, (APERTURE_PIX,), SKY_PIX).flux[:, 0]
            self._made[radius] = flux.reshape(n, _ANGLES).mean(1)
        return self._made[radius]


def source_light(
    image: BandImage, x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """Electrons/s in the aperture of `ApertureLight`, less the sky; NaN over bad pixels.

    **Arguments:**

    - `image`: the band.
    - `x`, `y`: `(n,)`, centres, pixels.

    ```python
    source_light(frame.image("ACS_F555W"), found.x, found.y)
    ```
    """
    return aperture_photometry(image, x, y, (APERTURE_PIX,), SKY_PIX).flux[:, 0]


def owns(own: Float[np.ndarray, "n"], measured: Float[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """Whether a cluster gives at least half of the V light of a source.

    Else the source is another one's, which was there before or which the cluster has lifted over a
    limit: it would be catalogued with that one's properties. NaN or no light is False.

    **Arguments:**

    - `own`: `(n,)`, the cluster's expected light in the aperture.
    - `measured`: `(n,)`, light of the image in it, in the same unit.

    ```python
    owns(np.array([3.0, 1.0]), np.array([4.0, 4.0]))  # True, False
    ```
    """
    with np.errstate(invalid="ignore"):
        return (measured > 0) & (own >= SHARE * measured)
