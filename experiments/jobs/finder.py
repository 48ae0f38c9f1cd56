"""Networks that find clusters, learned from a bank of mocks and from images."""

import contextlib
import dataclasses
import importlib
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

import starcensus
from starcensus.experiments.jobs._images import Survey
from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show, Summary
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.finder import FinderFile
from starcensus.experiments.schema.survey import PipelineTable, SurveyFile
from starcensus.extras import need
from starcensus.files import FileError, prepare_folder, read_json, replacing, write_json
from starcensus.networks import ConvNetwork
from starcensus.runs import Input, RunError
from starcensus.selection.catalogue.open_table import load
from starcensus.selection.finder import grid_of
from starcensus.selection.finder.accuracy import judge_accuracy
from starcensus.selection.finder.learning import (
    LearnedFinder,
    curves_of,
    flux_scales,
    learn_finder,
)
from starcensus.selection.finder.mocks import AnsweredMocks, answer_mocks
from starcensus.selection.pipeline.cnn import CnnSettings
from starcensus.simulate import Exposure, Frame
from starcensus.simulate.stamps import (
    Backgrounds,
    StampBank,
    StampSettings,
    cut_backgrounds,
)

# Relative, and mag: images beyond are not those of the bank.
_SAME_SCALE, _SAME_ZERO, _SAME_MODULUS = 0.01, 0.02, 0.1
_SAID = ("p95_", "median_error_", "null_p95_", "log_score")
_CHECKPOINT, _RECORD = "checkpoint", "run.json"


@JOBS.register("finder")
class FinderJob(Job[FinderFile]):
    """`network.json` with `network.safetensors`, `curves.ecsv`, `curves.png`, `predicted.png`.

    An interrupted training goes on from the folder `checkpoint`, which goes when it is done.
    """

    def inputs(self) -> dict[str, Input]:
        found = {"bank": Input.of(self._bank_path()), **self._survey().inputs()}
        if self.file.known is not None:
            found["known"] = Input.of(self.sources.file(self.file.known, "known"))
        return found

    def settings(self) -> dict[str, Any]:
        return {k: v for k, v in super().settings().items() if k != "ahead"}

    def results(self) -> tuple[str, ...]:
        names = "network.json", "network.safetensors", "curves.ecsv", "curves.png", "predicted.png"
        return names

    def check(self) -> None:
        need("torch", purpose="training of networks")
        refuse_small(self.file, StampBank.load(self._bank_path(), rows=slice(0, 0)))

    def run(self, show: Show) -> Outcome:
        start = time.perf_counter()
        backgrounds, facts = self._backgrounds(show)
        show.stage("reading the bank")
        bank = StampBank.load(self._bank_path())
        kept = len(bank) - self.file.n_test
        learned = self._learn(bank.take(slice(0, kept)), backgrounds, facts, show)
        trained_s = time.perf_counter() - start
        show.stage("judging the network")
        learned.save(self.out / "network.json")
        answers = answer_mocks(
            ConvNetwork.load(self.out / "network.json"),
            learned.grid,
            bank.take(slice(kept, len(bank))),
            backgrounds.of("test"),
            self.file.seed,
        )
        self._write(learned, answers)
        shutil.rmtree(self.out / _CHECKPOINT, ignore_errors=True)
        times = {"train_wall_s": trained_s, "wall_s": time.perf_counter() - start}
        summary = {**self._sizes(kept), **_numbers(learned), **_figures(answers), **times}
        return Outcome(summary, {"torch": str(_torch().__version__), "network": facts})

    def _backgrounds(self, show: Show) -> tuple[Backgrounds, dict[str, Any]]:
        """Backgrounds, and what the network's file says of bank and images."""
        path = self._bank_path()
        # Its facts alone: images that are not like it are refused before it is read.
        bank = StampBank.load(path, rows=slice(0, 0))
        show.stage("reading the images")
        frame = self._survey().frame
        for note in frame.notes:
            show.say(note)
        frame = like_bank(frame, bank, path.name)
        show.stage("cutting backgrounds")
        known = self._known()
        backgrounds = cut_backgrounds(frame, self.file.backgrounds, self.file.seed, known)
        return backgrounds, self._facts(bank, frame)

    def _learn(
        self, bank: StampBank, backgrounds: Backgrounds, facts: Mapping[str, Any], show: Show
    ) -> LearnedFinder:
        file, grid = self.file, grid_of(settings_of(bank))
        scales = flux_scales(backgrounds.of("train"))
        with _threads(file.threads):
            return learn_finder(
                file.conv_settings(bank.bands, scales, grid.heads()),
                bank,
                backgrounds,
                grid,
                file.seed,
                file.learning_settings(),
                facts=facts,
                checkpoint=self._checkpoint(),
                report=_reporting(show, file.steps),
            )

    def _write(self, learned: LearnedFinder, answers: AnsweredMocks) -> None:
        """Curves as a table, and the figures."""
        from astropy.table import Table

        from starcensus.experiments.report.finder import finder_figures  # loads Matplotlib

        columns = by_step(curves_of(learned.trained))
        units = {name: "nat" for name in columns if name != "step"}
        with replacing(self.out / "curves.ecsv") as temporary:
            Table(columns, units=units).write(temporary, format="ascii.ecsv", overwrite=True)
        said = answers.said.answers, answers.true
        finder_figures(self.out, columns, *said, sharpened_from=self.file.loop.steps)

    def _facts(self, bank: StampBank, frame: Frame) -> dict[str, Any]:
        """What the network's file says of its training, beside its bins."""
        inputs = self.identity.inputs
        images = {
            item.name: item.sha256 for role, item in inputs.items() if role.startswith("images.")
        }
        backgrounds = dataclasses.asdict(self.file.backgrounds)
        return {
            "stamps": taught_by(bank, frame),
            "bank": {
                "name": inputs["bank"].name,
                "sha256": inputs["bank"].sha256,
                "seed": bank.meta["seed"],
                "n": bank.meta["n"],
            },
            "images": {"files": images, "field": frame.field, "backgrounds": backgrounds},
            "training": self.settings(),
            "starcensus": starcensus.__version__,
        }

    def _sizes(self, kept: int) -> Summary:
        train, validation, test = self.file.backgrounds.n
        return {
            "n_train": kept - self.file.n_validation,
            "n_validation": self.file.n_validation,
            "n_test": self.file.n_test,
            "n_backgrounds.train": train,
            "n_backgrounds.validation": validation,
            "n_backgrounds.test": test,
        }

    def _bank_path(self) -> pathlib.Path:
        return self.sources.file(self.file.bank, "bank")

    def _survey(self) -> Survey:
        """The images, as those of a survey in which the network will look for clusters."""
        pipeline = PipelineTable("cnn", CnnSettings())
        tables = {"kind": "survey", "images": self.file.images, "pipeline": pipeline}
        file = SurveyFile.model_validate(tables)
        return Survey(file, self.sources)

    def _known(self) -> Float[np.ndarray, "k 3"] | None:
        if self.file.known is None:
            return None
        return read_circles(self.sources.file(self.file.known, "known"))

    def _checkpoint(self) -> pathlib.Path:
        """The folder of checkpoints; raises `RunError` where it holds those of another run."""
        folder = self.out / _CHECKPOINT
        if any(folder.glob("checkpoint*")) and _key_of(folder) != self.identity.key:
            raise RunError(
                f"{folder} holds the checkpoints of an interrupted training of another file, bank, "
                "images or version; remove the folder or choose another --out"
            )
        write_json(prepare_folder(folder) / _RECORD, {"key": self.identity.key})
        return folder


