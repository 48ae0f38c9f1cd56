"""Priors: density, draws, support, starting value and the words of a report in one object.

In Python a prior is given as whatever says it best, and `as_prior` makes the object of it:

```python
import numpyro.distributions as dist

priors = {
    "alpha_m": dist.TruncatedNormal(-2.0, 0.3, low=-4.0, high=0.0),  # any NumPyro distribution
    "log_m_break": (4.5, 6.5),                                         # flat between the two
    "log_t_mid": 7.5,                                                  # held at this value
    "alpha_t": "alpha_m",                                              # always equal to that one
    ("gamma_mdd", "log_t_mdd"): dist.MultivariateNormal(
        np.array([0.65, 7.5]), np.array([[0.01, 0.0], [0.0, 0.25]])
    ),
}
```

A file says the same with numbers, pairs, names and tables `{kind = "normal", mean = -2.0, ...}`,
whose kinds are those of `PRIORS`, open to users.
"""

import abc
import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from starcensus.registry import Registry

if TYPE_CHECKING:
    import numpyro.distributions

# Points at which the density of a prior is written down that others may not be able to make again.
_N_TABLE = 256
# Starting values keep this share of the prior's width away from an edge, where NumPyro's
# transforms are infinite.
_MARGIN = 0.02
_N_DRAWS = 4000


@contextlib.contextmanager
def numpyro_rules() -> Iterator[None]:
    """Context with JAX's default promotion, which NumPyro relies on; traced code keeps it."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


class AbstractPrior(abc.ABC):
    """A prior of one parameter, or of several together.

    To add a kind of your own, register a frozen dataclass whose fields are what files say of it:

    ```python
    @PRIORS.register("log_uniform")
    @dataclasses.dataclass(frozen=True)
    class LogUniform(AbstractPrior):
        low: float
        high: float

        def distribution(self, size: int = 0) -> dist.Distribution:
            return dist.LogUniform(self.low, self.high)
    ```
    """

    @property
    def of_simplex(self) -> bool:
        """Whether it is a prior of vectors whose elements are positive and sum to 1."""
        return False

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """A field of an experiment file that is a prior takes whatever `as_prior` takes."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            as_prior, json_schema_input_schema=core_schema.any_schema()
        )

    @abc.abstractmethod
    def distribution(self, size: int = 0) -> "numpyro.distributions.Distribution":
        """The NumPyro distribution of a scalar (`size` 0) or of a vector of that length.

        Raises `ValueError` for a prior that has none.
        """

    def width(self) -> float:
        """Scale of the prior, in the parameter's unit; infinite where it has none."""
        with numpyro_rules():
            return float(jnp.sqrt(jnp.asarray(self.distribution().variance, float)))

    def limits(self) -> tuple[float, float]:
        """Lower and upper end of a scalar's support, infinite where it has none."""
        support: Any = self.distribution().support
        low, high = (getattr(support, end, None) for end in ("lower_bound", "upper_bound"))
        return (
            -math.inf if low is None else float(low),
            math.inf if high is None else float(high),
        )

    def start(self, value: ArrayLike, size: int = 0) -> Float[np.ndarray, "..."]:
        """`value`, moved off the edges of the support."""
        if size:
            softened = np.maximum(np.asarray(value, float), 1e-3)
            return softened / softened.sum()
        low, high = self.limits()
        width = self.width()
        margin = _MARGIN * min(width if math.isfinite(width) else 1.0, high - low)
        return np.asarray(np.clip(value, low + margin, high - margin))

    def density(self, at: Float[np.ndarray, "n"], size: int = 0) -> Float[np.ndarray, "n"] | None:
        """Density at values of a scalar or of one element of a vector; None if it has none."""
        if size:
            return None
        low, high = self.limits()
        inside = (at >= low) & (at <= high)
        # Some of NumPyro's distributions have a density outside their support, and some NaN.
        safe = np.where(inside, at, self.start(np.nan_to_num((low + high) / 2)))
        with numpyro_rules():
            values = jax.jit(lambda x: jnp.exp(self.distribution().log_prob(x)))(safe)
        # At the very edge some are 0 times infinity.
        return np.where(inside & ~np.isnan(values), np.asarray(values, float), 0.0)

    def words(self) -> str:
        """The prior in words: "flat, −3 to 1"."""
        assert dataclasses.is_dataclass(self)
        given = ", ".join(
            f"{f.name} {_said(getattr(self, f.name))}" for f in dataclasses.fields(self)
        )
        return f"{PRIORS.name_of(type(self)).replace('_', ' ')}, {given}"

    def record(self, size: int = 0) -> dict[str, Any]:
        """What a posterior's file keeps of it: kind and fields, of a user's kind the density too.

        A report may be made where a user's class is not known.
        """
        assert dataclasses.is_dataclass(self)
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        kept = {k: v for k, v in fields.items() if v is not None and v not in (-math.inf, math.inf)}
        record = {"kind": PRIORS.name_of(type(self)), **kept}
        if type(self).__module__ == __name__:
            return record
        return {**record, "words": self.words(), **({} if size else _table(self))}


