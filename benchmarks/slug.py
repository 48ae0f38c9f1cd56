"""Our draws beside SLUG's, of the same ingredients: means, scatters and percentiles of light.

Both programs draw clusters of one mass and age. For each such set the mean and the standard
deviation of the flux in every band, and five percentiles of every magnitude and of two colours, are
compared; each difference is given in units of its sampling error. A share `false_alarm` of runs in
which nothing differs has any comparison beyond the stated threshold (Bonferroni).
"""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence

import h5py
import numpy as np
from jaxtyping import Float
from scipy.stats import kurtosis, norm, skew

from starcensus.bands import BANDS
from starcensus.simulate.clusters.bins import StellarPopulation
from starcensus.simulate.clusters.cluster import DrawSettings, draw_clusters
from starcensus.simulate.clusters.imf import Chabrier
from starcensus.simulate.library.slug2 import read_slug2, read_zeropoints
from starcensus.simulate.library.slug3 import read_slug3
from starcensus.simulate.library.slug3_engine import SlugSettings
from starcensus.simulate.stars import (
    Filter,
    Spectrum,
    StellarGrid,
    build_grid,
    read_atmospheres,
    read_filter,
    read_slug,
)

_DECK = """
sim_type = "cluster"
n_trial = 1
verbosity = 0
[output]
model_name = "stars"
output_times = [1e6]
[stars]
IMF = "{share}/imfs/chabrier.toml"
tracks = "PARSEC12"
track_registry = "{data}/tracks/tracks.toml"
FeH = 0.0
[spectra]
model = "CK04X"
registry = "{data}/spectra/spectra.toml"
wl_min = 1900
wl_max = 11000
nwl = 256
[phot]
registry = "{data}/filters/filters.toml"
[nebular]
compute_neb = false
[clusters]
CMF = 1e3
"""
PERCENTILES = (5, 16, 50, 84, 95)
COLOURS = (
    ("WFC3_UVIS_F336W", "WFC3_UVIS_F438W"),
    ("WFC3_UVIS_F555W", "WFC3_UVIS_F814W"),
)
AGES = {"3Myr": 3e6, "10Myr": 1e7, "100Myr": 1e8, "1Gyr": 1e9}
BANDS2 = tuple(band for band in BANDS if BANDS[band].curve is not None)
# Bands of the SLUG v3 runs, whose curves carry the detector's photon counting (HSTPC).
BANDS3 = {
    band: SlugSettings(facility="HSTPC").filter_name(band) for band in BANDS2 if band != "ACS_F606W"
}


@dataclasses.dataclass(frozen=True)
class Difference:
    """One comparison of a set.

    **Arguments:**

    - `clusters`: name of the set. `what`: `"mean"`, `"sd"` or a percentile such as `"p16"`.
    - `column`: band or colour.
    - `ours`, `slug`: flux in units of magnitude zero for `"mean"` and `"sd"`, else mag.
    - `delta_mag`: ours less SLUG's in mag; for `"sd"`, -2.5 log10 of the ratio.
    - `sigma`: the difference over its sampling error.
    """

    clusters: str
    what: str
    column: str
    ours: float
    slug: float
    delta_mag: float
    sigma: float


def slug2_grid(data: pathlib.Path) -> StellarGrid:
    """The ingredients of the SLUG v2 runs of a folder that holds `slug`, `slug3`, `atmospheres`."""
    folder = data / "slug"
    filters = tuple(read_filter(folder / "filters" / f"{band}.dat", band) for band in BANDS2)
    return build_grid(
        _isochrones(data),
        read_atmospheres(
            data / "atmospheres" / "ck04",
            data / "atmospheres" / "hot",
            z=0.014,
            metallicity=0.0,
            wolf_rayet=False,
            black_body_above=50_000.0,
        ),
        filters,
        ab_minus_vega=read_zeropoints(folder / "zeropoints.txt"),
    )


def slug3_grid(data: pathlib.Path) -> StellarGrid:
    """The ingredients of the SLUG v3 runs: no WM-basic stars, its own curves and Vega."""
    path = data / "slug3" / "slugdata" / "data" / "filters" / "filters.h5"
    filters = []
    with h5py.File(path) as file:
        for band, name in BANDS3.items():
            _, camera, of_camera = name.split(".")
            curve = file[f"HST/{camera}/{of_camera}"]
            columns = (np.asarray(curve[n], float) for n in ("wavelength", "transmission"))  # pyright: ignore
            filters.append(Filter(band, *columns))
    return build_grid(
        _isochrones(data),
        read_atmospheres(data / "atmospheres" / "ck04", metallicity=0.0),
        tuple(filters),
        vega=_slug3_vega(),
    )


