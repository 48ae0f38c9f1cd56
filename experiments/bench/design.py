"""Learning curves: injections chosen where the outcome is open, against uniform ones."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from starcensus.experiments.learning import load_tables
from starcensus.networks import TrainSettings, train_ensemble
from starcensus.selection.learning import Inputs, TransitionDesign, features, log_loss

TRAIN = TrainSettings(widths=(64, 64), n_members=3, batch_size=1024, validation=0.02)
_HELD_OUT = 0.2
_STEPS, _EPOCHS = 6000, 100


def bench_design(
    tables: list[pathlib.Path],
    inputs: Inputs,
    sizes: tuple[int, ...],
    pilot: int,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[dict[str, object]]:
    """Held-out loss of ensembles trained on so many injections of a table, chosen either way.

    A fifth of the table is held out, for all alike; the rest is the pool. A focused
    design is `pilot` uniform rows and then those that `TransitionDesign` chooses with the pilot's
    ensemble; both count. Networks take `_STEPS` steps, or
    `_EPOCHS` passes where those are fewer.
    """
    table = load_tables(tables)
    x, label = features(table, inputs), table.catalogued
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    held_out, pool = np.split(order, [round(_HELD_OUT * len(x))])

    def loss(rows: Int[np.ndarray, "n"]) -> tuple[float, Float[np.ndarray, "member pool"]]:
        members = _members(x, label, rows, seed)
        return log_loss(members(x[held_out]).mean(0), label[held_out]), members(x[pool])

    for n in sizes:
        progress(f"uniform, {n}")
        value, _ = loss(pool[:n])
        yield {"design": "uniform", "n": n, "held_out_loss": value}
    progress(f"pilot, {pilot}")
    _, members = loss(pool[:pilot])
    # The pilot's own rows are used already.
    left = np.arange(pilot, len(pool))
    for n in sizes:
        if n <= pilot:
            continue
        progress(f"focused, {n}")
        chosen = TransitionDesign.choose(members[:, left], n - pilot, seed=seed)
        rows = np.concatenate([pool[:pilot], pool[left[chosen.rows]]])
        value, _ = loss(rows)
        yield {"design": "focused", "n": len(rows), "n_pilot": pilot, "held_out_loss": value}


def _members(
    x: Float[np.ndarray, "n k"], label: Bool[np.ndarray, "n"], rows: np.ndarray, seed: int
) -> Callable[[np.ndarray], Float[np.ndarray, "member m"]]:
    batch = min(TRAIN.batch_size, len(rows) // 4)
    epochs = min(_EPOCHS, max(1, round(_STEPS * batch / len(rows))))
    settings = dataclasses.replace(TRAIN, epochs=epochs, batch_size=batch, seed=seed)
    # Standardised alike whatever the choice of rows.
    result = train_ensemble(x[rows], label[rows], settings, mean=x.mean(0), scale=x.std(0))

    def members(at: np.ndarray) -> Float[np.ndarray, "member m"]:
        values = jnp.asarray(at, jnp.float32)
        return np.stack([expit(np.asarray(net(values), float)) for net in result.networks])

    return members
