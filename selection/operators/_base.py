"""The interface of every selection operator: θ ↦ probability of entering the catalogue.

Selection is what a survey does: some clusters enter its catalogue, some do not. An operator is the
object that gives the probability of it. It states three things besides its numbers.

*Where it may stand in the likelihood* (`acts_on`): if the catalogue's cuts are a deterministic
function of the recorded data, then p_sel belongs in the integral over θ only (`"data"`); if
selection looks at the truth, independently of the noise in the recorded data, it multiplies each
object's term as well (`"truth"`); see Loredo & Hendry (arXiv:1911.12337) and Essick & Fishbach
(2024).

*Where it is known*: `domain` for operators of θ, `limits` for those of magnitudes. *What it says
beyond* (`outside`), of every operator alike:

- `"zero"`: nothing there is catalogued, p = 0;
- `"refuse"`: it is not known: p is NaN, and the checks raise;
- `"clip"`: what is nearest within stands for it, which is right where p has saturated.

Its *uncertainty* is an ensemble axis, of size 1 where there is none.
"""

import abc
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from starcensus.registry import Registry
from starcensus.settings import check_choices
from starcensus.theta import AXES, AXIS_UNITS, Box

from ._fields import arguments, build

ActsOn = Literal["data", "truth", "mixed"]
Edges = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
# Why p_sel stands in the likelihood where it does.
ACTS_ON_WORDS: dict[str, str] = {
    "data": "whether a cluster is catalogued follows from the light to which its mass, age and "
    "extinction were fitted, so that p_sel belongs in the expected number alone",
    "truth": "mass, age and extinction were recorded with errors that know nothing of the images, "
    "so that p_sel multiplies each cluster's own term too",
    "mixed": "the survey's own selection acts on the truth and multiplies each cluster's term; the "
    "limits of the sample act on recorded values and belong in the expected number alone",
}
Outside = Literal["zero", "refuse", "clip"]

# Points that are evaluated together: one program serves grids of all sizes.
_BLOCK = 8192

# Kinds of operators by the names that files give them.
OPERATORS = Registry[type]("selection operator")


@eqx.filter_jit
def _members_block(
    operator: "AbstractSelection", theta: Float[Array, "3 block"]
) -> Float[Array, "member block"]:
    return operator.members(*theta)


class SelectionDomainError(ValueError):
    """θ was asked for outside the operator's domain, and the operator refuses to extrapolate."""


# Rows that are taken at a time where there are many.
BLOCK = 1 << 15


def in_blocks(function: Callable[..., Array], *columns: Array) -> Array:
    """`function` of `(n, …)` arrays in blocks of rows, joined along the results' last axis."""
    n = len(columns[0])
    if n <= BLOCK:
        return function(*columns)
    starts = range(0, n, BLOCK)
    parts = [function(*(each[i : i + BLOCK] for each in columns)) for i in starts]
    return jnp.concatenate(parts, axis=-1)


