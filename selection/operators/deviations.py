"""How an operator's probabilities follow the uncertainty of the networks behind it.

An operator may stand inside others: averaged over recorded values, multiplied by the limits of a
sample. All of these are linear in its probabilities, and so they are in the derivatives ∂p/∂z_j of
these, which can take the place of an ensemble's members on the way: `deviating` is the operator
whose first "member" is p and whose others are a millionth of its derivatives, so that none meets a
limit of probabilities. In logits a deviation is ∂p/∂z_j / (p (1 − p)).
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from starcensus.theta import Box

from ._base import AbstractSelection, ActsOn, Outside
from .member import MemberSelection
from .network import NetworkSelection

# Below this p (1 − p) nothing of a deviation can be seen.
_LEAST = 1e-12
_UNIT = 1e-6
# Numbers that are in memory together.
_AT_ONCE = 1 << 21


class UncertaintyError(ValueError):
    """An operator's uncertainty is asked for that it does not have, or that cannot be used."""


class _Deviating(AbstractSelection):
    """p of a learned operator, and its derivatives, in place of an ensemble's members."""

    network: NetworkSelection
    domain: Box
    outside: Outside
    acts_on: ActsOn

    @property
    def n_members(self) -> int:
        assert self.network.uncertainty is not None
        return 1 + self.network.uncertainty.n_directions

    def _members_inside(
        self, log_mass: Float[Array, "n"], log_age: Float[Array, "n"], a_v: Float[Array, "n"]
    ) -> Float[Array, "member n"]:
        network, known, nuisance = self.network, self.network.uncertainty, self.network.nuisance
        assert known is not None
        q = 1 if nuisance is None else len(nuisance.weights)
        theta = jnp.stack([log_mass, log_age, a_v], axis=1)

        def at(point: Float[Array, "3"]) -> Float[Array, "member"]:
            mass, age, extinction = (jnp.broadcast_to(x, (q,)) for x in point)
            further, weights = None, jnp.ones((1, q), point.dtype)
            if nuisance is not None:
                further = jnp.asarray(nuisance.values, point.dtype)
                weights = nuisance.weights_at(point[:1])
            x = network.features(mass, age, extinction, further)
            p = jax.nn.sigmoid(network.logits(mass, age, extinction, further))
            slope = weights[0] * (p * (1 - p)).mean(axis=0)
            moved = _UNIT * (slope @ known.directions(x))
            return jnp.concatenate([(weights[0] * p.mean(axis=0)).sum()[None], moved])

        size = max(1, _AT_ONCE // (q * self.n_members))
        return jax.lax.map(at, theta, batch_size=min(size, len(theta))).T


def n_directions(operator: AbstractSelection) -> int:
    """How many standard normal numbers the uncertainty of an operator has; 0 where it carries none.

    ```python
    n_directions(complete(Box((2.0, 7.0), (6.0, 10.0), (0.0, 3.0))))  # 0
    ```
    """
    return sum(
        n.uncertainty.n_directions for n in _uncertain(operator) if n.uncertainty is not None
    )


def deviating(operator: AbstractSelection) -> AbstractSelection:
    """The operator whose first member is p_sel, and the others what a millionth of z_j adds to p.

    Raises `UncertaintyError` for an operator that carries no uncertainty, one with two learned
    stages that do, a member of an ensemble alone, and an ensemble of another kind beside it.

    ```python
    from starcensus.networks import random_mlp

    networks = (random_mlp((3, 8), key=jax.random.key(0)),)
    known = LogitUncertainty(np.array([4.0, 7.5, 1.0]), np.ones(3), 0.1 * np.eye(20))
    uncertain = NetworkSelection(networks, box, uncertainty=known)
    deviating(uncertain).members(4.0, 7.0, 0.3).shape  # (21,)
    ```
    """
    found = _uncertain(operator)
    if not found:
        raise UncertaintyError(
            f"the operator ({type(operator).__name__}) carries no uncertainty: one of mass, age "
            "and extinction that is learned from injections does; one of magnitudes, a published "
            "network, or a file of an earlier version does not. Learn it again, or leave "
            "uncertainty out"
        )
    if len(found) > 1:
        raise UncertaintyError(
            f"{len(found)} stages of the operator carry an uncertainty; expected one: which share "
            "injections, and so deviate together, is not known"
        )
    return _replaced(operator)


def deviations(members: Float[np.ndarray, "member *n"]) -> Float[np.ndarray, "direction *n"]:
    """What each z_j adds to logit p, of the members of `deviating`; 0 where p is 0 or 1.

    ```python
    deviations(np.array([[0.5, 0.9], [1e-7, 0.0]]))  # [[0.4, 0]]
    ```
    """
    p = members[0]
    spread = p * (1 - p)
    return np.where(spread > _LEAST, members[1:] / (_UNIT * np.maximum(spread, _LEAST)), 0.0)


def _parts(operator: AbstractSelection) -> dict[str, AbstractSelection]:
    fields = (f.name for f in dataclasses.fields(operator))
    return {
        name: value
        for name in fields
        if isinstance(value := getattr(operator, name), AbstractSelection)
    }


def _uncertain(operator: AbstractSelection) -> list[NetworkSelection]:
    if isinstance(operator, NetworkSelection):
        return [] if operator.uncertainty is None else [operator]
    return [each for part in _parts(operator).values() for each in _uncertain(part)]


def _replaced(operator: AbstractSelection) -> AbstractSelection:
    if isinstance(operator, NetworkSelection) and operator.uncertainty is not None:
        return _Deviating(
            network=operator,
            domain=operator.domain,
            outside=operator.outside,
            acts_on=operator.acts_on,
        )
    parts = _parts(operator)
    if not any(_uncertain(part) for part in parts.values()):
        if operator.n_members > 1:
            raise UncertaintyError(
                f"{type(operator).__name__} is an ensemble of {operator.n_members} beside the "
                "operator whose uncertainty is asked for; take one member of it, or leave "
                "uncertainty out"
            )
        return operator
    if isinstance(operator, MemberSelection):
        raise UncertaintyError(
            "the uncertainty is that of the ensemble's mean, and the operator is its member "
            f"{operator.member} alone; leave out member or uncertainty"
        )
    for name, part in parts.items():
        operator = eqx.tree_at(lambda o, name=name: getattr(o, name), operator, _replaced(part))
    return operator
