"""Detection of sources in V (Thilker et al. 2022, section 2.2).

The survey's list is DOLPHOT's, simultaneous PSF fits on all exposures, augmented by DAOStarFinder
with a wider kernel. DOLPHOT is a program of its own: here a DAOStarFinder list with a kernel as
narrow as the PSF, fitted over 3.4 pixels, stands for it, and the height over its noise for its S/N.
Its crowding parameter has no counterpart, so that the cut at 0.667 mag is left out, and two stars
closer than 3.5 pixels are one source, which DOLPHOT takes apart.
"""

import dataclasses
import warnings

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

from ....simulate.images.frame import BandImage
from .settings import PhangsSettings


@dataclasses.dataclass(frozen=True, eq=False)
class SourceList:
    """Sources of one image.

    **Arguments:**

    - `x`, `y`: `(n,)`, pixels. `flux`: `(n,)`, of the fitted kernel, electrons/s.
    - `snr`: `(n,)`, of the fitted height. `added`: `(n,)`, True for the augmentation's.
    """

    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    flux: Float[np.ndarray, "n"]
    snr: Float[np.ndarray, "n"]
    added: Bool[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.x)


def find_sources(image: BandImage, settings: PhangsSettings) -> SourceList:
    """The narrow kernel's sources, and those that the wide kernel adds to them.

    Raises `ValueError` for an image without a good pixel.
    """
    above, noise = _above_background(image, settings.back_size_pix)
    first = _dao(
        above,
        noise,
        image.bad,
        settings,
        fwhm=settings.star_fwhm_pix,
        sigma_radius=settings.star_radius_sigma,
        min_separation=settings.star_separation_pix,
    )
    second = _dao(above, noise, image.bad, settings, fwhm=settings.dao_fwhm_pix)
    extra = augments(first, second, settings.distinct_pix, settings.flux_ratio)
    return SourceList(
        np.r_[first.x, second.x[extra]],
        np.r_[first.y, second.y[extra]],
        np.r_[first.flux, second.flux[extra]],
        np.r_[first.snr, second.snr[extra]],
        np.r_[np.zeros(len(first), bool), np.ones(int(extra.sum()), bool)],
    )


def augments(
    first: SourceList, second: SourceList, distinct_pix: float = 2.0, flux_ratio: float = 2.5
) -> Bool[np.ndarray, "m"]:
    """Which sources of the second list the first lacks.

    Those without a source of the first within `distinct_pix` (inclusive), and those that are more
    than `flux_ratio` times as bright as all sources of the first that near together.
    """
    if not len(second):
        return np.zeros(0, bool)
    if not len(first):
        return np.ones(len(second), bool)
    tree = KDTree(np.column_stack([first.x, first.y]))
    near = tree.query_ball_point(np.column_stack([second.x, second.y]), distinct_pix)
    known = np.array([first.flux[rows].sum() for rows in near])
    return np.array([not rows for rows in near]) | (second.flux > flux_ratio * known)


def _above_background(
    image: BandImage, size: int
) -> tuple[Float[np.ndarray, "row col"], Float[np.ndarray, "row col"]]:
    """Light above a smooth background, and the noise of a pixel, clipped of sources."""
    import sep

    data = np.array(image.data, np.float32)
    bad = None if image.bad is None else np.array(image.bad)
    if bad is not None and bad.all():
        raise ValueError(
            f"{image.band}: all {bad.size} pixels are bad; expected some with data. Check `bad`, "
            "or leave this frame out"
        )
    background = sep.Background(data, mask=bad, bw=size, bh=size)
    back = np.asarray(background.back(dtype=np.float32))
    # Images without noise still have that of reading.
    floor = image.read_noise_e * image.n_exposures**0.5 / image.exposure_s
    noise = np.maximum(background.rms(dtype=np.float32), max(floor, 1e-12))
    above = data - back
    if bad is not None:
        above[bad] = 0.0
    return above, noise


def _dao(
    above: Float[np.ndarray, "row col"],
    noise: Float[np.ndarray, "row col"],
    bad: Bool[np.ndarray, "row col"] | None,
    settings: PhangsSettings,
    **kernel: float,
) -> SourceList:
    from photutils.detection import DAOStarFinder
    from photutils.utils.exceptions import NoDetectionsWarning

    finder = DAOStarFinder(
        settings.threshold_sigma * noise,
        sharpness_range=settings.sharpness_range,
        roundness_range=settings.roundness_range,
        **kernel,  # pyright: ignore[reportArgumentType]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        table = finder.find_stars(above, mask=bad)
    if table is None:
        none = np.empty(0)
        return SourceList(none, none, none, none, np.empty(0, bool))
    x, y = (np.asarray(table[name], float) for name in ("x_centroid", "y_centroid"))
    # `daofind_mag` is the fitted height over the threshold.
    snr = settings.threshold_sigma * 10 ** (-0.4 * np.asarray(table["daofind_mag"], float))
    row = np.clip(np.rint(y).astype(int), 0, noise.shape[0] - 1)
    col = np.clip(np.rint(x).astype(int), 0, noise.shape[1] - 1)
    height = snr * noise[row, col] * finder.kernel.rel_err
    sigma = kernel["fwhm"] / np.sqrt(8 * np.log(2))
    return SourceList(x, y, 2 * np.pi * sigma**2 * height, snr, np.zeros(len(x), bool))
