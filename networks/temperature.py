"""Temperatures: how sure a softmax may be, by what it said of objects that it was not taught.

A network divides its logits by one number T of each head (Guo et al. 2017), which leaves the order
of the bins as it is. A linear layer absorbs it, so that a calibrated network is a network like any.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from .conv_settings import ConvSettings

_LIMITS = (np.log(0.01), np.log(100.0))
_CHUNK = 1024


def cross_entropy_at(
    temperature: float, logits: Float[np.ndarray, "n bin"], target: Float[np.ndarray, "n bin"]
) -> float:
    """Mean of −Σ target · ln softmax(logits / temperature), nats.

    ```python
    cross_entropy_at(1.0, np.zeros((1, 14)), np.full((1, 14), 1 / 14))  # ln 14 = 2.64
    ```
    """
    total = 0.0
    for first in range(0, len(logits), _CHUNK):
        part = logits[first : first + _CHUNK].astype(float) / temperature
        told = target[first : first + _CHUNK].astype(float)
        total += float((told.sum(1) * logsumexp(part, axis=1) - (told * part).sum(1)).sum())
    return total / len(logits)


def fit_temperature(
    logits: Float[np.ndarray, "n bin"], target: Float[np.ndarray, "n bin"]
) -> float:
    """The temperature of the least cross entropy, between 1/100 and 100.

    **Arguments:**

    - `logits`: `(n, bin)`, of objects that took no part in training.
    - `target`: `(n, bin)`, probabilities.

    Near 100 the best is to say nothing: the network learned too little, or something else. Raises
    `ValueError` without objects.

    ```python
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4000, 5))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    told = np.eye(5)[[rng.choice(5, p=row) for row in shares]]
    fit_temperature(2 * logits, told)  # about 2
    ```
    """
    # Slow to load.
    from scipy.optimize import minimize_scalar

    if not len(logits):
        raise ValueError("there are no objects; a temperature needs some")
    found = minimize_scalar(
        lambda log_t: cross_entropy_at(float(np.exp(log_t)), logits, target),
        bounds=_LIMITS,
        method="bounded",
        options={"xatol": 1e-3},
    )
    return float(np.exp(found.x))


def tempered(
    conv: ConvSettings,
    arrays: Mapping[str, np.ndarray],
    temperatures: Mapping[str, float],
) -> dict[str, np.ndarray]:
    """Parameters of a network whose logits are divided by a temperature of each head.

    **Arguments:**

    - `conv`: the definition. `arrays`: its parameters.
    - `temperatures`: by head; others stay as they are.

    Raises `ValueError` for a head that there is not, and a temperature that is not positive.

    ```python
    conv = ConvSettings(("V",), (0.02,))
    arrays = {name: np.ones(shape) for name, shape in conv.shapes().items()}
    tempered(conv, arrays, {"class": 2.0})["heads.class.bias"]  # 0.5, 0.5
    ```
    """
    made = dict(arrays)
    for head, temperature in temperatures.items():
        if head not in dict(conv.heads):
            names = ", ".join(name for name, _ in conv.heads)
            raise ValueError(f"there is no head {head!r}; expected one of {names}")
        if not (np.isfinite(temperature) and temperature > 0):
            raise ValueError(f"the temperature of {head} is {temperature}; expected above 0")
        for part in ("weight", "bias"):
            name = f"heads.{head}.{part}"
            made[name] = made[name] / np.float32(temperature)
    return made
