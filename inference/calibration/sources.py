"""Where the catalogues of a calibration come from, and how each becomes what a sampler takes."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ...forward import SelectionGrid, flat_names, selection_grid
from ...forward.mock import mock_catalogue
from ...selection import AbstractSelection
from ...selection.catalogue import Catalogue
from ..draws import prior_draws
from ..identity import fingerprint
from ..model import PopulationModel
from ..objects import (
    ObjectSamples,
    PublishedValues,
    Samples,
    in_bounds,
    object_samples,
    padded_size,
)
from ..sampling import double_precision
from .settings import CalibrationSettings

# Sizes that the arrays of every catalogue are padded to.
type Sizes = tuple[int, ...]
type Truths = dict[str, np.ndarray]


class AbstractSource(abc.ABC):
    """Catalogues whose truth is known, and the samples of their clusters.

    A catalogue is whatever the source makes of one; `len` gives its clusters.
    """

    @abc.abstractmethod
    def digest(self) -> str:
        """Of all that the catalogues depend on, besides model and settings."""

    @abc.abstractmethod
    def truths(self, model: PopulationModel, cfg: CalibrationSettings) -> Truths:
        """The true parameters of all catalogues, `(catalogue, …)` each."""

    @abc.abstractmethod
    def catalogues(
        self, model: PopulationModel, cfg: CalibrationSettings, start: int, stop: int
    ) -> list[Any]:
        """Catalogues `start` to `stop`."""

    def remark(self, catalogues: Sequence[Any]) -> str | None:
        """What is to be said of catalogues before they are fitted, if anything."""
        return None

    @abc.abstractmethod
    def entering(self, selection: AbstractSelection, cfg: CalibrationSettings) -> AbstractSelection:
        """The operator of the likelihood, if `selection` is what the fit is given."""

    @abc.abstractmethod
    def grid(
        self, model: PopulationModel, selection: AbstractSelection, cfg: CalibrationSettings
    ) -> SelectionGrid:
        """The expected number's nodes, the same for all catalogues."""

    @abc.abstractmethod
    def sizes(
        self, model: PopulationModel, cfg: CalibrationSettings, catalogues: list[Any]
    ) -> Sizes:
        """What arrays are padded to, after the catalogues passed the door of a fit.

        Raises `BoundsError` where they contradict the population's bounds.
        """

    @abc.abstractmethod
    def samples(
        self,
        model: PopulationModel,
        selection: AbstractSelection,
        cfg: CalibrationSettings,
        catalogues: list[Any],
        start: int,
        sizes: Sizes,
    ) -> Samples:
        """Samples of every catalogue, stacked; the first is catalogue `start`."""


class AbstractPublished(AbstractSource):
    """Catalogues of published values."""

    def entering(self, selection: AbstractSelection, cfg: CalibrationSettings) -> AbstractSelection:
        return selection

    def grid(
        self, model: PopulationModel, selection: AbstractSelection, cfg: CalibrationSettings
    ) -> SelectionGrid:
        return selection_grid(self.entering(selection, cfg), model.population, cfg.quadrature)

    def sizes(
        self, model: PopulationModel, cfg: CalibrationSettings, catalogues: list[Catalogue]
    ) -> Sizes:
        largest = largest_of(catalogues)
        in_bounds(_pooled(catalogues), model.population.box, cfg.errors)
        return (padded_size(largest),)

    def samples(
        self,
        model: PopulationModel,
        selection: AbstractSelection,
        cfg: CalibrationSettings,
        catalogues: list[Catalogue],
        start: int,
        sizes: Sizes,
    ) -> ObjectSamples:
        entering = self.entering(selection, cfg)
        each = [
            object_samples(
                catalogue,
                model.population.box,
                dataclasses.replace(cfg.errors, seed=cfg.seed + start + i),
                entering,
                pad=False,
            ).padded(sizes[0])
            for i, catalogue in enumerate(catalogues)
        ]
        return stacked(each)


