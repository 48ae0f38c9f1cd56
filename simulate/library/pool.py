"""Several libraries as one sample of θ, with the exact density of all.

Rounds of n_1, n_2, … rows that were drawn from densities π_1, π_2, … are together one sample of
their mixture, π(θ) = Σ_r n_r π_r(θ) / Σ_r n_r, whatever round a row is of (the balance heuristic of
Veach & Guibas 1995). An integral over θ is then a mean over all rows with the weights 1/π: no row
weighs more than the round that was meant for it lets it.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.special import logsumexp

from starcensus.theta import Box

from .cells import CellTheta
from .library import ClusterLibrary


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """Simulated clusters with the weights that make them stand for dθ.

    **Arguments:**

    - `bands`: names of the columns of `abs_mags`.
    - `theta`: `(row, 3)`, log10 M_sun, log10 yr, mag.
    - `abs_mags`: `(row, band)`, absolute Vega magnitudes; infinite without light.
    - `log_weight`: `(row,)`, −ln(n π(θ)) with n the number of all rows that were drawn: so
      weighted, the sum of f(θ, light) over the rows is an unbiased estimate of ∫ E[f | θ] dθ.
    - `cluster`: `(row,)`, which rows are one cluster, with the same stars behind different dust.
    - `box`: where θ was drawn.
    - `rounds`: rows and density of each round, if more may be added.

    ```python
    pool = Pool.of_rounds([(library_of_cells, cells)])
    np.exp(pool.log_weight).sum()  # about the volume of the box
    ```
    """

    bands: tuple[str, ...]
    theta: Float[np.ndarray, "row 3"]
    abs_mags: Float32[np.ndarray, "row band"]
    log_weight: Float[np.ndarray, " row"]
    cluster: Int[np.ndarray, " row"]
    box: Box
    rounds: tuple[tuple[int, CellTheta], ...] = ()

    def __len__(self) -> int:
        return len(self.theta)

    def take(self, rows: np.ndarray | slice) -> "Pool":
        """Some of the rows, with their weights as they are.

        Masses and ages of `CellTheta` follow a sequence, of which every n-th cluster is no fair
        sample; a run of them is.
        """
        return dataclasses.replace(
            self,
            theta=self.theta[rows],
            abs_mags=self.abs_mags[rows],
            log_weight=self.log_weight[rows],
            cluster=self.cluster[rows],
            rounds=(),
        )

    @classmethod
    def of(cls, library: ClusterLibrary, bands: Sequence[str] | None = None) -> "Pool":
        """A library that was drawn from a known density.

        Raises `ValueError` for one whose density is unknown, whose clusters were chosen by their
        light, or which lacks a band.
        """
        if library.inclusion is not None or not np.isfinite(library.log_density).all():
            raise ValueError(
                "the library does not say from which density its clusters were drawn, or they were "
                "chosen by their light; weights need the density: draw a library by a design of θ"
            )
        some = library if bands is None else library.select(bands)
        low, high = library.theta.min(axis=0), library.theta.max(axis=0)
        cluster = np.arange(len(library)) if library.seed is None else _numbered(library.seed)
        return cls(
            some.bands,
            some.theta,
            some.abs_mags.astype(np.float32),
            -library.log_density - np.log(len(library)),
            cluster,
            Box(*((float(a), float(b)) for a, b in zip(low, high, strict=True))),
        )

    @classmethod
    def of_rounds(
        cls,
        rounds: Sequence[tuple[ClusterLibrary, CellTheta]],
        bands: Sequence[str] | None = None,
    ) -> "Pool":
        """Rounds of one box, each with the density that it was drawn from.

        Raises `ValueError` for rounds of different boxes or bands.
        """
        boxes = {tuple(cells.bounds().values()) for _, cells in rounds}
        if len(boxes) != 1:
            raise ValueError(f"rounds of different boxes cannot be pooled: {sorted(boxes)}")
        parts = [library if bands is None else library.select(bands) for library, _ in rounds]
        if len({part.bands for part in parts}) != 1:
            raise ValueError(f"rounds have different bands: {[part.bands for part in parts]}")
        theta = np.concatenate([part.theta for part in parts])
        densities = [
            cells.log_density(theta) + np.log(len(part))
            for part, (_, cells) in zip(parts, rounds, strict=True)
        ]
        groups, first = [], 0
        for part in parts:
            assert part.seed is not None
            number = _numbered(part.seed)
            groups.append(number + first)
            first += int(number.max()) + 1
        return cls(
            parts[0].bands,
            theta,
            np.concatenate([part.abs_mags for part in parts]).astype(np.float32),
            -np.asarray(logsumexp(densities, axis=0)),
            np.concatenate(groups),
            Box(*boxes.pop()),
            tuple((len(part), cells) for part, (_, cells) in zip(parts, rounds, strict=True)),
        )


def _numbered(seeds: np.ndarray) -> Int[np.ndarray, " row"]:
    """A number for each run of equal seeds."""
    return np.concatenate([[0], np.cumsum(seeds[1:] != seeds[:-1])])
