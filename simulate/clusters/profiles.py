"""Surface-brightness profiles of star clusters.

A profile spreads one unit of light over the sky. Its radii are circularised: an ellipse of
semi-axes A ≥ B has the radius r = √(AB), so that it holds the light that a circle of that radius
holds in the round profile. The half-light radius of an elliptical cluster is √(AB) of the ellipse
that holds half of its light.

Elson, Fall & Freeman (1987) write a young cluster's profile as

    μ(r) = μ₀ (1 + r²/a²)^(−γ/2) ,

and Moffat (1969) the same curve as (1 + r²/a²)^(−η): `EFF` and `Moffat` differ only in their
parameters, η = γ/2. Programs that call the exponent of an EFF profile an index, as BAOLab's `EFF15`
(η = 1.5, FWHM = r_eff/1.13), mean η. The light within r is

    L(r) ∝ 1 − (1 + r²/a²)^(1−η)        (ln(1 + r²/a²) for η = 1),

which has no end for η ≤ 1; such a profile needs a truncation. King (1962, eq. 14) ends by itself.
"""

import abc
import dataclasses
import functools
import math

import numpy as np
from jaxtyping import Float

type Radius = float | Float[np.ndarray, "*shape"]


class Profile(abc.ABC):
    """A normalised surface-brightness profile, circular or elliptical.

    The major axis lies at `position_angle_deg` from the +x axis towards the +y axis; `axis_ratio`
    is B/A in (0, 1]. All lengths are in pc.
    """

    axis_ratio: float
    position_angle_deg: float

    @abc.abstractmethod
    def surface_density(self, r_pc: Radius) -> Float[np.ndarray, "*shape"]:
        """Fraction of the light per pc² at circularised radius `r_pc`."""

    @abc.abstractmethod
    def enclosed(self, r_pc: Radius) -> Float[np.ndarray, "*shape"]:
        """Fraction of the light within circularised radius `r_pc`."""

    @abc.abstractmethod
    def radius_enclosing(self, fraction: Radius) -> Float[np.ndarray, "*shape"]:
        """Circularised radius, pc, that holds a fraction of the light: the inverse of `enclosed`.

        Raises `ValueError` for fractions outside [0, 1].
        """

    @property
    def half_light_radius(self) -> float:
        """Circularised radius that holds half of the light, pc."""
        return float(self.radius_enclosing(0.5))

    def circularised_radius(
        self, x_pc: Float[np.ndarray, "*shape"], y_pc: Float[np.ndarray, "*shape"]
    ) -> Float[np.ndarray, "*shape"]:
        """√(AB) of the ellipse through each point, pc."""
        cosine, sine = _direction(self.position_angle_deg)
        along, across = cosine * x_pc + sine * y_pc, cosine * y_pc - sine * x_pc
        return np.asarray(np.hypot(along * self.axis_ratio**0.5, across / self.axis_ratio**0.5))

    def density_at(
        self, x_pc: Float[np.ndarray, "*shape"], y_pc: Float[np.ndarray, "*shape"]
    ) -> Float[np.ndarray, "*shape"]:
        """Fraction of the light per pc² at points on the sky, pc from the centre."""
        return self.surface_density(self.circularised_radius(x_pc, y_pc))

    def sample(self, rng: np.random.Generator, n: int) -> Float[np.ndarray, "n 2"]:
        """Positions (x, y) in pc from the centre of `n` independent stars.

        Each star takes two uniform numbers of `rng`, so the stars of several calls are those of one
        call for all of them.
        """
        fraction, turn = rng.random((n, 2)).T
        radius = self.radius_enclosing(fraction)
        along = radius * np.cos(2 * np.pi * turn) / self.axis_ratio**0.5
        across = radius * np.sin(2 * np.pi * turn) * self.axis_ratio**0.5
        cosine, sine = _direction(self.position_angle_deg)
        return np.stack([cosine * along - sine * across, sine * along + cosine * across], axis=1)


class _Truncated(Profile):
    """What `EFF` and `Moffat` share: the same curve under two names."""

    @property
    @abc.abstractmethod
    def _law(self) -> "_PowerLaw": ...

    def surface_density(self, r_pc: Radius) -> Float[np.ndarray, "*shape"]:
        return self._law.density(_radii(r_pc))

    def enclosed(self, r_pc: Radius) -> Float[np.ndarray, "*shape"]:
        return self._law.enclosed(_radii(r_pc))

    def radius_enclosing(self, fraction: Radius) -> Float[np.ndarray, "*shape"]:
        return self._law.radius(_fractions(fraction))


