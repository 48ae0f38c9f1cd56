"""By how much are fits off for what a survey's injections and what was learned of them differ in?

`python -m tests.inference.held_out_shift TRAINING TEST FOLDER [--clusters N]`, where FOLDER is the
`--library` of `light_study`, which kept catalogues there. Scores of N catalogues know a shift to
1/√N standard deviations. But the slope of ln L by the parameters is a sum over clusters of a
smooth function of what is measured of each: a network learns it from the kept catalogues, and its
mean over a million clusters, seen by the held-out injections, by those of the training and by
draws of the learned model, says by how much each would move every parameter, with no cluster
compared with any library. Shifts are in standard deviations of the posterior of a catalogue. For
each table there is `chance` too, what the number of its injections leaves open of that, and
`at_injections`, the shift where every injection decides about itself alone: what it lacks of
`shift` is the generator's.
"""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks.known_light import engine
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.infer.util import unconstrain_fn
from tests.inference import light_study
from tests.inference.held_out import HeldOut
from tests.inference.light_study import SEED, Kept, folder_of, injected, nothing

from starcensus.bands import find_band
from starcensus.forward.mock import draw_theta
from starcensus.forward.priors import numpyro_rules
from starcensus.inference import PopulationModel, double_precision
from starcensus.inference.calibration import CalibrationSettings
from starcensus.inference.calibration.score import _names, _population, _prior_precision, _sites
from starcensus.inference.objects import LightSettings, NodeSamples
from starcensus.networks.descent import best_epoch, first_layers
from starcensus.selection.catalogue.photometry import Photometry
from starcensus.selection.observation import AbstractObservation, LearnedObservation

_CASE, _STEP = "injected", 1e-4
_WIDTHS, _EPOCHS, _BATCH, _HELD = (96, 96), 60, 256, 0.15
# Clusters that are drawn at a time, and draws of the model beside each injection.
_BLOCK, _DRAWS = 150_000, 6
# Catalogues.
_MOST = 300

type Slopes = Callable[[Photometry], Float[np.ndarray, "n parameter"]]


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """The slope of ln L at one population, by what is measured of a cluster.

    **Arguments:**

    - `names`: of the coordinates without bounds.
    - `slopes`: of ln p(d, det | φ) for each cluster, N counted.
    - `moved`: `(parameter, name)`, a slope of the whole in shifts.
    - `explained`: share of the variance of the slopes that the network knows.
    """

    names: tuple[str, ...]
    slopes: Slopes
    moved: Float[np.ndarray, "parameter name"]
    explained: Float[np.ndarray, " name"]


def features(data: Photometry) -> Float[np.ndarray, "n k"]:
    """V, colours against it, which bands there are, and the concentration index."""
    mags = np.where(data.measured, data.mags, np.nan)
    at = find_band(data.bands, "V")
    v = mags[:, [data.bands.index(at)]]
    there, ci = np.isfinite(mags), data.ci
    assert ci is not None
    return np.column_stack([np.where(there, mags - v, 0.0), v - 22.0, there, ci - 1.7])


def of_catalogues(
    model: PopulationModel, source: Kept, n: int
) -> tuple[np.ndarray, np.ndarray, Callable, np.ndarray]:
    """Features and slopes of every cluster of n kept catalogues, the population as a function of
    coordinates, and the means of the priors in these."""
    settings = CalibrationSettings(n, seed=SEED)
    truths = source.truths(model, settings)
    means = {k: np.asarray(v.mean(axis=0)) for k, v in truths.items()}
    fixed = model.population.with_values(model.fixed_values())
    rows, slopes = [], []
    with double_precision(), numpyro_rules():
        unconstrain = unconstrain_fn(model.sample_population, (), {}, _sites(model, means))
        x, unravel = ravel_pytree(unconstrain)
        at = _population(model, unravel)
        terms = jax.jit(lambda x, samples: samples.log_terms(at(x)))
    for i in range(n):
        own = fixed.with_values({k: v[i] for k, v in truths.items()})
        data = source.recorded(own, source.seed_of(settings, i))
        samples = source.catalogues(model, settings, i, i + 1)[0].samples
        assert isinstance(samples, NodeSamples) and samples.n_objects == len(data)
        size = 1 << (samples.n_values + 2 * len(data) + 2).bit_length()
        samples = samples.padded(size, 1 << (len(data) + 1).bit_length())
        with double_precision(), numpyro_rules():
            steps = _STEP * np.eye(len(x))
            each = [np.asarray(terms(x + s, samples) - terms(x - s, samples)) for s in steps]
        rows.append(features(data))
        slopes.append(np.stack(each, axis=1)[: len(data)] / (2 * _STEP))
    with double_precision(), numpyro_rules():
        of_number = np.asarray(jax.jacrev(lambda x: jnp.asarray(at(x).log_n))(x)) * np.log(10.0)
    return np.concatenate(rows), np.concatenate(slopes) + of_number, at, np.asarray(x)


