"""An emulator of two components in two bands with known numbers, and one learned in a second."""

import numpy as np
import pytest

from starcensus.forward.light import EmulatorSettings, LightEmulator, MeanLight, learn_emulator
from starcensus.forward.light.inputs import Inputs
from starcensus.simulate import (
    CellTheta,
    ClusterLibrary,
    Design,
    DrawSettings,
    StarcensusEngine,
    run_library,
)
from starcensus.theta import Box

BANDS = ("ACS_F435W", "ACS_F555W", "ACS_F814W")
BOX = Box((3.0, 5.0), (6.5, 8.5), (0.0, 1.0))


def of_numbers(seed: int = 3, n_components: int = 3) -> LightEmulator:
    """A density of three bands with parameters by chance."""
    rng = np.random.default_rng(seed)
    given = Inputs(BOX, 4, 7.0)
    per = 1 + 3 + 6
    weights = rng.normal(size=(6, given.n_in)), 0.4 * rng.normal(size=(n_components * per, 6))
    biases = rng.normal(size=6), 0.5 * rng.normal(size=n_components * per)
    ages, dust = np.linspace(6.5, 8.5, 9), np.linspace(0.0, 1.0, 3)
    mags = rng.normal(size=(3, 1, 1)) + 2.0 * (ages - 6.5)[None, :, None] + dust[None, None]
    mean = MeanLight(ages, dust, mags + 1.0)
    engine = StarcensusEngine(BANDS).describe()
    return LightEmulator(BANDS, given, weights, biases, mean, {"engine": engine})


@pytest.fixture(scope="session")
def engine() -> StarcensusEngine:
    return StarcensusEngine(BANDS, settings=DrawSettings(nebular=False))


@pytest.fixture(scope="session")
def library(engine, tmp_path_factory) -> ClusterLibrary:
    path = tmp_path_factory.mktemp("light") / "library.h5"
    edges = np.array([3.0, 5.0]), np.array([6.5, 8.5]), np.array([0.0, 1.0])
    run_library(Design(6000, 1, CellTheta(edges, np.ones((1, 1, 1)), 2)), engine, path)
    return ClusterLibrary.load(path)


@pytest.fixture(scope="session")
def learned(library, engine) -> LightEmulator:
    settings = EmulatorSettings(6, (32, 32), 8, (0.05, 0.2), 12, 256, 5e-3, seed=2)
    return learn_emulator(library, engine, BOX, settings)
