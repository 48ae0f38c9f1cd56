"""Catalogues of measured light for a calibration: clusters with stars of their own, and a survey.

The clusters of a catalogue are drawn one by one from its population, their light by the engine, and
what is measured by the survey's `draw`. The likelihood has a library that was drawn from another
density, and shares the description of the survey alone.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float

from ...forward import Population, SelectionGrid
from ...forward.mock import draw_theta
from ...selection import AbstractSelection
from ...selection.catalogue import Photometry
from ...selection.observation import AbstractObservation
from ...simulate import Pool
from ...simulate.library.run import Engine
from ..draws import prior_draws
from ..identity import described, fingerprint
from ..model import PopulationModel
from ..objects import (
    LightObjects,
    LightSettings,
    NodeSamples,
    PoolGrid,
    RowSamples,
    Samples,
)
from ..objects.kernel import apparent
from ..sampling import double_precision
from .settings import CalibrationSettings
from .sources import AbstractSource, Sizes, Truths, largest_of, stacked

# A random stream of its own; how far apart the seeds of two calibrations are, and how many.
_STARS = 17
_CATALOGUES = 1_000_003
_SEEDS = 1 << 63


@dataclasses.dataclass(frozen=True, eq=False)
class SeenCatalogue:
    """One catalogue in the form that a sampler takes.

    **Arguments:**

    - `samples`: of its clusters, not padded; None without clusters. `n`: number of clusters.
    - `effective`: `(n,)`, effective simulated clusters of each, where that is known.
    """

    samples: NodeSamples | RowSamples | None
    n: int
    effective: Float[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return self.n


@dataclasses.dataclass(frozen=True, eq=False)
class Seen(AbstractSource):
    """Catalogues of light that are drawn from the priors.

    **Arguments:**

    - `engine`: draws the light of the catalogues' clusters.
    - `survey`: sees them.
    - `assumed`: what the likelihood believes of the survey.
    - `pool`: simulated clusters of the likelihood.
    - `light`: how light becomes a likelihood.

    Raises `ValueError` for an engine that draws no light in a band of the survey.
    """

    engine: Engine
    survey: AbstractObservation
    assumed: AbstractObservation
    pool: Pool
    light: LightSettings

    def __post_init__(self) -> None:
        if lacking := [band for band in self.survey.bands if band not in self.engine.bands]:
            raise ValueError(
                f"the engine draws no {', '.join(lacking)}; it has {', '.join(self.engine.bands)}, "
                f"and the survey {', '.join(self.survey.bands)}"
            )

    def digest(self) -> str:
        pool = self.pool
        surveys = [(x.words, described(x)) for x in (self.survey, self.assumed)]
        rows = fingerprint((pool.theta, pool.abs_mags, pool.log_weight))
        return repr((self.engine.describe(), surveys, pool.bands, rows, self.light))

    def truths(self, model: PopulationModel, cfg: CalibrationSettings) -> Truths:
        return prior_draws(model, cfg.n_catalogues, cfg.seed)

    def recorded(self, population: Population, seed: int) -> Photometry:
        """What the survey records of one Poisson draw of a population.

        ```python
        source.recorded(population, seed=1).mags
        ```
        """
        with double_precision():
            number, places = jax.random.split(jax.random.key(seed))
            theta = draw_theta(number, places, population)
        rng = np.random.default_rng([seed, _STARS])
        seeds = rng.integers(0, 1 << 62, len(theta)).astype(np.uint64)
        log_mass, log_age, a_v = theta.T
        drawn = self.engine.draw(log_mass, log_age, a_v, seeds)["abs_mags"].astype(float)
        columns = [self.engine.bands.index(band) for band in self.survey.bands]
        data = self.survey.draw(drawn[:, columns] + self.survey.distance_modulus, rng)[1]
        return dataclasses.replace(data, ids=np.arange(1, len(data) + 1).astype(str))

    def seed_of(self, cfg: CalibrationSettings, number: int) -> int:
        """Of everything random about catalogue `number`, for `recorded`."""
        return (cfg.seed * _CATALOGUES + number) % _SEEDS

    def catalogues(
        self, model: PopulationModel, cfg: CalibrationSettings, start: int, stop: int
    ) -> list[SeenCatalogue]:
        truths = self.truths(model, cfg)
        fixed = model.population.with_values(model.fixed_values())
        return [
            self._fitted(
                model,
                self.recorded(
                    fixed.with_values({k: v[i] for k, v in truths.items()}), self.seed_of(cfg, i)
                ),
            )
            for i in range(start, stop)
        ]

    def _fitted(self, model: PopulationModel, data: Photometry) -> SeenCatalogue:
        if not len(data):
            return SeenCatalogue(None, 0)
        objects = LightObjects(data, self.assumed, self.pool, self.light, p_rows=self._p_rows)
        objects = objects.inside(model.population.box)
        samples = objects.summed(model.population)
        return SeenCatalogue(samples, len(objects), objects.effective())

    def remark(self, catalogues: Sequence[SeenCatalogue]) -> str | None:
        """How many effective simulated clusters stand behind those of the catalogues: all have the
        same, whose chance moves every fit alike."""
        known = [each.effective for each in catalogues if each.effective is not None]
        if not sum(map(len, known)):
            return None
        low, middle = np.percentile(np.concatenate(known), [5, 50])
        return (
            f"half of the clusters are like {middle:.3g} effective simulated ones or more, one in "
            f"twenty like {low:.3g} or fewer"
        )

    @functools.cached_property
    def _p_rows(self) -> Float[np.ndarray, " row"]:
        return np.asarray(self.assumed.p_sel(apparent(self.pool, self.assumed)), float)

    def entering(self, selection: AbstractSelection, cfg: CalibrationSettings) -> AbstractSelection:
        return selection

    def grid(
        self, model: PopulationModel, selection: AbstractSelection, cfg: CalibrationSettings
    ) -> SelectionGrid:
        box = model.population.box
        rules = self.light.rules(box, model.population.extinction.corners())
        return PoolGrid.of(self.pool, self._p_rows, box, rules).grid

    def sizes(
        self, model: PopulationModel, cfg: CalibrationSettings, catalogues: list[SeenCatalogue]
    ) -> Sizes:
        n_objects = largest_of(catalogues) + 1
        lengths = [_samples(each).n_values + n_objects - len(each) for each in catalogues]
        return max(lengths), n_objects

    def samples(
        self,
        model: PopulationModel,
        selection: AbstractSelection,
        cfg: CalibrationSettings,
        catalogues: list[SeenCatalogue],
        start: int,
        sizes: Sizes,
    ) -> Samples:
        return stacked([_samples(each).padded(*sizes) for each in catalogues])


def _samples(catalogue: SeenCatalogue) -> NodeSamples | RowSamples:
    assert catalogue.samples is not None, "a catalogue without clusters was refused before"
    return catalogue.samples
