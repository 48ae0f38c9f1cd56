"""One frame of an artificial cluster test: inject, run the pipeline, match."""

import dataclasses
import functools
import importlib.metadata
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from starcensus.bands import reference_band
from starcensus.runs import Input, Run

from ...simulate.images.frame import Frame
from ...simulate.images.render import add_sources, photon_noise
from ...simulate.images.resolved import StarByStar
from ...simulate.images.templates import Templates
from ...simulate.images.white import placement_density
from ...simulate.library.library import ClusterLibrary
from ..operators.facts import SurveyFacts
from ..pipeline._base import Pipeline, describe_pipeline, find_with
from ..pipeline.detections import Detections
from ..pipeline.facts import facts_of_frame, frame_sha256
from ..pipeline.photometry import APERTURE_PIX, SKY_PIX, annulus_sky, is_whole
from ._checksum import columns_sha256
from .light import ApertureLight, owns, source_light
from .matching import Matches, count_within, match_sources
from .plan import InjectionPlan, place
from .table import InjectionTable

CROWDING_PIX = 25.0
# A source keeps its wings where they reach this share of the frame's noise in a pixel.
_NEGLIGIBLE = 0.02

Clock = Callable[[str, float], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Injector:
    """Everything that the frames of a test share.

    **Arguments:**

    - `frame`: the untouched images.
    - `library`: clusters with absolute magnitudes in at least the frame's bands.
    - `templates`: templates of the bands.
    - `pipeline`: the survey.
    - `plan`: the plan of the test.
    - `stars`: renders clusters star by star; None for smooth profiles.

    Raises `ValueError` for a library that lacks a band, is too short for the plan, has no radii
    where the plan takes them from it, or that `stars` do not make, and for injections nearer to one
    another than the pipeline's `reach_pix`, if it has one.

    ```python
    injector = Injector(frame, library, templates, pipeline, plan)
    injector.run(0).catalogued.mean()  # of the first of injector.n_frames
    ```
    """

    frame: Frame
    library: ClusterLibrary
    templates: Templates
    pipeline: Pipeline
    plan: InjectionPlan
    stars: StarByStar | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "library", self.library.select(self.frame.bands))
        if self.plan.n_clusters is None:
            rest = max(1, len(self.library) - self.plan.start_row)
            object.__setattr__(self, "plan", dataclasses.replace(self.plan, n_clusters=rest))
        need = self.plan.start_row + (self.plan.n_clusters or 0)
        if len(self.library) < need:
            raise ValueError(
                f"the plan uses rows {self.plan.start_row} to {need - 1} of the library, none "
                f"twice; it has {len(self.library)}. Draw a larger one or inject fewer"
            )
        if np.isnan(self.library.abs_mags).any():
            row, band = (int(i) for i in np.argwhere(np.isnan(self.library.abs_mags))[0])
            raise ValueError(
                f"magnitude of cluster {row} in {self.frame.bands[band]} is NaN; expected a "
                "number, or infinity for no light"
            )
        if self.plan.radii_pc is None and self.library.r_eff_pc is None:
            raise ValueError(
                "radii_pc is None and the library has no r_eff_pc; draw it with a [radius]"
            )
        # Of a network; what other pipelines look at is nearer than injections ever are.
        reach = float(getattr(self.pipeline, "reach_pix", 0.0))
        if self.plan.min_separation_pix < reach:
            raise ValueError(
                f"the pipeline looks {reach:g} pixels to either side of a place, and injections "
                f"may be {self.plan.min_separation_pix:g} pixels apart: they would crowd one "
                f"another as a survey's clusters do not; set plan.min_separation_pix to {reach:g} "
                "or more"
            )
        if self.stars is not None:
            self.stars.check(self.library)

    @property
    def reference(self) -> str:
        """V, or the band nearest to it."""
        return reference_band(self.frame.bands)

    @functools.cached_property
    def _sets(self) -> list[tuple[Int[np.ndarray, "row"], float | None]]:
        image = self.frame.image(self.reference)
        good = image.data if image.bad is None else image.data[~image.bad]
        own = float((good - np.percentile(good, 1)).sum(dtype=float))
        mags = self.library.apparent(self.frame.distance_modulus, (self.reference,))
        return self.plan.sets(image.rate(mags[:, 0]), own)

    @property
    def n_frames(self) -> int:
        return len(self._sets) * self.plan.repeats

    def rows(self, number: int) -> Int[np.ndarray, "n"]:
        """Rows of the library in a frame; frame number = repeat * sets + set."""
        return self._sets[number % len(self._sets)][0]

    @functools.cached_property
    def density(self) -> Float[np.ndarray, "row col"]:
        plan = self.plan
        return placement_density(self.frame, plan.sigma_pc, plan.margin_pix, plan.scale_factors)

    @functools.cached_property
    def control(self) -> Detections:
        """What the pipeline finds in the untouched frame."""
        return find_with(self.pipeline, self.frame)

    @functools.cached_property
    def _light(self) -> ApertureLight:
        return ApertureLight(self.templates, self.reference, self.plan.match_pix)

    @functools.cached_property
    def _noise(self) -> list[float]:
        """Typical noise of a pixel in each band, electrons/s."""
        out = []
        for image in self.frame:
            good = image.data if image.bad is None else image.data[~image.bad]
            level = max(float(np.median(good)), 0.0) * image.exposure_s
            read = image.read_noise_e**2 * image.n_exposures
            out.append(float(np.sqrt(level + read)) / image.exposure_s)
        return out

    @functools.cached_property
    def _frame_sha256(self) -> str:
        return frame_sha256(self.frame)

    @functools.cached_property
    def _library_sha256(self) -> str:
        return columns_sha256(self.library.columns())

    def describe(self) -> dict[str, Any]:
        """What the table depends on, as JSON; images and magnitudes by checksum."""
        # By what the clusters were chosen decides which networks may be trained on them.
        choice = self.library.meta.get("choice")
        facts = {} if choice is None else {"choice": choice}
        facts |= {"notes": list(self.frame.notes)} if self.frame.notes else {}
        return facts | {
            "label": "in the catalogue, with half or more of the V light in 4 pixels",
            "plan": self.plan.describe(),
            "pipeline": describe_pipeline(self.pipeline),
            "templates": self.templates.describe(),
            **({} if self.stars is None else {"stars": self.stars.describe()}),
            "bands": list(self.frame.bands),
            "distance_modulus": self.frame.distance_modulus,
            "pixel_scale_arcsec": self.frame.pixel_scale_arcsec,
            "frame_sha256": self._frame_sha256,
            "library_sha256": self._library_sha256,
            "starcensus": importlib.metadata.version("starcensus"),
        }

    def facts(self) -> SurveyFacts:
        """What an operator that is learned from the table is learned for."""
        return facts_of_frame(self.frame, self.templates.psfs, self.pipeline, self.density)

    @functools.cached_property
    def key(self) -> str:
        """Of all that the table depends on, see `Run`."""
        inputs = {
            "frame": Input("frame", self._frame_sha256),
            "library": Input("library", self._library_sha256),
        }
        return Run("injections", self.describe(), inputs, self.plan.seed).key

    def positions(
        self, number: int
    ) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """x, y (pixels) and half-light radius (pc, as rendered) of the clusters of a frame."""
        plan = self.plan
        rows, fixed = self._sets[number % len(self._sets)]
        own = self.library.column("r_eff_pc")[rows] if fixed is None else np.full(len(rows), fixed)
        radii = np.array([self.templates.radius(float(r)) for r in own])
        x, y = place(
            self.density,
            radii / self.frame.pc_per_pixel,
            plan.min_separation,
            plan.min_separation_pix,
            plan.rng(number, 0),
        )
        return x, y, radii

    def injected(self, number: int) -> Frame:
        """The frame of that number with its clusters in every band; the same whenever asked."""
        x, y, radii = self.positions(number)
        return self._inject(number, x, y, radii)

    def _inject(self, number: int, x: np.ndarray, y: np.ndarray, radii: np.ndarray) -> Frame:
        resolved = None if self.stars is None else self._resolved(number, x, y, radii)
        data = {}
        for band, image in enumerate(self.frame):
            expected = (
                self._smooth(number, band, x, y, radii) if resolved is None else resolved[band]
            )
            light = photon_noise(expected, image.exposure_s, self.plan.rng(number, 1 + band))
            light += image.data
            data[image.band] = light
        return self.frame.with_data(data)

    def _smooth(
        self, number: int, band: int, x: np.ndarray, y: np.ndarray, radii: np.ndarray
    ) -> Float[np.ndarray, "row col"]:
        """Light of the clusters of a frame in one band, as profiles."""
        image = self.frame.images[band]
        clusters = self.library.take(self.rows(number))
        rate = image.rate(clusters.apparent(self.frame.distance_modulus)[:, band])
        expected = np.zeros(image.shape, np.float32)
        for radius in np.unique(radii):
            rows = np.flatnonzero(radii == radius)
            add_sources(
                expected,
                self.templates.get(image.band, float(radius)),
                x[rows],
                y[rows],
                rate[rows],
                _NEGLIGIBLE * self._noise[band],
            )
        return expected

    def _resolved(
        self, number: int, x: np.ndarray, y: np.ndarray, radii: np.ndarray
    ) -> Float[np.ndarray, "band row col"]:
        """The same in all bands, star by star."""
        assert self.stars is not None
        frame = self.frame
        expected = np.zeros((len(frame.bands), *frame.shape), np.float32)
        absolute = np.array([frame.distance_modulus])
        unit = np.concatenate([image.rate(absolute) for image in frame])
        self.stars.add(
            expected,
            self.library.take(self.rows(number)),
            x,
            y,
            radii,
            unit,
            frame.distance_modulus,
            frame.pixel_scale_arcsec,
        )
        return expected

    def run(self, number: int, clock: Clock = lambda stage, seconds: None) -> InjectionTable:
        """Inject, catalogue and match the clusters of one frame.

        **Arguments:**

        - `number`: number of the frame, below `n_frames`.
        - `clock`: told the seconds of the stages `place`, `inject`, `pipeline` and `match`.
        """
        ticks = [time.perf_counter()]

        def tick(stage: str) -> None:
            ticks.append(time.perf_counter())
            clock(stage, ticks[-1] - ticks[-2])

        x, y, radii = self.positions(number)
        tick("place")
        frame = self._inject(number, x, y, radii)
        tick("inject")
        found = find_with(self.pipeline, frame)
        tick("pipeline")
        table = self._table(number, (x, y, radii), frame, found)
        tick("match")
        return table

    def _table(
        self,
        number: int,
        placed: tuple[
            Float[np.ndarray, "n"],
            Float[np.ndarray, "n"],
            Float[np.ndarray, "n"],
        ],
        frame: Frame,
        found: Detections,
    ) -> InjectionTable:
        """What became of the clusters `placed` (x, y, radius) of a frame in which `found` are."""
        x, y, radii = placed
        n, rows, library, control = len(x), self.rows(number), self.library, self.control
        matches = match_sources(x, y, found, control, self.plan.match_pix)
        true_mags = library.take(rows).apparent(self.frame.distance_modulus)
        gives_most = self._gives_most(placed, true_mags, frame, found, matches)
        of_source = functools.partial(matches.take, n_sources=len(found))
        return InjectionTable(
            bands=self.frame.bands,
            frame=np.full(n, number),
            cluster=rows,
            repeat=np.full(n, number // len(self._sets)),
            log_mass=library.log_mass[rows],
            log_age=library.log_age[rows],
            a_v=library.a_v[rows],
            r_eff_pc=radii,
            true_mags=true_mags,
            x=x,
            y=y,
            background=annulus_sky(self.frame.image(self.reference), x, y, SKY_PIX)[0],
            crowding=count_within(x, y, control.x, control.y, CROWDING_PIX).astype(float),
            log_density=library.log_density[rows],
            detected=matches.found & ~matches.detected_before,
            already_there=matches.catalogued_before,
            catalogued=of_source(found.catalogued, False) & gives_most,
            measured_mags=of_source(found.mags, np.nan),
            measured_errors=of_source(found.mag_errors, np.nan),
            ci=of_source(found.ci, np.nan),
            cuts={name: of_source(passed, False) for name, passed in found.cuts.items()},
            inclusion=None if library.inclusion is None else library.inclusion[rows],
            covered=self._covered(x, y),
            measured={
                name: of_source(values.astype(float), np.nan)
                for name, values in found.columns.items()
                if values.dtype.kind in "iuf"
            },
        )

    def _covered(self, x: np.ndarray, y: np.ndarray) -> Bool[np.ndarray, "n band"] | None:
        """Which bands have data in each aperture; None where none lacks any."""
        if not self.frame.bad.any():
            return None
        each = [is_whole(image, x, y, APERTURE_PIX) for image in self.frame]
        return np.stack(each, axis=1)

    def _gives_most(
        self,
        placed: tuple[np.ndarray, np.ndarray, np.ndarray],
        true_mags: Float[np.ndarray, "n band"],
        frame: Frame,
        found: Detections,
        matches: Matches,
    ) -> Bool[np.ndarray, "n"]:
        """Whether each cluster gives at least half of the V light of its source."""
        x, y, radii = placed
        out = np.zeros(len(x), bool)
        at = np.flatnonzero(matches.found)
        to = matches.source[at]
        distance = np.hypot(x[at] - found.x[to], y[at] - found.y[to])
        image = self.frame.image(self.reference)
        rate = image.rate(true_mags[at, self.frame.bands.index(self.reference)])
        light = source_light(frame.image(self.reference), found.x[to], found.y[to])
        out[at] = owns(rate * self._light.fraction(radii[at], distance), light)
        return out
