"""Initial mass functions: densities, cumulative distributions, their inverses and moments.

An IMF is a chain of segments joined continuously, each a power law ξ(m) ∝ m^-α or a lognormal in
log10 m. Everything is in closed form: with g = k + 1 - α,

    ∫_a^b m^k m^-α dm = (b^g - a^g)/g,

and for a lognormal of centre m_c and width σ dex, with s = σ ln 10 and μ = ln m_c,

    ∫_a^b m^k exp(-(ln m - μ)²/2s²) dm/m = s √(2π) e^(kμ + k²s²/2) [Φ(z_b) - Φ(z_a)],
    z = (ln m - μ)/s - k s.

Of n stars drawn independently the most massive has the cumulative distribution F(m)^n.
"""

import abc
import dataclasses
import functools

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

from starcensus.registry import Registry

IMFS = Registry[type["AbstractImf"]]("initial mass function")
LN10 = float(np.log(10.0))
# NumPy turns arrays without axes into scalars on the way.
Values = np.ndarray | np.floating


@dataclasses.dataclass(frozen=True)
class PowerLaw:
    """A segment of an IMF, m^-alpha; `segments` of an IMF of your own returns such."""

    alpha: float

    def density(self, m: Values) -> Values:
        return m**-self.alpha

    def integral(self, order: float, low: Values, high: Values) -> Values:
        g = order + 1.0 - self.alpha
        ratio = np.log(high / low)
        # low^g ln(high/low) (e^x - 1)/x with x = g ln(high/low): no cancellation for narrow ranges.
        x = g * ratio
        growth = np.expm1(x) / np.where(x == 0, 1.0, x)
        return low**g * ratio * np.where(x == 0, 1.0, growth)

    def inverse(self, low: float, area: Values) -> Values:
        """Mass at which the integral of the density from `low` reaches `area`."""
        g = 1.0 - self.alpha
        if g == 0:
            return low * np.exp(area)
        return low * np.exp(np.log1p(g * area / low**g) / g)


@dataclasses.dataclass(frozen=True)
class Lognormal:
    """A segment of an IMF that is normal in log10 m.

    **Arguments:**

    - `centre`: M_sun.
    - `dex`: standard deviation, dex.
    """

    centre: float
    dex: float

    def density(self, m: Values) -> Values:
        return np.exp(-0.5 * (np.log10(m / self.centre) / self.dex) ** 2) / m

    def integral(self, order: float, low: Values, high: Values) -> Values:
        s = self.dex * LN10
        mu = np.log(self.centre)
        scale = s * np.sqrt(2 * np.pi) * np.exp(order * mu + 0.5 * (order * s) ** 2)
        a, b = ((np.log(m) - mu) / s - order * s for m in (low, high))
        # In the upper half Φ(b) - Φ(a) loses digits that Φ(-a) - Φ(-b) keeps.
        upper = a > 0
        a, b = np.where(upper, -b, a), np.where(upper, -a, b)
        return scale * (ndtr(b) - ndtr(a))

    def inverse(self, low: float, area: Values) -> Values:
        s = self.dex * LN10
        mu = np.log(self.centre)
        start = ndtr((np.log(low) - mu) / s)
        return np.exp(mu + s * ndtri(start + area / (s * np.sqrt(2 * np.pi))))


