"""Where ages of LMC clusters from integrated light differ from those of their CMDs, and why.

    python -m benchmarks.lmc OUT --data DIR --figure docs/figures/lmc_ages.png

`OUT` is what `starcensus run experiments/examples/lmc_ages.toml --data DIR --out OUT` wrote.
"""

import argparse
import dataclasses
import pathlib

import numpy as np
from jaxtyping import Bool, Float

from starcensus.experiments.report.measured import paint_reference
from starcensus.experiments.report.style import save_figure
from starcensus.inference import Agreement
from starcensus.selection.catalogue import ColumnMap, read_table
from starcensus.text_tables import text_table

TABLE = "lmc/lmc_cmd_ages_a.dat"
COLUMNS = {
    "cmd": 11,
    "cmd_error": 12,
    "colour_excess": 13,
    "popescu": 14,
    "mass": 17,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Ages:
    """Ages of the same clusters, log10 yr, `(n,)` each.

    **Arguments:**

    - `mine`, `low`, `high`: mean and 16 and 84% of the posterior.
    - `cmd`, `cmd_error`: of the CMD. `popescu`: of Popescu et al. (2012).
    - `colour_excess`: E(B-V), mag. `mass`: M_sun, of Popescu et al.
    """

    mine: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]
    cmd: Float[np.ndarray, " n"]
    cmd_error: Float[np.ndarray, " n"]
    popescu: Float[np.ndarray, " n"]
    colour_excess: Float[np.ndarray, " n"]
    mass: Float[np.ndarray, " n"]

    @classmethod
    def read(cls, out: pathlib.Path, data: pathlib.Path) -> "Ages":
        """Of a finished run, and of the table that it read."""
        found = text_table(out / "objects.ecsv", "ascii.ecsv")
        column_map = ColumnMap.of_tables(
            {"id": 1, "n_fields": 20, "estimates": False, "columns": COLUMNS}, TABLE
        )
        table = read_table(data / TABLE, column_map)
        place = {str(name): i for i, name in enumerate(table.ids)}
        rows = np.array([place[str(name)] for name in found["id"]])
        mine = (np.asarray(found[f"log_age_{name}"], float) for name in ("mean", "p16", "p84"))
        theirs = {name: np.asarray(table.columns[name], float)[rows] for name in COLUMNS}
        return cls(*mine, **theirs)

    def groups(self) -> dict[str, Bool[np.ndarray, " n"]]:
        """Clusters that are alike."""
        found = {"all": np.ones(len(self.mine), bool)}
        for error in np.unique(self.cmd_error):
            found[f"CMD error {error:g} dex"] = self.cmd_error == error
        found["E(B-V) < 0.15"] = self.colour_excess < 0.15
        found["E(B-V) >= 0.15"] = self.colour_excess >= 0.15
        found["mass < 1500"] = self.mass < 1500
        found["mass >= 1500"] = self.mass >= 1500
        return found

    def shared(self) -> tuple[float, float, float]:
        """Scatter, dex, that both differences from the CMD share, and that each has alone."""
        both = np.cov(self.mine - self.cmd, self.popescu - self.cmd)
        alone = np.maximum(np.diag(both) - both[0, 1], 0.0)
        return float(np.sqrt(both[0, 1])), float(np.sqrt(alone[0])), float(np.sqrt(alone[1]))


@dataclasses.dataclass(frozen=True, eq=False)
class _Shown:
    """The ages as the report's figure takes them."""

    ages: Ages
    name: str = "cmd"
    unit: str = "dex"
    label: str = "log age of the CMD"
    beside_label: str = "MASSCLEAN"
    theirs: None = None

    @property
    def mine(self) -> Agreement:
        return Agreement.of(self.ages.mine, self.ages.cmd)

    @property
    def reference(self) -> Float[np.ndarray, " n"]:
        return self.ages.cmd

    @property
    def error(self) -> None:
        return None

    @property
    def beside(self) -> Float[np.ndarray, " n"]:
        return self.ages.popescu

    @property
    def estimate(self) -> Float[np.ndarray, " n"]:
        return self.ages.mine

    @property
    def low(self) -> Float[np.ndarray, " n"]:
        return self.ages.low

    @property
    def high(self) -> Float[np.ndarray, " n"]:
        return self.ages.high


def words(ages: Ages) -> list[str]:
    """A line for each group, and the scatter that both methods share."""
    lines = [f"{'':22s} {'n':>4s} {'rms':>6s} {'median':>7s} {'>0.5':>6s} {'>1':>6s}   MASSCLEAN"]
    for name, some in ages.groups().items():
        cells = []
        for estimate in (ages.mine, ages.popescu):
            found = Agreement.of(estimate[some], ages.cmd[some])
            cells.append(
                f"{found.rms:6.3f} {found.median:+7.3f} {found.share_off_0_5:6.1%} "
                f"{found.share_off_1:6.1%}"
            )
        lines.append(f"{name:22s} {int(some.sum()):4d} {'   '.join(cells)}")
    both, mine, theirs = ages.shared()
    lines.append(
        f"scatter about the CMD ages that both share {both:.3f} dex; alone {mine:.3f} here, "
        f"{theirs:.3f} MASSCLEAN"
    )
    return lines


def figure(ages: Ages, path: pathlib.Path) -> None:
    """Measured ages against those of the CMD, and the differences."""
    from matplotlib.figure import Figure

    def make() -> Figure:
        made = Figure(figsize=(9.4, 4.6))
        paint_reference(made, _Shown(ages))
        return made

    save_figure(path, make)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--figure", type=pathlib.Path)
    given = parser.parse_args()
    ages = Ages.read(given.out, given.data)
    print("\n".join(words(ages)))
    if given.figure is not None:
        figure(ages, given.figure)


if __name__ == "__main__":
    main()
