"""What a run folder holds, checked and in the form that the report needs."""

import dataclasses
import functools
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray
from arviz_base import from_dict
from arviz_stats.sampling_diagnostics import bfmi, ess, rhat
from jaxtyping import Float, Int

from starcensus.files import FileError, read_json
from starcensus.theta import AXES

ByAxis = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Quantity:
    """One fitted scalar, or one element of a fitted vector.

    **Arguments:**

    - `name`: flat name, as in `summary.json`.
    - `index`: position in the vector `parent`; 0 for scalars, whose parent is the name itself.
    - `truth`: the value that made a mock catalogue; `None` where it is not known.
    - `r_hat`, `ess_bulk`: `None` where the draws do not vary.
    """

    name: str
    parent: str
    index: int
    size: int
    label: str
    unit: str
    prior: Mapping[str, Any]
    draws: Float[np.ndarray, "chain draw"]
    truth: float | None
    r_hat: float | None
    ess_bulk: float | None

    @functools.cached_property
    def flat(self) -> Float[np.ndarray, " n"]:
        return self.draws.ravel()

    def interval(self, percent: int) -> tuple[float, float]:
        """The central interval that holds `percent` % of the posterior."""
        low, high = np.percentile(self.flat, [50 - percent / 2, 50 + percent / 2])
        return float(low), float(high)

    @functools.cached_property
    def median(self) -> float:
        return float(np.median(self.flat))

    @property
    def covered(self) -> bool | None:
        """Whether the central 95% interval holds the true value."""
        if self.truth is None:
            return None
        low, high = self.interval(95)
        return low <= self.truth <= high


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A fit as its folder records it. Predictive arrays are (draw, bin or node), by axis.

    `magnitudes`: of a fit of measured light, counts by magnitude and colour.
    """

    folder: pathlib.Path
    info: Mapping[str, Any]
    summary: Mapping[str, Any]
    provenance: Mapping[str, Any]
    parameters: tuple[Mapping[str, Any], ...]
    quantities: tuple[Quantity, ...]
    theta: Float[np.ndarray, "n 3"]
    half_error: Float[np.ndarray, "n 3"]
    edges: ByAxis
    nodes: ByAxis
    weights: ByAxis
    p_sel: Float[np.ndarray, "m t a"]
    object_ess: Float[np.ndarray, " n"]
    counts: ByAxis
    predicted_counts: ByAxis
    density: ByAxis
    detected: ByAxis
    n_catalogued: Int[np.ndarray, " draw"]
    stats: Mapping[str, np.ndarray]
    bfmi: tuple[float, ...]
    comparisons: tuple["Comparison", ...] = ()
    magnitudes: tuple["MagnitudeCounts", ...] = ()

    @property
    def scalars(self) -> tuple[Quantity, ...]:
        return tuple(q for q in self.quantities if not q.size)

    def vectors(self) -> dict[str, tuple[Quantity, ...]]:
        """Elements of each vector parameter."""
        names = dict.fromkeys(q.parent for q in self.quantities if q.size)
        return {name: tuple(q for q in self.quantities if q.parent == name) for name in names}

    def find(self, name: str) -> Quantity | None:
        return next((q for q in self.quantities if q.name == name), None)


@dataclasses.dataclass(frozen=True, eq=False)
class MagnitudeCounts:
    """Observed and predicted counts by the magnitude in a band, or by a colour."""

    name: str
    edges: Float[np.ndarray, " edge"]
    observed: Int[np.ndarray, " bin"]
    predicted: Int[np.ndarray, "draw bin"]


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """The same catalogue fitted in another way."""

    name: str
    text: str
    run: Run


def load_run(folder: pathlib.Path) -> Run:
    """Read a run folder and the folders of its comparisons.

    `posterior.nc` and `summary.json` must be there; `run.json` and `provenance.json` may be absent.
    Raises `ValueError` naming the file that is missing, cannot be read or lacks something.
    """
    run = _load_one(folder)
    comparisons = []
    for entry in _records(run.info.get("comparisons")):
        if not isinstance(path := entry.get("path"), str):
            raise ValueError(
                f"{folder / 'run.json'}: a comparison has no path; give the sub-folder of its fit"
            )
        name, text = str(entry.get("name", path)), str(entry.get("text", ""))
        comparisons.append(Comparison(name, text, _load_one(folder / path)))
    return dataclasses.replace(run, comparisons=tuple(comparisons))


def _records(value: object) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _load_one(folder: pathlib.Path) -> Run:
    summary = _read_json(folder / "summary.json", required=True)
    info = _read_json(folder / "run.json", required=False)
    provenance = _read_json(folder / "provenance.json", required=False)
    path = folder / "posterior.nc"
    if not path.is_file():
        raise ValueError(f"there is no file {path}; a report needs the folder of a finished fit")
    try:
        with xarray.open_datatree(path, engine="netcdf4") as tree:
            run = _from_tree(tree, folder, info, summary, provenance)
        return dataclasses.replace(run, magnitudes=load_magnitudes(folder))
    except KeyError as missing:
        raise ValueError(
            f"{path} lacks {missing}; it was not written by a population fit of this version: "
            "run the fit again"
        ) from missing
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{path} cannot be used ({error}); run the fit again") from error


def load_magnitudes(folder: pathlib.Path) -> tuple[MagnitudeCounts, ...]:
    """What `magnitudes.json` holds; nothing where there is none."""
    counts = _read_json(folder / "magnitudes.json", required=False)
    return tuple(
        MagnitudeCounts(
            name,
            np.asarray(each["edges"], float),
            np.asarray(each["observed"], int),
            np.asarray(each["predicted"], int),
        )
        for name, each in counts.items()
    )


def _read_json(path: pathlib.Path, required: bool) -> dict[str, Any]:
    if not path.is_file():
        if required:
            raise ValueError(
                f"there is no file {path}; a report needs the folder of a finished fit"
            )
        return {}
    try:
        content = read_json(path)
    except FileError as error:
        raise ValueError(f"{error}; run the fit again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object; run the fit again")
    return content


def _from_tree(
    tree: xarray.DataTree,
    folder: pathlib.Path,
    info: Mapping[str, Any],
    summary: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> Run:
    parameters = tuple(_records(json.loads(tree.attrs["parameters"])))
    posterior = _group(tree, "posterior")
    observed, constant = _group(tree, "observed_data"), _group(tree, "constant_data")
    after = {k: _joined(v) for k, v in _group(tree, "posterior_predictive").items()}
    stats = _group(tree, "sample_stats") if "sample_stats" in tree.children else {}

    def by_axis(group: Mapping[str, np.ndarray], kind: str) -> ByAxis:
        return {axis: np.asarray(group[f"{kind}_{axis}"]) for axis in AXES}

    run = Run(
        folder,
        info,
        summary,
        provenance,
        parameters,
        _quantities(parameters, posterior, summary),
        np.asarray(observed["theta"], float),
        np.asarray(observed["theta_high"] - observed["theta_low"], float) / 2,
        by_axis(constant, "edges"),
        by_axis(constant, "node"),
        by_axis(constant, "weight"),
        np.clip(np.asarray(constant["p_sel"], float), 0.0, 1.0),
        np.asarray(constant["object_ess"], float),
        by_axis(observed, "counts"),
        by_axis(after, "counts"),
        by_axis(after, "density"),
        by_axis(after, "detected"),
        np.asarray(after["n_catalogued"]).astype(int),
        stats,
        _bfmi(stats),
    )
    _check(run)
    return run


def _check(run: Run) -> None:
    if not run.quantities:
        raise ValueError("no parameter was fitted")
    if run.p_sel.shape != (expected := tuple(len(run.nodes[axis]) for axis in AXES)):
        raise ValueError(f"p_sel has shape {run.p_sel.shape}; its nodes have {expected}")


def _group(tree: xarray.DataTree, name: str) -> dict[str, np.ndarray]:
    return {str(k): np.asarray(v.values) for k, v in tree[name].data_vars.items()}


def _joined(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, *values.shape[2:])


def _quantities(
    parameters: tuple[Mapping[str, Any], ...],
    posterior: Mapping[str, np.ndarray],
    summary: Mapping[str, Any],
) -> tuple[Quantity, ...]:
    columns: dict[str, tuple[Mapping[str, Any], int, np.ndarray]] = {}
    for p in parameters:
        name, size = p["name"], int(p["size"])
        if name not in posterior:
            continue
        for i in range(max(size, 1)):
            flat = f"{name}_{i}" if size else name
            draws = posterior[name][..., i] if size else posterior[name]
            columns[flat] = (p, i, np.asarray(draws, float))
    moving = {k: v[2] for k, v in columns.items() if np.ptp(v[2]) > 0}
    r_hat, bulk = {}, {}
    if moving:
        tree = from_dict({"posterior": moving})
        r_hat, bulk = rhat(tree).dataset, ess(tree, method="bulk").dataset
    return tuple(
        Quantity(
            name,
            p["name"],
            i,
            int(p["size"]),
            _element_label(str(p.get("label") or p["name"]), i, int(p["size"])),
            str(p.get("unit", "")),
            p.get("prior", {}),
            draws,
            finite(summary.get(f"truth.{name}")),
            finite(float(r_hat[name])) if name in moving else None,
            finite(float(bulk[name])) if name in moving else None,
        )
        for name, (p, i, draws) in columns.items()
    )


def _element_label(label: str, index: int, size: int) -> str:
    if not size:
        return label
    return f"{label[:-1]}[{index}]$" if label.endswith("$") else f"{label}[{index}]"


def finite(value: object) -> float | None:
    """A finite number, or `None`."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def _bfmi(stats: Mapping[str, np.ndarray]) -> tuple[float, ...]:
    if "energy" not in stats or np.ptp(stats["energy"]) == 0:
        return ()
    tree = from_dict({"sample_stats": {"energy": np.asarray(stats["energy"], float)}})
    values = np.atleast_1d(np.asarray(bfmi(tree).dataset["energy"], float))
    return tuple(float(v) for v in values if math.isfinite(v))
