"""The uncertainty that a finite number of injections leaves in a learned operator."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..operators.uncertainty import LogitUncertainty, cubic_terms

# Standard deviation of each coefficient, in logits, where no injection says anything.
_PRIOR_SD = 10.0


def logit_uncertainty(
    x: Float[np.ndarray, "n k"],
    p: Float[np.ndarray, "n"],
    weight: Float[np.ndarray, "n"] | None = None,
    prior_sd: float = _PRIOR_SD,
) -> LogitUncertainty:
    """Deviations of an operator's logit that its training rows do not exclude.

    **Arguments:**

    - `x`: `(n, k)`, inputs of the networks at the rows that they were trained on.
    - `p`: `(n,)`, what the operator says of them.
    - `weight`: `(n,)`, weights of the rows in the loss; by default 1.
    - `prior_sd`: standard deviation of each coefficient before any injection.

    ```python
    x = np.random.default_rng(0).normal(size=(1000, 3))
    logit_uncertainty(x, 1 / (1 + np.exp(-3 * x[:, 0]))).n_directions  # 20
    ```
    """
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    w = np.ones(len(x)) if weight is None else np.asarray(weight, float)
    terms = np.asarray(cubic_terms(jnp.asarray((x - mean) / scale)), float)
    information = terms * (w * p * (1 - p))[:, None]
    prior = np.eye(terms.shape[1]) / prior_sd**2
    hessian = terms.T @ information + prior
    scatter = terms.T @ (w[:, None] * information) + prior
    # L of H⁻¹ V H⁻¹ with V = C Cᵀ.
    root = np.linalg.solve(hessian, np.linalg.cholesky(scatter))
    return LogitUncertainty(mean, scale, root)
