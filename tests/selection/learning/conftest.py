"""A table of injections whose completeness is known, without images."""

import numpy as np
import pytest
from scipy.special import expit

from starcensus.selection.injection import InjectionTable

BANDS = ("ACS_F435W", "ACS_F555W")


def p_of(log_mass, log_age, a_v, r_eff_pc):
    """Brighter, younger, less dusty and larger clusters are catalogued."""
    return expit(3 * (log_mass - 4) - 1.5 * (log_age - 8) - a_v + 4 * np.log10(r_eff_pc / 3))


def made_table(n: int, seed: int = 0, repeats: int = 1) -> tuple[InjectionTable, np.ndarray]:
    """The table and p of each row; clusters follow one another in each repeat."""
    rng = np.random.default_rng(seed)
    mass, age = rng.uniform(2, 7, n), rng.uniform(6, 10, n)
    a_v, r_eff = rng.uniform(0, 3, n), rng.integers(1, 11, n).astype(float)
    p = np.tile(p_of(mass, age, a_v, r_eff), repeats)
    v = 30 - 2.5 * (mass - 4) + 1.9 * (age - 8) + a_v
    mags = np.stack([v + 0.3 * a_v, v], axis=1)

    def tiled(values):
        return np.tile(values, (repeats,) + (1,) * (values.ndim - 1))

    m = n * repeats
    table = InjectionTable(
        bands=BANDS,
        frame=np.zeros(m, int),
        cluster=tiled(np.arange(n)),
        repeat=np.repeat(np.arange(repeats), n),
        log_mass=tiled(mass),
        log_age=tiled(age),
        a_v=tiled(a_v),
        r_eff_pc=tiled(r_eff),
        true_mags=tiled(mags),
        x=np.zeros(m),
        y=np.zeros(m),
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


@pytest.fixture(name="made_table", scope="session")
def _made_table():
    return made_table


@pytest.fixture(name="p_of", scope="session")
def _p_of():
    return p_of
