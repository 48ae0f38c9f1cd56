"""Batches for training: clusters put on backgrounds as they are asked for."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float

from starcensus.settings import check_seed

from .targets import Grid, make_targets

type Batch = tuple[np.ndarray, dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Half of a batch is backgrounds, the other half clusters on other backgrounds.

    Called with the number of a step, it returns batches from that step on, without end; a step's
    batch depends on the seed and its number alone. Pairs are new each time: a bank of 50,000
    clusters and 25,000 backgrounds has 10⁹ of them (thesis of J. Bialopetravičius, section 3).

    **Arguments:**

    - `clusters`: `(cluster, band, y, x)`, fluxes without noise.
    - `backgrounds`: `(background, band, y, x)`, cutouts of the image, in the same unit.
    - `truths`: `log_age`, `a_v`, `log_mass` and `log_r_eff_pc`, `(cluster,)` each.
    - `mean_flux`: `(cluster, band)`, mean flux per pixel inside the half-light radius as drawn.
    - `background_sd`: `(background, band)`, standard deviation near the middle of each cutout. The
      visibility of a pair is the ratio of the two, averaged over bands.
    - `grid`: bins of the targets.
    - `electrons_per_flux`: for each band, electrons of one unit of flux. If given, the cluster with
      the median of its background has Poisson noise; the background keeps its own.
    - `background_jitter`: relative standard deviation of a factor on each band of the background of
      each stamp, against trust in its calibration.
    - `per_kind`: backgrounds, and clusters, in a batch.
    - `seed`: of the choice of pairs and their noise.

    Raises `ValueError` for arrays that do not fit each other.

    ```python
    rng = np.random.default_rng(0)
    truths = {name: np.ones(5) for name in ("log_age", "a_v", "log_mass", "log_r_eff_pc")}
    pairs = Pairs(
        clusters=rng.random((5, 1, 12, 12)),
        backgrounds=rng.normal(size=(7, 1, 12, 12)),
        truths=truths,
        mean_flux=np.ones((5, 1)),
        background_sd=np.ones((7, 1)),
        per_kind=4,
    )
    images, made = next(pairs(0))
    images.shape, made["is_cluster"].sum()  # (8, 1, 12, 12), 4
    ```
    """

    clusters: Float[np.ndarray, "c band y x"]
    backgrounds: Float[np.ndarray, "b _ _ _"]
    truths: Mapping[str, Float[np.ndarray, "_"]]
    mean_flux: Float[np.ndarray, "_ _"]
    background_sd: Float[np.ndarray, "_ _"]
    grid: Grid = dataclasses.field(default_factory=Grid)
    electrons_per_flux: tuple[float, ...] | None = None
    background_jitter: float = 0.0
    per_kind: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        n_clusters, n_bands = self.clusters.shape[:2]
        if self.backgrounds.shape[1:] != self.clusters.shape[1:] or not len(self.backgrounds):
            raise ValueError(
                f"backgrounds {self.backgrounds.shape} and clusters {self.clusters.shape} do not "
                "have the same bands and pixels"
            )
        wanted = {"log_age", "a_v", "log_mass", "log_r_eff_pc"}
        if set(self.truths) != wanted or any(len(t) != n_clusters for t in self.truths.values()):
            raise ValueError(
                f"truths are {', '.join(sorted(self.truths))}; expected "
                f"{', '.join(sorted(wanted))}, each of the {n_clusters} clusters"
            )
        if self.mean_flux.shape != (n_clusters, n_bands) or self.background_sd.shape != (
            len(self.backgrounds),
            n_bands,
        ):
            raise ValueError(
                f"mean_flux {self.mean_flux.shape} and background_sd {self.background_sd.shape} "
                "have one number for each band of each stamp"
            )
        if not (self.background_sd > 0).all():
            raise ValueError("a background_sd is not positive; leave out cutouts that are empty")
        if self.electrons_per_flux is not None and len(self.electrons_per_flux) != n_bands:
            raise ValueError(
                f"electrons_per_flux has {len(self.electrons_per_flux)} numbers; expected {n_bands}"
            )
        if self.per_kind < 1 or self.background_jitter < 0:
            raise ValueError(
                "per_kind is 1 or more and background_jitter 0 or more; got "
                f"{self.per_kind} and {self.background_jitter}"
            )

    def __call__(self, step: int) -> Iterator[Batch]:
        while True:
            yield self._batch(step)
            step += 1

    def _batch(self, step: int) -> Batch:
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, step)))
        n = self.per_kind
        which = rng.integers(len(self.clusters), size=n)
        on = rng.integers(len(self.backgrounds), size=2 * n)
        images = self.backgrounds[on].astype(float)
        if self.background_jitter:
            images *= rng.normal(1, self.background_jitter, (*images.shape[:2], 1, 1))
        light = self.clusters[which].astype(float)
        if self.electrons_per_flux is not None:
            electrons = np.array(self.electrons_per_flux)[:, None, None]
            sky = np.median(images[n:], axis=(2, 3), keepdims=True)
            light = rng.poisson(np.maximum((light + sky) * electrons, 0)) / electrons - sky
        images[n:] += light
        ratio = (self.mean_flux[which] / self.background_sd[on[n:]]).mean(1)
        background = np.full(n, np.nan)
        parameters = {
            name: np.concatenate([background, np.asarray(values, float)[which]])
            for name, values in self.truths.items()
        }
        targets = make_targets(
            self.grid,
            np.arange(2 * n) >= n,
            **parameters,
            visibility=np.concatenate([np.zeros(n), np.maximum(ratio, 0.0)]),
        )
        return images.astype(np.float32), targets
