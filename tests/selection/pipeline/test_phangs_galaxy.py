"""The PHANGS-HST pipeline on a synthetic galaxy: what the survey found of its own candidates."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial import KDTree

from starcensus.selection.pipeline import PhangsPipeline, PhangsSettings
from starcensus.selection.pipeline.phangs import (
    ModelSettings,
    crop_mci_out,
    in_polygon,
    mean_magnitudes,
    polygon,
    well_shaped,
)
from starcensus.simulate import (
    ClusterLibrary,
    StellarGrid,
    StellarPopulation,
    default_psfs,
    draw_clusters,
)
from starcensus.simulate.images.galaxy import GalaxySettings, make_galaxy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run():
    """The galaxy, its pipelines for both samples, and what the human one found."""
    settings = GalaxySettings(shape=(1024, 1024))
    population = StellarPopulation(StellarGrid.default())
    psfs = default_psfs(settings.bands)
    rng, n = np.random.default_rng(0), 1500
    log_mass = 2.5 + rng.exponential(1 / np.log(10), n)
    theta = log_mass, rng.uniform(6, 9, n), rng.uniform(0, 0.5, n)
    light = draw_clusters(population, *theta, seeds=np.arange(n))
    radii = np.exp(rng.normal(np.log(3.0), 0.4, n))
    clusters = ClusterLibrary(*theta, population.bands, light.abs_mags, np.zeros(n), r_eff_pc=radii)
    galaxy = make_galaxy(settings, population, psfs, seed=1, clusters=clusters)
    models = ModelSettings(n_masses=100)
    ml = PhangsPipeline.for_field(
        galaxy.frame,
        psfs,
        PhangsSettings(sample="ml"),
        magnitudes=mean_magnitudes(population, "ACS_F555W", models),
        models=models,
    )
    human = dataclasses.replace(ml, settings=dataclasses.replace(ml.settings, sample="human"))
    return galaxy, ml, human, human(galaxy.frame)


def test_each_coarser_region_adds_a_quarter(run):
    # The survey: 20 to 30%.
    _, ml, _, found = run
    columns = found.columns
    errors = columns["mci_in_error"], columns["mci_out_error"]
    good = found.cuts["detection_snr"] & found.cuts["photometry"] & ~columns["excluded"]
    good &= well_shaped(columns["snr_v"], *errors)
    inside, before = np.zeros(len(found), bool), 0
    added = []
    for region in ml.regions.maps:
        inside |= region.contains(columns["mci_in"], columns["mci_out"])
        total = int((good & inside).sum())
        added.append((total - before) / total)
        before = total
    print(f"in all regions {before}; each coarser one adds", np.round(added[1:], 3))
    assert all(0.15 < share < 0.40 for share in added[1:])


def test_model_regions_hold_most_of_the_polygon(run):
    galaxy, ml, _, _ = run
    bottom = crop_mci_out(10 ** (galaxy.frame.distance_modulus / 5 - 5))
    low, high = polygon(bottom).min(0), polygon(bottom).max(0)
    points = np.random.default_rng(3).uniform(low[:, None], high[:, None], (2, 100_000))
    inside = in_polygon(*points, bottom)
    share = ml.regions.contains(*points)[inside].mean()
    print(f"share of the polygon in the regions {share:.3f}")
    assert share > 0.85


def test_the_ml_sample_is_larger(run):
    galaxy, ml, _, found = run
    counts = {"human": found.counts(), "ml": ml(galaxy.frame).counts()}
    print(counts)
    assert counts["ml"]["single"] > counts["human"]["single"] > 100
    assert 0.2 < counts["human"]["single"] / counts["human"]["photometry"] < 0.6


def test_the_wide_kernel_adds_few_candidates(run):
    # The survey: usually 1% or less.
    _, _, _, found = run
    share = found.columns["added_by_dao"][found.catalogued].mean()
    print(f"share of candidates that the wide kernel added {share:.4f}")
    assert share < 0.02


def test_bright_clusters_are_catalogued(run):
    galaxy, _, _, found = run
    candidates = found.take(found.catalogued)
    tree = KDTree(np.column_stack([candidates.x, candidates.y]))
    distance, _ = tree.query(np.column_stack([galaxy.x, galaxy.y]))
    clusters = galaxy.clusters
    v = clusters.apparent(galaxy.frame.distance_modulus, ["ACS_F555W"])[:, 0]
    complete = [
        float((distance[(v >= low) & (v < high)] < 2).mean())
        for low, high in ((18, 21), (21, 22), (22, 23), (23, 24), (24, 25))
    ]
    print("catalogued, V < 21 and in steps of a magnitude to 25", np.round(complete, 2))
    assert complete == sorted(complete, reverse=True)
    assert complete[0] > 0.95 and complete[-1] < 0.2


def test_purity_rises_with_luminosity(run):
    galaxy, _, _, found = run
    candidates = found.take(found.catalogued)
    tree = KDTree(np.column_stack([galaxy.x, galaxy.y]))
    distance, _ = tree.query(np.column_stack([candidates.x, candidates.y]))
    v = candidates.mags[:, candidates.bands.index("ACS_F555W")]
    purity = [
        float((distance[(v >= low) & (v < high)] < 2).mean())
        for low, high in ((15, 21), (21, 23), (23, 24), (24, 26))
    ]
    print("purity brighter than 21, 21 to 23, 23 to 24, fainter", np.round(purity, 2))
    assert purity == sorted(purity, reverse=True)
    assert purity[0] > 0.7
