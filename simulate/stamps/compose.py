"""Training batches, made as they are asked for: backgrounds alone, and clusters put on backgrounds.

A cluster's photons are drawn as Bialopetravičius & Narbutis do (thesis, section 3.1.3): the median
of the background is added to the noiseless stamp, counts of the whole exposure are drawn from
Poisson's distribution, the median is taken off again and the background added. So the noise of the
median's light is there twice, once in the background itself.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from starcensus.settings import check_seed

from ..images.psf import SCALE_TOLERANCE
from .backgrounds import Backgrounds, medians
from .bank import StampBank
from .measure import background_sigma, visibility

# What a seed's random numbers are for.
_BATCH, _CLUSTERS, _BACKGROUNDS = range(3)
# Stamps whose numbers are in memory at once in double precision.
_CHUNK = 16
# Least factor of a background's calibration.
_LEAST = 0.1
# Zero points that differ by less are one calibration, mag.
_SAME_ZERO = 0.02


@dataclasses.dataclass(frozen=True)
class ComposeSettings:
    """What a batch is made of.

    **Arguments:**

    - `n_backgrounds`, `n_clusters`: stamps without and with a cluster.
    - `dihedral`: turn and mirror each stamp at random, in one of eight ways, PSF and all.
    - `jitter`: standard deviation of the factor, about 1 and no less than 0.1, by which each band
      of each background is multiplied before a cluster is added, as if its calibration were
      uncertain; the thesis has 0.2.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    ComposeSettings(n_backgrounds=64, n_clusters=64, dihedral=True, jitter=0.2)
    ```
    """

    n_backgrounds: int = 256
    n_clusters: int = 256
    dihedral: bool = False
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if min(self.n_backgrounds, self.n_clusters) < 0 or not self.n_backgrounds + self.n_clusters:
            raise ValueError(
                f"n_backgrounds is {self.n_backgrounds} and n_clusters {self.n_clusters}; expected "
                "0 or more, and a stamp at least"
            )
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter is {self.jitter}; expected a standard deviation in [0, 1)")


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Stamps for one step of training, those without a cluster first.

    **Arguments:**

    - `images`: `(n, band, row, col)`, electrons/s.
    - `has_cluster`: `(n,)`, the class. Where it is False there is no θ and no size to be learned.
    - `visibility`: `(n,)`, see `visibility`; 0 without a cluster.
    - `cluster`: `(n,)`, row of the bank, -1 without a cluster.
    - `background`: `(n,)`, row of the backgrounds.
    - `variant`: `(n,)`, 0 to 7: how the stamp was turned and mirrored, see `turned`.
    """

    images: Float32[np.ndarray, "n band row col"]
    has_cluster: Bool[np.ndarray, "n"]
    visibility: Float[np.ndarray, "n"]
    cluster: Int[np.ndarray, "n"]
    background: Int[np.ndarray, "n"]
    variant: Int[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.images)


def compose(
    bank: StampBank,
    backgrounds: Backgrounds,
    seed: int,
    step: int = 0,
    settings: ComposeSettings = ComposeSettings(),
) -> Batch:
    """The batch of a step; the same whenever it is asked for.

    Clusters and backgrounds are taken in passes: each once, in random order, before any again; a
    cluster meets another background in each pass.

    **Arguments:**

    - `bank`: the mocks to choose from. `backgrounds`: those of one split.
    - `seed`: of all batches. `step`: number of the batch, from 0.
    - `settings`: sizes and options.

    Raises `ValueError` for a bank and backgrounds of different bands, sizes, pixels or zero points,
    and where there are none of what is asked for.

    ```python
    like = dataclasses.replace(StampSettings().like(frame), size_pix=16)
    run_stamps(like, 4, 1, "bank.h5", psfs=psfs)
    choice = BackgroundSettings(n=(20, 5, 5), size_pix=16, block_pix=32, guard_pix=4)
    backgrounds = cut_backgrounds(frame, choice, seed=1)
    sizes = ComposeSettings(n_backgrounds=4, n_clusters=4, dihedral=True)
    batch = compose(StampBank.load("bank.h5"), backgrounds.of("train"), seed=1, settings=sizes)
    batch.has_cluster, batch.visibility
    ```
    """
    check_seed(seed)
    if step < 0:
        raise ValueError(f"step is {step}; expected a number of a batch, from 0")
    _check(bank, backgrounds, settings)
    n_empty, n_full = settings.n_backgrounds, settings.n_clusters
    n = n_empty + n_full
    rng = _rng(seed, _BATCH, step)
    rows = _next_rows(len(backgrounds), n, step, seed, _BACKGROUNDS)
    clusters = _next_rows(len(bank), n_full, step, seed, _CLUSTERS)

    images, median, sigma = _backgrounds(backgrounds, rows, rng)
    if settings.jitter > 0:
        factor = 1 + settings.jitter * rng.standard_normal(median.shape)
        factor = np.maximum(factor, _LEAST).astype(np.float32)
        images *= factor[:, :, None, None]
        median, sigma = median * factor, sigma * factor
    full = slice(n_empty, n)
    images[full] = observe(
        bank.images[clusters], images[full], median[full], backgrounds.exposure_s, rng
    )
    seen = np.zeros(n)
    seen[full] = visibility(bank["core_rate"][clusters], sigma[full])
    variant = rng.integers(8, size=n) if settings.dihedral else np.zeros(n, int)
    if settings.dihedral:
        images = turned(images, variant)
    return Batch(
        images=images,
        has_cluster=np.arange(n) >= n_empty,
        visibility=seen,
        cluster=np.r_[np.full(n_empty, -1), clusters],
        background=rows,
        variant=variant,
    )


def observe(
    clusters: Float32[np.ndarray, "n band row col"],
    backgrounds: Float32[np.ndarray, "n band row col"],
    median: Float[np.ndarray, "n band"],
    exposure_s: Float[np.ndarray, "band"],
    rng: np.random.Generator,
) -> Float32[np.ndarray, "n band row col"]:
    """Clusters with their photon noise, added to backgrounds.

    What is added has the mean of the clusters and the variance (cluster + median) / exposure.
    A median below 0, of a sky that was taken off, gives no noise.

    **Arguments:**

    - `clusters`: noiseless, electrons/s. `backgrounds`: as observed, electrons/s.
    - `median`: of each band of each background, electrons/s.
    - `exposure_s`: of each band, s.
    - `rng`: a generator of NumPy.

    ```python
    dark = np.zeros((1, 2, 16, 16), np.float32)
    observe(dark + 0.1, dark, np.full((1, 2), 0.02), np.full(2, 1000.0), np.random.default_rng(1))
    ```
    """
    out = np.empty_like(backgrounds)
    t = exposure_s[:, None, None]
    for start in range(0, len(clusters), _CHUNK):
        part = slice(start, start + _CHUNK)
        sky = np.maximum(median[part].astype(float), 0.0)[:, :, None, None]
        light = rng.poisson((clusters[part] + sky) * t) / t
        light -= sky
        np.add(light, backgrounds[part], out=out[part], casting="same_kind")
    return out


def turned(
    images: Float32[np.ndarray, "n band side side"], variant: Int[np.ndarray, "n"]
) -> Float32[np.ndarray, "n band side side"]:
    """Images in one of the eight ways that a square has.

    **Arguments:**

    - `images`: squares.
    - `variant`: 0 to 7, the sum of: 1, columns mirrored; 2, rows mirrored; 4, before these, rows
      and columns exchanged.

    ```python
    turned(np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2), np.array([5]))  # a quarter turn
    ```
    """
    out = np.empty_like(images)
    for kind in range(8):
        rows = np.flatnonzero(variant == kind)
        some = images[rows]
        some = some.swapaxes(2, 3) if kind & 4 else some
        some = some[:, :, ::-1] if kind & 2 else some
        out[rows] = some[:, :, :, ::-1] if kind & 1 else some
    return out


def _check(bank: StampBank, backgrounds: Backgrounds, settings: ComposeSettings) -> None:
    if bank.bands != backgrounds.bands:
        raise ValueError(
            f"the bank has the bands {', '.join(bank.bands)} and the backgrounds "
            f"{', '.join(backgrounds.bands)}; expected the same, in one order (`Frame.select`)"
        )
    if bank.size_pix != backgrounds.size_pix:
        raise ValueError(
            f"stamps of the bank have {bank.size_pix} pixels a side and backgrounds "
            f"{backgrounds.size_pix}; expected the same size_pix"
        )
    ratio = bank.pixel_scale_arcsec / backgrounds.pixel_scale_arcsec
    off = np.abs(bank.zero_point - backgrounds.zero_point)
    if abs(ratio - 1) > SCALE_TOLERANCE or off.max() > _SAME_ZERO:
        raise ValueError(
            f"the bank has pixels of {bank.pixel_scale_arcsec:g} arcsec and zero points "
            f"{bank.zero_point}; the backgrounds {backgrounds.pixel_scale_arcsec:g} arcsec and "
            f"{backgrounds.zero_point}: draw a bank for the frame, with `StampSettings.like`"
        )
    if len(backgrounds) == 0 or (len(bank) == 0 and settings.n_clusters > 0):
        raise ValueError(
            f"there are {len(backgrounds)} backgrounds and {len(bank)} mocks; expected some"
        )


def _rng(seed: int, purpose: int, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, purpose, number]))


def _next_rows(n: int, count: int, step: int, seed: int, purpose: int) -> Int[np.ndarray, "count"]:
    """Rows of a step that takes `count` of n, in passes of random order."""
    turn = step * count + np.arange(count)
    passes, place = turn // max(n, 1), turn % max(n, 1)
    out = np.empty(count, np.int64)
    for number in np.unique(passes):
        here = passes == number
        out[here] = _rng(seed, purpose, int(number)).permutation(n)[place[here]]
    return out


def _backgrounds(
    backgrounds: Backgrounds, rows: Int[np.ndarray, "n"], rng: np.random.Generator
) -> tuple[
    Float32[np.ndarray, "n band row col"],
    Float32[np.ndarray, "n band"],
    Float[np.ndarray, "n band"],
]:
    """Stamps, from a random place of those with a margin; their medians and scatters."""
    if backgrounds.margin_pix == 0:
        return backgrounds.images[rows], backgrounds.median[rows], backgrounds.sigma[rows]
    size = backgrounds.size_pix
    images = np.empty((len(rows), len(backgrounds.bands), size, size), np.float32)
    shift = rng.integers(0, 2 * backgrounds.margin_pix + 1, (len(rows), 2))
    for at, (row, (dy, dx)) in enumerate(zip(rows, shift, strict=True)):
        images[at] = backgrounds.images[row, :, dy : dy + size, dx : dx + size]
    return images, medians(images), background_sigma(images)