def settings_of(bank: StampBank) -> StampSettings:
    """Ranges and field of a bank's mocks, without their stars and their cut."""
    facts = bank.meta["settings"]
    names = {field.name for field in dataclasses.fields(StampSettings)} - {"faintest_mags"}
    own: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in facts.items() if k in names
    }
    own["exposures"] = tuple(Exposure(**each) for each in facts["exposures"])
    return StampSettings(**own, faintest_mags=None)


def taught_by(bank: StampBank, frame: Frame) -> dict[str, Any]:
    """Facts of mocks as a network saw them: exposures are those of the images, with their noise."""
    settings = bank.meta["settings"]
    exposures = [
        {**each, "exposure_s": float(frame.image(each["band"]).exposure_s)}
        for each in settings["exposures"]
    ]
    return {**settings, "exposures": exposures}


def refuse_small(file: FinderFile, bank: StampBank) -> None:
    """Raises `ConfigError` for a bank with too few mocks, or stamps of another size.

    **Arguments:**

    - `bank`: of which no row need be there: its facts say how many there are.
    """
    n, beside = int(bank.meta["n"]), file.n_validation + file.n_test
    if n - beside < file.batches.n_clusters:
        raise ConfigError(
            f"bank: {file.bank} has {n} mocks, of which n_validation = {file.n_validation} and "
            f"n_test = {file.n_test} take no part in training: {max(n - beside, 0)} are left, and "
            f"a batch takes {file.batches.n_clusters}; draw more, or set fewer aside"
        )
    if bank.size_pix != file.network.window_pix:
        raise ConfigError(
            f"bank: stamps of {file.bank} have {bank.size_pix} pixels a side, and the network has "
            f"a window of {file.network.window_pix}; expected the same: network.stages and "
            "network.box_pix make the window"
        )


