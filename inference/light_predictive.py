"""What a fitted population predicts of a survey's magnitudes and colours.

For each draw φ of the posterior a catalogue is drawn: of the rows j of the pool a Poisson number
with the mean Σ_j P(det | μ_j) λ(θ_j | φ) / (n π(θ_j)), each row with its share of it, and of each
what the survey records, p(d | μ_j, det). Nothing of the data takes part in it, so that magnitudes
and colours of predicted catalogues may be held beside the observed ones.
"""

import dataclasses
import itertools
from collections.abc import Mapping

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int

from starcensus.bands import filter_of, wavelength_order

from ..forward import Population
from ..selection.observation import AbstractObservation
from .objects import EmulatedObjects, LightObjects
from .objects.kernel import apparent
from .sampling import double_precision

_BINS = 16
# Copies of clusters that are drawn at a time until each is catalogued, and how often at most.
_COPIES, _TRIES = 200_000, 40


@dataclasses.dataclass(frozen=True, eq=False)
class LightPredictions:
    """Counts of what was measured and of what is predicted, by magnitude and by colour.

    **Arguments:**

    - `edges`: bin edges, mag, by the name of a band, or "BLUER - REDDER" of two neighbours.
    - `observed`: `(bin,)`, clusters that are measured in the band, or in both.
    - `predicted`: `(draw, bin)`, those of predicted catalogues.

    What lies beyond the edges is counted in the outermost bins.
    """

    edges: dict[str, Float[np.ndarray, " edge"]]
    observed: dict[str, Int[np.ndarray, " bin"]]
    predicted: dict[str, Int[np.ndarray, "draw bin"]]

    def json(self) -> dict[str, dict[str, list]]:
        """All of it, JSON-ready, by name."""
        return {
            name: {
                "edges": edges.tolist(),
                "observed": self.observed[name].tolist(),
                "predicted": self.predicted[name].tolist(),
            }
            for name, edges in self.edges.items()
        }


def predict_light(
    objects: LightObjects | EmulatedObjects,
    population: Population,
    values: Mapping[str, Float[np.ndarray, "draw ..."]],
    seed: int,
) -> LightPredictions:
    """Magnitudes and colours of a catalogue for each draw of the parameters.

    **Arguments:**

    - `objects`: the clusters that were fitted, with survey and pool.
    - `population`: the family, its fixed parameters at their values.
    - `values`: draws `(draw, …)` by parameter name, `log_n` among them.
    - `seed`: of the catalogues.

    ```python
    draws = {"alpha_m": np.full(20, -2.0), "log_n": np.full(20, 2.5)}
    predict_light(objects, population, draws, seed=1).predicted
    ```
    """
    rng = np.random.default_rng(seed)
    picked, sizes, p = _rows(objects, population, values, rng)
    assert objects.pool is not None
    mags = apparent(objects.pool, objects.observation)
    flux = _recorded(objects.observation, mags, picked, p[picked], rng)
    seen = _columns(objects.data.bands, objects.data.flux)
    drawn = _columns(objects.observation.bands, flux)
    ends = np.cumsum(sizes)[:-1]
    found = LightPredictions({}, {}, {})
    for name, column in seen.items():
        good = column[np.isfinite(column)]
        if len(good) < 2 or np.ptp(good) == 0:
            continue
        low, high = np.quantile(good, [0.005, 0.995])
        edges = np.linspace(low, high, _BINS + 1)
        found.edges[name], found.observed[name] = edges, _counted(column, edges)
        each = np.split(drawn[name], ends)
        found.predicted[name] = np.array([_counted(part, edges) for part in each])
    return found


def _rows(
    objects: LightObjects | EmulatedObjects,
    population: Population,
    values: Mapping[str, Float[np.ndarray, "draw ..."]],
    rng: np.random.Generator,
) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Rows of the pool of all catalogues, how many each has, and P(det | μ) of the pool."""
    pool, p = objects.pool, objects.p_rows
    assert p is not None and pool is not None
    rows = np.flatnonzero(population.box.holds(pool.theta) & (p > 0))
    base = p[rows] * np.exp(pool.log_weight[rows])
    theta = np.ascontiguousarray(pool.theta[rows].T)
    picked, sizes = [], []
    with double_precision():
        for i in range(len(next(iter(values.values())))):
            draw = {name: np.asarray(value[i]) for name, value in values.items()}
            heap = np.cumsum(base * np.exp(np.asarray(_log_rate(population, draw, theta))))
            n = int(rng.poisson(heap[-1])) if len(heap) else 0
            at = np.searchsorted(heap, rng.uniform(size=n) * heap[-1]) if n else np.zeros(0, int)
            picked.append(rows[np.minimum(at, len(rows) - 1)])
            sizes.append(n)
    return np.concatenate(picked), sizes, p


@eqx.filter_jit
def _log_rate(
    population: Population,
    draw: Mapping[str, Float[Array, "..."] | Float[np.ndarray, "..."]],
    theta: Float[Array, "3 row"] | Float[np.ndarray, "3 row"],
) -> Float[Array, " row"]:
    return population.with_values(draw).log_rate(theta[0], theta[1], theta[2])


def _recorded(
    observation: AbstractObservation,
    mags: Float[np.ndarray, "row band"],
    picked: Int[np.ndarray, " n"],
    p: Float[np.ndarray, " n"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "n band"]:
    """Fluxes as the survey records them of clusters that it catalogues; NaN where it does not.

    Of each cluster copies are drawn until one is catalogued. The few with p below one in ten
    thousand may never be; they are left NaN.
    """
    flux = np.full((len(picked), mags.shape[1]), np.nan)
    waiting = np.arange(len(picked))
    copies = np.ceil(2.0 / np.maximum(p, 1e-4)).astype(int)
    for _ in range(_TRIES):
        if not len(waiting):
            break
        left = []
        ends = np.cumsum(copies[waiting])
        parts = np.split(waiting, np.searchsorted(ends, np.arange(_COPIES, ends[-1], _COPIES)))
        for part in parts:
            if not len(part):
                continue
            owner = np.repeat(part, copies[part])
            catalogued, drawn = observation.draw(mags[picked[owner]], rng)
            which, first = np.unique(owner[catalogued], return_index=True)
            flux[which] = np.where(drawn.measured, drawn.flux, np.nan)[first]
            left.append(np.setdiff1d(part, which))
        waiting = np.concatenate(left)
    return flux


def _columns(
    bands: tuple[str, ...], flux: Float[np.ndarray, "n band"]
) -> dict[str, Float[np.ndarray, " n"]]:
    """Magnitudes of each band, by wavelength, and colours of neighbours."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mags = np.where(flux > 0, -2.5 * np.log10(flux), np.nan)
    order = sorted(range(len(bands)), key=lambda k: wavelength_order(bands[k]))
    found = {bands[k]: mags[:, k] for k in order}
    for one, two in itertools.pairwise(order):
        name = f"{filter_of(bands[one])} - {filter_of(bands[two])}"
        found[name] = mags[:, one] - mags[:, two]
    return found


def _counted(column: Float[np.ndarray, " n"], edges: np.ndarray) -> Int[np.ndarray, " bin"]:
    good = column[np.isfinite(column)]
    return np.histogram(np.clip(good, edges[0], edges[-1]), edges)[0]
