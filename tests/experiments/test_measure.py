"""Each cluster alone: quantiles by brute force, draws that a fit takes, the command."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest
from astropy.table import Table
from tests.experiments.light_project import BOX, light_objects, population, survey, write_project
from tests.helpers import run

from starcensus.experiments.jobs import fit as jobs_fit
from starcensus.experiments.jobs._job import job_from
from starcensus.files import FileError
from starcensus.inference import (
    GridPosteriors,
    PosteriorDraws,
    read_posteriors,
    write_posteriors,
)
from starcensus.inference.likelihood import judged
from starcensus.inference.measure import Measured, measure, population_prior, power_law_prior
from starcensus.inference.objects import LightObjects
from starcensus.networks.cnn import Grid
from starcensus.selection.finder import FinderPosteriors
from starcensus.theta import Box

N_DRAWS = 4000


@pytest.fixture(scope="module")
def objects() -> LightObjects:
    return light_objects()


@pytest.fixture(scope="module")
def measured(objects) -> Measured:
    return measure(objects, power_law_prior(-2.0, -0.5), BOX, N_DRAWS, seed=3)


def test_quantiles_are_those_of_plain_weights(objects, measured):
    """Over all rows of the pool, by formulas of their own, with the density per mass and age."""
    pool, data = objects.pool, objects.data
    flux = 10.0 ** (-0.4 * (pool.abs_mags.astype(float) + 29.98))
    mass, age = 10.0 ** pool.theta[:, 0], 10.0 ** pool.theta[:, 1]
    # dN/dM dN/dT, times dM dT per dex².
    prior = mass**-2 * mass * age**-0.5 * age
    assert (measured.effective > 3).sum() > 50
    for i in range(0, len(data), 3):
        variance = data.flux_error[i] ** 2 + (0.4 * np.log(10) * 0.1 * flux) ** 2
        kernel = -0.5 * ((data.flux[i] - flux) ** 2 / variance + np.log(variance)).sum(axis=1)
        weight = np.exp(kernel - kernel.max() + pool.log_weight) * prior
        weight /= weight.sum()
        np.testing.assert_allclose(measured.mean[i], weight @ pool.theta, atol=2e-3)
        of_cluster = np.bincount(pool.cluster, weight)
        assert measured.effective[i] == pytest.approx(1 / (of_cluster**2).sum(), rel=1e-3)
        for k in range(3):
            order = np.argsort(pool.theta[:, k], kind="stable")
            heap = np.cumsum(weight[order])
            for level, value in zip((0.16, 0.5, 0.84), measured.quantiles[:, i, k], strict=True):
                # The search leaves out rows beyond 5 sigma, so that a row more or less may lie
                # below.
                near = [heap.searchsorted(level - 1e-3), heap.searchsorted(level + 1e-3)]
                low, high = pool.theta[order[near], k]
                assert low <= value <= high, (i, k, level)


def test_modes_lie_where_the_weight_is(objects, measured):
    low, _, high = measured.quantiles
    well = measured.effective > 30
    inside = (measured.mode >= low - 0.05) & (measured.mode <= high + 0.05)
    assert inside[well].mean() > 0.85
    half = high - low
    narrow = well & (half[:, 0] < 0.4)
    assert narrow.sum() > 5
    assert np.median(np.abs(measured.mode - measured.mean)[narrow, 0]) < 0.1


def test_another_prior_moves_what_the_light_does_not_decide(objects, measured):
    heavy, young = (
        measure(objects, power_law_prior(*slopes), BOX) for slopes in ((-1.0, -0.5), (-2.0, -1.5))
    )
    assert heavy.draws is None
    assert np.nanmean(heavy.mean[:, 0] - measured.mean[:, 0]) > 0.05
    assert np.nanmean(young.mean[:, 1] - measured.mean[:, 1]) < -0.05


def test_draws_give_the_terms_of_the_objects(objects, measured, tmp_path):
    """Through the file that `fit` reads; up to a constant of each object, which no fit sees."""
    assert measured.draws is not None
    write_posteriors(measured.draws, tmp_path / "draws.h5")
    draws = read_posteriors(tmp_path / "draws.h5")
    assert draws.support == BOX and set(draws.counts) == {N_DRAWS}
    many = measured.effective > 20
    assert many.sum() > 20
    one, two = population(), population().with_values({"alpha_m": -2.3, "alpha_t": -0.4})
    samples = draws.samples(BOX, pad=False)
    exact = terms(two, objects.rows(BOX)) - terms(one, objects.rows(BOX))
    found = terms(two, samples) - terms(one, samples)
    away = (found - exact)[many]
    assert np.abs(away).max() < 0.1 and abs(away.mean()) < 0.01
    # What draws without their prior would give is far off.
    bare = dataclasses.replace(draws, log_prior=np.zeros_like(draws.log_prior))
    wrong = terms(two, bare.samples(BOX, pad=False)) - terms(one, bare.samples(BOX, pad=False))
    assert np.abs((wrong - exact)[many]).mean() > 3 * np.abs(away).mean()


def terms(drawn, samples) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(judged(drawn, samples)[0])[: samples.n_objects]


def test_the_prior_of_a_fit_is_its_mean_population(objects):
    values = {"alpha_m": np.array([-1.8, -2.2]), "alpha_t": np.array([-0.5, -1.0])}
    theta = np.array([[3.0, 7.0, 0.3], [4.2, 8.1, 0.9], [4.0, 7.0, 1.5]])
    each = [
        np.exp(np.asarray(population().with_values({k: v[i] for k, v in values.items()}).log_prob(
            *theta[:2].T
        )))
        for i in range(2)
    ]  # fmt: skip
    found = population_prior(population(), values)(theta)
    np.testing.assert_allclose(found[:2], np.log(np.mean(each, axis=0)), rtol=1e-5)
    assert np.isneginf(found[2])


def command(folder: pathlib.Path, *more: object) -> list[object]:
    limits = ("--log-mass", "2.5,5", "--log-age", "6.5,8.5", "--a-v", "0,1")
    target = "library.target={n_clusters = 4000, n_first = 1000, max_rounds = 0, n_extinctions = 3}"
    options = "--format", "table", "--column-map", folder / "map.toml", "--floor", "0.1"
    survey_cuts = (
        "observation.cuts={min_snr = 5.0, min_bands = 2, recorded_snr = 0.0, "
        "max_absolute = { ACS_F555W = -5.5 }}"
    )
    sets = "--set", target, "--set", survey_cuts, "--set", "library.min_effective=0.5"
    return ["measure", folder / "catalogue.csv", *options, *limits, *sets, *more]


def test_the_command(tmp_path, monkeypatch, capsys):
    write_project(tmp_path)
    out = tmp_path / "alone"
    assert run(monkeypatch, *command(tmp_path, "--out", out, "--draws", 50)) == 0
    said = capsys.readouterr().out
    assert "dN/dM ~ M^-2, dN/dT ~ T^-0.5" in said and "objects.ecsv" in said
    table = Table.read(out / "objects.ecsv", format="ascii.ecsv")
    assert {"id", "log_mass_mode", "log_age_p50", "a_v_p84", "n_effective"} <= set(table.colnames)
    assert table.meta["prior"].startswith("dN/dM ~ M^-2") and len(table) > 50
    assert (table["log_mass_p16"] <= table["log_mass_p84"]).all()
    draws = read_posteriors(out / "draws.h5")
    assert set(draws.counts) == {50} and len(draws) <= len(table)
    page = (out / "report.html").read_text()
    assert "Each cluster" not in page and "Clusters of catalogue.csv" in page
    assert survey().words.split(",")[0] in page
    assert run(monkeypatch, *command(tmp_path, "--out", out, "--draws", 50)) == 0
    assert "finished before" in capsys.readouterr().out


MISTAKES = {
    "no folder": (("--prior", "nothing"), r"prior\.run: no file nothing"),
    "no fit": (("--prior", "."), r"is no folder of a finished fit"),
    "prior twice": (("--prior", ".", "--mass-slope", "-1"), r"give either run or mass_slope"),
    "no limits": (("--a-v", "0"), r"--a-v is '0'; expected low,high"),
    "unknown cuts": (("--measured-cuts", "hst"), r"'hst' is no set of cuts"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistaken_command(name, tmp_path, monkeypatch, capsys):
    import re

    more, pattern = MISTAKES[name]
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = command(tmp_path, "--out", tmp_path / "out", *more)
    if name == "unknown cuts":
        # Without those that `--set` states.
        words = [*words[:2], *words[2:12], "--out", tmp_path / "out", *more]
    code = run(monkeypatch, *words)
    message = capsys.readouterr().err
    assert code == 2 and message.count("\n") == 1 and re.search(pattern, message), message


FIT = {
    "catalogue": {"path": "draws.h5", "format": "posteriors"},
    "selections": {"all": {"kind": "complete"}},
    "populations": {
        "simple": {
            "bounds": {"log_mass": [3.0, 5.0], "log_age": [6.5, 8.5], "a_v": [0.0, 1.0]},
            "mass": {"kind": "power_law"},
            "age": {"kind": "constant"},
            "extinction": {"kind": "half_normal"},
        }
    },
    "fits": [{"name": "main", "selection": "all", "population": "simple"}],
}


def write_draws(folder: pathlib.Path) -> None:
    rng = np.random.default_rng(1)
    centres = rng.uniform([3.6, 7.0, 0.3], [4.4, 8.0, 0.7], (30, 3))
    each = [rng.normal(centre, 0.05, (40, 3)) for centre in centres]
    names = [f"o{i}" for i in range(30)]
    made = PosteriorDraws.from_arrays(names, each, [np.zeros(40)] * 30)
    write_posteriors(made, folder / "draws.h5")


class Stop(Exception):
    """Before anything is sampled."""


def test_a_fit_takes_draws_from_a_file(tmp_path, monkeypatch):
    write_draws(tmp_path)
    monkeypatch.chdir(tmp_path)
    seen = {}

    def stop(objects, selection, model, settings, progress):
        seen.update(objects=objects, settings=settings)
        raise Stop

    monkeypatch.setattr(jobs_fit, "fit", stop)
    with pytest.raises(Stop):
        job_from("fit", FIT, tmp_path / "out", "tables").perform()
    assert isinstance(seen["objects"], PosteriorDraws) and len(seen["objects"]) == 30
    # Errors are the draws' own.
    with pytest.raises(ValueError, match=r"draws\.h5: holds posteriors.*leave out \[errors\]"):
        tables = {**FIT, "errors": {"missing": "floor"}}
        job_from("fit", tables, tmp_path / "out", "tables").perform()
    with pytest.raises(ValueError, match="leave out options and cuts"):
        cut = {**FIT["catalogue"], "cuts": [{"name": "with_estimates"}]}
        job_from("fit", {**FIT, "catalogue": cut}, tmp_path / "out", "tables")


def test_a_fit_takes_the_grids_of_a_network(tmp_path, monkeypatch):
    """With the prior under which they are posteriors, and without the padding of its bins."""
    rng, heads = np.random.default_rng(1), Grid().heads()
    joint, size = (rng.dirichlet(np.ones(heads[name]), 20) for name in ("joint", "size"))
    prior = rng.dirichlet(np.full(heads["joint"], 9.0))
    made = FinderPosteriors(np.arange(20), joint, size, prior, Grid(), np.ones(heads["joint"]))
    made.save(tmp_path / "posteriors.h5")
    monkeypatch.chdir(tmp_path)
    seen = {}

    def stop(objects, selection, model, settings, progress):
        seen.update(objects=objects)
        raise Stop

    monkeypatch.setattr(jobs_fit, "fit", stop)
    tables = {**FIT, "catalogue": {"path": "posteriors.h5", "format": "finder"}}
    with pytest.raises(Stop):
        job_from("fit", tables, tmp_path / "out", "tables").perform()
    objects = seen["objects"]
    assert isinstance(objects, GridPosteriors) and len(objects) == 20
    assert objects.box == Box((3.5, 5.5), (6.6, 10.1), (0.0, 3.0))
    np.testing.assert_allclose(objects.prior, made.theta_grid()[2])
    with pytest.raises(FileError, match=r"draws\.h5"):
        write_draws(tmp_path)
        other = {**FIT, "catalogue": {"path": "draws.h5", "format": "finder"}}
        job_from("fit", other, tmp_path / "out", "tables").perform()


@pytest.mark.slow
def test_a_fit_of_draws_at_the_command_line(tmp_path, monkeypatch):
    write_draws(tmp_path)
    text = (
        'kind = "population"\nbounds = { log_mass = [3.0, 5.0], log_age = [6.5, 8.5], '
        'a_v = [0.0, 1.0] }\nmass = { kind = "power_law" }\nage = { kind = "constant" }\n'
        'extinction = { kind = "half_normal" }\n'
    )
    (tmp_path / "population.toml").write_text(text)
    words = ("fit", tmp_path / "draws.h5", "--format", "posteriors", "--selection", "complete")
    more = ("--population", tmp_path / "population.toml", "--out", tmp_path / "out")
    assert run(monkeypatch, *words, *more, "--samples", 100, "--warmup", 100) == 0
    assert (tmp_path / "out" / "report.html").is_file()
