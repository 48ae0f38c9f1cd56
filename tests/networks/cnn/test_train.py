# ruff: noqa: E402
"""Training: what it learns, how it goes on, and what it refuses."""

import dataclasses
import json
import math
import pathlib
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.networks.cnn.toys import Spots

from starcensus.files import FileError
from starcensus.networks.cnn import checkpoints
from starcensus.networks.cnn.compact import CompactNetwork
from starcensus.networks.cnn.heads import Heads
from starcensus.networks.cnn.schedules import THESIS_A, THESIS_B, LoopSettings
from starcensus.networks.cnn.targets import Axis, Grid
from starcensus.networks.cnn.train import TrainedNetwork, train_network
from starcensus.networks.conv_settings import ConvSettings
from starcensus.networks.training import TrainingDiverged

pytestmark = pytest.mark.torch

GRID = Grid(Axis(0.0, 1.0, 4), Axis(0.0, 1.0, 3), Axis(0.0, 1.0, 4), Axis(0.0, 1.0, 5))
CONV = ConvSettings(
    ("V",),
    (1.0,),
    stages=(((3, 4),), ((3, 8),)),
    box_pix=5,
    heads=(*GRID.heads().items(), ("mixture", 30)),
)
SHORT = LoopSettings(steps=12, max_rate=3e-3, validate_every=4, checkpoint_every=5)


