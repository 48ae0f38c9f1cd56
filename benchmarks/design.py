"""Learning curves: injections chosen where the outcome is open, against uniform ones.

Of an injection table the loss has the noise of its labels. Of an oracle, an operator whose
probabilities are taken for the truth, it is the excess over the least possible loss, without noise;
and what a choice can gain at most shows, because the oracle also chooses with its own
probabilities in place of a pilot's.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterator

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit, xlogy

from starcensus.experiments.schema._base import ConfigError
from starcensus.networks import TrainSettings, train_ensemble
from starcensus.selection import NetworkSelection, load_selection
from starcensus.selection.injection import InjectionTable
from starcensus.selection.learning import (
    ChoiceSettings,
    Inputs,
    TestSet,
    TransitionDesign,
    features,
    magnitude_limits,
)

TRAIN = TrainSettings(widths=(64, 64), n_members=3, batch_size=1024, validation=0.02)
_HELD_OUT = 0.2
# More of either overfits a few thousand rows and gains nothing with many.
_STEPS, _EPOCHS = 6000, 100
_ORACLE_TEST = 50_000
_OPEN = 0.02
_LEAST = 100


@dataclasses.dataclass(frozen=True, eq=False)
class Population:
    """Rows to train on and rows to test with.

    **Arguments:**

    - `x`, `label`: of the pool, whose first `n_uniform` rows are in random order.
    - `x_test`: of the test rows; `p_test`: their probability, or the share of their repeats that
      were catalogued.
    - `known`: probability of each row of the pool, if it is known.
    - `pilot`, `chosen`: rows of the pool that are a focused design, if one was injected.
    """

    x: Float[np.ndarray, "pool k"]
    label: Bool[np.ndarray, "pool"]
    x_test: Float[np.ndarray, "test k"]
    p_test: Float[np.ndarray, "test"]
    n_uniform: int
    known: Float[np.ndarray, "pool"] | None = None
    pilot: Int[np.ndarray, "a"] | None = None
    chosen: Int[np.ndarray, "b"] | None = None

    def losses(self, p: Float[np.ndarray, "test"]) -> Float[np.ndarray, "test"]:
        """Cross-entropy of the test rows, nats; of known probabilities less their entropy."""
        p, q = np.clip(p, 1e-7, 1 - 1e-7), self.p_test
        cross = -(q * np.log(p) + (1 - q) * np.log1p(-p))
        entropy = -(xlogy(q, q) + xlogy(1 - q, 1 - q)) if self.known is not None else 0.0
        return cross - entropy


def _joined(paths: list[pathlib.Path]) -> InjectionTable:
    return InjectionTable.concatenate(*map(InjectionTable.load, paths))


def table_population(
    tables: list[pathlib.Path],
    inputs: Inputs,
    test: list[pathlib.Path],
    focused: list[pathlib.Path],
    seed: int,
) -> Population:
    """The rows of uniform injection tables; without `test`, tables of repeats, a fifth is held out.

    `focused`: tables of a focused design, of which rows without `inclusion` are the pilot's;
    without them, focused designs are chosen from the uniform rows.
    """
    table = _joined(tables)
    order = np.random.default_rng(seed).permutation(len(table))
    table = table.take(order)
    if test:
        held = TestSet.of(_joined(test))
        test_rows, p_test = held.first, held.p_true
    else:
        n_held = round(_HELD_OUT * len(table))
        test_rows = table.take(slice(0, n_held))
        table, p_test = table.take(slice(n_held, None)), test_rows.catalogued.astype(float)
    n, rows = len(table), None
    if focused:
        more = _joined(focused)
        if more.inclusion is None or not (pilot := np.isnan(more.inclusion)).any():
            raise ConfigError(
                "the focused tables have no rows of a pilot, or none that were chosen; expected "
                "the injections of both"
            )
        table = InjectionTable.concatenate(table, more)
        rows = (n + np.flatnonzero(pilot), n + np.flatnonzero(~pilot))
    limits = magnitude_limits(table) if inputs.kind == "photometric" else None
    x, x_test = (features(each, inputs, limits) for each in (table, test_rows))
    population = Population(x, table.catalogued, x_test, p_test, n)
    if rows is None:
        return population
    return dataclasses.replace(population, pilot=rows[0], chosen=rows[1])


def oracle_population(path: pathlib.Path, n: int, seed: int) -> Population:
    """`n` clusters uniform in an operator's domain, with outcomes drawn from its probabilities.

    Raises `ConfigError` for an operator that is not a network of θ.
    """
    oracle = load_selection(path)
    if not isinstance(oracle, NetworkSelection):
        raise ConfigError(
            f"{path}: holds a {type(oracle).__name__}; expected learned networks of mass, age, A_V"
        )
    rng = np.random.default_rng(seed)
    box = oracle.domain
    n_all = n + _ORACLE_TEST
    limits = (box.log_mass, box.log_age, box.a_v)
    theta = np.stack([rng.uniform(low, high, n_all) for low, high in limits], axis=1)
    further = None
    if oracle.nuisance is not None:
        weights = np.asarray(oracle.nuisance.weights_at(jnp.asarray(theta[:, 0])))
        node = (rng.random((n_all, 1)) > np.cumsum(weights, axis=1)[:, :-1]).sum(1)
        further = np.asarray(oracle.nuisance.values)[node]
    parts = np.array_split(np.arange(n_all), max(1, n_all // 100_000))

    def probability(part: Int[np.ndarray, "part"]) -> Float[np.ndarray, "part"]:
        more = None if further is None else jnp.asarray(further[part])
        mass, age, a_v = (jnp.asarray(column) for column in theta[part].T)
        return expit(np.asarray(oracle.logits(mass, age, a_v, more), float)).mean(0)

    p = np.concatenate([probability(part) for part in parts])
    x = theta if further is None else np.concatenate([theta, further], axis=1)
    label = rng.random(n_all) < p
    return Population(x[:n], label[:n], x[n:], p[n:], n, p[:n])


def bench_design(
    population: Population,
    sizes: tuple[int, ...],
    pilot: float = 0.25,
    repeats: int = 1,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[dict[str, object]]:
    """Mean loss of ensembles trained on so many injections, chosen either way.

    A focused design of n rows is `pilot` times n uniform ones and then those that
    `TransitionDesign` chooses with the networks trained on these; both count. One that was injected
    is all of its pilot and as many of its chosen rows as are needed. The design `known`, of an
    oracle, has no pilot: it knows every probability. Networks take `_STEPS` steps, or `_EPOCHS`
    passes where those are fewer. Each of the `repeats` has its own rows and networks.

    `difference` is from the loss of the largest uniform design, with the standard error of the test
    rows. `worth` is the number of uniform injections with the same loss over the number of these;
    None beyond the uniform curve.

    Raises `ConfigError` for sizes that the pool does not have.
    """
    sizes = tuple(sorted(sizes))
    if wrong := [n for n in sizes if not _LEAST <= n <= population.n_uniform]:
        raise ConfigError(
            f"a size is {wrong[0]}; expected {_LEAST} to {population.n_uniform}, the uniform rows"
        )
    what = "held_out_loss" if population.known is None else "excess_loss"

    def measure(name: str, design: Design, n: int) -> tuple[int, np.ndarray, dict[str, object]]:
        losses, used = [], []
        for repeat in range(repeats):
            progress(f"{name}, {n}, {repeat + 1} of {repeats}")
            rows = design(population, n, pilot, seed + repeat)
            members = _members(population, rows, seed + repeat)
            losses.append(population.losses(members(population.x_test).mean(0)))
            used.append(len(rows))
        each = np.mean(losses, axis=0)
        line: dict[str, object] = {"design": name, "n": round(np.mean(used)), what: each.mean()}
        if repeats > 1:
            line["standard_error"] = np.std(np.mean(losses, axis=1), ddof=1) / repeats**0.5
        return round(np.mean(used)), each, line

    def finished(each: np.ndarray, line: dict[str, object]) -> dict[str, object]:
        off = each - best
        line |= {"difference": off.mean(), "difference_se": off.std() / len(off) ** 0.5}
        return {key: float(v) if isinstance(v, np.floating) else v for key, v in line.items()}

    uniform = [measure("uniform", _uniform, n) for n in sizes]
    curve = [(n, float(each.mean())) for n, each, _ in uniform]
    best = uniform[-1][1]
    yield from (finished(each, line) for _, each, line in uniform)
    for name, design in (("focused", _focused), ("known", _known)):
        if name == "known" and population.known is None:
            continue
        for n in sizes:
            if name == "focused" and not _can_be_focused(population, n):
                continue
            used, each, line = measure(name, design, n)
            line["worth"] = _worth(curve, float(used), float(each.mean()))
            yield finished(each, line)


def open_share(population: Population) -> float | None:
    """Share of an oracle's clusters with p(1 − p) > 0.02, whose outcome is worth an injection."""
    p = population.known
    return None if p is None else float((p * (1 - p) > _OPEN).mean())