PRIORS = Registry[type[AbstractPrior]]("prior")


@PRIORS.register("uniform")
@dataclasses.dataclass(frozen=True)
class Uniform(AbstractPrior):
    """Flat between `low` and `high`, in the parameter's unit.

    Raises `ValueError` for limits that are not finite or not in order.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_numbers(self)
        if not self.low < self.high or math.isinf(self.high - self.low):
            raise ValueError(
                f"low = {self.low:g} and high = {self.high:g}; expected two finite numbers, the "
                "lower one first"
            )

    def distribution(self, size: int = 0) -> "numpyro.distributions.Distribution":
        import numpyro.distributions as dist

        return dist.Uniform(jnp.asarray(self.low, float), jnp.asarray(self.high, float))

    def width(self) -> float:
        return self.high - self.low

    def limits(self) -> tuple[float, float]:
        return self.low, self.high

    def words(self) -> str:
        return f"flat, {_said(self.low)} to {_said(self.high)}"


@PRIORS.register("normal")
@dataclasses.dataclass(frozen=True)
class Normal(AbstractPrior):
    """Gaussian, truncated to [`low`, `high`] where these are given.

    **Arguments:**

    - `mean`, `sd`: mean and standard deviation, before truncation, in the parameter's unit.
    - `low`, `high`: lower and upper limit.

    Raises `ValueError` for an `sd` that is not positive, or limits that are not in order.
    """

    mean: float
    sd: float
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        _check_numbers(self)
        if not (self.sd > 0 and math.isfinite(self.sd) and math.isfinite(self.mean)):
            raise ValueError(f"mean {self.mean:g}, sd {self.sd:g}; expected numbers, sd above 0")
        if not self.low < self.high:
            raise ValueError(f"low = {self.low:g} is not below high = {self.high:g}")

    def distribution(self, size: int = 0) -> "numpyro.distributions.Distribution":
        import numpyro.distributions as dist

        low = None if np.isinf(self.low) else jnp.asarray(self.low, float)
        high = None if np.isinf(self.high) else jnp.asarray(self.high, float)
        mean, sd = jnp.asarray(self.mean, float), jnp.asarray(self.sd, float)
        if low is None and high is None:
            return dist.Normal(mean, sd)
        return dist.TruncatedNormal(mean, sd, low=low, high=high)

    def width(self) -> float:
        return self.sd

    def limits(self) -> tuple[float, float]:
        return self.low, self.high

    def words(self) -> str:
        text = f"normal, {_said(self.mean)} ± {_said(self.sd)}"
        match math.isfinite(self.low), math.isfinite(self.high):
            case True, True:
                return f"{text}, within {_said(self.low)} to {_said(self.high)}"
            case True, False:
                return f"{text}, above {_said(self.low)}"
            case False, True:
                return f"{text}, below {_said(self.high)}"
        return text


@PRIORS.register("dirichlet")
@dataclasses.dataclass(frozen=True)
class Dirichlet(AbstractPrior):
    """Symmetric Dirichlet on a simplex.

    `concentration`: 1 is flat over the simplex, more prefers equal shares. Raises `ValueError` for
    one that is not positive.
    """

    concentration: float = 1.0

    def __post_init__(self) -> None:
        _check_numbers(self)
        if not 0 < self.concentration < math.inf:
            raise ValueError(f"concentration is {self.concentration:g}; expected a number above 0")

    @property
    def of_simplex(self) -> bool:
        return True

    def distribution(self, size: int = 0) -> "numpyro.distributions.Distribution":
        import numpyro.distributions as dist

        return dist.Dirichlet(jnp.full(size, self.concentration, float))

    def density(self, at: Float[np.ndarray, "n"], size: int = 0) -> Float[np.ndarray, "n"] | None:
        from scipy.stats import beta

        return beta.pdf(at, self.concentration, self.concentration * (size - 1))

    def words(self) -> str:
        return f"Dirichlet, concentration {_said(self.concentration)}"


@PRIORS.register("fixed")
@dataclasses.dataclass(frozen=True)
class Fixed(AbstractPrior):
    """Not fitted: held at a finite `value`, or at the population's own value if that is None."""

    value: float | None = None

    def __post_init__(self) -> None:
        _check_numbers(self)
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"value is {self.value:g}; expected a finite number")

    def distribution(self, size: int = 0) -> "numpyro.distributions.Distribution":
        raise ValueError("a fixed parameter has no distribution")

    def start(self, value: ArrayLike, size: int = 0) -> Float[np.ndarray, "..."]:
        return np.asarray(value if self.value is None else self.value, float)

    def density(self, at: Float[np.ndarray, "n"], size: int = 0) -> None:
        return None

    def words(self) -> str:
        return "fixed" if self.value is None else f"fixed at {_said(self.value)}"


