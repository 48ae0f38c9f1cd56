"""How sure mixtures may be, by what they said of objects that their network was not taught.

Two numbers: by how much the raw logarithms of all components' precisions are lowered, and by what
their raw weights are divided, as a softmax's logits are by a temperature. A linear layer absorbs
both, so that a calibrated network is a network like any.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from .mixture import N_CONTINUOUS, PER_COMPONENT, Mixtures
from .targets import Grid

_LIMITS = ((-2.0, 2.0), (np.log(0.1), np.log(10.0)))
_SCALES = np.arange(1 + N_CONTINUOUS, 1 + 2 * N_CONTINUOUS)


@dataclasses.dataclass(frozen=True)
class Widening:
    """What `fit_widening` finds.

    **Arguments:**

    - `lowered`: by how much raw log precisions are lowered; above 0 mixtures become wider.
    - `temperature`: by what raw weights of components are divided.

    ```python
    Widening(0.1, 1.2)
    ```
    """

    lowered: float
    temperature: float

    def of_outputs(self, outputs: Float[np.ndarray, "n output"]) -> Float[np.ndarray, "n output"]:
        """Outputs of a head "mixture", widened."""
        parts = outputs.astype(float).reshape(-1, PER_COMPONENT)
        parts[:, 0] /= self.temperature
        parts[:, _SCALES] -= self.lowered
        return parts.reshape(outputs.shape)

    def absorbed(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Parameters of a network whose mixtures are widened.

        ```python
        conv = ConvSettings(("V",), (0.02,), heads=(("mixture", 30),))
        arrays = {name: np.ones(shape) for name, shape in conv.shapes().items()}
        Widening(0.5, 2.0).absorbed(arrays)["heads.mixture.bias"]  # 0.5, 1, 1, 1, 1, 0.5, ...
        ```
        """
        made = dict(arrays)
        for part in ("weight", "bias"):
            values = made[f"heads.mixture.{part}"].copy()
            values[::PER_COMPONENT] /= np.float32(self.temperature)
            made[f"heads.mixture.{part}"] = values
        bias = made["heads.mixture.bias"].reshape(-1, PER_COMPONENT)
        bias[:, _SCALES] -= np.float32(self.lowered)
        return made


def fit_widening(
    outputs: Float[np.ndarray, "n output"], parameters: Float[np.ndarray, "n 4"], grid: Grid
) -> Widening:
    """The widening under which objects are most probable.

    **Arguments:**

    - `outputs`: `(n, output)` of a head "mixture", of objects that took no part in training.
    - `parameters`: `(n, 4)`, their truths. `grid`: gives the ranges.

    Raises `ValueError` without objects.

    ```python
    outputs = 0.5 * np.random.default_rng(1).normal(size=(2000, 30))
    truths = Mixtures.of_outputs(outputs, Grid()).draw(1, np.random.default_rng(2))[:, 0]
    fit_widening(outputs, truths, Grid())  # about 0 and 1
    ```
    """
    # Slow to load.
    from scipy.optimize import minimize

    if not len(outputs):
        raise ValueError("there are no objects; a widening needs some")

    def loss(x: np.ndarray) -> float:
        widening = Widening(float(x[0]), float(np.exp(x[1])))
        mixtures = Mixtures.of_outputs(widening.of_outputs(outputs), grid)
        return -float(mixtures.log_density(parameters).mean())

    found = minimize(
        loss,
        np.zeros(2),
        method="Nelder-Mead",
        bounds=_LIMITS,
        options={"xatol": 1e-3, "fatol": 1e-6, "initial_simplex": [[0, 0], [0.1, 0], [0, 0.2]]},
    )
    return Widening(round(float(found.x[0]), 4), round(float(np.exp(found.x[1])), 4))
