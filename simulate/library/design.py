"""Designs: at which θ, with which radius and from which seed each cluster of a library is drawn.

Everything about row i follows from the design's seed and i (`streams`), so that rows may be made in
any pieces and in any order.
"""

import dataclasses
import hashlib
import os
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt64

from starcensus.files import existing
from starcensus.settings import check_choices, check_seed
from starcensus.text_tables import any_table
from starcensus.theta import AXES, check_units

from .cells import CellTheta
from .radius import AbstractRadiusLaw
from .streams import RADIUS, SEEDS, SUBSET, THETA, key_of, sobol, uniform, words

Pair = tuple[float, float]
# With five bands, a file of some 100 GB.
MAX_CLUSTERS = 10**9


@dataclasses.dataclass(frozen=True)
class BoxTheta:
    """θ between limits: uniform in log_age and a_v, a power law in mass.

    **Arguments:**

    - `log_mass` (log10 M_sun), `log_age` (log10 yr), `a_v` (mag): (low, high); equal limits fix
      the value.
    - `mass_slope`: dN/dM ∝ M^mass_slope; -1 is uniform in log_mass.
    - `sequence`: `"random"`, or `"sobol"`, a scrambled Sobol sequence, whose points cover the box
      more evenly; n best is a power of two.

    Raises `ValueError` for limits that are not in order, or negative extinctions.

    ```python
    BoxTheta(log_mass=(2.0, 7.0), mass_slope=-1.5, sequence="sobol").bounds()
    ```
    """

    log_mass: Pair = (2.0, 6.0)
    log_age: Pair = (6.0, 10.0)
    a_v: Pair = (0.0, 3.0)
    mass_slope: float = -1.0
    sequence: Literal["random", "sobol"] = "random"

    def __post_init__(self) -> None:
        for name in AXES:
            low, high = getattr(self, name)
            if not (np.isfinite([low, high]).all() and low <= high):
                raise ValueError(
                    f"{name} = [{low:g}, {high:g}]; expected finite limits, the lower one first "
                    "(equal limits fix the value)"
                )
            check_units(name, low, high)
        if not np.isfinite(self.mass_slope):
            raise ValueError(f"mass_slope is {self.mass_slope}; expected a finite number")
        if self.a_v[0] < 0:
            raise ValueError(f"a_v starts at {self.a_v[0]:g} mag; expected 0 or more")
        check_choices(self)

    def bounds(self) -> dict[str, Pair]:
        return {name: getattr(self, name) for name in AXES}

    def describe(self) -> dict[str, Any]:
        return {"kind": "box", **dataclasses.asdict(self)}

    def rows(self, seed: int, n: int, start: int, stop: int) -> dict[str, np.ndarray]:
        """Columns of θ, and of ln π(θ) over the axes that vary."""
        if self.sequence == "sobol":
            u = sobol(seed, start, stop)
        else:
            u = uniform(words(seed, THETA, start, stop))[:, :3]
        log_density = np.zeros(stop - start)
        columns = {}
        for axis, name in enumerate(AXES):
            low, high = getattr(self, name)
            slope = (self.mass_slope + 1) * np.log(10) if name == "log_mass" else 0.0
            columns[name], density = _power(u[:, axis], low, high, slope)
            log_density += density
        return {**columns, "log_density": log_density}