def like_bank(frame: Frame, bank: StampBank, name: str) -> Frame:
    """The bands of a bank, in its order, of images that are like its stamps.

    Raises `ConfigError` for images of other bands, pixels, zero points or of another distance.
    """
    if missing := [band for band in bank.bands if band not in frame.bands]:
        raise ConfigError(
            f"images: there is no {', '.join(missing)} among {', '.join(frame.bands)}; the bank "
            f"{name} has {', '.join(bank.bands)}: draw one for these images"
        )
    ours = frame.select(bank.bands)
    says = [
        ("pixels of", "arcsec", ours.pixel_scale_arcsec, bank.pixel_scale_arcsec),
        ("the distance modulus", "mag", ours.distance_modulus, bank.distance_modulus),
        *(
            (f"in {image.band} the zero point", "mag", float(image.zero_point), float(zero))
            for image, zero in zip(ours, bank.zero_point, strict=True)
        ),
    ]
    tolerances = [_SAME_SCALE * bank.pixel_scale_arcsec, _SAME_MODULUS]
    tolerances += [_SAME_ZERO] * len(bank.bands)
    for (what, unit, has, expected), tolerance in zip(says, tolerances, strict=True):
        if abs(has - expected) > tolerance:
            raise ConfigError(
                f"images: they have {what} {has:.5g} {unit}, and the stamps of {name} "
                f"{expected:.5g}: draw a bank for these images"
            )
    return ours


def read_circles(path: pathlib.Path) -> Float[np.ndarray, "k 3"]:
    """Columns x, y and radius of a table; raises `FileError`."""
    loaded = load(path)
    columns = []
    for name in ("x", "y", "radius"):
        if name not in loaded.table.colnames:
            raise FileError(f"{path}: has no column {name}; expected x, y and radius, pixels")
        column: Any = loaded.table[name]
        numbers = column.dtype.kind in "iuf" and column.ndim == 1
        found = np.ma.filled(np.ma.asarray(column).astype(float), np.nan) if numbers else None
        good = np.zeros(len(column), bool) if found is None else np.isfinite(found)
        if found is not None and name == "radius":
            good &= found >= 0
        if found is None or not good.all():
            where = f"{loaded.word} {loaded.numbers[int(np.argmin(good))]}"
            least = " of 0 or more" if name == "radius" else ""
            raise FileError(f"{path}: {where}, column {name}: expected a finite number{least}")
        columns.append(found)
    return np.stack(columns, axis=1)


def by_step(curves: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Curves of `curves_of` as columns of one length: NaN where there was no validation."""
    steps = curves["validation_step"].astype(int)
    n = len(curves["train.total"])
    columns = {"step": np.arange(1, n + 1)}
    for name, values in curves.items():
        if name.startswith("train."):
            columns[name] = values
        elif name.startswith("validation."):
            columns[name] = np.full(n, np.nan)
            columns[name][steps - 1] = values
    return columns


def _numbers(learned: LearnedFinder) -> Summary:
    """Sizes and losses of a network."""
    trained = learned.trained
    best = int(np.searchsorted(trained.validation_step, trained.best_step))
    losses = {f"validation_loss.{k}": float(v[best]) for k, v in trained.validation_loss.items()}
    return {
        "n_parameters": learned.conv.n_parameters,
        "steps": len(trained.train_loss["total"]),
        "best_step": trained.best_step,
        **losses,
        **{f"temperature.{head}": value for head, value in learned.temperatures.items()},
    }


def _figures(answers: AnsweredMocks) -> Summary:
    """The first numbers of an accuracy."""
    found = judge_accuracy(answers.said.answers, answers.true).describe()
    own = {k: v for k, v in found.items() if isinstance(v, float) and k.startswith(_SAID)}
    return {"point": found["point"], **own}


def _reporting(show: Show, steps: int) -> Callable[[int, float, float | None], None]:
    """What shows the losses of a training."""
    last = ""

    def report(step: int, loss: float, validation: float | None) -> None:
        nonlocal last
        last = last if validation is None else f", validation {validation:.4f}"
        show.stage(f"step {step:,} of {steps:,}: loss {loss:.4f}{last}")

    return report


def _key_of(folder: pathlib.Path) -> str | None:
    try:
        return read_json(folder / _RECORD).get("key")
    except (FileError, AttributeError):
        return None


@contextlib.contextmanager
def _threads(n: int) -> Iterator[None]:
    """Torch with so many threads inside the block."""
    torch = _torch()
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _torch() -> Any:
    """Torch, an extra."""
    return importlib.import_module("torch")
