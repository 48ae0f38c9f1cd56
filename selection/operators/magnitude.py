"""A magnitude limit in one band, seen through the light of a mean stellar population."""

import functools
import importlib.resources
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from starcensus.bands import full_name
from starcensus.theta import Box

from ...simulate.clusters.bins import StellarPopulation
from ...simulate.clusters.cluster import DrawSettings, ssp_abs_mags
from ._base import OPERATORS, AbstractSelection, ActsOn, Outside

if TYPE_CHECKING:
    import astropy.table


@OPERATORS.register("magnitude_limit")
class MagnitudeLimit(AbstractSelection):
    """p_sel = sigmoid((limit_mag − m) / width_mag), m the cluster's apparent magnitude,

    m = M_1(log_age) − 2.5 log_mass + distance_modulus + extinction_ratio · a_v,

    where M_1 is the absolute magnitude of 1 M_sun formed (`log_mass` is the birth mass, so the mass
    that stars lose is in M_1), interpolated by a monotone cubic (PCHIP, C1). The light of low-mass
    clusters is stochastic, which this operator does not know: below some 10^4 M_sun prefer
    `marginalise`.

    **Arguments:**

    - `log_age`: `(k,)`, increasing nodes of M_1, log10 yr.
    - `abs_mag`: `(k,)`, M_1 at the nodes, mag.
    - `limit_mag`: apparent magnitude at which half the clusters are catalogued.
    - `width_mag`: scale of the logistic. 10 % to 90 % takes 4.4 widths; photometric errors of
      standard deviation s blur a sharp cut to about width_mag = 0.6 s; the 0.2 mag of `default`
      stands for errors of 0.3 mag at the limit. It must be positive.
    - `distance_modulus`: mag.
    - `extinction_ratio`: A_band / A_V.
    - `domain`: where the operator is known; by default the ages of the table, masses of 1 to 10^9
      M_sun and extinctions up to 10 mag.
    - `band`: name of the band.
    - `outside`: `"refuse"`, `"zero"` or `"clip"`, what it says beyond its domain.
    - `acts_on`: `"data"` or `"truth"`, what the survey's cut looked at.

    Raises `ValueError` for nodes that do not increase or magnitudes that are not finite, a width
    that is not positive, and a domain beyond the nodes.

    ```python
    operator = MagnitudeLimit.default("ACS_F555W", limit_mag=24.0, distance_modulus=29.98)
    operator.p_sel(3.5, np.array([6.5, 8.5]), 0.3)
    ```
    """

    log_age: Float[np.ndarray, "k"]
    abs_mag: Float[np.ndarray, "k"]
    coefficients: Float[Array, "4 cell"] | Float[np.ndarray, "4 cell"]
    limit_mag: float
    width_mag: float
    distance_modulus: float
    extinction_ratio: float
    domain: Box
    band: str
    outside: Outside
    acts_on: ActsOn

    def __init__(
        self,
        log_age: np.ndarray | Sequence[float],
        abs_mag: np.ndarray | Sequence[float],
        *,
        limit_mag: float,
        distance_modulus: float,
        extinction_ratio: float,
        width_mag: float = 0.2,
        domain: Box | None = None,
        band: str = "",
        outside: Outside = "refuse",
        acts_on: ActsOn = "data",
    ):
        from scipy.interpolate import PchipInterpolator

        self.log_age, self.abs_mag = np.array(log_age, float), np.array(abs_mag, float)
        if self.log_age.ndim != 1 or self.log_age.shape != self.abs_mag.shape:
            raise ValueError(
                f"log_age {self.log_age.shape} and abs_mag {self.abs_mag.shape} differ in shape; "
                "expected two equal vectors"
            )
        if len(self.log_age) < 2 or not (np.diff(self.log_age) > 0).all():
            raise ValueError("log_age must hold two or more increasing nodes (log10 yr)")
        if not np.isfinite(self.abs_mag).all():
            raise ValueError("abs_mag must be finite at every age; drop the ages where it is not")
        if not width_mag > 0:
            raise ValueError(f"width_mag is {width_mag:g}; expected > 0 mag (0.02 is nearly sharp)")
        self.coefficients = PchipInterpolator(self.log_age, self.abs_mag).c
        ages = (float(self.log_age[0]), float(self.log_age[-1]))
        self.domain = domain or Box((0.0, 9.0), ages, (0.0, 10.0))
        if not (
            ages[0] - 1e-9 <= self.domain.log_age[0] and self.domain.log_age[1] <= ages[1] + 1e-9
        ):
            raise ValueError(
                f"the domain's log_age {self.domain.log_age} goes beyond the table's {ages}"
            )
        self.limit_mag, self.width_mag = float(limit_mag), float(width_mag)
        self.distance_modulus = float(distance_modulus)
        self.extinction_ratio = float(extinction_ratio)
        self.band, self.outside, self.acts_on = band, outside, acts_on

    @classmethod
    def default(
        cls,
        band: str = "F555W",
        *,
        limit_mag: float = 23.98,
        distance_modulus: float = 29.98,
        width_mag: float = 0.2,
        extinction_ratio: float | None = None,
        domain: Box | None = None,
        outside: Outside = "refuse",
        acts_on: ActsOn = "data",
    ) -> "MagnitudeLimit":
        """With the carried table of a solar-metallicity population (BC03, Kroupa IMF, Vega).

        **Arguments:**

        - `band`: a column such as `"WFC3_UVIS_F814W"`, or a bare filter name for the camera LEGUS
          used in NGC 628 (ACS for F435W, F555W, F814W).
        - `limit_mag`, `distance_modulus`: by default the M_V = −6 of LEGUS at NGC 628 (Adamo et al.
          2017).
        - `extinction_ratio`: by default that of the Milky Way at the band's pivot wavelength.
        - the others: arguments of the class.

        Raises `ValueError` naming the bands for one that is not carried.
        """
        table = _carried_table()
        name = full_name(band)
        bands = [column for column in table.colnames if column != "log_age"]
        if name not in bands:
            raise ValueError(
                f"band is {band!r}; expected one of {', '.join(bands)}, or a bare filter name; for "
                "another band, pass a table of your own to MagnitudeLimit"
            )
        meta = table.meta["extinction_ratio"]  # pyright: ignore
        return cls(
            np.asarray(table["log_age"], float),
            np.asarray(table[name], float),
            limit_mag=limit_mag,
            distance_modulus=distance_modulus,
            extinction_ratio=meta[name] if extinction_ratio is None else extinction_ratio,
            width_mag=width_mag,
            domain=domain,
            band=name,
            outside=outside,
            acts_on=acts_on,
        )

    @classmethod
    def from_population(
        cls,
        stars: StellarPopulation,
        band: str,
        *,
        limit_mag: float,
        distance_modulus: float,
        width_mag: float = 0.2,
        extinction_ratio: float | None = None,
        light: DrawSettings | None = None,
        domain: Box | None = None,
        outside: Outside = "refuse",
        acts_on: ActsOn = "data",
    ) -> "MagnitudeLimit":
        """With the mean light of a population of our own stars, at the ages of its isochrones.

        The magnitudes are those to which simulated clusters tend as they grow massive
        (`ssp_abs_mags`): the limit and the libraries share one model of stars, gas and dust.

        **Arguments:**

        - `stars`: isochrones and IMF, as `StellarPopulation(StellarGrid.default())`.
        - `band`: one of `stars.bands`, or a bare filter name, as of `default`.
        - `extinction_ratio`: A_band / A_V, by default the mean over the ages of what one magnitude
          of A_V takes from starlight, by the extinction curve of the grid.
        - `light`: whether gas shines, and how; by default as in simulated clusters.
        - the others as of the class.

        Raises `ValueError` naming the bands for one that `stars` has not.

        ```python
        stars = StellarPopulation(StellarGrid.default().select(("ACS_F555W",)))
        MagnitudeLimit.from_population(stars, "ACS_F555W", limit_mag=24.0, distance_modulus=29.98)
        ```
        """
        name = band if band in stars.bands else full_name(band)
        if name not in stars.bands:
            raise ValueError(f"band is {band!r}; expected one of {', '.join(stars.bands)}")
        column = stars.bands.index(name)
        age = np.asarray(stars.grid.log_age, float)
        none = np.zeros(len(age))
        if extinction_ratio is None:
            starlight = DrawSettings(nebular=False)
            bare, dusty = (ssp_abs_mags(stars, age, a_v, starlight) for a_v in (none, none + 1))
            extinction_ratio = float((dusty - bare)[:, column].mean())
        return cls(
            age,
            ssp_abs_mags(stars, age, none, light)[:, column],
            limit_mag=limit_mag,
            distance_modulus=distance_modulus,
            extinction_ratio=extinction_ratio,
            width_mag=width_mag,
            domain=domain,
            band=name,
            outside=outside,
            acts_on=acts_on,
        )

    @property
    def n_members(self) -> int:
        return 1

    def apparent_mag(
        self, log_mass: ArrayLike, log_age: ArrayLike, a_v: ArrayLike
    ) -> Float[Array, "*n"]:
        """Mean apparent magnitude; beyond the table, ages take the value at its end."""
        dtype = jnp.result_type(float)
        log_mass, log_age, a_v = jnp.broadcast_arrays(
            *(jnp.asarray(x, dtype) for x in (log_mass, log_age, a_v))
        )
        nodes = jnp.asarray(self.log_age, dtype)
        age = jnp.clip(log_age, nodes[0], nodes[-1])
        cell = jnp.clip(jnp.searchsorted(nodes, age, side="right") - 1, 0, len(nodes) - 2)
        step = age - nodes[cell]
        c = jnp.asarray(self.coefficients, dtype)[:, cell]
        abs_mag = ((c[0] * step + c[1]) * step + c[2]) * step + c[3]
        return abs_mag - 2.5 * log_mass + self.distance_modulus + self.extinction_ratio * a_v

    def _members_inside(
        self, log_mass: Float[Array, "n"], log_age: Float[Array, "n"], a_v: Float[Array, "n"]
    ) -> Float[Array, "member n"]:
        m = self.apparent_mag(log_mass, log_age, a_v)
        return jax.nn.sigmoid((self.limit_mag - m) / self.width_mag)[None]


@functools.cache
def _carried_table() -> "astropy.table.Table":
    from astropy.table import Table

    folder = importlib.resources.files(__package__) / "data"
    with importlib.resources.as_file(folder / "mass_to_light.ecsv") as path:
        return Table.read(path, format="ascii.ecsv")