def learned_slopes(rows: np.ndarray, slopes: np.ndarray) -> tuple[Slopes, np.ndarray]:
    """A network of the slopes, and the share of their variance in rows that it did not see."""
    mean, sd = rows.mean(axis=0), rows.std(axis=0)
    # A band that all of these have is nothing to the network.
    sd = np.where(sd < 1e-3, np.inf, sd)
    middle, scale = slopes.mean(axis=0), slopes.std(axis=0)
    # The slope with N is the same for all.
    varying = scale > 1e-6
    scale = np.where(varying, scale, 1.0)
    order = np.random.default_rng(0).permutation(len(rows))
    held, rest = np.split(order, [round(_HELD * len(rows))])
    x, y = (np.float32((a - b) / c).T for a, b, c in ((rows, mean, sd), (slopes, middle, scale)))
    sizes = (len(x), *_WIDTHS, len(y))
    start = first_layers(jax.random.key(0), sizes, np.zeros(len(y)))
    parts = [(jnp.asarray(x[:, some]), jnp.asarray(y[:, some])) for some in (rest, held)]
    found, _ = best_epoch(
        _loss, start, (), *parts, (2e-3, 1e-4), _EPOCHS, _BATCH, jax.random.key(1),
        lambda *_: None,
    )  # fmt: skip
    left = y[:, held] - np.asarray(_network(found, parts[1][0]))

    def of(data: Photometry) -> np.ndarray:
        some = jnp.asarray(((features(data) - mean) / sd).T, jnp.float32)
        return np.asarray(_network(found, some), float).T * scale + middle

    return of, np.where(varying, 1 - left.var(axis=1) / np.fmax(y[:, held].var(axis=1), 1e-9), 1.0)


@jax.jit
def _network(layers: tuple, x: Float[Array, "k n"]) -> Float[Array, "out n"]:
    *inner, last = zip(*layers, strict=True)
    for w, b in inner:
        x = jax.nn.gelu(w @ x + b[:, None])
    return last[0] @ x + last[1][:, None]


def _loss(layers: tuple, _: tuple, rows: tuple) -> Float[Array, ""]:
    return ((_network(layers, rows[0]) - rows[1]) ** 2).mean()


def studied(model: PopulationModel, source: Kept, n: int) -> tuple[Study, Callable, np.ndarray]:
    """What kept catalogues teach, the population by coordinates, and where it is."""
    rows, slopes, at, x = of_catalogues(model, source, n)
    of, explained = learned_slopes(rows, slopes)
    with double_precision(), numpyro_rules():
        unconstrain = jax.jit(lambda s: unconstrain_fn(model.sample_population, (), {}, s))
        prior = _prior_precision(model, unconstrain)
    # Of a Poisson process the information is the mean of the sum of the slopes' products.
    covariance = np.linalg.inv(slopes.T @ slopes / n + prior)
    moved = covariance / np.sqrt(np.diag(covariance))
    return Study(_names(model), of, moved, explained), at, x


