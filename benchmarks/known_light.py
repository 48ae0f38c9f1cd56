"""Catalogues of measured light whose population is known, and simulated clusters for all of them.

Clusters are drawn one by one from a population, each with stars of its own, and seen through a
survey like LEGUS: its depths at its distance of NGC 628, and cuts on what is measured.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from starcensus.forward import Population
from starcensus.inference.calibration.seen import Seen
from starcensus.inference.objects import LightSettings, TargetSettings, draw_to_order
from starcensus.selection import Box
from starcensus.selection.catalogue.photometry import Photometry
from starcensus.selection.observation import (
    AbstractObservation,
    GaussianObservation,
    MeasuredCuts,
    NoiseCurves,
)
from starcensus.shards import Work
from starcensus.simulate import Pool, StarcensusEngine

BANDS = ("WFC3_UVIS_F275W", "WFC3_UVIS_F336W", "ACS_F435W", "ACS_F555W", "ACS_F814W")
BOX = Box((3.3, 6.0), (6.2, 9.5), (0.0, 1.5))
MODULUS = 29.98
# Of the density of extinctions.
NODES = (0.0, 0.5, 1.5)


@functools.cache
def engine() -> StarcensusEngine:
    """Draws the light of all clusters."""
    return StarcensusEngine(BANDS)


def survey(**changes) -> GaussianObservation:
    """Depths of LEGUS, a shift of all bands, cuts on what is measured."""
    sky = 10 ** (-0.4 * np.array([25.3, 25.9, 27.5, 27.3, 26.5]))
    noise = NoiseCurves(BANDS, sky**2, np.zeros(5), np.full(5, 0.01))
    cuts = MeasuredCuts(3.62, 4, (), BANDS[2::2], {BANDS[3]: -6.0}, 0.0)
    made = {"noise": noise, "floor": 0.1, "common": 0.1, "cuts": cuts, "n_nodes": 5, **changes}
    return GaussianObservation(BANDS, MODULUS, **made)


def nothing() -> Pool:
    """No simulated cluster."""
    empty = np.zeros((0, len(BANDS)), np.float32)
    return Pool(BANDS, np.zeros((0, 3)), empty, np.zeros(0), np.zeros(0, int), BOX)


def recorded(
    population: Population, seed: int, seen_by: AbstractObservation | None = None
) -> Photometry:
    """A catalogue of a population, as the survey sees it."""
    seen_by = seen_by or survey()
    return Seen(engine(), seen_by, seen_by, nothing(), LightSettings()).recorded(population, seed)


def library(
    catalogues: Sequence[Photometry],
    n_clusters: int,
    workers: int = 1,
    folder: pathlib.Path | None = None,
    seen_by: AbstractObservation | None = None,
) -> Pool:
    """Simulated clusters: half of them cover the bounds, half are where those of some catalogues
    are."""
    names = ("flux", "flux_error", "states", *(() if catalogues[0].ci is None else ("ci",)))
    data = dataclasses.replace(
        catalogues[0],
        ids=np.arange(sum(map(len, catalogues))).astype(str),
        **{name: np.concatenate([getattr(a, name) for a in catalogues]) for name in names},
    )
    settings = TargetSettings(
        n_clusters, 1e9, n_clusters // 4, max_rounds=0, n_extinctions=6, wide_share=0.5,
        mass_slope=-1.0, seed=1,
    )  # fmt: skip
    seen_by = seen_by or survey()
    return draw_to_order(data, seen_by, engine(), BOX, settings, folder, Work(workers)).pool
