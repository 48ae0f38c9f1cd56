"""The residual network of 18 layers (He et al. 2016, table 1), for any bands and classes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from starcensus.settings import check_numbers, check_seed

from .heads import Heads
from .layers import normalised_convolution
from .seeds import seeded

# Blocks of each of the four stages, which have once, twice, four and eight times the channels.
_BLOCKS = 2
_WIDER = (1, 2, 4, 8)


@dataclasses.dataclass(frozen=True)
class ResNet18Settings:
    """A residual network of 18 layers.

    **Arguments:**

    - `n_bands`: bands, or other planes, of an image.
    - `n_classes`: number of classes.
    - `width`: channels of the first stage; 64 as published, fewer for a small network.
    - `seed`: of the first weights.

    With three bands and 1000 classes it has the published 11,689,512 parameters.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    ResNet18Settings(n_bands=3, width=16)
    ```
    """

    n_bands: int = 5
    n_classes: int = 4
    width: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if min(self.n_bands, self.width) < 1 or self.n_classes < 2:
            raise ValueError(
                f"n_bands is {self.n_bands}, width {self.width} and n_classes {self.n_classes}; "
                "expected 1, 1 and 2 or more"
            )

    def as_dict(self) -> dict[str, Any]:
        """The settings for JSON; `from_dict` reads it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "ResNet18Settings":
        """The settings of `as_dict`; raises `ValueError` for words or values that are none of it.

        ```python
        ResNet18Settings.from_dict(ResNet18Settings(width=8).as_dict()).width  # 8
        ```
        """
        return from_words(cls, given)


class ResNet18(nn.Module):
    """A network of `ResNet18Settings`: images `(n, band, y, x)` to logits `(n, class)` of "class".

    Images have any size; the last maps, 32 times smaller, are averaged over.

    ```python
    network = ResNet18(ResNet18Settings(width=8)).eval()
    network(torch.randn(1, 5, 80, 80))["class"].shape  # (1, 4)
    ```
    """

    def __init__(self, settings: ResNet18Settings = ResNet18Settings()):
        super().__init__()
        self.settings = settings
        n_in = settings.width
        with seeded(settings.seed):
            stem = [*normalised_convolution(settings.n_bands, n_in, 7, 2), nn.ReLU()]
            stages: list[nn.Module] = [nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1))]
            for i, wider in enumerate(_WIDER):
                n_out, blocks = wider * settings.width, []
                for block in range(_BLOCKS):
                    blocks.append(_Block(n_in, n_out, 2 if i and not block else 1))
                    n_in = n_out
                stages.append(nn.Sequential(*blocks))
            self.stages = nn.Sequential(*stages)
            self.heads = Heads(n_in, {"class": settings.n_classes})

    def forward(self, images: Float[Tensor, "n band y x"]) -> dict[str, Tensor]:
        return self.heads(self.stages(images).mean((2, 3)))


class _Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut: a 1×1 convolution where the shape changes."""

    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.inside = nn.Sequential(
            *normalised_convolution(n_in, n_out, 3, stride),
            nn.ReLU(),
            *normalised_convolution(n_out, n_out, 3),
        )
        same = n_in == n_out and stride == 1
        self.shortcut = nn.Sequential(
            *([] if same else normalised_convolution(n_in, n_out, 1, stride))
        )

    def forward(self, x: Float[Tensor, "n c y x"]) -> Float[Tensor, "n c2 y2 x2"]:
        return torch.relu(self.inside(x) + self.shortcut(x))


def from_words[T](cls: type[T], given: Mapping[str, Any]) -> T:
    """Settings of a class from its words in JSON.

    Raises `ValueError` for words that the class has not, or lacks, and for texts in place of
    numbers.

    ```python
    from_words(ResNet18Settings, ResNet18Settings().as_dict())
    ```
    """
    names = [field.name for field in dataclasses.fields(cls)]  # pyright: ignore[reportArgumentType]
    if set(given) != set(names):
        raise ValueError(
            f"settings have {', '.join(sorted(given))}; expected {', '.join(sorted(names))}"
        )
    check_numbers(cls, given)
    return cls(**given)
