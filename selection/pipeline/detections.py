"""What a survey pipeline finds: sources with measurements and cuts, and their file."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from starcensus.files import FileError, Path, existing, listed, replacing

from ..catalogue.open_table import load
from ..catalogue.table import DETECTIONS_FORMAT
from ..operators.facts import BandFacts, SurveyFacts, pipeline_text

if TYPE_CHECKING:
    import astropy.table

VERSION = 1
# The header of a FITS file: a keyword of eight letters, for the text is long.
_FITS_KEY = "STARCENS"
_FIXED = ("id", "x", "y", "ra", "dec", "ci", "catalogued")
_PREFIXES = ("mag_", "error_", "state_", "cut_")
_UNITS = {"x": "pix", "y": "pix", "ra": "deg", "dec": "deg", "ci": "mag"}


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """Sources that a pipeline found, with what it measured and which cuts they passed.

    A pipeline fills what it measures, up to `columns`; `run_pipeline` adds the rest.

    **Arguments:**

    - `bands`: names of the columns of `mags`.
    - `x`, `y`: `(n,)`, pixels; the centre of the first pixel is (0, 0).
    - `mags`, `mag_errors`: `(n, band)`, apparent Vega magnitudes as the survey publishes them
      (aperture-corrected), and their errors; NaN where there is no positive flux, or no data.
    - `ci`: `(n,)`, concentration index in the reference band, mag; NaN where not measured.
    - `cuts`: for each cut, in the order of the pipeline, `(n,)`: True where a source passes.
    - `columns`: further measurements, `(n,)` each.
    - `ids`: `(n,)`, identifiers; by default 1 to n.
    - `states`: `(n, band)`, why a band has no magnitude, each a `BandState`. None: not known.
    - `sky`: `(n, 2)`, right ascension and declination, deg; None where images have no WCS.
    - `distance_modulus`: distance modulus of the frame, mag.
    - `pipeline`: the pipeline's description; JSON.
    - `survey`: facts of the images; None where nobody took them.

    Raises `ValueError` for shapes that differ, identifiers that repeat, no cut, or facts of other
    bands, another distance or another pipeline.

    ```python
    x, mags = np.array([10.0, 52.3]), np.array([[22.1], [24.9]])
    cuts = {"bright": mags[:, 0] < 24.0}
    mine = Detections(("ACS_F555W",), x, x, mags, np.full((2, 1), 0.1), np.full(2, np.nan), cuts)
    mine.catalogued
    ```
    """

    bands: tuple[str, ...]
    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    mags: Float[np.ndarray, "n band"]
    mag_errors: Float[np.ndarray, "n band"]
    ci: Float[np.ndarray, "n"]
    cuts: Mapping[str, Bool[np.ndarray, "n"]]
    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    ids: Shaped[np.ndarray, "id"] = dataclasses.field(default_factory=lambda: np.arange(0))
    states: UInt8[np.ndarray, "n band"] | None = None
    sky: Float[np.ndarray, "n 2"] | None = None
    distance_modulus: float | None = None
    pipeline: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    survey: SurveyFacts | None = None

    def __post_init__(self) -> None:
        n = len(self.x)
        if not len(self.ids):
            object.__setattr__(self, "ids", np.arange(1, n + 1))
        shapes: dict[str, tuple[int, ...]] = {
            "mags": (n, len(self.bands)),
            "mag_errors": (n, len(self.bands)),
            "y": (n,),
            "ci": (n,),
            "ids": (n,),
        }
        if self.states is not None:
            shapes["states"] = shapes["mags"]
        if self.sky is not None:
            shapes["sky"] = (n, 2)
        for name, shape in shapes.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"{name} has shape {found}; expected {shape}")
        for name, values in {**self.cuts, **self.columns}.items():
            if values.shape != (n,):
                raise ValueError(f"{name} has shape {values.shape}; expected ({n},)")
        if not self.cuts:
            raise ValueError("a pipeline has at least one cut; got none")
        if len(np.unique(self.ids)) != n:
            raise ValueError("ids repeat; expected a different one for each source")
        said, here = self.survey or self.facts, self.facts
        if (said.distance_modulus, said.settings) != (here.distance_modulus, here.settings):
            raise ValueError(
                f"the facts of the survey are of distance modulus {said.distance_modulus} and of "
                f"the pipeline {said.settings}; expected {here.distance_modulus} and "
                f"{here.settings}, as the detections are"
            )
        if names := {band.name for band in said.bands} ^ set(self.bands):
            raise ValueError(
                f"the facts of the survey are of {', '.join(band.name for band in said.bands)}, "
                f"and the detections have {', '.join(self.bands)}; expected the same bands, and "
                f"{', '.join(sorted(names))} is in one alone"
            )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def catalogued(self) -> Bool[np.ndarray, "n"]:
        """True for the sources that pass every cut."""
        return np.logical_and.reduce(list(self.cuts.values()))

    @property
    def facts(self) -> SurveyFacts:
        """What is known of the survey."""
        own = self.survey or SurveyFacts()
        return dataclasses.replace(
            own,
            distance_modulus=self.distance_modulus,
            bands=own.bands or tuple(BandFacts(name) for name in self.bands),
            pipeline=pipeline_text(self.pipeline) if self.pipeline else None,
        )

    def counts(self) -> dict[str, int]:
        """How many are left after each cut, in order, beginning with `detected`."""
        left = np.ones(len(self), bool)
        counts = {"detected": len(self)}
        for name, passed in self.cuts.items():
            left &= passed
            counts[name] = int(left.sum())
        return counts

    def take(self, rows: np.ndarray) -> "Detections":
        """The sources of these rows (indices or a boolean mask), with their identifiers."""
        return dataclasses.replace(
            self,
            x=self.x[rows],
            y=self.y[rows],
            mags=self.mags[rows],
            mag_errors=self.mag_errors[rows],
            ci=self.ci[rows],
            cuts={name: values[rows] for name, values in self.cuts.items()},
            columns={name: values[rows] for name, values in self.columns.items()},
            ids=self.ids[rows],
            states=None if self.states is None else self.states[rows],
            sky=None if self.sky is None else self.sky[rows],
        )

    def write(self, path: Path) -> None:
        """Write as ECSV or FITS, by the suffix, whole or not at all; `read` returns it exactly.

        One row a source: `id`, `x`, `y` (pixels), `ra`, `dec` (deg), `mag_BAND`, `error_BAND`,
        `state_BAND` (0 measured, 1 not observed, 2 not detected, 3 unknown), `ci`, the further
        columns by their names, `cut_NAME`, and `catalogued`, True where every cut is passed. The
        table's metadata are the distance modulus, the pipeline and the facts of the survey.

        Raises `FileError` for another suffix, a folder that cannot be written, and a column whose
        name has another meaning in the file.

        ```python
        found = run_pipeline(pipeline, frame)
        found.write("catalogue.ecsv")
        ```
        """
        from astropy.table import Table

        target = pathlib.Path(path)
        kind = _kind(target)
        for name in self.columns:
            if name in _FIXED or name.startswith(_PREFIXES):
                raise FileError(
                    f"{target}: a column of the pipeline is named {name}, which means something "
                    f"else in the file; expected none of {', '.join(_FIXED)} and no name that "
                    f"begins with {', '.join(_PREFIXES)}"
                )
        columns = {"id": self.ids, "x": self.x, "y": self.y}
        if self.sky is not None:
            columns |= {"ra": self.sky[:, 0], "dec": self.sky[:, 1]}
        for i, band in enumerate(self.bands):
            columns |= {f"mag_{band}": self.mags[:, i], f"error_{band}": self.mag_errors[:, i]}
            if self.states is not None:
                columns[f"state_{band}"] = self.states[:, i]
        columns |= {"ci": self.ci, **self.columns}
        columns |= {f"cut_{name}": passed for name, passed in self.cuts.items()}
        columns["catalogued"] = self.catalogued
        units = _UNITS | {n: "mag" for n in columns if n.startswith(("mag_", "error_"))}
        meta: dict[str, Any] = {
            "format": DETECTIONS_FORMAT,
            "version": VERSION,
            "distance_modulus": self.distance_modulus,
            "pipeline": dict(self.pipeline),
        }
        if self.survey is not None:
            meta["survey"] = self.survey.json()
        table = Table(
            columns,
            units={name: unit for name, unit in units.items() if name in columns},
            meta=meta if kind == "ascii.ecsv" else {_FITS_KEY: json.dumps(meta)},
        )
        with replacing(target) as temporary:
            table.write(temporary, format=kind, overwrite=True)

    @classmethod
    def read(cls, path: Path) -> "Detections":
        """Read what `write` or `starcensus detect` wrote, of version 0.1 too.

        Raises `FileError` naming the file, and the row and column where there is one.
        """
        source = existing(path, "file of detections")
        kind = _kind(source)
        loaded = load(source)
        table, row_of, word = loaded.table, loaded.numbers, loaded.word
        meta = _meta(table, source)
        names = list(table.colnames)
        if missing := [name for name in ("x", "y", "ci", "catalogued") if name not in names]:
            raise FileError(
                f"{source}: has no column {', '.join(missing)}; expected detections as "
                "`starcensus detect` writes them"
            )

        def values(name: str) -> np.ndarray:
            if name not in names:
                raise FileError(f"{source}: has no column {name}; it has {listed(names)}")
            column: Any = table[name]
            if np.ma.is_masked(column) and kind == "fits" and column.dtype.kind == "f":
                column = np.ma.filled(column, np.nan)
            elif np.ma.is_masked(column) and column.dtype.kind not in "SU":
                row = int(np.flatnonzero(np.ma.getmaskarray(column))[0])
                raise FileError(f"{source}: {word} {row_of[row]}, column {name}: blank")
            array = np.asarray(np.ma.filled(column, "") if np.ma.is_masked(column) else column)
            return array.astype(array.dtype.newbyteorder("="))

        def numbers(name: str) -> Float[np.ndarray, "n"]:
            array = values(name)
            if array.dtype.kind not in "iuf":
                raise FileError(f"{source}: column {name} holds {array.dtype}; expected numbers")
            return array.astype(float)

        def stacked(names: list[str]) -> np.ndarray:
            return np.stack([numbers(name) for name in names], axis=1)

        bands = tuple(name.removeprefix("mag_") for name in names if name.startswith("mag_"))
        if not bands:
            raise FileError(f"{source}: has no magnitudes, mag_BAND; expected one or more")
        cuts = {name.removeprefix("cut_"): values(name) for name in names if name[:4] == "cut_"}
        states = None
        if all(f"state_{band}" in names for band in bands):
            states = stacked([f"state_{band}" for band in bands]).astype(np.uint8)
        further = [n for n in names if n not in _FIXED and not n.startswith(_PREFIXES)]
        try:
            found = cls(
                bands=bands,
                x=numbers("x"),
                y=numbers("y"),
                mags=stacked([f"mag_{band}" for band in bands]),
                mag_errors=stacked([f"error_{band}" for band in bands]),
                ci=numbers("ci"),
                cuts={name: passed.astype(bool) for name, passed in cuts.items()},
                columns={name: values(name) for name in further},
                states=states,
                ids=values("id") if "id" in names else np.arange(1, len(table) + 1),
                sky=stacked(["ra", "dec"]) if {"ra", "dec"} & set(names) else None,
                distance_modulus=meta.get("distance_modulus"),
                pipeline=meta["pipeline"],
                survey=SurveyFacts.read(meta["survey"]) if "survey" in meta else None,
            )
        except FileError:
            raise
        except ValueError as error:
            raise FileError(f"{source}: {error}") from error
        if (wrong := found.catalogued != values("catalogued")).any():
            row = row_of[int(np.argmax(wrong))]
            raise FileError(
                f"{source}: {word} {row}, column catalogued: disagrees with the cuts "
                f"{', '.join(found.cuts)}; expected True where all of them are"
            )
        return found


def _kind(path: pathlib.Path) -> str:
    kinds = {".ecsv": "ascii.ecsv", ".fits": "fits", ".fit": "fits"}
    if path.suffix not in kinds:
        raise FileError(f"{path}: expected a name that ends in .ecsv or .fits")
    return kinds[path.suffix]


def _meta(table: "astropy.table.Table", source: pathlib.Path) -> dict[str, Any]:
    """Metadata of detections, of version 0.1 too; raises `FileError` for those of other tables."""
    meta = dict(table.meta or {})
    try:
        meta = json.loads(meta[_FITS_KEY]) if _FITS_KEY in meta else meta
    except json.JSONDecodeError as error:
        raise FileError(f"{source}: its header {_FITS_KEY} is damaged ({error})") from error
    if not isinstance(meta, dict):
        raise FileError(f"{source}: its header {_FITS_KEY} is no table of names and values")
    first_version = "format" not in meta and "pipeline" in meta
    pipeline, modulus = meta.get("pipeline", {}), meta.get("distance_modulus")
    try:
        meta["pipeline"] = _plain(pipeline)
        if "survey" in meta:
            meta["survey"] = _plain(meta["survey"])
    except (TypeError, ValueError):
        pipeline = None
    if not isinstance(pipeline, Mapping):
        raise FileError(f"{source}: its header's pipeline is no table of names and values")
    if not (modulus is None or isinstance(modulus, int | float)):
        raise FileError(f"{source}: distance_modulus is {modulus!r:.50}; expected a number")
    if first_version:
        return meta
    if meta.get("format") != DETECTIONS_FORMAT:
        raise FileError(
            f"{source}: holds no detections of a pipeline; expected a file that `starcensus "
            "detect` or `Detections.write` wrote"
        )
    if not isinstance(meta.get("version"), int) or meta["version"] > VERSION:
        raise FileError(
            f"{source}: has version {meta.get('version')!r} of detections; this starcensus reads "
            f"up to {VERSION}: install a newer one"
        )
    return meta


def _plain(value: Any) -> Any:
    """As JSON holds it."""
    return json.loads(json.dumps(value))
