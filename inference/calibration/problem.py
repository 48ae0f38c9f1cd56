"""What a calibration is of: a model, an operator, and catalogues whose truth is known."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from starcensus.runs import Input, Run

from ...forward import SelectionGrid
from ...selection import AbstractSelection, complete
from ...selection.catalogue import Catalogue
from ...selection.observation import AbstractObservation
from ...simulate import Pool
from ...simulate.library.run import Engine
from ..identity import fingerprint, model_digest
from ..model import PopulationModel
from ..objects import LightSettings, Samples
from .seen import Seen
from .settings import CalibrationSettings
from .sources import AbstractSource, Drawn, Given, Sizes, by_parameter

# Catalogues that are drawn between two words of progress.
_AT_LEAST = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What is calibrated; equal problems share their compiled program in a process.

    `Problem.drawn` makes its catalogues itself, `Problem.given` takes those of somebody else,
    `Problem.seen` draws clusters with light and has a survey measure them.

    **Arguments:**

    - `model`: the population's family and priors.
    - `source`: what the catalogues come from.
    - `selection`: what the likelihood believes.
    - `settings`: how each catalogue is fitted.
    """

    model: PopulationModel
    source: AbstractSource
    selection: AbstractSelection
    settings: CalibrationSettings

    @classmethod
    def drawn(
        cls,
        model: PopulationModel,
        generator: AbstractSelection,
        sigma: tuple[float, float, float] | None,
        selection: AbstractSelection,
        settings: CalibrationSettings | None = None,
    ) -> "Problem":
        """Catalogues drawn from the priors; arguments as of `calibrate`.

        ```python
        Problem.drawn(model, operator, None, operator).n
        ```
        """
        source = Drawn(generator, sigma)
        return cls(model, source, selection, settings or CalibrationSettings())

    @classmethod
    def given(
        cls,
        model: PopulationModel,
        catalogues: Sequence[Catalogue],
        truths: Sequence[Mapping[str, float]],
        selection: AbstractSelection,
        settings: CalibrationSettings | None = None,
    ) -> "Problem":
        """Catalogues that were made elsewhere, with the parameters that they were made from.

        The truths must have been drawn from the model's priors, or ranks are not uniform.

        **Arguments:**

        - `catalogues`: all with the same limits, if any.
        - `truths`: of each, by flat parameter name.

        Raises `ValueError` for truths that are missing, or catalogues of different limits.

        ```python
        truth = dict(alpha_m=-2.0, log_m_break=5.0, alpha_t=-0.8, sigma_av=0.4, log_n=2.5)
        Problem.given(model, [catalogue], [truth], operator).n
        ```
        """
        settings = settings or CalibrationSettings()
        source = Given(tuple(catalogues), by_parameter(model, truths))
        if len(truths) != len(catalogues) or not catalogues:
            raise ValueError(
                f"{len(catalogues)} catalogues and {len(truths)} truths; expected one each"
            )
        if len({repr(sorted(c.limits.items())) for c in catalogues}) > 1:
            raise ValueError("the catalogues have different limits; calibrate each kind by itself")
        settings = dataclasses.replace(settings, n_catalogues=len(catalogues))
        return cls(model, source, selection, settings)

    @classmethod
    def seen(
        cls,
        model: PopulationModel,
        engine: Engine,
        survey: AbstractObservation,
        pool: Pool,
        settings: CalibrationSettings | None = None,
        assumed: AbstractObservation | None = None,
        light: LightSettings | None = None,
    ) -> "Problem":
        """Catalogues of light, drawn from the priors and seen by a survey.

        **Arguments:**

        - `engine`: draws the light of the catalogues' clusters.
        - `survey`: records them.
        - `pool`: simulated clusters of the likelihood, over the population's bounds at least.
        - `assumed`: what the likelihood believes of the survey; by default the truth. Another one
          shows whether the test notices.
        - `light`: how light becomes a likelihood.

        Raises `ValueError` for an engine that draws no light in a band of the survey.

        ```python
        Problem.seen(model, engine, survey, drawn_pool).n
        ```
        """
        source = Seen(engine, survey, assumed or survey, pool, light or LightSettings())
        selection = complete(model.population.box)
        return cls(model, source, selection, settings or CalibrationSettings())

    @property
    def n(self) -> int:
        return self.settings.n_catalogues

    @functools.cached_property
    def digest(self) -> str:
        """Of all that the result depends on, apart from the code."""
        facts = (
            model_digest(self.model),
            self.source.digest(),
            fingerprint(self.selection),
            self.settings,
        )
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and self.digest == other.digest

    def run(self, inputs: Mapping[str, Input]) -> Run:
        """All that the result depends on; `inputs`: files besides."""
        return Run("calibration", {"problem": self.digest}, inputs, self.settings.seed)

    def truths(self) -> dict[str, np.ndarray]:
        """The true parameters of all catalogues."""
        return self.source.truths(self.model, self.settings)

    def mocks(self, start: int, stop: int) -> list[Any]:
        """Catalogues `start` to `stop`, as the source has them."""
        return self.source.catalogues(self.model, self.settings, start, stop)

    def all_mocks(self, progress: Callable[[str], None]) -> list[Any]:
        """All catalogues; those of light take longer than their fits, so that parts are told."""
        progress("drawing catalogues")
        made: list[Any] = []
        while len(made) < self.n:
            stop = min(len(made) + max(self.n // 10, _AT_LEAST), self.n)
            made += self.mocks(len(made), stop)
            if stop < self.n:
                progress(f"drew {stop} of {self.n}")
        if (said := self.source.remark(made)) is not None:
            progress(said)
        return made

    @functools.cached_property
    def entering(self) -> AbstractSelection:
        """The operator of the likelihood, with the limits of given catalogues."""
        return self.source.entering(self.selection, self.settings)

    @functools.cached_property
    def grid(self) -> SelectionGrid:
        """The expected number's nodes."""
        return self.source.grid(self.model, self.selection, self.settings)

    def sizes(self, catalogues: list[Any]) -> Sizes:
        """What all catalogues are padded to, after they passed the door of a fit together.

        Raises `BoundsError` where they contradict the population's bounds.
        """
        return self.source.sizes(self.model, self.settings, catalogues)

    def samples(self, catalogues: list[Any], start: int, sizes: Sizes) -> Samples:
        """Samples of every catalogue, stacked, each padded to `sizes`."""
        return self.source.samples(
            self.model, self.selection, self.settings, catalogues, start, sizes
        )
