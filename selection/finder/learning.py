"""A network that finds clusters, learned from mocks on backgrounds: from a bank to files."""

import collections
import concurrent.futures
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from starcensus.files import Path
from starcensus.settings import check_seed

from ...networks import cnn
from ...networks.cnn.schedules import SHARPENING, LoopSettings
from ...networks.cnn.targets import Grid
from ...networks.cnn.widening import Widening, fit_widening
from ...networks.conv_files import save_network
from ...networks.conv_settings import ConvSettings
from ...networks.temperature import fit_temperature, tempered
from ...simulate.stamps import Backgrounds, ComposeSettings, StampBank
from .batches import Batch, StampBatches, taught_share, training_prior

# Random streams of validation, calibration and sharpening, apart from that of training.
_VALIDATION, _CALIBRATION, _SHARPENING = 1, 2, 4
_OF_CLUSTERS = ("joint", "size")


@dataclasses.dataclass(frozen=True)
class LearningSettings:
    """How a finder is learned.

    **Arguments:**

    - `batches`: sizes of a batch of training, turning and jitter.
    - `loop`: steps, rates, checkpoints, of a training with targets that are Gaussians, which says
      that bins side by side are alike.
    - `sharpening`: of what follows, with targets that are the truth's bin alone: Gaussians teach a
      network to be less sure than it could be.
    - `n_validation`: mocks, the last of the bank, that take no part in training: half of them
      choose the best step, half of them the temperatures.
    - `ahead`: batches that are composed while the network learns.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    LearningSettings(loop=LoopSettings(steps=2000, max_rate=2e-3), n_validation=1000)
    ```
    """

    batches: ComposeSettings = dataclasses.field(
        default_factory=lambda: ComposeSettings(96, 160, dihedral=True, jitter=0.2)
    )
    loop: LoopSettings = dataclasses.field(
        default_factory=lambda: LoopSettings(steps=6000, max_rate=2e-3, ema_decay=0.998)
    )
    sharpening: LoopSettings = SHARPENING
    n_validation: int = 4000
    ahead: int = 2

    def __post_init__(self) -> None:
        if self.n_validation < 2 or self.ahead < 1:
            raise ValueError(
                f"n_validation is {self.n_validation} and ahead {self.ahead}; expected 2 and 1 or "
                "more"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class LearnedFinder:
    """A network that was learned, as it is written.

    **Arguments:**

    - `conv`, `grid`: its definition and its bins.
    - `arrays`: parameters, with the temperatures in them.
    - `temperatures`: by head, fitted to mocks that took no part in training.
    - `trained`: loss curves and the network before its temperatures.
    - `about`: what the file says beside the network: bins, training prior, temperatures.
    """

    conv: ConvSettings
    grid: Grid
    arrays: Mapping[str, np.ndarray]
    temperatures: Mapping[str, float]
    trained: "cnn.TrainedNetwork"
    about: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write what `ConvNetwork.load` and the pipeline "cnn" read: JSON and `.safetensors`."""
        save_network(path, self.conv, self.arrays, self.about)


def flux_scales(backgrounds: Backgrounds) -> tuple[float, ...]:
    """A flux of each band by which a network counts: the median scatter of the backgrounds.

    ```python
    choice = BackgroundSettings(n=(20, 5, 5), size_pix=16, block_pix=32, guard_pix=4)
    flux_scales(cut_backgrounds(frame, choice, seed=1))
    ```
    """
    return tuple(float(x) for x in np.median(backgrounds.sigma, axis=0).astype(np.float32))


def learn_finder(
    conv: ConvSettings,
    bank: StampBank,
    backgrounds: Backgrounds,
    grid: Grid,
    seed: int,
    settings: LearningSettings | None = None,
    *,
    facts: Mapping[str, Any] | None = None,
    checkpoint: Path | None = None,
    report: Callable[[int, float, float | None], None] = lambda step, loss, validation: None,
) -> LearnedFinder:
    """Train a compact network, and calibrate it on mocks and backgrounds that it was not taught.

    **Arguments:**

    - `conv`: the network; its window is the stamps' size.
    - `bank`: mocks. The last `n_validation` take no part in training.
    - `backgrounds`: of all splits: "train" for training, "validation" for the rest.
    - `grid`: the bins, of `grid_of`.
    - `seed`: of first weights and batches.
    - `settings`: how.
    - `facts`: of the bank, the images and whatever else; the file keeps them.
    - `checkpoint`, `report`: as of `train_network`.

    Raises `MissingExtraError` without Torch, and `ValueError` for stamps of another size than the
    window, other bands, or too few mocks.

    ```python
    like = dataclasses.replace(StampSettings().like(frame), size_pix=16)
    run_stamps(like, 6, 1, "bank.h5", psfs=psfs)
    choice = BackgroundSettings(n=(20, 5, 5), size_pix=16, block_pix=32, guard_pix=4)
    backgrounds = cut_backgrounds(frame, choice, seed=1)
    stages = ((3, 4),), ((3, 8),)
    conv = ConvSettings(like.bands, flux_scales(backgrounds), stages=stages, box_pix=9)
    few = LoopSettings(steps=2)
    plan = LearningSettings(ComposeSettings(2, 2), few, few, n_validation=2)
    learn_finder(conv, StampBank.load("bank.h5"), backgrounds, grid_of(like), 1, plan)
    ```
    """
    check_seed(seed)
    settings = settings or LearningSettings()
    if conv.window_pix != bank.size_pix or conv.bands != bank.bands:
        raise ValueError(
            f"the network has a window of {conv.window_pix} pixels in {', '.join(conv.bands)}; the "
            f"stamps have {bank.size_pix} in {', '.join(bank.bands)}"
        )
    n_train = len(bank) - settings.n_validation
    if n_train < 1:
        raise ValueError(
            f"the bank has {len(bank)} mocks, of which {settings.n_validation} are for validation; "
            "none is left to learn from"
        )
    half = n_train + settings.n_validation // 2
    train = StampBatches(
        bank.take(slice(0, n_train)), backgrounds.of("train"), grid, seed, settings.batches
    )
    held_out = backgrounds.of("validation"), grid
    beside = bank.take(slice(n_train, half))

    def run(loop: LoopSettings, batches: StampBatches, folder: str, before: int) -> Any:
        return cnn.train_network(
            network,
            lambda step: _composed_ahead(batches(step), settings.ahead),
            dataclasses.replace(loop, seed=seed),
            grid=grid,
            validation=_held_out(beside, *held_out, _seed_of(seed, _VALIDATION), batches.cells),
            checkpoint=None if checkpoint is None else pathlib.Path(checkpoint) / folder,
            report=lambda step, loss, validation: report(before + step, loss, validation),
        )

    network = cnn.CompactNetwork(conv, seed)
    first, cells = run(settings.loop, train, "", 0), bank.lattice
    sharp = dataclasses.replace(train, seed=_seed_of(seed, _SHARPENING), cells=cells)
    # Early stopping may have made them fewer.
    n_first = len(first.train_loss["total"])
    then = run(settings.sharpening, sharp, "sharpening", n_first)
    trained = _joined(first, then, n_first)
    rest = bank.take(slice(half, len(bank)))
    calibration = _held_out(rest, *held_out, _seed_of(seed, _CALIBRATION), cells)
    temperatures = _temperatures(network, calibration)
    taught = bank.take(slice(0, n_train))
    about = {
        "grid": grid.as_dict(),
        "prior": _numbers(training_prior(taught, grid, cells)),
        "taught": _numbers(taught_share(taught, grid, cells)),
        "lattice": cells,
        "temperatures": temperatures,
        "steps": int(trained.best_step),
        **dict(facts or {}),
    }
    arrays = tempered(conv, network.to_arrays(), temperatures)
    if "mixture" in dict(conv.heads):
        widening = _widening(network, calibration, grid)
        arrays = widening.absorbed(arrays)
        about["widening"] = dataclasses.asdict(widening)
    return LearnedFinder(conv, grid, arrays, temperatures, trained, about)


def _numbers(shares: Float[np.ndarray, "bins"]) -> list[float]:
    """Four digits are more than so many mocks say."""
    return [float(f"{share:.4g}") for share in shares]


def _seed_of(seed: int, stream: int) -> int:
    return int(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0] >> 2)


def _held_out(
    bank: StampBank,
    backgrounds: Backgrounds,
    grid: Grid,
    seed: int,
    cells: Mapping[str, float] | None,
) -> list[Batch]:
    """Each mock once, with half as many backgrounds without one, in batches that fit in memory."""
    n = min(len(bank), 250)
    sizes = ComposeSettings(max(n // 2, 1), n)
    batches = StampBatches(bank, backgrounds, grid, seed, sizes, cells)(0)
    return [next(batches) for _ in range(len(bank) // n)]


def _joined(
    first: "cnn.TrainedNetwork", then: "cnn.TrainedNetwork", steps: int
) -> "cnn.TrainedNetwork":
    """Two trainings of one network as one, whose best step is the second's."""

    def both(name: str) -> dict[str, np.ndarray]:
        one, two = getattr(first, name), getattr(then, name)
        return {head: np.concatenate([one[head], two[head]]) for head in one}

    return dataclasses.replace(
        then,
        train_loss=both("train_loss"),
        validation_loss=both("validation_loss"),
        validation_step=np.concatenate([first.validation_step, then.validation_step + steps]),
        best_step=then.best_step + steps,
    )


def _composed_ahead(batches: Iterator[Batch], ahead: int) -> Iterator[Batch]:
    """The same batches, made by another thread while the last ones are learned from."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        waiting = collections.deque(thread.submit(next, batches) for _ in range(ahead))
        while True:
            batch = waiting.popleft().result()
            waiting.append(thread.submit(next, batches))
            yield batch


def _widening(network: "cnn.CompactNetwork", batches: Sequence[Batch], grid: Grid) -> Widening:
    outputs, truths = [], []
    for images, told in batches:
        rows = told["is_cluster"]
        outputs.append(cnn.logits_of(network, images)["mixture"][rows])
        truths.append(told["continuous"][rows].astype(float))
    return fit_widening(np.concatenate(outputs), np.concatenate(truths), grid)


def _temperatures(network: "cnn.CompactNetwork", batches: Sequence[Batch]) -> dict[str, float]:
    """Of each head that is a softmax."""
    logits: dict[str, list[np.ndarray]] = {}
    targets: dict[str, list[np.ndarray]] = {}
    for images, told in batches:
        for name, values in cnn.logits_of(network, images).items():
            if name not in told:
                continue
            rows = told["is_cluster"] if name in _OF_CLUSTERS else slice(None)
            logits.setdefault(name, []).append(values[rows])
            targets.setdefault(name, []).append(told[name][rows])
    return {
        name: round(fit_temperature(np.concatenate(each), np.concatenate(targets[name])), 4)
        for name, each in logits.items()
    }


def curves_of(trained: "cnn.TrainedNetwork") -> dict[str, Float[np.ndarray, "step"]]:
    """Loss curves by name, for a table: `train.HEAD`, `validation.HEAD` and `validation_step`.

    ```python
    curves_of(learned.trained)["validation.total"].min()
    ```
    """
    return (
        {f"train.{name}": curve for name, curve in trained.train_loss.items()}
        | {f"validation.{name}": curve for name, curve in trained.validation_loss.items()}
        | {"validation_step": trained.validation_step}
    )
