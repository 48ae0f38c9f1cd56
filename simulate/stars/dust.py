"""Dust: extinction curves A(λ)/A(V), and the flux of a source behind any amount of dust.

A curve is used from the ionising continuum to the far infrared, farther than any was measured, so
each says where it was published and follows one rule outside: towards short wavelengths it keeps
its value at the edge, towards long ones it falls as λ^-1.61, the infrared law of Cardelli, Clayton
& Mathis (1989).

A flux through a filter is not a pure exponential in A_V, because the effective wavelength moves
redwards as dust grows. Its logarithm is so smooth that a polynomial through five or six knots
gives it to millimagnitudes: a table keeps ln(flux) at the `chebyshev_knots` and `attenuate`
evaluates the polynomial, on NumPy and JAX arrays alike.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

CURVES = ("F99", "CCM89", "Calzetti00")
INFRARED_SLOPE = 1.61
# R_V of the starburst curve (Calzetti et al. 2000, below their equation 4).
CALZETTI_R_V = 4.05

Wavelengths = Float[np.ndarray, "*wave"]


@dataclasses.dataclass(frozen=True, eq=False)
class ExtinctionCurve:
    """A(λ)/A(V) at any wavelength; call it with wavelengths in Å (in vacuum).

    **Arguments:**

    - `name`, `reference`: what it is and the paper to cite.
    - `shortest`, `longest`: Å, the range in which `published` holds.
    - `published`: A(λ)/A(V) for an array of wavelengths in Å inside that range.
    - `r_v`: A(V)/E(B-V), or None where the curve has none.

    Calling it raises `ValueError` for wavelengths that are not positive and finite.

    ```python
    extinction_curve("F99")(np.array([2710.0, 5500.0]))
    ```
    """

    name: str
    reference: str
    shortest: float
    longest: float
    published: Callable[[Wavelengths], Wavelengths]
    r_v: float | None = None

    def __call__(self, wavelength: Wavelengths) -> Wavelengths:
        if not np.all(np.isfinite(wavelength) & (wavelength > 0)):
            raise ValueError("wavelengths must be positive and finite, in Å")
        inside = np.clip(wavelength, self.shortest, self.longest)
        beyond = np.maximum(wavelength / self.longest, 1.0)
        return self.published(inside) * beyond**-INFRARED_SLOPE

    def describe(self) -> dict[str, Any]:
        """What provenance records of the curve; JSON."""
        return {
            "name": self.name,
            "reference": self.reference,
            "r_v": self.r_v,
            "published_range_angstrom": [self.shortest, self.longest],
            "outside": f"edge value below, lambda^-{INFRARED_SLOPE} above",
        }


def extinction_curve(name: str = "F99", *, r_v: float | None = None) -> ExtinctionCurve:
    """A published curve by name.

    **Arguments:**

    - `name`: `"F99"` (Fitzpatrick 1999, PASP 111, 63) and `"CCM89"` (Cardelli, Clayton & Mathis
      1989, ApJ 345, 245), both of the Milky Way and published from 1000 Å to 3.33 µm;
      `"Calzetti00"` (Calzetti et al. 2000, ApJ 533, 682), of starburst galaxies, 1200 Å to
      2.2 µm, continued from 1200 to 970 Å with the shape of Leitherer et al. (2002, ApJS 140,
      303).
    - `r_v`: A(V)/E(B-V), between 2 and 6; 3.1 where it is None. The starburst curve has its own,
      4.05, and takes no other.

    Raises `ValueError` for other names or values.

    ```python
    extinction_curve("CCM89", r_v=4.0)(np.array([4330.0]))
    ```
    """
    if name not in CURVES:
        raise ValueError(
            f"no extinction curve {name!r}; there are {', '.join(CURVES)}, and tabulated_curve "
            "takes any other as a table"
        )
    if name == "Calzetti00":
        if r_v is not None and r_v != CALZETTI_R_V:
            raise ValueError(f"the starburst curve has R_V = {CALZETTI_R_V}, not {r_v}")
        return ExtinctionCurve(
            name,
            "Calzetti et al. 2000, ApJ 533, 682; Leitherer et al. 2002, ApJS 140, 303",
            970.0,
            22000.0,
            _calzetti,
            CALZETTI_R_V,
        )
    # Loading astropy's models takes a second or two, so only where a curve is asked for.
    from dust_extinction import parameter_averages as models

    r_v = 3.1 if r_v is None else float(r_v)
    kind = {"F99": models.F99, "CCM89": models.CCM89}[name]
    low, high = kind.Rv_range
    if not low <= r_v <= high:
        raise ValueError(f"{name} is defined for R_V between {low} and {high}, not {r_v}")
    model = kind(Rv=r_v)
    # 1/µm; rounding must not carry the edge out of the range that the model accepts.
    least, most = (float(x) for x in kind.x_range)

    def published(wavelength: Wavelengths) -> Wavelengths:
        x = np.clip(1e4 / np.ravel(wavelength), least, most)
        return np.asarray(model.evaluate(x, r_v), float).reshape(np.shape(wavelength))

    reference = {
        "F99": "Fitzpatrick 1999, PASP 111, 63",
        "CCM89": "Cardelli, Clayton & Mathis 1989, ApJ 345, 245",
    }[name]
    return ExtinctionCurve(name, reference, 1e4 / most, 1e4 / least, published, r_v)


def tabulated_curve(
    wavelength: Float[np.ndarray, "table"],
    ratio: Float[np.ndarray, "table"],
    *,
    name: str,
    reference: str = "",
    unity_at: float | None = None,
) -> ExtinctionCurve:
    """A curve from a table, linear in wavelength between its rows.

    **Arguments:**

    - `wavelength`: `(table,)`, Å, increasing.
    - `ratio`: `(table,)`, A(λ)/A(V), or anything proportional to it (an opacity) with `unity_at`.
    - `unity_at`: Å; the curve is scaled to 1 there. None takes the table as A(λ)/A(V).

    Raises `ValueError` for wavelengths that do not increase or ratios that are not positive.

    ```python
    wavelength, opacity = np.array([2000.0, 5500.0, 9000.0]), np.array([9.0, 4.0, 2.0])
    tabulated_curve(wavelength, opacity, name="mine", unity_at=5500.0)(np.array([4000.0]))
    ```
    """
    if len(wavelength) < 2 or not np.all(np.diff(wavelength) > 0) or wavelength[0] <= 0:
        raise ValueError(
            f"curve {name!r}: wavelengths (Å) must be positive and increase, two rows at least; "
            "sort the table and drop repeated rows"
        )
    if not np.all(np.isfinite(ratio) & (ratio > 0)):
        raise ValueError(f"curve {name!r}: A/A_V must be positive and finite in every row")
    if unity_at is not None:
        if not wavelength[0] <= unity_at <= wavelength[-1]:
            raise ValueError(
                f"curve {name!r}: unity_at = {unity_at:g} Å lies outside the table, "
                f"{wavelength[0]:g} to {wavelength[-1]:g} Å"
            )
        ratio = ratio / np.interp(unity_at, wavelength, ratio)
    table = (np.array(wavelength, float), np.array(ratio, float))
    return ExtinctionCurve(
        name,
        reference,
        float(wavelength[0]),
        float(wavelength[-1]),
        lambda wanted: np.interp(wanted, *table),
    )


def _calzetti(wavelength: Wavelengths) -> Wavelengths:
    """k(λ)/R_V of Calzetti et al. (2000), equation 4, and Leitherer et al. (2002), equation 14."""

    def ultraviolet(micron: Wavelengths) -> Wavelengths:
        return 2.659 * np.polyval((0.011, -0.198, 1.509, -2.156), 1 / micron) + CALZETTI_R_V

    def far_ultraviolet(micron: Wavelengths) -> Wavelengths:
        return np.polyval((2.620e-3, -9.218e-3, 0.671, 5.472), 1 / micron)

    micron = wavelength / 1e4
    edge = np.array([0.12])
    # The two fits differ by 1.5% where they meet; the extension is scaled to the curve.
    join = ultraviolet(edge) / far_ultraviolet(edge)
    k = np.where(
        micron < 0.12,
        join * far_ultraviolet(micron),
        np.where(
            micron < 0.63,
            ultraviolet(micron),
            2.659 * (-1.857 + 1.040 / micron) + CALZETTI_R_V,
        ),
    )
    return k / CALZETTI_R_V


def chebyshev_knots(n: int, high: float) -> Float[np.ndarray, "knot"]:
    """`n` Chebyshev-Lobatto knots from 0 to `high`: high (1 - cos(π k / (n - 1))) / 2.

    Raises `ValueError` for fewer than two knots or an end that is not positive.
    """
    if n < 2 or not high > 0:
        raise ValueError(f"needs two knots or more and a positive end, not n = {n}, high = {high}")
    knots = high * (1 - np.cos(np.pi * np.arange(n) / (n - 1))) / 2
    knots[-1] = high
    return knots


# Knots of V-band extinction, mag, of a table of stars: exact to 0.002 mag in bands from F275W on.
AV_KNOTS = chebyshev_knots(7, 5.0)
# The same for nebular light, which may be dimmed 2.1 times more and is of no one colour.
NEBULAR_AV_KNOTS = chebyshev_knots(10, 10.5)


def knot_weights(knots: Float[np.ndarray, "knot"], a_v: Any) -> Any:
    """Weights `(..., knot)` with which values at the knots add up to the polynomial at `a_v`.

    The polynomial of degree `knot - 1` through all knots, by its Chebyshev series, so weights and
    their derivatives are finite everywhere, at the knots too.

    **Arguments:**

    - `knots`: `(knot,)`, increasing, of `chebyshev_knots` (others work, less accurately).
    - `a_v`: `(...)`, NumPy or JAX array of floats, same unit.

    Raises `ValueError` where a NumPy `a_v` is outside the knots: a polynomial says nothing there.
    JAX arrays are not checked.
    """
    low, high = float(knots[0]), float(knots[-1])
    if isinstance(a_v, np.ndarray | np.generic | float | int):
        a_v = np.asarray(a_v, float) if not isinstance(a_v, np.ndarray) else a_v
        outside = ~((a_v >= low) & (a_v <= high))
        if outside.any():
            raise ValueError(
                f"{int(outside.sum())} values of a_v are outside {low:g} to {high:g} mag, the "
                f"range of the table, e.g. {a_v[outside].flat[0]:g}; draw extinctions inside it, "
                "or build a table that reaches farther"
            )
    xp = a_v.__array_namespace__()
    n = len(knots)
    x = (2.0 * a_v - (low + high)) / (high - low)
    terms = [xp.ones_like(x), x]
    for _ in range(n - 2):
        terms.append(2.0 * x * terms[-1] - terms[-2])
    at_knots = np.polynomial.chebyshev.chebvander((2 * knots - low - high) / (high - low), n - 1)
    basis = xp.stack(terms[:n], axis=-1)
    return basis @ xp.asarray(np.linalg.inv(at_knots), dtype=basis.dtype)


def attenuate(log_flux: Any, knots: Float[np.ndarray, "knot"], a_v: Any) -> Any:
    """ln(flux) behind `a_v` magnitudes of extinction, from ln(flux) at the knots.

    **Arguments:**

    - `log_flux`: `(..., knot)`, natural logarithms of flux.
    - `knots`: `(knot,)`, mag.
    - `a_v`: `(...)`, mag, of the same rank and float type where they are JAX arrays.

    Returns `(...)`. Raises what `knot_weights` raises.

    ```python
    knots = np.array([0.0, 0.5, 1.0, 2.0])
    attenuate(np.array([-0.9, -1.8])[:, None] * knots, knots, np.array([0.3, 1.2]))
    ```
    """
    return (log_flux * knot_weights(knots, a_v)).sum(-1)
