"""The likelihood of a catalogue given a population and a selection.

With data d_i, rate density λ(θ|φ) = N p(θ|φ) and selection probability p_sel(θ),

    Poisson:      ln L = Σ_i ln ∫ p(d_i|θ) λ(θ|φ) dθ − N ∫ p_sel(θ) p(θ|φ) dθ
    conditional:  ln L = Σ_i ln ∫ p(d_i|θ) p(θ|φ) dθ − n ln ∫ p_sel(θ) p(θ|φ) dθ

(Loredo & Hendry, arXiv:1911.12337; Mandel, Farr & Gair, arXiv:1809.02063). The second follows from
the first by integrating N out under the prior 1/N, up to a constant. The first integral is a mean
over samples of each object's posterior under the prior π, ∫ p(d|θ) λ dθ ∝ mean(λ/π). If selection
acts on the truth, independently of the noise, P(det, d|θ) = p_sel(θ) p(d|θ), and p_sel multiplies
the first integrand too; `object_samples` has then put it into the weights.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..forward import Population, SelectionGrid
from .objects import ObjectSamples

Form = Literal["poisson", "conditional"]


def log_object_terms(population: Population, objects: ObjectSamples) -> Float[Array, "n"]:
    """ln ∫ p(d_i|θ) p(θ|φ) dθ of every row, padding included; float64 if JAX has x64 on."""
    theta = jnp.asarray(objects.theta)
    log_p = population.log_prob(theta[..., 0], theta[..., 1], theta[..., 2])
    return jax.scipy.special.logsumexp(log_p + jnp.asarray(objects.log_weight), axis=1)


def effective_sample_sizes(population: Population, objects: ObjectSamples) -> Float[Array, "n"]:
    """(Σ w)² / Σ w² of the weights λ/π of each object's samples; NaN for padding."""
    theta = jnp.asarray(objects.theta)
    log_p = population.log_prob(theta[..., 0], theta[..., 1], theta[..., 2])
    log_w = log_p + jnp.asarray(objects.log_weight)
    lse = jax.scipy.special.logsumexp
    ess = jnp.exp(2 * lse(log_w, axis=1) - lse(2 * log_w, axis=1))
    return jnp.where(jnp.asarray(objects.mask), ess, jnp.nan)


def log_likelihood(
    population: Population, objects: ObjectSamples, grid: SelectionGrid, form: Form = "poisson"
) -> Float[Array, ""]:
    """ln L of a catalogue; −inf if an object cannot come from the population."""
    mask = jnp.asarray(objects.mask)
    terms = jnp.where(mask, log_object_terms(population, objects), 0.0)
    fraction = grid.detected_fraction(population)
    n = mask.sum().astype(fraction.dtype)
    if form == "conditional":
        return terms.sum() - n * jnp.log(fraction)
    ln_number = jnp.log(10.0) * jnp.asarray(population.log_n, fraction.dtype)
    return terms.sum() + n * ln_number - jnp.exp(ln_number) * fraction
