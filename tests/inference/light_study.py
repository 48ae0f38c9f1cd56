"""Is the likelihood of measured light right? Scores of many catalogues at their truth.

`python -m tests.inference.light_study [CATALOGUES CLUSTERS TRUTHS]` draws catalogues from one
population
(Schechter, mass-independent disruption, extinction on nodes), sees them through a survey, and takes
slope and curvature of ln L at the truth. Of a right likelihood the slope has the mean 0 and the
variance that the curvature says (the first two Bartlett identities); the likelihoods that are wrong
on purpose must be refused. The light of the catalogues' clusters is drawn apart from the library.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.special import ndtr, ndtri

from starcensus.forward import (
    MassIndependentDisruption,
    NodesExtinction,
    Population,
    Schechter,
    Separable,
)
from starcensus.inference import double_precision, log_likelihood
from starcensus.inference.objects import (
    LightObjects,
    LightSettings,
    Targeted,
    TargetSettings,
    draw_to_order,
)
from starcensus.selection import Box
from starcensus.selection.catalogue.photometry import BandState, Photometry
from starcensus.selection.observation import GaussianObservation, MeasuredCuts, NoiseCurves
from starcensus.shards import Work
from starcensus.simulate import Pool, StarcensusEngine

BANDS = ("WFC3_UVIS_F275W", "WFC3_UVIS_F336W", "ACS_F435W", "ACS_F555W", "ACS_F814W")
BOX = Box((2.2, 6.0), (6.2, 9.5), (0.0, 1.5))
MODULUS = 29.98
FALSE_ALARM = 0.01
NAMES = ("alpha_m", "log_m_break", "alpha_t", "log_t_mid", "p_av", "log_n")


def population() -> Population:
    made = Population(
        Separable(Schechter(BOX.log_mass), MassIndependentDisruption(BOX.log_age)),
        NodesExtinction((0.0, 0.5, 1.5)),
        4.2,
    )
    values = {"alpha_m": -2.0, "log_m_break": 4.8, "alpha_t": -0.9, "log_t_mid": 7.6}
    return made.with_values({**values, "p_av": jnp.array([0.5, 0.3, 0.2])})


def survey(**changes) -> GaussianObservation:
    """Depths of LEGUS, a shift of all bands, cuts on what is measured."""
    sky = 10 ** (-0.4 * np.array([25.3, 25.9, 27.5, 27.3, 26.5]))
    noise = NoiseCurves(BANDS, sky**2, np.zeros(5), np.full(5, 0.01))
    cuts = MeasuredCuts(3.62, 4, (), BANDS[2::2], {BANDS[3]: -6.0}, 0.0)
    made = {"noise": noise, "floor": 0.06, "common": 0.15, "cuts": cuts, **changes}
    return GaussianObservation(BANDS, MODULUS, **made)


@dataclasses.dataclass(frozen=True)
class Scores:
    """Shifts of the parameters in standard deviations, by catalogue.

    - `bias`, `excess`: mean shift, and variance over what the curvature says, less 1.
    - `limit`: what chance allows of each, at `FALSE_ALARM` for all together, in its error.
    """

    names: tuple[str, ...]
    n: int
    bias: np.ndarray
    bias_error: np.ndarray
    excess: np.ndarray
    excess_error: np.ndarray

    @property
    def limit(self) -> float:
        return float(-ndtri(FALSE_ALARM / (4 * len(self.names))))

    def accepted(self) -> bool:
        return bool(
            (np.abs(self.bias) <= self.limit * self.bias_error).all()
            and (np.abs(self.excess) <= self.limit * self.excess_error).all()
        )

    def power(self, bias: float = 0.3, width: float = 0.8) -> tuple[float, float]:
        """Chances to refuse a bias, in standard deviations, and a width by a factor."""
        return (
            float(ndtr(bias / self.bias_error.max() - self.limit)),
            float(ndtr(abs(1 / width**2 - 1) / self.excess_error.max() - self.limit)),
        )


def mock(pool: Pool, seen: GaussianObservation, rng: np.random.Generator) -> Photometry:
    """A Poisson catalogue: each simulated cluster of the pool stands for λ(θ_j) w_j of its like."""
    rate = np.asarray(population().log_rate(*pool.theta.T), float) + pool.log_weight
    rows = np.repeat(np.arange(len(pool)), rng.poisson(np.exp(rate)))
    data = seen.draw(pool.abs_mags[rows].astype(float) + MODULUS, rng)[1]
    return dataclasses.replace(data, ids=np.arange(len(data)).astype(str))


def scores(
    assumed: GaussianObservation,
    drawn: GaussianObservation,
    library: Pool,
    truth: Pool,
    n: int,
    seed: int,
    change: Callable[[Photometry], Photometry] = lambda data: data,
    progress: Callable[[str], None] = lambda _: None,
) -> Scores:
    """Of n catalogues that `drawn` recorded, under the likelihood of `assumed`."""
    rng, family = np.random.default_rng(seed), population()
    values, unravel = ravel_pytree({k: jnp.asarray(v) for k, v in free(family).items()})
    p_rows = assumed.p_sel(library.abs_mags.astype(float) + MODULUS)
    with double_precision():
        grid = (
            LightObjects(mock(truth, drawn, rng).take(slice(0, 1)), assumed, library, p_rows=p_rows)
            .pool_grid(BOX, family.extinction.corners())
            .grid
        )

        @jax.jit
        def slope(x, rows):
            return jax.grad(
                lambda x: log_likelihood(family.with_values(bound(unravel(x))), rows, grid)
            )(x)

        found, curvature = [], []
        step = 0.02 / np.sqrt(250.0)
        for i in range(n):
            data = change(mock(truth, drawn, rng))
            made = LightObjects(data, assumed, library, LightSettings("rows"), p_rows=p_rows)
            rows = made.rows(BOX)
            there = np.bincount(np.asarray(rows.owner), minlength=len(data)) > 0
            size = 1 << int(np.ceil(np.log2(len(rows.owner) + 600)))
            rows = rows.padded(size, 512)
            rows = dataclasses.replace(rows, mask=rows.mask & np.pad(there, (0, 512 - len(there))))
            found.append(np.asarray(slope(values, rows)))
            sides = [
                (np.asarray(slope(values.at[k].add(step), rows))
                 - np.asarray(slope(values.at[k].add(-step), rows))) / (2 * step)
                for k in range(len(values))
            ]  # fmt: skip
            curvature.append(-np.array(sides))
            progress(f"{i + 1} of {n}, {len(data)} clusters, {int((~there).sum())} like none")
    return judged_scores(names_of(values, unravel), np.array(found), np.array(curvature))


def judged_scores(names: tuple[str, ...], s: np.ndarray, h: np.ndarray) -> Scores:
    mean = h.mean(axis=0)
    inverse = np.linalg.inv((mean + mean.T) / 2)
    scale = np.sqrt(np.diag(inverse))
    e = (s @ inverse) / scale
    n = len(e)
    # What each catalogue's own curvature says of the scatter of its e.
    w = inverse / scale
    said = np.einsum("ji,njk,ki->ni", w, h, w)
    ratio = (e**2).mean(axis=0) / said.mean(axis=0)
    spread = (e**2 - ratio * said).std(axis=0, ddof=1) / np.sqrt(n) / said.mean(axis=0)
    return Scores(names, n, e.mean(0), e.std(0, ddof=1) / np.sqrt(n), ratio - 1, spread)


def free(family: Population) -> dict[str, np.ndarray]:
    """Coordinates without bounds: ln of the shares against the last one."""
    values = {k: np.asarray(v, float) for k, v in family.values().items()}
    shares = values.pop("p_av")
    return {**values, "p_av": np.log(shares[:-1] / shares[-1])}


def bound(at: dict) -> dict:
    shares = jax.nn.softmax(jnp.concatenate([at["p_av"], jnp.zeros(1, at["p_av"].dtype)]))
    return {**at, "p_av": shares}


def names_of(values, unravel) -> tuple[str, ...]:
    named = unravel(values)
    return tuple(
        f"{k}_{i}" if np.ndim(v) else k for k, v in sorted(named.items()) for i in range(np.size(v))
    )


def pools(n_clusters: int, n_truth: int, workers: int = 1) -> tuple[Targeted, Pool]:
    """A library aimed at a catalogue of the population, and clusters of which catalogues are."""
    engine = StarcensusEngine(BANDS)
    first = TargetSettings(1e9, n_truth, max_rounds=0, n_extinctions=8, seed=10_000)
    seed_data = one_cluster()
    truth = draw_to_order(seed_data, survey(), engine, BOX, first, work=Work(workers)).pool
    rng = np.random.default_rng(0)
    aim = [mock(truth, survey(), rng) for _ in range(6)]
    data = dataclasses.replace(
        aim[0],
        ids=np.arange(sum(map(len, aim))).astype(str),
        **{
            k: np.concatenate([getattr(a, k) for a in aim])
            for k in ("flux", "flux_error", "states")
        },
    )
    each = n_clusters // 4
    settings = TargetSettings(1e9, each, each, max_rounds=3, seed=1)
    return draw_to_order(data, survey(), engine, BOX, settings, work=Work(workers)), truth


def one_cluster() -> Photometry:
    mags = np.array([[19.0, 19.3, 20.3, 20.2, 19.9]])
    return Photometry.from_mags("one", np.array(["a"]), BANDS, mags, np.full((1, 5), 0.02))


def filled(data: Photometry) -> Photometry:
    """What was not detected, filled in with the faintest that was, as peers do."""
    lost = data.states == BandState.NOT_DETECTED
    flux, error = data.flux.copy(), data.flux_error.copy()
    for k in range(len(BANDS)):
        faintest = np.nanargmin(data.flux[:, k])
        flux[lost[:, k], k], error[lost[:, k], k] = flux[faintest, k], error[faintest, k]
    states = np.where(lost, BandState.MEASURED, data.states).astype(np.uint8)
    return dataclasses.replace(data, flux=flux, flux_error=error, states=states)


class OnTruth(GaussianObservation):
    """The cuts' probability of true magnitudes beside each object, as if they acted on those."""

    def log_prob(self, data, rows, mags):
        with np.errstate(divide="ignore"):
            return super().log_prob(data, rows, mags) + np.log(self.p_sel(mags))


