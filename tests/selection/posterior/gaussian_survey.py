"""A survey that is a Gaussian: it says each parameter with a bias and an error."""

import numpy as np

from starcensus.selection.finder.cells import PARAMETERS
from starcensus.selection.injection import InjectionTable
from starcensus.selection.pipeline import Detections

LOW = {"log_age": 6.5, "a_v": 0.0, "log_mass": 3.0, "log_r_eff_pc": 0.0}
HIGH = {"log_age": 8.5, "a_v": 2.0, "log_mass": 5.0, "log_r_eff_pc": 1.0}
SD = {"log_age": 0.3, "a_v": 0.4, "log_mass": 0.15, "log_r_eff_pc": 0.1}
BIAS, LIMIT = 0.25, 4.0
NAMES = {name: f"said_{name}" for name in PARAMETERS}


def injections(n: int, seed: int, truth: dict[str, np.ndarray] | None = None) -> InjectionTable:
    """Clusters even in all parameters, or those of `truth`; what is said to be massive is kept."""
    rng = np.random.default_rng(seed)
    even = {name: rng.uniform(LOW[name], HIGH[name], n) for name in PARAMETERS}
    truth = even if truth is None else truth
    said = {NAMES[k]: rng.normal(v + BIAS, SD[k]) for k, v in truth.items()}
    blank = np.full((n, 1), np.nan)
    volume = np.prod([HIGH[k] - LOW[k] for k in ("log_age", "a_v", "log_mass")])
    return InjectionTable(
        bands=("ACS_F555W",),
        frame=np.zeros(n, int),
        cluster=np.arange(n),
        repeat=np.zeros(n, int),
        log_mass=truth["log_mass"],
        log_age=truth["log_age"],
        a_v=truth["a_v"],
        r_eff_pc=10 ** truth["log_r_eff_pc"],
        true_mags=np.zeros((n, 1)),
        x=rng.uniform(0, 900, n),
        y=rng.uniform(0, 900, n),
        background=np.ones(n),
        crowding=np.zeros(n),
        log_density=np.full(n, -np.log(volume)),
        detected=np.ones(n, bool),
        already_there=np.zeros(n, bool),
        catalogued=said[NAMES["log_mass"]] > LIMIT,
        measured_mags=blank,
        measured_errors=blank,
        ci=np.full(n, np.nan),
        cuts={"massive": said[NAMES["log_mass"]] > LIMIT},
        meta={"bands": ["ACS_F555W"], "distance_modulus": 29.98, "pipeline": {"pipeline": "toy"}},
        measured=said,
    )


def detections(table: InjectionTable) -> Detections:
    n = len(table)
    blank = np.full((n, 1), np.nan)
    return Detections(
        ("ACS_F555W",), table.x, table.y, blank, blank, table.ci, table.cuts, table.measured,
        distance_modulus=29.98, pipeline={"pipeline": "toy"},
    )  # fmt: skip


def exact(table: InjectionTable) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Mean, sd-scaled ends of the truncated Gaussians that the posteriors are: the cut is one of
    what was said alone, so that it does not enter."""
    found = {}
    for k in PARAMETERS:
        middle = table.measured[NAMES[k]] - BIAS
        found[k] = middle, (LOW[k] - middle) / SD[k], (HIGH[k] - middle) / SD[k]
    return found
