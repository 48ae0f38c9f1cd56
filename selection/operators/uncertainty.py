"""What a finite number of injections leaves open about an operator.

An operator that was learned from n injections is off by a smooth function of what its networks see:
logit p + δ(u). δ is a polynomial of third degree in the properties u, each with mean 0 and standard
deviation 1, whose coefficients b are normal with the covariance of a logistic regression around the
networks (Laplace's approximation; MacKay 1992, Neural Computation 4, 720):

    Σ = H⁻¹ V H⁻¹,   H = Σ_i w_i v_i φ_i φ_iᵀ + 1/s²,   V = Σ_i w_i² v_i φ_i φ_iᵀ + 1/s²

for rows of weight w_i with v_i = p_i (1 − p_i), which is H⁻¹ where all weights are 1. It is as wide
as what replicate trainings differ by, where the spread of networks with other starts but the same
injections is several times too small (docs/results/operator_error.md).
"""

import itertools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

DEGREE = 3


class LogitUncertainty(eqx.Module):
    """Normal deviations of an operator's logit, polynomials of third degree in its inputs.

    **Arguments:**

    - `mean`, `scale`: `(k,)`, standardisation of the networks' inputs.
    - `root`: `(term, term)`, L of the coefficients' covariance L Lᵀ, in the order of `cubic_terms`.

    Raises `ValueError` for arrays that do not fit one another.

    ```python
    LogitUncertainty(np.zeros(3), np.ones(3), 0.1 * np.eye(20)).n_directions  # 20
    ```
    """

    mean: Float[Array, "k"] | Float[np.ndarray, "k"]
    scale: Float[Array, "k"] | Float[np.ndarray, "k"]
    root: Float[Array, "term term"] | Float[np.ndarray, "term term"]

    def __check_init__(self) -> None:
        k = len(self.mean)
        n = n_cubic_terms(k)
        if self.scale.shape != (k,) or self.root.shape != (n, n):
            raise ValueError(
                f"scale has shape {self.scale.shape} and root {self.root.shape}; expected ({k},) "
                f"and ({n}, {n}) for {k} inputs"
            )

    @property
    def n_directions(self) -> int:
        """Number of independent standard normal numbers z behind the deviations."""
        return self.root.shape[1]

    def directions(self, x: Float[Array, "n k"]) -> Float[Array, "n direction"]:
        """What each z_j adds to logit p at the inputs `x` per unit; differentiable.

        ```python
        known = LogitUncertainty(np.zeros(3), np.ones(3), 0.1 * np.eye(20))
        known.directions(jnp.ones((5, 3))).shape  # (5, 20)
        ```
        """
        mean, scale, root = (jnp.asarray(a, x.dtype) for a in (self.mean, self.scale, self.root))
        return cubic_terms((x - mean[None]) / scale[None]) @ root


def n_cubic_terms(k: int) -> int:
    """How many terms `cubic_terms` gives of k columns: 20 of 3, 35 of 4, 56 of 5.

    ```python
    n_cubic_terms(3)  # 20
    ```
    """
    return (k + 1) * (k + 2) * (k + 3) // 6


def cubic_terms(u: Float[Array, "n k"]) -> Float[Array, "n term"]:
    """1 and all products of up to three of the columns.

    ```python
    cubic_terms(jnp.asarray([[2.0]]))  # [[1, 2, 4, 8]]
    ```
    """
    columns = [jnp.ones_like(u[:, 0])]
    for degree in range(1, DEGREE + 1):
        for which in itertools.combinations_with_replacement(range(u.shape[1]), degree):
            product = u[:, which[0]]
            for j in which[1:]:
                product = product * u[:, j]
            columns.append(product)
    return jnp.stack(columns, axis=1)
