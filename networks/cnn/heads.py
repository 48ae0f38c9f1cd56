"""Heads of a network: softmax over bins, and a density of continuous parameters."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from .targets import Grid

N_CONTINUOUS = 4
# Of a component: its weight, mean, and the triangle of its precision.
PER_COMPONENT = 1 + N_CONTINUOUS + N_CONTINUOUS * (N_CONTINUOUS + 1) // 2


def mixture_outputs(n_components: int = 8) -> int:
    """Outputs of a head "mixture" of so many Gaussians.

    ```python
    mixture_outputs(8)  # 120
    ```
    """
    return n_components * PER_COMPONENT


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
    parts[:, 1 : 1 + N_CONTINUOUS].uniform_(-0.7, 0.7)


def mixture_log_density(
    outputs: Float[Tensor, "n output"], parameters: Float[Tensor, "n 4"], grid: Grid
) -> Float[Tensor, "n"]:
    """Log density of a mixture of Gaussians of full covariance at parameters.

    Each parameter is first brought to −1 to 1 over the range of its axis. A component with the mean
    m has the precision UᵀD²U, U a triangle with ones on its diagonal and D diagonal, so that its
    determinant is that of D², whatever U is. The scales 1/D lie between 0.007 and 20 half-ranges.

    **Arguments:**

    - `outputs`: `(n, output)`, those of a head "mixture", of `mixture_outputs(k)` numbers.
    - `parameters`: `(n, 4)`, (log_age, a_v, log_mass, log_r_eff_pc).
    - `grid`: gives the ranges.

    Per unit of the parameters themselves (dex, mag, dex, dex), as `log_density` of bins.

    ```python
    outputs, theta = torch.zeros(1, mixture_outputs(1)), torch.tensor([[8.35, 1.5, 4.5, 0.44]])
    mixture_log_density(outputs, theta, Grid())
    ```
    """
    low, high = (
        torch.tensor([getattr(axis, end) for axis in grid.continuous], device=parameters.device)
        for end in ("low", "high")
    )
    half = (high - low) / 2
    x = (parameters - (low + high) / 2) / half
    parts = outputs.float().reshape(len(outputs), -1, PER_COMPONENT)
    log_weight = parts[..., 0].log_softmax(-1)
    mean = parts[..., 1 : 1 + N_CONTINUOUS]
    # Bounded softly: a component never collapses upon one object.
    log_d = 1 + 4 * torch.tanh(parts[..., 1 + N_CONTINUOUS : 1 + 2 * N_CONTINUOUS] / 4)
    rows, columns = torch.tril_indices(N_CONTINUOUS, N_CONTINUOUS, -1).to(parameters.device)
    away = x[:, None] - mean
    z = list(away.unbind(-1))
    for k, (i, j) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        z[i] = z[i] + parts[..., 1 + 2 * N_CONTINUOUS + k] * away[..., j]
    scaled = torch.stack(z, -1) * log_d.exp()
    log_normal = log_d.sum(-1) - 0.5 * (scaled**2).sum(-1)
    constant = 0.5 * N_CONTINUOUS * math.log(2 * math.pi) + half.log().sum()
    return torch.logsumexp(log_weight + log_normal, -1) - constant