@dataclasses.dataclass(frozen=True)
class EFF(_Truncated):
    """The profile of Elson, Fall & Freeman (1987), (1 + r²/a²)^(−γ/2).

    **Arguments:**

    - `core_radius_pc`: a, pc.
    - `gamma`: γ = 2η. Young clusters have 2.2 to 3.2; γ ≤ 2 needs a truncation.
    - `truncation_pc`: circularised radius beyond which there is no light.
    - `axis_ratio`, `position_angle_deg`: see `Profile`.

    Raises `ValueError` for parameters that describe no profile.

    ```python
    profile = EFF.from_half_light(3.0, gamma=3.0, truncation_pc=50.0)
    profile.enclosed(np.array([1.0, 3.0]))  # the second is 0.5
    ```
    """

    core_radius_pc: float
    gamma: float = 3.0
    truncation_pc: float = math.inf
    axis_ratio: float = 1.0
    position_angle_deg: float = 0.0

    def __post_init__(self) -> None:
        _check_shape(self)
        _check_truncation(self.truncation_pc)
        _ = self._law

    @classmethod
    def from_half_light(
        cls,
        r_eff_pc: float,
        gamma: float = 3.0,
        truncation_pc: float = math.inf,
        axis_ratio: float = 1.0,
        position_angle_deg: float = 0.0,
    ) -> "EFF":
        """The profile whose circularised half-light radius, truncation included, is `r_eff_pc`.

        Raises `ValueError` if no core radius gives it: a truncated profile is never less
        concentrated than a uniform disc, nor (for γ < 2) more than the power law r^(−γ).
        """
        a = _core_of_half_light(r_eff_pc, gamma / 2, truncation_pc)
        return cls(a, gamma, truncation_pc, axis_ratio, position_angle_deg)

    @property
    def eta(self) -> float:
        """The exponent η = γ/2."""
        return self.gamma / 2

    @property
    def fwhm_pc(self) -> float:
        """Full width at half maximum, pc."""
        return self.core_radius_pc * _fwhm_in_cores(self.eta)

    @property
    def _law(self) -> "_PowerLaw":
        return _PowerLaw(self.core_radius_pc, self.eta, self.truncation_pc)


@dataclasses.dataclass(frozen=True)
class Moffat(_Truncated):
    """The profile of Moffat (1969), (1 + r²/a²)^(−η), by its width (Thilker et al. 2022).

    **Arguments:**

    - `fwhm_pc`: full width at half maximum, pc; a = (FWHM/2) (2^(1/η) − 1)^(−1/2).
    - `eta`: η; η ≤ 1 needs a truncation.
    - `truncation_pc`, `axis_ratio`, `position_angle_deg`: as in `EFF`.

    Raises `ValueError` for parameters that describe no profile.

    ```python
    Moffat(fwhm_pc=2.0, eta=1.5).half_light_radius
    ```
    """

    fwhm_pc: float
    eta: float = 3.0
    truncation_pc: float = math.inf
    axis_ratio: float = 1.0
    position_angle_deg: float = 0.0

    def __post_init__(self) -> None:
        _check_shape(self)
        _check_positive(fwhm_pc=self.fwhm_pc, eta=self.eta)
        _check_truncation(self.truncation_pc)
        _ = self._law

    @classmethod
    def from_half_light(
        cls,
        r_eff_pc: float,
        eta: float = 3.0,
        truncation_pc: float = math.inf,
        axis_ratio: float = 1.0,
        position_angle_deg: float = 0.0,
    ) -> "Moffat":
        """The profile whose circularised half-light radius, truncation included, is `r_eff_pc`.

        Raises `ValueError` under the conditions of `EFF.from_half_light`.
        """
        a = _core_of_half_light(r_eff_pc, eta, truncation_pc)
        return cls(a * _fwhm_in_cores(eta), eta, truncation_pc, axis_ratio, position_angle_deg)

    @property
    def core_radius_pc(self) -> float:
        """The length a, pc."""
        return self.fwhm_pc / _fwhm_in_cores(self.eta)

    @property
    def _law(self) -> "_PowerLaw":
        return _PowerLaw(self.core_radius_pc, self.eta, self.truncation_pc)