Design = Callable[[Population, int, float, int], Int[np.ndarray, "m"]]


def _uniform(population: Population, n: int, pilot: float, seed: int) -> Int[np.ndarray, "n"]:
    return np.random.default_rng((seed, 1)).choice(population.n_uniform, n, replace=False)


def _can_be_focused(population: Population, n: int) -> bool:
    if population.pilot is None or population.chosen is None:
        return True
    first = len(population.pilot)
    return 1.2 * first < n <= 1.02 * (first + len(population.chosen))


def _focused(population: Population, n: int, pilot: float, seed: int) -> Int[np.ndarray, "m"]:
    if population.pilot is not None and population.chosen is not None:
        rng = np.random.default_rng((seed, 2))
        more = min(n - len(population.pilot), len(population.chosen))
        return np.concatenate([population.pilot, rng.permutation(population.chosen)[:more]])
    first = _uniform(population, round(pilot * n), pilot, seed)
    left = np.setdiff1d(np.arange(population.n_uniform), first)
    p = _members(population, first, seed)(population.x[left])
    chosen = TransitionDesign.choose(p, ChoiceSettings(n - len(first), seed=seed))
    return np.concatenate([first, left[chosen.rows]])


def _known(population: Population, n: int, pilot: float, seed: int) -> Int[np.ndarray, "m"]:
    assert population.known is not None
    twice = np.tile(population.known, (2, 1))
    return TransitionDesign.choose(twice, ChoiceSettings(n, seed=seed)).rows


