"""Clusters star by star in images: bright stars one by one, the rest as the profile."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from ..clusters.bins import StellarPopulation
from ..clusters.cluster import DrawSettings
from ..clusters.resolved import ResolvedCluster, resolve
from ..library.library import ClusterLibrary
from .render import add_sources, add_stars
from .templates import Templates

# Absolute magnitude, in V for a galaxy's field, of the faintest stars drawn one by one.
STAR_LIMIT_M_V = -2.2
_CHECKED = 5
_SAME_MAG = 2e-3


@dataclasses.dataclass(frozen=True, eq=False)
class StarByStar:
    """Renders the clusters of a library from their seeds.

    **Arguments:**

    - `population`: stars and their light: those that the library was drawn from, in its bands, for
      how stars are binned depends on these.
    - `templates`: of the light that is not drawn star by star; they have the PSFs.
    - `draw`: how the library's clusters were drawn, and their gas.
    - `star_limit_mag`: stars brighter than this absolute magnitude in any band of the images are
      drawn one by one.

    ```python
    render = StarByStar(stars, templates)
    image = np.zeros((1, 96, 96), np.float32)
    some, middle = library.take(slice(0, 1)).select(("ACS_F555W",)), np.array([48.0])
    render.add(image, some, middle, middle, np.array([3.0]), np.array([1e9]), 29.98, 0.0396)
    image.sum()
    ```
    """

    population: StellarPopulation
    templates: Templates
    draw: DrawSettings = dataclasses.field(default_factory=DrawSettings)
    star_limit_mag: float = STAR_LIMIT_M_V

    def describe(self) -> dict[str, Any]:
        """What the light depends on; JSON."""
        imf = self.population.imf
        return {
            "grid": f"sha256:{self.population.grid.digest}",
            "imf": {"kind": type(imf).__name__, **dataclasses.asdict(imf)},
            "draw": dataclasses.asdict(self.draw),
            "star_limit_mag": self.star_limit_mag,
            "star_limit_in": "any band",
        }

    def add(
        self,
        expected: Float[np.ndarray, "band row col"],
        clusters: ClusterLibrary,
        x: Float[np.ndarray, "n"],
        y: Float[np.ndarray, "n"],
        r_eff_pc: Float[np.ndarray, "n"],
        rate_of_flux: Float[np.ndarray, "band"],
        distance_modulus: float,
        pixel_scale_arcsec: float,
    ) -> None:
        """Add clusters to images in electrons/s, in place.

        **Arguments:**

        - `expected`: one image for each band of the library.
        - `clusters`: with a seed each.
        - `x`, `y`: centres, pixels. `r_eff_pc`: half-light radii, pc, as `Templates.radius` says.
        - `rate_of_flux`: electrons/s of a source of absolute magnitude 0.
        - `distance_modulus` (mag), `pixel_scale_arcsec`: of the images.

        Raises `ValueError` for clusters without seeds, or that these stars do not make: their
        integrated light is compared for a few.
        """
        self.check(clusters)
        assert clusters.seed is not None
        columns = [self.population.bands.index(band) for band in clusters.bands]
        stars_x, stars_y, stars_rate = [], [], []
        for k in range(len(clusters)):
            cluster = self._resolved(clusters, k, float(r_eff_pc[k]))
            places = cluster.pixel_positions(distance_modulus, pixel_scale_arcsec, (x[k], y[k]))
            stars_x.append(places[:, 0])
            stars_y.append(places[:, 1])
            stars_rate.append(cluster.flux[:, columns] * rate_of_flux)
            smooth = cluster.smooth_flux[columns] * rate_of_flux
            at = slice(k, k + 1)
            for plane, band, rate in zip(expected, clusters.bands, smooth, strict=True):
                template = self.templates.get(band, float(r_eff_pc[k]))
                add_sources(plane, template, x[at], y[at], np.array([rate]))
        if not len(clusters):
            return
        xs, ys, rate = np.concatenate(stars_x), np.concatenate(stars_y), np.concatenate(stars_rate)
        for k, band in enumerate(clusters.bands):
            add_stars(expected[k], self.templates.psfs[band], xs, ys, rate[:, k])
        # Transforms leave rounding errors of either sign.
        np.maximum(expected, 0.0, out=expected)

    def check(self, clusters: ClusterLibrary) -> None:
        """Raises `ValueError` as `add`, where a magnitude is off by 0.002 or more.

        Compared are the five lightest clusters, and the five youngest of the lightest quarter: gas
        is seen where one of these has it.
        """
        if clusters.seed is None:
            raise ValueError("the clusters have no seed; star by star needs the library's seeds")
        if clusters.z is not None:
            raise ValueError(
                "the clusters' stars differ in metallicity (column z), and star by star they are "
                "of one grid; draw a library of one grid"
            )
        if missing := [band for band in clusters.bands if band not in self.population.bands]:
            raise ValueError(f"the stars have no light in {', '.join(missing)}")
        columns = [self.population.bands.index(band) for band in clusters.bands]
        # The lightest are the fastest, and vary most from seed to seed; gas shows in the youngest.
        light = np.argsort(clusters.log_mass, kind="stable")
        some = light[: max(_CHECKED, len(light) // 4)]
        young = some[np.argsort(clusters.log_age[some], kind="stable")]
        for k in np.union1d(light[:_CHECKED], young[:_CHECKED]):
            ours = self._resolved(clusters, int(k), 1.0).total_abs_mags[columns]
            theirs = clusters.abs_mags[k]
            same = (np.abs(ours - theirs) < _SAME_MAG) | (ours == theirs)
            if not same.all():
                band = int(np.argmin(same))
                raise ValueError(
                    f"cluster {k} of the library has the magnitude {theirs[band]:.4f} in "
                    f"{clusters.bands[band]}, and these stars give {ours[band]:.4f} of its seed; "
                    "expected a library of the same grid, initial mass function, gas and rules of "
                    "drawing"
                )

    def _resolved(self, clusters: ClusterLibrary, k: int, r_eff_pc: float) -> ResolvedCluster:
        assert clusters.seed is not None
        return resolve(
            self.population,
            float(clusters.log_mass[k]),
            float(clusters.log_age[k]),
            float(clusters.a_v[k]),
            self.templates.profile_of(clusters.bands[0], r_eff_pc),
            int(clusters.seed[k]),
            self.draw,
            faint_limit_mag=self.star_limit_mag,
            # In each band that is rendered: giants that are faint in V make red images grainy.
            faint_limit_band=clusters.bands,
        )
