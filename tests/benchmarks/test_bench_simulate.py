"""The benchmark of stochastic clusters runs, and times SLUG where it is."""

import pathlib
import sys

import pytest
from benchmarks.simulate import SlugProgram, bench_simulate


def test_every_line_is_there_and_the_ratios_follow():
    lines = {line["case"]: line for line in bench_simulate(n=100)}
    assert {"prepare", "1e3", "1e4", "1e5", "1e6", "1e8", "library"} <= set(lines)
    library = lines["library"]
    assert library["n_bands"] == 9
    rate = library["clusters_per_cpu_s"]
    assert library["ratio_published_slug2"] == pytest.approx(rate / 3.44, rel=1e-3)
    assert library["ratio_published_slug3"] == pytest.approx(rate / 9.9, rel=1e-3)
    cost = lines["1e4"]["clusters_per_cpu_s"] / lines["1e8"]["clusters_per_cpu_s"]
    assert lines["cost at 1e8 / 1e4"]["ratio_cpu"] == pytest.approx(cost, rel=1e-3)


def test_what_cannot_be_timed_is_refused(tmp_path: pathlib.Path):
    with pytest.raises(ValueError, match="n is 50; rates from fewer than 100"):
        next(bench_simulate(n=50))
    with pytest.raises(FileNotFoundError, match="expected SLUG's executable"):
        SlugProgram(tmp_path / "slug", tmp_path)
    program = tmp_path / "slug"
    program.write_text("#!/bin/sh\necho no tracks >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(FileNotFoundError, match="has no folder data"):
        SlugProgram(program, tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(ValueError, match=r"failed \(exit code 1\): no tracks"):
        SlugProgram(program, tmp_path).cpu_seconds(1, 2.0, 0)


@pytest.mark.slow
@pytest.mark.shared
def test_slug_is_timed(shared: pathlib.Path):
    executable = pathlib.Path(sys.executable).parent / "slug"
    if not executable.is_file():
        pytest.skip("slugpy's executable is not installed beside this Python")
    program = SlugProgram(executable, shared / "slug3" / "slugdata")
    few, many = (program.cpu_seconds(n, (2.0, 4.0), 1) for n in (1, 200))
    assert many > few > 0.05


@pytest.mark.slow
def test_a_large_library_uses_several_processes():
    *_, line = bench_simulate(n=100, large=400, processes=2)
    assert line["n_clusters"] == 400 and line["finite_share"] == 1
    assert 0 < line["peak_memory_gb_per_process"] < 2
