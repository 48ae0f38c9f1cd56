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

from starcensus.experiments.config import ConfigError
from starcensus.experiments.learning import load_tables
from starcensus.networks import TrainSettings, train_ensemble
from starcensus.selection import NetworkSelection, load_selection
from starcensus.selection.learning import Inputs, TestSet, TransitionDesign, features

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

    - `x`, `label`: of the pool, in random order. `x_test`: of the test rows; `p_test`: their
      probability, or the share of their repeats that were catalogued.
    - `known`: probability of each row of the pool, if it is known.
    """

    x: Float[np.ndarray, "pool k"]
    label: Bool[np.ndarray, "pool"]
    x_test: Float[np.ndarray, "test k"]
    p_test: Float[np.ndarray, "test"]
    known: Float[np.ndarray, "pool"] | None = None

    def loss(self, p: Float[np.ndarray, "test"]) -> float:
        """Cross-entropy of the test rows, nats; of known probabilities less their entropy."""
        p, q = np.clip(p, 1e-7, 1 - 1e-7), self.p_test
        cross = -(q * np.log(p) + (1 - q) * np.log1p(-p))
        entropy = -(xlogy(q, q) + xlogy(1 - q, 1 - q)) if self.known is not None else 0.0
        return float((cross - entropy).mean())


def table_population(
    tables: list[pathlib.Path], inputs: Inputs, test: list[pathlib.Path], seed: int
) -> Population:
    """The rows of injection tables; without `test`, tables of repeats, a fifth is held out."""
    table = load_tables(tables)
    x, label = features(table, inputs), table.catalogued
    order = np.random.default_rng(seed).permutation(len(x))
    if test:
        held = TestSet.of(load_tables(test))
        return Population(x[order], label[order], features(held.first, inputs), held.p_true)
    held_out, pool = np.split(order, [round(_HELD_OUT * len(x))])
    return Population(x[pool], label[pool], x[held_out], label[held_out].astype(float))


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
    return Population(x[:n], label[:n], x[n:], p[n:], p[:n])


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
    `TransitionDesign` chooses with the networks trained on these; both count. The design `known`,
    of an oracle, has no pilot: it knows every probability. Networks take `_STEPS` steps, or
    `_EPOCHS` passes where those are fewer. Each of the `repeats` has its own rows and networks.
    `worth` is the number of uniform injections with the same loss over the number of these; None
    beyond the uniform curve.

    Raises `ConfigError` for sizes that the pool does not have.
    """
    if wrong := [n for n in sizes if not _LEAST <= n <= len(population.x)]:
        raise ConfigError(
            f"a size is {wrong[0]}; expected {_LEAST} to {len(population.x)}, the rows of the pool"
        )
    designs = {"uniform": _uniform, "focused": _focused}
    if population.known is not None:
        designs["known"] = _known
    curve: list[tuple[int, float]] = []
    for name, design in designs.items():
        for n in sizes:
            losses, used = [], []
            for repeat in range(repeats):
                progress(f"{name}, {n}, {repeat + 1} of {repeats}")
                rows = design(population, n, pilot, seed + repeat)
                members = _members(population, rows, seed + repeat)
                losses.append(population.loss(members(population.x_test).mean(0)))
                used.append(len(rows))
            line: dict[str, object] = {"design": name, "n": round(np.mean(used))}
            line["excess_loss" if population.known is not None else "held_out_loss"] = float(
                np.mean(losses)
            )
            if repeats > 1:
                line["standard_error"] = float(np.std(losses, ddof=1) / repeats**0.5)
            if name == "uniform":
                curve.append((n, float(np.mean(losses))))
            else:
                line["worth"] = _worth(curve, float(np.mean(used)), float(np.mean(losses)))
            yield line


def open_share(population: Population) -> float | None:
    """Share of an oracle's clusters with p(1 − p) > 0.02, whose outcome is worth an injection."""
    p = population.known
    return None if p is None else float((p * (1 - p) > _OPEN).mean())


def _uniform(population: Population, n: int, pilot: float, seed: int) -> Int[np.ndarray, "n"]:
    return np.random.default_rng((seed, 1)).choice(len(population.x), n, replace=False)


def _focused(population: Population, n: int, pilot: float, seed: int) -> Int[np.ndarray, "m"]:
    first = _uniform(population, round(pilot * n), pilot, seed)
    left = np.setdiff1d(np.arange(len(population.x)), first)
    p = _members(population, first, seed)(population.x[left])
    chosen = TransitionDesign.choose(p, n - len(first), seed=seed)
    return np.concatenate([first, left[chosen.rows]])


def _known(population: Population, n: int, pilot: float, seed: int) -> Int[np.ndarray, "m"]:
    assert population.known is not None
    return TransitionDesign.choose(np.tile(population.known, (2, 1)), n, seed=seed).rows


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
    x = population.x
    # Standardised alike whatever the choice of rows.
    result = train_ensemble(
        x[rows], population.label[rows], settings, mean=x.mean(0), scale=x.std(0)
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
