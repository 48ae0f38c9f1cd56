"""From a table of artificial cluster tests to a selection operator."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ...networks import Trained, TrainSettings, search_grid, train_ensemble
from ...networks.training import Progress, checksum
from ...simulate.design import FlatRadius, MassRadius
from .._box import Box
from .._network import NetworkSelection
from .._nuisance import Nuisance, background_distribution, independent, radius_distribution
from .._photometric import PhotometricNetwork
from ..injection import InjectionTable
from .features import Inputs, features, magnitude_limits, nuisance_columns

# A table with more radii than this was drawn from a continuous distribution.
_FEW_RADII = 40
_RADIUS_NODES = 16


@dataclasses.dataclass(frozen=True)
class LearnSettings:
    """What is learned and how.

    **Arguments:**

    - `inputs`: of the networks. `train`: their training.
    - `search`: choose the learning rate and weight decay on C-4's grid first, with one network.
    """

    inputs: Inputs = dataclasses.field(default_factory=Inputs)
    train: TrainSettings = dataclasses.field(default_factory=TrainSettings)
    search: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Learned:
    """An operator with its training.

    **Arguments:**

    - `operator`: averages over the nuisance properties, if it has any. `trained`: the ensemble.
    - `held_out`: rows of the table that no network saw. `p`: the ensemble's mean probability of
      these rows, each with its own nuisance properties.
    - `settings`: as used, with what a search chose. `table_sha256`: of the table.
    """

    operator: NetworkSelection | PhotometricNetwork
    trained: Trained
    held_out: Int[np.ndarray, "v"]
    p: Float[np.ndarray, "v"]
    settings: LearnSettings
    table_sha256: str

    def provenance(self) -> dict[str, Any]:
        """Facts to save with the operator, JSON-ready."""
        return {
            "injection_table_sha256": self.table_sha256,
            "settings": dataclasses.asdict(self.settings),
            "train_loss": [float(x) for x in self.trained.train_loss[:, -1]],
            "validation_loss": [float(x) for x in self.trained.validation_loss[:, -1]],
            "n_held_out": len(self.held_out),
            "networks_sha256": checksum(self.trained.networks),
        }


def learn(
    table: InjectionTable,
    settings: LearnSettings = LearnSettings(),
    *,
    radius: FlatRadius | MassRadius | None = None,
    distance_modulus: float | None = None,
    weight: Float[np.ndarray, "n"] | None = None,
    progress: Progress = lambda member, epoch, train, validation: None,
) -> Learned:
    """Train the networks of an operator on the labels `catalogued`.

    The operator's `acts_on` is `"truth"`: injections say what becomes of a cluster of true θ,
    whatever is recorded of it afterwards.

    **Arguments:**

    - `radius`: distribution of half-light radii to average over, for networks that take r_eff; by
      default that of the table. Local skies are those of the table, which lie where light is.
    - `distance_modulus`: of the frame, for magnitudes; by default from the table's `meta`.
    - `weight`: of each row in the loss; by default 1.

    Raises `ValueError` for a table without both labels, without radii that can be learned from, or
    without a distance modulus where one is needed.
    """
    inputs = settings.inputs
    limits = magnitude_limits(table) if inputs.kind == "photometric" else None
    x = features(table, inputs, limits)
    if not 0 < table.catalogued.sum() < len(table):
        raise ValueError(
            f"{int(table.catalogued.sum())} of {len(table)} injections are catalogued; both "
            "outcomes are needed. Inject clusters on both sides of the limit"
        )
    modulus = table.meta.get("distance_modulus", distance_modulus)
    if modulus is None and inputs.kind == "photometric":
        raise ValueError(
            "the table does not say at which distance modulus its magnitudes are; give "
            "distance_modulus"
        )
    n_masked = len(table.bands) if inputs.masked else 0
    if n_masked and not settings.train.dropout:
        settings = dataclasses.replace(
            settings, train=dataclasses.replace(settings.train, dropout=0.2)
        )
    options: dict[str, Any] = {"n_masked": n_masked, "weight": weight}
    if settings.search:
        best, _ = search_grid(x, table.catalogued, settings.train, **options)
        settings = dataclasses.replace(settings, train=best)
    nuisance = _nuisance(table, inputs, radius)
    trained = train_ensemble(x, table.catalogued, settings.train, progress=progress, **options)
    operator: NetworkSelection | PhotometricNetwork
    if inputs.kind == "physical":
        operator = NetworkSelection(
            networks=trained.networks,
            domain=_domain(table),
            acts_on="truth",
            nuisance=nuisance,
        )
    else:
        assert limits is not None and modulus is not None
        operator = PhotometricNetwork(
            networks=trained.networks,
            bands=table.bands,
            limits=limits,
            distance_modulus=float(modulus),
            outside="clip",
            nuisance=nuisance,
            masked=inputs.masked,
        )
    p = predict(operator, table.take(trained.held_out))
    return Learned(operator, trained, trained.held_out, p, settings, table.sha256())


def predict(
    operator: NetworkSelection | PhotometricNetwork, table: InjectionTable
) -> Float[np.ndarray, "n"]:
    """The ensemble's mean probability of each row with its own nuisance properties."""
    names = () if operator.nuisance is None else operator.nuisance.names
    further = jnp.asarray(nuisance_columns(table, names)) if names else None
    if isinstance(operator, PhotometricNetwork):
        mags = np.where(np.isposinf(table.true_mags), operator.limits[:, 1], table.true_mags)
        return np.asarray(operator.members(mags, further).mean(axis=0), float)
    mass, age, a_v = (jnp.asarray(x) for x in (table.log_mass, table.log_age, table.a_v))
    logits = operator.logits(mass, age, a_v, further)
    return np.asarray(1 / (1 + np.exp(-np.asarray(logits, float)))).mean(axis=0)


def _domain(table: InjectionTable) -> Box:
    """The box of the injections: the design's limits lie a gap between neighbours further out."""
    limits = {}
    for axis in ("log_mass", "log_age", "a_v"):
        values = getattr(table, axis)
        low, high = float(values.min()), float(values.max())
        gap = 10 * (high - low) / len(values)
        limits[axis] = (max(low - gap, 0.0), high + gap)
    return Box(**limits)


def _nuisance(
    table: InjectionTable, inputs: Inputs, radius: FlatRadius | MassRadius | None
) -> Nuisance | None:
    parts = []
    if inputs.r_eff:
        values = np.unique(table.r_eff_pc)
        if len(values) < 2:
            raise ValueError(
                f"all injections have r_eff_pc = {values[0]:g}; a network cannot learn what it "
                "does. Inject several radii or leave r_eff out"
            )
        if radius is not None:
            parts.append(radius_distribution(radius, (float(values[0]), float(values[-1]))))
        else:
            if len(values) > _FEW_RADII:
                shares = (np.arange(_RADIUS_NODES) + 0.5) / _RADIUS_NODES
                values, counts = np.quantile(table.r_eff_pc, shares), np.ones(_RADIUS_NODES)
            else:
                counts = np.array([(table.r_eff_pc == value).sum() for value in values], float)
            parts.append(Nuisance(inputs.nuisances[:1], np.log10(values)[:, None], counts))
    elif radius is not None:
        raise ValueError("radius is for networks that take r_eff; this one averages the table's")
    if inputs.background:
        column = nuisance_columns(table, inputs.nuisances[-1:])[:, 0]
        parts.append(background_distribution(column))
    return independent(*parts) if parts else None
