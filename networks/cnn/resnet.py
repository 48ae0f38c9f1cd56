"""The residual networks of the thesis of J. Bialopetravičius (Vilnius University).

Both have the trunk of a ResNet of 50 layers (He et al. 2016) with fewer channels and a first layer
without a stride. Variant A (chapter 2; A&A 621, A103) averages over rotations of the image and
gives parameters; variant B (chapters 3 and 4) gives softmax over bins. The thesis leaves open
whether there is batch normalisation, and the kind of the shortcuts: here normalisation follows each
convolution, and a 1×1 convolution is the shortcut where the shape changes.
"""

import dataclasses
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from starcensus.settings import check_choices, check_seed

from .heads import Heads
from .layers import normalised_convolution
from .seeds import seeded
from .targets import Grid

# For each stage: blocks, channels inside a block, channels out, stride of the first block.
_STAGES = ((3, 64, 128, 1), (4, 64, 256, 2), (6, 128, 512, 2), (3, 256, 1024, 2))
_N_FEATURES = 1024
_STAMP_PIX = {"A": 80, "B": 64}


@dataclasses.dataclass(frozen=True)
class ResNetSettings:
    """Which network of the thesis.

    **Arguments:**

    - `variant`: "A": stamps of 80 pixels as ln(1 + x), mean over four rotations, heads of
      `regression`; "B": stamps of 64 pixels, each band brought to mean 0 and standard deviation 1
      and through asinh, with softmax heads.
    - `n_bands`: number of bands.
    - `heads`: names of the heads and their outputs. None: those of the variant: three parameters
      (age, mass, size) for A, and those of `Grid` for B.
    - `dropout`: chance that a feature is hidden in training. None: 0.5 for A, 0 for B.
    - `seed`: of the first weights.

    Raises `ValueError` for a variant that there is not and numbers out of their ranges.

    ```python
    ResNetSettings("A").stamp_pix  # 80
    ```
    """

    variant: Literal["A", "B"] = "B"
    n_bands: int = 3
    heads: tuple[tuple[str, int], ...] | None = None
    dropout: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        check_seed(self.seed)
        if self.n_bands < 1:
            raise ValueError(f"n_bands is {self.n_bands}; expected 1 or more")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; expected from 0 to below 1")

    @property
    def stamp_pix(self) -> int:
        """Side of the stamps of the thesis, pixels."""
        return _STAMP_PIX[self.variant]

    def sizes(self) -> dict[str, int]:
        """Outputs of each head by name."""
        if self.heads is not None:
            return dict(self.heads)
        return {"regression": 3} if self.variant == "A" else Grid().heads()


class ResNet(nn.Module):
    """A network of `ResNetSettings`: fluxes `(n, band, y, x)` to logits `(n, output)` by head.

    ```python
    network = ResNet(ResNetSettings("B")).eval()
    network(torch.randn(1, 3, 64, 64))["joint"].shape  # (1, 2800)
    ```
    """

    def __init__(self, settings: ResNetSettings = ResNetSettings()):
        super().__init__()
        self.settings = settings
        dropout = settings.dropout
        if dropout is None:
            dropout = 0.5 if settings.variant == "A" else 0.0
        with seeded(settings.seed):
            stages: list[nn.Module] = [
                nn.Sequential(*normalised_convolution(settings.n_bands, 64, 7), nn.ReLU()),
                nn.MaxPool2d(3, 2, 1),
            ]
            n_in = 64
            for n_blocks, n_inside, n_out, stride in _STAGES:
                blocks = []
                for i in range(n_blocks):
                    blocks.append(_Bottleneck(n_in, n_inside, n_out, stride if i == 0 else 1))
                    n_in = n_out
                stages.append(nn.Sequential(*blocks))
            self.stages = nn.Sequential(*stages)
            self.hidden = nn.Sequential(nn.Linear(n_in, _N_FEATURES), nn.ReLU())
            self.dropout = nn.Dropout(dropout)
            self.heads = Heads(_N_FEATURES, settings.sizes())

    def forward(self, images: Float[Tensor, "n band y x"]) -> dict[str, Tensor]:
        if self.settings.variant == "B":
            return self.heads(self.dropout(self._features(standardised(images).asinh())))
        x = images.sign() * images.abs().log1p()
        turned = torch.cat([torch.rot90(x, turns, (2, 3)) for turns in range(4)])
        features = self._features(turned).reshape(4, len(images), -1).mean(0)
        return self.heads(self.dropout(features))

    def _features(self, x: Float[Tensor, "n band y x"]) -> Float[Tensor, "n feature"]:
        return self.hidden(self.stages(x).mean((2, 3)))


def standardised(images: Float[Tensor, "n band y x"]) -> Float[Tensor, "n band y x"]:
    """Each band of each image with mean 0 and standard deviation 1, and 0 where it is constant.

    ```python
    standardised(torch.randn(2, 3, 64, 64)).std((2, 3), correction=0)  # 1
    ```
    """
    away = images - images.mean((2, 3), keepdim=True)
    sd = away.std((2, 3), keepdim=True, correction=0)
    # Rounding leaves a constant band a standard deviation of its last digits.
    least = 1e-6 * images.abs().amax((2, 3), keepdim=True)
    return torch.where(sd > least, away / torch.where(sd > least, sd, 1.0), 0.0)


class _Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions beside a shortcut."""

    def __init__(self, n_in: int, n_inside: int, n_out: int, stride: int):
        super().__init__()
        self.inside = nn.Sequential(
            *normalised_convolution(n_in, n_inside, 1),
            nn.ReLU(),
            *normalised_convolution(n_inside, n_inside, 3, stride),
            nn.ReLU(),
            *normalised_convolution(n_inside, n_out, 1),
        )
        same = n_in == n_out and stride == 1
        shortcut = [] if same else normalised_convolution(n_in, n_out, 1, stride)
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Float[Tensor, "n c y x"]) -> Float[Tensor, "n c2 y2 x2"]:
        return torch.relu(self.inside(x) + self.shortcut(x))
