"""One entrance for all readers, and this library's own catalogue file (ECSV)."""

import dataclasses
import inspect
import json
import pathlib
import typing
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pydantic

from starcensus.files import Path, reading, replacing
from starcensus.registry import Registry
from starcensus.settings import check_numbers
from starcensus.theta import AXES

from ._base import Catalogue, CatalogueError, Step
from .checks import check, existing_file
from .column_map import ColumnMap
from .detected import read_detections
from .legus import read_legus
from .literature import photometry_beside, read_literature
from .open_table import load
from .phangs import read_phangs, sed_beside
from .table import holds_detections, read_table

# 2 has states and fluxes of bands; files of 1, which have none, are read as well.
_VERSION = 2
# The arrays by row and band, and the prefix of their columns.
_BY_BAND = {
    "mags": "mag",
    "mag_errors": "mag_error",
    "band_states": "state",
    "fluxes": "flux",
    "flux_errors": "flux_error",
}


def _plain(value: object) -> object:
    """JSON forms of what `meta` may hold. **Raises** `TypeError` for anything else."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, pathlib.Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written")


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def write_catalogue(cat: Catalogue, path: Path) -> None:
    """Write a catalogue as ECSV, whole or not at all; `read_catalogue` returns it exactly.

    θ, limits, ids, magnitudes, fluxes, states of bands, further columns, steps and metadata survive
    bit for bit; lists in `meta` come back as tuples.

    Raises `FileError` if the folder cannot be written, the suffix is not `.ecsv`, or `meta` or
    a column cannot be represented.

    ```python
    write_catalogue(catalogue, "mine.ecsv")
    ```
    """
    from astropy.table import Table

    path = pathlib.Path(path)
    if path.suffix != ".ecsv":
        raise CatalogueError(f"{path}: expected a name ending in .ecsv")
    data: dict[str, np.ndarray] = {"id": cat.ids}
    for k, name in enumerate(AXES):
        data[name] = cat.theta[:, k]
        data[f"{name}_low"] = cat.theta_low[:, k]
        data[f"{name}_high"] = cat.theta_high[:, k]
    for name, prefix in _BY_BAND.items():
        array = getattr(cat, name)
        if array is not None:
            data |= {f"{prefix}:{band}": array[:, k] for k, band in enumerate(cat.bands)}
    data |= {f"column:{name}": values for name, values in cat.columns.items()}
    if odd := [name for name, values in data.items() if values.dtype.kind not in "biufU"]:
        raise CatalogueError(f"{path}: columns {odd} are neither numbers, booleans nor text")
    header = {
        "version": _VERSION,
        "source": cat.source,
        "bands": list(cat.bands),
        **{name: getattr(cat, name) is not None for name in _BY_BAND},
        "columns": list(cat.columns),
        "steps": [dataclasses.asdict(step) for step in cat.steps],
        "meta": dict(cat.meta),
    }
    try:
        text = json.dumps(header, default=_plain)
    except TypeError as error:
        raise CatalogueError(f"{path}: meta: {error}; keep to numbers, text and tuples") from error
    table = Table(data, meta={"starcensus": text})
    with replacing(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)


def _read_starcensus(path: Path) -> Catalogue:
    """A catalogue written by `write_catalogue`."""
    path = existing_file(path)
    table = load(path).table
    text = dict(table.meta or {}).get("starcensus")
    if holds_detections(table):
        raise CatalogueError(
            f"{path}: holds detections of a pipeline, magnitudes without log_mass, log_age and "
            "a_v; format 'detections' reads them for what takes magnitudes. For a fit of θ "
            "estimate it from the magnitudes, which `Detections.read` gives, and write the result "
            "with `write_catalogue`, or as a table for format 'table'"
        )
    if not isinstance(text, str):
        raise CatalogueError(
            f"{path}: no starcensus metadata; the file was not written by write_catalogue: use "
            "format 'table' with a column map"
        )

    def values(name: str) -> np.ndarray:
        column: Any = table[name]
        if np.ma.is_masked(column):
            row = int(np.flatnonzero(np.ma.getmaskarray(column))[0])
            if column.dtype.kind != "U":
                raise CatalogueError(f"{path}: row {row + 1}, column {name}: blank, expected one")
            return np.ma.filled(np.ma.asarray(column), "")
        return np.asarray(column)

    try:
        header = json.loads(text)
        if header["version"] not in (1, _VERSION):
            raise CatalogueError(
                f"{path}: catalogue version {header['version']}, expected up to {_VERSION}: "
                "install a newer starcensus"
            )
        bands = tuple(header["bands"])

        def by_band(name: str) -> np.ndarray | None:
            # Version 1 says nothing of states and fluxes.
            said = header[name] if name.startswith("mag") else header.get(name, False)
            if not said:
                return None
            stacked = [values(f"{_BY_BAND[name]}:{band}") for band in bands]
            kind = np.uint8 if name == "band_states" else np.float64
            return np.stack(stacked, axis=1) if stacked else np.empty((len(table), 0), kind)

        cat = Catalogue(
            source=header["source"],
            ids=values("id"),
            theta=np.stack([values(name) for name in AXES], axis=1),
            theta_low=np.stack([values(f"{name}_low") for name in AXES], axis=1),
            theta_high=np.stack([values(f"{name}_high") for name in AXES], axis=1),
            bands=bands,
            **{name: by_band(name) for name in _BY_BAND},
            columns={name: values(f"column:{name}") for name in header["columns"]},
            steps=tuple(Step(**_tuples(step)) for step in header["steps"]),
            meta={key: _tuples(value) for key, value in header["meta"].items()},
        )
    except (LookupError, TypeError, AttributeError, RecursionError, ValueError) as error:
        if isinstance(error, CatalogueError):
            raise
        raise CatalogueError(f"{path}: damaged catalogue file: {repr(error)[:300]}") from error
    with reading(path):
        return check(cat)


def _read_mapped(path: Path, *, column_map: ColumnMap | Mapping[str, Any] | Path) -> Catalogue:
    if isinstance(column_map, Mapping):
        column_map = ColumnMap.of_tables(column_map, f"{path}: column_map")
    elif not isinstance(column_map, ColumnMap):
        column_map = ColumnMap.from_toml(column_map)
    return read_table(path, column_map)


READERS = Registry[Callable[..., Catalogue]]("format of catalogues")
"""Readers by the `format` that files name: functions of a path and of options, keyword-only."""
for _name, _reader in (
    ("legus", read_legus),
    ("literature", read_literature),
    ("phangs", read_phangs),
    ("table", _read_mapped),
    ("starcensus", _read_starcensus),
    ("detections", read_detections),
):
    READERS.add(_name, _reader)


# Options that are paths of further files.
FILE_OPTIONS = ("column_map", "photometry", "sed")


def files_beside(path: pathlib.Path, format: str) -> dict[str, pathlib.Path]:
    """Files that a reader joins unasked, because they lie beside the catalogue; by option."""
    found = {"literature": ("photometry", photometry_beside), "phangs": ("sed", sed_beside)}
    if format not in found:
        return {}
    option, look = found[format]
    beside = look(path)
    return {} if beside is None else {option: beside}


def read_catalogue(path: Path, format: str, **options: object) -> Catalogue:
    """A catalogue in one of the known formats.

    **Arguments:**

    - `path`: the file.
    - `format`: `legus` (options `r_v`, `distance_modulus`, `bands`, `columns`), `literature`
      (`photometry`), `phangs` (`sed`, `r_v`, `distance_modulus`), `table` (`column_map`, a
      `ColumnMap`, its tables or the path of its TOML file), `starcensus` (what `write_catalogue`
      wrote), `detections` (what a pipeline catalogued), or one of your own in `READERS`.
    - `options`: options of that format's reader, by name.

    Raises `CatalogueError` for an unknown format or option, and what the reader raises.

    ```python
    read_catalogue("catalogue.ecsv", "starcensus").theta
    ```
    """
    if format not in READERS:
        raise CatalogueError(f"{path}: format {format!r}, expected one of {', '.join(READERS)}")
    reader = READERS[format]
    parameters = list(inspect.signature(reader).parameters.values())[1:]
    allowed = [parameter.name for parameter in parameters]
    if unknown := sorted(set(options) - set(allowed)):
        raise CatalogueError(
            f"{path}: unknown option {', '.join(unknown)} for format {format!r}; allowed: "
            f"{', '.join(allowed) or 'none'}"
        )
    needed = {p.name for p in parameters if p.default is inspect.Parameter.empty}
    if missing := sorted(needed - set(options)):
        raise CatalogueError(f"{path}: format {format!r} needs the option {', '.join(missing)}")
    try:
        check_numbers(reader, options)
    except ValueError as error:
        raise CatalogueError(f"{path}: {error}") from error
    return reader(path, **{name: _typed(path, reader, name, options[name]) for name in options})


def _typed(path: Path, reader: Callable[..., Catalogue], name: str, value: object) -> object:
    """An option as its reader declares it; files have lists for tuples."""
    kind = typing.get_type_hints(reader).get(name)
    if kind is None or name in FILE_OPTIONS:
        return value
    try:
        return pydantic.TypeAdapter(kind).validate_python(value)
    except pydantic.ValidationError as error:
        raise CatalogueError(
            f"{path}: option {name} = {value!r}: {error.errors()[0]['msg']}"
        ) from error
