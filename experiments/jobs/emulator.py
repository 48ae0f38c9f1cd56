"""The density of the light of stochastic clusters, learned from a library."""

import dataclasses
import time
from typing import Any

import numpy as np

from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.jobs._stars import grid_input, grid_path
from starcensus.experiments.schema.emulator import EmulatorFile
from starcensus.files import write_json
from starcensus.forward.light import Cell, LightEmulator, judge_emulator, learn_emulator
from starcensus.runs import Input
from starcensus.simulate import CellTheta, ClusterLibrary, Design, StarcensusEngine, run_library
from starcensus.simulate.library.engine import load_grid

_CELLS = "cells.json"


@JOBS.register("emulator")
class EmulatorJob(Job[EmulatorFile]):
    """A folder with an emulator, the library that it was learned from, and what cells say of it."""

    def inputs(self) -> dict[str, Input]:
        return grid_input(self.file.grid, self.sources)

    def results(self) -> tuple[str, ...]:
        return "emulator.json", "emulator.safetensors", _CELLS

    def run(self, show: Show) -> Outcome:
        file, engine = self.file, self._engine()
        show.stage("drawing clusters")
        library = self._library(engine, show)
        began = time.perf_counter()
        settings = file.train_settings()

        def progress(epoch: int, loss: float, held_out: float) -> None:
            show.stage(
                f"epoch {epoch + 1} of {settings.epochs}: loss {loss:.4f}, held out {held_out:.4f}"
            )

        show.stage("learning")
        learned = learn_emulator(library, engine, file.bounds, settings, progress)
        wall = time.perf_counter() - began
        learned.save(self.out / "emulator.json")
        # As it is read again, in single precision.
        learned = LightEmulator.load(self.out / "emulator.json")
        show.stage("judging")
        cells = judge_emulator(learned, engine, file.judge_settings(), show.count)
        write_json(self.out / _CELLS, {"cells": [dataclasses.asdict(cell) for cell in cells]})
        losses = learned.facts["losses"]
        return Outcome(
            {
                "n_rows": len(library),
                "train_loss": losses["train"],
                "validation_loss": losses["validation"],
                "training_wall_s": wall,
                **judged(cells),
            },
            {"engine": engine.describe()},
        )

    def _engine(self) -> StarcensusEngine:
        path = grid_path(self.file.grid, self.sources)
        load_grid(path).select(self.file.survey_bands)
        return StarcensusEngine(self.file.survey_bands, path, self.file.imf, self.file.draw)

    def _library(self, engine: StarcensusEngine, show: Show) -> ClusterLibrary:
        file = self.file
        low_high = list(file.bounds.as_dict().values())
        edges = np.array(low_high[0]), np.array(low_high[1]), np.array(low_high[2])
        cells = CellTheta(edges, np.ones((1, 1, 1)), file.n_extinctions)
        seed = file.seed if file.library_seed is None else file.library_seed
        design = Design(file.n_clusters * file.n_extinctions, seed, cells)
        path = self.out / "library.h5"
        run_library(design, engine, path, self.work, show.count, self.own_inputs())
        return ClusterLibrary.load(path)


def judged(cells: tuple[Cell, ...]) -> dict[str, Any]:
    """What all cells say together."""
    gains = np.array([cell.score - cell.kernel_score for cell in cells])
    ranks = np.array([cell.rank_distance for cell in cells])
    return {
        "judged.n_cells": len(cells),
        "judged.score": float(np.mean([cell.score for cell in cells])),
        "judged.gain_over_kernels.mean": float(gains.mean()),
        "judged.gain_over_kernels.min": float(gains.min()),
        "judged.rank_distance.median": float(np.median(ranks)),
        "judged.rank_distance.max": float(ranks.max()),
        "judged.energy_p_below_0.01": int(sum(cell.energy_p < 0.01 for cell in cells)),
    }
