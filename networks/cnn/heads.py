"""Heads of a network: softmax over bins, and a density of continuous parameters."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from .mixture import (
    LEAST_SHARE,
    MIDDLE_LOG_D,
    N_CONTINUOUS,
    PER_COMPONENT,
    REACH_LOG_D,
)
from .targets import Grid


class Heads(nn.Module):
    """Linear layers on common features, one for each head.

    Softmax heads begin at 0: an untrained network says that all bins are alike.

    **Arguments:**

    - `n_features`: number of features.
    - `sizes`: outputs by name of head.

    Takes features `(n, feature)`, or maps of them `(n, feature, y, x)`, and returns logits of the
    same kind by name.

    ```python
    Heads(16, Grid().heads())(torch.zeros(2, 16))["size"].shape  # (2, 14)
    ```
    """

    def __init__(self, n_features: int, sizes: Mapping[str, int]):
        super().__init__()
        self.layers = nn.ModuleDict({name: nn.Linear(n_features, n) for name, n in sizes.items()})
        for name, layer in self.layers.items():
            assert isinstance(layer, nn.Linear)
            with torch.no_grad():
                if name == "mixture":
                    _begin_mixture(layer)
                elif name != "regression":
                    layer.weight.zero_()
                    layer.bias.zero_()

    def forward(self, features: Float[Tensor, "n feature *map"]) -> dict[str, Tensor]:
        logits = {}
        for name, layer in self.layers.items():
            assert isinstance(layer, nn.Linear)
            if features.ndim == 2:
                logits[name] = layer(features)
            else:
                logits[name] = functional.conv2d(
                    features, layer.weight[..., None, None], layer.bias
                )
        return logits


def _begin_mixture(layer: nn.Linear) -> None:
    """Means spread over the range, since components that begin alike stay alike."""
    layer.weight.mul_(0.1)
    parts = layer.bias.reshape(-1, PER_COMPONENT)
    parts.zero_()
    parts[:, 1 : 1 + N_CONTINUOUS].uniform_(-2.0, 2.0)


def mixture_log_density(
    outputs: Float[Tensor, "n output"], parameters: Float[Tensor, "n 4"], grid: Grid
) -> Float[Tensor, "n"]:
    """Log density of mixtures at parameters: `Mixtures.log_density` for training.

    **Arguments:**

    - `outputs`: `(n, output)`, those of a head "mixture", of `mixture_outputs(k)` numbers.
    - `parameters`: `(n, 4)`, (log_age, a_v, log_mass, log_r_eff_pc).
    - `grid`: gives the ranges.

    ```python
    outputs, theta = torch.zeros(1, mixture_outputs(1)), torch.tensor([[8.35, 1.5, 4.5, 0.44]])
    mixture_log_density(outputs, theta, Grid())
    ```
    """
    low, high = (
        torch.tensor([getattr(axis, end) for axis in grid.continuous], device=parameters.device)
        for end in ("low", "high")
    )
    share = ((parameters - low) / (high - low)).clamp(LEAST_SHARE, 1 - LEAST_SHARE)
    x = share.log() - (-share).log1p()
    parts = outputs.float().reshape(len(outputs), -1, PER_COMPONENT)
    log_weight = parts[..., 0].log_softmax(-1)
    mean = parts[..., 1 : 1 + N_CONTINUOUS]
    raw = parts[..., 1 + N_CONTINUOUS : 1 + 2 * N_CONTINUOUS]
    log_d = MIDDLE_LOG_D + REACH_LOG_D * torch.tanh(raw / REACH_LOG_D)
    rows, columns = torch.tril_indices(N_CONTINUOUS, N_CONTINUOUS, -1).tolist()
    away = x[:, None] - mean
    z = list(away.unbind(-1))
    for k, (i, j) in enumerate(zip(rows, columns, strict=True)):
        z[i] = z[i] + parts[..., 1 + 2 * N_CONTINUOUS + k] * away[..., j]
    scaled = torch.stack(z, -1) * log_d.exp()
    log_normal = log_d.sum(-1) - 0.5 * (scaled**2).sum(-1)
    to_parameters = (share * (1 - share) * (high - low)).log().sum(-1)
    constant = 0.5 * N_CONTINUOUS * math.log(2 * math.pi)
    return torch.logsumexp(log_weight + log_normal, -1) - constant - to_parameters
