"""kind = "choice": which clusters of a library are worth injecting."""

import dataclasses
from typing import Annotated

from starcensus.experiments.schema._base import FILES, File
from starcensus.experiments.schema._kinds import Without
from starcensus.selection.learning import ChoiceSettings


@FILES.register("choice")
class ChoiceFile(File):
    """Clusters of a library of which a pilot cannot tell whether they would be catalogued.

    **Arguments:**

    - `pilot`: operator file of two or more networks.
    - `library`: cluster library to choose from.
    - `choice`: how many, and by what.
    - `exclude`: libraries chosen before, whose clusters, known by their seeds, are left out.
    """

    pilot: str
    library: str
    choice: Annotated[ChoiceSettings, Without(("seed",))]
    exclude: tuple[str, ...] = ()

    def choice_settings(self) -> ChoiceSettings:
        """How clusters are chosen, with the file's seed."""
        return dataclasses.replace(self.choice, seed=self.seed)
