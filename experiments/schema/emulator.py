"""kind = "emulator": the density of the light of stochastic clusters, learned from a library."""

import dataclasses
from typing import Annotated

import pydantic

from starcensus.experiments.schema._base import FILES, File
from starcensus.experiments.schema._kinds import Without
from starcensus.experiments.schema.clusters import ImfTable
from starcensus.forward.light import EmulatorSettings, JudgeSettings
from starcensus.simulate import DrawSettings, Kroupa
from starcensus.theta import Box


@FILES.register("emulator")
class EmulatorFile(File):
    """p(magnitudes | mass, age, extinction), learned from clusters that are drawn for it.

    **Arguments:**

    - `survey_bands`: of the magnitudes, some of the grid's.
    - `bounds`: where the density is to be known, log10 M_sun, log10 yr, mag; clusters are spread
      evenly over them.
    - `n_clusters`: that are drawn to learn from. `n_extinctions`: columns of dust that each is put
      behind.
    - `library_seed`: of the clusters to learn from, where networks of several seeds are to have the
      same; by default the file's.
    - `grid`: stellar grid: a file, or a grid that the package carries: `default`, of solar
      metallicity in bands of HST, `lmc` and `lmc-padova`, of the LMC (docs/explain/stars.md).
    - `imf`: initial mass function. `draw`: rules of drawing, and the gas.
    - `train`: the mixture, and its training. `judge`: at which masses and ages it is judged.
    """

    survey_bands: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    bounds: Box
    n_clusters: Annotated[int, pydantic.Field(ge=1000)] = 300_000
    n_extinctions: Annotated[int, pydantic.Field(ge=1)] = 4
    library_seed: Annotated[int, pydantic.Field(ge=0)] | None = None
    grid: str = "default"
    imf: ImfTable = Kroupa()
    draw: DrawSettings = DrawSettings()
    train: Annotated[EmulatorSettings, Without(("seed",))] = EmulatorSettings()
    judge: Annotated[JudgeSettings, Without(("seed",))] = JudgeSettings()

    @pydantic.model_validator(mode="after")
    def _judged_where_it_is_taught(self) -> "EmulatorFile":
        if len(set(self.survey_bands)) != len(self.survey_bands):
            raise ValueError(f"survey_bands repeat: {', '.join(self.survey_bands)}; each once")
        ends = self.bounds.as_dict()
        for axis in ("log_mass", "log_age"):
            low, high = ends[axis]
            if wrong := [x for x in getattr(self.judge, axis) if not low <= x <= high]:
                raise ValueError(
                    f"judge.{axis} has {', '.join(f'{x:g}' for x in wrong)}, outside of bounds, "
                    f"{low:g} to {high:g}; judge the density where it is learned"
                )
        if not ends["a_v"][0] <= self.judge.a_v <= ends["a_v"][1]:
            raise ValueError(f"judge.a_v is {self.judge.a_v:g}, outside of bounds")
        return self

    def train_settings(self) -> EmulatorSettings:
        """With the file's seed."""
        return dataclasses.replace(self.train, seed=self.seed)

    def judge_settings(self) -> JudgeSettings:
        """With the file's seed."""
        return dataclasses.replace(self.judge, seed=self.seed)
