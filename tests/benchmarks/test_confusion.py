"""Odds of laws of disruption from light: what is counted, and that odds come true."""

import numpy as np
import pytest
from benchmarks.confusion import LAWS, Found, bench_confusion, judge, model_of


def told(ln_z: np.ndarray, true: list[str]) -> list[tuple[str, dict[str, Found]]]:
    return [
        (law, {k: Found(float(v), 0.02, False) for k, v in zip(LAWS, row, strict=True)})
        for law, row in zip(true, ln_z, strict=True)
    ]


def test_what_is_counted():
    share = [
        [0.97, 0.01, 0.01, 0.01],
        [0.3, 0.4, 0.2, 0.1],
        [1e-9, 0.1, 0.1, 0.8],
        [1e-9] * 3 + [1],
    ]
    rows = np.log(share)
    found = judge(told(rows - 1000.0, ["none", "none", "mid", "mdd"]))
    assert found["n_catalogues"] == 4 and found["max_error"] == 0.02 and found["by_chains"] == 0
    assert found["none called none"] == "1, 1 surely"
    assert found["none called power law"] == "1, 0 surely"
    assert found["mid called mdd"] == "1, 0 surely" and found["mdd called mdd"] == "1, 1 surely"
    assert found["mid called mid"] == "0, 0 surely"
    assert found["stated_0.95_1"] == "2 of 2 true, 2.0 stated"


def test_odds_that_are_too_bold_are_seen():
    rng = np.random.default_rng(2)
    share = rng.dirichlet(np.full(4, 0.5), 400)
    true = [LAWS[i] for i in (rng.random((400, 1)) > np.cumsum(share, axis=1)).sum(axis=1)]
    assert judge(told(np.log(share + 1e-12), true))["reliable"]
    assert not judge(told(2 * np.log(share + 1e-12), true))["reliable"]


def test_models_have_proper_priors():
    """One for each parameter that is free, of a population without a number."""
    free = {law: {site.name for site in model_of(law).sites()} for law in LAWS}
    assert free["none"] < free["power law"] < free["mid"] and "gamma_mdd" in free["mdd"]
    assert all(model_of(law).form == "conditional" for law in LAWS)


@pytest.mark.slow
def test_every_catalogue_has_an_evidence_of_every_law():
    *each, last = bench_confusion((80,), 1, 4000)
    assert [row["true"] for row in each] == list(LAWS)
    assert all(row["error"] < 0.2 for row in each) and last["n_catalogues"] == 4
    # Without disruption there are many old clusters, which the mdd catalogue lacks.
    assert float(each[3]["ln_z.none"]) < float(each[3]["ln_z.mdd"]) - 3