def totals(
    study: Study, seen_by: AbstractObservation, mags: np.ndarray, number: float, seed: int
) -> Float[np.ndarray, "block name"]:
    """Sums over what is catalogued of `number` clusters, in shifts and their count, by blocks."""
    found = []
    for k, block in enumerate(np.array_split(mags, max(2, len(mags) // _BLOCK))):
        data = seen_by.draw(block, np.random.default_rng([seed, k]))[1]
        found.append(_of(study, data).sum(axis=0) * number / len(block))
    return np.array(found)


def _of(study: Study, data: Photometry) -> Float[np.ndarray, "n name"]:
    return np.column_stack([study.slopes(data) @ study.moved, np.ones(len(data))])


def at_injections(
    study: Study, model: LearnedObservation, table: HeldOut, mags: np.ndarray, number: float
) -> tuple[Float[np.ndarray, " name"], Float[np.ndarray, " name"]]:
    """The shift of a table against the model where its injections lie, each as often as clusters
    are near it, and the error that their number leaves."""
    met = np.zeros(len(table.table))
    for block in np.array_split(mags, max(2, len(mags) // _BLOCK)):
        near = table.like(block)
        met += np.bincount(near.ravel(), minlength=len(met)) / near.shape[1]
    rows = np.flatnonzero(met)
    seen, row = table._recorded
    own = (row >= 0) & table.table.catalogued
    of_table = np.zeros((len(met), len(study.names) + 1))
    of_table[own] = _of(study, seen.take(row[own]))
    of_model = np.zeros((len(rows), len(study.names) + 1))
    for k in range(_DRAWS):
        kept, data = model.draw(table.table.true_mags[rows], np.random.default_rng([9, k]))
        of_model[kept] += _of(study, data) / _DRAWS
    each = (of_table[rows] - of_model) * (met[rows] * number / len(mags))[:, None]
    return each.sum(axis=0), np.sqrt((each**2).sum(axis=0))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("training", type=pathlib.Path)
    parser.add_argument("test", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--clusters", type=int, default=1_000_000)
    parser.add_argument("--model", default="mid", choices=light_study.MODELS)
    given = parser.parse_args(argv)
    more = injected(given.training, given.test, given.folder)
    survey, assumed = more[_CASE]["survey"], more[_CASE]["assumed"]
    files = given.training, given.test, *sorted(given.folder.glob("*.h5"))
    kept = given.folder / folder_of(_CASE, LightSettings(), files)
    model = light_study.model(given.model, more[_CASE]["more"])
    source = Kept(engine(), survey, assumed, nothing(), LightSettings(), kept)
    most = CalibrationSettings(_MOST, seed=SEED)
    n = next((i for i in range(_MOST) if not source.path(model, most, i).exists()), _MOST)
    if not n:
        parser.error(f"no catalogue is kept in {kept}; draw some by light_study")
    study, at, x = studied(model, source, n)
    with double_precision():
        population = at(jnp.asarray(x))
        number = 10 ** float(population.log_n)
        many = population.with_values({"log_n": np.log10(given.clusters)})
        theta = np.asarray(draw_theta(*jax.random.split(jax.random.key(3)), many))
    log_mass, log_age, a_v = theta.T
    seeds = np.arange(len(theta)).astype(np.uint64)
    drawn = engine().draw(log_mass, log_age, a_v, seeds)["abs_mags"].astype(float)
    mags = drawn + assumed.distance_modulus
    names = (*study.names, "n")
    print(json.dumps({"catalogues": n, "explained": _told(study.names, study.explained)}))
    of_model = totals(study, assumed, mags, number, 1)
    for name in ("injected", "injected, of the training"):
        table = more[name]["survey"]
        away = totals(study, table, mags, number, 2) - of_model
        own, chance = at_injections(study, assumed, table, mags, number)
        line = {
            "shift": _told(names, away.mean(axis=0)),
            "shift_error": _told(names, away.std(axis=0, ddof=1) / np.sqrt(len(away))),
            "at_injections": _told(names, own),
            "chance": _told(names, chance),
        }
        print(json.dumps({"case": name, **line}), flush=True)


def _told(names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    return {name: round(float(x), 3) for name, x in zip(names, values, strict=True)}


if __name__ == "__main__":
    main()
