"""Memory and time where there is much: `python -m benchmarks.load` prints docs/results/load.md.

Each measurement is a process of its own, whose peak memory the system counts, less what the same
imports take. Times are those of this machine, while it may do other things; ratios say more.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

_MAP = """id = "id"
[mass]
column = "mass"
unit = "Msun"
sigma = "e_mass"
[age]
column = "age"
unit = "yr"
sigma = "e_age"
[a_v]
column = "av"
unit = "mag"
sigma = "e_av"
"""


def library(n: int, folder: pathlib.Path) -> Callable[[], object]:
    """Draw a library in shards of 20,000, and read it in pieces."""
    from starcensus.simulate import (
        BoxTheta,
        ClusterLibrary,
        Design,
        StarcensusEngine,
        StellarGrid,
        run_library,
    )

    design = Design(n, 1, BoxTheta((2.0, 5.0), (6.0, 10.0), (0.0, 3.0)))
    engine = StarcensusEngine(StellarGrid.default().bands[:5])

    def work() -> int:
        run_library(design, engine, folder / "library.h5")
        return sum(len(part) for part in ClusterLibrary.chunks(folder / "library.h5"))

    return work


def catalogue(n: int, folder: pathlib.Path) -> Callable[[], object]:
    """Read a table of one's own, CSV, through a column map, and apply a cut."""
    from starcensus.selection.catalogue import ColumnMap, apply_cuts, cuts_of, read_catalogue

    rng = np.random.default_rng(0)
    mass, age = 10 ** rng.uniform(3, 6, n), 10 ** rng.uniform(6, 9, n)
    columns = [np.arange(n), mass, 0.1 * mass, age, 0.1 * age, rng.uniform(0, 2, n)]
    table = np.stack([*columns, np.full(n, 0.1)], axis=1)
    path = folder / "catalogue.csv"
    formats = ["%d", *["%.5e"] * 4, "%.4f", "%.2f"]
    names = "id,mass,e_mass,age,e_age,av,e_av"
    np.savetxt(path, table, formats, delimiter=",", header=names, comments="")
    (folder / "map.toml").write_text(_MAP)
    column_map = ColumnMap.from_toml(folder / "map.toml")

    def work() -> int:
        found = read_catalogue(path, "table", column_map=column_map)
        return len(apply_cuts(found, cuts_of([{"name": "theta_range", "log_mass": [3.5, 6.0]}])))

    return work


def operator(n: int, folder: pathlib.Path) -> Callable[[], object]:
    """Ask the operator of networks that the package carries for p_sel."""
    import importlib.resources

    from starcensus.selection import load_selection

    data = importlib.resources.files("starcensus.experiments") / "data" / "legus_synthetic.h5"
    asked = load_selection(str(data))
    rng = np.random.default_rng(0)
    theta = [rng.uniform(low, high, n).astype("f4") for low, high in ((3, 6), (6, 9), (0, 2))]

    def work() -> float:
        return float(np.asarray(asked.p_sel(*theta)).mean())

    return work


def report(n: int, folder: pathlib.Path) -> Callable[[], object]:
    """The report of a fit of n clusters, with a made posterior."""
    from tests.experiments.test_report import write_fit

    from starcensus.experiments.report import write_report

    write_fit(folder / "fit", n_clusters=n)

    def work() -> int:
        return write_report(folder / "fit").stat().st_size

    return work


WORK = {"library": library, "catalogue": catalogue, "operator": operator, "report": report}
SIZES = {
    "library": (20_000, 200_000),
    "catalogue": (100_000, 1_000_000),
    "operator": (1_000_000, 10_000_000),
    "report": (10_000, 100_000),
}


def _measure(name: str, n: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = WORK[name](n, pathlib.Path(folder))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = {"of": name, "n": n, "seconds": round(seconds, 1), "result": result}
    print(json.dumps(line | {"peak_mb": peak // 1024, "more_mb": (peak - before) // 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=WORK, help="one of the measurements")
    parser.add_argument("--n", type=int, help="of this size alone")
    options = parser.parse_args()
    if options.only and options.n:
        _measure(options.only, options.n)
        return
    print("| | n | time | peak memory | of which the work |\n|---|---:|---:|---:|---:|")
    for name in [options.only] if options.only else list(WORK):
        for n in SIZES[name]:
            command = [sys.executable, "-m", "benchmarks.load", "--only", name, "--n", str(n)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            row = f"{found['seconds']:.1f} s | {found['peak_mb']} MB | {found['more_mb']} MB"
            print(f"| {name} | {n:,} | {row} |", flush=True)


if __name__ == "__main__":
    main()
