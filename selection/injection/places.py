"""Whether injections lie where their plan says, and what weights make them.

Injections of a frame keep a distance from one another. Many in a frame, or far apart, find no room
where clusters are dense: the crowded middle of a galaxy, where fewest are catalogued, gets fewer
than its share. Whoever learns from such a table learns a completeness that is too high.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from starcensus.settings import check_seed

from .table import InjectionTable

# Strata of equal shares of the plan's density, by that density.
_STRATA = 20
# What a stratum may lack or have in excess, beyond three errors of its count.
_MATERIAL = 0.1
_LEAST = 20


def place_weights(
    density: Float[np.ndarray, "row col"], x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"] | None:
    """Weights of mean 1 under which injections lie as a density has it; None where they do anyway.

    Places are taken together that are equally dense, a twentieth of all clusters at a time
    (post-stratification: Holt & Smith 1979, J. R. Stat. Soc. A 142, 33). A stratum in which
    injections are more or fewer than they should be by a tenth, and by three times the error of
    their number, calls for weights.

    **Arguments:**

    - `density`: `(row, col)`, probability of each pixel.
    - `x`, `y`: `(n,)`, pixels.

    ```python
    ramp = np.tile(np.arange(1.0, 65.0), (64, 1))
    even = np.random.default_rng(1).uniform(0, 63, (2, 4000))
    place_weights(ramp / ramp.sum(), *even)  # 0.2 to 1.9
    ```
    """
    at = density[_pixel(y, density.shape[0]), _pixel(x, density.shape[1])]
    edges = _strata(density)
    stratum = np.searchsorted(edges, at, side="right")
    inside = np.searchsorted(edges, density.ravel(), side="right")
    share = np.bincount(inside, density.ravel(), len(edges) + 1) / density.sum()
    count = np.bincount(stratum, minlength=len(edges) + 1)
    joined = _joined(count)
    share, count = (np.bincount(joined, part) for part in (share, count))
    expected = share * len(x)
    off = np.abs(count / np.maximum(expected, 1e-300) - 1)
    if (off <= _MATERIAL + 3 / np.sqrt(np.maximum(expected, 1e-300))).all():
        return None
    weight = (expected / np.maximum(count, 1))[joined[stratum]]
    return weight / weight.mean()


def _pixel(values: Float[np.ndarray, "n"], size: int) -> Int[np.ndarray, "n"]:
    return np.clip(np.rint(values).astype(int), 0, size - 1)


def _strata(density: Float[np.ndarray, "row col"]) -> Float[np.ndarray, "edge"]:
    """Densities that part all clusters into equal shares."""
    ordered = np.sort(density.ravel())
    below = np.cumsum(ordered)
    at = np.searchsorted(below, below[-1] * np.arange(1, _STRATA) / _STRATA)
    return np.unique(ordered[at])


def _joined(count: Int[np.ndarray, "stratum"]) -> Int[np.ndarray, "stratum"]:
    """Numbers of the strata once those with few injections are one with the next."""
    names, name, held = np.zeros(len(count), int), 0, 0
    for i, n in enumerate(count):
        names[i] = name
        held += int(n)
        if held >= _LEAST:
            name, held = name + 1, 0
    if held < _LEAST and name:
        names[names == name] = name - 1
    return names


def at_planned_places(table: InjectionTable, seed: int) -> InjectionTable:
    """The injections, or a part of them that lies where the plan says, chance deciding which.

    For what asks how often something is right: of a table with weights a row is kept with a
    probability that is proportional to its own, so that those that are left count alike.

    **Arguments:**

    - `table`: of injections. `seed`: of the choice.

    ```python
    len(at_planned_places(table, seed=1)) == len(table)  # its injections had room
    ```
    """
    if table.place_weight is None:
        return table
    check_seed(seed)
    kept = np.random.default_rng([seed, 1]).random(len(table))
    some = table.take(kept * table.place_weight.max() < table.place_weight)
    return dataclasses.replace(some, place_weight=None)
