"""kind = "posterior": what a catalogued cluster is, learned from injections."""

import dataclasses
from typing import Annotated

from starcensus.experiments.schema._base import FILES, File
from starcensus.experiments.schema._kinds import Without
from starcensus.experiments.schema.learning import Tables
from starcensus.selection.posterior import PosteriorSettings
from starcensus.theta import Box


@FILES.register("posterior")
class PosteriorFile(File):
    """Posteriors of mass, age, extinction and radius from what a pipeline measures.

    **Arguments:**

    - `tables`: injection tables of one survey, of a library that is even in θ.
    - `bounds`: ranges of the library's design; by default what the tables reach, in hundredths.
    - `test`: tables that it is judged by: others, elsewhere.
    - `train`: what the networks take, and their training.
    """

    tables: Tables
    bounds: Box | None = None
    test: tuple[str, ...] = ()
    train: Annotated[PosteriorSettings, Without(("seed",))] = PosteriorSettings()

    def learn_settings(self) -> PosteriorSettings:
        """With the file's seed."""
        return dataclasses.replace(self.train, seed=self.seed)
