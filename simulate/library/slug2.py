"""Reader of SLUG v2 output, `*_cluster_prop.fits` and `*_cluster_phot.fits` (Krumholz+15)."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from starcensus.files import FileError, read_text
from starcensus.fits_files import numbers, table

from .library import ClusterLibrary

Light = Literal["stars", "neb", "ex", "neb_ex"]

_SUFFIX = {"stars": "", "neb": "_neb", "ex": "_ex", "neb_ex": "_neb_ex"}
_MASSES = {
    "BirthMass": "birth_mass",
    "LiveMass": "live_mass",
    "NumStar": "n_live",
    "MaxStarMass": "max_live_mass",
}


def read_slug2(
    prop_path: str | os.PathLike[str],
    phot_path: str | os.PathLike[str],
    bands: Sequence[str],
    kind: Light = "neb_ex",
    zeropoints: Mapping[str, tuple[float, float]] | None = None,
    log_density: float | np.ndarray | None = None,
) -> ClusterLibrary:
    """A library from SLUG v2's FITS files in `phot_mode VEGA`.

    `log_mass` is the target mass, `log_age` is Time − FormTime, and `a_v` is 0 where the file has
    no `A_V`. Masses at birth and now, the number of stars alive and the heaviest of them, Q(H) and
    the bolometric luminosity, both of the stars without dust, come along where the files have
    them.

    **Arguments:**

    - `prop_path`, `phot_path`: the files of the clusters' properties and photometry.
    - `bands`: SLUG's names, such as `"WFC3_UVIS_F336W"`; the columns come in this order.
    - `kind`: light of the `"stars"`, with nebular emission (`"neb"`), extinction (`"ex"`) or both.
    - `zeropoints`: band → (AB − Vega of SLUG's Vega, AB − Vega wanted). SLUG scales an A0V Kurucz
      model to V = 0.02, which differs from STScI's VEGAMAG by 0.01 to 0.07 mag; its zero points
      depend on the filter curves in use. None leaves SLUG's magnitudes.
    - `log_density`: natural logarithm of the density from which θ was drawn; by default NaN, as
      SLUG does not record it (`log_uniform_density` gives it for the usual design).

    Raises `ValueError` for missing columns, rows of the two files that are not the same
    clusters, magnitudes that are not in Vega, not finite, and files that are not there or none.

    ```python
    density = log_uniform_density((2.0, 8.0), (5.0, 10.18), (0.0, 3.0))
    library = read_slug2("clusters_prop.fits", "clusters_phot.fits", bands, log_density=density)
    ```
    """
    if kind not in _SUFFIX:
        raise ValueError(f"kind is {kind!r}; expected one of {', '.join(_SUFFIX)}")
    if not bands:
        raise ValueError("bands is empty; expected at least one of SLUG's band names")
    wanted = [band + _SUFFIX[kind] for band in bands]
    prop = _columns(
        prop_path, ["Trial", "UniqueID", "Time", "FormTime", "TargetMass"], ("A_V", *_MASSES)
    )
    phot = _columns(
        phot_path, ["Trial", "UniqueID", "Time", *wanted], ("QH0", "Lbol"), magnitudes=wanted
    )
    n = len(prop["UniqueID"])
    if len(phot["UniqueID"]) != n:
        raise ValueError(
            f"{prop_path} has {n} rows and {phot_path} {len(phot['UniqueID'])}; expected the two "
            "files of one run"
        )
    for name in ("Trial", "UniqueID", "Time"):
        differ = np.flatnonzero(prop[name] != phot[name])
        if len(differ):
            row = int(differ[0])
            raise ValueError(
                f"row {row} has {name} {prop[name][row]:g} in {prop_path} but {phot[name][row]:g} "
                f"in {phot_path}; expected the same clusters in the same order"
                ": use files of one run"
            )
    mags = np.stack([phot[name] for name in wanted], axis=1)
    if not np.isfinite(mags).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(mags))[0])
        raise ValueError(f"row {row} of {phot_path} has {wanted[column]} = {mags[row, column]}")
    for column, band in enumerate(bands):
        if zeropoints is not None:
            if band not in zeropoints:
                raise ValueError(f"zeropoints lack {band}; they have {', '.join(zeropoints)}")
            slug, target = zeropoints[band]
            mags[:, column] += slug - target
    age = prop["Time"] - prop["FormTime"]
    if not ((age > 0).all() and (prop["TargetMass"] > 0).all()):
        raise ValueError(f"{prop_path} has clusters whose age or target mass is not positive")
    extra: dict[str, Any] = {column: prop[name] for name, column in _MASSES.items() if name in prop}
    if "n_live" in extra:
        extra["n_live"] = extra["n_live"].astype(np.int64)
    if "QH0" in phot:
        extra["q_h"] = phot["QH0"]
    if "Lbol" in phot:
        with np.errstate(divide="ignore"):
            extra["log_lum"] = np.log10(phot["Lbol"])
    density = np.nan if log_density is None else log_density
    return ClusterLibrary(
        log_mass=np.log10(prop["TargetMass"]),
        log_age=np.log10(age),
        a_v=prop.get("A_V", np.zeros(n)),
        bands=tuple(bands),
        abs_mags=mags,
        log_density=np.broadcast_to(np.asarray(density, float), (n,)).copy(),
        **extra,
    )


def read_zeropoints(path: str | os.PathLike[str]) -> dict[str, float]:
    """Band → AB − Vega, mag, from a text file of two columns with `#` comments.

    Raises `FileError` naming the line that is none, and for a file without any.

    ```python
    write_text("zeropoints.txt", "ACS_F555W -0.010")
    read_zeropoints("zeropoints.txt")
    ```
    """
    found: dict[str, float] = {}
    for number, line in enumerate(read_text(path, "table of zero points").splitlines(), start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            value = float(words[1])
        except (IndexError, ValueError):
            value = math.nan
        if not math.isfinite(value) or len(words) > 2 or words[0] in found:
            raise FileError(
                f"{path}, line {number}: {line.strip()[:100]!r}; expected a band, once, and its AB "
                "minus Vega in mag"
            )
        found[words[0]] = value
    if not found:
        raise FileError(f"{path}: holds no zero points; expected lines of a band and a number")
    return found


def log_uniform_density(
    log_mass: tuple[float, float], log_age: tuple[float, float], a_v: tuple[float, float]
) -> float:
    """ln π(θ), per dex, dex and mag, of a design uniform in mass, age and extinction.

    `log_mass` (log10 M_sun), `log_age` (log10 yr), `a_v` (mag): (low, high). Raises `ValueError`
    for limits that are not in order.

    ```python
    log_uniform_density((2.0, 8.0), (5.0, 10.18), (0.0, 3.0))
    ```
    """
    widths = [high - low for low, high in (log_mass, log_age, a_v)]
    if min(widths) <= 0:
        raise ValueError(f"the design's widths are {widths}; expected three positive ones")
    return -float(np.log(widths).sum())


def _columns(
    path: str | os.PathLike[str],
    names: Sequence[str],
    optional: Sequence[str] = (),
    magnitudes: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    rows, columns = table(path, "file of SLUG v2")
    missing = [name for name in names if name not in columns.names]
    if missing:
        raise ValueError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(columns.names)}"
        )
    for name in magnitudes:
        unit = str(columns[name].unit or "")
        if "vega" not in unit.lower():
            raise ValueError(
                f"{name} in {path} is in {unit or 'no unit'}; expected Vega magnitudes: run "
                "SLUG with phot_mode VEGA"
            )
    present = [*names, *(name for name in optional if name in columns.names)]
    return {name: numbers(rows, name, path) for name in present}
