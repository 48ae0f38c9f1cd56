"""The operators that starcensus carries: what they say of themselves, what their command makes."""

import importlib.util
import pathlib
import re

import jax
import numpy as np
import pydantic
import pytest

from starcensus.experiments.cli import main as cli
from starcensus.selection import (
    GridSelection,
    SurveyFacts,
    differences,
    learned_facts,
    load_selection,
    selection_provenance,
)
from starcensus.selection.injection import InjectionPlan

DATA = pathlib.Path(__file__).parents[3] / "experiments" / "data"
CARRIED, SYNTHETIC = DATA / "ngc628c_c4_photometric.h5", DATA / "legus_synthetic.h5"


def test_carried_operator_is_an_operator_of_theta():
    operator = load_selection(CARRIED)
    assert isinstance(operator, GridSelection)
    assert operator.n_members >= 5
    p = np.asarray(operator.p_sel(np.asarray([3.0, 4.0, 5.0, 6.0]), 8.0, 0.3))
    assert (np.diff(p) > 0).all() and p[0] < 0.1 and p[-1] > 0.99


def test_the_operator_of_the_synthetic_galaxy_is_small_and_says_where_it_comes_from():
    assert 10_000 < SYNTHETIC.stat().st_size < 3_000_000
    operator = load_selection(SYNTHETIC)
    assert operator.acts_on == "data" and operator.n_members >= 5
    facts = selection_provenance(SYNTHETIC)
    assert {"title", "version", "injection_table_sha256", "networks_sha256"} <= set(facts)
    assert "mass, age and extinction" in facts["title"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", facts["version"])
    test = facts["injections"]
    checksums = [facts["injection_table_sha256"], facts["networks_sha256"]]
    checksums += [test["frame_sha256"], test["library_sha256"], test["key"]]
    checksums += test["templates"]["psf_sha256"].values()
    assert len(set(checksums)) == 5 + len(test["bands"]) == 10
    assert all(re.fullmatch("[0-9a-f]{64}", checksum) for checksum in checksums)
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", value) for value in facts["inputs"].values())
    # The test of the documentation: plan and pipeline can be had again from what is written.
    pydantic.TypeAdapter(InjectionPlan).validate_python(test["plan"])
    assert (test["plan"]["sigma_pc"], test["plan"]["min_separation"]) == (120.0, 3.0)
    assert test["plan"]["n_clusters"] == 245_000 and test["plan"]["seed"] == 21
    pipeline = test["pipeline"]
    assert (pipeline["pipeline"], pipeline["detection_sigma"]) == ("legus", 20.0)
    assert set(pipeline["aperture_correction"]) == set(test["bands"])


def test_carried_operators_know_what_they_were_learned_for():
    """One made from images that are gone would not; its checksum ties it to galaxy.toml's."""
    (synthetic,), (c4,) = (learned_facts(load_selection(path)) for path in (SYNTHETIC, CARRIED))
    test = selection_provenance(SYNTHETIC)["injections"]
    assert synthetic.field == "synthetic spiral galaxy" and c4.field == "NGC 628-C"
    assert synthetic.distance_modulus == c4.distance_modulus == 29.98
    assert synthetic.frame_sha256 == test["frame_sha256"]
    assert synthetic.settings == test["pipeline"] and dict(synthetic.pipeline_limits) == {
        "max_absolute_v": -6.0,
        "ci_limit": 1.4,
        "max_error": 0.3,
        "min_bands": 4.0,
    }
    for band in synthetic.bands:
        assert band.psf_sha256 == test["templates"]["psf_sha256"][band.name]
        assert band.exposure_s and band.noise_mag and 28 < band.noise_mag < 31
        assert band.psf_fwhm_arcsec and 0.08 < band.psf_fwhm_arcsec < 0.15
    assert synthetic.radius_pc[0] == pytest.approx(1.0) and 0.2 < synthetic.sky[2] < 0.5
    # A real pointing at the same distance in the same bands is another field.
    real = SurveyFacts("ngc628-c", 29.98, synthetic.bands)
    assert [d.about for d in differences(synthetic, real) if not d.is_warning] == ["field"]
    assert differences(c4, SurveyFacts("ngc628-c", 29.98, synthetic.bands)) == ()


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
    assert learned_facts(made) == learned_facts(carried)
    rng = np.random.default_rng(0)
    box = (carried.domain.log_mass, carried.domain.log_age, carried.domain.a_v)
    theta = [jax.numpy.asarray(rng.uniform(*limits, size=2000)) for limits in box]
    np.testing.assert_allclose(made.p_sel(*theta), carried.p_sel(*theta), atol=1e-6)