@PRIORS.register("tied")
@dataclasses.dataclass(frozen=True)
class Tied(AbstractPrior):
    """Not fitted: always equal to the parameter named `to`."""

    to: str

    def distribution(self, size: int = 0) -> "numpyro.distributions.Distribution":
        raise ValueError(f"a parameter tied to {self.to} has no distribution of its own")

    def density(self, at: Float[np.ndarray, "n"], size: int = 0) -> None:
        return None

    def words(self) -> str:
        return f"equal to {self.to}"


@PRIORS.register("multivariate_normal")
@dataclasses.dataclass(frozen=True)
class MultivariateNormal(AbstractPrior):
    """Joint Gaussian of several parameters, in their order.

    **Arguments:**

    - `mean`: `(n,)`, in the parameters' units.
    - `covariance`: `(n, n)`, symmetric and positive definite.

    Raises `ValueError` for shapes that do not fit, or a covariance that is none.
    """

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        mean, covariance = np.asarray(self.mean, float), np.asarray(self.covariance, float)
        n = mean.size
        if mean.shape != (n,) or covariance.shape != (n, n) or n < 2:
            raise ValueError(
                f"mean has shape {mean.shape} and covariance {covariance.shape}; expected (n,) and "
                "(n, n) for n parameters, two or more"
            )
        finite = np.isfinite(mean).all() and np.isfinite(covariance).all()
        if not finite or not np.allclose(covariance, covariance.T):
            raise ValueError("mean and covariance are finite numbers, the covariance symmetric")
        if np.linalg.eigvalsh(covariance).min() <= 0:
            raise ValueError("the covariance is not positive definite")
        object.__setattr__(self, "mean", tuple(mean.tolist()))
        object.__setattr__(self, "covariance", tuple(map(tuple, covariance.tolist())))

    def distribution(self, size: int = 0) -> "numpyro.distributions.Distribution":
        import numpyro.distributions as dist

        if size != len(self.mean):
            raise ValueError(f"this prior is of {len(self.mean)} parameters, not of {size or 1}")
        return dist.MultivariateNormal(
            jnp.asarray(self.mean, float), jnp.asarray(self.covariance, float)
        )

    def words(self) -> str:
        return "multivariate normal"