class AbstractSelection(eqx.Module):
    """An operator of θ: p_sel with its domain, its uncertainty and its place in the likelihood.

    ```python
    operator.p_sel(4.0, np.array([6.5, 8.5]), 0.3)  # (2,)
    ```

    A subclass of one's own gives `n_members` and `_members_inside`. Registered, it is saved,
    loaded, made part of others, and named in files of settings:

    ```python
    @OPERATORS.register("mass_limit")
    class MassLimit(AbstractSelection):
        domain: Box
        limit: float = 3.5
        outside: Outside = "zero"
        acts_on: ActsOn = "data"

        @property
        def n_members(self) -> int:
            return 1

        def _members_inside(self, log_mass, log_age, a_v):
            return jax.nn.sigmoid((log_mass - self.limit) / 0.1)[None]

    MassLimit(box).p_sel(4.0, 7.0, 0.0)
    ```

    Its constructor's parameters must be fields of the same names, with types that say what they
    hold: arrays, numbers, words, tuples, dataclasses such as `Box`, other operators.
    """

    domain: eqx.AbstractVar[Box]
    outside: eqx.AbstractVar[Outside]
    acts_on: eqx.AbstractVar[ActsOn]

    def __check_init__(self) -> None:
        check_choices(self)
        of_stages = type(self)._object_members is not AbstractSelection._object_members
        if self.acts_on == "mixed" and not of_stages:
            raise ValueError(
                "acts_on is 'mixed', which only a product of stages can be; expected 'data' or "
                "'truth'"
            )

    @property
    @abc.abstractmethod
    def n_members(self) -> int:
        """Size of the ensemble that expresses the operator's uncertainty."""

    @abc.abstractmethod
    def _members_inside(
        self, log_mass: Float[Array, "n"], log_age: Float[Array, "n"], a_v: Float[Array, "n"]
    ) -> Float[Array, "member n"]:
        """Every member's probability at points inside the domain."""

    @classmethod
    def from_settings(cls, options: Mapping[str, Any], box: Box) -> "AbstractSelection":
        """The operator that a file of settings describes.

        **Arguments:**

        - `options`: arguments of the constructor by their names; arrays are lists of numbers there.
        - `box`: bounds of the population, the `domain` of an operator that takes one and is given
          none.

        Raises `ValueError` for options that are missing, unknown or of another type.
        """
        bounds = {"domain": box} if "domain" in arguments(cls) else {}
        try:
            return build(cls, {**bounds, **options}, OPERATORS)
        except KeyError as missing:
            raise ValueError(f"{cls.__name__} needs the option {missing}") from missing

    def members(
        self, log_mass: ArrayLike, log_age: ArrayLike, a_v: ArrayLike
    ) -> Float[Array, "member *n"]:
        """p_sel of each ensemble member, `(member, …)`.

        Outside the domain the value is 0 if `outside` is `"zero"`, NaN if it is `"refuse"`, that
        of the nearest θ of the domain if it is `"clip"`. Differentiable, and safe under `jit` and
        `vmap`.

        `log_mass` in log10 M_sun, `log_age` in log10 yr, `a_v` in mag; arguments broadcast.
        """
        theta = jnp.broadcast_arrays(*(jnp.asarray(x, float) for x in (log_mass, log_age, a_v)))
        shape = theta[0].shape
        inside = self.domain.contains(*theta)
        clipped = [
            jnp.clip(x, *getattr(self.domain, axis)).ravel()
            for axis, x in zip(AXES, theta, strict=True)
        ]
        values = self._members_inside(*clipped).reshape((self.n_members, *shape))
        return self._beyond(values, inside)

    def _beyond(
        self, values: Float[Array, "member *n"], inside: Bool[Array, "*n"]
    ) -> Float[Array, "member *n"]:
        """`values`, which hold where a θ is inside, with what `outside` says elsewhere."""
        if self.outside == "clip":
            return values
        return jnp.where(inside, values, 0.0 if self.outside == "zero" else jnp.nan)

    def p_sel(self, log_mass: ArrayLike, log_age: ArrayLike, a_v: ArrayLike) -> Float[Array, "*n"]:
        """Ensemble mean of the probability of being catalogued, in [0, 1].

        `log_mass` in log10 M_sun, `log_age` in log10 yr, `a_v` in mag; arguments broadcast. Many
        rows are taken in blocks, so that no more than the result grows with their number.
        """
        theta = [jnp.asarray(x, float) for x in (log_mass, log_age, a_v)]
        shape = jnp.broadcast_shapes(*(x.shape for x in theta))
        if math.prod(shape) <= BLOCK:
            return self.members(*theta).mean(axis=0)
        columns = (jnp.broadcast_to(x, shape).ravel() for x in theta)
        return in_blocks(
            lambda *rows: _members_block(self, jnp.stack(rows)).mean(axis=0), *columns
        ).reshape(shape)

    def p_object(
        self, log_mass: ArrayLike, log_age: ArrayLike, a_v: ArrayLike
    ) -> Float[Array, "*n"]:
        """What multiplies an object's term: p_sel where selection acts on the truth, 1 where it
        acts on the data.

        `log_mass` in log10 M_sun, `log_age` in log10 yr, `a_v` in mag; arguments broadcast.
        """
        return self._object_members(log_mass, log_age, a_v).mean(axis=0)

    def _object_members(
        self, log_mass: ArrayLike, log_age: ArrayLike, a_v: ArrayLike
    ) -> Float[Array, "member *n"]:
        if self.acts_on == "truth":
            return self.members(log_mass, log_age, a_v)
        shape = jnp.broadcast_shapes(*(jnp.shape(x) for x in (log_mass, log_age, a_v)))
        return jnp.ones((self.n_members, *shape))

    def edges(self) -> Edges:
        """Positions on each axis where p_sel may step; panels of a quadrature end there.

        By default the ends of a domain outside which p_sel is 0. An operator of one's own with
        other steps along an axis adds them; what it does not say is searched for.
        """
        if self.outside != "zero":
            return (), (), ()
        return self.domain.log_mass, self.domain.log_age, self.domain.a_v

    def on_tensor_grid(
        self, log_mass: np.ndarray, log_age: np.ndarray, a_v: np.ndarray
    ) -> Float[Array, "member m t a"]:
        """Every member's p_sel on the tensor grid of three sets of nodes.

        `log_mass` in log10 M_sun, `log_age` in log10 yr, `a_v` in mag: increasing nodes.
        """
        nodes = [np.asarray(x, float) for x in (log_mass, log_age, a_v)]
        inside = self.domain.contains(*np.meshgrid(*nodes, indexing="ij"))
        if self.outside == "clip":
            nodes = [
                np.clip(x, *getattr(self.domain, axis)) for axis, x in zip(AXES, nodes, strict=True)
            ]
        return self._beyond(self._on_grid_inside(*nodes), inside)

    def _on_grid_inside(
        self, log_mass: np.ndarray, log_age: np.ndarray, a_v: np.ndarray
    ) -> Float[Array, "member m t a"]:
        """Every member's p_sel on a grid, at the nodes inside the domain.

        Operators that are integrals over θ override this, since on a grid the axes separate.
        """
        mesh = np.meshgrid(log_mass, log_age, a_v, indexing="ij")
        theta = np.stack([x.ravel() for x in mesh])
        n = theta.shape[1]
        filled = theta[:, np.arange(-(-n // _BLOCK) * _BLOCK) % n]
        blocks = [
            _members_block(self, jnp.asarray(filled[:, start : start + _BLOCK], float))
            for start in range(0, n, _BLOCK)
        ]
        return jnp.concatenate(blocks, axis=1)[:, :n].reshape((self.n_members, *mesh[0].shape))

    def check_covers(self, box: Box, what: str = "the population's bounds") -> None:
        """Raise `SelectionDomainError` if `box` leaves the domain of an operator that refuses.

        `what` names the box in the message.
        """
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
