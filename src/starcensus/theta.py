"""Boxes in θ = (log_mass, log_age, a_v): the domain of an operator, the bounds of a population."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

AXES = ("log_mass", "log_age", "a_v")
AXIS_UNITS = {"log_mass": "log10 M_sun", "log_age": "log10 yr", "a_v": "mag"}
# Beyond these, a value is in other units: masses in M_sun, ages in years.
SENSIBLE = {"log_mass": (-3.0, 12.0), "log_age": (2.0, 12.0), "a_v": (-10.0, 100.0)}


@dataclasses.dataclass(frozen=True)
class Box:
    """A rectangle in θ, closed on every side.

    **Arguments:**

    - `log_mass`: lower and upper limit, log10 of solar masses.
    - `log_age`: lower and upper limit, log10 of years.
    - `a_v`: lower and upper limit, mag.

    Raises `ValueError` when a limit is not finite, a lower limit is not below its upper one, or a
    limit is in other units, as masses in M_sun.

    ```python
    box = Box(log_mass=(3.0, 6.0), log_age=(6.0, 9.5), a_v=(0.0, 2.0))
    box.contains(4.0, [7.0, 9.9], 0.5)  # True, False
    ```
    """

    log_mass: tuple[float, float]
    log_age: tuple[float, float]
    a_v: tuple[float, float]

    def __post_init__(self) -> None:
        for axis in AXES:
            low, high = (float(limit) for limit in getattr(self, axis))
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(
                    f"limits of {axis} are ({low:g}, {high:g}); expected two finite numbers "
                    f"({AXIS_UNITS[axis]}), the lower one first"
                )
            check_units(axis, low, high)
            object.__setattr__(self, axis, (low, high))

    def contains(self, log_mass: Any, log_age: Any, a_v: Any) -> Any:
        """Whether each θ lies inside, an array of JAX.

        **Arguments:**

        - `log_mass` (log10 M_sun), `log_age` (log10 yr), `a_v` (mag): numbers or arrays, which
          broadcast; NaN lies outside.
        """
        import jax.numpy as jnp  # slow to import, and simulations do without

        inside = jnp.asarray(True)
        for axis, value in zip(AXES, (log_mass, log_age, a_v), strict=True):
            low, high = getattr(self, axis)
            inside = inside & (jnp.asarray(value) >= low) & (jnp.asarray(value) <= high)
        return inside

    def holds(self, theta: np.ndarray) -> np.ndarray:
        """Which rows of `(n, 3)` θ lie inside, in the precision that they have.

        ```python
        box.holds(np.array([[4.0, 7.0, 0.3], [4.0, 12.0, 0.3]]))  # [True, False]
        ```
        """
        low, high = np.asarray([getattr(self, axis) for axis in AXES]).T
        return ((theta >= low) & (theta <= high)).all(axis=1)

    def exceeds(self, other: "Box") -> list[str]:
        """One sentence for each axis on which this box goes beyond `other`; none where it lies
        inside.

        ```python
        Box((2.0, 6.0), (6.0, 9.0), (0.0, 2.0)).exceeds(box)  # ["log_mass 2 to 6 goes beyond …"]
        ```
        """
        complaints = []
        for axis in AXES:
            (low, high), (outer_low, outer_high) = getattr(self, axis), getattr(other, axis)
            if low < outer_low - 1e-9 or high > outer_high + 1e-9:
                complaints.append(
                    f"{axis} {low:g} to {high:g} goes beyond {outer_low:g} to {outer_high:g} "
                    f"{AXIS_UNITS[axis]}"
                )
        return complaints

    def as_dict(self) -> dict[str, list[float]]:
        """The limits as `{axis: [low, high]}`, JSON-ready; `from_dict` reads it."""
        return {axis: list(getattr(self, axis)) for axis in AXES}

    @classmethod
    def from_dict(cls, limits: Mapping[str, object]) -> "Box":
        """The box of `{axis: [low, high]}`, as files say it.

        Raises `ValueError` naming the axis that is missing or is no pair of numbers.
        """
        pairs: dict[str, tuple[float, float]] = {}
        for axis in AXES:
            pair = limits.get(axis)
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise ValueError(
                    f"bounds.{axis} is {pair!r}; expected [low, high] in {AXIS_UNITS[axis]}"
                )
            pairs[axis] = (float(pair[0]), float(pair[1]))
        return cls(**pairs)


def check_units(axis: str, low: float, high: float) -> None:
    """Raises `ValueError` for limits of an axis that must be in other units than its own.

    ```python
    check_units("log_mass", 3.0, 6.0)  # 1000 to 1e6 would be refused
    ```
    """
    least, most = SENSIBLE[axis]
    if least <= low and high <= most:
        return
    advice = ""
    if axis != "a_v" and low > 0:
        unit = AXIS_UNITS[axis].removeprefix("log10 ")
        logs = f"{math.log10(low):.4g} to {math.log10(high):.4g}"
        advice = f"; if these are {unit}, write {logs}"
    raise ValueError(
        f"limits of {axis} are ({low:g}, {high:g}); expected {AXIS_UNITS[axis]}, between {least:g} "
        f"and {most:g}{advice}"
    )
