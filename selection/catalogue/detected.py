"""What a pipeline of this library catalogued, read as a catalogue: photometry without estimates."""

import dataclasses
import json
from typing import Any

import numpy as np

from starcensus.files import Path

from ..operators.facts import SurveyFacts
from ._base import Catalogue, CatalogueError
from .checks import check, existing_file
from .column_map import ColumnMap, ExtraColumn, PhotometryColumns
from .open_table import load
from .table import holds_detections, through

_RENAMED = {"ci": "concentration_index"}


def read_detections(path: Path) -> Catalogue:
    """What a pipeline catalogued, as `Detections.write` or `starcensus detect` wrote it.

    **Arguments:**

    - `path`: ECSV or FITS.

    Returns a checked `Catalogue` with Vega magnitudes and `band_states`: a band without data around
    a source is not observed, one without a positive flux not detected. θ is NaN, and
    `meta["not_published"]` names all of it; `ci` is `concentration_index`, other columns keep their
    names. `meta["survey"]` are facts of the images, where the file has them. The step `catalogued`
    counts the sources that the pipeline's cuts left out. Files of versions that did not say why a
    magnitude is missing have unknown states.

    Raises `CatalogueError` for files that hold no detections, or damaged ones.

    ```python
    found.write("found.ecsv")
    read_detections("found.ecsv").mags
    ```
    """
    path = existing_file(path)
    loaded = load(path)
    table, names = loaded.table, loaded.table.colnames
    if not holds_detections(table) or "catalogued" not in names:
        raise CatalogueError(
            f"{path}: holds no detections of a pipeline; expected a file that `starcensus detect` "
            "or `Detections.write` wrote"
        )
    told = _told(dict(table.meta or {}))
    bands = tuple(name.removeprefix("mag_") for name in names if name.startswith("mag_"))
    used = {"id", "catalogued"}
    used |= {f"{what}_{band}" for what in ("mag", "error", "state") for band in bands}
    rest = [str(name) for name in names if name not in used]
    column_map = ColumnMap(
        id="id" if "id" in names else None,
        estimates=False,
        bands=tuple(
            PhotometryColumns(name=band, column=f"mag_{band}", error=f"error_{band}")
            for band in bands
        ),
        columns={_RENAMED.get(name, name): ExtraColumn(column=name) for name in rest},
        distance_modulus=_distance_modulus(told),
    )
    catalogue = through(str(path), loaded, column_map)
    if "survey" in told:
        try:
            survey = SurveyFacts.read(told["survey"]).json()
        except ValueError as error:
            raise CatalogueError(f"{path}: its metadata `survey`: {error}") from error
        catalogue = dataclasses.replace(catalogue, meta={**catalogue.meta, "survey": survey})
    rows = np.searchsorted(loaded.numbers, catalogue.columns["row"])
    if bands and all(f"state_{band}" in names for band in bands):
        states = np.stack([np.asarray(table[f"state_{band}"])[rows] for band in bands], axis=1)
        catalogue = check(dataclasses.replace(catalogue, band_states=states.astype(np.uint8)))
    catalogued = np.asarray(table["catalogued"]).astype(bool)[rows]
    if not catalogued.any():
        raise CatalogueError(f"{path}: none of {len(catalogue)} sources is catalogued")
    return catalogue.keep(catalogued, "catalogued", "they pass every cut of the pipeline")


def _told(meta: dict[str, Any]) -> dict[str, Any]:
    """The table's metadata, which FITS has as JSON."""
    text = meta.get("STARCENS")
    try:
        told = (
            json.loads(text) if isinstance(text, str) else json.loads(json.dumps(meta, default=str))
        )
    except json.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}


def _distance_modulus(told: dict[str, Any]) -> float | None:
    modulus = told.get("distance_modulus")
    return float(modulus) if isinstance(modulus, int | float) else None
