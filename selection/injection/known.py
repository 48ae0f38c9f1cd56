"""The clusters of a synthetic galaxy that its catalogue holds, with θ as a survey would record it.

For checks of fits: the images decide what is catalogued, and θ is the truth with Gaussian errors
that know nothing of the pixels. Selection then is independent of the noise in the recorded θ, and
an operator learned from injections stands in the likelihood with `acts_on = "truth"`.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from starcensus.bands import reference_band
from starcensus.theta import AXES

from ...simulate.images.frame import BandImage, Frame
from ...simulate.images.templates import Templates
from ..catalogue import Catalogue, Step
from ..catalogue.checks import GAUSSIAN
from ..operators.facts import quantiles
from ..pipeline.detections import Detections
from ..pipeline.facts import facts_of_frame
from .light import ApertureLight, owns, source_light


@dataclasses.dataclass(frozen=True, eq=False)
class KnownClusters:
    """The clusters that were put into a synthetic galaxy.

    **Arguments:**

    - `x`, `y`: `(n,)`, pixels; the centre of the first pixel is (0, 0).
    - `v_mag`: `(n,)`, apparent V magnitude of all light.
    - `r_eff_pc`: `(n,)`, half-light radius, pc.
    - `theta`: `(n, 3)`, true log_mass, log_age and a_v.
    - `truth`: parameters of the population that they were drawn from, JSON; for the catalogue.

    Raises `ValueError` for shapes that differ.

    ```python
    own = galaxy.clusters
    v_mag = own.apparent(frame.distance_modulus, ["ACS_F555W"])[:, 0]
    known = KnownClusters(galaxy.x, galaxy.y, v_mag, own.r_eff_pc, own.theta)
    known.catalogue(found, frame, templates).theta
    ```
    """

    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    v_mag: Float[np.ndarray, "n"]
    r_eff_pc: Float[np.ndarray, "n"]
    theta: Float[np.ndarray, "n 3"]
    truth: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.x)
        expected = {"y": (n,), "v_mag": (n,), "r_eff_pc": (n,), "theta": (n, 3)}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}; expected {shape}")

    def __len__(self) -> int:
        return len(self.x)

    def catalogue(
        self,
        found: Detections,
        frame: Frame,
        templates: Templates,
        sigma: tuple[float, float, float] = (0.1, 0.1, 0.1),
        seed: int = 0,
        source: str = "synthetic galaxy",
    ) -> Catalogue:
        """The catalogued clusters with recorded θ, the true values in columns `true_…`.

        **Arguments:**

        - `found`: what a pipeline finds in `frame`.
        - `templates`: templates of the clusters.
        - `sigma`: Gaussian errors of log_mass (dex), log_age (dex) and a_v (mag).
        - `seed`: seed of these errors.
        - `source`: name of the catalogue.

        Raises `ValueError` for errors that are not positive, and where
        no cluster is catalogued.
        """
        if not min(sigma) > 0:
            raise ValueError(f"sigma is {sigma}; expected three errors above 0")
        band = reference_band(frame.bands)
        places = self.x, self.y, self.v_mag, self.r_eff_pc
        light = ApertureLight(templates, band)
        at = catalogued_clusters(*places, found, frame.image(band), light)
        rows = np.flatnonzero(at >= 0)
        if not len(rows):
            raise ValueError(f"{source}: none of its {len(self)} clusters is catalogued")
        errors, theta = np.array(sigma), self.theta[rows]
        recorded = theta + errors * np.random.default_rng(seed).standard_normal(theta.shape)
        truths = {f"true_{name}": theta[:, column] for column, name in enumerate(AXES)}
        truths["true_r_eff_pc"] = self.r_eff_pc[rows]
        return Catalogue(
            source=source,
            ids=np.array([str(row) for row in rows]),
            theta=recorded,
            theta_low=recorded - errors,
            theta_high=recorded + errors,
            columns={"x": self.x[rows], "y": self.y[rows], **truths},
            steps=(Step("catalogued", len(self), len(rows), "the pipeline catalogued them"),),
            meta={
                "recorded": GAUSSIAN,
                "acts_on": "truth",
                "survey": dataclasses.replace(
                    facts_of_frame(frame, templates.psfs, found.pipeline or None),
                    radius_pc=quantiles(self.r_eff_pc),
                ).json(),
                "truth": dict(self.truth),
                "n_drawn": len(self),
                "seed": seed,
            },
        )


def catalogued_clusters(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    v_mag: Float[np.ndarray, "n"],
    r_eff_pc: Float[np.ndarray, "n"],
    found: Detections,
    image: BandImage,
    light: ApertureLight,
) -> Int[np.ndarray, "n"]:
    """For each cluster the row of `found` that stands for it in the catalogue, or -1.

    The rule is that of artificial clusters, seen from the catalogue: a source belongs to the
    cluster within `light.reach_pix` that gives most of the V light in its aperture, if that is at
    least half, and a cluster to the nearest of its sources.

    **Arguments:**

    - `x`, `y`: `(n,)`, centres of the clusters, pixels.
    - `v_mag`: `(n,)`, their apparent V magnitudes.
    - `r_eff_pc`: `(n,)`, their half-light radii, pc.
    - `found`: what the pipeline finds.
    - `image`: the image in V, or in the band nearest to it.
    - `light`: light of the clusters' templates in that band.

    ```python
    own, light = galaxy.clusters, ApertureLight(templates, "ACS_F555W")
    v_mag = own.apparent(frame.distance_modulus, ["ACS_F555W"])[:, 0]
    image = frame.image("ACS_F555W")
    catalogued_clusters(galaxy.x, galaxy.y, v_mag, own.r_eff_pc, found, image, light)
    ```
    """
    out = np.full(len(x), -1)
    sources = np.flatnonzero(found.catalogued)
    if not len(x) or not len(sources):
        return out
    where = np.stack([found.x[sources], found.y[sources]], axis=1)
    total = source_light(image, *where.T)
    rate = image.rate(v_mag)
    best = np.full(len(x), np.inf)
    tree = KDTree(np.stack([x, y], axis=1))
    for at, near in enumerate(tree.query_ball_point(where, light.reach_pix)):
        if not near:
            continue
        near = np.array(sorted(near))
        distance = np.hypot(where[at, 0] - x[near], where[at, 1] - y[near])
        own = rate[near] * light.fraction(r_eff_pc[near], distance)
        k = int(np.argmax(own))
        cluster = near[k]
        if owns(own[[k]], total[[at]])[0] and distance[k] < best[cluster]:
            best[cluster] = distance[k]
            out[cluster] = sources[at]
    return out
