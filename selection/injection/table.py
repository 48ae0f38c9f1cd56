"""One row for each artificial cluster: what was put in, where, and what became of it."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from starcensus.files import FileError, Path
from starcensus.hdf5 import Format, read_array, read_json_attribute

from ._checksum import columns_sha256

FORMAT = Format(
    name="starcensus injection table",
    version=1,
    what="injection table",
    remedy="expected a file that `starcensus inject` or `InjectionTable.save` wrote",
)
INTEGERS = ("frame", "cluster", "repeat")
FLOATS = ("log_mass", "log_age", "a_v", "r_eff_pc", "x", "y", "background", "crowding")
FLOATS += ("log_density", "ci")
# With what rows of tables that lack them have.
OPTIONAL = {"inclusion": np.nan, "place_weight": 1.0}
FLAGS = ("detected", "already_there", "catalogued")
PLANES = ("true_mags", "measured_mags", "measured_errors")
# Of tables of frames in which a band lacks data somewhere.
COVERED = "covered"
# Beginnings of the names of columns of which pipelines have more or fewer.
CUTS, MEASURED = "cuts/", "measured/"
# Keys of `meta` that the tables of one survey have in common.
OF_A_SURVEY = ("distance_modulus", "pipeline", "frame_sha256", "label")


@dataclasses.dataclass(frozen=True, eq=False)
class InjectionTable:
    """The result of artificial cluster tests. Properties and labels of a cluster share its row.

    **Arguments:**

    - `bands`: names of the columns of the magnitudes.
    - `frame`, `cluster`, `repeat`: `(n,)`, number of the frame, row of the cluster library, and how
      often that row had been injected before.
    - `log_mass`, `log_age`, `a_v`: `(n,)`, θ: log10 M_sun, log10 yr, mag.
    - `r_eff_pc`: `(n,)`, half-light radius as rendered, pc.
    - `true_mags`: `(n, band)`, apparent Vega magnitudes of all the light that was put in; infinite
      for a cluster without light in a band.
    - `x`, `y`: `(n,)`, pixels.
    - `background`: `(n,)`, local sky of the untouched frame in V, or in the band nearest to it,
      electrons/s/pixel.
    - `crowding`: `(n,)`, detections of the untouched frame within 25 pixels.
    - `log_density`: `(n,)`, density of the design, as in `ClusterLibrary`.
    - `detected`: `(n,)`, the pipeline detected something within the matching radius where it
      detects nothing without injections.
    - `already_there`: `(n,)`, something there is in the catalogue of the untouched frame.
    - `catalogued`: `(n,)`, the label; a source that passes every cut is matched to this injection
      and to no other, and the injection gives at least half of its V light.
    - `measured_mags`, `measured_errors`: `(n, band)`, of the matched source; NaN where there is
      none.
    - `ci`: `(n,)`, its concentration index, mag.
    - `cuts`: for each cut, `(n,)`: whether the matched source passes; False where there is none.
    - `meta`: plan, pipeline, checksums; JSON.
    - `inclusion`: `(n,)`, as in `ClusterLibrary`, for clusters that were chosen from a pool; None
      where none were. In a joined table it is NaN for the rows of tables without it.
    - `covered`: `(n, band)`, which bands have data; None where all have.
    - `place_weight`: `(n,)`, weights under which injections that kept one another out of crowded
      places lie where their plan says, see `place_weights`; None where they do anyway.
    - `measured`: further numbers that the pipeline has of the matched source, `(n,)` each, by the
      names of its `Detections.columns`; NaN where there is no source.

    Raises `ValueError` for shapes that differ.

    ```python
    table = InjectionTable.load("injections.h5")
    massive = table.take(table.log_mass > 4.5)
    massive.catalogued.mean()
    ```
    """

    bands: tuple[str, ...]
    frame: Int[np.ndarray, "n"]
    cluster: Int[np.ndarray, "n"]
    repeat: Int[np.ndarray, "n"]
    log_mass: Float[np.ndarray, "n"]
    log_age: Float[np.ndarray, "n"]
    a_v: Float[np.ndarray, "n"]
    r_eff_pc: Float[np.ndarray, "n"]
    true_mags: Float[np.ndarray, "n band"]
    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    background: Float[np.ndarray, "n"]
    crowding: Float[np.ndarray, "n"]
    log_density: Float[np.ndarray, "n"]
    detected: Bool[np.ndarray, "n"]
    already_there: Bool[np.ndarray, "n"]
    catalogued: Bool[np.ndarray, "n"]
    measured_mags: Float[np.ndarray, "n band"]
    measured_errors: Float[np.ndarray, "n band"]
    ci: Float[np.ndarray, "n"]
    cuts: Mapping[str, Bool[np.ndarray, "n"]]
    meta: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    inclusion: Float[np.ndarray, "n"] | None = None
    covered: Bool[np.ndarray, "n band"] | None = None
    place_weight: Float[np.ndarray, "n"] | None = None
    measured: Mapping[str, Float[np.ndarray, "n"]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if complaint := _misshapen(self.columns(), len(self.bands)):
            raise ValueError(complaint)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def n_effective(self) -> float:
        """As how many injections at planned places these count: (Σ w)² / Σ w² (Kish 1965)."""
        w = self.place_weight
        return float(len(self)) if w is None else float(w.sum() ** 2 / (w**2).sum())

    def columns(self) -> dict[str, np.ndarray]:
        """Every column that is there by name, cuts as `cuts/NAME` and `measured` likewise."""
        names = [*INTEGERS, *FLOATS, *FLAGS, *PLANES]
        names += [name for name in (*OPTIONAL, COVERED) if getattr(self, name) is not None]
        more = {CUTS + name: values for name, values in self.cuts.items()}
        more |= {MEASURED + name: values for name, values in self.measured.items()}
        return {**{name: getattr(self, name) for name in names}, **more}

    def take(self, rows: np.ndarray | slice) -> "InjectionTable":
        """The given rows (indices, a slice or a boolean mask)."""
        return self._of(
            self.bands, {k: v[rows] for k, v in self.columns().items()}, dict(self.meta)
        )

    @classmethod
    def concatenate(cls, *tables: "InjectionTable") -> "InjectionTable":
        """The rows of all, in order, with the meta of the first and the `choice` of any.

        Where clusters were chosen by different inputs, `choice` is a list. `inclusion` is NaN for
        the rows of a table without it, if any of them has it; `covered`, and each of what is
        `measured`, is left out unless all have it. Raises `ValueError` for tables of
        different surveys: other bands, cuts, frames, distances, pipelines or labels.
        """
        first = tables[0]
        for other in tables[1:]:
            if other.bands != first.bands or set(other.cuts) != set(first.cuts):
                raise ValueError(
                    f"tables have bands {other.bands} and {first.bands}, cuts {set(other.cuts)} "
                    f"and {set(first.cuts)}; only tables of one survey can be joined"
                )
        for name in OF_A_SURVEY:
            values = [table.meta[name] for table in tables if name in table.meta]
            for value in values[1:]:
                if value != values[0]:
                    raise ValueError(
                        f"tables have {name} {value} and {values[0]}; only tables of one survey "
                        "can be joined"
                    )
        columns = [table.columns() for table in tables]
        for name, lacking in OPTIONAL.items():
            if any(name in each for each in columns):
                columns = [{name: np.full(len(each["frame"]), lacking), **each} for each in columns]
        some = {COVERED, *(name for each in columns for name in each if name.startswith(MEASURED))}
        lacking = {name for name in some if any(name not in each for each in columns)}
        columns = [{k: v for k, v in each.items() if k not in lacking} for each in columns]
        joined = {name: np.concatenate([each[name] for each in columns]) for name in columns[0]}
        meta = dict(first.meta)
        found: list[dict[str, Any]] = []
        for choice in [choice for table in tables for choice in table.choices]:
            if choice.get("inputs") not in [each.get("inputs") for each in found]:
                found.append(choice)
        if found:
            meta["choice"] = found[0] if len(found) == 1 else found
        return cls._of(first.bands, joined, meta)

    @property
    def choices(self) -> list[dict[str, Any]]:
        """How clusters were chosen, as `meta` says; empty where it does not."""
        choice = self.meta.get("choice", [])
        return list(choice) if isinstance(choice, list) else [choice]

    @classmethod
    def _of(
        cls, bands: tuple[str, ...], columns: dict[str, np.ndarray], meta: dict[str, Any]
    ) -> "InjectionTable":
        rest, groups = dict(columns), {}
        for start in (CUTS, MEASURED):
            names = [name for name in rest if name.startswith(start)]
            groups[start] = {name.removeprefix(start): rest.pop(name) for name in names}
        return cls(bands=bands, cuts=groups[CUTS], measured=groups[MEASURED], meta=meta, **rest)

    def sha256(self) -> str:
        """Checksum of bands, columns and values, whatever file they are in."""
        return columns_sha256(self.columns(), "\n".join(self.bands))

    def save(self, path: Path) -> None:
        """Write to HDF5, in one step; raises `FileError`."""
        with FORMAT.create(path) as file:
            file.attrs["bands"] = json.dumps(self.bands)
            file.attrs["cuts"] = json.dumps(list(self.cuts))
            file.attrs["measured"] = json.dumps(list(self.measured))
            file.attrs["meta"] = json.dumps(self.meta, sort_keys=True)
            for name, values in self.columns().items():
                chunks = dict(compression="gzip", compression_opts=2) if len(self) else {}
                file.create_dataset(name, data=values, track_times=False, **chunks)

    @classmethod
    def load(cls, path: Path) -> "InjectionTable":
        """Read what `save` wrote; raises `FileError` naming the file and what is wrong with it."""
        with FORMAT.open(path) as file:
            names = [*INTEGERS, *FLOATS, *FLAGS, *PLANES]
            names += [CUTS + name for name in read_json_attribute(file, "cuts")]
            if "measured" in file.attrs:
                names += [MEASURED + name for name in read_json_attribute(file, "measured")]
            if missing := [name for name in names if name not in file]:
                raise FileError(f"{path}: has no column {', '.join(missing)}; {FORMAT.remedy}")
            names += [name for name in (*OPTIONAL, COVERED) if name in file]
            columns = {name: read_array(file, name, _kinds(name)) for name in names}
            bands = tuple(read_json_attribute(file, "bands"))
            meta = read_json_attribute(file, "meta")
        if not isinstance(meta, dict):
            raise FileError(f"{path}: its meta is no table of names; {FORMAT.remedy}")
        if complaint := _misshapen(columns, len(bands)):
            raise FileError(f"{path}: {complaint}; {FORMAT.remedy}")
        return cls._of(bands, columns, meta)


def _kinds(name: str) -> str:
    """Kinds of values of a column, as `read_array` takes them."""
    if name in (*FLAGS, COVERED) or name.startswith(CUTS):
        return "b"
    return "iu" if name in INTEGERS else "f"


def _misshapen(columns: Mapping[str, np.ndarray], n_bands: int) -> str:
    """What to say of the first column that has another shape than it should; empty for none."""
    n = columns["frame"].size
    for name, values in columns.items():
        shape = (n, n_bands) if name in (*PLANES, COVERED) else (n,)
        if values.shape != shape:
            return f"{name} has shape {values.shape}; expected {shape}"
    return ""
