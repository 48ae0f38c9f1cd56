"""What a calibration is of: a model, an operator, and catalogues whose truth is known."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from starcensus.runs import Input, Run

from ...forward import flat_names
from ...forward.mock import mock_catalogue
from ...selection import AbstractSelection
from ...selection.catalogue import Catalogue
from ..draws import prior_draws
from ..identity import fingerprint, model_digest
from ..model import PopulationModel
from ..objects import ObjectSamples, PublishedValues, in_bounds, object_samples, padded_size
from ..sampling import double_precision
from .settings import CalibrationSettings


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What is calibrated; equal problems share their compiled program in a process.

    `Problem.drawn` makes its catalogues itself, `Problem.given` takes those of somebody else.

    **Arguments:**

    - `model`: the population's family and priors.
    - `source`: what the catalogues come from.
    - `selection`: what the likelihood believes.
    - `settings`: how each catalogue is fitted.
    """

    model: PopulationModel
    source: "Drawn | Given"
    selection: AbstractSelection
    settings: CalibrationSettings

    @classmethod
    def drawn(
        cls,
        model: PopulationModel,
        generator: AbstractSelection,
        sigma: tuple[float, float, float] | None,
        selection: AbstractSelection,
        settings: CalibrationSettings | None = None,
    ) -> "Problem":
        """Catalogues drawn from the priors; arguments as of `calibrate`.

        ```python
        Problem.drawn(model, operator, None, operator).n
        ```
        """
        source = Drawn(generator, sigma)
        return cls(model, source, selection, settings or CalibrationSettings())

    @classmethod
    def given(
        cls,
        model: PopulationModel,
        catalogues: Sequence[Catalogue],
        truths: Sequence[Mapping[str, float]],
        selection: AbstractSelection,
        settings: CalibrationSettings | None = None,
    ) -> "Problem":
        """Catalogues that were made elsewhere, with the parameters that they were made from.

        The truths must have been drawn from the model's priors, or ranks are not uniform.

        **Arguments:**

        - `catalogues`: all with the same limits, if any.
        - `truths`: of each, by flat parameter name.

        Raises `ValueError` for truths that are missing, or catalogues of different limits.

        ```python
        truth = {"alpha_m": -2.0, "alpha_t": -0.8, "sigma_av": 0.4, "log_n": 2.5}
        Problem.given(model, [catalogue], [truth], operator).n
        ```
        """
        settings = settings or CalibrationSettings()
        source = Given(tuple(catalogues), _by_parameter(model, truths))
        if len(truths) != len(catalogues) or not catalogues:
            raise ValueError(
                f"{len(catalogues)} catalogues and {len(truths)} truths; expected one each"
            )
        if len({repr(sorted(c.limits.items())) for c in catalogues}) > 1:
            raise ValueError("the catalogues have different limits; calibrate each kind by itself")
        settings = dataclasses.replace(settings, n_catalogues=len(catalogues))
        return cls(model, source, selection, settings)

    @property
    def n(self) -> int:
        return self.settings.n_catalogues

    @functools.cached_property
    def digest(self) -> str:
        """Of all that the result depends on, apart from the code."""
        facts = (
            model_digest(self.model),
            self.source.digest(),
            fingerprint(self.selection),
            self.settings,
        )
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and self.digest == other.digest

    def run(self, inputs: Mapping[str, Input]) -> Run:
        """All that the result depends on; `inputs`: files besides."""
        return Run("calibration", {"problem": self.digest}, inputs, self.settings.seed)

    def truths(self) -> dict[str, np.ndarray]:
        """The true parameters of all catalogues."""
        return self.source.truths(self.model, self.settings)

    def mocks(self, start: int, stop: int) -> list[Catalogue]:
        """Catalogues `start` to `stop`."""
        return self.source.catalogues(self.model, self.settings, start, stop)

    @functools.cached_property
    def entering(self) -> AbstractSelection:
        """The operator of the likelihood, with the limits of given catalogues."""
        if isinstance(self.source, Drawn):
            return self.selection
        pooled = _pooled(list(self.source.given))
        return PublishedValues(pooled, self.settings.errors).entering(self.selection)

    def size(self, catalogues: list[Catalogue]) -> int:
        """Rows to which all catalogues are padded, after they passed the door of a fit together.

        Raises `BoundsError` where they contradict the population's bounds.
        """
        largest = _largest(catalogues)
        in_bounds(_pooled(catalogues), self.model.population.box, self.settings.errors)
        return padded_size(largest)

    def samples(self, mocks: list[Catalogue], start: int, size: int) -> ObjectSamples:
        """Samples of every catalogue, stacked, each padded to `size` clusters."""
        cfg = self.settings
        each = [
            object_samples(
                mock,
                self.model.population.box,
                dataclasses.replace(cfg.errors, seed=cfg.seed + start + i),
                self.entering,
                pad=False,
            ).padded(size)
            for i, mock in enumerate(mocks)
        ]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *each)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Catalogues that are drawn from the priors, by `mock_catalogue`."""

    generator: AbstractSelection
    sigma: tuple[float, float, float] | None

    def digest(self) -> str:
        return f"{fingerprint(self.generator)} {self.sigma}"

    def truths(self, model: PopulationModel, cfg: CalibrationSettings) -> dict[str, np.ndarray]:
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
class Given:
    """Catalogues that somebody else made, with their truths by parameter name."""

    given: tuple[Catalogue, ...]
    true: dict[str, np.ndarray]

    def digest(self) -> str:
        arrays = [(c.theta, c.theta_low, c.theta_high) for c in self.given]
        return fingerprint((arrays, self.true, [sorted(c.limits.items()) for c in self.given]))

    def truths(self, model: PopulationModel, cfg: CalibrationSettings) -> dict[str, np.ndarray]:
        return self.true

    def catalogues(
        self, model: PopulationModel, cfg: CalibrationSettings, start: int, stop: int
    ) -> list[Catalogue]:
        return list(self.given[start:stop])


def _by_parameter(
    model: PopulationModel, truths: Sequence[Mapping[str, float]]
) -> dict[str, np.ndarray]:
    """True values by parameter, `(catalogue, …)`, from flat names."""
    found: dict[str, np.ndarray] = {}
    for p in model.population.parameters():
        if p not in model.fitted() and p.name not in model.tied():
            continue
        names = flat_names((p,))
        if missing := [name for name in names for truth in truths if name not in truth]:
            raise ValueError(f"the truth of a catalogue lacks {missing[0]}, which the model fits")
        values = np.asarray([[truth[name] for name in names] for truth in truths], float)
        found[p.name] = values if p.size else values[:, 0]
    return found


def _pooled(catalogues: list[Catalogue]) -> Catalogue:
    """All rows as one catalogue, with the limits of the first."""
    first = catalogues[0]
    theta, low, high = (
        np.concatenate([getattr(c, name) for c in catalogues])
        for name in ("theta", "theta_low", "theta_high")
    )
    ids = np.asarray([f"{i}.{name}" for i, c in enumerate(catalogues) for name in c.ids])
    return Catalogue(first.source, ids, theta, low, high, meta=first.meta)


def _largest(mocks: list[Catalogue]) -> int:
    """Clusters of the largest catalogue; raises `ValueError` if one is empty."""
    sizes = np.asarray([len(mock) for mock in mocks])
    if sizes.min() == 0:
        raise ValueError(
            f"{int((sizes == 0).sum())} of {len(sizes)} mock catalogues are empty; a fit needs "
            "at least one cluster: raise the prior of log_n"
        )
    return int(sizes.max())
