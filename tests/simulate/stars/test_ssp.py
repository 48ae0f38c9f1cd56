"""Integrated light of the shipped grid against BC03 and Yggdrasil; the command line."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from benchmarks.ssp import GOALS, Comparison, compare_files, ssp_mags
from typer.testing import CliRunner

from starcensus.experiments.cli.simulate import simulate_app
from starcensus.experiments.schema._base import ConfigError, parse
from starcensus.simulate.clusters.imf import Kroupa, Salpeter
from starcensus.simulate.stars import (
    StellarGrid,
    build_grid,
    default_filters,
    read_atmospheres,
    read_filter,
    read_fsps,
    read_vega,
)
from starcensus.simulate.stars.dust import extinction_curve
from starcensus.simulate.stars.metal_lines import read_cloudy_lines
from starcensus.simulate.stars.nebular import NebularSettings, nebular_band_flux

# Cells outside the goals (reasons: docs/explain/stars.md): largest |difference| there.
TRACKS = {
    ("bc03", 6.4): 0.36,
    ("bc03", 6.6): 0.33,
    ("bc03", 7.5): 0.19,
    ("bc03", 8.5): 0.11,
    ("yggdrasil", 7.0): 0.21,
    ("yggdrasil", 7.5): 0.20,
    ("yggdrasil", 8.5): 0.20,
    ("yggdrasil", 9.0): 0.36,
}


@pytest.fixture(scope="module")
def comparison(shared: pathlib.Path) -> Comparison:
    grid = StellarGrid.default()
    by_name = {f.name: f for f in default_filters(shared / "filters")}
    filters = tuple(by_name[name] for name in grid.bands)
    return compare_files(grid, filters, shared / "ssp", np.array(list(GOALS)))


@pytest.mark.shared
@pytest.mark.parametrize("reference", ["bc03", "yggdrasil"])
def test_integrated_light_is_that_of_the_references(comparison: Comparison, reference: str):
    worst = np.abs(getattr(comparison, reference)).max(axis=1)
    for age, found in zip(comparison.log_age, worst, strict=True):
        # 0.005 mag of slack for the third decimal.
        goal = TRACKS.get((reference, float(age)), GOALS[float(age)] + 0.005)
        assert found <= goal, f"{reference} at log age {age}: {found:.3f}"


@pytest.mark.shared
def test_where_a_goal_is_missed_the_references_differ_by_more_or_share_their_tracks(
    comparison: Comparison,
):
    worst = np.stack([np.abs(comparison.bc03), np.abs(comparison.yggdrasil)]).max(axis=2)
    apart = np.abs(comparison.references).max(axis=1)
    missed = [
        float(age)
        for age, pair, between in zip(comparison.log_age, worst.T, apart, strict=True)
        if pair.min() > GOALS[float(age)] + 0.005 and between <= GOALS[float(age)]
    ]
    assert missed == [7.5]


@pytest.mark.shared
def test_at_30_myr_the_blue_loops_of_the_tracks_are_the_difference(shared: pathlib.Path):
    # Supergiants of 7,000 to 25,000 K on their blue loops: with half of them, both goals are met.
    grid = StellarGrid.default()
    loop = (
        (grid.log_teff > np.log10(7000)) & (grid.log_teff < np.log10(25_000)) & (grid.log_g < 2.8)
    )
    flux = np.where(loop[:, None, None], np.float32(0.5), np.float32(1.0)) * grid.flux
    by_name = {f.name: f for f in default_filters(shared / "filters")}
    filters = tuple(by_name[name] for name in grid.bands)
    fewer = dataclasses.replace(grid, flux=flux)
    found = compare_files(fewer, filters, shared / "ssp", np.array([7.5]))
    assert max(np.abs(found.bc03).max(), np.abs(found.yggdrasil).max()) < GOALS[7.5]


@pytest.mark.shared
def test_at_300_myr_the_spectra_below_3500_k_are_the_difference(shared: pathlib.Path):
    # No model is cooler than 3,500 K. AGB stars with the spectrum of 3,500 K, in place of that
    # times a ratio of Planck functions, bring F814W within the goal.
    folder = shared / "atmospheres"
    atmospheres = read_atmospheres(folder / "ck04", folder / "hot", z=0.02)
    cool = atmospheres.cool
    end = int(np.argmin(np.abs(cool.log_teff - np.log10(3500))))
    model = cool.model.copy()
    model[:end] = model[end]
    flat = dataclasses.replace(atmospheres, cool=dataclasses.replace(cool, model=model))
    isochrones = read_fsps(shared / "isochrones" / "PARSEC_isoc_z0.0200.dat").between(8.5, 8.5)
    filters = default_filters(shared / "filters")
    vega = read_vega(shared / "filters" / "alpha_lyr_stis_011.fits")
    grid = build_grid(isochrones, flat, filters, vega=vega)
    found = compare_files(grid, filters, shared / "ssp", np.array([8.5]))
    assert np.abs(found.bc03).max() < GOALS[8.5]


def test_the_quadrature_is_the_closed_form_where_there_is_one():
    # A star's light is m³ at every age: E[m³]/E[m] of the IMF inside the grid's masses.
    mass = np.geomspace(0.1, 50.0, 300)
    n = len(mass)
    grid = StellarGrid(
        bands=("only",),
        log_age=np.array([6.0]),
        start=np.array([0, n]),
        initial_mass=mass,
        current_mass=mass,
        log_lum=3 * np.log10(mass),
        log_teff=np.full(n, 4.0),
        log_g=np.full(n, 4.0),
        q_h=1e47 * mass,
        a_v=np.array([0.0, 5.0]),
        flux=np.repeat((mass**3).astype(np.float32)[:, None, None], 2, axis=2),
        nebular_a_v=np.array([0.0, 10.0]),
        nebular_flux=np.array([[1e-46, 1e-47]]),
        provenance={},
    )
    for imf in (Kroupa(low=0.1, high=50.0), Salpeter(low=0.2, high=40.0), Kroupa(high=120.0)):
        low, high = max(imf.low, 0.1), min(imf.high, 50.0)
        expected, ionising = (
            float(imf.partial_moment(k, np.asarray(low), np.asarray(high))) / imf.mean_mass
            for k in (3.0, 1.0)
        )
        found = ssp_mags(grid, 6.0, imf)
        assert found[0] == pytest.approx(-2.5 * np.log10(expected), abs=2e-4)
        wet = ssp_mags(grid, 6.0, imf, covering=0.5)
        whole = expected + 0.5 * 1e47 * ionising * 1e-46
        assert wet[0] == pytest.approx(-2.5 * np.log10(whole), abs=2e-4)
    with pytest.raises(ValueError, match=r"no age near 7\.0"):
        ssp_mags(grid, 7.0, Kroupa())


@pytest.mark.shared
def test_the_command_builds_a_grid_of_a_users_ingredients(
    shared: pathlib.Path, tmp_path: pathlib.Path
):
    folder, text = tmp_path / "out", GRID.replace("SHARED", str(shared))
    (tmp_path / "grid.toml").write_text(text)
    arguments = ["grid", str(tmp_path / "grid.toml"), "--out", str(folder)]
    done = CliRunner().invoke(simulate_app, arguments)
    assert done.exit_code == 0, done.output
    grid = StellarGrid.load(folder / "grid.h5")
    assert grid.bands == ("ACS_F814W",) and len(grid.log_age) == 2
    assert grid.provenance["z"] == 0.014
    assert grid.provenance["ab_minus_vega"]["ACS_F814W"] == pytest.approx(0.4399, abs=1e-4)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["n_points"] == len(grid) and summary["n_black_body_points"] == 0
    facts = json.loads((folder / "provenance.json").read_text())
    assert facts["inputs"]["isochrones"]["name"] == "PARSEC_isoc_z0.0140.dat"
    assert any(role.startswith("ck04/") for role in facts["inputs"])


GRID = """
kind = "grid"
isochrones = "SHARED/isochrones/PARSEC_isoc_z0.0140.dat"
format = "fsps"
ages = [7.0, 7.05]
ck04 = "SHARED/atmospheres/ck04"
curve = "CCM89"
zeropoints = "SHARED/slug/zeropoints.txt"
filters = { ACS_F814W = "SHARED/slug/filters/ACS_F814W.dat" }
"""


@pytest.mark.shared
def test_lines_of_metals_are_in_the_gas_of_a_grid(shared: pathlib.Path, tmp_path: pathlib.Path):
    """By as much as in the light of the gas itself, and the file says which lines."""
    gas = 'gas = { lines = "SHARED/nebular/ZAU_ND_prsc.lines", log_u = -3.0 }'
    grids = []
    for name, text in (("plain", GRID), ("lines", GRID + gas)):
        (tmp_path / f"{name}.toml").write_text(text.replace("SHARED", str(shared)))
        arguments = ["grid", str(tmp_path / f"{name}.toml"), "--out", str(tmp_path / name)]
        done = CliRunner().invoke(simulate_app, arguments)
        assert done.exit_code == 0, done.output
        grids.append(StellarGrid.load(tmp_path / name / "grid.h5"))
    plain, lines = grids
    np.testing.assert_array_equal(plain.flux, lines.flux)
    table = read_cloudy_lines(shared / "nebular/ZAU_ND_prsc.lines")
    settings = NebularSettings(metal_lines=table.over_h_beta(np.log10(0.014 / 0.0152), -3.0, 2e6))
    band = read_filter(shared / "slug/filters/ACS_F814W.dat", "ACS_F814W")
    screen, clear = extinction_curve("CCM89"), np.zeros(1)
    expected = (
        nebular_band_flux((band,), clear, screen, settings)[0, 0]
        / nebular_band_flux((band,), clear, screen)[0, 0]
    )
    assert lines.nebular_flux[0, 0] / plain.nebular_flux[0, 0] == pytest.approx(expected, rel=1e-5)
    assert expected > 1.3 and "gas" not in plain.provenance
    assert lines.provenance["gas"]["log_u"] == -3.0 and lines.provenance["gas"]["metal_lines"] > 50
    assert any("Byler" in paper for paper in lines.provenance["citations"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("curve =", "gas = { log_u = -3.0 }\ncurve =", "gas.lines: "),
        ("curve =", 'gas = { lines = "a.lines", age_myr = 0 }\ncurve =', "gas.age_myr: "),
        ('"fsps"', '"padova"', "format: .*'fsps', 'cmd', 'mist' or 'slug'"),
        ('filters = { ACS_F814W = "SHARED/slug/filters/ACS_F814W.dat" }', "", "no bands"),
        ("zeropoints =", 'vega = "v.fits"\nzeropoints =', "either vega or zeropoints"),
        ("[7.0, 7.05]", "[7.0]", "expected the lowest and the highest"),
    ],
)
def test_requests_that_make_no_sense_are_refused(old: str, new: str, message: str):
    assert old in GRID
    with pytest.raises(ConfigError, match=message):
        parse(GRID.replace(old, new), "grid.toml")
