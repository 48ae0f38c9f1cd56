"""How fast stochastic clusters are drawn: clusters per second by mass and for a library.

A library is log-uniform in mass, 10²-10⁶ M_sun, and age, 10⁶-10¹⁰ yr, and uniform in A_V, 0-3 mag.
Rates are of one process on one core; ratios are of CPU times, which depend less than wall-clock
times on what else the machine does. SLUG's executable can be timed in the same run, its start-up
subtracted; beside it stand rates measured before, on a two-core machine (AMD EPYC) that did nothing
else, with the settings that `PUBLISHED` names.
"""

import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.fit import Clock, Result
from starcensus.bands import BANDS
from starcensus.simulate.clusters.bins import StellarPopulation
from starcensus.simulate.clusters.cluster import DrawSettings, draw_clusters
from starcensus.simulate.clusters.imf import Chabrier
from starcensus.simulate.stars.grid import StellarGrid

LOG_MASSES = (3.0, 4.0, 5.0, 6.0, 8.0)
LIBRARY = (2.0, 6.0)
LOG_AGES = (6.0, 10.0)
A_V = (0.0, 3.0)
PUBLISHED = {
    "slug2": (3.44, "SLUG v2 (commit d9c926f, stock), 20 bands, clusters/s"),
    "slug3": (9.9, "SLUG v3 (3.1.0), all stars drawn, 5 filters, clusters per CPU second"),
}
# SLUG's clusters for each mass, so that each run takes some seconds.
_SLUG_TRIALS = {3.0: 400, 4.0: 100, 5.0: 12, 6.0: 2}
_SLUG_LIBRARY = 300
_CHUNK = 20_000

_DECK = """
sim_type = "cluster"
n_trial = {n}
rng_seed = {seed}
verbosity = 0
[output]
model_name = "timed"
out_dir = "."
output_times = "times.toml"
write_cluster_spec = false
write_cluster_yields = false
write_cluster_feedback = false
[stars]
IMF = "chabrier.toml"
tracks = "{tracks}"
FeH = 0.0
[spectra]
model = "{spectra}"
wl_min = 1900
wl_max = 11000
nwl = 256
[phot]
filters = [{filters}]
system = "Vega"
[nebular]
compute_neb = false
[clusters]
CMF = {mass}
[extinct]
AV = "av.toml"
model = "Calzetti_MW"
"""
_POWER_LAW = """breakpoints = [{low:g}, {high:g}]
[segment1]
type = "powerlaw"
slope = {slope}
"""