def _worth(curve: list[tuple[int, float]], n: float, loss: float) -> float | None:
    """Interpolated in the logarithm of the number."""
    for (n0, loss0), (n1, loss1) in itertools.pairwise(curve):
        if loss1 <= loss <= loss0 and loss0 > loss1:
            return float(n0 * (n1 / n0) ** ((loss0 - loss) / (loss0 - loss1)) / n)
    return None


def _members(
    population: Population, rows: Int[np.ndarray, "n"], seed: int
) -> Callable[[np.ndarray], Float[np.ndarray, "member m"]]:
    batch = min(TRAIN.batch_size, len(rows) // 4)
    epochs = min(_EPOCHS, max(1, round(_STEPS * batch / len(rows))))
    settings = dataclasses.replace(TRAIN, epochs=epochs, batch_size=batch, seed=seed)
    x, alike = population.x, population.x[: population.n_uniform]
    # Standardised alike whatever the choice of rows.
    result = train_ensemble(
        x[rows], population.label[rows], settings, mean=alike.mean(0), scale=alike.std(0)
    )

    def members(at: np.ndarray) -> Float[np.ndarray, "member m"]:
        parts = np.array_split(at, max(1, len(at) // 100_000))
        return np.concatenate(
            [
                np.stack([
                    expit(np.asarray(net(jnp.asarray(part, jnp.float32)), float))
                    for net in result.networks
                ])
                for part in parts
            ],
            axis=1,
        )  # fmt: skip

    return members