@dataclasses.dataclass(frozen=True, eq=False)
class Given(AbstractPrior):
    """Any NumPyro distribution; `as_prior` makes it of one that no kind of `PRIORS` says."""

    given: "numpyro.distributions.Distribution"

    def distribution(self, size: int = 0) -> "numpyro.distributions.Distribution":
        shape = (size,) if size else ()
        if self.given.batch_shape != () or self.given.event_shape != shape:
            raise ValueError(
                f"{type(self.given).__name__} has batch shape {self.given.batch_shape} and event "
                f"shape {self.given.event_shape}; expected () and {shape}"
            )

        # It may have been made in single precision.
        def cast(leaf: Any) -> Any:
            exact = not jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
            return leaf if exact else jnp.asarray(leaf, float)

        return jax.tree.map(cast, self.given)

    @property
    def of_simplex(self) -> bool:
        from numpyro.distributions import constraints

        return self.given.support is constraints.simplex

    def words(self) -> str:
        name = type(self.given).__name__
        numbers = []
        for argument in self.given.arg_constraints:
            value = getattr(self.given, argument, None)
            if value is not None and np.size(value) < 9:
                numbers.append(f"{argument} {_said(np.asarray(value, float).tolist())}")
        return ", ".join([name, *numbers])

    def record(self, size: int = 0) -> dict[str, Any]:
        record: dict[str, Any] = {"kind": "distribution", "words": self.words()}
        return record if size else {**record, **_table(self)}


def as_prior(given: object) -> AbstractPrior:
    """The prior that `given` says.

    **Arguments:**

    - `given`: a prior; a NumPyro distribution; a number (fixed); a pair of numbers (uniform); the
        name of another parameter (tied); a table `{"kind": ..., ...}` with a kind of `PRIORS`.

    Raises `ValueError` for anything else, and for a table that does not fit its kind.

    ```python
    as_prior((-3.0, -1.0))  # Uniform(low=-3.0, high=-1.0)
    ```
    """
    if isinstance(given, AbstractPrior):
        return given
    if isinstance(given, int | float | np.number) and not isinstance(given, bool):
        return Fixed(float(given))
    if isinstance(given, str):
        return Tied(given)
    if isinstance(given, Mapping):
        return _from_table(given)
    if isinstance(given, tuple | list) and len(given) == 2:
        return Uniform(
            *(_number(end, value) for end, value in zip(("low", "high"), given, strict=True))
        )
    import numpyro.distributions as dist

    if isinstance(given, dist.Distribution):
        return _from_distribution(given)
    raise ValueError(
        f"a prior is {given!r}; expected a NumPyro distribution, a number (fixed), a pair of "
        "numbers (uniform), the name of another parameter (tied), or a table with a kind, one of "
        f"{', '.join(PRIORS)}"
    )


def _from_table(table: Mapping[str, Any]) -> AbstractPrior:
    fields = dict(table)
    if "kind" not in fields:
        raise ValueError(f"a prior has no kind; expected one of {', '.join(PRIORS)}")
    kind = fields.pop("kind")
    cls: Any = PRIORS.find(kind)
    known = {f.name: f for f in dataclasses.fields(cls)}
    if unknown := sorted(set(fields) - set(known)):
        raise ValueError(f"a {kind} prior has no {', '.join(unknown)}; it has {', '.join(known)}")
    missing = [
        name
        for name, f in known.items()
        if name not in fields
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"a {kind} prior needs {', '.join(missing)}")
    return cls(**{name: _as_field(known[name], value) for name, value in fields.items()})


def _as_field(field: "dataclasses.Field[Any]", value: Any) -> Any:
    """A value of a file as a field of a prior; raises `ValueError` for what is no number there."""
    if isinstance(value, list | tuple):
        return _numbers(field.name, value)
    numeric = field.type is float or field.type == float | None
    return _number(field.name, value) if numeric and value is not None else value


def _numbers(name: str, values: Any) -> Any:
    """Tuples, nested like `values`."""
    nested = isinstance(values, list | tuple | np.ndarray)
    return tuple(_numbers(name, each) for each in values) if nested else _number(name, values)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ValueError(f"{name} is {value!r}; expected a number")
    if math.isnan(value):
        raise ValueError(f"{name} is NaN; expected a number")
    return float(value)


