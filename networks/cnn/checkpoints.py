"""Checkpoints of training: all arrays in one file, and what counts them in JSON.

The JSON names the file of the arrays and is replaced last, so that the two are always of one step.
"""

import contextlib
import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from starcensus.files import (
    FileError,
    Path,
    checksum,
    prepare_folder,
    read_json,
    write_json,
)

from ..tensors import read_tensors, write_tensors
from .schedules import LoopSettings

KIND = "starcensus training checkpoint, 1"
RECORD = "checkpoint.json"
type Weights = dict[str, Tensor]


@dataclasses.dataclass
class Progress:
    """Where a training stands: what its next step depends on beside network and optimiser."""

    step: int = 0
    finished: bool = False
    best_loss: float | None = None
    best_step: int | None = None
    waited: int = 0
    curves: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    mean: Weights | None = None
    best: Weights | None = None


def weights_of(network: nn.Module) -> Weights:
    """A copy of a network's parameters and buffers by name."""
    return {name: values.detach().clone() for name, values in network.state_dict().items()}


def save(
    folder: Path,
    settings: LoopSettings,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write a checkpoint into a folder, in place of that which is there.

    Raises `FileError` where writing fails.
    """
    place = prepare_folder(folder)
    arrays = {f"network.{name}": values for name, values in network.state_dict().items()}
    names = {id(values): name for name, values in network.named_parameters()}
    for values, state in optimiser.state.items():
        for word, part in state.items():
            arrays[f"optimiser.{word}.{names[id(values)]}"] = part
    for kind in ("mean", "best"):
        arrays |= {f"{kind}.{n}": v for n, v in (getattr(progress, kind) or {}).items()}
    numbers = {name: values.detach().cpu().numpy() for name, values in arrays.items()}
    numbers |= {f"curve.{name}": np.array(curve) for name, curve in progress.curves.items()}
    file = place / f"checkpoint-{progress.step}.safetensors"
    write_tensors(file, numbers)
    record = {
        "kind": KIND,
        "arrays": file.name,
        "sha256": checksum(file),
        "settings": dataclasses.asdict(settings),
        "step": progress.step,
        "finished": progress.finished,
        "best_loss": progress.best_loss,
        "best_step": progress.best_step,
        "waited": progress.waited,
    }
    write_json(place / RECORD, record)
    for old in place.glob("checkpoint-*.safetensors"):
        if old != file:
            with contextlib.suppress(OSError):
                old.unlink()


def resume(
    folder: Path,
    settings: LoopSettings,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> Progress:
    """Bring network and optimiser to where a folder's checkpoint was, or to the start if none is.

    Raises `FileError` for a checkpoint that is damaged, was made with other settings, or is of
    another network.
    """
    place = pathlib.Path(folder)
    if not (place / RECORD).exists():
        return Progress()
    record = read_json(place / RECORD, "training checkpoint")
    if not isinstance(record, dict) or record.get("kind") != KIND:
        raise FileError(f"{place / RECORD}: is no training checkpoint; expected kind {KIND!r}")
    given = json.loads(json.dumps(dataclasses.asdict(settings)))
    was = record["settings"]
    if differing := [name for name in given if given[name] != was.get(name)]:
        name = differing[0]
        raise FileError(
            f"{place / RECORD}: was made with {name} = {was.get(name)!r}, not {given[name]!r}; go "
            "on with the same settings, or train in another folder"
        )
    file = place / pathlib.PurePath(record["arrays"]).name
    numbers = read_tensors(file)
    if checksum(file) != record["sha256"]:
        raise FileError(f"{file}: is not the file that {RECORD} was written with")
    try:
        return _restore(record, numbers, network, optimiser)
    except (KeyError, RuntimeError) as error:
        raise FileError(f"{file}: is of another network: {error}") from error


def _restore(
    record: dict[str, Any],
    numbers: dict[str, np.ndarray],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> Progress:
    def part(prefix: str) -> Weights:
        at = len(prefix) + 1
        return {
            name[at:]: torch.from_numpy(values)
            for name, values in numbers.items()
            if name.startswith(f"{prefix}.")
        }

    network.load_state_dict(part("network"))
    states = {word: part(f"optimiser.{word}") for word in ("step", "exp_avg", "exp_avg_sq")}
    for name, values in network.named_parameters():
        state = {word: found[name] for word, found in states.items() if name in found}
        if state:
            # Torch keeps the count of steps on the CPU.
            moved = {w: v if w == "step" else v.to(values.device) for w, v in state.items()}
            optimiser.state[values] = moved
    device = next(network.parameters()).device
    return Progress(
        step=record["step"],
        finished=record["finished"],
        best_loss=record["best_loss"],
        best_step=record["best_step"],
        waited=record["waited"],
        curves={
            n.removeprefix("curve."): c.tolist() for n, c in numbers.items() if n[:6] == "curve."
        },
        mean={n: v.to(device) for n, v in part("mean").items()} or None,
        best={n: v.to(device) for n, v in part("best").items()} or None,
    )
