"""A density of θ that is constant in each cell of a grid: what libraries drawn to order follow.

A proposal that puts clusters where a catalogue needs them must be drawn from, and its density known
at any θ, ten million times over; with cells both are a look into a table.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from starcensus.theta import AXES, check_units

from .streams import EXTINCTION, sobol, uniform, words

Pair = tuple[float, float]


@dataclasses.dataclass(frozen=True, eq=False)
class CellTheta:
    """θ with a density that is constant in each cell of a grid.

    Each cluster is put behind `n_extinctions` different columns of dust: so many rows with its
    mass, age, seed and stars follow one another, with extinctions from as many equal shares of the
    probability of a_v in the cluster's cell. Its stars are drawn once. Masses and ages follow a
    Sobol sequence: every cell has its share of the clusters, to one or so, where chance would leave
    a few per cent more old ones, and the sums over the library with them.

    **Arguments:**

    - `edges`: increasing edges of the cells in log_mass (log10 M_sun), log_age (log10 yr) and a_v
      (mag).
    - `shares`: `(mass cell, age cell, a_v cell)`, probability of each cell, of any normalisation.
    - `n_extinctions`: rows of each cluster.

    Raises `ValueError` for edges that do not increase, and shares that are no probabilities.

    ```python
    edges = np.linspace(3.0, 5.0, 3), np.linspace(6.0, 9.0, 4), np.linspace(0.0, 2.0, 5)
    cells = CellTheta(edges, np.ones((2, 3, 4)), n_extinctions=2)
    Design(6, seed=1, theta=cells).rows(0, 6)["a_v"]
    ```
    """

    edges: tuple[Float[np.ndarray, " m1"], Float[np.ndarray, " t1"], Float[np.ndarray, " a1"]]
    shares: Float[np.ndarray, "m t a"]
    n_extinctions: int = 1

    def __post_init__(self) -> None:
        shape = tuple(len(edges) - 1 for edges in self.edges)
        if self.shares.shape != shape:
            raise ValueError(f"shares have shape {self.shares.shape}; the edges have {shape} cells")
        for name, edges in zip(AXES, self.edges, strict=True):
            if not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
                raise ValueError(f"the edges of {name} do not increase: {edges}")
            check_units(name, float(edges[0]), float(edges[-1]))
        if not np.isfinite(self.shares).all() or self.shares.min() < 0 or self.shares.max() <= 0:
            raise ValueError("shares are negative, not finite, or all 0; expected probabilities")
        if self.n_extinctions < 1:
            raise ValueError(f"n_extinctions is {self.n_extinctions}; expected 1 or more")

    def bounds(self) -> dict[str, Pair]:
        return {
            name: (float(edges[0]), float(edges[-1]))
            for name, edges in zip(AXES, self.edges, strict=True)
        }

    def describe(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for values in (*self.edges, self.shares):
            digest.update(np.ascontiguousarray(values, "<f8").tobytes())
        return {
            "kind": "cells",
            "sequence": "sobol",
            "cells": list(self.shares.shape),
            "n_extinctions": self.n_extinctions,
            "sha256": digest.hexdigest(),
        }

    def rows(self, seed: int, n: int, start: int, stop: int) -> dict[str, np.ndarray]:
        """Columns of θ, and of ln π(θ)."""
        k = self.n_extinctions
        u = self.of_clusters(sobol, seed, start, stop)
        of_mass_age = self.shares.sum(axis=2).ravel()
        i, j = np.unravel_index(_draw_one(of_mass_age, u[:, 0]), self.shares.shape[:2])
        within = uniform(words(seed, EXTINCTION, start, stop))[:, 0]
        level = (np.arange(start, stop) % k + within) / k
        cell, inside = _draw_each(self.shares[i, j], level)
        columns = {}
        for name, edges, at, x in zip(
            AXES, self.edges, (i, j, cell), (u[:, 1], u[:, 2], inside), strict=True
        ):
            columns[name] = edges[at] + x * (edges[at + 1] - edges[at])
        return {**columns, "log_density": self.log_density(np.stack(list(columns.values()), 1))}

    def log_density(self, theta: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """ln π(θ), per dex² mag; −inf where no cluster is drawn.

        ```python
        cells.log_density(np.array([[4.0, 7.5, 0.5]]))
        ```
        """
        at, inside = [], np.ones(len(theta), bool)
        for axis, edges in enumerate(self.edges):
            x = theta[:, axis]
            inside &= (x >= edges[0]) & (x <= edges[-1])
            at.append(np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2))
        widths = [np.diff(edges) for edges in self.edges]
        volume = widths[0][at[0]] * widths[1][at[1]] * widths[2][at[2]]
        with np.errstate(divide="ignore"):
            density = np.log(self.shares[tuple(at)] / self.shares.sum() / volume)
        return np.where(inside, density, -np.inf)

    def of_clusters(
        self, of: Callable[[int, int, int], np.ndarray], seed: int, start: int, stop: int
    ) -> np.ndarray:
        """`of(seed, first, last)` of the clusters, for each of the rows start to stop."""
        k = self.n_extinctions
        first, last = start // k, -(-stop // k)
        return of(seed, first, last)[np.arange(start, stop) // k - first]


def _draw_one(
    shares: Float[np.ndarray, " cell"], u: Float[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """The cell at each level u of one set of shares."""
    below = np.cumsum(shares)
    # The last cell with a share holds the level 1.
    top = int(np.flatnonzero(shares)[-1])
    return np.minimum(np.searchsorted(below, u * below[-1], side="right"), top)


def _draw_each(
    shares: Float[np.ndarray, "n cell"], u: Float[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The cell at the level u of each row of shares, and how far inside the level lies."""
    below = np.cumsum(shares, axis=1)
    level = u * below[:, -1]
    top = shares.shape[1] - 1 - np.argmax(shares[:, ::-1] > 0, axis=1)
    cell = np.minimum((below <= level[:, None]).sum(axis=1), top)
    share = np.take_along_axis(shares, cell[:, None], 1)[:, 0]
    before = np.take_along_axis(below, cell[:, None], 1)[:, 0] - share
    return cell, np.clip((level - before) / share, 0.0, 1.0)
