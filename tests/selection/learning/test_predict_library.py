"""What a pilot says of clusters before they are injected."""

import dataclasses
import importlib

import numpy as np
import pytest
from scipy.special import expit

from starcensus.networks import MLP
from starcensus.selection import (
    Box,
    NetworkSelection,
    Nuisance,
    PhotometricNetwork,
    independent,
)
from starcensus.selection.learning import Inputs, predict, predict_library
from starcensus.simulate import ClusterLibrary

module = importlib.import_module("starcensus.selection.learning.predict")
learn_module = importlib.import_module("starcensus.selection.learning.learn")

RADII = Nuisance(("log_r_eff_pc",), np.log10([[2.0], [5.0]]), np.ones(2))
SKIES = Nuisance(("log_background",), np.array([[-1.0], [0.0], [0.5]]), np.array([1.0, 2.0, 1.0]))
BANDS = ("ACS_F435W", "ACS_F555W")
LIMITS = np.array([[15.0, 29.0]] * 2)


def linear(*slopes: float, at: float) -> MLP:
    """A network whose logit is a sum of its inputs, weighted."""
    return MLP([np.array([slopes])], [np.array([at])])


def photometric(nuisance: Nuisance | None, *slopes: float, **options) -> PhotometricNetwork:
    networks = tuple(linear(-0.4, -k, *slopes, at=26 * (0.4 + k)) for k in (1.0, 1.2))
    more = {"bands": BANDS, "limits": LIMITS, "distance_modulus": 29.98, "nuisance": nuisance}
    return PhotometricNetwork(networks, **{**more, **options})


def physical(nuisance: Nuisance | None, *slopes: float) -> NetworkSelection:
    networks = tuple(linear(3.0, -k, -1.0, *slopes, at=8 * k - 12) for k in (1.5, 1.8))
    box = Box((2.0, 7.0), (6.0, 10.0), (0.0, 3.0))
    return NetworkSelection(networks, domain=box, nuisance=nuisance)


def library_of(table) -> ClusterLibrary:
    """The clusters of an injection table as they were before, and a band more."""
    theta = table.log_mass, table.log_age, table.a_v
    mags = np.column_stack([np.zeros(len(table)), table.true_mags - 29.98])
    mags[5, 1] = np.inf
    unknown = np.full(len(table), np.nan)
    bands = ("ACS_F814W", *BANDS)
    return ClusterLibrary(*theta, bands, mags, unknown, r_eff_pc=table.r_eff_pc)


@pytest.mark.parametrize(
    "operator",
    [physical(None), physical(RADII, 4.0), photometric(None), photometric(RADII, 4.0)],
    ids=["physical", "physical with radius", "photometric", "photometric with radius"],
)
def test_clusters_are_seen_as_their_injections_are(made_table, operator):
    table, _ = made_table(500)
    library = library_of(table)
    apparent = library.select(BANDS).abs_mags + 29.98
    seen = dataclasses.replace(table, true_mags=apparent)
    if isinstance(operator, PhotometricNetwork):
        assert not (apparent < 29.0).all()
        clipped = operator.simulated()
    else:
        clipped = operator
    members = predict_library(operator, library)
    assert members.shape == (2, 500) and (np.abs(members[0] - members[1]) > 0.01).any()
    np.testing.assert_array_equal(members.mean(axis=0), predict(clipped, seen))


def test_each_cluster_has_its_own_radius(made_table):
    library = library_of(made_table(300)[0])
    for operator in (physical(RADII, 4.0), photometric(RADII, 4.0)):
        found = predict_library(operator, library)
        assert library.r_eff_pc is not None
        larger = dataclasses.replace(library, r_eff_pc=10 * library.r_eff_pc)
        shift = expit(4.0 + np.log(found / (1 - found)))
        np.testing.assert_allclose(predict_library(operator, larger), shift, rtol=1e-6)


