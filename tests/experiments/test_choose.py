"""`selection choose`, and `selection marginalise` over libraries of our own."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from scipy.special import expit
from tests.helpers import run

from starcensus.networks import MLP
from starcensus.networks.training import checksum
from starcensus.selection import (
    Box,
    GridSelection,
    Nuisance,
    PhotometricNetwork,
    complete,
    load_selection,
    save_selection,
)
from starcensus.selection.learning import predict_library
from starcensus.simulate import ClusterLibrary

BANDS = ("ACS_F435W", "ACS_F555W", "ACS_F814W")
N_POOL = 20_000


def pilot(n_members: int = 2) -> PhotometricNetwork:
    """Members that differ in the limit: brighter and larger clusters are catalogued."""
    networks = [
        MLP([np.array([[-1.0, -2.0, 4.0]])], [np.array([24.0 + 2.0 * limit])])
        for limit in np.linspace(23.9, 24.1, n_members)
    ]
    radii = Nuisance(("log_r_eff_pc",), np.log10([[1.0], [5.0]]), np.ones(2))
    limits = np.array([[18.0, 32.0]] * 2)
    return PhotometricNetwork(tuple(networks), BANDS[:2], limits, 29.98, nuisance=radii)


def pool(n: int = N_POOL, seed: int = 0) -> ClusterLibrary:
    rng = np.random.default_rng(seed)
    log_mass, log_age, a_v = rng.uniform(2, 7, n), rng.uniform(6, 10, n), rng.uniform(0, 3, n)
    v = 2.0 - 2.5 * log_mass + 1.9 * (log_age - 6) + a_v + 0.3 * rng.normal(size=n)
    mags = np.stack([v + 0.3 * a_v, v, v - 0.5], axis=1)
    mags[rng.random(n) < 0.01] = np.inf
    return ClusterLibrary(
        log_mass,
        log_age,
        a_v,
        BANDS,
        mags,
        np.full(n, -np.log(60)),
        r_eff_pc=rng.uniform(1, 10, n),
        seed=rng.integers(0, 2**64, n, dtype=np.uint64),
        meta={"design": {"n": n, "seed": seed}},
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("choose")
    save_selection(pilot(), folder / "pilot.h5")
    pool().save(folder / "pool.h5")
    with pytest.MonkeyPatch.context() as patch:
        assert choose(patch, folder, "one.h5", "--start-row", 2000) == 0
    return folder


def choose(monkeypatch, folder: pathlib.Path, out: str, *more: object) -> int | str | None:
    files = folder / "pilot.h5", "--library", folder / "pool.h5", "--out", folder / out
    return run(monkeypatch, "selection", "choose", *files, "--n", 1500, *more)


def test_the_chosen_stand_in_the_order_of_the_pool(project):
    whole = ClusterLibrary.load(project / "pool.h5")
    made = ClusterLibrary.load(project / "one.h5")
    assert len(made) == pytest.approx(1500, abs=4 * 1500**0.5)
    rows = np.flatnonzero(np.isin(whole.column("seed"), made.column("seed")))
    assert len(rows) == len(made) and rows.min() >= 2000
    expected = whole.take(rows)
    assert set(made.columns()) == {*whole.columns(), "inclusion"} and made.bands == whole.bands
    for name, values in expected.columns().items():
        if name != "log_density":
            np.testing.assert_array_equal(made.column(name), values)
    # A choice by light and radius has no density of θ.
    assert np.isnan(made.log_density).all()
    inclusion = made.column("inclusion")
    assert 0 < inclusion.min() < 0.05 and inclusion.max() <= 1
    # Each is a draw of its own, so the mean of 1 / inclusion counts those that could be chosen.
    spread = np.sqrt(((1 - inclusion) / inclusion**2).sum())
    assert abs((1 / inclusion).sum() - 18_000) < 4 * spread


def test_what_was_done_stands_beside_and_inside(project):
    made = ClusterLibrary.load(project / "one.h5")
    assert made.meta["design"] == {"n": N_POOL, "seed": 0}
    facts = json.loads((project / "one.provenance.json").read_text())
    choice = made.meta["choice"]
    assert facts["choice"] == choice
    assert {each["name"] for each in facts["inputs"].values()} == {"pilot.h5", "pool.h5"}
    assert len(choice["pool_sha256"]) == 64
    assert choice["pilot_networks_sha256"] == checksum(pilot().networks)
    assert (choice["n"], choice["uniform"], choice["seed"]) == (1500, 0.05, 0)
    assert choice["n_candidates"] == 18_000 and choice["exclude_sha256"] == []
    summary = json.loads((project / "one.summary.json").read_text())
    assert summary["n_chosen"] == len(made) and summary["n_pool"] == N_POOL
    assert summary["chosen.open_share"] > 2 * summary["candidates.open_share"]


def test_weights_undo_the_choice(project):
    candidates = ClusterLibrary.load(project / "pool.h5").take(slice(2000, None))
    made = ClusterLibrary.load(project / "one.h5")
    weight = 1 / made.column("inclusion")

    def off(values: np.ndarray, truth: float, weight: np.ndarray) -> float:
        error = weight * (values - truth)
        return abs(error.sum()) / np.sqrt((error**2).sum())

    p = predict_library(pilot(), made).mean(axis=0)
    truth = predict_library(pilot(), candidates).mean()
    assert off(p, truth, weight) < 4 < off(p, truth, np.ones(len(made)))
    for name in ("log_mass", "log_age", "a_v", "r_eff_pc"):
        assert off(made.column(name), candidates.column(name).mean(), weight) < 4
    summary = json.loads((project / "one.summary.json").read_text())
    assert summary["candidates.mean_p"] == pytest.approx(truth)
    assert summary["chosen.weighted_mean_p"] == pytest.approx(np.average(p, weights=weight))


def test_rounds_do_not_repeat_clusters(project, monkeypatch, capsys):
    assert choose(monkeypatch, project, "again.h5", "--start-row", 2000) == 0
    assert (project / "again.h5").read_bytes() == (project / "one.h5").read_bytes()
    options = "--exclude", project / "one.h5"
    assert choose(monkeypatch, project, "two.h5", *options) == 0
    said = capsys.readouterr().out
    assert f"wrote {project / 'two.h5'}" in said and "chosen.weighted_mean_p" in said
    options = (*options, "--exclude", project / "two.h5", "--uniform", 0.5, "--seed", 1)
    assert choose(monkeypatch, project, "three.h5", *options) == 0
    rounds = [ClusterLibrary.load(project / f"{name}.h5") for name in ("one", "two", "three")]
    seeds = np.concatenate([made.column("seed") for made in rounds])
    assert len(np.unique(seeds)) == len(seeds)
    choice = rounds[2].meta["choice"]
    assert choice["n_candidates"] == N_POOL - len(rounds[0]) - len(rounds[1])
    assert len(choice["exclude_sha256"]) == 2 and choice["uniform"] == 0.5
    # With more of it uniform, no cluster has a small chance.
    floors = [made.column("inclusion").min() for made in rounds]
    assert floors[2] > 4 * floors[1]


def test_a_pool_that_is_chosen_whole(project, monkeypatch):
    pool(300).save(project / "small.h5")
    files = project / "pilot.h5", "--library", project / "small.h5", "--out", project / "all.h5"
    assert run(monkeypatch, "selection", "choose", *files, "--n", 300) == 0
    made = ClusterLibrary.load(project / "all.h5")
    assert (made.column("inclusion") == 1).all()
    np.testing.assert_array_equal(made.column("seed"), pool(300).seed)


MISTAKES = {
    "one network": (["one_network.h5"], "holds 1 network; a pilot needs two or more"),
    "no networks": (["complete.h5"], "holds a CompleteSelection; expected learned networks"),
    "no pilot": (["none.h5"], "no file"),
    "no pool": (["--library", "none.h5"], "library: there is no file"),
    "pilot for a pool": (
        ["--library", "pilot.h5"],
        "holds starcensus.Operator, and is no cluster library",
    ),
    "more than there are": (["--n", "20001"], "20000 of the pool's 20000 clusters may be chosen"),
    "more than are left": (
        ["--n", "18001", "--start-row", "2000"],
        "18000 of the pool's 20000 clusters may be chosen",
    ),
    "none": (["--n", "0"], "n is 0; expected 1 or more"),
    "a negative row": (["--start-row", "-1"], "start_row is -1; expected 0 or more"),
    "no uniform share": (
        ["--uniform", "0"],
        "uniform is 0 and disagreement 4; expected a share",
    ),
    "uniform beyond 1": (["--uniform", "1.5"], "uniform is 1.5"),
    "no radii": (["--library", "no_radii.h5"], "the library has no r_eff_pc; draw it with a"),
    "other bands": (["--library", "red.h5"], "has no band ACS_F435W, ACS_F555W; it has ACS_F814W"),
    "a choice for a pool": (["--library", "one.h5"], "its clusters were chosen already; expected"),
    "no seeds": (
        ["--library", "no_seeds.h5", "--exclude", "one.h5"],
        "no_seeds.h5: the pool: has no column seed, by which",
    ),
    "another's choice": (["--exclude", "other.h5"], "other.h5: has no cluster of"),
    "nothing to exclude": (["--exclude", "none.h5"], "exclude.0: there is no file"),
    "the pool's own name": (
        ["--out", "pool.h5"],
        "pool.h5 is one of the files to read; give another",
    ),
}


@pytest.fixture(scope="module")
def broken(project) -> pathlib.Path:
    whole = ClusterLibrary.load(project / "pool.h5")
    save_selection(pilot(1), project / "one_network.h5")
    box = Box((2.0, 7.0), (6.0, 10.0), (0.0, 3.0))
    save_selection(complete(box), project / "complete.h5")
    dataclasses.replace(whole, r_eff_pc=None).save(project / "no_radii.h5")
    dataclasses.replace(whole, seed=None).save(project / "no_seeds.h5")
    whole.select(["ACS_F814W"]).save(project / "red.h5")
    pool(300, seed=7).save(project / "other.h5")
    return project


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name, broken, monkeypatch, capsys):
    given, message = MISTAKES[name]
    options = {"--library": "pool.h5", "--n": "1500", "--out": "not.h5"}
    operator = "pilot.h5"
    if not given[0].startswith("--"):
        operator, given = given[0], given[1:]
    options |= dict(zip(given[::2], given[1::2], strict=True))
    arguments = [
        part if part.startswith("--") or not part.endswith(".h5") else str(broken / part)
        for option in options.items()
        for part in option
    ]
    before = (broken / "pool.h5").read_bytes()
    assert run(monkeypatch, "selection", "choose", broken / operator, *arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("starcensus: ") and said.count("\n") == 1
    assert not (broken / "not.h5").exists() and (broken / "pool.h5").read_bytes() == before


GRID = ["--log-mass", "3,6,0.5", "--log-age", "6.5,9.5,0.5", "--a-v", "0.5,2.5,0.5"]


def test_magnitudes_of_own_libraries_are_averaged_over(project, monkeypatch, capsys):
    parts = pool(30_000, seed=1), pool(30_000, seed=2)
    for name, part in zip(("first", "second"), parts, strict=True):
        part.save(project / f"{name}.h5")
    files = [f"--library={project / name}.h5" for name in ("first", "second")]
    files += ["--network", str(project / "pilot.h5"), "--out", str(project / "theta.h5"), *GRID]
    assert (
        run(monkeypatch, "selection", "marginalise", "--bands", "ACS_F435W,ACS_F555W", *files) == 0
    )
    assert "median standard error" in capsys.readouterr().out
    made = load_selection(project / "theta.h5")
    assert isinstance(made, GridSelection)
    # The light is a Gaussian around a mean that θ gives, and a hundredth have none.
    rng = np.random.default_rng(3)
    scatter, radii = 0.3 * rng.normal(size=4000), np.log10([1.0, 5.0])
    error = []
    for theta in ((4.5, 7.5, 1.0), (5.0, 8.0, 1.0), (5.5, 8.5, 1.5), (5.5, 8.0, 2.0)):
        v = 29.98 + 2.0 - 2.5 * theta[0] + 1.9 * (theta[1] - 6) + theta[2] + scatter
        logit = 72.0 - (v + 0.3 * theta[2]) - 2.0 * v + 4 * radii[:, None]
        truth = 0.99 * expit(logit).mean()
        error.append(abs(float(made.p_sel(*theta)) - truth))
        assert 0.02 < truth < 0.99
    assert max(error) < 0.06


def test_mistakes_with_own_libraries(broken, monkeypatch, capsys):
    def said(*arguments: str) -> str:
        files = ["--network", str(broken / "pilot.h5"), "--out", str(broken / "no.h5"), *GRID]
        assert run(monkeypatch, "selection", "marginalise", *files, *arguments) == 2
        assert not (broken / "no.h5").exists()
        return capsys.readouterr().err

    own = f"--library={broken / 'pool.h5'}"
    (broken / "zero.txt").write_text("ACS_F435W 0.1\nACS_F555W 0.0\n")
    bands = "--bands=ACS_F435W,ACS_F555W"
    wrong = said(own, bands, f"--zeropoints={broken / 'zero.txt'}")
    assert "zeropoints is for files of SLUG v2" in wrong
    assert "pool.h5 has no band WFC3_UVIS_F275W, WFC3_UVIS_F336W; it has" in said(own)
    assert "cannot stand for ACS_F435W, ACS_F555W" in said(own, "--bands=ACS_F555W,ACS_F435W")
    assert "library: there is no file" in said(f"--library={broken / 'none.h5'}", bands)
    # The light of chosen clusters is not that of all clusters of their mass, age and extinction.
    chosen = f"--library={broken / 'one.h5'}"
    assert "were chosen from a pool, by their light" in said(chosen, bands)