@dataclasses.dataclass(frozen=True, eq=False)
class TableTheta:
    """θ from a table; fewer rows than it has are taken at random without repeats.

    A whole table keeps its order.

    **Arguments:**

    - `columns`: `log_mass`, `log_age`, `a_v` (dex, dex, mag) and, if known, `log_density`
      (natural logarithm, per dex, dex and mag) and `r_eff_pc` (pc), each `(row,)`.
    - `source`: the name of the table, for messages.

    Raises `ValueError` for columns that are missing, differ in length or are not finite.

    ```python
    theta = {"log_mass": np.array([3.0, 4.0]), "log_age": np.array([7.0, 8.0]), "a_v": np.zeros(2)}
    Design(2, theta=TableTheta(theta)).rows(0, 2)["log_age"]
    ```
    """

    columns: dict[str, Float[np.ndarray, "row"]]
    source: str = "table"

    def __post_init__(self) -> None:
        missing = [name for name in AXES if name not in self.columns]
        if missing:
            raise ValueError(
                f"{self.source} has no column {', '.join(missing)}; expected log_mass, log_age, "
                f"a_v [, r_eff_pc] [, log_density], it has {', '.join(self.columns)}"
            )
        for name, values in self.columns.items():
            if values.shape != self.columns["log_mass"].shape:
                raise ValueError(f"{self.source}: columns differ in length")
            # An unknown density is NaN; nothing else may be.
            good = ~np.isinf(values) if name == "log_density" else np.isfinite(values)
            if name in ("a_v", "r_eff_pc"):
                good &= values >= 0 if name == "a_v" else values > 0
            if not good.all():
                row = int(np.argmin(good))
                least = {"a_v": " of 0 mag or more", "r_eff_pc": " above 0 pc"}.get(name, "")
                raise ValueError(
                    f"{self.source}, row {row + 1}: {name} is {values[row]:g}; expected a finite "
                    f"number{least}"
                )
        if len(self) == 0:
            raise ValueError(f"{self.source} has no rows")

    def __len__(self) -> int:
        return len(self.columns["log_mass"])

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "TableTheta":
        """From any file that astropy reads: ECSV, FITS, CSV."""
        path = existing(path, "table of θ")
        table = any_table(path, "table of θ")
        columns = {}
        for name in (*AXES, "log_density", "r_eff_pc"):
            if name in table.colnames:
                column = np.ma.asarray(table[name])
                try:
                    columns[name] = np.ma.filled(column.astype(float), np.nan)
                except ValueError as error:
                    raise ValueError(f"{path}: column {name} is not of numbers") from error
        if missing := [name for name in AXES if name not in columns]:
            raise ValueError(
                f"{path} has no column {', '.join(missing)}; it has "
                f"{', '.join(table.colnames) or 'none'}"
            )
        return cls(columns, path.name)

    def bounds(self) -> dict[str, Pair]:
        return {n: (float(self.columns[n].min()), float(self.columns[n].max())) for n in AXES}

    def describe(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for name in sorted(self.columns):
            digest.update(name.encode() + np.ascontiguousarray(self.columns[name], "<f8").tobytes())
        return {
            "kind": "table",
            "source": self.source,
            "rows": len(self),
            "columns": sorted(self.columns),
            "sha256": digest.hexdigest(),
        }

    def rows(self, seed: int, n: int, start: int, stop: int) -> dict[str, np.ndarray]:
        if n > len(self):
            raise ValueError(
                f"n is {n} but {self.source} has {len(self)} rows, which are used without repeats; "
                f"expected n of at most {len(self)}, or no n"
            )
        if n < len(self):
            generator = np.random.Generator(np.random.Philox(key=key_of(seed, SUBSET)))
            chosen = generator.permutation(len(self))[:n][start:stop]
        else:
            chosen = np.arange(start, stop)
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return {"log_density": np.full(stop - start, np.nan), **columns}


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """What a library is to hold.

    **Arguments:**

    - `n`: number of clusters.
    - `seed`: seed of everything random.
    - `theta`: how θ is chosen.
    - `radius`: how radii are; None leaves them out, unless the table of θ has them.

    Raises `ValueError` for n below 1, above 10^9, above a table's rows, or a seed that is none.

    ```python
    design = Design(1000, seed=1, theta=BoxTheta(log_mass=(3.0, 6.0)), radius=MassRadius())
    design.rows(0, 3)["log_mass"]
    ```
    """

    n: int
    seed: int = 0
    theta: BoxTheta | TableTheta | CellTheta = BoxTheta()
    radius: AbstractRadiusLaw | None = None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n is {self.n}; expected at least 1 cluster")
        if self.n > MAX_CLUSTERS:
            raise ValueError(
                f"n is {self.n}; a library holds at most {MAX_CLUSTERS:,} clusters: make several, "
                "of other seeds"
            )
        check_seed(self.seed)
        if isinstance(self.theta, TableTheta):
            self.theta.rows(self.seed, self.n, 0, 0)

    def describe(self) -> dict[str, Any]:
        """The design as JSON; equal for equal libraries."""
        return {
            "n": self.n,
            "seed": self.seed,
            "theta": self.theta.describe(),
            "radius": None if self.radius is None else self.radius.describe(),
        }

    def rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Columns `log_mass`, `log_age`, `a_v`, `log_density`, `seed` and, if there are radii,
        `r_eff_pc` of the clusters start to stop."""
        if not 0 <= start <= stop <= self.n:
            raise ValueError(f"rows {start} to {stop}; expected a run inside 0 to {self.n}")
        columns = self.theta.rows(self.seed, self.n, start, stop)
        if self.radius is not None:
            u = uniform(words(self.seed, RADIUS, start, stop))[:, 0]
            columns["r_eff_pc"] = self.radius.draw(u, columns["log_mass"])
        if isinstance(self.theta, CellTheta):
            # The rows of one cluster share its seed, hence its stars.
            return {**columns, "seed": self.theta.of_clusters(row_seeds, self.seed, start, stop)}
        return {**columns, "seed": row_seeds(self.seed, start, stop)}


def row_seeds(seed: int, start: int, stop: int) -> UInt64[np.ndarray, "n"]:
    """The seeds of rows start to stop: the first word of their blocks of Philox."""
    return words(seed, SEEDS, start, stop)[:, 0].copy()


def _power(
    u: Float[np.ndarray, "n"], low: float, high: float, slope: float
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Quantiles u of p(x) ∝ exp(slope x) between the limits, and ln p there (0 for a fixed x)."""
    if low == high:
        return np.full(len(u), low), np.zeros(len(u))
    width = high - low
    if abs(slope * width) < 1e-9:
        return low + u * width, np.full(len(u), -np.log(width))
    # Measured from the end where the density is largest, so that nothing overflows.
    steep, end = abs(slope), high if slope > 0 else low
    depth = -np.log1p(u * np.expm1(-steep * width)) / steep
    x = np.clip(end - depth if slope > 0 else end + depth, low, high)
    return x, np.log(steep) - steep * depth - np.log(-np.expm1(-steep * width))
