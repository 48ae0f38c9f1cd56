"""Lines of ionised gas that models of H II regions give beside those of hydrogen and helium.

Their strengths depend on the metals, on the ionisation parameter, and on how hard the stars'
photons are, hence on age. Byler et al. (2017, ApJ 840, 44) tabulate Cloudy models around PARSEC
populations: here one of them gives the ratios to Hβ for gas of all ages, whose Hβ follows the
ionising photons.
"""

import dataclasses
import math
import os

import numpy as np
from jaxtyping import Float

from starcensus.files import FileError, read_text

from .nebular import LYMAN_ALPHA, LYMAN_LIMIT, NebularSettings, nebular_spectrum

CITATION = "Byler et al. 2017, ApJ 840, 44"
# Metals of the Sun in PARSEC's mixture (Bressan et al. 2012), mass fraction.
SOLAR_Z = 0.0152
# Å between a line of a table and one of hydrogen or helium here that are one.
_SAME = 1.5
_H_BETA = LYMAN_LIMIT / (1 / 4 - 1 / 16)


@dataclasses.dataclass(frozen=True, eq=False)
class CloudyLines:
    """Luminosities of lines on a lattice of H II regions.

    **Arguments:**

    - `source`: where they are from.
    - `wavelength`: `(line,)`, Å, in vacuum.
    - `log_z`, `age_yr`, `log_u`: increasing; log10 of the metals over the Sun's, years, and log10
      of the ionisation parameter.
    - `luminosity`: `(log_z, age, log_u, line)`, for one ionising photon per second, in any unit.

    Raises `ValueError` where there is no Hβ.
    """

    source: str
    wavelength: Float[np.ndarray, " line"]
    log_z: Float[np.ndarray, " z"]
    age_yr: Float[np.ndarray, " age"]
    log_u: Float[np.ndarray, " u"]
    luminosity: Float[np.ndarray, "z age u line"]

    def __post_init__(self) -> None:
        if np.abs(self.wavelength - _H_BETA).min() > _SAME:
            raise ValueError(f"{self.source}: has no line at {_H_BETA:.2f} Å in vacuum, Hβ")

    def over_h_beta(
        self, log_z: float, log_u: float, age_yr: float
    ) -> tuple[tuple[float, float], ...]:
        """Lines that hydrogen and helium do not have here, as `NebularSettings.metal_lines`.

        **Arguments:**

        - `log_z`, `log_u`: as of the lattice, between whose values ratios are linear.
        - `age_yr`: of the stars; ratios are linear in its logarithm.

        Raises `ValueError` for a place outside the lattice.

        ```python
        read_cloudy_lines("ZAU_ND_prsc.lines").over_h_beta(0.0, -2.5, 2e6)
        ```
        """
        h_beta = int(np.abs(self.wavelength - _H_BETA).argmin())
        ratio = self.luminosity / self.luminosity[..., h_beta : h_beta + 1]
        for name, nodes, value in (
            ("log_z", self.log_z, log_z),
            ("age_yr", np.log10(self.age_yr), math.log10(age_yr)),
            ("log_u", self.log_u, log_u),
        ):
            if not nodes[0] <= value <= nodes[-1]:
                given, ends = (value, nodes[[0, -1]])
                if name == "age_yr":
                    given, ends = age_yr, 10**ends
                raise ValueError(
                    f"{self.source}: {name} is {given:g}; the lines are for {ends[0]:g} to "
                    f"{ends[1]:g}"
                )
            # The axes go one by one: the next is first.
            above = int(np.clip(np.searchsorted(nodes, value), 1, len(nodes) - 1))
            share = (value - nodes[above - 1]) / (nodes[above] - nodes[above - 1])
            ratio = (1 - share) * ratio[above - 1] + share * ratio[above]
        ours = nebular_spectrum(np.array([4000.0, 7000.0]), NebularSettings()).line_wavelength
        apart = np.abs(self.wavelength[:, None] - ours).min(axis=1) > _SAME
        other = apart & (self.wavelength > LYMAN_ALPHA + _SAME) & (ratio > 0)
        return tuple(
            (float(at), float(value))
            for at, value in zip(self.wavelength[other], ratio[other], strict=True)
        )


def read_cloudy_lines(path: str | os.PathLike[str]) -> CloudyLines:
    """Read lines of Cloudy models in the format of FSPS (`ZAU_*.lines`).

    A heading with the numbers of lines, models and nodes; the wavelengths in one line; then for
    each model a line with log Z/Z_sun, age in years and log U, and one with the luminosities.

    Raises `FileError`, with the line, for files that are not so.

    ```python
    read_cloudy_lines("ZAU_ND_prsc.lines").wavelength
    ```
    """
    rows = [row for row in read_text(path, "table of lines").splitlines() if row.strip()]
    if len(rows) < 4 or not rows[0].startswith("#") or len(rows) % 2:
        raise FileError(
            f"{path}: has {len(rows)} lines; expected a heading with #, wavelengths, and two lines "
            "for each model"
        )
    wavelength = _numbers(path, 2, rows[1])
    keys, values = [], []
    for number in range(2, len(rows), 2):
        keys.append(tuple(_numbers(path, number + 1, rows[number], 3)))
        values.append(_numbers(path, number + 2, rows[number + 1], len(wavelength)))
    nodes = [np.unique([key[k] for key in keys]) for k in range(3)]
    n_models = math.prod(map(len, nodes))
    if len(set(keys)) != len(keys) or len(keys) != n_models:
        raise FileError(
            f"{path}: has {len(keys)} models at {len(set(keys))} places; expected one at each of "
            f"{n_models} combinations of log Z, age and log U"
        )
    order = sorted(range(len(keys)), key=lambda k: keys[k])
    shape = (*map(len, nodes), len(wavelength))
    luminosity = np.array([values[k] for k in order]).reshape(shape)
    try:
        return CloudyLines(str(path), wavelength, nodes[0], nodes[1], nodes[2], luminosity)
    except ValueError as error:
        raise FileError(str(error)) from error


def _numbers(
    path: str | os.PathLike[str], line: int, text: str, n: int | None = None
) -> Float[np.ndarray, " n"]:
    try:
        found = np.array(text.split(), float)
    except ValueError as error:
        raise FileError(f"{path}: line {line}: {error}; expected numbers") from error
    if n is not None and len(found) != n:
        raise FileError(f"{path}: line {line} has {len(found)} numbers; expected {n}")
    if not np.isfinite(found).all():
        raise FileError(f"{path}: line {line} has numbers that are not finite")
    return found
