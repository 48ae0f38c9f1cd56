"""Multilayer perceptrons with exact GELU, whose inputs are standardised inside."""

import itertools
import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

_CHUNK_ROWS = 8192


class MLP(eqx.Module):
    """A fully connected network, `(n, n_in)` inputs to `(n,)` logits, with exact GELU.

    Parameters are held as NumPy arrays and take the dtype of the inputs when the network is
    evaluated, so that one stored network serves sessions of either precision.

    **Arguments:**

    - `weights`: one array `(n_out, n_in)` per layer; the last layer has `n_out = 1`.
    - `biases`: one array `(n_out,)` per layer.
    - `mean`, `scale`: `(n_in,)`; the network sees `(x - mean) / scale`. Default 0 and 1.

    Raises `ValueError` naming the layer whose shape does not fit, or an unusable `scale`.

    ```python
    network = MLP([np.array([[1.0, -2.0]])], [np.array([0.5])])  # one layer, two inputs
    network(jnp.asarray([[3.0, 1.0]]))  # 1.5
    ```
    """

    weights: tuple[Float[Array, "_ _"] | Float[np.ndarray, "_ _"], ...]
    biases: tuple[Float[Array, "_"] | Float[np.ndarray, "_"], ...]
    mean: Float[Array, "n_in"] | Float[np.ndarray, "n_in"]
    scale: Float[Array, "n_in"] | Float[np.ndarray, "n_in"]

    def __init__(
        self,
        weights: Sequence[np.ndarray],
        biases: Sequence[np.ndarray],
        mean: np.ndarray | None = None,
        scale: np.ndarray | None = None,
    ):
        self.weights = tuple(_as_float(w) for w in weights)
        self.biases = tuple(_as_float(b) for b in biases)
        if not self.weights or len(self.weights) != len(self.biases):
            raise ValueError(
                f"an MLP got {len(self.weights)} weight and {len(self.biases)} bias arrays; "
                "expected one of each per layer, and at least one layer"
            )
        n_in = self.weights[0].shape[-1] if self.weights[0].ndim == 2 else 0
        width = n_in
        for layer, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            if w.ndim != 2 or w.shape[1] != width or b.shape != w.shape[:1] or 0 in w.shape:
                raise ValueError(
                    f"layer {layer} has weights {w.shape} and biases {b.shape}; expected "
                    f"(n_out, {width}) and (n_out,)"
                )
            width = w.shape[0]
        if width != 1:
            raise ValueError(f"the last layer has {width} outputs; expected 1, the logit")
        self.mean = np.zeros(n_in) if mean is None else _as_float(mean)
        self.scale = np.ones(n_in) if scale is None else _as_float(scale)
        if self.mean.shape != (n_in,) or self.scale.shape != (n_in,):
            raise ValueError(
                f"mean {self.mean.shape} and scale {self.scale.shape} do not fit the "
                f"{n_in} inputs; expected ({n_in},) for both"
            )
        if not (np.isfinite(self.mean).all() and (np.asarray(self.scale) > 0).all()):
            raise ValueError("mean must be finite and scale positive; refit the standardisation")

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return self.weights[0].shape[-1]

    def __call__(self, x: Float[Array, "n n_in"]) -> Float[Array, "n"]:
        """Logits of each row; rows are taken in chunks, so that memory does not grow with n."""
        if x.shape[-1] != self.n_in:
            raise ValueError(f"the network has {self.n_in} inputs; got rows of {x.shape[-1]}")
        if x.shape[0] <= _CHUNK_ROWS:
            return self._rows(x)
        # Without rematerialisation a gradient would keep every chunk's activations.
        return jax.lax.map(jax.checkpoint(lambda row: self._row(row)), x, batch_size=_CHUNK_ROWS)

    def _row(self, x: Float[Array, "n_in"]) -> Float[Array, ""]:
        return self._rows(x[None])[0]

    def _rows(self, x: Float[Array, "n n_in"]) -> Float[Array, "n"]:
        mean, scale = (jnp.asarray(a, x.dtype) for a in (self.mean, self.scale))
        h = (x - mean[None]) / scale[None]
        for layer, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            if layer:
                h = jax.nn.gelu(h, approximate=False)
            h = h @ jnp.asarray(w, x.dtype).T + jnp.asarray(b, x.dtype)[None]
        return h[:, 0]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """`weight_K`, `bias_K` of each layer K, `mean` and `scale`."""
        arrays = {f"weight_{k}": np.asarray(w) for k, w in enumerate(self.weights)}
        arrays |= {f"bias_{k}": np.asarray(b) for k, b in enumerate(self.biases)}
        return arrays | {"mean": np.asarray(self.mean), "scale": np.asarray(self.scale)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "MLP":
        """The inverse of `to_arrays`; raises `KeyError` naming a missing array."""
        n_layers = max(1, sum(name.startswith("weight_") for name in arrays))
        return cls(
            [arrays[f"weight_{k}"] for k in range(n_layers)],
            [arrays[f"bias_{k}"] for k in range(n_layers)],
            arrays["mean"],
            arrays["scale"],
        )


def random_mlp(
    widths: Sequence[int],
    *,
    key: PRNGKeyArray,
    mean: np.ndarray | None = None,
    scale: np.ndarray | None = None,
) -> MLP:
    """An untrained network.

    Weights and biases are uniform within ±1/√(fan-in), the rule of Torch's and Equinox's linear
    layers.

    **Arguments:**

    - `widths`: `(n_in, hidden, …)`; the output, of width 1, is added.
    - `key`: JAX random key.
    - `mean`, `scale`: `(n_in,)`, standardisation; see `MLP`.

    Raises `ValueError` for no widths, or one below 1.

    ```python
    network = random_mlp((3, 16, 16), key=jax.random.key(0))
    ```
    """
    sizes = [*widths, 1]
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"layer widths are {list(widths)}; expected (n_in, hidden, …), all ≥ 1")
    weights, biases = [], []
    for fan_in, fan_out in itertools.pairwise(sizes):
        key, weight_key, bias_key = jax.random.split(key, 3)
        limit = 1 / math.sqrt(fan_in)
        weights.append(
            np.array(jax.random.uniform(weight_key, (fan_out, fan_in), minval=-limit, maxval=limit))
        )
        biases.append(
            np.array(jax.random.uniform(bias_key, (fan_out,), minval=-limit, maxval=limit))
        )
    return MLP(weights, biases, mean, scale)


def _as_float(values: object) -> np.ndarray:
    array = np.array(values)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(float)
