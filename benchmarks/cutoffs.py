"""How far the odds of a Schechter cut-off can be believed, where masses have errors.

Catalogues are drawn by NumPy alone from both laws, with slopes and cut-offs from the priors of the
analysis, recorded with errors and kept above a limit in the recorded mass. Their odds are integrals
of the package's likelihood over nodes of the two parameters. Mok et al. (2019, ApJ 872, 93) find
that most published cut-offs lose their significance with realistic errors; so the same catalogues
are also analysed as if their masses were exact.
"""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import expit

from benchmarks.fit import Result
from benchmarks.odds import reliability
from starcensus.forward import (
    HalfNormal,
    Population,
    PowerLaw,
    PowerLawAge,
    Schechter,
    SelectionGrid,
    Separable,
    selection_grid,
)
from starcensus.inference import ObjectSamples, PublishedValues, double_precision, log_likelihood
from starcensus.inference.identity import Rules, grid_of, rules_of
from starcensus.inference.objects._base import padded_size
from starcensus.selection import Box, complete
from starcensus.selection.catalogue import Catalogue, ThetaRange, apply_cuts

type Say = Callable[[str], None]

LIMIT, TOP = 3.7, 7.5
LOG_AGE, A_V = (6.0, 10.0), (0.0, 3.0)
# Even priors of the slope and of the logarithm of the cut-off, of truths and of the analysis.
SLOPES, CUT_OFFS = (-2.4, -1.6), (4.5, 6.5)
_N_SLOPES, _N_CUT_OFFS = 17, 25
# Errors that are handed in where masses are taken to be exact, dex.
_EXACT = 0.01
_BINS = ((4.5, 5.0), (5.0, 5.5), (5.5, 6.0), (6.0, 6.5))
_SURE = 0.95


def bench_cutoffs(
    n: int = 300,
    replicates: int = 200,
    error: float = 0.3,
    seed: int = 0,
    say: Say = lambda text: None,
) -> Iterator[Result]:
    """One result for errors that are known, and one for errors that are ignored."""
    rng = np.random.default_rng(seed)
    made: list[tuple[float | None, Catalogue]] = []
    for _ in range(replicates):
        for cut_off in (None, rng.uniform(*CUT_OFFS)):
            made.append((cut_off, recorded(rng, n, rng.uniform(*SLOPES), cut_off, error)))
    cut_offs = np.array([np.nan if c is None else c for c, _ in made])
    with double_precision():
        for name, own in (("known", error), ("ignored", _EXACT)):
            grid, share = None, np.empty(len(made))
            for i, (_, catalogue) in enumerate(made):
                say(f"errors {name}: catalogue {i + 1} of {len(made)}")
                objects = PublishedValues(_with_errors(catalogue, own))
                if grid is None:
                    # All catalogues have one limit and one error.
                    grid = _grid(objects, own)
                samples = objects.samples(_box(own), pad=False).padded(padded_size(n))
                share[i] = p_schechter(samples, grid, own)
            facts: Result = {"benchmark": "cutoffs", "errors": name, "error_dex": error, "n": n}
            yield {**facts, **judge(share, cut_offs)}


def recorded(
    rng: np.random.Generator, n: int, slope: float, cut_off: float | None, error: float
) -> Catalogue:
    """n clusters whose recorded mass is above the limit; ages and extinctions of one law."""
    low, high = LIMIT - 5 * error - 0.2, TOP
    kept: list[np.ndarray] = []
    while sum(map(len, kept)) < n:
        a, b = 10 ** (low * (slope + 1)), 10 ** (high * (slope + 1))
        log_mass = np.log10(a + rng.uniform(size=40 * n) * (b - a)) / (slope + 1)
        if cut_off is not None:
            log_mass = log_mass[rng.uniform(size=40 * n) < np.exp(-(10 ** (log_mass - cut_off)))]
        seen = log_mass + error * rng.standard_normal(len(log_mass))
        kept.append(seen[seen > LIMIT])
    mass = np.concatenate(kept)[:n]
    age = np.log10(rng.uniform(10 ** LOG_AGE[0], 10 ** LOG_AGE[1], n))
    theta = np.stack([mass, np.clip(age, 6.2, 9.8), np.full(n, 0.3)], axis=1)
    return Catalogue("drawn", np.arange(n).astype(str), theta, theta - 0.01, theta + 0.01)


