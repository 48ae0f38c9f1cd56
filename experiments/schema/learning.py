"""kind = "learning": networks trained on injection tables."""

import dataclasses
from typing import Annotated

import pydantic

from starcensus.experiments.schema._base import FILES, File
from starcensus.experiments.schema._kinds import Without
from starcensus.experiments.schema.clusters import RadiusTable
from starcensus.networks import TrainSettings
from starcensus.selection.learning import Inputs

Tables = Annotated[tuple[str, ...], pydantic.Field(min_length=1)]


@FILES.register("learning")
class LearningFile(File):
    """An operator that networks learn from artificial cluster tests.

    **Arguments:**

    - `tables`: injection tables.
    - `inputs`: what the networks take. `train`: how they are trained.
    - `search`: choose the learning rate and weight decay on C-4's grid first, with one network.
    - `distance_modulus`: mag, where the tables do not say it.
    - `weighted`: weight the rows by 1 / `inclusion`, which undoes a choice of clusters. Networks
      that take what the pilot took need it not, and learn more without.
    - `radius`: distribution of half-light radii to average over, by default the tables'.
    """

    tables: Tables
    inputs: Inputs = Inputs()
    train: Annotated[TrainSettings, Without(("seed",))] = TrainSettings()
    search: bool = False
    distance_modulus: float | None = None
    weighted: bool = False
    radius: RadiusTable | None = None

    def train_settings(self) -> TrainSettings:
        """How the networks are trained, with the file's seed."""
        return dataclasses.replace(self.train, seed=self.seed)
