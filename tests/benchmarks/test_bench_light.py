"""The benchmark of fits of light, on a small catalogue."""

import pathlib

import pytest
from benchmarks.light import bench_light
from tests.experiments.light_project import write_project


@pytest.mark.slow
def test_a_fit_of_light_is_timed_beside_kernel_sums(tmp_path: pathlib.Path):
    write_project(tmp_path)
    said: list[str] = []
    found = bench_light(
        tmp_path / "light.toml", tmp_path / "out", (), n_steps=120, workers=1, progress=said.append
    )
    assert said == ["simulated clusters", "NUTS", "emcee", "steps of the recipe"]
    assert found["n_clusters"] > 50 and found["n_rows"] > found["n_clusters"]
    # Walkers that sum kernels at every step give fewer independent draws a second than NUTS.
    assert found["ratio_s"] == pytest.approx(
        found["nuts_ess_per_s"] / found["recipe_ess_per_s"], rel=1e-3
    )
    assert found["recipe_ess_per_s"] > 0 and found["max_rss_gb"] > 0.1
