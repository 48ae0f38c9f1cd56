"""The operator of NGC 628-C that starcensus carries is what its command makes."""

import importlib.util
import pathlib

import jax
import numpy as np
import pytest

from starcensus.experiments import cli
from starcensus.selection import GridSelection, load_selection

CARRIED = pathlib.Path(__file__).parents[2] / "experiments" / "data" / "ngc628c_c4_photometric.h5"


def test_carried_operator_is_an_operator_of_theta():
    operator = load_selection(CARRIED)
    assert isinstance(operator, GridSelection)
    assert operator.n_members >= 5
    p = np.asarray(operator.p_sel(np.asarray([3.0, 4.0, 5.0, 6.0]), 8.0, 0.3))
    assert (np.diff(p) > 0).all() and p[0] < 0.1 and p[-1] > 0.99


@pytest.mark.slow
@pytest.mark.shared
def test_carried_operator_is_what_its_command_makes(tmp_path, shared, monkeypatch):
    if importlib.util.find_spec("completeness_nn_api") is None:
        pytest.skip("the C-4 package is not installed")
    slug = shared / "slug"

    def run(*arguments: object) -> None:
        monkeypatch.setattr("sys.argv", ["starcensus", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0

    run("selection", "import-c4", "--out", tmp_path)
    run(
        "selection", "marginalise", "--network", tmp_path / "c4_photometric.h5",
        "--library", slug / "lib_1e2_1e6", "--library", slug / "lib_1e2_1e5",
        "--zeropoints", slug / "zeropoints.txt", "--out", tmp_path / "made.h5",
    )  # fmt: skip
    made, carried = load_selection(tmp_path / "made.h5"), load_selection(CARRIED)
    rng = np.random.default_rng(0)
    box = (carried.domain.log_mass, carried.domain.log_age, carried.domain.a_v)
    theta = [jax.numpy.asarray(rng.uniform(*limits, size=2000)) for limits in box]
    np.testing.assert_allclose(made.p_sel(*theta), carried.p_sel(*theta), atol=1e-6)
