"""A hostile session: strict dtypes and ranks, two CPU devices, no global state changed."""

import os
import pathlib

# Commands that are run in this session keep no compiled programs.
os.environ["STARCENSUS_CACHE"] = "off"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
)

import jax
import numpy as np
import pytest
from scipy.special import expit

if "JAX_PLATFORMS" not in os.environ:
    jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

SHARED = pathlib.Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The reference data folder beside the checkout; tests that use it carry `shared`."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the reference data folder ../shared is not there")
    return SHARED / "data"


@pytest.fixture(autouse=True)
def _no_global_state():
    """Fail any test that changes the process: working directory, NumPy's seed, JAX's settings."""
    before = (os.getcwd(), jax.config.jax_enable_x64, np.random.get_state()[1].tobytes())  # noqa: NPY002
    yield
    after = (os.getcwd(), jax.config.jax_enable_x64, np.random.get_state()[1].tobytes())  # noqa: NPY002
    assert before == after, "the test changed global state"


def completeness(log_mass, log_age, a_v, r_eff_pc):
    """Of made injection tables: brighter, younger, less dusty, larger clusters are catalogued."""
    return expit(3 * (log_mass - 4) - 1.5 * (log_age - 8) - a_v + 4 * np.log10(r_eff_pc / 3))


def made_table(n: int, seed: int = 0, repeats: int = 1):
    """The table and p of each row; clusters follow one another in each repeat."""
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


@pytest.fixture(name="made_table", scope="session")
def _made_table():
    """`made_table(n, seed=0, repeats=1)`: injections of known completeness, without images."""
    return made_table


@pytest.fixture(name="p_of", scope="session")
def _p_of():
    return completeness
