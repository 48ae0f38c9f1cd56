"""Injections where a galaxy's catalogued clusters are, to learn a survey from and to draw one from.

`python -m tests.inference.held_out_injections FOLDER [N --populations SHARE]` writes into FOLDER
the files of `experiments/examples/observation` for N training and as many test injections
(150,000), and the table of their θ. Of these a share (0.75) is of the populations of `light_study`,
with mean magnitudes from V = 18.5 to 25.5 at 9.9 Mpc, and the others uniform in that V, log age and
A_V.
Designs that are flat in mass have a third of their clusters where P(det | μ) falls, and those that
are flat in V few with the colours of a galaxy's clusters (`held_out_edge` says by how much the
number of catalogued clusters is uncertain for that). Then, inside FOLDER:

    starcensus simulate galaxy galaxy.toml --out galaxy
    starcensus simulate library library.toml --out library.h5
    starcensus inject training.toml --out training.h5
    starcensus inject test.toml --out test.h5
"""

import argparse
import pathlib
from collections.abc import Callable

import jax
import numpy as np
from astropy.table import Table
from benchmarks.known_light import BANDS, MODULUS, engine
from tests.inference.light_study import model

from starcensus.forward.mock import draw_theta
from starcensus.inference import double_precision
from starcensus.simulate import ssp_abs_mags
from starcensus.simulate.library.engine import population_of_engine

EXAMPLES = pathlib.Path(__file__).parents[2] / "experiments" / "examples"
V = (18.5, 25.5)
LOG_MASS, LOG_AGE, A_V = (2.3, 6.5), (6.0, 10.1), (0.0, 3.0)
_THETA = '[theta]\nkind = "table"\npath = "theta.ecsv"\n\n'


def theta(n: int, seed: int, share_of_populations: float) -> Table:
    """n masses, ages and extinctions in random order."""
    rng = np.random.default_rng(seed)
    n_own = round(share_of_populations * n)
    parts = [
        _until(n_own // 2, lambda k: _of_population("mid", k + seed)),
        _until(n_own - n_own // 2, lambda k: _of_population("mdd", k + seed)),
        _until(n - n_own, lambda _: _of_uniform_v(2 * n, rng)),
    ]
    return Table(rng.permutation(np.concatenate(parts)), names=("log_mass", "log_age", "a_v"))


def _until(n: int, drawn: Callable[[int], np.ndarray]) -> np.ndarray:
    """The first n of as many draws as it takes."""
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < n:
        parts.append(drawn(len(parts)))
    return np.concatenate([np.empty((0, 3)), *parts])[:n]


def _mean_v(log_age: np.ndarray, a_v: np.ndarray) -> np.ndarray:
    """Mean V of clusters of 1 M☉."""
    stars, at = population_of_engine(engine()), BANDS.index("ACS_F555W")
    return ssp_abs_mags(stars, log_age, a_v)[:, at] + MODULUS


def _of_population(disruption: str, seed: int) -> np.ndarray:
    with double_precision():
        number, places = jax.random.split(jax.random.key(seed))
        drawn = np.asarray(draw_theta(number, places, model(disruption, 2.0).population))
    v = _mean_v(drawn[:, 1], drawn[:, 2]) - 2.5 * drawn[:, 0]
    return drawn[(v >= V[0]) & (v <= V[1])]


def _of_uniform_v(n: int, rng: np.random.Generator) -> np.ndarray:
    log_age, a_v, mag = (rng.uniform(*ends, n) for ends in (LOG_AGE, A_V, V))
    log_mass = (_mean_v(log_age, a_v) - mag) / 2.5
    kept = (log_mass >= LOG_MASS[0]) & (log_mass <= LOG_MASS[1])
    return np.stack([log_mass, log_age, a_v], axis=1)[kept]


def write(folder: pathlib.Path, n: int, share_of_populations: float) -> None:
    """All files of the study."""
    folder.mkdir(parents=True, exist_ok=True)
    of = EXAMPLES / "observation"
    text = (of / "library.toml").read_text()
    start, stop = text.index("# Lighter"), text.index("[radius]")
    text = (text[:start] + _THETA + text[stop:]).replace("n = 110_000", f"n = {2 * n}")
    old = "log-uniform in mass and age, uniform in extinction"
    text = text.replace(old, "as theta.ecsv has them")
    (folder / "library.toml").write_text(text)
    training = (of / "training.toml").read_text().replace("60_000", str(n))
    training = training.replace("60,000", f"{n:,}")
    test = (of / "test.toml").read_text().replace("50_000", str(n)).replace("60_000", str(n))
    test = test.replace("50,000", f"{n:,}")
    (folder / "training.toml").write_text(training)
    (folder / "test.toml").write_text(test)
    galaxy = (EXAMPLES / "completeness" / "galaxy.toml").read_text()
    (folder / "galaxy.toml").write_text(galaxy)
    theta(2 * n, 41, share_of_populations).write(folder / "theta.ecsv", overwrite=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("n", type=int, nargs="?", default=150_000)
    words = "share of the clusters that are of the populations (0.75)"
    parser.add_argument("--populations", type=float, default=0.75, help=words)
    given = parser.parse_args()
    write(given.folder, given.n, given.populations)


if __name__ == "__main__":
    main()