@dataclasses.dataclass(frozen=True)
class King(Profile):
    """The empirical profile of King (1962, eqs. 14 and 18), which ends at the tidal radius.

    μ(r) ∝ [(1 + r²/r_c²)^(−1/2) − (1 + r_t²/r_c²)^(−1/2)]².

    **Arguments:**

    - `core_radius_pc`: r_c, pc.
    - `concentration`: c = r_t/r_c (King's own c is its logarithm), at least 0.5.
    - `axis_ratio`, `position_angle_deg`: see `Profile`.

    Raises `ValueError` for parameters that describe no profile.

    ```python
    King.from_half_light(3.0, concentration=30.0).tidal_radius_pc
    ```
    """

    core_radius_pc: float
    concentration: float = 30.0
    axis_ratio: float = 1.0
    position_angle_deg: float = 0.0

    def __post_init__(self) -> None:
        _check_shape(self)
        _check_positive(core_radius_pc=self.core_radius_pc, concentration=self.concentration)
        # Below it the profile is a difference of nearly equal numbers.
        if self.concentration < 0.5:
            raise ValueError(
                f"concentration is {self.concentration:g}; expected r_t/r_c of at least 0.5"
                " (not its logarithm)"
            )

    @classmethod
    def from_half_light(
        cls,
        r_eff_pc: float,
        concentration: float = 30.0,
        axis_ratio: float = 1.0,
        position_angle_deg: float = 0.0,
    ) -> "King":
        """The profile whose circularised half-light radius is `r_eff_pc`."""
        _check_positive(r_eff_pc=r_eff_pc)
        unit = cls(1.0, concentration).half_light_radius
        return cls(r_eff_pc / unit, concentration, axis_ratio, position_angle_deg)

    @property
    def tidal_radius_pc(self) -> float:
        """r_t, pc."""
        return self.core_radius_pc * self.concentration

    def surface_density(self, r_pc: Radius) -> Float[np.ndarray, "*shape"]:
        x = (_radii(r_pc) / self.core_radius_pc) ** 2
        edge = 1 + self.concentration**2
        height = np.maximum((1 + x) ** -0.5 - edge**-0.5, 0.0)
        total = _king_light(edge - 1, edge)
        return np.asarray(height**2 / (np.pi * self.core_radius_pc**2 * total))

    def enclosed(self, r_pc: Radius) -> Float[np.ndarray, "*shape"]:
        edge = 1 + self.concentration**2
        x = np.minimum((_radii(r_pc) / self.core_radius_pc) ** 2, edge - 1)
        return np.asarray(_king_light(x, edge) / _king_light(edge - 1, edge))

    def radius_enclosing(self, fraction: Radius) -> Float[np.ndarray, "*shape"]:
        wanted = _fractions(fraction)
        s, light = _king_table(self.concentration)
        above = np.clip(np.searchsorted(light, wanted), 1, len(s) - 1)
        low, high = s[above - 1], s[above]
        position = np.clip(np.interp(wanted, light, s), low, high)
        edge = 1 + self.concentration**2
        total = _king_light(edge - 1, edge)
        for _ in range(3):
            # dL/ds of L(s) with s = ln(1 + x); Newton's step may not leave the table's interval.
            slope = (1 - np.exp(position / 2) * edge**-0.5) ** 2 / total
            miss = wanted - _king_light(np.expm1(position), edge) / total
            step = np.divide(miss, slope, out=np.zeros_like(miss), where=slope > 1e-9)
            position = np.clip(position + step, low, high)
        return np.asarray(self.core_radius_pc * np.sqrt(np.expm1(position)))


@dataclasses.dataclass(frozen=True)
class _PowerLaw:
    """(1 + r²/a²)^(−η) with all its light within a truncation radius."""

    a: float
    eta: float
    end: float

    def __post_init__(self) -> None:
        _check_positive(core_radius_pc=self.a, eta=self.eta)
        if not self.end > 0:
            raise ValueError(f"truncation_pc is {self.end:g}; expected a positive radius or inf")
        if self.eta <= 1 and self.end == math.inf:
            raise ValueError(
                f"eta = gamma/2 is {self.eta:g} and the profile has no truncation: its light is"
                " infinite. Give eta > 1, or a truncation_pc"
            )

    @property
    def total(self) -> float:
        return float(self._light(math.log1p((self.end / self.a) ** 2)))

    def _light(self, s):
        """∫ (1 + x)^(−η) dx from 0 to x = r²/a², with s = ln(1 + x)."""
        power = 1 - self.eta
        return np.expm1(power * s) / power if power else np.asarray(s)

    def density(self, r: np.ndarray) -> np.ndarray:
        shape = np.exp(-self.eta * np.log1p((r / self.a) ** 2))
        return np.where(r <= self.end, shape / (np.pi * self.a**2 * self.total), 0.0)

    def enclosed(self, r: np.ndarray) -> np.ndarray:
        s = np.log1p((np.minimum(r, self.end) / self.a) ** 2)
        return np.asarray(self._light(s) / self.total)

    def radius(self, fraction: np.ndarray) -> np.ndarray:
        power, light = 1 - self.eta, fraction * self.total
        with np.errstate(divide="ignore"):  # all the light of an endless profile: infinity
            s = np.log1p(power * light) / power if power else light
        return np.asarray(np.minimum(self.a * np.sqrt(np.expm1(s)), self.end))


