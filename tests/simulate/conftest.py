"""A small stellar grid whose light follows analytic laws, so that truth is independent."""

import types

import numpy as np
import pytest

from starcensus.simulate.stars.grid import StellarGrid

BANDS = ("blue", "green", "red")
A_V = 2.5 * (1 - np.cos(np.pi * np.arange(6) / 5))
# A(band)/A(V), and how fast each band's extinction saturates as the star's colour shifts.
K = np.array([1.6, 1.0, 0.6])


def turnoff(log_age: np.ndarray | float) -> np.ndarray:
    """Initial mass of the star that dies at the age, M_sun."""
    return 10 ** (0.4 * (9.8 - np.asarray(log_age)))


def star_flux(mass: np.ndarray, log_age: float, a_v: float) -> np.ndarray:
    """Flux `(star, 3)` of stars: a power law of mass, and giants of the last 4% in mass."""
    top = turnoff(log_age)
    giant = np.clip((mass / top - 0.96) / 0.04, 0, 1)
    slopes = np.array([4.2, 3.6, 3.0])
    log_flux = np.log(1e-2) + slopes * np.log(mass)[:, None]
    log_flux = log_flux + giant[:, None] ** 2 * np.array([1.0, 3.0, 5.0])
    redder = 1 + 0.03 * np.log(mass)[:, None]
    log_flux = log_flux - 0.4 * np.log(10) * a_v * K * redder * (1 - 0.004 * a_v)
    return np.exp(log_flux) * ((mass <= top) & (mass >= 0.1))[:, None]


def analytic_grid(log_age: np.ndarray, step: float = 0.002) -> StellarGrid:
    """The laws above on isochrones with points every `step` in ln(mass)."""
    parts = []
    for age in log_age:
        top = float(turnoff(age))
        n = int(np.ceil(np.log(0.9 * top / 0.1) / 0.05))
        giants = int(np.ceil(np.log(1 / 0.9) / step))
        parts.append(
            np.concatenate(
                [
                    np.geomspace(0.1, 0.9 * top, n, endpoint=False),
                    np.geomspace(0.9 * top, top, giants),
                ]
            )
        )
        parts[-1][-1] = top
    mass = np.concatenate(parts)
    ages = np.repeat(log_age, [len(part) for part in parts])
    flux = np.stack(
        [
            np.concatenate(
                [
                    star_flux(part, float(age), float(a))
                    for part, age in zip(parts, log_age, strict=True)
                ]
            )
            for a in A_V
        ],
        axis=2,
    )
    return StellarGrid(
        bands=BANDS,
        log_age=log_age,
        start=np.concatenate([[0], np.cumsum([len(part) for part in parts])]),
        initial_mass=mass,
        current_mass=mass * (1 - 0.1 * np.clip((mass / turnoff(ages) - 0.96) / 0.04, 0, 1)),
        log_lum=3.5 * np.log10(mass),
        log_teff=np.full_like(mass, 3.8),
        log_g=np.full_like(mass, 4.0),
        q_h=np.where(mass > 15, 1e48 * (mass / 15 - 1), 0.0),
        a_v=A_V,
        flux=flux.astype(np.float32),
        nebular_a_v=2.1 * A_V,
        nebular_flux=1e-49 * np.exp(-0.4 * np.log(10) * 2.1 * A_V * K[:, None]),
        provenance={"source": "analytic"},
    )


@pytest.fixture(scope="session")
def grid() -> StellarGrid:
    return analytic_grid(np.array([6.0, 6.5, 7.0, 7.05, 8.0, 9.0, 9.05, 10.0]))


@pytest.fixture(scope="session")
def laws() -> types.SimpleNamespace:
    """The laws themselves, and grids of other ages."""
    return types.SimpleNamespace(
        a_v=A_V, turnoff=turnoff, star_flux=star_flux, analytic_grid=analytic_grid
    )
