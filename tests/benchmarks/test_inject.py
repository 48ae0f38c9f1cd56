"""Seconds of an injection, stage by stage."""

import pytest
from benchmarks.inject import STAGES, bench_inject


def test_the_benchmark_says_where_the_time_goes():
    line = bench_inject(frames=1, side=256, per_frame=10)
    assert line["n_injected"] == 10 and line["n_bands"] == 5
    spent = sum(line[f"{stage}_wall_s_per_frame"] for stage in STAGES)
    assert line["injections_per_s"] == pytest.approx(10 / spent, rel=0.01)