def _king_light(x, edge: float):
    """King (1962) eq. 18: light within x = r²/r_c² over π k r_c², for edge = 1 + c²."""
    return np.log1p(x) - 4 * (np.sqrt(1 + x) - 1) / math.sqrt(edge) + x / edge


@functools.lru_cache(maxsize=64)
def _king_table(concentration: float) -> tuple[np.ndarray, np.ndarray]:
    """s = ln(1 + r²/r_c²) and the fraction of light within, both increasing."""
    edge = 1 + concentration**2
    s = np.linspace(0.0, math.log(edge), 2049)
    light = _king_light(np.expm1(s), edge) / _king_light(edge - 1, edge)
    return s, np.maximum.accumulate(light)


def _fwhm_in_cores(eta: float) -> float:
    return 2 * math.sqrt(math.expm1(math.log(2) / eta))


def _core_of_half_light(r_eff: float, eta: float, end: float) -> float:
    """The core radius that gives a half-light radius."""
    from scipy.optimize import brentq

    _check_positive(r_eff_pc=r_eff, eta=eta)
    _check_truncation(end)
    if end == math.inf:
        unit = _PowerLaw(1.0, eta, end)
        return r_eff / float(unit.radius(np.asarray(0.5)))
    # Between the bare power law, r^(2−2η) of the light within r, and the uniform disc.
    lowest = end * 2 ** (-0.5 / (1 - eta)) if eta < 1 else 0.0
    highest = end / math.sqrt(2)
    if not lowest < r_eff < highest:
        raise ValueError(
            f"r_eff_pc is {r_eff:g} with truncation_pc {end:g} and eta = gamma/2 = {eta:g}; such"
            f" profiles have half-light radii between {lowest:g} and {highest:g} pc"
        )

    def miss(log_core: float) -> float:
        law = _PowerLaw(math.exp(log_core), eta, end)
        return float(law.radius(np.asarray(0.5))) - r_eff

    bounds = [math.log(end) - 30.0, math.log(end) + 10.0]
    if miss(bounds[0]) * miss(bounds[1]) > 0:
        raise ValueError(
            f"r_eff_pc is {r_eff:g}: no core radius between {math.exp(bounds[0]):g} and"
            f" {math.exp(bounds[1]):g} pc gives it with truncation_pc {end:g} and eta {eta:g}"
        )
    return math.exp(brentq(miss, *bounds, xtol=1e-14))  # pyright: ignore[reportArgumentType]


def _direction(angle_deg: float) -> tuple[float, float]:
    return math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))


def _check_shape(profile: Profile) -> None:
    if not 0 < profile.axis_ratio <= 1:
        raise ValueError(f"axis_ratio is {profile.axis_ratio:g}; expected B/A in (0, 1]")
    if not math.isfinite(profile.position_angle_deg):
        raise ValueError(f"position_angle_deg is {profile.position_angle_deg:g}; expected degrees")


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} is {value:g}; expected a positive number")


def _check_truncation(truncation_pc: float) -> None:
    if not (isinstance(truncation_pc, int | float | np.number) and truncation_pc > 0):
        raise ValueError(
            f"truncation_pc is {truncation_pc}; expected parsecs > 0, or math.inf for no truncation"
        )


def _radii(r_pc: Radius) -> np.ndarray:
    r = np.asarray(r_pc, float)
    if not (r >= 0).all():
        raise ValueError(f"r_pc has the value {r[~(r >= 0)][0]:g}; expected radii of at least 0")
    return r


def _fractions(fraction: Radius) -> np.ndarray:
    values = np.asarray(fraction, float)
    wrong = ~((values >= 0) & (values <= 1))
    if wrong.any():
        raise ValueError(f"fraction has the value {values[wrong][0]:g}; expected 0 to 1")
    return values