def slug3_own_grid(data: pathlib.Path) -> StellarGrid:
    """The grid of `slug3_grid` with the magnitudes that SLUG v3 itself gives those stars.

    What is left to differ is how clusters are drawn. SLUG finds its filters by `SLUG_DIR`.
    """
    import slugpy

    grid = slug3_grid(data)
    folder = (data / "slug3" / "slugdata" / "data").resolve()
    share = pathlib.Path(slugpy.__file__ or "").parent / "_share" / "data"
    controls = slugpy.SimControls(  # pyright: ignore[reportAttributeAccessIssue]
        _DECK.format(data=folder.as_posix(), share=share.as_posix())
    )
    names = list(BANDS3.values())
    flux = grid.flux.copy()
    for i, log_age in enumerate(grid.log_age):
        mine = slice(grid.start[i], grid.start[i + 1])
        _, values = slugpy.compute_isochrones(
            10.0**log_age,
            simcontrols=controls,
            filters=names,
            masses=grid.initial_mass[mine],
            phot_system=slugpy.PhotSystem.Vega,  # pyright: ignore[reportAttributeAccessIssue]
        )
        columns = [np.asarray(values[name])[0] for name in names]
        mags = np.stack(columns, axis=1)
        ours = -2.5 * np.log10(flux[mine, :, 0])
        # The very last star may be a rounding error past the end of SLUG's isochrone.
        mags = np.where(np.isfinite(mags), mags, ours)
        flux[mine] *= 10 ** (-0.4 * (mags - ours))[:, :, None]
    return dataclasses.replace(grid, flux=flux)


def _isochrones(data: pathlib.Path):
    return read_slug(data / "slug3" / "slugdata", np.log10(list(AGES.values())))


def _slug3_vega() -> Spectrum:
    """The Vega that slugpy carries."""
    import slugpy

    path = pathlib.Path(slugpy.__file__ or "").parent / "_share" / "data" / "spectra" / "vega.h5"
    with h5py.File(path) as file:
        return Spectrum(np.asarray(file["wl"], float), np.asarray(file["flux"], float), path.name)


def theta_of(name: str) -> tuple[float, float]:
    """log mass (M_sun) and log age (yr) of a set such as `"M500_3Myr"`; raises `ValueError`."""
    mass, _, age = name.partition("_")
    if not re.fullmatch(r"M\d+(\.\d+)?(e\d+)?", mass) or age not in AGES:
        raise ValueError(
            f"{name}: is no set of clusters; expected M, a mass in M_sun, _ and an age of "
            f"{', '.join(AGES)}, such as M1e4_10Myr"
        )
    return float(np.log10(float(mass[1:]))), float(np.log10(AGES[age]))


def draw(
    population: StellarPopulation, name: str, n: int, seed: int
) -> Float[np.ndarray, "n band"]:
    """Magnitudes of `n` of our clusters for a set such as `"M500_3Myr"`, starlight only."""
    log_mass, log_age = theta_of(name)
    return draw_clusters(
        population,
        np.full(n, log_mass),
        np.full(n, log_age),
        np.zeros(n),
        np.arange(n) + seed,
        DrawSettings(nebular=False),
    ).abs_mags


def references2(data: pathlib.Path) -> Iterator[tuple[str, Float[np.ndarray, "n band"]]]:
    """Name and magnitudes of each SLUG v2 set: those with its atmosphere faults corrected.

    At 1e5 M_sun only stock SLUG was run: those sets carry the faults and are named `stock_...`.
    """
    folder = data / "slug" / "fixed"
    for path in sorted(folder.glob("*_cluster_phot.fits")):
        kind, mass, age, *_ = path.name.split("_")
        if kind == "fixedcorr" or mass == "M1e5":
            prop = path.with_name(path.name.replace("phot", "prop"))
            mags = read_slug2(prop, path, BANDS2, kind="stars").abs_mags
            name = f"{mass}_{age[1:]}"
            yield (name if kind == "fixedcorr" else f"stock_{name}"), mags


def references3(data: pathlib.Path) -> Iterator[tuple[str, Float[np.ndarray, "n band"]]]:
    """Name and magnitudes of each SLUG v3 set."""
    for path in sorted((data / "slug3" / "fixed").glob("fixed_*.h5")):
        names = list(BANDS3.values())
        yield path.stem.removeprefix("fixed_"), read_slug3(path, names).abs_mags