def _from_distribution(given: "numpyro.distributions.Distribution") -> AbstractPrior:
    """The kind that says the same, so that files and reports can; else the distribution itself."""
    import numpyro.distributions as dist

    if given.batch_shape:
        raise ValueError(
            f"{type(given).__name__} is {given.batch_shape} distributions; expected one, with "
            "batch shape ()"
        )
    known: Any = given
    kind = type(given)
    if kind is dist.Uniform:
        return Uniform(float(known.low), float(known.high))
    if kind is dist.Normal:
        return Normal(float(known.loc), float(known.scale))
    if kind is dist.Delta and known.event_shape == ():
        return Fixed(float(known.v))
    if kind is dist.MultivariateNormal:
        mean, covariance = (np.asarray(x) for x in (known.loc, known.covariance_matrix))
        return MultivariateNormal(_numbers("mean", mean), _numbers("covariance", covariance))
    if "Truncated" in kind.__name__ and type(known.base_dist) is dist.Normal:
        base = known.base_dist
        low: Any = getattr(known, "low", -math.inf)
        high: Any = getattr(known, "high", math.inf)
        return Normal(*(float(np.asarray(x)) for x in (base.loc, base.scale, low, high)))
    return Given(given)


def member_record(prior: AbstractPrior, names: tuple[str, ...], index: int) -> dict[str, Any]:
    """What a file keeps of the prior of one of several parameters that have one together."""
    others = ", ".join(name for i, name in enumerate(names) if i != index)
    words = f"{prior.words()}, together with {others}"
    if isinstance(prior, MultivariateNormal):
        mean, sd = prior.mean[index], math.sqrt(prior.covariance[index][index])
        return {"kind": "joint", "words": words, **_table(Normal(mean, sd))}
    from scipy.stats import gaussian_kde

    draws = _draws(prior, len(names))[:, index]
    at = np.linspace(draws.min(), draws.max(), _N_TABLE)
    density = gaussian_kde(draws)(at)
    return {"kind": "joint", "words": words, "at": at.tolist(), "density": density.tolist()}


def prior_words(record: Mapping[str, Any]) -> str:
    """A recorded prior in words, plain text; the kind where nothing else is known.

    `record` is what `PopulationModel.record` gave, as posteriors keep it.

    ```python
    prior_words({"kind": "uniform", "low": -3.0, "high": -1.0})  # "flat, −3 to −1"
    ```
    """
    if "words" in record:
        return str(record["words"])
    prior = _recorded(record)
    return str(record.get("kind", "")) if prior is None else prior.words()


def prior_density(
    record: Mapping[str, Any], at: Float[np.ndarray, "n"], size: int = 0
) -> Float[np.ndarray, "n"] | None:
    """Density of a recorded prior on a grid; None where it has none or none is known.

    **Arguments:**

    - `record`: what `PopulationModel.record` gave, as posteriors keep it.
    - `at`: `(n,)`, values of the scalar, or of one element of a simplex vector.
    - `size`: number of the vector's elements, 0 for a scalar.

    ```python
    prior_density({"kind": "uniform", "low": -3.0, "high": -1.0}, np.linspace(-4.0, 0.0, 9))
    ```
    """
    if "density" in record:
        return np.interp(at, record["at"], record["density"], left=0.0, right=0.0)
    prior = _recorded(record)
    return None if prior is None else prior.density(np.asarray(at, float), size)


def _recorded(record: Mapping[str, Any]) -> AbstractPrior | None:
    kind = str(record.get("kind", ""))
    if kind not in PRIORS:
        return None
    return _from_table({k: v for k, v in record.items() if v is not None and k != "words"})


def _table(prior: AbstractPrior) -> dict[str, list[float]]:
    """A scalar's density at points that hold nearly all of it."""
    draws = _draws(prior, 0)
    low, high = prior.limits()
    pad = 0.1 * np.ptp(draws)
    at = np.linspace(max(low, draws.min() - pad), min(high, draws.max() + pad), _N_TABLE)
    density = prior.density(at)
    assert density is not None
    return {"at": at.tolist(), "density": np.nan_to_num(density, posinf=0.0).tolist()}


def _draws(prior: AbstractPrior, size: int) -> Float[np.ndarray, "..."]:
    with numpyro_rules():
        return np.asarray(prior.distribution(size).sample(jax.random.key(0), (_N_DRAWS,)), float)


def _check_numbers(prior: Any) -> None:
    """Fields become floats; raises `ValueError` for one that is no number."""
    for f in dataclasses.fields(prior):
        object.__setattr__(prior, f.name, _as_field(f, getattr(prior, f.name)))


def _said(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"({', '.join(_said(each) for each in value)})"
    return f"{value:.4g}".replace("-", "−") if isinstance(value, float) else str(value)
