"""Completeness of one quantity after averaging the others, and corrected counts in bins.

Equations 16 to 18 of Tang et al. (arXiv:2604.05291):

    p̂(x) = ∬ p_sel(x, y, z) p(y) p(z) dy dz,        p(y), p(z) normalised over the domain,
    N_corr = N_raw / mean_i p̂(x_i),   N_low, N_high = N_raw / (84th, 16th percentile of p̂(x_i)).

The bounds show how much p̂ varies within a bin; they are no confidence interval. A likelihood with
p_sel(θ) inside (`starcensus.inference`) needs neither the averaging nor the correction.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from starcensus.theta import AXES

from .operators._base import AbstractSelection

Density = Callable[[np.ndarray], np.ndarray]

CLIP_LOG_AGE = 1e-10
MASK_LOG_AGE = 1e-3
CLIP_LOG_MASS = 1e-3


def marginal_completeness(
    selection: AbstractSelection,
    axis: str,
    at: Float[np.ndarray, "n"],
    *,
    log_mass_density: Density | None = None,
    log_age_density: Density | None = None,
    a_v_density: Density | None = None,
    bounds: dict[str, tuple[float, float]] | None = None,
    n_nodes: int = 64,
) -> Float[np.ndarray, "n"]:
    """Mean p_sel at values of one axis, over the densities of the two others (Tang et al.,
    arXiv:2604.05291, equation 16).

    **Arguments:**

    - `selection`: the operator.
    - `axis`: `"log_mass"`, `"log_age"` or `"a_v"`, which is not averaged.
    - `at`: `(n,)`, values of that axis, in dex, dex or mag.
    - `log_mass_density`, `log_age_density`, `a_v_density`: unnormalised density per dex (per mag
      for a_v) of an axis that is averaged; `None` is uniform. The density of `axis` itself must be
      `None`.
    - `bounds`: limits of an averaged axis; by default the domain's. They must lie inside it.
    - `n_nodes`: Gauss–Legendre nodes on each averaged axis; for densities with steps, such as a
      histogram, take several hundred.

    Raises `SelectionDomainError` where the operator refuses, `ValueError` for a density that is
    negative, not finite or zero everywhere.

    ```python
    marginal_completeness(
        operator, "log_mass", np.array([3.5, 4.5]), log_age_density=lambda log_age: 10**log_age
    )
    ```
    """
    if axis not in AXES:
        raise ValueError(f"axis is {axis!r}; expected one of {', '.join(AXES)}")
    densities: dict[str, Density | None] = dict(
        zip(AXES, (log_mass_density, log_age_density, a_v_density), strict=True)
    )
    if densities[axis] is not None:
        raise ValueError(f"{axis} is not averaged: {axis}_density must be None")
    bounds = bounds or {}
    others = [name for name in AXES if name != axis]
    t, w = np.polynomial.legendre.leggauss(n_nodes)
    nodes, weights = [], []
    for name in others:
        low, high = bounds[name] if name in bounds else getattr(selection.domain, name)
        x = low + (high - low) * (t + 1) / 2
        density = densities[name]
        values = np.ones_like(x) if density is None else np.asarray(density(x), float)
        if values.shape != x.shape or not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError(f"{name}_density must give a finite value ≥ 0 at each of its nodes")
        mass = values * w
        if mass.sum() == 0:
            raise ValueError(f"{name}_density is 0 all over {low:g} to {high:g}; widen the bounds")
        nodes.append(x)
        weights.append(mass / mass.sum())
    weight = weights[0][:, None] * weights[1][None, :]
    values = np.asarray(at, float)
    result = np.empty(len(values))
    for index, value in enumerate(values):
        grid = dict(zip(others, np.meshgrid(*nodes, indexing="ij"), strict=True))
        grid[axis] = np.full(weight.shape, value)
        theta = [grid[name] for name in AXES]
        selection.check_points(*theta)
        result[index] = np.sum(weight * np.asarray(selection.p_sel(*theta)))
    return result


def extinction_density(
    selection: AbstractSelection,
    log_mass: Float[np.ndarray, "n"],
    log_age: Float[np.ndarray, "n"],
    a_v: Float[np.ndarray, "n"],
    edges: Float[np.ndarray, "edge"],
    *,
    least: float = 0.5,
    min_clusters: int = 30,
) -> Density:
    """p(A_V) from the catalogued clusters that would be catalogued at any extinction (Tang et al.,
    arXiv:2604.05291, section 4.4).

    Those are the clusters of whose mass and age p_sel exceeds `least` at the last of `edges`. Among
    them extinction decides little of what is catalogued, at most a factor 1/`least`, so their
    histogram stands for the population's, if extinction depends on neither mass nor age.

    **Arguments:**

    - `selection`: the operator.
    - `log_mass` (log10 M_sun), `log_age` (log10 yr), `a_v` (mag): `(n,)`, of the catalogue.
    - `edges`: edges of the histogram, mag, from 0 or more up; inside the operator's domain.
    - `least`: p_sel that a cluster needs behind the most dust.
    - `min_clusters`: the fewest such clusters.

    Returns a function from A_V to the density per mag. Raises `ValueError` for fewer than
    `min_clusters` such clusters, and `SelectionDomainError` where the operator refuses.

    ```python
    density = extinction_density(
        operator, *catalogue.theta.T, np.array([0.0, 0.5, 1.0, 2.0]), least=0.2, min_clusters=5
    )
    density(np.array([0.3, 1.5]))
    ```
    """
    x, t, a, borders = (np.asarray(each, float) for each in (log_mass, log_age, a_v, edges))
    if not (x.shape == t.shape == a.shape and x.ndim == 1):
        raise ValueError(f"log_mass, log_age and a_v have shapes {x.shape}, {t.shape}, {a.shape}")
    if borders.ndim != 1 or len(borders) < 2 or not (np.diff(borders) > 0).all():
        raise ValueError("edges must be two or more increasing numbers")
    dustiest = np.full(len(x), borders[-1])
    selection.check_points(x, t, dustiest)
    anyway = np.asarray(selection.p_sel(x, t, dustiest)) > least
    if anyway.sum() < min_clusters:
        raise ValueError(
            f"{int(anyway.sum())} of {len(x)} clusters have p_sel > {least:g} at A_V = "
            f"{borders[-1]:g}; expected {min_clusters} or more. Lower `least` or the last edge, or "
            "fit the extinction with the population"
        )
    counts, _ = np.histogram(a[anyway], borders)
    if not counts.sum():
        raise ValueError(
            f"no such cluster has A_V between {borders[0]:g} and {borders[-1]:g}; widen the edges"
        )
    height = counts / counts.sum() / np.diff(borders)

    def density(at: np.ndarray) -> np.ndarray:
        which = np.searchsorted(borders, at, side="right") - 1
        which = np.where(at == borders[-1], len(height) - 1, which)
        inside = (which >= 0) & (which < len(height))
        return np.where(inside, height[np.clip(which, 0, len(height) - 1)], 0.0)

    return density


@dataclasses.dataclass(frozen=True, eq=False)
class CorrectedCounts:
    """Counts per bin, as observed and corrected.

    A bin without clusters has 0 counts and NaN `mean_p`; a masked bin has NaN corrected counts.

    **Arguments:**

    - `edges`: `(bin + 1,)`, edges of the bins.
    - `n_raw`: `(bin,)`, the clusters that there are.
    - `n_corrected`: `(bin,)`, their number divided by `mean_p`.
    - `n_low`, `n_high`: `(bin,)`, divided by the 84th and 16th percentile of the completeness.
    - `mean_p`: `(bin,)`, mean completeness of the bin's clusters.
    """

    edges: Float[np.ndarray, "edge"]
    n_raw: Float[np.ndarray, "bin"]
    n_corrected: Float[np.ndarray, "bin"]
    n_low: Float[np.ndarray, "bin"]
    n_high: Float[np.ndarray, "bin"]
    mean_p: Float[np.ndarray, "bin"]


def corrected_counts(
    values: Float[np.ndarray, "n"],
    p_values: Float[np.ndarray, "n"],
    edges: Float[np.ndarray, "edge"],
    *,
    clip: float = CLIP_LOG_MASS,
    mask_below: float = 0.0,
) -> CorrectedCounts:
    """Counts in bins, divided by the mean completeness of each bin (Tang et al., arXiv:2604.05291,
    equations 17 and 18).

    The paper's choices are clip 1e-3 for masses, and clip 1e-10 with mask 1e-3 for ages
    (`CLIP_LOG_MASS`; `CLIP_LOG_AGE`, `MASK_LOG_AGE`). Bins include their lower edge, the last one
    also its upper; values outside all bins are left out.

    **Arguments:**

    - `values`: `(n,)`, log_mass or log_age of the clusters.
    - `p_values`: `(n,)`, their marginal completenesses, of `marginal_completeness`.
    - `edges`: edges of the bins, increasing.
    - `clip`: smaller completenesses count as this one.
    - `mask_below`: bins whose mean completeness is smaller are masked.

    Raises `ValueError` for shapes that differ, completenesses outside [0, 1], or edges that do not
    increase.

    ```python
    log_mass = catalogue.theta[:, 0]
    p = marginal_completeness(operator, "log_mass", log_mass)
    corrected_counts(log_mass, p, np.array([3.0, 4.0, 5.0, 6.0])).n_corrected
    ```
    """
    x, p, borders = (np.asarray(a, float) for a in (values, p_values, edges))
    if x.ndim != 1 or x.shape != p.shape:
        raise ValueError(
            f"values {x.shape} and p_values {p.shape} differ in shape; expected two equal vectors"
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p_values must lie in [0, 1]; they come from marginal_completeness")
    if borders.ndim != 1 or len(borders) < 2 or not (np.diff(borders) > 0).all():
        raise ValueError("edges must be two or more increasing numbers")
    if not 0 < clip <= 1:
        raise ValueError(f"clip is {clip:g}; expected a probability above 0, such as 1e-3")
    p = np.maximum(p, clip)
    member = np.searchsorted(borders, x, side="right") - 1
    member[x == borders[-1]] = len(borders) - 2
    n_bins = len(borders) - 1
    n_raw, mean_p = np.zeros(n_bins), np.full(n_bins, np.nan)
    corrected, low, high = np.zeros(n_bins), np.zeros(n_bins), np.zeros(n_bins)
    for b in range(n_bins):
        inside = p[member == b]
        if not len(inside):
            continue
        n_raw[b], mean_p[b] = len(inside), inside.mean()
        if mean_p[b] < mask_below:
            corrected[b] = low[b] = high[b] = np.nan
            continue
        p16, p84 = np.percentile(inside, [16, 84])
        corrected[b], low[b], high[b] = n_raw[b] / np.array([mean_p[b], p84, p16])
    return CorrectedCounts(borders, n_raw, corrected, low, high, mean_p)
