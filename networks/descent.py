"""Training of densities: AdamW whose rate falls as a cosine, and the best epoch kept."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .training import TrainingDiverged

type Loss = Callable[[Any, Any, Any], Float[Array, ""]]
# Largest rate, weight decay, and steps in all.
type Rates = tuple[float, float, int]


def first_layers(
    key: Array,
    sizes: tuple[int, ...],
    last: Float[np.ndarray, " out"],
    spread: float = 1.0,
    last_spread: float = 0.1,
) -> tuple[tuple[Float[Array, "_ _"], ...], tuple[Float[Array, "_"], ...]]:
    """Matrices and biases to begin with: matrices uniform up to spread / √n_in, biases zero.

    **Arguments:**

    - `sizes`: of the inputs and of every layer.
    - `last`: biases of the last layer, which its matrix, up to last_spread / √n_in, adds little to.

    ```python
    matrices, biases = first_layers(jax.random.key(0), (3, 16, 2), np.zeros(2))
    [w.shape for w in matrices]  # [(16, 3), (2, 16)]
    ```
    """
    matrices, biases = [], []
    for layer, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        key, own = jax.random.split(key)
        end = layer == len(sizes) - 2
        size = (last_spread if end else spread) / math.sqrt(n_in)
        matrices.append(jax.random.uniform(own, (n_out, n_in), jnp.float32, -size, size))
        biases.append(jnp.float32(last) if end else jnp.zeros(n_out, jnp.float32))
    return tuple(matrices), tuple(biases)


def best_epoch(
    loss: Loss,
    parameters: Any,
    fixed: Any,
    train: Any,
    test: Any,
    rates: tuple[float, float],
    epochs: int,
    batch_size: int,
    key: Array,
    progress: Callable[[int, float, float], None],
) -> tuple[Any, tuple[float, float]]:
    """Parameters of the epoch with the least validation loss, and its two losses.

    **Arguments:**

    - `loss`: of parameters, `fixed` and rows of data; hashable, equal ones share a program.
    - `parameters`: to begin with; their buffers are given away.
    - `fixed`: what the loss takes besides.
    - `train`, `test`: trees of arrays with a row for each example along the last axis.
    - `rates`: largest learning rate, and weight decay of matrices.
    - `epochs`, `batch_size`, `key`: passes over the rows in a new order each.
    - `progress`: called after each epoch with it and both losses.

    Raises `TrainingDiverged` where no validation loss is a number.
    """
    n = jax.tree.leaves(train)[0].shape[-1]
    batch = min(batch_size, n)
    how = (*rates, max(epochs * (n // batch), 2))
    state = _optimiser(*how).init(parameters)
    best: tuple[float, float, Any] | None = None
    for epoch in range(epochs):
        own = jax.random.fold_in(key, 1000 + epoch)
        parameters, state, mean = _epoch(loss, how, batch, parameters, state, fixed, train, own)
        losses = float(mean), float(_of_all(loss, parameters, fixed, test))
        progress(epoch, *losses)
        if np.isfinite(losses[1]) and (best is None or losses[1] < best[1]):
            # The buffers of the parameters are given away to the next epoch.
            best = (*losses, jax.tree.map(np.array, parameters))
    if best is None:
        raise TrainingDiverged(
            f"the validation loss was no number in any epoch; a smaller max_rate than {rates[0]} "
            "helps"
        )
    return best[2], best[:2]


def _optimiser(max_rate: float, weight_decay: float, steps: int) -> Any:
    import optax

    rising = max(1, steps // 20)
    rate = optax.warmup_cosine_decay_schedule(0.0, max_rate, rising, max(steps, rising + 1))
    decaying = functools.partial(jax.tree.map, lambda p: p.ndim == 2)
    return optax.chain(
        optax.clip_by_global_norm(5.0),
        optax.adamw(rate, weight_decay=weight_decay, mask=decaying),
    )


@functools.partial(jax.jit, static_argnums=0)
def _of_all(loss: Loss, parameters: Any, fixed: Any, data: Any) -> Float[Array, ""]:
    return loss(parameters, fixed, data)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=(3, 4))
def _epoch(
    loss: Loss,
    rates: Rates,
    batch: int,
    parameters: Any,
    state: Any,
    fixed: Any,
    data: Any,
    key: Array,
) -> tuple[Any, Any, Float[Array, ""]]:
    """One pass over the rows in a new order."""
    import optax

    optimiser = _optimiser(*rates)
    n = jax.tree.leaves(data)[0].shape[-1]
    order = jax.random.permutation(key, n)[: n // batch * batch].reshape(-1, batch)

    def step(carry: Any, rows: Array) -> Any:
        parameters, state = carry
        some = jax.tree.map(lambda part: part[..., rows], data)
        value, gradient = jax.value_and_grad(loss)(parameters, fixed, some)
        # Optax counts steps in integers and multiplies them with floats.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimiser.update(gradient, state, parameters)
        return (optax.apply_updates(parameters, updates), state), value

    (parameters, state), values = jax.lax.scan(step, (parameters, state), order)
    return parameters, state, jnp.mean(values)
