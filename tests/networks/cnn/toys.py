"""Spots of light on noise, whose flux says the mass, and whose width says the size."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from starcensus.networks.cnn.targets import Grid, make_targets

NAMES = ("log_age", "a_v", "log_mass", "log_r_eff_pc")


@dataclasses.dataclass(frozen=True)
class Spots:
    """Half of a batch is noise alone; a step's batch depends on the seed and its number."""

    grid: Grid
    per_kind: int = 6
    seed: int = 0

    def __call__(self, step: int) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        while True:
            yield self._batch(step)
            step += 1

    def _batch(self, step: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        rng, n = np.random.default_rng([self.seed, step]), self.per_kind
        is_cluster = np.arange(2 * n) >= n
        truths = {name: rng.random(2 * n) for name in NAMES}
        images = rng.normal(size=(2 * n, 1, 12, 12))
        y, x = np.indices((12, 12)) - 5.5
        width = 0.8 + truths["log_r_eff_pc"][:, None, None]
        spots = 10 ** (1 + truths["log_mass"])[:, None, None] * np.exp(
            -(y**2 + x**2) / 2 / width**2
        )
        images[is_cluster, 0] += spots[is_cluster]
        made = make_targets(self.grid, is_cluster, **truths, visibility=np.full(2 * n, 3.0))
        return images.astype(np.float32), made