class Random(torch.nn.Module):
    """A network with everything that a checkpoint has to remember: dropout, running means."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = torch.nn.Linear(144, 6)
        self.norm = torch.nn.BatchNorm1d(6)
        self.dropout = torch.nn.Dropout(0.5)
        self.heads = Heads(6, GRID.heads())
        with torch.no_grad():
            for values in self.parameters():
                values.normal_(0, 0.1, generator=generator)

    def forward(self, images):
        return self.heads(self.dropout(self.norm(self.first(images.flatten(1)))))


def pairs(seed: int = 0, per_kind: int = 6) -> Spots:
    return Spots(GRID, per_kind, seed)


def validation(n: int = 2) -> list:
    source = pairs(seed=99)(0)
    return [next(source) for _ in range(n)]


def state(trained: TrainedNetwork) -> dict[str, Any]:
    return trained.network.state_dict()


def same(a: dict, b: dict) -> bool:
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


class Interrupted(Exception):
    pass


def stop_at(step: int):
    def report(at: int, loss: float, validated: float | None) -> None:
        if at == step:
            raise Interrupted

    return report


def test_a_loss_falls_and_a_network_finds_clusters():
    settings = LoopSettings(steps=150, max_rate=5e-3, validate_every=50)
    trained = train_network(
        CompactNetwork(CONV), pairs(per_kind=16), settings, grid=GRID, validation=validation(4)
    )
    assert trained.train_loss["total"].shape == (150,)
    assert trained.validation_step.tolist() == [50, 100, 150]
    first, last = trained.train_loss["class"][0], trained.validation_loss["class"][-1]
    assert first == pytest.approx(math.log(2), abs=1e-6) and last < 0.2
    # Flux is seen: the mass, of the joint head, is better than a guess.
    assert trained.validation_loss["joint"][-1] < math.log(48) - 0.5
    images, targets = next(pairs(seed=3)(0))
    with torch.no_grad():
        logits = trained.network(torch.from_numpy(images))["class"][:, :, 0, 0]
    assert ((logits[:, 1] > logits[:, 0]).numpy() == targets["is_cluster"]).mean() > 0.8


@pytest.mark.parametrize("kind", ["random", "compact"])
@pytest.mark.parametrize("at", [5, 7, 11])
def test_interrupted_training_ends_with_the_same_bits(tmp_path: pathlib.Path, kind: str, at: int):
    def made():
        return Random() if kind == "random" else CompactNetwork(CONV)

    settings = dataclasses.replace(SHORT, ema_decay=0.9, patience=5)
    options = {"grid": GRID, "validation": validation()}
    whole = train_network(made(), pairs(), settings, **options)
    with pytest.raises(Interrupted):
        train_network(
            made(), pairs(), settings, checkpoint=tmp_path / "run", report=stop_at(at), **options
        )
    again = train_network(made(), pairs(), settings, checkpoint=tmp_path / "run", **options)
    assert same(state(again), state(whole))
    assert again.best_step == whole.best_step
    for name, curve in whole.train_loss.items():
        assert (again.train_loss[name] == curve).all()
    for name, curve in whole.validation_loss.items():
        assert (again.validation_loss[name] == curve).all()
    # A finished training is not begun again.
    calls = []
    done = train_network(
        made(),
        lambda step: calls.append(step) or iter(()),
        settings,
        checkpoint=tmp_path / "run",
        **options,
    )
    assert calls == [12] and same(state(done), state(whole))
    assert len(list((tmp_path / "run").glob("*.safetensors"))) == 1


def test_a_seed_decides_and_generators_stay_as_they_were():
    seeds = (0, 0, 1)
    networks = [Random() for _ in seeds]
    before = torch.get_rng_state()
    first, again, other = (
        train_network(network, pairs(), dataclasses.replace(SHORT, seed=seed), grid=GRID)
        for network, seed in zip(networks, seeds, strict=True)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert same(state(first), state(again)) and not same(state(first), state(other))


def test_the_best_network_is_kept_and_waiting_ends():
    # A rate that ruins what was learned: the first validation stays the best.
    settings = LoopSettings(
        steps=60, schedule="constant", max_rate=1.0, warm_up=0.0, validate_every=3, patience=2
    )
    weights: dict = {}
    network = CompactNetwork(CONV)

    def report(step: int, loss: float, validated: float | None) -> None:
        if validated is not None:
            weights[step] = (validated, checkpoints.weights_of(network))

    trained = train_network(
        network, pairs(), settings, grid=GRID, validation=validation(), report=report
    )
    best = min(weights, key=lambda step: weights[step][0])
    assert trained.best_step == best and same(state(trained), weights[best][1])
    assert max(weights) == best + 6 < 60
    assert len(trained.train_loss["total"]) == max(weights)


def test_waiting_goes_on_where_it_was(tmp_path: pathlib.Path):
    settings = LoopSettings(
        steps=60,
        schedule="constant",
        max_rate=1.0,
        warm_up=0.0,
        validate_every=3,
        checkpoint_every=1,
        patience=2,
    )
    options = {"grid": GRID, "validation": validation()}
    whole = train_network(CompactNetwork(CONV), pairs(), settings, **options)
    n = len(whole.train_loss["total"])
    assert n == whole.best_step + 6 < 60
    # One validation has been waited for.
    stop = stop_at(whole.best_step + 4)
    with pytest.raises(Interrupted):
        train_network(
            CompactNetwork(CONV), pairs(), settings, checkpoint=tmp_path, report=stop, **options
        )
    again = train_network(CompactNetwork(CONV), pairs(), settings, checkpoint=tmp_path, **options)
    assert len(again.train_loss["total"]) == n and same(state(again), state(whole))


def test_a_checkpoint_that_is_half_written_leaves_the_last_one(tmp_path: pathlib.Path, monkeypatch):
    whole = train_network(CompactNetwork(CONV), pairs(), SHORT, grid=GRID)
    write_json, calls = checkpoints.write_json, []

    def fails(path, content):
        calls.append(path)
        if len(calls) == 2:
            raise Interrupted
        write_json(path, content)

    monkeypatch.setattr(checkpoints, "write_json", fails)
    with pytest.raises(Interrupted):
        train_network(CompactNetwork(CONV), pairs(), SHORT, grid=GRID, checkpoint=tmp_path)
    assert json.loads((tmp_path / "checkpoint.json").read_text())["step"] == 5
    again = train_network(CompactNetwork(CONV), pairs(), SHORT, grid=GRID, checkpoint=tmp_path)
    assert same(state(again), state(whole))


def test_a_running_mean_is_that_of_the_weights():
    settings = dataclasses.replace(SHORT, steps=4, ema_decay=0.5)
    network = CompactNetwork(CONV)
    seen = [network.state_dict()["heads.layers.class.weight"].double().numpy().copy()]

    def report(step: int, loss: float, validated: float | None) -> None:
        seen.append(network.state_dict()["heads.layers.class.weight"].double().numpy().copy())

    trained = train_network(network, pairs(), settings, grid=GRID, report=report)
    mean = seen[0]
    for step, weights in enumerate(seen[1:], 1):
        decay = min(0.5, step / (step + 9))
        mean = decay * mean + (1 - decay) * weights
    found = state(trained)["heads.layers.class.weight"].double().numpy()
    np.testing.assert_allclose(found, mean, atol=1e-7)


def test_rates_are_those_of_the_thesis():
    assert THESIS_A.steps == 5 * THESIS_A.steps_per_pass == 5 * 200_000 // 64
    found = [THESIS_A.rate(3125 * k) for k in range(5)]
    assert found == [0.01, 0.005, 0.0025, 0.00125, 0.000625]
    assert THESIS_A.rate(3124) == 0.01
    assert THESIS_B.rate(0) == 0.01 and THESIS_B.rate(THESIS_B.steps - 1) == pytest.approx(1e-4)
    assert THESIS_B.rate(9_999) * THESIS_B.rate(10_000) == pytest.approx(1e-6)


def test_a_cosine_rises_and_falls():
    settings = LoopSettings(steps=101, warm_up=0.1, max_rate=2.0, end_rate=0.2)
    rates = [settings.rate(step) for step in range(101)]
    assert np.argmax(rates) == 10 and rates[10] == 2.0 and rates[-1] == pytest.approx(0.2)
    np.testing.assert_allclose(np.diff(rates[:11]), 2 / 11)
    assert rates[55] == pytest.approx(1.1) and (np.diff(rates[10:]) < 0).all()
    assert {LoopSettings(steps=9, schedule="constant", warm_up=0.0).rate(k) for k in range(9)} == {
        1e-3
    }


def test_rates_decay_and_clipping_are_what_the_step_uses():
    """One step of Adam moves each weight by the rate, whatever the gradient is; decay by more."""
    settings = LoopSettings(
        steps=1, schedule="constant", max_rate=1e-3, warm_up=0.0, weight_decay=10.0, clip_norm=1e-3
    )
    network = Random()
    before = checkpoints.weights_of(network)
    after = state(train_network(network, pairs(), settings, grid=GRID))
    weight, bias = "heads.layers.class.weight", "heads.layers.class.bias"
    moved = (after[bias] - before[bias]).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 1e-3), rtol=1e-2, atol=0)
    kept = after[weight] - (1 - 1e-3 * 10) * before[weight]
    assert (kept.abs() < 1.01e-3).all() and (kept.abs() > 0.5e-3).any()


def test_a_checkpoint_of_other_settings_or_another_network_is_refused(tmp_path: pathlib.Path):
    folder = tmp_path / "run"
    train_network(CompactNetwork(CONV), pairs(), SHORT, grid=GRID, checkpoint=folder)
    other = dataclasses.replace(SHORT, max_rate=1e-3)
    with pytest.raises(FileError, match=r"made with max_rate = 0\.003, not 0\.001"):
        train_network(CompactNetwork(CONV), pairs(), other, grid=GRID, checkpoint=folder)
    with pytest.raises(FileError, match="another network"):
        train_network(Random(), pairs(), SHORT, grid=GRID, checkpoint=folder)
    (file,) = folder.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(FileError, match="not the file"):
        train_network(CompactNetwork(CONV), pairs(), SHORT, grid=GRID, checkpoint=folder)
    (folder / "checkpoint.json").write_text("{}")
    with pytest.raises(FileError, match="no training checkpoint"):
        train_network(CompactNetwork(CONV), pairs(), SHORT, grid=GRID, checkpoint=folder)


def test_a_checkpoint_is_arrays_and_json(tmp_path: pathlib.Path):
    load_file = pytest.importorskip("safetensors.torch").load_file
    train_network(CompactNetwork(CONV), pairs(), SHORT, grid=GRID, checkpoint=tmp_path)
    record = json.loads((tmp_path / "checkpoint.json").read_text())
    assert record["step"] == 12 and record["finished"] and record["settings"]["steps"] == 12
    arrays = load_file(tmp_path / record["arrays"])
    assert arrays["optimiser.step.stages.0.0.weight"].item() == 12
    assert arrays["curve.train.total"].shape == (12,)
    assert arrays["network.stages.0.0.weight"].shape == (4, 2, 3, 3)


def test_a_loss_that_is_no_number_ends_training():
    def broken(step: int):
        for images, targets in pairs()(step):
            yield (images * np.float32("nan"), targets) if step + 1 else (images, targets)

    with pytest.raises(TrainingDiverged, match="the loss of step 0 is nan"):
        train_network(CompactNetwork(CONV), broken, SHORT, grid=GRID)


def test_batches_that_end_and_patience_without_validation_are_refused():
    with pytest.raises(ValueError, match="ended after 2 steps; expected 12"):
        train_network(
            CompactNetwork(CONV), lambda step: iter(validation(2)[step:]), SHORT, grid=GRID
        )
    with pytest.raises(ValueError, match="give batches for validation"):
        train_network(
            CompactNetwork(CONV), pairs(), dataclasses.replace(SHORT, patience=1), grid=GRID
        )


def test_mixed_precision_is_close_to_single():
    settings = dataclasses.replace(SHORT, steps=3)
    single = train_network(CompactNetwork(CONV), pairs(), settings, grid=GRID)
    mixed = train_network(
        CompactNetwork(CONV),
        pairs(),
        dataclasses.replace(settings, mixed_precision=True),
        grid=GRID,
    )
    a, b = single.train_loss["total"], mixed.train_loss["total"]
    np.testing.assert_allclose(a, b, rtol=0.02)
    assert not same(state(single), state(mixed))
    assert all(v.dtype == torch.float32 for v in state(mixed).values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "expected 1 or more"),
        ({"max_rate": 0.0}, "a positive one"),
        ({"end_rate": 1.0}, "none larger"),
        ({"schedule": "geometric"}, "never reaches"),
        ({"warm_up": 1.0}, "from 0 to below 1"),
        ({"clip_norm": 0.0}, "a positive number or None"),
        ({"ema_decay": 1.0}, "between 0 and 1"),
        ({"patience": 0}, "1 or more, or None"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        LoopSettings(**change)
