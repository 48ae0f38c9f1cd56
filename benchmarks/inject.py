"""How fast clusters are injected and catalogued, and where the time goes.

A frame of the default synthetic galaxy (five bands) takes clusters of 10²-10⁶ M_sun, 10⁶-10¹⁰ yr
and A_V 0-3 mag, and goes through the whole LEGUS pipeline, in one process. CPU times depend less
than wall-clock times on what else the machine does.
"""

import os
import time
from collections.abc import Callable

import numpy as np

from benchmarks.fit import Clock, Result
from starcensus.extras import need
from starcensus.selection.injection import InjectionPlan, Injector
from starcensus.selection.pipeline import LegusPipeline
from starcensus.simulate import (
    ClusterLibrary,
    StellarGrid,
    StellarPopulation,
    Templates,
    default_psfs,
    draw_clusters,
)
from starcensus.simulate.images.galaxy import GalaxySettings, make_galaxy

STAGES: tuple[str, ...] = ("place", "inject", "pipeline", "match")
RADII_PC = (3.0,)


def bench_inject(
    frames: int = 3,
    side: int = 2048,
    per_frame: int = 250,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Result:
    """Injections per second of one process, and seconds per frame of each stage.

    **Arguments:**

    - `frames`: how many are timed, spread over all magnitudes. `side`: of the galaxy, pixels.
    - `per_frame`: most clusters in a frame.

    Templates, the catalogue of the untouched frame and the placement density, which all frames of a
    test share, are made before and timed apart.
    """
    need("galsim", "sep", purpose="images")
    progress("the galaxy")
    settings = GalaxySettings(shape=(side, side))
    stars = StellarPopulation(StellarGrid.default())
    psfs = default_psfs(settings.bands)
    frame = make_galaxy(settings, stars, psfs, seed).frame
    progress("clusters")
    n, rng = frames * per_frame, np.random.default_rng(seed)
    theta = rng.uniform(2, 6, n), rng.uniform(6, 10, n), rng.uniform(0, 3, n)
    light = draw_clusters(stars, *theta, np.arange(n))
    library = ClusterLibrary(*theta, stars.bands, light.abs_mags, np.zeros(n))
    plan = InjectionPlan(n_clusters=n, per_frame=per_frame, radii_pc=RADII_PC, seed=seed)
    survey = LegusPipeline.for_field(frame, psfs)
    templates = Templates(psfs, frame.pc_per_pixel, exact=RADII_PC)
    injector = Injector(frame, library, templates, survey, plan)
    progress("what frames share")
    clock = Clock()
    for band in frame.bands:
        templates.get(band, RADII_PC[0])
    _ = injector.control, injector.density
    shared = clock.read()
    wall, cpu = dict.fromkeys(STAGES, 0.0), dict.fromkeys(STAGES, 0.0)
    last = time.process_time()

    def tick(stage: str, seconds: float) -> None:
        nonlocal last
        now = time.process_time()
        wall[stage] += seconds
        cpu[stage] += now - last
        last = now

    injected = catalogued = 0
    numbers = np.unique(np.linspace(0, injector.n_frames - 1, frames).astype(int))
    for number in numbers:
        progress(f"frame {number}")
        last = time.process_time()
        table = injector.run(int(number), tick)
        injected += len(table)
        catalogued += int(table.catalogued.sum())
    total_wall, total_cpu = sum(wall.values()), sum(cpu.values())
    result: Result = {
        "benchmark": "inject",
        "n_bands": len(frame.bands),
        "n_pixels": side * side,
        "n_frames": len(numbers),
        "n_injected": injected,
        "n_catalogued": catalogued,
        "n_detected_without": len(injector.control),
        "cpu_count": os.cpu_count() or 0,
        "load_average": os.getloadavg()[0],
        "injections_per_s": injected / total_wall,
        "injections_per_cpu_s": injected / total_cpu,
        "shared_wall_s": shared[0],
        "shared_cpu_s": shared[1],
    }
    for stage in STAGES:
        result[f"{stage}_wall_s_per_frame"] = wall[stage] / len(numbers)
        result[f"{stage}_cpu_s_per_frame"] = cpu[stage] / len(numbers)
    return {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in result.items()}