@dataclasses.dataclass(frozen=True)
class SlugProgram:
    """SLUG v3's executable, and which of its data to use.

    **Arguments:**

    - `executable`: the `slug` that pip installs with slugpy.
    - `data`: folder whose `data/` holds tracks, spectra and filters, as in `$SLUG_DIR`.
    - `tracks`, `spectra`, `filters`: their names in the registries.
    """

    executable: pathlib.Path
    data: pathlib.Path
    tracks: str = "PARSEC12"
    spectra: str = "CK04X"
    filters: tuple[str, ...] = tuple(
        f"HSTPC.WFC3_UVIS1.{band.filter}" for band in BANDS.values() if band.camera == "WFC3_UVIS"
    )

    def __post_init__(self) -> None:
        if not self.executable.is_file():
            raise FileNotFoundError(
                f"{self.executable} is not there; expected SLUG's executable, such as the `slug` "
                "that is installed with slugpy"
            )
        if not (self.data / "data").is_dir():
            raise FileNotFoundError(
                f"{self.data} has no folder data; expected what $SLUG_DIR names, with "
                "data/tracks, data/spectra and data/filters"
            )

    def cpu_seconds(self, n: int, log_mass: float | tuple[float, float], seed: int) -> float:
        """CPU time of a run of n clusters, start-up included, on one thread."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            mass = f'"{folder / "mass.toml"}"'
            if not isinstance(log_mass, tuple):
                mass = repr(10**log_mass)
            else:
                _write_power_law(folder / "mass.toml", 10 ** log_mass[0], 10 ** log_mass[1], -1)
            _write_power_law(folder / "times.toml", 10 ** LOG_AGES[0], 10 ** LOG_AGES[1], -1)
            _write_power_law(folder / "av.toml", *A_V, 0)
            deck = folder / "deck.toml"
            deck.write_text(
                _DECK.format(
                    n=n,
                    seed=seed,
                    mass=mass,
                    tracks=self.tracks,
                    spectra=self.spectra,
                    filters=", ".join(f'"{band}"' for band in self.filters),
                )
            )
            before = _children_cpu()
            done = subprocess.run(
                [str(self.executable.absolute()), deck.name],
                cwd=folder,
                env={**os.environ, "SLUG_DIR": str(self.data.absolute()), "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
            )
            if done.returncode != 0 or not (folder / "timed.h5").is_file():
                raise ValueError(
                    f"{self.executable} failed (exit code {done.returncode}): "
                    f"{(done.stderr or done.stdout).strip()[-500:]}"
                )
            return _children_cpu() - before


def bench_simulate(
    n: int = 4000,
    seed: int = 0,
    slug: SlugProgram | None = None,
    large: int = 0,
    processes: int = 2,
) -> Iterator[Result]:
    """Clusters per second by mass, for a library and, if asked for, for a large library.

    **Arguments:**

    - `n`: clusters of each measurement, at least 100.
    - `slug`: SLUG v3's executable to time in the same run.
    - `large`: clusters of one more library, log-uniform in 10²-10⁸ M_sun, drawn by `processes`.
    """
    if n < 100:
        raise ValueError(f"n is {n}; rates from fewer than 100 clusters mean nothing")
    clock = Clock()
    population = _population()
    read = clock.read()
    for index in range(len(population.grid.log_age) - 1):
        population.interval(index)
    prepared = clock.read()
    facts: Result = {
        "benchmark": "simulate",
        "n_bands": len(population.bands),
        "cpu_count": os.cpu_count() or 0,
    }
    yield _rounded(
        {**facts, "case": "prepare", "read_grid_s": read[0], "bin_population_cpu_s": prepared[1]}
    )
    _draw(population, n=200, log_mass=LIBRARY, seed=seed)
    start_up = 0.0
    if slug is not None:
        start_up = min(slug.cpu_seconds(1, 2.0, seed + i) for i in range(3))
        yield _rounded({**facts, "case": "slug3 start-up", "slug3_cpu_s": start_up})
    cost = {}
    for log_mass in (*LOG_MASSES, LIBRARY):
        name = "library" if isinstance(log_mass, tuple) else f"1e{log_mass:.0f}"
        load = os.getloadavg()[0]
        wall, cpu = _draw(population, n, log_mass, seed)
        cost[name] = cpu / n
        result: Result = {
            **facts,
            "case": name,
            "n_clusters": n,
            "load_average": load,
            "wall_s": wall,
            "cpu_s": cpu,
            "clusters_per_s": n / wall,
            "clusters_per_cpu_s": n / cpu,
        }
        trials = _SLUG_LIBRARY if isinstance(log_mass, tuple) else _SLUG_TRIALS.get(log_mass, 0)
        if slug is not None and trials:
            spent = slug.cpu_seconds(trials, log_mass, seed) - start_up
            result |= {
                "slug3_n_clusters": trials,
                "slug3_n_filters": len(slug.filters),
                "slug3_clusters_per_cpu_s": trials / spent,
                "ratio_slug3_cpu": spent / trials * n / cpu,
            }
        if log_mass == LIBRARY:
            for program, (rate, meaning) in PUBLISHED.items():
                result[f"published_{program}"] = meaning
                result[f"published_{program}_rate"] = rate
                result[f"ratio_published_{program}"] = n / cpu / rate
        yield _rounded(result)
    yield _rounded({**facts, "case": "cost at 1e8 / 1e4", "ratio_cpu": cost["1e8"] / cost["1e4"]})
    if large:
        yield _rounded({**facts, **_large(large, seed, processes)})


def _draw(
    population: StellarPopulation, n: int, log_mass: float | tuple[float, float], seed: int
) -> tuple[float, float]:
    """Wall-clock and CPU seconds of drawing n clusters."""
    rng = np.random.default_rng(seed)
    low, high = log_mass if isinstance(log_mass, tuple) else (log_mass, log_mass)
    theta = rng.uniform(low, high, n), rng.uniform(*LOG_AGES, n), rng.uniform(*A_V, n)
    clock = Clock()
    draw_clusters(population, *theta, np.arange(seed, seed + n), DrawSettings())
    return clock.read()


def _large(n: int, seed: int, processes: int) -> Result:
    """A library of n clusters drawn by several processes, each one chunk after another."""
    started = time.perf_counter()
    chunks = [(min(_CHUNK, n - start), seed + start) for start in range(0, n, _CHUNK)]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, context) as pool:
        found = list(pool.map(_chunk, *zip(*chunks, strict=True)))
    rates: Result = {
        "case": "large library, 1e2-1e8",
        "n_clusters": n,
        "processes": processes,
        "wall_s": time.perf_counter() - started,
        "cpu_s": sum(cpu for cpu, _, _ in found),
        "peak_memory_gb_per_process": max(memory for _, memory, _ in found),
        "finite_share": sum(finite for _, _, finite in found) / n,
    }
    return rates


def _chunk(n: int, seed: int) -> tuple[float, float, int]:
    """CPU seconds, peak memory (GB) and clusters with light, of a chunk in a process of its own."""
    clock = Clock()
    population = _population()
    rng = np.random.default_rng(seed)
    theta = rng.uniform(2, 8, n), rng.uniform(*LOG_AGES, n), rng.uniform(*A_V, n)
    drawn = draw_clusters(population, *theta, np.arange(seed, seed + n))
    unit = 1e9 if sys.platform == "darwin" else 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return clock.read()[1], peak, int(np.isfinite(drawn.abs_mags).all(1).sum())


@functools.cache
def _population() -> StellarPopulation:
    return StellarPopulation(StellarGrid.default(), Chabrier())


def _write_power_law(path: pathlib.Path, low: float, high: float, slope: int) -> None:
    path.write_text(_POWER_LAW.format(low=low, high=high, slope=slope))


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _rounded(result: Result) -> Result:
    return {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in result.items()}
