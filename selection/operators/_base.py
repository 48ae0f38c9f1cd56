"""The interface of every selection operator: θ ↦ probability of entering the catalogue.

An operator states three things besides its numbers. *Where it may stand in the likelihood*
(`acts_on`): if the catalogue's cuts are a deterministic function of the recorded data, then p_sel
belongs in the integral over θ only (`"data"`); if selection looks at the truth, independently of
the noise in the recorded data, it multiplies each object's term as well (`"truth"`); see Loredo &
Hendry (arXiv:1911.12337) and Essick & Fishbach (2024). *Where it is known* (`domain`), and *what
happens outside* (`outside`). Its *uncertainty* is an ensemble axis, of size 1 where there is none.
"""

import abc
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from starcensus.theta import AXES, AXIS_UNITS, Box

ActsOn = Literal["data", "truth"]
Outside = Literal["zero", "refuse"]


class SelectionDomainError(ValueError):
    """θ was asked for outside the operator's domain, and the operator refuses to extrapolate."""


class AbstractSelection(eqx.Module):
    """p_sel(θ) with its domain, its uncertainty and its place in the likelihood."""

    domain: eqx.AbstractVar[Box]
    outside: eqx.AbstractVar[Outside]
    acts_on: eqx.AbstractVar[ActsOn]

    @property
    @abc.abstractmethod
    def n_members(self) -> int:
        """Size of the ensemble that expresses the operator's uncertainty."""

    @abc.abstractmethod
    def _members_inside(
        self, log_mass: Float[Array, "n"], log_age: Float[Array, "n"], a_v: Float[Array, "n"]
    ) -> Float[Array, "member n"]:
        """Every member's probability at points inside the domain."""

    @abc.abstractmethod
    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        """Plain arrays and JSON-ready metadata, from which `from_arrays` rebuilds the operator."""

    @classmethod
    @abc.abstractmethod
    def from_arrays(
        cls, arrays: dict[str, np.ndarray], metadata: dict[str, object]
    ) -> "AbstractSelection":
        """The inverse of `to_arrays`."""

    def members(
        self, log_mass: ArrayLike, log_age: ArrayLike, a_v: ArrayLike
    ) -> Float[Array, "member *n"]:
        """p_sel of each ensemble member; arguments broadcast.

        Outside the domain the value is 0 if `outside` is `"zero"`, NaN if it is `"refuse"`.
        Differentiable, and safe under `jit` and `vmap`.
        """
        theta = jnp.broadcast_arrays(*(jnp.asarray(x, float) for x in (log_mass, log_age, a_v)))
        shape = theta[0].shape
        inside = self.domain.contains(*theta)
        clipped = [
            jnp.clip(x, *getattr(self.domain, axis)).ravel()
            for axis, x in zip(AXES, theta, strict=True)
        ]
        values = self._members_inside(*clipped).reshape((self.n_members, *shape))
        return jnp.where(inside, values, 0.0 if self.outside == "zero" else jnp.nan)

    def p_sel(self, log_mass: ArrayLike, log_age: ArrayLike, a_v: ArrayLike) -> Float[Array, "*n"]:
        """Ensemble mean of the probability of being catalogued, in [0, 1].

        `log_mass` in log10 M_sun, `log_age` in log10 yr, `a_v` in mag; arguments broadcast.
        """
        return self.members(log_mass, log_age, a_v).mean(axis=0)

    def on_tensor_grid(
        self, log_mass: np.ndarray, log_age: np.ndarray, a_v: np.ndarray
    ) -> Float[Array, "member m t a"]:
        """Every member's p_sel on the tensor grid of three sets of nodes.

        Operators that are integrals over θ override this, since on a grid the axes separate.
        """
        mesh = np.meshgrid(log_mass, log_age, a_v, indexing="ij")
        return self.members(*(jnp.asarray(x, float) for x in mesh))

    def check_covers(self, box: Box, what: str = "the population's bounds") -> None:
        """Raise `SelectionDomainError` if `box` leaves the domain of an operator that refuses."""
        complaints = box.exceeds(self.domain) if self.outside == "refuse" else []
        if complaints:
            raise SelectionDomainError(
                f"{what} leave the domain of {type(self).__name__}: {'; '.join(complaints)}; "
                "narrow the bounds, or use an operator that is known there"
            )

    def check_points(self, log_mass: ArrayLike, log_age: ArrayLike, a_v: ArrayLike) -> None:
        """Raise `SelectionDomainError` naming the first θ outside a domain that refuses."""
        if self.outside != "refuse":
            return
        theta = np.broadcast_arrays(*(np.asarray(x, float) for x in (log_mass, log_age, a_v)))
        inside = np.asarray(self.domain.contains(*theta))
        if inside.all():
            return
        first = np.argwhere(~inside)[0]
        point = ", ".join(
            f"{axis} = {values[tuple(first)]:g} {AXIS_UNITS[axis]}"
            for axis, values in zip(AXES, theta, strict=True)
        )
        raise SelectionDomainError(
            f"{int((~inside).sum())} of {inside.size} points lie outside the domain of "
            f"{type(self).__name__} ({self.domain.as_dict()}); the first, at index "
            f"{tuple(int(i) for i in first)}, has {point}"
        )