@dataclasses.dataclass(frozen=True)
class AbstractImf(abc.ABC):
    """Interface of an initial mass function between two masses.

    A concrete one names its limits, `low` and `high` (M_sun), and its segments. Arguments `m`,
    `low` and `high` of the methods are masses in M_sun; the density is per M_sun and integrates to
    one between the limits. One of your own is added to `IMFS` under the word by which files name
    it:

    ```python
    @IMFS.register("top_heavy")
    @dataclasses.dataclass(frozen=True)
    class TopHeavy(AbstractImf):
        low: float = 0.08
        high: float = 120.0
        alpha: float = 1.9

        def segments(self):
            return (0.5, PowerLaw(1.3)), (np.inf, PowerLaw(self.alpha))

    StellarPopulation(grid, TopHeavy()).imf.mean_mass
    ```
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < np.inf:
            raise ValueError(
                f"an IMF needs 0 < low < high < inf, in M_sun; got low = {self.low}, "
                f"high = {self.high}"
            )

    @abc.abstractmethod
    def segments(self) -> tuple[tuple[float, PowerLaw | Lognormal], ...]:
        """(upper end, law) of each segment, from the lowest; the last upper end is infinite."""

    @functools.cached_property
    def _pieces(self) -> list[tuple[float, float, float, float, PowerLaw | Lognormal]]:
        """(low, high, factor, cumulative probability at low, law) of each segment in the limits."""
        found, factor, before = [], 1.0, None
        start = 0.0
        for end, law in self.segments():
            if before is not None:
                at = np.asarray(start)
                factor *= float(before.density(at) / law.density(at))
            a, b = max(start, self.low), min(end, self.high)
            if a < b:
                found.append((a, b, factor, law))
            start, before = end, law
        areas = [
            factor * float(law.integral(0.0, np.asarray(a), np.asarray(b)))
            for a, b, factor, law in found
        ]
        total = sum(areas)
        below = np.concatenate([[0.0], np.cumsum(areas)[:-1]]) / total
        return [
            (a, b, factor / total, float(c), law)
            for (a, b, factor, law), c in zip(found, below, strict=True)
        ]

    @property
    def breaks(self) -> tuple[float, ...]:
        """Masses between the limits where the law changes, M_sun."""
        return tuple(piece[0] for piece in self._pieces[1:])

    def pdf(self, m: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Density per M_sun; zero outside the limits."""
        out = np.zeros_like(m, dtype=float)
        for a, b, factor, _, law in self._pieces:
            inside = (m >= a) & ((m < b) if b < self.high else (m <= b))
            out[inside] = factor * law.density(m[inside])
        return out

    def partial_moment(
        self,
        order: float,
        low: Float[np.ndarray, "*shape"],
        high: Float[np.ndarray, "*shape"],
    ) -> Float[np.ndarray, "*shape"]:
        """∫ m^order ξ(m) dm from `low` to `high`, within the limits (order 0: the probability)."""
        total = np.zeros(np.broadcast_shapes(np.shape(low), np.shape(high)))
        for a, b, factor, _, law in self._pieces:
            start, end = np.clip(low, a, b), np.clip(high, a, b)
            total = total + factor * law.integral(order, start, np.maximum(start, end))
        return np.asarray(total)

    def moment(self, order: float) -> float:
        """E[m^order] of one star, M_sun^order."""
        return float(self.partial_moment(order, np.asarray(self.low), np.asarray(self.high)))

    @functools.cached_property
    def mean_mass(self) -> float:
        """Mean mass of a star, M_sun."""
        return self.moment(1.0)

    def cdf(self, m: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Probability that a star is lighter than m."""
        return self.partial_moment(0.0, np.full(np.shape(m), self.low), m)

    def ppf(self, q: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Mass below which a fraction q of the stars lies; `ValueError` unless 0 <= q <= 1."""
        if not ((q >= 0) & (q <= 1)).all():
            raise ValueError(f"probabilities lie in [0, 1]; got {np.min(q)} to {np.max(q)}")
        pieces = self._pieces
        which = np.searchsorted([piece[3] for piece in pieces[1:]], q, side="right")
        out = np.empty_like(q, dtype=float)
        for i, (a, b, factor, below, law) in enumerate(pieces):
            here = which == i
            area = np.maximum(q[here] - below, 0.0) / factor
            out[here] = np.clip(law.inverse(a, area), a, b)
        return out

    def most_massive_cdf(
        self, m: Float[np.ndarray, "*shape"], n_stars: int
    ) -> Float[np.ndarray, "*shape"]:
        """Probability that none of n independent stars is heavier than m: F(m)^n."""
        return np.asarray(self.cdf(m) ** n_stars)


@IMFS.register("kroupa")
@dataclasses.dataclass(frozen=True)
class Kroupa(AbstractImf):
    """Kroupa (2001, MNRAS 322, 231, equation 2): slopes -0.3, -1.3, -2.3, broken at 0.08 and 0.5.

    `low`, `high`: limits, M_sun. Raises `ValueError` for limits that are not in order.

    ```python
    Kroupa(high=150.0).mean_mass, Kroupa().ppf(np.array([0.5, 0.99]))
    ```
    """

    low: float = 0.08
    high: float = 120.0

    def segments(self) -> tuple[tuple[float, PowerLaw | Lognormal], ...]:
        return (0.08, PowerLaw(0.3)), (0.5, PowerLaw(1.3)), (np.inf, PowerLaw(2.3))


@IMFS.register("chabrier")
@dataclasses.dataclass(frozen=True)
class Chabrier(AbstractImf):
    """Chabrier (2005, ASSL 327, 41, equation 1): lognormal up to 1 M_sun, slope -2.35 above.

    **Arguments:**

    - `low`, `high`: limits, M_sun.
    - `centre`: centre of the lognormal, M_sun.
    - `dex`: standard deviation of the lognormal, dex.

    Raises `ValueError` for limits that are not in order.

    ```python
    Chabrier().cdf(np.array([1.0]))
    ```
    """

    low: float = 0.08
    high: float = 120.0
    centre: float = 0.2
    dex: float = 0.55

    def segments(self) -> tuple[tuple[float, PowerLaw | Lognormal], ...]:
        return (1.0, Lognormal(self.centre, self.dex)), (np.inf, PowerLaw(2.35))


@IMFS.register("salpeter")
@dataclasses.dataclass(frozen=True)
class Salpeter(AbstractImf):
    """Salpeter (1955, ApJ 121, 161): one power law of slope -2.35.

    **Arguments:**

    - `low`, `high`: limits, M_sun.
    - `alpha`: minus the slope of dN/dm.

    Raises `ValueError` for limits that are not in order.

    ```python
    Salpeter(low=0.1).moment(1.0)
    ```
    """

    low: float = 0.08
    high: float = 120.0
    alpha: float = 2.35

    def segments(self) -> tuple[tuple[float, PowerLaw | Lognormal], ...]:
        return ((np.inf, PowerLaw(self.alpha)),)
