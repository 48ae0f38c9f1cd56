"""Mixtures of Gaussians whose parameters are a network of what was measured, and their training.

(Mixture density networks: Bishop 1994, Neural Computing Research Group report NCRG/94/004; learned
from simulations as posteriors: Papamakarios & Murray 2016, arXiv:1605.06376.)
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...networks.cnn.mixture import (
    MIDDLE_LOG_D,
    N_CONTINUOUS,
    PER_COMPONENT,
    REACH_LOG_D,
    mixture_outputs,
)
from ...networks.training import TrainingDiverged
from .settings import PosteriorSettings

_BELOW = tuple(zip(*np.tril_indices(N_CONTINUOUS, -1), strict=True))
Progress = Callable[[int, int, float, float], None]


class Net(NamedTuple):
    """Parameters of a network with SiLU between its layers."""

    weights: tuple[Array | np.ndarray, ...]
    biases: tuple[Array | np.ndarray, ...]


def outputs(net: Net, x: Float[Array, "n k"]) -> Float[Array, "n out"]:
    """Numbers of `Mixtures.of_outputs` for each row."""
    h = x
    for layer, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        h = (jax.nn.silu(h) if layer else h) @ w.T + b[None]
    return h


def log_density(out: Float[Array, "n out"], at: Float[Array, "n 4"]) -> Float[Array, "n"]:
    """Log density of each mixture at a point in logits of the ranges, up to a constant.

    **Arguments:**

    - `out`: of `outputs`. `at`: `(n, 4)`, logits of the shares of the ranges.
    """
    parts = out.reshape(out.shape[0], -1, PER_COMPONENT)
    ends = 1 + N_CONTINUOUS, 1 + 2 * N_CONTINUOUS
    log_weight = jax.nn.log_softmax(parts[..., 0], axis=-1)
    log_d = MIDDLE_LOG_D + REACH_LOG_D * jnp.tanh(parts[..., ends[0] : ends[1]] / REACH_LOG_D)
    triangle = parts[..., ends[1] :]
    away = at[:, None] - parts[..., 1 : ends[0]]
    z = [away[..., i] for i in range(N_CONTINUOUS)]
    for k, (i, j) in enumerate(_BELOW):
        z[i] = z[i] + triangle[..., k] * away[..., j]
    square = ((jnp.stack(z, axis=-1) * jnp.exp(log_d)) ** 2).sum(-1)
    constant = 0.5 * N_CONTINUOUS * math.log(2 * math.pi)
    return jax.nn.logsumexp(log_weight + log_d.sum(-1) - 0.5 * square, axis=-1) - constant


def train_member(
    x: Float[np.ndarray, "n k"],
    at: Float[np.ndarray, "n 4"],
    weight: Float[np.ndarray, "n"],
    settings: PosteriorSettings,
    member: int,
    progress: Progress,
) -> tuple[Net, tuple[float, float]]:
    """The network of the epoch with the least validation loss, and its two losses, nats a row.

    **Arguments:**

    - `x`: inputs. `at`: truths, logits of the shares of their ranges.
    - `weight`: of the rows in the loss.
    - `member`: its number: start, order and the rows held out differ between members.

    Raises `TrainingDiverged` where no loss is a number.
    """
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(3, member)))
    order = rng.permutation(len(x))
    n_held = max(1, round(settings.validation * len(x)))
    held, rest = order[:n_held], order[n_held:]
    key = jax.random.fold_in(jax.random.key(settings.seed), member)
    net = _start(key, (x.shape[1], *settings.widths), at[rest], settings.n_components)
    data = tuple(jnp.asarray(part[rest], jnp.float32) for part in (x, at, weight))
    test = tuple(jnp.asarray(part[held], jnp.float32) for part in (x, at, weight))
    batch = min(settings.batch_size, len(rest))
    steps = settings.epochs * (len(rest) // batch)
    rates = settings.max_rate, settings.weight_decay, max(steps, 2)
    state = _optimiser(*rates).init(net)
    best: tuple[float, float, Net] | None = None
    for epoch in range(settings.epochs):
        own = jax.random.fold_in(key, 1000 + epoch)
        net, state, loss = _epoch(rates, batch, net, state, data, own)
        losses = float(loss), float(_mean_loss(net, test))
        progress(member, epoch, *losses)
        if np.isfinite(losses[1]) and (best is None or losses[1] < best[1]):
            # The buffers of the parameters are given away to the next epoch.
            best = (*losses, jax.tree.map(np.array, net))
    if best is None:
        raise TrainingDiverged(
            f"the validation loss was no number in any epoch; a smaller max_rate than "
            f"{settings.max_rate} helps"
        )
    return best[2], best[:2]


def _start(
    key: Array, widths: tuple[int, ...], at: Float[np.ndarray, "n 4"], n_components: int
) -> Net:
    """Components start where truths lie, as wide as all of them."""
    last = np.zeros((n_components, PER_COMPONENT))
    rows = np.linspace(0, len(at) - 1, n_components).astype(int)
    last[:, 1 : 1 + N_CONTINUOUS] = at[np.argsort(at[:, 0])[rows]]
    last[:, 1 + N_CONTINUOUS : 1 + 2 * N_CONTINUOUS] = -np.log(at.std(0) + 1e-3) - MIDDLE_LOG_D
    sizes = [*widths, mixture_outputs(n_components)]
    weights, biases = [], []
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        key, own = jax.random.split(key)
        end = layer == len(sizes) - 2
        size = (0.1 if end else 1.0) / math.sqrt(fan_in)
        weights.append(jax.random.uniform(own, (fan_out, fan_in), jnp.float32, -size, size))
        biases.append(jnp.float32(last.ravel()) if end else jnp.zeros(fan_out, jnp.float32))
    return Net(tuple(weights), tuple(biases))


def _optimiser(max_rate: float, weight_decay: float, steps: int) -> Any:
    import optax

    rising = max(1, steps // 20)
    rate = optax.warmup_cosine_decay_schedule(0.0, max_rate, rising, max(steps, rising + 1))
    decaying = functools.partial(jax.tree.map, lambda p: p.ndim == 2)
    return optax.chain(
        optax.clip_by_global_norm(5.0),
        optax.adamw(rate, weight_decay=weight_decay, mask=decaying),
    )


def _loss(net: Net, data: tuple[Array, Array, Array]) -> Float[Array, ""]:
    x, at, weight = data
    return -(weight * log_density(outputs(net, x), at)).sum() / weight.sum()


_mean_loss = jax.jit(_loss)


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=(2, 3))
def _epoch(
    rates: tuple[float, float, int],
    batch: int,
    net: Net,
    state: Any,
    data: tuple[Array, Array, Array],
    key: Array,
) -> tuple[Net, Any, Float[Array, ""]]:
    """One pass over the rows in a new order."""
    import optax

    optimiser = _optimiser(*rates)
    n = len(data[0])
    order = jax.random.permutation(key, n)[: n // batch * batch].reshape(-1, batch)

    def step(carry: Any, rows: Array) -> Any:
        net, state = carry
        loss, gradient = jax.value_and_grad(_loss)(net, tuple(part[rows] for part in data))
        # Optax counts steps in integers and multiplies them with floats.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimiser.update(gradient, state, net)
        return (optax.apply_updates(net, updates), state), loss

    (net, state), losses = jax.lax.scan(step, (net, state), order)
    return net, state, losses.mean()
