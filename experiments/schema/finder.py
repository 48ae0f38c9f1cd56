"""kind = "finder": a network that finds clusters, learned from a bank of mocks and from images."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic

from starcensus.experiments.schema._base import FILES, BandsFile
from starcensus.experiments.schema._kinds import Without
from starcensus.experiments.schema.images import ImagesTable
from starcensus.experiments.schema.stamps import Like
from starcensus.networks.cnn.mixture import mixture_outputs
from starcensus.networks.cnn.schedules import LoopSettings
from starcensus.networks.conv_settings import ConvSettings
from starcensus.selection.finder.learning import LearningSettings
from starcensus.simulate.stamps import BackgroundSettings, ComposeSettings

# What bank and images say of a network, until they are read.
_UNREAD = {"bands": ("of the bank",), "flux_scale": (1.0,)}


@dataclasses.dataclass(frozen=True)
class _Network(Without):
    """Annotation of [network], which lacks what bank and images say."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        found = super().__get_pydantic_json_schema__(schema, handler)
        return {k: v for k, v in found.items() if k != "required"}

    def _check(self, value: object) -> object:
        table = super()._check(value)
        return {**_UNREAD, **table} if isinstance(table, Mapping) else table


_PLAN = LearningSettings()
Count = Annotated[int, pydantic.Field(ge=1)]
Two = Annotated[int, pydantic.Field(ge=2)]
Loop = Annotated[LoopSettings, Like(_PLAN.loop), Without(("seed",))]
Sharpening = Annotated[LoopSettings, Like(_PLAN.sharpening), Without(("seed",))]


@FILES.register("finder")
class FinderFile(BandsFile):
    """A network that is taught to find clusters and to measure them.

    **Arguments:**

    - `bank`: path of the bank of mocks.
    - `images`: from which backgrounds are cut: those in which clusters will be looked for, or such
      as them; of their bands those of the bank are taken.
    - `known`: path of a table with columns x, y and radius, pixels from 0: circles that no
      background touches, as of known clusters.
    - `backgrounds`: how many are cut, and where.
    - `network`: the network; its window is the size of the stamps.
    - `components`: Gaussians of the mixture by which the network says what a cluster's age,
      extinction, mass and size are; with 0 it says so by bins alone.
    - `batches`: what is in a batch. `loop`: how the network is trained, by targets that are spread
      over bins. `sharpening`: how it is afterwards, by the bins of the truth alone.
    - `n_validation`: mocks that take no part in training: half of them choose the best step, half
      of them the temperatures. `n_test`: the last mocks of the bank, on which the finished network
      is judged.
    - `ahead`: batches that are composed while the network learns; nothing depends on it.
    - `threads`: of Torch; weights are the same to the last bit for the same number alone.
    """

    bank: str
    images: ImagesTable
    known: str | None = None
    backgrounds: BackgroundSettings = BackgroundSettings()
    network: Annotated[ConvSettings, _Network(("bands", "flux_scale", "heads"))] = pydantic.Field(
        default_factory=lambda: ConvSettings(**_UNREAD)
    )
    components: Annotated[int, pydantic.Field(ge=0)] = 12
    batches: Annotated[ComposeSettings, Like(_PLAN.batches)] = pydantic.Field(
        default_factory=lambda: _PLAN.batches
    )
    loop: Loop = pydantic.Field(default_factory=lambda: _PLAN.loop)
    sharpening: Sharpening = pydantic.Field(default_factory=lambda: _PLAN.sharpening)
    n_validation: Two = _PLAN.n_validation
    n_test: Two = 2000
    ahead: Count = _PLAN.ahead
    threads: Count = 2

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "FinderFile":
        window, size = self.network.window_pix, self.backgrounds.size_pix
        if window != size:
            raise ValueError(
                f"the network has a window of {window} pixels and backgrounds.size_pix is {size}; "
                "expected the same: network.stages and network.box_pix make the window"
            )
        sizes = self.batches
        if sizes.n_clusters < 1 or sizes.n_backgrounds < 1:
            raise ValueError(
                f"batches have {sizes.n_backgrounds} backgrounds and {sizes.n_clusters} clusters; "
                "expected some of both, from which clusters are told from the rest"
            )
        train, validation, test = self.backgrounds.n
        least = sizes.n_backgrounds + sizes.n_clusters
        if train < least or min(validation, test) < 1:
            raise ValueError(
                f"backgrounds.n is [{train}, {validation}, {test}]; expected {least} or more for "
                "training, as many as a batch takes, and some for validation and for the test"
            )
        return self

    @property
    def steps(self) -> int:
        """Of all training."""
        return self.loop.steps + self.sharpening.steps

    def learning_settings(self) -> LearningSettings:
        """How the network is learned."""
        return LearningSettings(
            self.batches, self.loop, self.sharpening, self.n_validation, self.ahead
        )

    def conv_settings(
        self, bands: tuple[str, ...], flux_scale: tuple[float, ...], heads: Mapping[str, int]
    ) -> ConvSettings:
        """The network, with what bank and images say of it."""
        if self.components:
            heads = {**heads, "mixture": mixture_outputs(self.components)}
        return dataclasses.replace(
            self.network, bands=bands, flux_scale=flux_scale, heads=tuple(heads.items())
        )
