"""The NumPyro model of a population fit."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
from jaxtyping import Array

from starcensus.settings import check_choices

from ..forward import AbstractPrior, Fixed, Parameter, Population, SelectionGrid, Tied, as_prior
from ..forward.priors import member_record, numpyro_rules
from .likelihood import Form, log_likelihood
from .objects import Samples

# Site, and name among draws, of the numbers by which a learned operator deviates.
OPERATOR = "operator_z"


@dataclasses.dataclass(frozen=True)
class _Site:
    """What NumPyro samples at once: one parameter, or several that have a prior together."""

    names: tuple[str, ...]
    prior: AbstractPrior
    size: int

    @property
    def name(self) -> str:
        return ",".join(self.names)


@dataclasses.dataclass(frozen=True)
class PopulationModel:
    """A population family with its priors: what is fitted, before there are data.

    **Arguments:**

    - `population`: the family; the values of its parameters are the starting point, and the
        values of those that are fixed.
    - `priors`: overrides of the default priors, by parameter name; what `as_prior` takes: a
        NumPyro distribution, a number, a pair, another parameter's name, a table. Scalars that
        have a prior together stand under the tuple of their names, or under "NAME,NAME".
    - `form`: `"poisson"` fits log_n; `"conditional"` conditions on the number of clusters, and
        log_n is recovered afterwards from its exact conditional posterior under the prior 1/N.

    Raises `ValueError` for a prior of an unknown parameter, of the wrong shape, or given twice.

    ```python
    PopulationModel(population, {"alpha_m": dist.Normal(-2.0, 0.2), "alpha_t": (-1.5, 0.0)})
    ```
    """

    population: Population
    priors: Mapping[Any, Any] = dataclasses.field(default_factory=dict)
    form: Form = "poisson"

    def __post_init__(self) -> None:
        check_choices(self)
        if wrong := [k for k, v in self.population.values().items() if not _is_finite(v)]:
            raise ValueError(f"{', '.join(wrong)} of the population is not finite; give numbers")
        known = {p.name: p for p in self.population.parameters()}
        priors: dict[tuple[str, ...], AbstractPrior] = {}
        for key, given in self.priors.items():
            names = tuple(n.strip() for n in (key.split(",") if isinstance(key, str) else key))
            if unknown := sorted(set(names) - set(known)):
                raise ValueError(
                    f"priors are given for {unknown}, which this population does not have; "
                    f"it has {sorted(known)}"
                )
            if self.form == "conditional" and names == ("log_n",):
                raise ValueError(
                    "prior of log_n: form = 'conditional' integrates log_n out under the prior "
                    "1/N and would ignore it; leave it out, or take form = 'poisson'"
                )
            every = [name for other in priors for name in other] + list(names)
            if twice := sorted({name for name in every if every.count(name) > 1}):
                raise ValueError(f"two priors are given for {', '.join(twice)}; keep one")
            try:
                priors[names] = as_prior(given)
                self._check([known[name] for name in names], priors[names])
            except ValueError as error:
                raise ValueError(f"prior of {', '.join(names)}: {error}") from error
        object.__setattr__(self, "priors", {",".join(k): v for k, v in priors.items()})
        for name in known:
            self._origin(name)

    def _check(self, parameters: list[Parameter], prior: AbstractPrior) -> None:
        if len(parameters) > 1:
            if self.form == "conditional" and any(p.name == "log_n" for p in parameters):
                raise ValueError("form = 'conditional' integrates log_n out; leave it out")
            if simplex := [p.name for p in parameters if p.size]:
                raise ValueError(
                    f"{', '.join(simplex)} is a simplex; only scalars have one together"
                )
            size = len(parameters)
        else:
            size = parameters[0].size
            if isinstance(prior, Fixed):
                if size and prior.value is not None:
                    raise ValueError("a simplex is fixed at the population's own shares; no value")
                return
            if isinstance(prior, Tied):
                return
            if prior.of_simplex != (size > 0):
                expected = "of a simplex, as dirichlet is" if size else "of a scalar"
                raise ValueError(f"{prior.words()}; expected a prior {expected}")
        with numpyro_rules():
            shape = prior.distribution(size).event_shape
        if shape != ((size,) if size else ()):
            raise ValueError(f"{prior.words()} has shape {shape}; expected one of {size or 1}")

    def _origin(self, name: str) -> str:
        """The parameter that `name` is tied to in the end, itself if to none."""
        known = {p.name: p for p in self.population.parameters()}
        met = [name]
        while isinstance(prior := self.prior(known[met[-1]]), Tied):
            if prior.to not in known or known[prior.to].size != known[name].size:
                raise ValueError(
                    f"prior of {met[-1]}: tied to {prior.to!r}, which is no other parameter of "
                    f"this population of the same shape; it has {sorted(known)}"
                )
            if prior.to in met:
                raise ValueError(f"{' and '.join(met)} are tied to each other; let one be free")
            if self.form == "conditional" and prior.to == "log_n":
                raise ValueError("form = 'conditional' integrates log_n out; nothing is tied to it")
            met.append(prior.to)
        return met[-1]

    def _together(self, name: str) -> tuple[tuple[str, ...], AbstractPrior] | None:
        """Names and prior of the parameters that `name` has a prior with."""
        for key, prior in self.priors.items():
            names = tuple(str(key).split(","))
            if len(names) > 1 and name in names:
                return names, prior
        return None

    def prior(self, parameter: Parameter) -> AbstractPrior:
        """The prior in force for a parameter; of several together, that of all."""
        if self.form == "conditional" and parameter.name == "log_n":
            return Fixed()
        if (found := self._together(parameter.name)) is not None:
            return found[1]
        return self.priors.get(parameter.name, parameter.prior)

    def is_given(self, parameter: Parameter) -> bool:
        """Whether the prior is not the parameter's own."""
        return parameter.name in self.priors or self._together(parameter.name) is not None

    def record(self, parameter: Parameter) -> dict[str, Any]:
        """A parameter's prior as posteriors keep it, for `prior_words` and `prior_density`."""
        if (found := self._together(parameter.name)) is not None:
            return member_record(found[1], found[0], found[0].index(parameter.name))
        return self.prior(parameter).record(parameter.size)

    def sites(self) -> tuple[_Site, ...]:
        """What is sampled, in order."""
        sites: list[_Site] = []
        for p in self.population.parameters():
            prior = self.prior(p)
            if isinstance(prior, Fixed | Tied):
                continue
            if (found := self._together(p.name)) is None:
                sites.append(_Site((p.name,), prior, p.size))
            elif all(site.names != found[0] for site in sites):
                sites.append(_Site(found[0], prior, len(found[0])))
        return tuple(sites)

    def fitted(self) -> tuple[Parameter, ...]:
        """The parameters that are sampled."""
        every = self.population.parameters()
        return tuple(p for p in every if not isinstance(self.prior(p), Fixed | Tied))

    def tied(self) -> dict[str, str]:
        """The parameter that each tied one follows, by name."""
        every = self.population.parameters()
        return {p.name: self._origin(p.name) for p in every if isinstance(self.prior(p), Tied)}

    def fixed_values(self) -> dict[str, Any]:
        """Values given to fixed parameters by their priors, and to those tied to fixed ones."""
        values = {}
        known = {p.name: p for p in self.population.parameters()}
        for name, parameter in known.items():
            origin = self._origin(name)
            prior = self.prior(known[origin])
            if not isinstance(prior, Fixed):
                continue
            if prior.value is not None:
                values[name] = prior.value
            elif isinstance(self.prior(parameter), Tied):
                values[name] = np.asarray(self.population.values()[origin])
        return values

    def start(self) -> dict[str, np.ndarray]:
        """Starting values inside every prior's support, of fitted and tied parameters."""
        return {k: np.asarray(v) for k, v in self.from_sites(self.start_sites()).items()}

    def start_sites(self) -> dict[str, np.ndarray]:
        """Starting values inside every prior's support, of what is sampled."""
        current = {k: np.asarray(v) for k, v in self.population.values().items()}
        return {
            site.name: site.prior.start(current[site.names[0]], site.size)
            if len(site.names) == 1
            else _joint_start(site, np.stack([current[name] for name in site.names]))
            for site in self.sites()
        }

    def from_sites(self, sites: Mapping[str, Any]) -> dict[str, Any]:
        """Values by parameter, tied ones too, from what was sampled; leading axes are kept."""
        values = {}
        for site in self.sites():
            if len(site.names) == 1:
                values[site.name] = sites[site.name]
            else:
                for i, name in enumerate(site.names):
                    values[name] = sites[site.name][..., i]
        for p in self.population.parameters():
            if isinstance(self.prior(p), Tied) and (origin := self._origin(p.name)) in values:
                values[p.name] = values[origin]
        return values

    def sample_values(self) -> dict[str, Array]:
        """Inside a NumPyro model: sample, and return the values of fitted and tied parameters."""
        made = {site.name: site.prior.distribution(site.size) for site in self.sites()}
        sampled = {name: numpyro.sample(name, prior) for name, prior in made.items()}
        return self.from_sites(sampled)

    def sample_population(self) -> Population:
        """Inside a NumPyro model: sample the parameters and return the population."""
        return self.population.with_values({**self.fixed_values(), **self.sample_values()})

    def numpyro_model(self) -> Callable[[Samples, SelectionGrid], None]:
        """The model as a NumPyro callable of (objects, grid).

        Of a grid with deviations it samples the numbers behind them too, at the site `OPERATOR`.
        """

        def model(objects: Samples, grid: SelectionGrid) -> None:
            population = self.sample_population()
            z: Any = None
            if k := grid.n_directions:
                normal = numpyro.distributions.Normal(0.0, 1.0).expand([k]).to_event(1)
                z = numpyro.sample(OPERATOR, normal)
            value = log_likelihood(population, objects, grid, self.form, z)
            numpyro.factor("log_likelihood", value)

        return model


def _joint_start(site: _Site, value: np.ndarray) -> np.ndarray:
    """`value` where the prior has a density there, else the prior's mean."""
    with numpyro_rules():
        made = site.prior.distribution(site.size)
        inside = np.isfinite(np.asarray(made.log_prob(jnp.asarray(value, float))))
        # A bounded support refuses its edge in silence.
        support: Any = made.support
        inside &= bool(np.asarray(support(jnp.asarray(value, float))).all())
        return value if inside else np.asarray(made.mean, float)


def _is_finite(value: object) -> bool:
    return bool(np.isfinite(np.asarray(value, float)).all())
