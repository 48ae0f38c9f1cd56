"""Reader of SLUG v3 output: the one HDF5 file of a finished run of clusters."""

import contextlib
import os
import pathlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Int

from starcensus.files import FileError
from starcensus.hdf5 import Format

from .library import ClusterLibrary
from .slug2 import Light

# SLUG's files name no format of their own.
_FORMAT = Format("slug", 3, "output of SLUG v3", "expected SLUG v3's output, whole")
_DATASET = {"stars": "phot", "neb": "phot_neb", "ex": "phot_extinct", "neb_ex": "phot_neb_extinct"}


def read_slug3(
    path: str | os.PathLike[str],
    bands: Sequence[str] | Mapping[str, str],
    kind: Light | None = None,
    zeropoints: Mapping[str, tuple[float, float]] | None = None,
    log_density: float | np.ndarray | None = None,
    time: float | None = None,
) -> ClusterLibrary:
    """A library from SLUG v3's HDF5 file with `phot.system = "Vega"`.

    `log_mass` is the target mass, `log_age` is time − form_time, `a_v` is 0 where the file has no
    A_V; `log_lum` and `q_h`, both without extinction, come from the filters Lbol and Q(HI) where
    they are; `birth_mass` only of runs that draw all stars, as SLUG counts no others in it.

    **Arguments:**

    - `path`: the file.
    - `bands`: SLUG's filter names, such as `"HST.WFC3_UVIS1.F336W"`, or a mapping from the names
      wanted to SLUG's; the columns come in this order.
    - `kind`: light of the `"stars"`, with nebular emission (`"neb"`), extinction (`"ex"`) or both
      (`"neb_ex"`); by default the most complete that the file has.
    - `zeropoints`: name → (AB − Vega of SLUG's Vega, AB − Vega wanted); None leaves the magnitudes.
    - `log_density`: natural logarithm of the density from which θ was drawn; by default NaN.
    - `time`: yr, of a run with several output times per cluster, which of them.

    Raises `ValueError` for files that are not there or not whole, runs that are not finished or
    not merged, filters that are missing, magnitudes that are not Vega's, several output times where
    `time` chooses none.

    ```python
    library = read_slug3("clusters.h5", {"WFC3_UVIS_F336W": "HST.WFC3_UVIS1.F336W"})
    ```
    """
    names = dict(bands) if isinstance(bands, Mapping) else {band: band for band in bands}
    if not names:
        raise ValueError("bands is empty; expected at least one of SLUG's filter names")
    with _open(path) as file:
        light, clusters = file["cluster_phot"], file["clusters"]
        assert isinstance(light, h5py.Group) and isinstance(clusters, h5py.Group)
        chosen = _kind(path, light, kind)
        filters = [str(name) for name in light.attrs["filters"]]  # pyright: ignore[reportGeneralTypeIssues]
        columns = _filter_columns(path, file, light, filters, names, chosen)
        moment = _column(light, "time")
        rows = _output_time(path, light, moment, time)
        which = _clusters_of(path, light, clusters)[rows]
        mags = _column(light, _DATASET[chosen])[rows][:, columns]
        bare = _column(light, "phot")
        scalars: dict[str, Any] = {
            name: bare[rows, filters.index(slug)]
            for name, slug in (("log_lum", "Lbol"), ("q_h", "Q(HI)"))
            if slug in filters
        }
        target = _column(clusters, "target_mass")[which]
        if not float(_deck(file).get("stars", {}).get("min_stoch_mass", 0.0)) > 0:
            scalars["birth_mass"] = _column(clusters, "birth_mass")[which]
        age = moment[rows] - _column(clusters, "form_time")[which]
        a_v = _column(clusters, "A_V")[which] if "A_V" in clusters else np.zeros(len(which))
    if not np.isfinite(mags).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(mags))[0])
        raise FileError(
            f"row {row} of {path} has {list(names.values())[column]} = {mags[row, column]}"
        )
    if not ((age > 0).all() and (target > 0).all()):
        raise FileError(f"{path} has clusters whose age or target mass is not positive")
    if zeropoints is not None:
        if missing := [name for name in names if name not in zeropoints]:
            raise FileError(
                f"zeropoints lack {', '.join(missing)}; they have {', '.join(zeropoints)}"
            )
        mags = mags + np.array([zeropoints[name][0] - zeropoints[name][1] for name in names])
    if "log_lum" in scalars:
        with np.errstate(divide="ignore"):
            scalars["log_lum"] = np.log10(scalars["log_lum"])
    density = np.nan if log_density is None else log_density
    try:
        return ClusterLibrary(
            log_mass=np.log10(target),
            log_age=np.log10(age),
            a_v=a_v,
            bands=tuple(names),
            abs_mags=mags,
            log_density=np.broadcast_to(np.asarray(density, float), (len(age),)).copy(),
            **scalars,
        )
    except ValueError as error:
        raise FileError(f"{path}: {error}") from error


