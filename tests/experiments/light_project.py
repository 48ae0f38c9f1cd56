"""A small catalogue of magnitudes with a known population, and the files of settings for it."""

import dataclasses
import functools
import pathlib

import jax
import numpy as np
from astropy.table import Table

from starcensus.forward import HalfNormal, Population, PowerLaw, PowerLawAge, Separable
from starcensus.inference.objects import LightObjects
from starcensus.selection.catalogue import Photometry
from starcensus.selection.observation import GaussianObservation, MeasuredCuts, NoiseCurves
from starcensus.simulate import CellTheta, ClusterLibrary, Design, Pool, StarcensusEngine
from starcensus.theta import Box

BOX = Box((2.5, 5.0), (6.5, 8.5), (0.0, 1.0))
BANDS = ("WFC3_UVIS_F275W", "ACS_F435W", "ACS_F555W", "ACS_F814W")
MODULUS = 29.98
BOUNDS = "{ log_mass = [2.5, 5.0], log_age = [6.5, 8.5], a_v = [0.0, 1.0] }"

COLUMN_MAP = (
    'id = "id"\nestimates = false\ndistance_modulus = 29.98\nbands = [\n'
    + "".join(
        f'  {{ name = "{band}", column = "m{k}", error = "e{k}", not_detected = [99.0] }},\n'
        for k, band in enumerate(BANDS)
    )
    + "]\n"
)

TARGET = (
    "target = { n_clusters = 10000, n_first = 3000, n_round = 1000, max_rounds = 1, "
    "n_extinctions = 4, effective = 20.0 }"
)
SHARED = f"""
seed = 5

[catalogue]
path = "catalogue.csv"
format = "table"
options = {{ column_map = "map.toml" }}

[observation]
kind = "gaussian"
floor = 0.1

[observation.cuts]
min_snr = 5.0
min_bands = 2
max_absolute = {{ ACS_F555W = -5.5 }}
recorded_snr = 0.0

[library]
bounds = {BOUNDS}
{TARGET}
"""
LIGHT = f"""kind = "light"
title = "a small catalogue"
{SHARED}
[populations.simple]
bounds = {BOUNDS}
mass = {{ kind = "power_law", alpha_m = -2.0 }}
age = {{ kind = "power_law", alpha_t = -0.8 }}
extinction = {{ kind = "half_normal", sigma_av = 0.4 }}
log_n = 2.8

[populations.constant]
bounds = {BOUNDS}
mass = {{ kind = "power_law", alpha_m = -2.0 }}
age = {{ kind = "constant" }}
extinction = {{ kind = "half_normal", sigma_av = 0.4 }}
log_n = 2.8

[sampler]
n_warmup = 100
n_samples = 100

[[fits]]
name = "main"
population = "simple"

[[fits]]
name = "constant"
population = "constant"
text = "no disruption"
"""
MEASURE = f'kind = "measure"\ntitle = "each cluster"\ndraws = 400\n{SHARED}'


def population() -> Population:
    made = Population(
        Separable(PowerLaw(BOX.log_mass), PowerLawAge(BOX.log_age)), HalfNormal(BOX.a_v), 2.8
    )
    return made.with_values({"alpha_m": -1.9, "alpha_t": -0.8, "sigma_av": 0.4})


def survey() -> GaussianObservation:
    sky = 10 ** (-0.4 * np.array([26.5, 27.5, 27.5, 27.0]))
    noise = NoiseCurves(BANDS, sky**2, np.zeros(4), np.full(4, 0.02))
    cuts = MeasuredCuts(5.0, 2, (), (), {"ACS_F555W": -5.5}, 0.0)
    return GaussianObservation(BANDS, MODULUS, noise, floor=0.1, cuts=cuts)


def recorded(n: int = 600, margin: float = 0.0) -> Photometry:
    """What the survey records of clusters of the population.

    `margin`: by how much its limit is fainter than the cut of the files, mag.
    """
    theta = np.asarray(population().sample(jax.random.key(3), n), float)
    mags = StarcensusEngine(BANDS).draw(*theta.T, np.arange(n).astype(np.uint64) + 10**9)
    deeper = dataclasses.replace(
        survey(), cuts=dataclasses.replace(survey().cuts, max_absolute={"ACS_F555W": -5.5 + margin})
    )
    return deeper.draw(mags["abs_mags"] + MODULUS, np.random.default_rng(4))[1]


@functools.cache
def light_objects() -> LightObjects:
    """400 clusters and 24,000 simulated ones that explain them."""
    each = [np.linspace(low, high, 6) for low, high in dataclasses.asdict(BOX).values()]
    cells = CellTheta((each[0], each[1], each[2]), np.ones((5, 5, 5)), 4)
    design = Design(24_000, 2, cells)
    rows = design.rows(0, design.n)
    columns = [rows[name] for name in ("log_mass", "log_age", "a_v", "seed")]
    mags = StarcensusEngine(BANDS).draw(*columns)["abs_mags"]
    library = ClusterLibrary(bands=BANDS, abs_mags=mags, **rows)
    return LightObjects(recorded(400), survey(), Pool.of_rounds([(library, cells)]))


def write_table(data: Photometry, path: pathlib.Path) -> None:
    columns: dict[str, np.ndarray] = {"id": np.array([f"c{i}" for i in range(len(data))])}
    for k in range(len(data.bands)):
        there = data.measured[:, k]
        columns[f"m{k}"] = np.where(there, data.mags[:, k], 99.0)
        columns[f"e{k}"] = np.where(there, data.mag_errors[:, k], 99.0)
    Table(columns).write(path, format="ascii.csv", overwrite=True)


def of_injections(text: str, given: str) -> str:
    """A file's text with an observation model that is learned from what is `given`."""
    before, _, rest = text.partition("[observation]\n")
    after = rest.partition("[library]")[2]
    return f'{before}[observation]\nkind = "injections"\n{given}\n[library]{after}'


def write_project(folder: pathlib.Path) -> None:
    """catalogue.csv, map.toml, light.toml and measure.toml."""
    write_table(recorded(margin=0.3), folder / "catalogue.csv")
    (folder / "map.toml").write_text(COLUMN_MAP)
    (folder / "light.toml").write_text(LIGHT)
    (folder / "measure.toml").write_text(MEASURE)
