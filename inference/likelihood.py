"""The likelihood of a catalogue given a population and a selection.

With data d_i, rate density λ(θ|φ) = N p(θ|φ) and selection probability p_sel(θ),

    Poisson:      ln L = Σ_i ln ∫ p(d_i|θ) λ(θ|φ) dθ − N ∫ p_sel(θ) p(θ|φ) dθ
    conditional:  ln L = Σ_i ln ∫ p(d_i|θ) p(θ|φ) dθ − n ln ∫ p_sel(θ) p(θ|φ) dθ

(Loredo & Hendry, arXiv:1911.12337; Mandel, Farr & Gair, arXiv:1809.02063). The second follows from
the first by integrating N out under the prior 1/N, up to a constant. The first integral is a mean
over samples of each object's posterior under the prior π, ∫ p(d|θ) λ dθ ∝ mean(λ/π). If selection
acts on the truth, independently of the noise, P(det, d|θ) = p_sel(θ) p(d|θ), and p_sel multiplies
the first integrand too; `object_samples` has then put it into the weights.

Σ_i is taken over blocks of rows that fit into a processor's cache, and its derivatives with respect
to the population's parameters are summed along with it: a gradient needs no more memory than a
value.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..forward import Population, SelectionGrid, shifted_probability
from .objects import ObjectSamples, Samples

Form = Literal["poisson", "conditional"]

# A processor's cache, and what keeps an accelerator busy.
_BLOCK_VALUES = {"cpu": 1 << 12, "other": 1 << 22}


def log_object_terms(population: Population, objects: Samples) -> Float[Array, " n"]:
    """ln ∫ p(d_i|θ) p(θ|φ) dθ of every row, padding included; float64 if JAX has x64 on.

    **Arguments:**

    - `population`: with the values of its parameters.
    - `objects`: samples of every cluster, as `object_samples` makes them.

    ```python
    log_object_terms(population, samples)[np.asarray(samples.mask)]
    ```
    """
    if not isinstance(objects, ObjectSamples):
        return objects.log_terms(population)
    log_p = log_density(population, objects)
    return jax.scipy.special.logsumexp(log_p + jnp.asarray(objects.log_weight), axis=1)


def log_density(population: Population, objects: ObjectSamples) -> Float[Array, "*points"]:
    """ln p(θ|φ) at the samples, or ln p(log_mass, log_age|φ) where they have no a_v."""
    log_mass, log_age, *a_v = jnp.asarray(objects.theta)
    if not a_v:
        return population.mass_age.log_prob(log_mass, log_age)
    return population.log_prob(log_mass, log_age, a_v[0])


def effective_sample_sizes(population: Population, objects: Samples) -> Float[Array, " n"]:
    """(Σ w)² / Σ w² of the weights λ/π of each object's samples; NaN for padding.

    **Arguments:**

    - `population`: with the values of its parameters.
    - `objects`: samples of every cluster, as `object_samples` makes them.

    ```python
    effective_sample_sizes(population, samples)
    ```
    """
    if not isinstance(objects, ObjectSamples):
        return objects.effective(population)
    log_p = log_density(population, objects)
    log_w = log_p + jnp.asarray(objects.log_weight)
    lse = jax.scipy.special.logsumexp
    ess = jnp.exp(2 * lse(log_w, axis=1) - lse(2 * log_w, axis=1))
    return jnp.where(jnp.asarray(objects.mask), ess, jnp.nan)


@eqx.filter_jit
def judged(
    population: Population, objects: Samples
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """`log_object_terms` and `effective_sample_sizes`, compiled together."""
    return log_object_terms(population, objects), effective_sample_sizes(population, objects)


def log_likelihood(
    population: Population,
    objects: Samples,
    grid: SelectionGrid,
    form: Form = "poisson",
    z: Float[Array, " k"] | Float[np.ndarray, " k"] | None = None,
) -> Float[Array, ""]:
    """ln L of a catalogue; −inf if an object cannot come from the population (Loredo & Hendry,
    arXiv:1911.12337; Mandel, Farr & Gair, arXiv:1809.02063).

    **Arguments:**

    - `population`: with the values of its parameters.
    - `objects`: samples of every cluster inside its bounds, as `object_samples` makes them.
    - `grid`: the operator at the quadrature's nodes, of `selection_grid`.
    - `form`: `"poisson"`, or `"conditional"` on the number of clusters.
    - `z`: `(k,)`, numbers by which the operator deviates, of a `grid` and `objects` that have
      deviations: they move the expected number and the objects' terms together.

    Raises `ValueError` for objects that do not deviate with the grid.

    ```python
    log_likelihood(population, samples, selection_grid(operator, population))
    ```
    """
    if z is None:
        total = sum_of_object_terms(population, objects)
    else:
        grid, total = grid.shifted(z), _sum_of_deviating_terms(population, objects, jnp.asarray(z))
    fraction = grid.detected_fraction(population)
    n = jnp.asarray(objects.mask).sum().astype(fraction.dtype)
    if form == "conditional":
        return total - n * jnp.log(fraction)
    ln_number = jnp.log(10.0) * jnp.asarray(population.log_n, fraction.dtype)
    return total + n * ln_number - jnp.exp(ln_number) * fraction


def sum_of_object_terms(population: Population, objects: Samples) -> Float[Array, ""]:
    """Σ_i ln ∫ p(d_i|θ) p(θ|φ) dθ, differentiable with respect to the population's parameters.

    Blocks of padding are skipped. Data are constants: derivatives with respect to them are zero.
    """
    if not isinstance(objects, ObjectSamples):
        terms = log_object_terms(population, objects)
        return jnp.where(jnp.asarray(objects.mask), terms, 0.0).sum()
    n, per_row = objects.log_weight.shape
    rows = _block_rows(n, per_row)
    data = jax.lax.stop_gradient(
        tuple(jnp.asarray(x) for x in (objects.theta, objects.log_weight, objects.mask))
    )

    def block(data: tuple, start: int | Int[Array, ""]) -> tuple:
        return tuple(
            jax.lax.dynamic_slice_in_dim(x, start, rows, axis=axis)
            for x, axis in zip(data, (1, 0, 0), strict=True)
        )

    def block_total(values: dict[str, Array], block: tuple) -> Float[Array, ""]:
        some = ObjectSamples(*block)
        terms = log_object_terms(population.with_values(values), some)
        return jnp.where(some.mask, terms, 0.0).sum()

    if rows == n:
        terms = log_object_terms(population, ObjectSamples(*data))
        return jnp.where(data[2], terms, 0.0).sum()
    n_used = (data[2].sum() + rows - 1) // rows

    def over_blocks(function: Callable, values: dict[str, Array], data: tuple) -> Any:
        def add(i: Int[Array, ""], so_far: Any) -> Any:
            return jax.tree.map(jnp.add, so_far, function(values, block(data, i * rows)))

        first = block(data, 0)
        zero = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, values, first)
        )
        return jax.lax.fori_loop(0, n_used, add, zero)

    @jax.custom_jvp
    def total(values: dict[str, Array], data: tuple) -> Float[Array, ""]:
        return over_blocks(block_total, values, data)

    @total.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple:
        value, slope = over_blocks(jax.value_and_grad(block_total), *primals)
        products = jax.tree.map(lambda a, b: (a * b).sum(), slope, tangents[0])
        return value, sum(jax.tree.leaves(products), start=jnp.zeros_like(value))

    return total(population.values(), data)


def deviating_terms(
    population: Population, objects: Samples, z: Float[Array, " k"]
) -> Float[Array, " n"]:
    """`log_object_terms` under an operator that deviates by `z`.

    Raises `ValueError` for objects that do not deviate.
    """
    return jax.scipy.special.logsumexp(deviating_weights(population, objects, z), axis=1)


def deviating_weights(
    population: Population, objects: Samples, z: Float[Array, " k"]
) -> Float[Array, "n s"]:
    """ln of the weights of all samples under an operator that deviates by `z`: p_z / p_0 multiplies
    them.

    Raises `ValueError` for objects that do not deviate.
    """
    if not isinstance(objects, ObjectSamples) or objects.p is None or objects.deviations is None:
        raise ValueError(
            "the operator deviates and the objects' terms do not; `with_operator_directions` gives "
            "samples that do"
        )
    p = jnp.asarray(objects.p)
    moved = jnp.einsum("k,kns->ns", z, jnp.asarray(objects.deviations))
    # Where p is 0 the weight is 0, or stays what it is.
    change = jnp.log(
        jnp.where(p > 0, shifted_probability(p, moved) / jnp.where(p > 0, p, 1.0), 1.0)
    )
    return log_density(population, objects) + jnp.asarray(objects.log_weight) + change


def _sum_of_deviating_terms(
    population: Population, objects: Samples, z: Float[Array, " k"]
) -> Float[Array, ""]:
    """As `sum_of_object_terms`, whose data are constants, but with what `z` makes of them."""
    terms = deviating_terms(population, objects, z)
    return jnp.where(jnp.asarray(objects.mask), terms, 0.0).sum()


def _block_rows(n: int, per_row: int) -> int:
    """n, or a power of two that divides it, for at most about `_BLOCK_VALUES` samples."""
    limit = _BLOCK_VALUES["cpu" if jax.default_backend() == "cpu" else "other"]
    if n * per_row <= limit:
        return n
    rows = n & -n
    while rows > 16 and rows * per_row > limit:
        rows //= 2
    return rows if rows >= 16 else n
