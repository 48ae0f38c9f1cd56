"""The training loop: batches in, a network and its loss curves out; interrupted, it goes on."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from starcensus.files import Path

from ..training import TrainingDiverged
from . import checkpoints
from .checkpoints import Progress, weights_of
from .losses import head_losses, of_stamps
from .schedules import LoopSettings
from .seeds import seeded
from .targets import Grid

type Batch = tuple[np.ndarray, Mapping[str, np.ndarray]]
type Report = Callable[[int, float, float | None], None]


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network and how it came about.

    **Arguments:**

    - `network`: with the weights of the smallest validation loss; without validation the last, or
      their running mean.
    - `train_loss`: for each head and for `total`, `(step,)`, nats.
    - `validation_step`: `(validation,)`, number of steps before each validation.
    - `validation_loss`: for each head and for `total`, `(validation,)`, nats.
    - `best_step`: steps before the best validation, or all.
    """

    network: nn.Module
    train_loss: dict[str, Float[np.ndarray, "step"]]
    validation_step: Float[np.ndarray, "validation"]
    validation_loss: dict[str, Float[np.ndarray, "validation"]]
    best_step: int


def train_network(
    network: nn.Module,
    batches: Callable[[int], Iterator[Batch]],
    settings: LoopSettings = LoopSettings(),
    *,
    grid: Grid = Grid(),
    validation: Sequence[Batch] = (),
    checkpoint: Path | None = None,
    report: Report = lambda step, loss, validation: None,
) -> TrainedNetwork:
    """Train a network, which is changed, with AdamW.

    On a CPU, and with the same number of threads, the same settings give the same weights to the
    last bit, interrupted or not.

    **Arguments:**

    - `network`: takes images `(n, band, y, x)` and returns logits by name of head.
    - `batches`: called with the number of a step, returns batches from that step on: images and the
      targets of `make_targets`. They must not depend on where it begins.
    - `settings`: how.
    - `grid`: the bins of the heads.
    - `validation`: batches that are evaluated again and again; by default none.
    - `checkpoint`: a folder from which training goes on, if there is a checkpoint, and into which
      checkpoints are written.
    - `report`: called after each step with their number, the loss and, after a validation, its
      loss.

    Raises `TrainingDiverged`, `ValueError` where batches end too early or early stopping lacks a
    validation, and `FileError` for a checkpoint of other settings or of another network.

    ```python
    conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)

    def noise(step):
        names = ("log_age", "a_v", "log_mass", "log_r_eff_pc", "visibility")
        while True:
            rng, step = np.random.default_rng(step), step + 1
            images = rng.normal(size=(8, 1, 12, 12)).astype(np.float32)
            truths = {name: np.ones(8) for name in names}
            yield images, make_targets(Grid(), np.arange(8) > 3, **truths)

    train_network(CompactNetwork(conv), noise, LoopSettings(steps=3)).train_loss["total"]
    ```
    """
    if settings.patience is not None and not validation:
        raise ValueError("patience counts validations; give batches for validation")
    network.to(settings.device)
    optimiser = _optimiser(network, settings)
    at = Progress()
    if checkpoint is not None:
        at = checkpoints.resume(checkpoint, settings, network, optimiser)
    if settings.ema_decay is not None and at.mean is None:
        at.mean = weights_of(network)
    evaluate = _Evaluation(network, settings, grid)
    source = batches(at.step)
    while not at.finished:
        loss = _step(evaluate, optimiser, source, at)
        validated = None
        if validation and (at.step % settings.validate_every == 0 or at.step == settings.steps):
            validated = _validate(evaluate, validation, at)
        waited_long = settings.patience is not None and at.waited >= settings.patience
        at.finished = at.step == settings.steps or waited_long
        due = at.finished or at.step % settings.checkpoint_every == 0
        if checkpoint is not None and due:
            checkpoints.save(checkpoint, settings, network, optimiser, at)
        report(at.step, loss, validated)
    network.load_state_dict(at.best or at.mean or network.state_dict())
    network.eval()
    curves = {name: np.array(curve) for name, curve in at.curves.items()}
    return TrainedNetwork(
        network,
        {n.removeprefix("train."): c for n, c in curves.items() if n.startswith("train.")},
        curves.get("validation_step", np.zeros(0)),
        {n.removeprefix("validation."): c for n, c in curves.items() if n[:11] == "validation."},
        at.step if at.best_step is None else at.best_step,
    )


