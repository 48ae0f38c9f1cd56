"""Is P(det | μ) of an observation model that of injections which it never saw?

`python -m tests.inference.held_out_edge TRAINING TEST [--epochs E --batch B --rate R]` trains the
networks of P(det | μ) on the first table, takes their log-loss and χ² in cells of V and V − I on
the second, and compares, for clusters of a galaxy under mass-independent disruption, how many they
expect to be catalogued with how many injections of either table that are like them are. `error` is
what the number of the table's injections leaves open, relative to what is expected, and `nearest`
what the networks say of the injections themselves, which are nearly like the clusters.
"""

import argparse
import dataclasses
import json
import pathlib

import jax
import numpy as np
from benchmarks.known_light import BANDS, MODULUS, engine
from tests.inference.held_out import HeldOut
from tests.inference.light_study import model

from starcensus.forward.mock import draw_theta
from starcensus.inference import double_precision
from starcensus.networks import TrainSettings
from starcensus.selection.injection import InjectionTable
from starcensus.selection.learning import Inputs, LearnSettings, learn
from starcensus.selection.observation import ObservationSettings, learn_observation

_V, _I = BANDS.index("ACS_F555W"), BANDS.index("ACS_F814W")
_EDGES = {
    "all": np.array([-1.0, 1.0]),
    "V": np.concatenate([[10.0, 19.0, 20.0, 21.0], np.arange(21.5, 25.01, 0.25), [40.0]]),
    "log_mass": np.arange(3.2, 5.61, 0.4),
    "a_v": np.arange(0.0, 1.51, 0.25),
}


def scored(p: np.ndarray, table: InjectionTable) -> dict[str, float]:
    """Log-loss of a table, and χ² of the catalogued in cells where 2 or more are uncertain; of
    places as the survey has them, see `InjectionTable.place_weight`."""
    seen = table.catalogued.astype(float)
    weight = np.ones(len(table)) if table.place_weight is None else table.place_weight
    p = np.clip(p, 1e-7, 1 - 1e-7)
    v, colour = table.true_mags[:, _V], table.true_mags[:, _V] - table.true_mags[:, _I]
    thirds = np.quantile(colour[(v > 22) & (v < 24.5)], [1 / 3, 2 / 3])
    cell = np.digitize(v, _EDGES["V"]) * 3 + np.digitize(colour, thirds)
    of_cell = [np.bincount(cell, x) for x in (weight * (seen - p), weight**2 * p * (1 - p))]
    counted = of_cell[1] > 2
    loss = -np.average(seen * np.log(p) + (1 - seen) * np.log1p(-p), weights=weight)
    chi2 = float((of_cell[0][counted] ** 2 / of_cell[1][counted]).sum())
    return {"log_loss": round(float(loss), 5), "chi2": round(chi2), "cells": int(counted.sum())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("training", type=pathlib.Path)
    parser.add_argument("test", type=pathlib.Path)
    own = ObservationSettings().selection
    parser.add_argument("--epochs", type=int, default=own.epochs)
    parser.add_argument("--batch", type=int, default=own.batch_size)
    parser.add_argument("--rate", type=float, default=own.max_rate)
    given = parser.parse_args()
    tables = {name: InjectionTable.load(getattr(given, name)) for name in ("training", "test")}
    train = dataclasses.replace(
        own, epochs=given.epochs, batch_size=given.batch, max_rate=given.rate
    )
    operator = learn(tables["training"], LearnSettings(Inputs("photometric"), train)).operator
    networks = operator.simulated()
    print(json.dumps(scored(np.asarray(networks.p_sel(tables["test"].true_mags)), tables["test"])))
    with double_precision():
        number, places = jax.random.split(jax.random.key(3))
        theta = np.asarray(draw_theta(number, places, model("mid", 2.5).population))
    seeds = np.arange(len(theta)).astype(np.uint64)
    mags = engine().draw(*theta.T, seeds)["abs_mags"].astype(float) + MODULUS
    # Of the survey only what is catalogued is asked; a short training of the rest will do.
    few = ObservationSettings(epochs=1, selection=TrainSettings((8,), 2, 1))
    rest = learn_observation(tables["training"], few)
    expected = np.asarray(networks.p_sel(mags), float)
    fields = {f.name: getattr(rest, f.name) for f in dataclasses.fields(rest)}
    axes = {"all": np.zeros(len(mags)), "V": mags[:, _V], "log_mass": theta[:, 0]}
    axes["a_v"] = theta[:, 2]
    alike = {name: HeldOut(**fields, table=table).like(mags) for name, table in tables.items()}
    told = {name: np.asarray(networks.p_sel(t.true_mags), float) for name, t in tables.items()}
    for axis, x in axes.items():
        for low, high in zip(_EDGES[axis][:-1], _EDGES[axis][1:], strict=True):
            some = (x >= low) & (x < high)
            total = expected[some].sum()
            if not total:
                continue
            line = {axis: [round(low, 2), round(high, 2)], "expected": round(float(total), 1)}
            for name, near in alike.items():
                p, seen = told[name], tables[name].catalogued.astype(float)
                used = np.bincount(near[some].ravel(), minlength=len(p)) / near.shape[1]
                found = used @ seen, np.sqrt(used**2 @ (p * (1 - p))), used @ p
                words = name, f"{name}.error", f"{name}.nearest"
                line |= {w: round(float(f / total), 4) for w, f in zip(words, found, strict=True)}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