def p_schechter(samples: ObjectSamples, grid: SelectionGrid, error: float) -> float:
    """Probability of a cut-off, by even odds of the two laws beforehand."""
    slopes, cut_offs = np.linspace(*SLOPES, _N_SLOPES), np.linspace(*CUT_OFFS, _N_CUT_OFFS)
    rules, low = rules_of(grid), _box(error).log_mass[0]
    both = np.stack(np.meshgrid(slopes, cut_offs, indexing="ij"), axis=-1).reshape(-1, 2)
    with_cut = np.asarray(_log_l(True, low, rules, jnp.asarray(both), samples, grid.p_sel))
    without = np.asarray(
        _log_l(False, low, rules, jnp.stack([slopes, slopes], axis=1), samples, grid.p_sel)
    )
    weights = [_trapezoid(k) for k in (_N_SLOPES, _N_CUT_OFFS)]
    cut = with_cut.reshape(_N_SLOPES, _N_CUT_OFFS)
    ln_b = _log_mean(cut, np.multiply.outer(*weights)) - _log_mean(without, weights[0])
    return float(expit(ln_b))


def judge(share: Float[np.ndarray, " n"], cut_offs: Float[np.ndarray, " n"]) -> Result:
    """False alarms, cut-offs that are found, and how often stated probabilities come true.

    **Arguments:**

    - `share`: probability of a cut-off in each catalogue. `cut_offs`: log10 M_sun, NaN without.
    """
    true, sure = np.isfinite(cut_offs), share > _SURE
    found: Result = {
        "n_catalogues": len(share),
        "false_alarms": int(sure[~true].sum()),
        "found": int(sure[true].sum()),
        "missed_for_certain": int((share[true] < 1 - _SURE).sum()),
    }
    for low, high in _BINS:
        inside = true & (cut_offs >= low) & (cut_offs < high)
        found[f"found_{low:g}_{high:g}"] = f"{int(sure[inside].sum())} of {int(inside.sum())}"
    return {**found, **reliability(share, true)}


def _box(error: float) -> Box:
    return Box((LIMIT - 5 * error, TOP), LOG_AGE, A_V)


def _with_errors(catalogue: Catalogue, error: float) -> Catalogue:
    half = np.array([error, 0.01, 0.01])
    theta = catalogue.theta
    own = Catalogue("drawn", catalogue.ids, theta, theta - half, theta + half)
    return apply_cuts(own, [ThetaRange(log_mass=(LIMIT, 9.0))])


def _grid(objects: PublishedValues, error: float) -> SelectionGrid:
    selection = objects.entering(complete(_box(error)))
    return selection_grid(selection, _family(True, _box(error).log_mass[0]))


def _family(cut: bool, low: float) -> Population:
    mass = Schechter((low, TOP)) if cut else PowerLaw((low, TOP))
    return Population(Separable(mass, PowerLawAge(LOG_AGE, 0.0)), HalfNormal(A_V, 0.4), 3.0)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _log_l(
    cut: bool,
    low: float,
    rules: Rules,
    values: Float[Array, "k 2"],
    samples: ObjectSamples,
    p_sel: Array,
) -> Float[Array, " k"]:
    family, nodes = _family(cut, low), grid_of(rules, p_sel)

    def at(value: Float[Array, "2"]) -> Float[Array, ""]:
        given = {"alpha_m": value[0]} | ({"log_m_break": value[1]} if cut else {})
        return log_likelihood(family.with_values(given), samples, nodes, "conditional")

    return jax.lax.map(at, values)


def _log_mean(log_values: np.ndarray, weight: np.ndarray) -> float:
    top = log_values.max()
    return float(top + np.log((np.exp(log_values - top) * weight).sum()))


def _trapezoid(n: int) -> Float[np.ndarray, " n"]:
    weight = np.ones(n)
    weight[[0, -1]] = 0.5
    return weight / weight.sum()
