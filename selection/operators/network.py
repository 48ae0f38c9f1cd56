"""A neural network, or an ensemble of them, as the selection operator."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from starcensus.theta import Box

from ...networks import MLP
from ._base import OPERATORS, AbstractSelection, ActsOn, Outside
from .facts import SurveyFacts
from .nuisance import Nuisance
from .uncertainty import LogitUncertainty

InputScale = Literal["log", "linear"]


@OPERATORS.register("network")
class NetworkSelection(AbstractSelection):
    """p_sel(θ) = sigmoid of a network's logit; the ensemble axis runs over the networks.

    **Arguments:**

    - `networks`: at least one `MLP` of three inputs, and one for each property of `nuisance`.
    - `domain`: the box of the training data. Networks extrapolate without notice, so the default
      for `outside` is `"refuse"`.
    - `inputs`: what the networks were trained on: `"log"` for (log10 mass/M_sun, log10 age/yr,
      A_V), `"linear"` for (mass in M_sun, age in yr, A_V). Callers always pass θ in logs.
    - `outside`: `"refuse"`, `"zero"` or `"clip"`, what it says beyond its domain.
    - `acts_on`: `"data"` or `"truth"`, what the survey's selection looked at.
    - `nuisance`: distribution of the further inputs, over which the probability is averaged.
    - `learned_for`: the survey that it was learned in, see `SurveyFacts`.
    - `uncertainty`: what its injections leave open, about the ensemble's mean; None where unknown.

    Raises `ValueError` for networks, or an uncertainty, of other numbers of inputs.

    ```python
    from starcensus.networks import random_mlp

    NetworkSelection((random_mlp((3, 8), key=jax.random.key(0)),), box).p_sel(4.0, 7.0, 0.5)
    ```
    """

    networks: tuple[MLP, ...]
    domain: Box
    inputs: InputScale = eqx.field(static=True, default="log")
    outside: Outside = "refuse"
    acts_on: ActsOn = "data"
    nuisance: Nuisance | None = None
    learned_for: SurveyFacts | None = eqx.field(static=True, default=None)
    uncertainty: LogitUncertainty | None = None

    def __check_init__(self) -> None:
        if not self.networks:
            raise ValueError("NetworkSelection got no networks; expected at least one MLP")
        for index, network in enumerate(self.networks):
            more = () if self.nuisance is None else self.nuisance.names
            if network.n_in != 3 + len(more):
                raise ValueError(
                    f"network {index} has {network.n_in} inputs; expected {3 + len(more)}: "
                    f"{', '.join(('mass', 'age', 'A_V', *more))}"
                )
        known = self.uncertainty
        if known is not None and len(known.mean) != self.networks[0].n_in:
            raise ValueError(
                f"the uncertainty is one of {len(known.mean)} inputs; expected "
                f"{self.networks[0].n_in}, as of the networks"
            )
        if self.inputs not in ("log", "linear"):
            raise ValueError(f'inputs is {self.inputs!r}; expected "log" or "linear"')

    @property
    def n_members(self) -> int:
        return len(self.networks)

    def logits(
        self,
        log_mass: Float[Array, "n"],
        log_age: Float[Array, "n"],
        a_v: Float[Array, "n"],
        further: Float[Array, "n k"] | None = None,
    ) -> Float[Array, "member n"]:
        """Each network's logit, without regard to the domain.

        `further`: values of the nuisance properties, in the order of `nuisance.names`.
        """
        features = self.features(log_mass, log_age, a_v, further)
        return jnp.stack([network(features) for network in self.networks])

    def features(
        self,
        log_mass: Float[Array, "n"],
        log_age: Float[Array, "n"],
        a_v: Float[Array, "n"],
        further: Float[Array, "n k"] | None = None,
    ) -> Float[Array, "n input"]:
        """What the networks take; arguments as of `logits`."""
        dtype = jnp.result_type(float)
        theta = [jnp.asarray(x, dtype) for x in (log_mass, log_age, a_v)]
        if self.inputs == "linear":
            theta = [10 ** theta[0], 10 ** theta[1], theta[2]]
        features = jnp.stack(theta, axis=-1)
        if further is not None:
            features = jnp.concatenate([features, jnp.asarray(further, dtype)], axis=1)
        return features

    def _members_inside(
        self, log_mass: Float[Array, "n"], log_age: Float[Array, "n"], a_v: Float[Array, "n"]
    ) -> Float[Array, "member n"]:
        if self.nuisance is None:
            return jax.nn.sigmoid(self.logits(log_mass, log_age, a_v))
        q = len(self.nuisance.weights)
        mass, age, a_v = (jnp.repeat(x, q) for x in (log_mass, log_age, a_v))
        further = jnp.tile(jnp.asarray(self.nuisance.values), (len(log_mass), 1))
        p = jax.nn.sigmoid(self.logits(mass, age, a_v, further))
        weights = self.nuisance.weights_at(log_mass)
        return (p.reshape(self.n_members, len(log_mass), q) * weights[None]).sum(-1)