@dataclasses.dataclass(frozen=True)
class Drawn(AbstractPublished):
    """Catalogues that are drawn from the priors, by `mock_catalogue`."""

    generator: AbstractSelection
    sigma: tuple[float, float, float] | None

    def digest(self) -> str:
        return f"{fingerprint(self.generator)} {self.sigma}"

    def truths(self, model: PopulationModel, cfg: CalibrationSettings) -> Truths:
        return prior_draws(model, cfg.n_catalogues, cfg.seed)

    def catalogues(
        self, model: PopulationModel, cfg: CalibrationSettings, start: int, stop: int
    ) -> list[Catalogue]:
        truths = self.truths(model, cfg)
        fixed = model.population.with_values(model.fixed_values())
        with double_precision():
            keys = jax.random.split(jax.random.key(cfg.seed), cfg.n_catalogues)
            return [
                mock_catalogue(
                    keys[i],
                    fixed.with_values({k: v[i] for k, v in truths.items()}),
                    self.generator,
                    self.sigma,
                ).catalogue
                for i in range(start, stop)
            ]


@dataclasses.dataclass(frozen=True, eq=False)
class Given(AbstractPublished):
    """Catalogues that somebody else made, with their truths by parameter name."""

    given: tuple[Catalogue, ...]
    true: Truths

    def digest(self) -> str:
        arrays = [(c.theta, c.theta_low, c.theta_high) for c in self.given]
        return fingerprint((arrays, self.true, [sorted(c.limits.items()) for c in self.given]))

    def truths(self, model: PopulationModel, cfg: CalibrationSettings) -> Truths:
        return self.true

    def catalogues(
        self, model: PopulationModel, cfg: CalibrationSettings, start: int, stop: int
    ) -> list[Catalogue]:
        return list(self.given[start:stop])

    def entering(self, selection: AbstractSelection, cfg: CalibrationSettings) -> AbstractSelection:
        """With the limits of the catalogues."""
        pooled = _pooled(list(self.given))
        return PublishedValues(pooled, cfg.errors).entering(selection)


def stacked(each: Sequence[Any]) -> Any:
    """Samples of equal shapes with an axis of catalogues in front."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)


def by_parameter(model: PopulationModel, truths: Sequence[Mapping[str, float]]) -> Truths:
    """True values by parameter, `(catalogue, …)`, from flat names.

    Raises `ValueError` for a parameter that a truth lacks.
    """
    found: Truths = {}
    for p in model.population.parameters():
        if p not in model.fitted() and p.name not in model.tied():
            continue
        names = flat_names((p,))
        if missing := [name for name in names for truth in truths if name not in truth]:
            raise ValueError(f"the truth of a catalogue lacks {missing[0]}, which the model fits")
        values = np.asarray([[truth[name] for name in names] for truth in truths], float)
        found[p.name] = values if p.size else values[:, 0]
    return found


def largest_of(catalogues: Sequence[Any]) -> int:
    """Clusters of the largest catalogue; raises `ValueError` if one is empty."""
    sizes = np.asarray([len(each) for each in catalogues])
    if sizes.min() == 0:
        raise ValueError(
            f"{int((sizes == 0).sum())} of {len(sizes)} mock catalogues are empty; a fit needs "
            "at least one cluster: raise the prior of log_n"
        )
    return int(sizes.max())


def _pooled(catalogues: list[Catalogue]) -> Catalogue:
    """All rows as one catalogue, with the limits of the first."""
    first = catalogues[0]
    theta, low, high = (
        np.concatenate([getattr(c, name) for c in catalogues])
        for name in ("theta", "theta_low", "theta_high")
    )
    ids = np.asarray([f"{i}.{name}" for i, c in enumerate(catalogues) for name in c.ids])
    return Catalogue(first.source, ids, theta, low, high, meta=first.meta)