def logits_of(
    network: nn.Module, images: Float[np.ndarray, "n band y x"]
) -> dict[str, Float[np.ndarray, "n output"]]:
    """What a network says of stamps of its window, by head.

    ```python
    conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)
    logits_of(CompactNetwork(conv), np.zeros((3, 1, 12, 12), np.float32))["size"].shape  # (3, 14)
    ```
    """
    with torch.no_grad():
        said = network(torch.as_tensor(images))
    return {name: of_stamps(values).float().cpu().numpy() for name, values in said.items()}


class _Evaluation:
    """A network with its losses, as the settings say that it is evaluated."""

    def __init__(self, network: nn.Module, settings: LoopSettings, grid: Grid):
        self.network, self.settings, self.grid = network, settings, grid
        self.weights = dict(settings.head_weights)
        self.run = torch.compile(network) if settings.compile else network

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        device = self.settings.device
        images = torch.as_tensor(batch[0]).to(device)
        targets = {name: torch.as_tensor(values).to(device) for name, values in batch[1].items()}
        kind = torch.device(device).type
        with torch.autocast(kind, torch.bfloat16, enabled=self.settings.mixed_precision):
            logits = self.run(images)
        return head_losses(logits, targets, self.grid, self.weights)


def _optimiser(network: nn.Module, settings: LoopSettings) -> torch.optim.AdamW:
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.max_rate)


def _step(
    evaluate: _Evaluation, optimiser: torch.optim.Optimizer, source: Iterator[Batch], at: Progress
) -> float:
    """Take one step, note its losses, and return their sum."""
    settings, network = evaluate.settings, evaluate.network
    batch = next(source, None)
    if batch is None:
        raise ValueError(f"the batches ended after {at.step} steps; expected {settings.steps}")
    for group in optimiser.param_groups:
        group["lr"] = settings.rate(at.step)
    network.train()
    # Seeded by the step, so that a training that goes on draws what it would have drawn.
    with seeded(settings.seed, at.step, device=settings.device):
        total, each = evaluate(batch)
    loss = _note(at, "train", total, each)
    if not math.isfinite(loss):
        raise TrainingDiverged(
            f"the loss of step {at.step} is {loss}; a smaller max_rate than {settings.max_rate} "
            "helps, and images have to be finite"
        )
    optimiser.zero_grad()
    total.backward()
    if settings.clip_norm is not None:
        nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
    optimiser.step()
    at.step += 1
    if at.mean is not None and settings.ema_decay is not None:
        # Early weights are forgotten sooner, since the first are random.
        decay = min(settings.ema_decay, at.step / (at.step + 9))
        for name, values in network.state_dict().items():
            if values.is_floating_point():
                at.mean[name].lerp_(values.detach(), 1 - decay)
            else:
                at.mean[name].copy_(values)
    return loss


def _validate(evaluate: _Evaluation, batches: Sequence[Batch], at: Progress) -> float:
    """Mean losses over batches of the network as it would be kept; the best is remembered."""
    network = evaluate.network
    own = weights_of(network)
    if at.mean is not None:
        network.load_state_dict(at.mean)
    network.eval()
    with torch.no_grad():
        found = [evaluate(batch) for batch in batches]
    total = torch.stack([total for total, _ in found]).mean()
    heads = found[0][1]
    each = {name: torch.stack([parts[name] for _, parts in found]).mean() for name in heads}
    at.curves.setdefault("validation_step", []).append(float(at.step))
    loss = _note(at, "validation", total, each)
    if at.best_loss is None or loss < at.best_loss:
        at.best_loss, at.best_step, at.waited = loss, at.step, 0
        at.best = weights_of(network)
    else:
        at.waited += 1
    network.load_state_dict(own)
    return loss


def _note(at: Progress, kind: str, total: Tensor, each: Mapping[str, Tensor]) -> float:
    names = ["total", *each]
    numbers = torch.stack([total, *each.values()]).detach().double().tolist()
    for name, number in zip(names, numbers, strict=True):
        at.curves.setdefault(f"{kind}.{name}", []).append(number)
    return numbers[0]
