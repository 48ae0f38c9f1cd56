"""From a table of artificial cluster tests to a selection operator."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from starcensus.theta import Box

from ...networks import Trained, TrainSettings, search_grid, train_ensemble
from ...networks.training import Progress, checksum
from ...simulate import ClusterLibrary
from ...simulate.library.design import FlatRadius, MassRadius
from ..injection import InjectionTable
from ..operators.network import NetworkSelection
from ..operators.nuisance import (
    BACKGROUND,
    R_EFF,
    Nuisance,
    background_distribution,
    independent,
    radius_distribution,
)
from ..operators.photometric import PhotometricNetwork
from .features import Inputs, features, magnitude_limits, nuisance_columns

# A table with more radii than this was drawn from a continuous distribution.
_FEW_RADII = 40
_RADIUS_NODES = 16
# Distance moduli that are the same, mag.
_SAME_MAG = 1e-6
# Evaluations of a network whose inputs are in memory together.
_AT_ONCE = 1 << 18


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
      default that of the table, or of the pool where the table says of its clusters how likely
      they were to be chosen from one. Local skies are those of the table, which lie where light is.
    - `distance_modulus`: of the frame, for magnitudes; by default from the table's `meta`,
      which it must not contradict.
    - `weight`: of each row in the loss; by default 1.

    Raises `ValueError` for a table without both labels, without radii that can be learned from,
    without a distance modulus where one is needed, or with another one.
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
    if distance_modulus is not None and abs(modulus - distance_modulus) > _SAME_MAG:
        raise ValueError(
            f"distance_modulus is {distance_modulus:g}, and the table's magnitudes are at "
            f"{modulus:g}; leave distance_modulus out, or inject at the distance that is meant"
        )
    if modulus is None and inputs.kind == "photometric":
        raise ValueError(
            "the table does not say at which distance modulus its magnitudes are; give "
            "distance_modulus"
        )
    n_masked = len(table.bands) if inputs.masked else 0
    settings = dataclasses.replace(settings, train=settings.train.with_dropout(inputs.masked))
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
    further = nuisance_columns(table, names) if names else None
    theta = np.stack([table.log_mass, table.log_age, table.a_v], axis=1)
    return _members(operator, theta, table.true_mags, further).mean(axis=0)


def predict_library(
    operator: NetworkSelection | PhotometricNetwork,
    library: ClusterLibrary,
    progress: Callable[[int, int], None] = lambda done, n: None,
) -> Float[np.ndarray, "member n"]:
    """Each network's probability of each cluster, were it injected.

    Magnitudes are those that an injection would have. An operator that takes a radius is given the
    cluster's own. Its local sky is not known before it is placed: the probability is averaged over
    the operator's own distribution of skies, as they are for any cluster. Beyond the θ and the
    radii of its training the operator extrapolates, magnitudes are moved to its limits.

    **Arguments:**

    - `library`: has at least the operator's bands, if it takes magnitudes.
    - `progress`: called with the number of clusters done so far and of all.

    Raises `ValueError` for a band or a radius that is missing, a NaN, or an operator of magnitudes
    that are not Vega.
    """
    names = () if operator.nuisance is None else operator.nuisance.names
    log_r = _log_radii(library) if R_EFF in names else np.zeros(len(library))
    mags = library.mags
    if isinstance(operator, PhotometricNetwork):
        operator = operator.simulated()
        mags = _apparent(operator, library)
    skies, weight = np.zeros(1), np.ones(1)
    if operator.nuisance is not None and BACKGROUND in names:
        column = np.asarray(operator.nuisance.values)[:, names.index(BACKGROUND)]
        skies, at = np.unique(column, return_inverse=True)
        weight = np.bincount(at, np.asarray(operator.nuisance.weights, float))
        weight /= weight.sum()
    q, size = len(skies), max(1, _AT_ONCE // len(skies))
    out = np.empty((operator.n_members, len(library)))
    for start in range(0, len(library), size):
        rows = np.arange(start, min(start + size, len(library)))
        each = np.repeat(rows, q)
        columns = {R_EFF: log_r[each], BACKGROUND: np.tile(skies, len(rows))}
        further = np.stack([columns[name] for name in names], axis=1) if names else None
        p = _members(operator, library.theta[each], mags[each], further)
        out[:, rows] = p.reshape(-1, len(rows), q) @ weight
        progress(int(rows[-1]) + 1, len(library))
    return out


def _members(
    operator: NetworkSelection | PhotometricNetwork,
    theta: Float[np.ndarray, "n 3"],
    mags: Float[np.ndarray, "n band"],
    further: Float[np.ndarray, "n k"] | None,
) -> Float[np.ndarray, "member n"]:
    more = None if further is None else jnp.asarray(further)
    if isinstance(operator, PhotometricNetwork):
        return np.asarray(operator.simulated(operator.outside).members(mags, more), float)
    mass, age, a_v = (jnp.asarray(x) for x in theta.T)
    logits = operator.logits(mass, age, a_v, more)
    return 1 / (1 + np.exp(-np.asarray(logits, float)))


def _log_radii(library: ClusterLibrary) -> Float[np.ndarray, "n"]:
    if library.r_eff_pc is None:
        raise ValueError(
            "the operator takes the half-light radius and the library has no r_eff_pc; draw it "
            "with a [radius]"
        )
    bad = ~(np.isfinite(library.r_eff_pc) & (library.r_eff_pc > 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"r_eff_pc of cluster {row} is {library.r_eff_pc[row]:g}; expected parsecs > 0"
        )
    return np.log10(library.r_eff_pc)


def _apparent(operator: PhotometricNetwork, library: ClusterLibrary) -> Float[np.ndarray, "n band"]:
    if operator.mag_system != "Vega":
        raise ValueError(
            f"the operator takes {operator.mag_system} magnitudes; those of a library are Vega: "
            "train one on injections"
        )
    mags = library.select(operator.bands).mags
    if np.isnan(mags).any():
        row, band = (int(i) for i in np.argwhere(np.isnan(mags))[0])
        raise ValueError(
            f"magnitude of cluster {row} in {operator.bands[band]} is NaN; expected a number, or "
            "infinity for no light"
        )
    return mags + operator.distance_modulus


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
            weight = pool_weight(table)
            if len(values) > _FEW_RADII:
                shares = (np.arange(_RADIUS_NODES) + 0.5) / _RADIUS_NODES
                method = "linear" if weight is None else "inverted_cdf"
                values = np.quantile(table.r_eff_pc, shares, weights=weight, method=method)
                counts = np.ones(_RADIUS_NODES)
            else:
                counts = np.bincount(np.searchsorted(values, table.r_eff_pc), weight).astype(float)
            parts.append(Nuisance(inputs.nuisances[:1], np.log10(values)[:, None], counts))
    elif radius is not None:
        raise ValueError("radius is for networks that take r_eff; this one averages the table's")
    if inputs.background:
        column = nuisance_columns(table, inputs.nuisances[-1:])[:, 0]
        parts.append(background_distribution(column))
    return independent(*parts) if parts else None


def pool_weight(table: InjectionTable) -> Float[np.ndarray, "n"] | None:
    """Weights under which the rows stand for a pool; rows that no choice was made of have 1.

    This is exact for one choice that left the others out of account. Of several rounds, clusters
    that an earlier one was unlikely to choose count up to twice.
    """
    if table.inclusion is None:
        return None
    return 1 / np.where(np.isnan(table.inclusion), 1.0, table.inclusion)
