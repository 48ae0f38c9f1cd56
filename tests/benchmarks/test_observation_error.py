"""The gate of observation models' errors: what it says of right and of wrong distances."""

import numpy as np
import pytest
from benchmarks import known_survey
from benchmarks.observation_error import (
    FAINTEST,
    NAMES,
    bench_observation_error,
    model_of,
    recorded,
    summary,
)

N = 40


def lines(width: float, missing: int = 0) -> list[dict]:
    pulls = width * np.random.default_rng(0).normal(size=(N, len(NAMES)))
    made = [{f"{k}.uncertainty": v for k, v in zip(NAMES, row, strict=True)} for row in pulls]
    return made[missing:] + [{} for _ in range(missing)]


def test_right_distances_pass_and_wide_ones_do_not():
    right, wide = summary(lines(1.0), "uncertainty"), summary(lines(2.0), "uncertainty")
    assert right["accepted"] and not wide["accepted"]
    assert right["n_replicates"] == N and right["power_width_0.5"] > 0.9
    assert wide["log_n.rms"] == pytest.approx(2 * right["log_n.rms"], abs=2e-3)


def test_fits_that_cannot_be_known_are_not_passed_over():
    found = summary(lines(1.0, missing=1), "uncertainty")
    assert found["n_unreached"] == 1 and not found["accepted"]
    assert not summary(lines(1.0, missing=N), "uncertainty")["accepted"]


def test_catalogues_are_of_the_survey():
    """None beyond its cut, and of few clusters as many as their probabilities say."""
    population = model_of(3.3).population
    found = [len(recorded(population, seed)) for seed in range(4)]
    data = recorded(population, 1)
    assert np.nanmax(data.mags[:, 1]) < known_survey.FAINTEST and len(data) == found[1]
    table = known_survey.table(4000, 1, FAINTEST)
    assert table.true_mags[:, 1].max() > known_survey.FAINTEST + 1
    p = known_survey.p_detected(table.true_mags)
    assert abs(table.catalogued.sum() - p.sum()) < 4 * np.sqrt((p * (1 - p)).sum())


@pytest.mark.slow
def test_a_replicate_says_both():
    each: list[dict] = []
    found = list(bench_observation_error(1200, (60.0,), 1, 3000, each=each.append))
    assert [line["with"] for line in found] == ["mean", "uncertainty"] and len(each) == 1
    assert {f"{name}.mean" for name in NAMES} < set(each[0])
    assert each[0]["n"] > 20
