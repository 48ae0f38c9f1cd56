"""Do fits of other galaxies find the population that their clusters were drawn from?

    cp -r experiments/examples/cnn/closure closure   # and the commands of docs/results/cnn.md
    python -m benchmarks.closure closure --seeds 101 102 103 104 105 106 107

A galaxy of each seed, with the population, stars and arms of `galaxy.toml`, is simulated and
catalogued, and fitted with the operator, the posterior and the observation model that were learned
from injections into one of them. What is finished is not done again. Prints, as JSON, one galaxy
after another and then all of them: clusters that the operator expects of those that are there, and
those that are catalogued; intervals that hold the truth.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
from jaxtyping import Float

from starcensus.files import read_text
from starcensus.inference import double_precision
from starcensus.selection import AbstractSelection, load_selection
from starcensus.text_tables import text_table
from starcensus.theta import AXES

SHARED = ("operator.h5", "posterior.h5", "observation.h5")
ROADS = {"posteriors": ("closure.toml", "fit"), "light": ("light.toml", "light")}


def prepare(folder: pathlib.Path, seed: int, roads: tuple[str, ...]) -> pathlib.Path:
    """The folder of a galaxy, with what is not there yet made by the commands of the docs."""
    here = folder / f"seed-{seed}"
    here.mkdir(exist_ok=True)
    text = re.sub(r"(?m)^seed = .*$", f"seed = {seed}", read_text(folder / "galaxy.toml"), count=1)
    (here / "galaxy.toml").write_text(text)
    for name in ("survey.toml", *(ROADS[road][0] for road in roads)):
        text = read_text(folder / name)
        for file in SHARED:
            text = text.replace(f'"{file}"', f'"../{file}"')
        (here / name).write_text(text)
    _do(here, "simulate", "galaxy", "galaxy.toml", "--out", "galaxy")
    _do(here, "detect", "survey.toml", "--out", "catalogue", "--truth", "galaxy")
    for road in roads:
        file, out = ROADS[road]
        _do(here, "run", file, "--out", out)
    return here


def _do(here: pathlib.Path, *words: str) -> None:
    if (here / words[words.index("--out") + 1] / "run.json").exists():
        return
    print("starcensus", *words, file=sys.stderr)
    program = pathlib.Path(sys.executable).with_name("starcensus")
    subprocess.run([program, *words], cwd=here, check=True, stdout=sys.stderr)


def counted(here: pathlib.Path, operator: AbstractSelection) -> dict[str, float]:
    """Of the galaxy's own clusters, how many the operator expects and how many are catalogued."""
    own = text_table(here / "galaxy/clusters.ecsv", "ascii.ecsv")
    theta = [np.asarray(own[name], float) for name in AXES]
    with double_precision():
        p: Float[np.ndarray, " n"] = np.asarray(operator.p_sel(*theta), float)
    return {
        "expected": float(p.sum()),
        "expected_variance": float((p * (1 - p)).sum()),
        "catalogued": len(text_table(here / "catalogue/known.ecsv", "ascii.ecsv")),
        "sources": json.loads(read_text(here / "catalogue/summary.json"))["n_catalogued"],
    }


def intervals(here: pathlib.Path, road: str) -> dict[str, tuple[float, float, float]]:
    """By parameter the truth, and the ends of its 95% interval."""
    meta = dict(text_table(here / "galaxy/clusters.ecsv", "ascii.ecsv").meta or {})
    found = json.loads(read_text(here / ROADS[road][1] / "summary.json"))
    held = {}
    for name, value in dict(meta["truth"]).items():
        low, high = (float(found[f"posterior.{name}.{end}"]) for end in ("p2_5", "p97_5"))
        held[name] = (float(value), low, high)
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--roads", nargs="+", choices=tuple(ROADS), default=list(ROADS))
    given = parser.parse_args()
    operator = load_selection(given.folder / "operator.h5")
    if not isinstance(operator, AbstractSelection):
        parser.error("operator.h5 is one of magnitudes; expected one of mass, age and extinction")
    counts, inside = [], {road: [] for road in given.roads}
    for seed in given.seeds:
        here = prepare(given.folder, seed, tuple(given.roads))
        counts.append(counted(here, operator))
        said = {"seed": seed, **counts[-1]}
        for road in given.roads:
            found = intervals(here, road)
            inside[road].append([low <= truth <= high for truth, low, high in found.values()])
            missed = [
                name for name, (truth, low, high) in found.items() if not low <= truth <= high
            ]
            said[road] = {"held": sum(inside[road][-1]), "of": len(found), "missed": missed}
        print(json.dumps(said), flush=True)
    sums = {name: sum(each[name] for each in counts) for name in counts[0]}
    shares = {f"{road}_held": float(np.mean(rows)) for road, rows in inside.items()}
    print(json.dumps({"seeds": len(counts), **sums, **shares}))


if __name__ == "__main__":
    main()
