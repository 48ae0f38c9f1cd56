"""kind = "observation": what a survey measures of a cluster, learned from injections."""

import dataclasses
from typing import Annotated

import pydantic

from starcensus.experiments.schema._base import FILES, File
from starcensus.experiments.schema._kinds import Without
from starcensus.experiments.schema.learning import Tables
from starcensus.selection.observation import ObservationSettings


def refuse_seed(train: ObservationSettings, where: str) -> None:
    """Raises `ValueError` for a seed of the networks alone, which is the file's."""
    if train.selection.seed:
        raise ValueError(
            f"{where}.selection.seed is {train.selection.seed}; the seed of everything is the "
            "file's: leave it out"
        )


@FILES.register("observation")
class ObservationFile(File):
    """P(catalogued | magnitudes), and the density of what is then measured.

    **Arguments:**

    - `tables`: injection tables of one survey, joined.
    - `test`: tables that it is judged by: others, elsewhere.
    - `train`: form and training; its `selection` that of P(catalogued | magnitudes).
    """

    tables: Tables
    test: tuple[str, ...] = ()
    train: Annotated[ObservationSettings, Without(("seed",))] = ObservationSettings()

    @pydantic.model_validator(mode="after")
    def _one_seed(self) -> "ObservationFile":
        refuse_seed(self.train, "train")
        return self

    def learn_settings(self) -> ObservationSettings:
        """With the file's seed."""
        selection = dataclasses.replace(self.train.selection, seed=self.seed)
        return dataclasses.replace(self.train, seed=self.seed, selection=selection)
