"""White light where bands cover a field unequally: thresholds that noise exceeds equally often.

White light takes the bands that a pixel has, so that its noise is another where one is missing:
another scale, and another shape, for each band is clipped at its median. A threshold in units of
one part's noise would be a low one in the other. Here each part has a background of its own, and is
scaled so that noise alone exceeds the one threshold with the same probability in all.
"""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage, special

from starcensus.bands import look_up

from ...simulate.images.frame import BandImage, Frame
from ...simulate.images.noise import pixel_noise
from ...simulate.images.white import band_codes, bands_of, white_light

# Side of an image of noise alone; log2 of the number of directions.
_SIDE, _LOG_DIRECTIONS = 300, 14
_ROUNDS = 4
# A part with fewer meshes of the background takes that of the part around it.
_FEWEST_MESHES = 4


@dataclasses.dataclass(frozen=True)
class Mesh:
    """The background of detection, as SExtractor has it.

    **Arguments:**

    - `size_pix`: side of a mesh, pixels. `filter`: of the median over meshes, in meshes.
    """

    size_pix: int
    filter: int


def detection_image(
    frame: Frame, scale_factors: tuple[Mapping[str, float], ...]
) -> Float[np.ndarray, "row col"]:
    """White light, signed where a pixel has one band alone.

    Of one band clipping leaves half of the noise at exactly 0: no estimate of a background's noise
    means anything there.

    **Arguments:**

    - `frame`: the bands. `scale_factors`: as in `white_light`, which raises for bands without one.

    ```python
    detection_image(frame, SCALE_FACTORS)
    ```
    """
    white, there = white_light(frame, scale_factors), frame.covered
    alone = there.sum(axis=0) == 1
    if alone.any():
        for image, own in zip(frame, there, strict=True):
            here = alone & own
            white[here] = image.data[here] - np.float32(np.median(image.data[own]))
    return white


def above_background(
    frame: Frame,
    scale_factors: tuple[Mapping[str, float], ...],
    mesh: Mesh,
    sigma: float,
    bad: Bool[np.ndarray, "row col"] | None,
) -> tuple[Float[np.ndarray, "row col"], float]:
    """The image of detection above its background, and the threshold for it.

    **Arguments:**

    - `frame`, `scale_factors`: as in `detection_image`.
    - `mesh`: of the background.
    - `sigma`: threshold in standard deviations of the background, of the part that has most pixels.
    - `bad`: `(row, col)`, pixels to leave out, or None.

    ```python
    above, threshold = above_background(frame, SCALE_FACTORS, Mesh(30, 1), 10.0, None)
    ```
    """
    white = detection_image(frame, scale_factors)
    use = np.ones(frame.shape, bool) if bad is None else ~np.asarray(bad)
    codes = band_codes(frame.covered) * use
    kinds, counts = np.unique(codes[codes > 0], return_counts=True)
    if len(kinds) < 2:
        back, rms = _background(white, ~use, mesh)
        return white - back, sigma * rms
    usual = int(kinds[np.argmax(counts)])
    own = [int(k) for k in kinds if k == usual or _n_meshes(codes == k, mesh) >= _FEWEST_MESHES]
    host = _hosts(codes, own)
    above = np.zeros(frame.shape, np.float32)
    threshold = np.inf
    for kind in (usual, *(k for k in own if k != usual)):
        back, rms = _background(white, codes != kind, mesh)
        if kind == usual:
            threshold = sigma * rms
        above[host == kind] = (white - back)[host == kind]
    noise = Noise.of(frame, scale_factors)
    for kind in (int(k) for k in kinds if k != usual):
        above[codes == kind] *= np.float32(noise.ratio(usual, kind, threshold, mesh))
    return above, threshold