def compare(
    clusters: str,
    bands: Sequence[str],
    ours: Float[np.ndarray, "n band"],
    slug: Float[np.ndarray, "m band"],
) -> list[Difference]:
    """Every comparison of one set; `ours` should be many times more clusters than `slug`."""
    rows = []
    for i, band in enumerate(bands):
        a, b = 10 ** (-0.4 * ours[:, i]), 10 ** (-0.4 * slug[:, i])
        rows.append(_row(clusters, "mean", band, a.mean(), b.mean(), _mean_sigma(a, b)))
        rows.append(_row(clusters, "sd", band, a.std(), b.std(), _spread_sigma(a, b)))
    columns = {band: (ours[:, i], slug[:, i]) for i, band in enumerate(bands)}
    for first, second in COLOURS:
        i, j = bands.index(first), bands.index(second)
        columns[f"{first} - {second}"] = (ours[:, i] - ours[:, j], slug[:, i] - slug[:, j])
    for column, (a, b) in columns.items():
        for percentile in PERCENTILES:
            x = np.percentile(a, percentile)
            y = np.percentile(b, percentile)
            sigma = _quantile_sigma(a, b, percentile / 100)
            rows.append(
                Difference(
                    clusters, f"p{percentile}", column, float(x), float(y), float(x - y), sigma
                )
            )
    return rows


def threshold(n: int, false_alarm: float) -> float:
    """Sigmas that one of `n` comparisons exceeds, either way, with probability `false_alarm`."""
    return float(norm.isf(false_alarm / n / 2))


def _row(clusters: str, what: str, band: str, ours: float, slug: float, sigma: float) -> Difference:
    delta = -2.5 * np.log10(ours / slug)
    return Difference(clusters, what, band, float(ours), float(slug), float(delta), sigma)


def _mean_sigma(a: np.ndarray, b: np.ndarray) -> float:
    """Difference of means in sigmas, corrected for the skewness of the mean (Cornish & Fisher)."""
    z = (a.mean() - b.mean()) / np.sqrt(a.var() / len(a) + a.var() / len(b))
    lean = -float(skew(a)) / np.sqrt(len(b))
    return float(z - (z * z - 1) * lean / 6)


def _spread_sigma(a: np.ndarray, b: np.ndarray) -> float:
    """Difference of ln(sd) in sigmas; its variance is (kurtosis - 1) / 4n."""
    excess = float(kurtosis(a, fisher=False)) - 1
    error = np.sqrt(excess / 4 * (1 / len(a) + 1 / len(b)))
    return float(np.log(a.std() / b.std()) / error)


def _quantile_sigma(a: np.ndarray, b: np.ndarray, q: float) -> float:
    """How far from q the share of `b` below the q quantile of `a` is, in sigmas."""
    below = (b < np.quantile(a, q)).mean()
    return float((below - q) / np.sqrt(q * (1 - q) * (1 / len(a) + 1 / len(b))))


def compare_all(
    data: pathlib.Path,
    version: int,
    n: int = 20_000,
    seed: int = 0,
    own_light: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Difference]:
    """All sets of SLUG `version` (2 or 3) in a folder.

    `own_light`: give each star the magnitudes that SLUG v3 gives it, which leaves the drawing.
    """
    if version not in (2, 3) or (own_light and version == 2):
        raise ValueError(
            f"version is {version}{' with own_light' if own_light else ''}; expected 2 or 3, and "
            "SLUG's own light with 3 only"
        )
    progress("building the grid")
    if own_light:
        grid = slug3_own_grid(data)
    else:
        grid = slug2_grid(data) if version == 2 else slug3_grid(data)
    population = StellarPopulation(grid, Chabrier())
    bands = BANDS2 if version == 2 else tuple(BANDS3)
    rows: list[Difference] = []
    for name, slug in references2(data) if version == 2 else references3(data):
        progress(name)
        ours = draw(population, name.removeprefix("stock_"), n, seed)
        rows += compare(name, bands, ours, slug)
    return rows


def bench_slug(
    data: pathlib.Path,
    version: int,
    n: int = 20_000,
    seed: int = 0,
    false_alarm: float = 1e-3,
    own_light: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[dict[str, float | int | str]]:
    """One line per set: how many comparisons, how many beyond the threshold, by how much."""
    rows = compare_all(data, version, n, seed, own_light, progress)
    limit = threshold(len(rows), false_alarm)
    for name in dict.fromkeys(row.clusters for row in rows):
        mine = [row for row in rows if row.clusters == name]
        beyond = [row for row in mine if abs(row.sigma) > limit]
        yield {
            "benchmark": f"slug{version}",
            "clusters": name,
            "n_comparisons": len(mine),
            "threshold_sigma": round(limit, 2),
            "n_beyond": len(beyond),
            "max_sigma": round(max(abs(row.sigma) for row in mine), 1),
            "max_beyond_mag": round(max((abs(row.delta_mag) for row in beyond), default=0.0), 4),
            **{
                f"mean_{row.column}_mag": round(row.delta_mag, 4)
                for row in mine
                if row.what == "mean"
            },
        }
