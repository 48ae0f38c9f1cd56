"""Bounds of a population and limits of a sample: which slope a fit gives.

    python benchmarks/limits.py [--catalogues 20]

Catalogues are complete down to 10^2.5 M_sun with dN/dM ∝ M^−2 (NumPy alone makes them); what is
wanted is the slope from the clusters above 5,000 M_sun. Each line is one way to ask for it: mean of
alpha_m and of its sd over the catalogues, and of the number of clusters above the limit against
the truth. `fit` refuses the first two ways; here their likelihood is evaluated all the same.
"""

import argparse
import functools

import jax
import numpy as np

from starcensus.forward import (
    HalfNormal,
    Population,
    PowerLaw,
    PowerLawAge,
    Separable,
    selection_grid,
)
from starcensus.inference import (
    ObjectSamples,
    PublishedValues,
    double_precision,
    log_likelihood,
)
from starcensus.inference.identity import Rules, grid_of, rules_of
from starcensus.selection import AbstractSelection, Box, complete
from starcensus.selection.catalogue import Catalogue, ThetaRange, apply_cuts

ALPHA, LIMIT, LOWEST, TOP = -2.0, 3.7, 2.5, 6.5
LOG_AGE, A_V = (6.0, 10.0), (0.0, 3.0)
# Catalogues are filled up to so many rows, so that one program serves all.
_ROWS = 8192


def drawn(error: float, seed: int, n: int = 12_000) -> tuple[Catalogue, int]:
    """A complete catalogue, and its number of clusters above the limit."""
    rng = np.random.default_rng(seed)
    low, high = (10 ** (x * (ALPHA + 1)) for x in (LOWEST, TOP))
    log_mass = np.log10(low + rng.uniform(size=n) * (high - low)) / (ALPHA + 1)
    true = np.stack([log_mass, rng.uniform(*LOG_AGE, n), np.abs(rng.normal(0, 0.4, n))], axis=1)
    recorded = true + error * rng.normal(size=true.shape)
    names = np.arange(n).astype(str)
    made = Catalogue("drawn", names, recorded, recorded - error, recorded + error)
    return made, int((log_mass > LIMIT).sum())


def population(bound: float) -> Population:
    mass = PowerLaw((bound, TOP))
    return Population(Separable(mass, PowerLawAge(LOG_AGE, -1.0)), HalfNormal(A_V, 0.4), 3.0)


@functools.partial(jax.jit, static_argnums=(0, 1))
def profile(
    bound: float, rules: Rules, alphas: jax.Array, samples: ObjectSamples, p_sel: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """ln L and the detected fraction at each slope."""
    family, nodes = population(bound), grid_of(rules, p_sel)

    def at(alpha: jax.Array) -> tuple[jax.Array, jax.Array]:
        there = family.with_values({"alpha_m": alpha})
        value = log_likelihood(there, samples, nodes, "conditional")
        return value, nodes.detected_fraction(there)

    return jax.lax.map(at, alphas)


def answer(
    catalogue: Catalogue, bound: float, selection: AbstractSelection | None = None
) -> tuple[float, float, float]:
    """Mean and sd of alpha_m under a flat prior, and clusters above the limit at the mean."""
    box = Box((bound, TOP), LOG_AGE, A_V)
    family = population(bound)
    objects = PublishedValues(catalogue)
    selection = objects.entering(complete(box)) if selection is None else selection
    samples, grid = objects.samples(box, pad=False).padded(_ROWS), selection_grid(selection, family)
    alphas = np.linspace(-4.5, -1.2, 111)
    log_p, detected = profile(bound, rules_of(grid), alphas, samples, grid.p_sel)
    p = np.exp(np.asarray(log_p) - np.max(log_p))
    p /= p.sum()
    mean = float((p * alphas).sum())
    sd = float(np.sqrt((p * (alphas - mean) ** 2).sum()))
    low, limit, top = (10 ** (x * (alphas + 1)) for x in (bound, LIMIT, TOP))
    above = len(catalogue) / np.asarray(detected) * (limit - top) / (low - top)
    return mean, sd, float((p * above).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--catalogues", type=int, default=20)
    n = parser.parse_args().catalogues
    print("| errors | what is handed in | bounds from | slope | sd | N above the limit / truth |")
    print("|---|---|---|---|---|---|")
    for error, wide in ((0.1, 3.3), (0.3, 2.6)):
        rows: dict[str, list[tuple[float, ...]]] = {}
        for seed in range(n):
            whole, truth = drawn(error, seed)
            # As far as 3 errors below the bound, which is what a population's edge lets in.
            near = whole.keep(whole.theta[:, 0] > LIMIT - 3 * error, "near", "")
            sample = apply_cuts(whole, [ThetaRange(log_mass=(LIMIT, 9.0))])
            everything = complete(Box((LIMIT, TOP), LOG_AGE, A_V))
            for name, bound, found in (
                ("the whole catalogue", LIMIT, answer(near, LIMIT, everything)),
                ("recorded above the limit, not said", LIMIT, answer(sample, LIMIT, everything)),
                ("recorded above the limit, said", wide, answer(sample, wide)),
            ):
                mean, sd, above = found
                rows.setdefault(f"{name} | 10^{bound:g}", []).append((mean, sd, above / truth))
        for name, values in rows.items():
            mean, sd, ratio = np.mean(values, axis=0)
            scatter = np.std([v[0] for v in values], ddof=1)
            print(
                f"| {error:g} dex | {name} | {mean:.2f} (scatter {scatter:.2f}) | {sd:.2f} "
                f"| {ratio:.2f} |"
            )


if __name__ == "__main__":
    with double_precision():
        main()
