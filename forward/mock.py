"""Mock catalogues: a population, its noise and its selection, drawn together.

Selection may look at either of two things, and the two give different catalogues from the same
probabilities. An operator that says `acts_on = "truth"` is applied to the true θ, independently of
the noise. A `RecordedSelection` carries the rule that was applied to the recorded θ + noise and the
noise itself, and exactly that is done here. Any other `acts_on = "data"` operator gives P(det | θ)
without saying how detection and noise are tied; a mock of it exists only without noise.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..selection import AbstractSelection, RecordedSelection, learned_facts
from ..selection.catalogue import Catalogue, Step
from .population import Population, flat_values

MAX_CLUSTERS = 50_000_000
_BLOCK = 8192


@dataclasses.dataclass(frozen=True)
class Mock:
    """A mock catalogue with its truth.

    **Arguments:**

    - `catalogue`: what an astronomer would be handed.
    - `theta_true`: true θ of each catalogued cluster, shape (n, 3).
    - `n_drawn`: number of clusters of the population, catalogued or not.
    - `truth`: the population's parameters by flat name.
    """

    catalogue: Catalogue
    theta_true: Float[np.ndarray, "n 3"]
    n_drawn: int
    truth: dict[str, float]


def mock_catalogue(
    key: PRNGKeyArray,
    population: Population,
    selection: AbstractSelection,
    sigma: tuple[float, float, float] | None = None,
    source: str = "mock",
) -> Mock:
    """Draw one catalogue: a population, its noise and its selection, together.

    **Arguments:**

    - `key`: JAX random key; the same key gives the same catalogue.
    - `population`: its `log_n` is the log10 of the expected number of clusters, catalogued or not.
    - `selection`: what is catalogued of them.
    - `sigma`: Gaussian errors of (log_mass [dex], log_age [dex], a_v [mag]). A
      `RecordedSelection` brings its own; giving others is an error.
    - `source`: name of the catalogue.

    Raises `ValueError` if the population is too large to draw, or if `selection` does not say how
    detection and noise are tied; `SelectionDomainError` if the population's bounds leave the domain
    of an operator that refuses to extrapolate.

    ```python
    mock = mock_catalogue(
        jax.random.key(1), population, with_acts_on(operator, "truth"), sigma=(0.1, 0.1, 0.1)
    )
    len(mock.catalogue), mock.n_drawn
    ```
    """
    selection.check_covers(population.box)
    recorded_rule = selection.base if isinstance(selection, RecordedSelection) else None
    if isinstance(selection, RecordedSelection):
        if sigma is not None and tuple(sigma) != tuple(selection.sigma):
            raise ValueError(
                f"sigma = {sigma}, but the RecordedSelection was made for {selection.sigma}; "
                "leave sigma out"
            )
        sigma = selection.sigma
    sigma = sigma or (0.0, 0.0, 0.0)
    if recorded_rule is None and selection.acts_on == "data" and any(sigma):
        raise ValueError(
            f"{type(selection).__name__} acts on the data but does not say how; wrap the rule that "
            "was applied to recorded values in RecordedSelection, or state acts_on='truth'"
        )
    key_number, key_theta, key_noise, key_select = jax.random.split(key, 4)
    theta = draw_theta(key_number, key_theta, population)
    n = len(theta)
    recorded = theta + _generator(key_noise).normal(size=theta.shape) * np.asarray(sigma)
    seen = theta if recorded_rule is None else recorded
    p = _probabilities(selection if recorded_rule is None else recorded_rule, seen)
    chosen = _generator(key_select).uniform(size=n) < p
    recorded, theta = recorded[chosen], theta[chosen]
    noise = {"recorded": "gaussian", "acts_on": selection.acts_on} if any(sigma) else {}
    learned = learned_facts(selection)
    survey = {"survey": learned[0].json()} if learned else {}
    catalogue = Catalogue(
        source=source,
        ids=np.arange(1, chosen.sum() + 1).astype(str),
        theta=recorded,
        theta_low=recorded - np.asarray(sigma),
        theta_high=recorded + np.asarray(sigma),
        steps=(Step("selection", n, int(chosen.sum()), "catalogued by the mock survey"),),
        meta={**noise, **survey},
    )
    return Mock(catalogue, theta, n, flat_values(population))


def draw_theta(
    key_number: PRNGKeyArray, key_theta: PRNGKeyArray, population: Population
) -> Float[np.ndarray, "n 3"]:
    """θ of a Poisson draw of a population, with the mean 10^log_n.

    Raises `ValueError` for a population too large to draw.

    ```python
    draw_theta(*jax.random.split(jax.random.key(1)), population)
    ```
    """
    expected = 10.0 ** float(population.log_n)
    if expected > MAX_CLUSTERS:
        raise ValueError(
            f"log_n = {float(population.log_n):g} asks for {expected:.3g} clusters; a mock draws "
            f"at most {MAX_CLUSTERS:g}: raise the lower mass bound"
        )
    n = int(_generator(key_number).poisson(expected))
    # Arrays, not floats: every population of a family then shares one compilation.
    as_arrays = population.with_values(population.values())
    keys = jax.random.split(key_theta, max(-(-n // _BLOCK), 1))
    return np.concatenate([np.asarray(_sample_block(as_arrays, k), float) for k in keys])[:n]


@eqx.filter_jit
def _sample_block(population: Population, key: PRNGKeyArray) -> Float[Array, "block 3"]:
    return population.sample(key, _BLOCK)


@eqx.filter_jit
def _p_sel_block(
    selection: AbstractSelection, theta: Float[Array, "block 3"]
) -> Float[Array, " block"]:
    return selection.p_sel(theta[:, 0], theta[:, 1], theta[:, 2])


def _probabilities(
    selection: AbstractSelection, theta: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, " n"]:
    p = np.empty(len(theta))
    for start in range(0, len(theta), _BLOCK):
        block = theta[start : start + _BLOCK]
        padded = jnp.asarray(np.resize(block, (_BLOCK, 3)))
        p[start : start + _BLOCK] = np.asarray(_p_sel_block(selection, padded))[: len(block)]
    return p


def _generator(key: PRNGKeyArray) -> np.random.Generator:
    """NumPy's generator seeded by a JAX key: the same draws on every device and precision."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).astype(np.uint64))
