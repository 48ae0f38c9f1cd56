"""A neural network, or an ensemble of them, as the selection operator."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from starcensus.theta import Box

from ...networks import MLP
from ._base import AbstractSelection, ActsOn, Outside
from .nuisance import Nuisance

Inputs = Literal["log", "linear"]


class NetworkSelection(AbstractSelection):
    """p_sel(θ) = sigmoid of a network's logit; the ensemble axis runs over the networks.

    **Arguments:**

    - `networks`: at least one `MLP` of three inputs, and one for each property of `nuisance`.
    - `domain`: the box of the training data. Networks extrapolate without notice, so the default
      for `outside` is `"refuse"`.
    - `inputs`: what the networks were trained on: `"log"` for (log10 mass/M_sun, log10 age/yr,
      A_V), `"linear"` for (mass in M_sun, age in yr, A_V). Callers always pass θ in logs.
    - `nuisance`: distribution of the further inputs, over which the probability is averaged.
    """

    networks: tuple[MLP, ...]
    domain: Box
    inputs: Inputs = eqx.field(static=True, default="log")
    outside: Outside = "refuse"
    acts_on: ActsOn = "data"
    nuisance: Nuisance | None = None

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
        dtype = jnp.result_type(float)
        theta = [jnp.asarray(x, dtype) for x in (log_mass, log_age, a_v)]
        if self.inputs == "linear":
            theta = [10 ** theta[0], 10 ** theta[1], theta[2]]
        features = jnp.stack(theta, axis=-1)
        if further is not None:
            features = jnp.concatenate([features, jnp.asarray(further, dtype)], axis=1)
        return jnp.stack([network(features) for network in self.networks])

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

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        arrays = pack_networks(self.networks)
        metadata: dict[str, object] = {
            "n_networks": len(self.networks),
            "inputs": self.inputs,
            "domain": self.domain.as_dict(),
            "outside": self.outside,
            "acts_on": self.acts_on,
        }
        if self.nuisance is not None:
            more, metadata["nuisance"] = self.nuisance.to_arrays()
            arrays |= more
        return arrays, metadata

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, np.ndarray], metadata: dict[str, object]
    ) -> "NetworkSelection":
        return cls(
            networks=unpack_networks(arrays, int(metadata["n_networks"])),  # pyright: ignore
            domain=Box.from_dict(metadata["domain"]),  # pyright: ignore
            inputs=metadata["inputs"],  # pyright: ignore
            outside=metadata["outside"],  # pyright: ignore
            acts_on=metadata["acts_on"],  # pyright: ignore
            nuisance=unpack_nuisance(arrays, metadata),
        )


def unpack_nuisance(arrays: dict[str, np.ndarray], metadata: dict[str, object]) -> Nuisance | None:
    """The nuisance distribution of a stored operator; None where it has none."""
    stored = metadata.get("nuisance")
    return None if stored is None else Nuisance.from_arrays(arrays, stored)  # pyright: ignore


def pack_networks(networks: tuple[MLP, ...]) -> dict[str, np.ndarray]:
    """The arrays of every network, as `network_INDEX/NAME`."""
    return {
        f"network_{index}/{name}": values
        for index, network in enumerate(networks)
        for name, values in network.to_arrays().items()
    }


def unpack_networks(arrays: dict[str, np.ndarray], n_networks: int) -> tuple[MLP, ...]:
    """The inverse of `pack_networks`; raises `KeyError` naming a missing array."""
    prefixes = [f"network_{index}/" for index in range(n_networks)]
    return tuple(
        MLP.from_arrays(
            {name.removeprefix(p): values for name, values in arrays.items() if name.startswith(p)}
        )
        for p in prefixes
    )
