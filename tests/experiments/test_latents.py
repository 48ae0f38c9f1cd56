"""`[latents]` in files of fits: every cluster under the population, as a table and as draws."""

import json

import numpy as np
import pytest
from tests.experiments.test_run import FIT, MOCK, job, write_limit

from starcensus.experiments.jobs import _latents
from starcensus.experiments.jobs._job import Show
from starcensus.experiments.jobs.fit import OneFit
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.fit import LatentsTable
from starcensus.selection.catalogue import read_catalogue
from starcensus.selection.catalogue.open_table import load
from starcensus.theta import AXES

# One fit alone, with a broad error, so that the population has something to say.
ONE = FIT[: FIT.index('[[fits]]\nname = "second"')] + FIT[FIT.index("[sampler]") :]
OWN = "\n[errors]\nfloor = [0.3, 0.3, 0.3]\nn_samples = 256\n[latents]\ndraws = 40\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latents")
    (folder / "mock.toml").write_text(MOCK)
    (folder / "fit.toml").write_text(ONE + OWN + "keep_draws = true\n")
    job(folder / "mock.toml", folder / "mock").perform()
    write_limit(folder, 24.0)
    results = []
    fitted = OneFit.fitted
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            OneFit, "fitted", lambda self, show: results.append(fitted(self, show)) or results[-1]
        )
        summary = job(folder / "fit.toml", folder / "out").perform()
    return folder, summary, results[0]


def test_the_table_has_every_cluster_under_the_population(project):
    folder, summary, _ = project
    table = load(folder / "out" / "clusters.ecsv").table
    catalogue = read_catalogue(folder / "mock" / "catalogue.ecsv", "starcensus")
    assert table["id"].astype(str).tolist() == catalogue.ids.astype(str).tolist()
    assert summary["latents.n_draws"] == 40 and summary["latents.n_blank"] == 0
    assert summary["latents.least_effective"] == pytest.approx(table["n_effective"].min())
    for k, axis in enumerate(AXES):
        columns = [np.asarray(table[f"{axis}_{n}"]) for n in ("p2_5", "p16", "p50", "p84", "p97_5")]
        assert (np.diff(columns, axis=0) >= 0).all()
        half = (columns[3] - columns[1]) / 2
        assert summary[f"latents.median_error.{axis}"] == pytest.approx(np.median(half))
        inside = (columns[0] <= catalogue.theta[:, k]) & (catalogue.theta[:, k] <= columns[4])
        assert inside.mean() > 0.9
    # dN/dlog M falls: clusters are lighter under the population than they were measured, where the
    # lower bound is far.
    mass = catalogue.theta[:, 0]
    assert (np.asarray(table["log_mass_mean"]) < mass)[mass > 3.8].mean() > 0.8
    page = (folder / "out" / "report.html").read_text()
    assert "clusters.ecsv" in page and "no data for another fit" in page


def test_draws_lie_beside_those_of_the_population(project):
    import xarray as xr

    folder, _, _ = project
    table = load(folder / "out" / "clusters.ecsv").table
    with xr.open_dataset(folder / "out" / "latents.nc") as found:
        assert found["theta"].dims == ("draw", "cluster", "axis")
        assert found["theta"].shape == (40, len(table), 3)
        assert found["alpha_m"].shape == (40,) and found["axis"].values.tolist() == list(AXES)
        means = found["theta"].mean("draw").values
        spread = found["theta"].std("draw").values
        key = found.attrs["key"]
    away = np.abs(means - np.stack([np.asarray(table[f"{axis}_mean"]) for axis in AXES], 1))
    assert (away < 5 * spread / np.sqrt(40)).mean() > 0.98
    assert key == json.loads((folder / "out" / "run.json").read_text())["key"]


def test_clusters_with_few_points_are_blank(project, tmp_path, monkeypatch):
    _, _, result = project
    n = len(result.objects)
    effective = np.sort(np.asarray(load(project[0] / "out" / "clusters.ecsv").table["n_effective"]))
    monkeypatch.setattr(_latents, "LEAST_EFFECTIVE", effective[3])
    lines: list[str] = []
    show = Show(say=lines.append)
    summary = _latents.write_latents(result, LatentsTable(draws=40), tmp_path, 3, "key", show)
    [words] = lines
    assert words.startswith(f"warning: 3 of {n} clusters") and "blank in clusters.ecsv" in words
    assert summary["latents.n_blank"] == 3
    table = load(tmp_path / "clusters.ecsv").table
    blank = np.isnan(np.asarray(table["a_v_p50"], float))
    assert blank.sum() == 3 and (np.asarray(table["n_effective"])[blank] < effective[3]).all()
    assert not (tmp_path / "latents.nc").exists()
    monkeypatch.setattr(_latents, "LEAST_EFFECTIVE", 1e9)
    summary = _latents.write_latents(result, LatentsTable(draws=5), tmp_path, 3, "key", show)
    assert summary["latents.n_blank"] == n and "latents.median_error.a_v" not in summary


def test_exact_values_have_no_latents(project, tmp_path):
    folder, _, _ = project
    text = ONE + OWN.replace("floor = [0.3, 0.3, 0.3]\nn_samples = 256", 'mode = "none"')
    (folder / "exact.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"first: errors\.mode = 'none' .* leave out either"):
        job(folder / "exact.toml", tmp_path / "out").perform()