@dataclasses.dataclass(frozen=True, eq=False)
class Noise:
    """White light of noise alone.

    **Arguments:**

    - `sigma`: `(band,)`, noise of a pixel in each band, electrons/s.
    - `skew`: `(band,)`, its skewness, that of few photons.
    - `inverse_scale`: `(set, band)`, 1/s of the sets of scale factors.
    """

    sigma: Float[np.ndarray, "band"]
    skew: Float[np.ndarray, "band"]
    inverse_scale: Float[np.ndarray, "set band"]

    @classmethod
    def of(cls, frame: Frame, scale_factors: tuple[Mapping[str, float], ...]) -> "Noise":
        """That of a frame's own pixels; all its bands have scale factors."""
        found = [[look_up(factors, band) for band in frame.bands] for factors in scale_factors]
        sigma = np.array([pixel_noise(image) for image in frame])
        return cls(sigma, np.array([_skewness(image) for image in frame]), 1 / np.array(found))

    def ratio(self, usual: int, kind: int, threshold: float, mesh: Mesh) -> float:
        """By which the light of a part is multiplied, so that one threshold holds in both.

        **Arguments:**

        - `usual`, `kind`: codes of the bands of the two parts. `threshold`: of the usual part.
        """
        level = self._level(usual, mesh)
        wanted = self._log_exceeding(usual, level + threshold)
        high = level + threshold
        while self._log_exceeding(kind, high) > wanted:
            high *= 2
        low = high
        while self._log_exceeding(kind, low) < wanted:
            low /= 2
        from scipy.optimize import brentq  # slow to import

        at = float(
            brentq(  # pyright: ignore[reportArgumentType]
                lambda t: self._log_exceeding(kind, t) - wanted, low, high, rtol=np.float64(1e-4)
            )
        )
        return threshold / (at - self._level(kind, mesh))

    def _white(self, kind: int, draws: np.ndarray, signed: bool) -> np.ndarray:
        """White light of draws `(n, band)` of unit noise in the bands of a part."""
        use = bands_of(kind, len(self.sigma))
        # To the first order in skewness (Cornish & Fisher), less its median.
        light = self.sigma[use] * (draws + self.skew[use] / 6 * draws**2)
        if signed and use.sum() == 1:
            return light[:, 0]
        parts = np.where(draws > 0, light, 0.0)[:, None] * self.inverse_scale[:, use]
        norm = (self.inverse_scale[:, use] ** 2).sum(axis=1)
        return np.sqrt((parts**2).sum(axis=2) / norm).mean(axis=1)

    @functools.cached_property
    def _draws(self) -> np.ndarray:
        rng = np.random.default_rng(0)
        return rng.standard_normal((_SIDE**2, len(self.sigma)))

    def _level(self, kind: int, mesh: Mesh) -> float:
        """What the estimate of the background makes of it."""
        draws = self._draws[:, : int(bands_of(kind, len(self.sigma)).sum())]
        light = self._white(kind, draws, signed=True).reshape(_SIDE, _SIDE)
        nothing = np.zeros(light.shape, bool)
        return float(_background(light.astype(np.float32), nothing, mesh)[0].mean())

    def _log_exceeding(self, kind: int, light: float) -> float:
        """log of the probability that noise exceeds a value above 0.

        White light rises with the length r of a draw along each direction, nearly in proportion,
        and r² of n bands has the distribution χ²: no tail is too thin to be known.
        """
        from scipy.stats import chi  # slow to import

        n = int(bands_of(kind, len(self.sigma)).sum())
        along = _directions(n)
        length = light / self._white(kind, along, signed=False)
        for _ in range(_ROUNDS):
            length *= light / self._white(kind, along * length[:, None], signed=False)
        logs = np.asarray(chi.logsf(length, n))
        return float(special.logsumexp(logs) - np.log(2**_LOG_DIRECTIONS))


@functools.cache
def _directions(n: int) -> Float[np.ndarray, "m n"]:
    """Those of evenly spread directions in which some band is above its median."""
    from scipy import stats  # slow to import

    even = stats.qmc.Sobol(n, rng=0).random_base2(_LOG_DIRECTIONS)
    along = stats.norm.ppf(np.clip(even, 1e-9, 1 - 1e-9))
    along = along[(along > 0).any(axis=1)]
    return along / np.linalg.norm(along, axis=1)[:, None]


def _skewness(image: BandImage) -> float:
    """That of the photons of a typical pixel and of reading; 0 where the sky was subtracted."""
    good = image.data if image.bad is None else image.data[~image.bad]
    photons = max(float(np.median(good)), 0.0) * image.exposure_s
    variance = photons + image.read_noise_e**2 * image.n_exposures
    return photons / variance**1.5 if variance > 0 else 0.0


def _background(
    white: Float[np.ndarray, "row col"], mask: Bool[np.ndarray, "row col"], mesh: Mesh
) -> tuple[Float[np.ndarray, "row col"], float]:
    """Background and its global standard deviation (sep), of pixels that are not masked."""
    import sep

    size, filtered = mesh.size_pix, mesh.filter
    found = sep.Background(
        np.ascontiguousarray(white, np.float32),
        mask=np.array(mask) if mask.any() else None,
        bw=size,
        bh=size,
        fw=filtered,
        fh=filtered,
    )
    return found.back(dtype=np.float32), float(found.globalrms)


def _n_meshes(part: Bool[np.ndarray, "row col"], mesh: Mesh) -> int:
    """Meshes of which most is of a part."""
    rows, cols = (np.arange(0, side, mesh.size_pix) for side in part.shape)
    counts = np.add.reduceat(np.add.reduceat(part.astype(int), rows, 0), cols, 1)
    return int((counts > mesh.size_pix**2 / 2).sum())


def _hosts(codes: Int[np.ndarray, "row col"], own: list[int]) -> Int[np.ndarray, "row col"]:
    """Code of the part whose background a pixel has: its own, or the next one's."""
    has = np.isin(codes, own)
    if has.all():
        return codes
    row, col = np.asarray(
        ndimage.distance_transform_edt(~has, return_distances=False, return_indices=True)
    )
    return np.where(codes > 0, codes[row, col], 0)
