"""How far two ensembles of classifiers agree, with each other and with the truth."""

import pathlib
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from benchmarks.cnn import fresh_galaxy
from starcensus.bands import reference_band
from starcensus.selection.classes.agreement import agreement
from starcensus.selection.classes.covariate import agreement_by
from starcensus.selection.classes.ensembles import EnsembleVote, ensemble_vote
from starcensus.selection.classes.labelled import ClassBatches, LabelledStamps
from starcensus.simulate.images.galaxy import Exposure
from starcensus.simulate.stamps import (
    BackgroundSettings,
    ClassSettings,
    StampSettings,
    cut_backgrounds,
    make_classes,
    stamp_psfs,
)

type Say = Callable[[str], None]

# Shares of the candidates: for either ensemble, for choosing weights, and for the test.
SHARES = (0.4, 0.4, 0.05, 0.15)
# Published exposures of M83 and two more bands, as of the five-band example.
FIVE = StampSettings(
    exposures=(
        Exposure("WFC3_UVIS_F275W", 2481.0, 22.63, sky=0.001),
        Exposure("WFC3_UVIS_F336W", 2250.0, 23.48, sky=0.003),
        Exposure("WFC3_UVIS_F438W", 2400.0, 24.98, sky=0.010),
        Exposure("WFC3_UVIS_F555W", 1200.0, 25.81, sky=0.035),
        Exposure("WFC3_UVIS_F814W", 1950.0, 24.67, sky=0.032),
    ),
    z=0.02,
    faintest_mags=(np.inf, 24.0, 23.5, np.inf, 23.0),
)
_BATCH, _N_BINS = 32, 4


def bench_classes(
    seed: int,
    n: int = 8000,
    models: int = 10,
    steps: int = 500,
    width: int = 16,
    side: int = 1536,
    workers: int = 2,
    folder: pathlib.Path | None = None,
    settings: StampSettings = FIVE,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Two ensembles of ResNet18, taught candidates of which no two are the same.

    `folder`: where the networks are kept, and training goes on after an interruption; its
    `classes-0.json` and `classes-1.json` are the ensembles, for a survey's [classifier].
    """
    # Loads Torch.
    from starcensus.networks.cnn.classify import ClassifierSettings, train_ensemble
    from starcensus.networks.cnn.resnet18 import ResNet18Settings
    from starcensus.networks.cnn.schedules import LoopSettings

    started = time.perf_counter()
    say("a galaxy")
    galaxy = fresh_galaxy(settings, side, seed)
    choice = BackgroundSettings(n=(1500, 150, 750), shares=(0.6, 0.1, 0.3))
    skies = cut_backgrounds(galaxy.frame, choice, seed)
    say("candidates")
    drawn = make_classes(settings, ClassSettings(), n, seed, stamp_psfs(settings), workers)
    *taught, chosen, test = LabelledStamps.of(drawn).split(SHARES, seed)
    validation = ClassBatches(chosen, len(chosen), seed, skies.of("validation"), dihedral=False)
    seen = test.on_backgrounds(skies.of("test"), seed)
    about = {"seed": seed, "n": n, "side": side, "stamps": settings.describe()}
    votes = []
    for number, stamps in enumerate(taught):
        ensemble, _ = train_ensemble(
            ClassifierSettings(ResNet18Settings(len(settings.bands), width=width), "noise"),
            lambda own, stamps=stamps: ClassBatches(stamps, _BATCH, own, skies.of("train")),
            LoopSettings(steps, validate_every=max(steps // 4, 1)),
            n_models=models,
            seed=2 * seed + number,
            folder=None if folder is None else folder / f"ensemble-{number}",
            validation=[next(validation(0))],
            about={**about, "ensemble": number},
            report=lambda model, step, loss, lowest, number=number: say(
                f"ensemble {number + 1}, model {model + 1} of {models}, step {step}: {loss:.3f}"
            ),
        )
        if folder is not None:
            ensemble.save(folder / f"classes-{number}.json", {**about, "ensemble": number})
        votes.append(ensemble_vote(ensemble.votes(seen.images)))
    found = {"seed": seed, "n_taught": len(taught[0]), "models": models, "steps": steps}
    return {**found, **judge(seen, votes), "wall_s": time.perf_counter() - started}


def judge(seen: LabelledStamps, votes: list[EnsembleVote]) -> dict[str, Any]:
    """What two ensembles say of candidates, beside each other and beside the truth."""
    one, other = (vote.mode for vote in votes)
    sky = np.median(seen.images, axis=(2, 3))
    reference = seen.bands.index(reference_band(seen.bands))
    covariates = {"mag": np.asarray(seen.columns["mags"])[:, reference], "sky": sky[:, reference]}
    made: dict[str, Any] = {"n": len(seen), "n_of_class": _counts(seen.labels)}
    for name, first, second in (
        ("each_other", one, other),
        ("truth_1", seen.labels, one),
        ("truth_2", seen.labels, other),
    ):
        both = agreement(first, second)
        made[f"{name}.same"] = float((first == second).mean())
        made[f"{name}.same_of_two"] = float(((first <= 2) == (second <= 2)).mean())
        made[f"{name}.fractions"] = _numbers(both.row)
        for covariate, values in covariates.items():
            finite = np.isfinite(values)
            bins = agreement_by(values[finite], first[finite], second[finite], _N_BINS)
            made[f"{name}.{covariate}"] = _numbers(bins.median)
            made[f"{name}.mean_by_{covariate}"] = _numbers([each.mean for each in bins.bins])
    kinds = np.asarray(seen.kind)
    for kind in sorted(set(kinds)):
        made[f"called_cluster.{kind}"] = round(float((one[kinds == kind] <= 2).mean()), 4)
    for number, vote in enumerate(votes, 1):
        right = vote.mode == seen.labels
        sure = vote.quality > 0.95
        made[f"unanimous_{number}"] = float(sure.mean())
        made[f"right_if_unanimous_{number}"] = float(right[sure].mean()) if sure.any() else None
    return made


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [round(float(v), 4) if np.isfinite(v) else None for v in values]


def _counts(labels: np.ndarray) -> list[int]:
    return np.bincount(labels, minlength=5)[1:].tolist()
