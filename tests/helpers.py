"""What tests of several folders share."""

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.special import expit

if TYPE_CHECKING:
    from starcensus.selection.injection import InjectionTable


# A small table of one's own, and its column map.
COLUMNS = {
    "id": ["a", "b", "c"],
    "mass": [1e4, 2e4, 5e4],
    "e_mass": [1e3, 2e3, 5e3],
    "age": [1e7, 3e7, 1e8],
    "e_age": [1e6, 3e6, 1e7],
    "av": [0.1, 0.5, 1.0],
    "e_av": [0.1, 0.1, 0.1],
}
COLUMN_MAP = """
id = "id"
[mass]
column = "mass"
unit = "Msun"
sigma = "e_mass"
[age]
column = "age"
unit = "yr"
sigma = "e_age"
[a_v]
column = "av"
unit = "mag"
sigma = "e_av"
"""


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | str | None:
    """Exit code of `starcensus ARGUMENTS` in this process."""
    from starcensus.experiments.cli import main

    monkeypatch.setattr(sys, "argv", ["starcensus", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main.main()
    return stopped.value.code


def completeness(
    log_mass: np.ndarray, log_age: np.ndarray, a_v: np.ndarray, r_eff_pc: np.ndarray
) -> np.ndarray:
    """Of made injection tables: brighter, younger, less dusty, larger clusters are catalogued."""
    return expit(3 * (log_mass - 4) - 1.5 * (log_age - 8) - a_v + 4 * np.log10(r_eff_pc / 3))


def made_table(n: int, seed: int = 0, repeats: int = 1) -> "tuple[InjectionTable, np.ndarray]":
    """A table of injections without images, and p of each row.

    Clusters follow one another in each repeat; bands are ACS_F435W and ACS_F555W.
    """
    from starcensus.selection.injection import InjectionTable  # not before it is instrumented

    rng = np.random.default_rng(seed)
    mass, age = rng.uniform(2, 7, n), rng.uniform(6, 10, n)
    a_v, r_eff = rng.uniform(0, 3, n), rng.integers(1, 11, n).astype(float)
    p = np.tile(completeness(mass, age, a_v, r_eff), repeats)
    v = 30 - 2.5 * (mass - 4) + 1.9 * (age - 8) + a_v
    mags = np.stack([v + 0.3 * a_v, v], axis=1)

    def tiled(values):
        return np.tile(values, (repeats,) + (1,) * (values.ndim - 1))

    m = n * repeats
    x, y = np.random.default_rng([seed, 1]).uniform(0, 1000, (2, m))
    table = InjectionTable(
        bands=("ACS_F435W", "ACS_F555W"),
        frame=np.zeros(m, int),
        cluster=tiled(np.arange(n)),
        repeat=np.repeat(np.arange(repeats), n),
        log_mass=tiled(mass),
        log_age=tiled(age),
        a_v=tiled(a_v),
        r_eff_pc=tiled(r_eff),
        true_mags=tiled(mags),
        x=x,
        y=y,
        background=10 ** rng.normal(-1, 0.2, m),
        crowding=np.zeros(m),
        log_density=np.zeros(m),
        detected=np.ones(m, bool),
        already_there=np.zeros(m, bool),
        catalogued=rng.random(m) < p,
        measured_mags=np.full((m, 2), np.nan),
        measured_errors=np.full((m, 2), np.nan),
        ci=np.full(m, np.nan),
        cuts={"bright": np.ones(m, bool)},
        meta={"distance_modulus": 29.98},
    )
    return table, p
