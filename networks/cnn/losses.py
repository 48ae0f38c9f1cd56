"""Losses of the heads: clusters train all of them, backgrounds only class and visibility."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from .heads import mixture_log_density
from .targets import Grid

# Heads that say something of a cluster, and nothing of a background.
OF_CLUSTERS = ("joint", "size", "mixture", "regression")


def of_stamps(logits: Float[Tensor, "n output *map"]) -> Float[Tensor, "n output"]:
    """Logits without the axes of a map of one place; raises `ValueError` for more places.

    ```python
    of_stamps(torch.zeros(2, 14, 1, 1)).shape  # (2, 14)
    ```
    """
    if logits[0, 0].numel() != 1:
        raise ValueError(
            f"logits {tuple(logits.shape)} are a map; a loss takes stamps of the network's window"
        )
    return logits.flatten(1)


def cross_entropy(
    logits: Float[Tensor, "n bin"],
    target: Float[Tensor, "n bin"],
    rows: Bool[Tensor, "n"] | None = None,
) -> Float[Tensor, ""]:
    """Mean of −Σ target · ln softmax(logits) over some rows, in nats.

    **Arguments:**

    - `logits`: `(n, bin)`. `target`: `(n, bin)`, probabilities.
    - `rows`: `(n,)`, those that count, by default all. The others have a gradient of exactly 0,
      whatever their targets are; with none, the loss is 0.

    ```python
    cross_entropy(torch.zeros(3, 14), torch.full((3, 14), 1 / 14))  # ln 14 = 2.64
    ```
    """
    chosen = _rows(rows, logits)
    target = torch.where(chosen[:, None], target, 0.0)
    each = -(target * logits.float().log_softmax(1)).sum(1)
    return torch.where(chosen, each, 0.0).sum() / chosen.sum().clamp(min=1)


def smooth_l1(
    outputs: Float[Tensor, "n parameter"],
    target: Float[Tensor, "n parameter"],
    rows: Bool[Tensor, "n"] | None = None,
) -> Float[Tensor, ""]:
    """Sum over parameters of x²/2 for residuals |x| < 1 and |x| − 1/2 beyond; mean over some rows.

    As `cross_entropy`, of which the arguments are explained there.

    ```python
    smooth_l1(torch.tensor([[3.0]]), torch.tensor([[0.0]]))  # 2.5
    ```
    """
    chosen = _rows(rows, outputs)
    target = torch.where(chosen[:, None], target, outputs.detach().float())
    each = functional.smooth_l1_loss(outputs.float(), target, reduction="none").sum(1)
    return torch.where(chosen, each, 0.0).sum() / chosen.sum().clamp(min=1)


def head_losses(
    logits: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    grid: Grid,
    weights: Mapping[str, float] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of the losses of all heads, and the loss of each, in nats.

    **Arguments:**

    - `logits`: of a network, by name of head: `joint`, `size`, `class`, `visibility` with softmax;
      `mixture`, a density of continuous parameters; `regression`, parameters themselves.
    - `targets`: those of `make_targets`; for `regression` an entry of that name.
    - `grid`: the bins.
    - `weights`: of heads in the sum, by default 1.

    A softmax's loss is that of the targets' Gaussians, the mixture's is −ln density. Raises
    `ValueError` for maps of more than one place.

    ```python
    truths = {name: np.ones(2) for name in ("log_age", "a_v", "log_mass", "log_r_eff_pc")}
    made = make_targets(Grid(), np.array([True, False]), **truths, visibility=np.ones(2))
    zeros = {name: torch.zeros(2, n) for name, n in Grid().heads().items()}
    head_losses(zeros, {n: torch.as_tensor(t) for n, t in made.items()}, Grid())[0]  # 14.27
    ```
    """
    is_cluster = targets["is_cluster"]
    each: dict[str, Tensor] = {}
    for name, values in logits.items():
        flat = of_stamps(values)
        rows = is_cluster if name in OF_CLUSTERS else None
        if name == "mixture":
            inside = torch.where(is_cluster[:, None], targets["continuous"], _middle(grid, flat))
            minus = -mixture_log_density(flat, inside, grid)
            each[name] = torch.where(is_cluster, minus, 0.0).sum() / is_cluster.sum().clamp(min=1)
        elif name == "regression":
            each[name] = smooth_l1(flat, targets[name], rows)
        else:
            each[name] = cross_entropy(flat, targets[name], rows)
    total = torch.stack([(weights or {}).get(name, 1.0) * loss for name, loss in each.items()])
    return total.sum(), each


def _middle(grid: Grid, like: Tensor) -> Tensor:
    middle = [(axis.low + axis.high) / 2 for axis in grid.continuous]
    return torch.tensor(middle, device=like.device)[None]


def _rows(rows: Tensor | None, like: Tensor) -> Tensor:
    if rows is not None:
        return rows
    return torch.ones(len(like), dtype=torch.bool, device=like.device)
