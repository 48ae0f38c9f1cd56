"""Injections where a galaxy's catalogued clusters are, to learn a survey from and to draw one from.

`python -m tests.inference.held_out_injections FOLDER [N]` writes into FOLDER the files of
`experiments/examples/observation` for N training and as many test injections (150,000) whose mean
magnitudes are uniform from V = 18.5 to 25.5 at 9.9 Mpc, and the table of their θ. Designs that are
flat in mass have a third of their clusters where P(det | μ) falls. Then, inside FOLDER:

    starcensus simulate galaxy galaxy.toml --out galaxy
    starcensus simulate library library.toml --out library.h5
    starcensus inject training.toml --out training.h5
    starcensus inject test.toml --out test.h5
"""

import argparse
import pathlib

import numpy as np
from astropy.table import Table
from benchmarks.known_light import BANDS, MODULUS, engine

from starcensus.simulate import ssp_abs_mags
from starcensus.simulate.library.engine import population_of_engine

EXAMPLES = pathlib.Path(__file__).parents[2] / "experiments" / "examples"
V = (18.5, 25.5)
LOG_MASS, LOG_AGE, A_V = (2.3, 6.5), (6.0, 10.1), (0.0, 3.0)
_THETA = '[theta]\nkind = "table"\npath = "theta.ecsv"\n\n'


def theta(n: int, seed: int) -> Table:
    """n masses, ages and extinctions: log age and A_V uniform, mass by a uniform mean V."""
    rng = np.random.default_rng(seed)
    stars, at = population_of_engine(engine()), BANDS.index("ACS_F555W")
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < n:
        log_age, a_v, mag = (rng.uniform(*ends, 2 * n) for ends in (LOG_AGE, A_V, V))
        of_one = ssp_abs_mags(stars, log_age, a_v)[:, at] + MODULUS
        log_mass = (of_one - mag) / 2.5
        kept = (log_mass >= LOG_MASS[0]) & (log_mass <= LOG_MASS[1])
        parts.append(np.stack([log_mass, log_age, a_v], axis=1)[kept])
    return Table(np.concatenate(parts)[:n], names=("log_mass", "log_age", "a_v"))


def write(folder: pathlib.Path, n: int) -> None:
    """All files of the study."""
    folder.mkdir(parents=True, exist_ok=True)
    of = EXAMPLES / "observation"
    text = (of / "library.toml").read_text()
    start, stop = text.index("# Lighter"), text.index("[radius]")
    text = (text[:start] + _THETA + text[stop:]).replace("n = 110_000", f"n = {2 * n}")
    old = "log-uniform in mass and age, uniform in extinction"
    text = text.replace(old, "of a uniform mean V")
    (folder / "library.toml").write_text(text)
    training = (of / "training.toml").read_text().replace("60_000", str(n))
    training = training.replace("60,000", f"{n:,}")
    test = (of / "test.toml").read_text().replace("50_000", str(n)).replace("60_000", str(n))
    test = test.replace("50,000", f"{n:,}")
    (folder / "training.toml").write_text(training)
    (folder / "test.toml").write_text(test)
    galaxy = (EXAMPLES / "completeness" / "galaxy.toml").read_text()
    (folder / "galaxy.toml").write_text(galaxy)
    theta(2 * n, 41).write(folder / "theta.ecsv", overwrite=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("n", type=int, nargs="?", default=150_000)
    given = parser.parse_args()
    write(given.folder, given.n)


if __name__ == "__main__":
    main()