def wrong(right: GaussianObservation) -> dict[str, GaussianObservation]:
    """Likelihoods that are wrong on purpose, each in one thing."""
    cuts = right.cuts
    own = {f.name: getattr(right, f.name) for f in dataclasses.fields(right)}
    return {
        "the quoted errors alone": dataclasses.replace(right, common=0.0, floor=0.03),
        "M_V cut left out": dataclasses.replace(
            right, cuts=dataclasses.replace(cuts, max_absolute={})
        ),
        "operator of the truth": OnTruth(**own),
        "kernel ten times too wide": dataclasses.replace(right, floor=0.6),
    }


def main() -> None:
    n, n_library, n_truth = (
        int(word) for word in (sys.argv[1:] + ["300", "160000", "60000"][len(sys.argv) - 1 :])
    )
    started = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - started:7.0f} s  {text}", file=sys.stderr, flush=True)

    library, truth = pools(n_library, n_truth, workers=2)
    say("libraries drawn")
    cases = {"right": survey(), **wrong(survey())}
    for name, assumed in cases.items():
        count = n if name == "right" else max(50, n // 4)
        made = scores(assumed, survey(), library.pool, truth, count, 5, progress=say)
        report(name, made)
    report("bands filled in", scores(survey(), survey(), library.pool, truth, max(50, n // 4), 5,
                                     filled, say))  # fmt: skip


def report(name: str, made: Scores) -> None:
    numbers = {
        "case": name,
        "n": made.n,
        "accepted": made.accepted(),
        "power": [round(x, 3) for x in made.power()],
        **{
            k: [round(float(b), 3), round(float(be), 3), round(float(x), 3), round(float(xe), 3)]
            for k, b, be, x, xe in zip(
                made.names, made.bias, made.bias_error, made.excess, made.excess_error, strict=True
            )
        },
    }
    print(json.dumps(numbers), flush=True)


if __name__ == "__main__":
    main()
