"""How good a learned observation model is, on artificial clusters that it has not seen.

    python -m benchmarks.observation training.h5 test.h5 --out FOLDER

The tables are those of `experiments/examples/observation`. Learned forms are trained on the first
and scored on the second, beside Gaussians; the chosen one is then looked at closely. Prints tables
in Markdown and writes the chosen model to FOLDER/observation.h5, the numbers to FOLDER/scores.json.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
import time
from typing import Any

import numpy as np
import scipy.optimize
import scipy.stats
from jaxtyping import Bool, Float

from starcensus.bands import find_band
from starcensus.selection.catalogue.photometry import BandState, Photometry
from starcensus.selection.injection import InjectionTable
from starcensus.selection.learning import facts_of_table
from starcensus.selection.learning.features import nuisance_columns
from starcensus.selection.observation import (
    LearnedObservation,
    ObservationSettings,
    learn_observation,
    recorded_photometry,
    save_observation,
)
from starcensus.selection.observation.reach import distance

Row = dict[str, Any]
FORMS: dict[str, dict[str, Any]] = {
    "sequential": {},
    "sequential, rank 1": {"rank": 1},
    "sequential, 4 Gaussians": {"n_components": 4, "n_ci": 4},
    "sequential, 16 Gaussians": {"n_components": 16},
    "sequential, one Gaussian": {"n_components": 1, "n_ci": 1},
    "joint": {"form": "joint"},
    "joint, 16 Gaussians": {"form": "joint", "n_components": 16},
    "with radius": {"r_eff": True},
    "without CI": {"concentration": False},
}
CHOSEN, BLIND = "sequential", "without CI"
FLOORS = (0.0, 0.05, 0.1, 0.2, 0.4)


@dataclasses.dataclass(frozen=True, eq=False)
class Held:
    """Catalogued injections of the held-out table, and what was recorded of them."""

    table: InjectionTable
    seen: Photometry

    @classmethod
    def of(cls, table: InjectionTable, observation: LearnedObservation) -> "Held":
        """Those that the model does not refuse."""
        seen = recorded_photometry(table, observation.max_error)
        known = observation.patterns(seen).any(axis=1)
        return cls(table.take(np.flatnonzero(table.catalogued)[known]), seen.take(known))

    @property
    def true(self) -> Float[np.ndarray, "n band"]:
        return self.table.true_mags

    @property
    def excess(self) -> Float[np.ndarray, "n band"]:
        return np.where(self.seen.measured, self.seen.mags - self.true, np.nan)


def log_density(observation: LearnedObservation, held: Held) -> Float[np.ndarray, " n"]:
    """ln p(c, s, m | μ, det), averaged over radii as the model does."""
    every = observation.log_prob(held.seen, np.arange(len(held.seen)), held.true)
    return every - np.log(observation.p_sel(held.true))


def of_magnitudes(observation: LearnedObservation, held: Held) -> Float[np.ndarray, " n"]:
    """ln p(m | μ, c, s, det): what is left to a model of the magnitudes alone."""
    seen = held.seen
    nothing = np.full(seen.flux.shape, np.nan)
    unseen = dataclasses.replace(
        seen,
        flux=nothing,
        flux_error=nothing,
        states=np.full(nothing.shape, BandState.NOT_OBSERVED, np.uint8),
    )
    which = observation.patterns(seen)
    further = nuisance_columns(
        held.table, () if (of := observation.selection.nuisance) is None else of.names
    )
    patterns = observation.transforms(seen, held.true, further).patterns
    found = log_density(observation, held) - np.log((patterns * which).sum(axis=1))
    if observation.density.shape.concentration:
        of_c = observation.log_prob(unseen, np.arange(len(seen)), held.true)
        found -= of_c - np.log(observation.p_sel(held.true))
    return found


def gaussian(held: Held, floor: float) -> Float[np.ndarray, " n"]:
    """ln Π_b N(m_b; μ_b, e_b² + floor²) with quoted errors e."""
    sd = np.hypot(held.seen.mag_errors, floor)
    return np.nansum(scipy.stats.norm.logpdf(held.excess, 0.0, sd), axis=1)


def by_hand(train: Held, held: Held) -> Float[np.ndarray, " n"]:
    """A Gaussian whose shift is a cubic of CI, with a common sd and a floor, fitted to `train`."""
    excess, seen = train.excess, train.seen
    assert seen.ci is not None and held.seen.ci is not None
    shift = np.polynomial.Polynomial.fit(seen.ci, np.nanmedian(excess, axis=1), 3)

    def score(of: Held, common: float, floor: float) -> Float[np.ndarray, " n"]:
        assert of.seen.ci is not None
        away = of.excess - shift(of.seen.ci)[:, None]
        variance = of.seen.mag_errors**2 + floor**2
        there = np.isfinite(away)
        away, weight = np.where(there, away, 0.0), np.where(there, 1 / variance, 0.0)
        along, total = (away * weight).sum(1), 1 + common**2 * weight.sum(1)
        square = (away**2 * weight).sum(1) - common**2 * along**2 / total
        ln_det = np.log(np.where(there, variance, 1.0)).sum(1) + np.log(total)
        return -0.5 * (square + ln_det + there.sum(1) * np.log(2 * np.pi))

    best = scipy.optimize.minimize(
        lambda p: -score(train, *np.exp(p)).mean(), np.log([0.15, 0.05]), method="Nelder-Mead"
    ).x
    return score(held, *np.exp(best))


def scores(models: dict[str, LearnedObservation], train: InjectionTable, test: Held) -> list[Row]:
    """Mean log score of each form, nats a cluster, and of Gaussians on the same clusters."""
    rows: list[Row] = []
    for name, model in models.items():
        every, some = log_density(model, test), of_magnitudes(model, test)
        rows.append({"form": name, "joint": every, "magnitudes": some})
    own = Held.of(train, models[CHOSEN])
    for floor in FLOORS:
        name = f"Gaussian, quoted errors, floor {floor:g} mag"
        rows.append({"form": name, "magnitudes": gaussian(test, floor)})
    rows.append({"form": "Gaussian, cubic of CI, fitted sds", "magnitudes": by_hand(own, test)})
    chosen = next(row for row in rows if row["form"] == CHOSEN)
    for row in rows:
        better = chosen["magnitudes"] - row["magnitudes"]
        row["chosen wins by"] = float(better.mean())
        row["error"] = float(better.std() / len(better) ** 0.5)
        for key in ("joint", "magnitudes"):
            row[key] = float(row[key].mean()) if key in row else float("nan")
    return rows


def uniformity(u: Float[np.ndarray, " n"], n_training: int) -> Row:
    """Largest distance of an ECDF from uniform beside that of 95% of uniform samples.

    The training rows are a sample too, and a model that fits them perfectly is off by theirs: the
    second band is that of two samples.

    `caught` is the shift, in standard deviations of the measured value, that moves the ECDF by the
    band's width: it is seen in half of all samples; twice of it nearly always.
    """
    n = len(u)
    band = float(scipy.stats.kstwo.ppf(0.95, n))
    found = scipy.stats.kstest(u, "uniform")
    return {
        "n": n,
        "largest distance": float(found.statistic),
        "95% band": band,
        "of two samples": float(band * (1 + n / n_training) ** 0.5),
        "p": float(found.pvalue),
        "caught": float(2 * scipy.stats.norm.ppf(0.5 + band / 2)),
        "mean": float(u.mean()),
        "sd of normal scores": float(scipy.stats.norm.ppf(np.clip(u, 1e-6, 1 - 1e-6)).std()),
    }


def transforms(model: LearnedObservation, held: Held, n_training: int) -> list[Row]:
    """Uniformity of c and of each band."""
    found = model.transforms(held.seen, held.true)
    columns = {"CI": found.ci, **dict(zip(model.bands, found.bands.T, strict=True))}
    return [
        {"of": name, **uniformity(u[np.isfinite(u)], n_training)} for name, u in columns.items()
    ]


def patterns(model: LearnedObservation, held: Held) -> list[Row]:
    """How many clusters have each pattern, and how many are expected."""
    p = model.transforms(held.seen, held.true).patterns
    which = model.patterns(held.seen)
    return [
        {
            "not recorded": ", ".join(np.array(model.bands)[~row]) or "none",
            "found": int(found.sum()),
            "expected": float(share.sum()),
            "sd": float((share * (1 - share)).sum() ** 0.5),
        }
        for row, found, share in zip(model.density.patterns, which.T, p.T, strict=True)
    ]


def bias(held: Held) -> list[Row]:
    """Measured less true V, and V − I, by magnitude, radius and sky: median and 68%."""
    bands = held.seen.bands
    v, i = bands.index(find_band(bands, "V")), bands.index(find_band(bands, "I"))
    excess = held.excess
    colour = excess[:, v] - excess[:, i]
    by = {
        "true V": held.true[:, v],
        "radius, pc": held.table.r_eff_pc,
        "sky, electrons/s": held.table.background,
        "CI": held.table.ci,
    }
    rows: list[Row] = []
    for name, values in by.items():
        edges = np.quantile(values, np.linspace(0, 1, 7))
        edges = np.array([13.0, 19, 20, 21, 22, 23, 24.5]) if name == "true V" else edges
        edges = np.array([1.0, 1.5, 2.5, 4, 6, 8, 10.1]) if name.startswith("radius") else edges
        for low, high in itertools.pairwise(edges):
            inside = (values >= low) & (values < high)
            row: Row = {"by": name, "from": float(low), "to": float(high), "n": int(inside.sum())}
            for what, of in (("V", excess[inside, v]), ("V - I", colour[inside])):
                of = of[np.isfinite(of)]
                quantiles = np.quantile(of, (0.16, 0.5, 0.84)) if len(of) else [np.nan] * 3
                row |= dict(zip((f"{what} 16%", f"{what} median", f"{what} 84%"), quantiles))  # noqa: B905
            rows.append(row)
    return rows


def mass_error(models: dict[str, LearnedObservation], held: Held, brighter: float) -> list[Row]:
    """Error of log mass of clusters with recorded V brighter than a limit, from V, or V and CI.

    Light is proportional to mass: the posterior of one shift δ of all magnitudes under a flat prior
    in log mass, which is 0.4 δ. Other bands are left out: at colours that are known exactly, what
    apertures lose differently in each would tell the size, as no cluster's unknown colours do.
    """
    v = held.seen.bands.index(find_band(held.seen.bands, "V"))
    bright = np.flatnonzero(held.seen.mags[:, v] < brighter)
    bright = np.random.default_rng(0).permutation(bright)[:3000]
    shift = np.linspace(-2.5, 2.5, 501)
    seen, true = held.seen.take(bright), held.true[bright]
    other = np.arange(len(seen.bands)) != v
    seen = dataclasses.replace(
        seen,
        flux=np.where(other, np.nan, seen.flux),
        flux_error=np.where(other, np.nan, seen.flux_error),
        states=np.where(other, BandState.NOT_OBSERVED, seen.states).astype(np.uint8),
    )
    rows: list[Row] = []
    for name, model in models.items():
        of = np.repeat(np.arange(len(bright)), len(shift))
        mags = true[of] + np.tile(shift, len(bright))[:, None]
        ln_p = model.log_prob(seen, of, mags).reshape(len(bright), len(shift))
        weight = np.exp(ln_p - ln_p.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        mean = weight @ shift
        sd = np.sqrt(np.maximum(weight @ shift**2 - mean**2, 0.0))
        low, high = np.quantile(mean, (0.16, 0.84))
        below = (weight * (shift < 0)).sum(axis=1) + 0.5 * weight[:, len(shift) // 2]
        rows.append(
            {
                "model": name,
                "n": len(bright),
                "posterior sd, dex": float(0.4 * np.median(sd)),
                "rms error, dex": float(0.4 * np.sqrt((mean**2).mean())),
                "68% error, dex": float(0.2 * (high - low)),
                "inside 68%": float(((below > 0.16) & (below < 0.84)).mean()),
            }
        )
    return rows


def speed(model: LearnedObservation, held: Held, n: int = 1 << 18) -> float:
    """Pairs per second of `log_prob`, wall clock, the best of three."""
    rng = np.random.default_rng(0)
    rows, at = rng.integers(0, len(held.seen), (2, n))
    mags = held.true[at]
    model.log_prob(held.seen, rows[:20_000], mags[:20_000])
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        model.log_prob(held.seen, rows, mags)
        best = min(best, time.perf_counter() - start)
    return n / best


def table_of(rows: list[Row]) -> str:
    """Rows as a table in Markdown."""

    def text(value: Any) -> str:
        if not isinstance(value, float):
            return str(value)
        return "" if np.isnan(value) else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"

    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(text(row.get(name, "")) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def inside_reach(model: LearnedObservation, held: Held) -> Bool[np.ndarray, " n"]:
    """Whose truth is within 5 standard deviations."""
    return distance(model.reach(held.seen), held.true) <= 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("training", type=pathlib.Path)
    parser.add_argument("test", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--epochs", type=int, default=ObservationSettings().epochs)
    parser.add_argument("--forms", nargs="*", default=list(FORMS), choices=list(FORMS))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    train, test = InjectionTable.load(given.training), InjectionTable.load(given.test)
    models: dict[str, LearnedObservation] = {}
    for name in dict.fromkeys([CHOSEN, BLIND, *given.forms]):
        start = time.perf_counter()
        settings = ObservationSettings(epochs=given.epochs, **FORMS[name])
        models[name] = learn_observation(train, settings)
        took = time.perf_counter() - start
        print(f"{name}: {took:.0f} s, losses {models[name].losses}", flush=True)
    chosen = models[CHOSEN]
    chosen.marks.refuse({str(given.test): test}, CHOSEN)
    held = Held.of(test, chosen)
    two = {"with CI": chosen, "without CI": models[BLIND]}
    found: dict[str, Any] = {
        "clusters": [
            {
                "injected": len(train),
                "catalogued": int(train.catalogued.sum()),
                "held out": len(test),
                "catalogued, held out": int(test.catalogued.sum()),
                "of known patterns": len(held.seen),
                "within 5 sd of the reach": float(inside_reach(chosen, held).mean()),
            }
        ],
        "scores": scores(models, train, held),
        "transforms": transforms(chosen, held, int(train.catalogued.sum())),
        "patterns": patterns(chosen, held),
        "bias": bias(held),
        "mass": [
            {"V brighter than": limit, **row}
            for limit in (21.0, 23.0)
            for row in mass_error(two, held, limit)
        ],
        "speed": [{"form": n, "pairs/s": speed(m, held)} for n, m in models.items()],
    }
    for name, rows in found.items():
        print(f"\n**{name}**\n\n{table_of(rows)}", flush=True)
    # JSON knows no NaN.
    scored = {
        name: [{k: None if v != v else v for k, v in row.items()} for row in rows]
        for name, rows in found.items()
    }
    (given.out / "scores.json").write_text(json.dumps(scored, indent=1))
    facts = {"survey": facts_of_table(train).json(), "scores": scored}
    save_observation(chosen, given.out / "observation.h5", facts)


if __name__ == "__main__":
    main()
