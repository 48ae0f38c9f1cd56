"""VGG of 19 layers with batch normalisation, for any bands and classes.

Simonyan & Zisserman (2015), table 1, column E, with the normalisation of Ioffe & Szegedy (2015)
after each convolution.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from starcensus.settings import check_seed

from .heads import Heads
from .layers import normalised_convolution
from .resnet18 import from_words
from .seeds import seeded

# Convolutions of each stage, and their channels over those of the first.
_STAGES = ((2, 1), (2, 2), (4, 4), (4, 8), (4, 8))


@dataclasses.dataclass(frozen=True)
class VGG19Settings:
    """A VGG of 19 layers with batch normalisation.

    **Arguments:**

    - `n_bands`: bands, or other planes, of an image.
    - `n_classes`: number of classes.
    - `width`: channels of the first stage; 64 as published, fewer for a small network.
    - `n_hidden`: width of both hidden layers; 4096 as published.
    - `pool_pix`: side to which the last maps are averaged, or repeated where they are smaller; 7 as
      published, for images of 224 pixels.
    - `dropout`: chance that an output of a hidden layer is hidden in training.
    - `seed`: of the first weights.

    With three bands and 1000 classes it has the published 143,678,248 parameters.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    VGG19Settings(width=16, n_hidden=128, pool_pix=2)
    ```
    """

    n_bands: int = 5
    n_classes: int = 4
    width: int = 64
    n_hidden: int = 4096
    pool_pix: int = 7
    dropout: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        sizes = self.n_bands, self.width, self.n_hidden, self.pool_pix
        if min(sizes) < 1 or self.n_classes < 2:
            raise ValueError(
                f"n_bands, width, n_hidden and pool_pix are {sizes} and n_classes "
                f"{self.n_classes}; expected 1 or more of each, and 2"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; expected from 0 to below 1")

    def as_dict(self) -> dict[str, Any]:
        """The settings for JSON; `from_dict` reads it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "VGG19Settings":
        """The settings of `as_dict`; raises `ValueError` for words or values that are none of it.

        ```python
        VGG19Settings.from_dict(VGG19Settings(width=8).as_dict()).width  # 8
        ```
        """
        return from_words(cls, given)


class VGG19(nn.Module):
    """A network of `VGG19Settings`: images `(n, band, y, x)` to logits `(n, class)` of "class".

    Images have any size from 32 pixels on.

    ```python
    network = VGG19(VGG19Settings(width=8, n_hidden=32, pool_pix=2)).eval()
    network(torch.randn(1, 5, 80, 80))["class"].shape  # (1, 4)
    ```
    """

    def __init__(self, settings: VGG19Settings = VGG19Settings()):
        super().__init__()
        self.settings = settings
        n_in, stages = settings.n_bands, []
        with seeded(settings.seed):
            for n_convolutions, wider in _STAGES:
                layers: list[nn.Module] = []
                for _ in range(n_convolutions):
                    n_out = wider * settings.width
                    layers += [*normalised_convolution(n_in, n_out, 3, bias=True), nn.ReLU()]
                    n_in = n_out
                stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
            self.stages = nn.Sequential(*stages)
            self.pool = nn.AdaptiveAvgPool2d(settings.pool_pix)
            hidden: list[nn.Module] = []
            n_in *= settings.pool_pix**2
            for _ in range(2):
                layer = nn.Linear(n_in, settings.n_hidden)
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
                hidden += [layer, nn.ReLU(), nn.Dropout(settings.dropout)]
                n_in = settings.n_hidden
            self.hidden = nn.Sequential(*hidden)
            self.heads = Heads(n_in, {"class": settings.n_classes})

    def forward(self, images: Float[Tensor, "n band y x"]) -> dict[str, Tensor]:
        return self.heads(self.hidden(self.pool(self.stages(images)).flatten(1)))
