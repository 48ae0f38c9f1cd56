"""Mixtures of Gaussians whose parameters are a network of what was measured, and their training.

(Mixture density networks: Bishop 1994, Neural Computing Research Group report NCRG/94/004; learned
from simulations as posteriors: Papamakarios & Murray 2016, arXiv:1605.06376.)
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...networks.cnn.mixture import N_CONTINUOUS, PER_COMPONENT, mixture_outputs
from ...networks.descent import best_epoch, first_layers
from .settings import PosteriorSettings
from .truncated import BELOW, FARTHEST, HALF, MIDDLE_LOG_D, REACH_LOG_D

Progress = Callable[[int, int, float, float], None]


class Net(NamedTuple):
    """Parameters of a network with SiLU between its layers."""

    weights: tuple[Array | np.ndarray, ...]
    biases: tuple[Array | np.ndarray, ...]


def outputs(net: Net, x: Float[Array, "n k"]) -> Float[Array, "n out"]:
    """Numbers of `TruncatedMixtures.of_outputs` for each row."""
    h = x
    for layer, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        h = (jax.nn.silu(h) if layer else h) @ w.T + b[None]
    return h


def log_density(out: Float[Array, "n out"], at: Float[Array, "n 4"]) -> Float[Array, "n"]:
    """Log density of each mixture at a point, on the scale of `HALF`.

    **Arguments:**

    - `out`: of `outputs`. `at`: `(n, 4)`, of `places`.
    """
    parts = out.reshape(out.shape[0], -1, PER_COMPONENT)
    ends = 1 + N_CONTINUOUS, 1 + 2 * N_CONTINUOUS
    log_weight = jax.nn.log_softmax(parts[..., 0], axis=-1)
    log_d = MIDDLE_LOG_D + REACH_LOG_D * jnp.tanh(parts[..., ends[0] : ends[1]] / REACH_LOG_D)
    triangle = parts[..., ends[1] :]
    mean = parts[..., 1 : ends[0]]
    away = at[:, None] - mean
    middles = [mean[..., i] for i in range(N_CONTINUOUS)]
    for k, (i, j) in enumerate(BELOW):
        middles[i] = middles[i] - triangle[..., k] * away[..., j]
    middle = FARTHEST * jnp.tanh(jnp.stack(middles, axis=-1) / FARTHEST)
    d = jnp.exp(log_d)
    terms = log_d - 0.5 * ((at[:, None] - middle) * d) ** 2
    terms = terms - _log_between((-HALF - middle) * d, (HALF - middle) * d)
    constant = 0.5 * N_CONTINUOUS * math.log(2 * math.pi)
    return jax.nn.logsumexp(log_weight + terms.sum(-1), axis=-1) - constant


def _log_between(low: Float[Array, "*s"], high: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """ln of the standard normal's share between two values."""
    flip = low + high > 0
    low, high = jnp.where(flip, -high, low), jnp.where(flip, -low, high)
    above, below = (jax.scipy.special.log_ndtr(x) for x in (high, low))
    return above + jnp.log1p(-jnp.exp(below - above))


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

    - `x`: inputs. `at`: truths, as `places` has them.
    - `weight`: of the rows in the loss.
    - `member`: its number: start, order and the rows held out differ between members.

    Raises `TrainingDiverged` where no loss is a number.
    """
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(3, member)))
    order = rng.permutation(len(x))
    n_held = max(1, round(settings.validation * len(x)))
    held, rest = order[:n_held], order[n_held:]
    key = jax.random.fold_in(jax.random.key(settings.seed), member)
    sizes = (x.shape[1], *settings.widths, mixture_outputs(settings.n_components))
    net = Net(*first_layers(key, sizes, _first_components(at[rest], settings.n_components)))
    # Rows along the last axis.
    columns = tuple(jnp.asarray(part.T, jnp.float32) for part in (x, at, weight))
    train, test = (tuple(part[..., rows] for part in columns) for rows in (rest, held))
    return best_epoch(
        _loss,
        net,
        (),
        train,
        test,
        (settings.max_rate, settings.weight_decay),
        settings.epochs,
        settings.batch_size,
        key,
        functools.partial(progress, member),
    )


def _first_components(at: Float[np.ndarray, "n 4"], n_components: int) -> Float[np.ndarray, " out"]:
    """Components start where truths lie, as wide as all of them."""
    last = np.zeros((n_components, PER_COMPONENT))
    rows = np.linspace(0, len(at) - 1, n_components).astype(int)
    last[:, 1 : 1 + N_CONTINUOUS] = at[np.argsort(at[:, 0])[rows]]
    last[:, 1 + N_CONTINUOUS : 1 + 2 * N_CONTINUOUS] = -np.log(at.std(0) + 1e-3) - MIDDLE_LOG_D
    return last.ravel()


def _loss(net: Net, fixed: tuple[()], data: tuple[Array, Array, Array]) -> Float[Array, ""]:
    x, at, weight = data
    return -(weight * log_density(outputs(net, x.T), at.T)).sum() / weight.sum()
