"""A small network without padding, to train on a few cores and to evaluate at every pixel.

Its definition, `ConvSettings`, and its twin without Torch, `ConvNetwork`, lie one folder up.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from starcensus.files import Path
from starcensus.settings import check_seed

from ..conv_files import save_network
from ..conv_settings import ConvSettings
from .heads import Heads
from .seeds import seeded


class CompactNetwork(nn.Module):
    """A network of `ConvSettings` in Torch: fluxes `(n, band, y, x)` to maps of logits by head.

    A stamp of `settings.window_pix` has maps `(n, output, 1, 1)`; a larger image those of windows
    `settings.stride` apart. Images must be finite.

    **Arguments:**

    - `settings`: its definition.
    - `seed`: of the first weights (He et al. 2015); the softmax heads begin at 0.

    ```python
    conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)
    CompactNetwork(conv)(torch.randn(2, 1, 12, 12))["class"].shape  # (2, 2, 1, 1)
    ```
    """

    scale: Tensor

    def __init__(self, settings: ConvSettings, seed: int = 0):
        super().__init__()
        check_seed(seed)
        self.settings = settings
        stages, n_in = [], 2 * len(settings.bands)
        with seeded(seed):
            for stage in settings.stages:
                layers = []
                for width, n_out in stage:
                    layer = nn.Conv2d(n_in, n_out, width)
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
                    layers.append(layer)
                    n_in = n_out
                stages.append(nn.ModuleList(layers))
            self.stages = nn.ModuleList(stages)
            self.heads = Heads(n_in, dict(settings.heads))
        scale = torch.tensor(settings.flux_scale)[:, None, None]
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, images: Float[Tensor, "n band y x"]) -> dict[str, Tensor]:
        return self.heads(self._features(images, dense=False))

    def dense(self, images: Float[Tensor, "n band y x"]) -> dict[str, Tensor]:
        """Maps of logits of the windows at every pixel, "à trous".

        A maximum is taken without a step, and what follows it takes its inputs twice as far apart.
        Each output equals that of its own window, but for rounding. Memory is that of the whole
        image: `ConvNetwork.dense` goes by tiles.

        ```python
        conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)
        CompactNetwork(conv).dense(torch.randn(1, 1, 30, 20))["class"].shape  # (1, 2, 19, 9)
        ```
        """
        return self.heads(self._features(images, dense=True))

    def _features(self, images: Tensor, dense: bool) -> Float[Tensor, "n feature y2 x2"]:
        x = self.channels(images)
        if images.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last)
        apart = 1
        for i, layers in enumerate(self.stages):
            if i:
                step = 1 if dense else 2
                x = functional.max_pool2d(x, 2, step, dilation=apart)
                apart = 2 * apart if dense else 1
            assert isinstance(layers, nn.ModuleList)
            for layer in layers:
                assert isinstance(layer, nn.Conv2d)
                x = functional.conv2d(x, layer.weight, layer.bias, dilation=apart).relu()
        return x

    def channels(self, images: Float[Tensor, "n band y x"]) -> Float[Tensor, "n channel y2 x2"]:
        """The two channels of each band that `ConvSettings` describes."""
        with torch.autocast(images.device.type, enabled=False):
            images = images.float()
            box, margin = self.settings.box_pix, self.settings.box_pix // 2
            # Any constant leaves the standard deviation; one near the sky loses fewest digits.
            few = images[:, :, ::4, ::4].flatten(2)
            c = images - few.median(2).values[..., None, None]
            mean = _box_mean(c, box)
            variance = _box_mean(c * c, box) - mean**2
            floor = self.settings.sd_floor * self.scale
            sd = (variance.clamp(min=0) + floor**2).sqrt()
            inner = (..., slice(margin, -margin), slice(margin, -margin))
            local, flux = (c[inner] - mean) / sd, images[inner] / self.scale
            return torch.cat([local.asinh(), flux.asinh()], 1)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Parameters by the names of `ConvSettings.shapes`."""
        named = dict(self.named_parameters())
        return {
            name: named[_torch_name(name)].detach().cpu().float().numpy().copy()
            for name in self.settings.shapes()
        }

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> "CompactNetwork":
        """This network, with the parameters of `to_arrays` or of a file."""
        state = {_torch_name(name): torch.from_numpy(a.copy()) for name, a in arrays.items()}
        self.load_state_dict(state)
        return self

    def export(self, path: Path, about: Mapping[str, Any] | None = None) -> None:
        """Write what `ConvNetwork.load` reads; see `save_network`.

        ```python
        conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)
        CompactNetwork(conv).export("net.json", about={"grid": Grid().as_dict()})
        ```
        """
        save_network(path, self.settings, self.to_arrays(), about)


def _torch_name(name: str) -> str:
    """Name in Torch's module of an array of the definition."""
    parts = name.split(".")
    if parts[0] == "heads":
        return ".".join(["heads.layers", *parts[1:]])
    stage, layer = (part.rpartition("_")[2] for part in parts[:2])
    return f"stages.{stage}.{layer}.{parts[2]}"


def _box_mean(x: Float[Tensor, "n band y x"], width: int) -> Float[Tensor, "n band y2 x2"]:
    """Means over squares, as products with bands of ones: ten times as fast as pooling."""

    def shares(n: int) -> Float[Tensor, "out n"]:
        first = torch.arange(n - width + 1, device=x.device)[:, None]
        at = torch.arange(n, device=x.device)[None]
        return ((at >= first) & (at < first + width)).to(x.dtype) / width

    return shares(x.shape[2]) @ (x @ shares(x.shape[3]).T)
