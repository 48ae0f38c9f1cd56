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
from tests import helpers

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


@pytest.fixture(scope="session")
def made_table():
    """`helpers.made_table`: injections of known completeness, without images."""
    return helpers.made_table


@pytest.fixture(scope="session")
def p_of():
    """`helpers.completeness`, the completeness of those injections."""
    return helpers.completeness