@contextlib.contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    path = pathlib.Path(path)
    merge = 'merge them first with slugpy.consolidate_checkpoints("{}")'
    if re.search(r"_chk\d+$", path.stem):
        base = path.with_name(re.sub(r"_chk\d+$", "", path.stem))
        raise FileError(f"{path} is one checkpoint of a run: {merge.format(base)}")
    if path.is_dir():
        raise FileError(f"{path} is the folder of a run that is not finished; let SLUG finish it")
    if not path.is_file():
        if found := sorted(path.parent.glob(f"{path.stem}_chk*")):
            raise FileError(
                f"{path} is not there, but {len(found)} checkpoints of it are ({found[0].name} …): "
                f"{merge.format(path.with_suffix(''))}"
            )
    with _FORMAT.opened(path) as file:
        if missing := [name for name in ("clusters", "cluster_phot") if name not in file]:
            raise FileError(
                f"{path} has no group {', '.join(missing)}; it has {', '.join(file) or 'nothing'}; "
                'expected the output of SLUG v3 with sim_type = "cluster" and photometry'
            )
        yield file


def _kind(path: str | os.PathLike[str], light: h5py.Group, kind: Light | None) -> Light:
    there = [name for name, dataset in _DATASET.items() if dataset in light]
    if kind is None:
        return there[-1]  # pyright: ignore[reportReturnType]
    if kind not in _DATASET:
        raise FileError(f"kind is {kind!r}; expected one of {', '.join(_DATASET)}")
    if kind not in there:
        raise FileError(f"{path} has no light of kind {kind!r}; it has {', '.join(there)}")
    return kind


def _filter_columns(
    path: str | os.PathLike[str],
    file: h5py.File,
    light: h5py.Group,
    filters: list[str],
    names: dict[str, str],
    kind: Light,
) -> list[int]:
    missing = [slug for slug in names.values() if slug not in filters]
    if missing:
        raise FileError(f"{path} has no filter {', '.join(missing)}; it has {', '.join(filters)}")
    columns = [filters.index(slug) for slug in names.values()]
    dataset = light[_DATASET[kind]]
    units = [str(unit) for unit in dataset.attrs["units"]]  # pyright: ignore[reportGeneralTypeIssues]
    system = str(_deck(file).get("phot", {}).get("system", "Flambda"))
    for slug, column in zip(names.values(), columns, strict=True):
        unit = units[column] if column < len(units) else "nothing"
        if unit != "mag" or system.lower() != "vega":
            raise FileError(
                f"{slug} in {path} is in {unit}, system {system}; expected Vega magnitudes: run "
                'SLUG with phot.system = "Vega", or use slugpy\'s phot_convert'
            )
    return columns


def _deck(file: h5py.File) -> dict[str, Any]:
    """The deck of the run; empty where the file has none."""
    if "input_deck/toml" not in file:
        return {}
    value = file["input_deck/toml"][()]  # pyright: ignore[reportIndexIssue]
    return tomllib.loads(value.decode() if isinstance(value, bytes) else str(value))


def _output_time(
    path: str | os.PathLike[str],
    light: h5py.Group,
    moment: Float[np.ndarray, "row"],
    time: float | None,
) -> Int[np.ndarray, "n"]:
    """The rows to read: all, or those of one output time."""
    rows = np.arange(len(moment))
    if time is not None:
        rows = np.flatnonzero(np.isclose(moment, time, rtol=1e-6, atol=0))
        if not len(rows):
            known = ", ".join(f"{t:g}" for t in np.unique(moment)[:10])
            raise FileError(f"{path} has no output at {time:g} yr; it has {known} yr")
    uid = _column(light, "uid")[rows]
    if len(np.unique(uid)) != len(uid):
        known = np.unique(moment)
        raise FileError(
            f"{path} has {len(uid)} rows of {len(np.unique(uid))} clusters, at {len(known)} output "
            f"times ({', '.join(f'{t:g}' for t in known[:10])} yr): light at several ages of one "
            "cluster is not independent; choose one with time="
        )
    return rows


def _clusters_of(
    path: str | os.PathLike[str], light: h5py.Group, clusters: h5py.Group
) -> Int[np.ndarray, "row"]:
    """For each row of photometry its row among the clusters."""
    uid, wanted = _column(clusters, "uid"), _column(light, "uid")
    order = np.argsort(uid)
    found = order[np.clip(np.searchsorted(uid[order], wanted), 0, len(uid) - 1)]
    differ = np.flatnonzero(uid[found] != wanted)
    if len(differ):
        row = int(differ[0])
        raise FileError(
            f"row {row} of the photometry of {path} is of cluster {wanted[row]:g}, which is not "
            "among its clusters"
        )
    return found


def _column(group: h5py.Group, name: str) -> Float[np.ndarray, "n ..."]:
    return np.asarray(group[name], float)