@pytest.mark.parametrize("names", ["r_eff and sky", "sky and r_eff", "sky"])
def test_the_sky_is_averaged_over(made_table, monkeypatch, names):
    """With the operator's own nodes and weights, for the cluster's own radius."""
    parts = {"r_eff and sky": (RADII, SKIES), "sky and r_eff": (SKIES, RADII), "sky": (SKIES,)}
    nuisance = independent(*parts[names])
    slopes = [{"log_r_eff_pc": 4.0, "log_background": -2.0}[name] for name in nuisance.names]
    operator = photometric(nuisance, *slopes)
    library = library_of(made_table(100)[0])
    mags = np.clip(library.select(BANDS).abs_mags + 29.98, *LIMITS.T)
    assert library.r_eff_pc is not None
    log_r = np.log10(library.r_eff_pc) if "r_eff" in names else np.zeros(100)
    expected = np.zeros((2, 100))
    for sky, weight in ((-1.0, 0.25), (0.0, 0.5), (0.5, 0.25)):
        for member, k in enumerate((1.0, 1.2)):
            logit = -(0.4 * (mags[:, 0] - 26) + k * (mags[:, 1] - 26)) + 4 * log_r - 2 * sky
            expected[member] += weight * expit(logit)
    told: list[tuple[int, int]] = []
    np.testing.assert_allclose(predict_library(operator, library), expected, rtol=1e-6)
    # In pieces it is the same.
    monkeypatch.setattr(module, "_AT_ONCE", 90)
    pieces = predict_library(operator, library, lambda *at: told.append(at))
    np.testing.assert_allclose(pieces, expected, rtol=1e-6)
    assert told == [(30, 100), (60, 100), (90, 100), (100, 100)]


def test_libraries_without_what_a_pilot_takes(made_table):
    library = library_of(made_table(20)[0])
    assert library.r_eff_pc is not None
    with pytest.raises(ValueError, match="the library has no r_eff_pc; draw it with a"):
        predict_library(physical(RADII, 4.0), dataclasses.replace(library, r_eff_pc=None))
    radii = library.r_eff_pc.copy()
    radii[7] = 0.0
    with pytest.raises(ValueError, match="r_eff_pc of cluster 7 is 0; expected parsecs > 0"):
        predict_library(physical(RADII, 4.0), dataclasses.replace(library, r_eff_pc=radii))
    with pytest.raises(ValueError, match="has no band ACS_F555W; it has ACS_F814W, ACS_F435W"):
        predict_library(photometric(None), library.select(["ACS_F814W", "ACS_F435W"]))
    with pytest.raises(
        ValueError, match="takes AB magnitudes; those of simulated clusters are Vega"
    ):
        predict_library(photometric(None, mag_system="AB"), library)
    library.abs_mags[3, 2] = np.nan
    with pytest.raises(ValueError, match="magnitude of cluster 3 in ACS_F555W is NaN"):
        predict_library(photometric(None), library)
    # What the operator does not take may be missing.
    assert np.isfinite(predict_library(physical(None), library)).all()


@pytest.mark.parametrize("whole", [True, False])
def test_radii_to_average_over_are_those_of_the_pool(made_table, whole):
    """A choice that favours small clusters does not make the pool's smaller."""
    table, _ = made_table(40_000)
    rng = np.random.default_rng(1)
    radii = table.r_eff_pc if whole else rng.uniform(1, 11, len(table))
    inclusion = np.minimum(1.0, 0.6 / radii)
    chosen = rng.random(len(table)) < inclusion
    chosen[:2000] = True
    # The first rows are a pilot's: all of them were injected.
    inclusion[:2000] = np.nan
    focused = dataclasses.replace(table, r_eff_pc=radii, inclusion=inclusion).take(chosen)
    plain = dataclasses.replace(focused, inclusion=None)
    inputs = Inputs("photometric", r_eff=True)

    def mean(of) -> float:
        nuisance = learn_module._nuisance(of, inputs, None)
        weights = np.asarray(nuisance.weights)
        return float(10 ** nuisance.values[:, 0] @ weights / weights.sum())

    truth = radii.mean()
    assert mean(focused) == pytest.approx(truth, abs=0.12)
    assert mean(plain) < truth - 0.8


def test_a_simulated_cluster_may_be_as_faint_as_a_mark_for_a_missing_magnitude(made_table):
    """Catalogues write 44.444 for none; an old cluster of 100 M_sun can have it in F275W."""
    operator = photometric(None, outside="clip")
    table, _ = made_table(40)
    library = library_of(table)
    library.abs_mags[3, 1] = 44.444 - 29.98
    library.abs_mags[4, 1] = 50 - 29.98
    library.abs_mags[3:5, 2] = 0.0
    marked, faint = predict_library(operator, library)[:, 3:5].T
    np.testing.assert_array_equal(marked, faint)
    table.true_mags[3, 0] = 44.444
    assert np.isfinite(predict(operator, table)).all()
    with pytest.raises(ValueError, match=r"the sentinel 44\.444"):
        operator.p_sel(table.true_mags)
