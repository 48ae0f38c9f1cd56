"""Operators of recorded quantities, as operators of the truth, and re-statements of an operator.

If a catalogue keeps objects by their recorded θ' = θ + ε, ε ~ N(0, diag σ²), then a cluster of true
θ enters it with probability

    p_sel(θ) = ∫ base(θ') N(θ' | θ, σ²) dθ',

the integral of Loredo & Hendry (arXiv:1911.12337) for a cut on the data. Where the base is cut off
by the edge of its domain, a Gauss–Hermite rule sees a staircase; here each axis is integrated by
Gauss–Legendre over the part of ±6σ that lies inside the base's domain, which is exact at edges.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from starcensus.theta import AXES, SENSIBLE, Box

from ._base import OPERATORS, AbstractSelection, ActsOn, Edges, Outside

_N_SIGMA = 6.0
_PANEL_SIGMA, _PANEL_ORDER = 1.5, 6
_CHUNK_POINTS = 1 << 18


@OPERATORS.register("recorded")
class RecordedSelection(AbstractSelection):
    """The base operator applied to recorded quantities with Gaussian errors (Loredo & Hendry,
    arXiv:1911.12337).

    **Arguments:**

    - `base`: operator of the recorded θ'. Nothing recorded outside its domain is catalogued, so
      its `outside` must be `"zero"` (see `with_outside`).
    - `sigma`: standard deviations in log_mass (dex), log_age (dex) and a_v (mag); 0 for none.
    - `domain`: box of the true θ; by default the base's, widened by 6σ, beyond which p_sel < 1e-8.
    - `order`: nodes of the quadrature on each axis that has errors. With the default 24 a logistic
      base as narrow as σ/2 is good to about 1e-4; steps inside the base's domain need more.
    - `outside`, `acts_on`: as of every operator.

    Raises `ValueError` for a base that refuses beyond its domain, or errors that are negative.

    ```python
    limits = complete(Box((3.5, 6.0), (6.0, 9.0), (0.0, 2.0)))
    RecordedSelection(limits, sigma=(0.1, 0.2, 0.0)).p_sel(3.5, 7.0, 0.5)  # 0.5
    ```
    """

    base: AbstractSelection
    sigma: tuple[float, float, float]
    domain: Box
    order: int
    outside: Outside
    acts_on: ActsOn

    def __init__(
        self,
        base: AbstractSelection,
        sigma: tuple[float, float, float],
        domain: Box | None = None,
        order: int = 24,
        outside: Outside = "zero",
        acts_on: ActsOn = "data",
    ):
        if base.outside != "zero":
            raise ValueError(
                f"recorded quantities scatter out of the domain of {type(base).__name__}, which "
                'refuses there; pass with_outside(base, "zero") to say that nothing recorded '
                "outside the domain is catalogued"
            )
        widths = tuple(float(s) for s in sigma)
        if len(widths) != 3 or not all(0 <= s < np.inf for s in widths):
            raise ValueError(
                f"sigma is {sigma!r}; expected three standard deviations ≥ 0, in dex, dex and mag"
            )
        if order < 2:
            raise ValueError(f"order is {order}; expected at least 2 nodes per axis")
        self.base = base
        self.sigma = (widths[0], widths[1], widths[2])
        limits = [getattr(base.domain, axis) for axis in AXES]
        self.domain = domain or Box(
            *(
                # Recorded values beyond what is sensible are refused by whoever reads them.
                (max(lo - _N_SIGMA * s, least), min(hi + _N_SIGMA * s, most))
                for (lo, hi), s, (least, most) in zip(
                    limits, widths, SENSIBLE.values(), strict=True
                )
            )
        )
        self.order = order
        self.outside = outside
        self.acts_on = acts_on

    @property
    def n_members(self) -> int:
        return self.base.n_members

    def edges(self) -> Edges:
        """Those of the base on axes without errors; errors smooth the others."""
        base = self.base.edges()
        first, second, third = (
            ends if s == 0 else () for ends, s in zip(base, self.sigma, strict=True)
        )
        return first, second, third

    def _members_inside(
        self, log_mass: Float[Array, "n"], log_age: Float[Array, "n"], a_v: Float[Array, "n"]
    ) -> Float[Array, "member n"]:
        dtype = jnp.result_type(float)
        theta = jnp.stack([jnp.asarray(x, dtype) for x in (log_mass, log_age, a_v)], axis=-1)
        n_nodes = self.order ** sum(s > 0 for s in self.sigma)
        batch = max(1, _CHUNK_POINTS // n_nodes)
        if theta.shape[0] <= batch:
            return jax.vmap(lambda point: self._at(point), out_axes=1)(theta)
        # Without rematerialisation a gradient would keep the base's values at every node.
        return jax.lax.map(jax.checkpoint(lambda point: self._at(point)), theta, batch_size=batch).T

    def _at(self, theta: Float[Array, "3"]) -> Float[Array, "member"]:
        points, weights = [], []
        for axis, s, x in zip(AXES, self.sigma, theta, strict=True):
            low, high = getattr(self.base.domain, axis)
            recorded, weight = _rule(x, s, low, high, self.order)
            points.append(recorded)
            weights.append(weight)
        shape = tuple(len(p) for p in points)
        grid = [
            jnp.broadcast_to(p.reshape([-1 if i == j else 1 for j in range(3)]), shape)
            for i, p in enumerate(points)
        ]
        values = self.base.members(*grid)
        return jnp.minimum(jnp.einsum("mijk,i,j,k->m", values, *weights), 1.0)

    def _on_grid_inside(
        self, log_mass: np.ndarray, log_age: np.ndarray, a_v: np.ndarray
    ) -> Float[Array, "member m t a"]:
        """The base is evaluated once on a grid of recorded θ' and convolved with the errors axis
        by axis, instead of once around every θ."""
        nodes, kernels = [], []
        for axis, s, x in zip(AXES, self.sigma, (log_mass, log_age, a_v), strict=True):
            recorded, kernel = _convolution(np.asarray(x), s, *getattr(self.base.domain, axis))
            nodes.append(recorded)
            kernels.append(jnp.asarray(kernel))
        values = self.base.on_tensor_grid(*nodes)
        smoothed = jnp.einsum("eijk,mi->emjk", values, kernels[0])
        smoothed = jnp.einsum("emjk,tj->emtk", smoothed, kernels[1])
        return jnp.einsum("emtk,ak->emta", smoothed, kernels[2])


def with_acts_on[Operator: AbstractSelection](operator: Operator, acts_on: ActsOn) -> Operator:
    """The same operator, stated to act on the `"data"` or on the `"truth"`.

    Raises `ValueError` for another word.

    ```python
    with_acts_on(operator, "truth").acts_on  # "truth"
    ```
    """
    return _restate(operator, "acts_on", acts_on, ("data", "truth"))


def with_outside[Operator: AbstractSelection](operator: Operator, outside: Outside) -> Operator:
    """The same operator, with `"zero"`, `"refuse"` or `"clip"` outside its domain.

    Raises `ValueError` for another word.

    ```python
    with_outside(operator, "zero").p_sel(2.0, 7.0, 0.5)  # 0, below the domain
    ```
    """
    return _restate(operator, "outside", outside, ("zero", "refuse", "clip"))


def _restate[Operator: AbstractSelection](
    operator: Operator, name: str, value: str, allowed: tuple[str, ...]
) -> Operator:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; expected {' or '.join(map(repr, allowed))}")
    return eqx.tree_at(lambda o: getattr(o, name), operator, value)


def _rule(
    x: Float[Array, ""], sigma: float, low: float, high: float, order: int
) -> tuple[Float[Array, "node"], Float[Array, "node"]]:
    """Nodes and weights of the Gaussian integral around x over [low, high]."""
    if sigma == 0:
        inside = (x >= low) & (x <= high)
        return jnp.clip(x, low, high)[None], inside.astype(x.dtype)[None]
    t, w = (jnp.asarray(a, x.dtype) for a in np.polynomial.legendre.leggauss(order))
    start = jnp.clip(x - _N_SIGMA * sigma, low, high)
    stop = jnp.clip(x + _N_SIGMA * sigma, low, high)
    recorded = jnp.clip(start + (stop - start) * (t + 1) / 2, low, high)
    weight = w * jnp.exp(-(((recorded - x) / sigma) ** 2) / 2)
    # Normalised to the exact probability of being recorded inside, so that p stays in [0, 1] at any
    # order.
    mass = norm.cdf((stop - x) / sigma) - norm.cdf((start - x) / sigma)
    return recorded, mass * weight / jnp.maximum(weight.sum(), jnp.finfo(x.dtype).tiny)


def _convolution(
    x: np.ndarray, sigma: float, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes on [low, high] and the matrix that takes a function there to its Gaussian mean at x."""
    if sigma == 0:
        inside = (x >= low) & (x <= high)
        return np.clip(x, low, high), np.diag(inside.astype(float))
    low, high = max(low, x.min() - _N_SIGMA * sigma), min(high, x.max() + _N_SIGMA * sigma)
    n_panels = int(np.ceil((high - low) / (_PANEL_SIGMA * sigma)))
    t, w = np.polynomial.legendre.leggauss(_PANEL_ORDER)
    half = (high - low) / n_panels / 2
    middle = low + half * (2 * np.arange(n_panels) + 1)
    nodes = (middle[:, None] + half * t).ravel()
    weights = np.tile(half * w, n_panels)
    z = (nodes[None, :] - x[:, None]) / sigma
    return nodes, weights * np.exp(-(z**2) / 2) / (sigma * np.sqrt(2 * np.pi))
