"""What a fit needs to know of its objects, whatever form the knowledge has.

The likelihood holds ∫ p(d_i|θ) λ(θ) dθ of each object. Every form of p(d_i|θ) ends as points of θ
with weights, Σ_j w_ij λ(θ_ij): draws of a posterior divided by their prior, the nodes of a
quadrature, members of a library. The points do not depend on the population, so a sampler's step
is one evaluation of ln λ at fixed points.
"""

import abc
import dataclasses
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float

from starcensus.files import FileError
from starcensus.theta import AXES, SENSIBLE, Box

from ...forward import CheckedGrid, Population, QuadratureSettings, checked_grid
from ...selection import AbstractSelection, SurveyFacts
from ...selection.catalogue import Step

_SENSIBLE = Box(**SENSIBLE)


class ObjectsError(FileError):
    """What is known of the objects cannot be used; the message says which object, and why."""


class ObjectSamples(eqx.Module):
    """Weighted samples of θ for each cluster, padded to a size that many catalogues share.

    **Arguments:**

    - `theta`: `(3, n_padded, n_samples)`, in the order of θ: log10 M_sun, log10 yr, mag; `(2, …)`,
      without a_v, where nothing depends on it, so that its integral is 1.
    - `log_weight`: `(n_padded, n_samples)`, ln of the weight of each sample: 1/(π(θ) n_samples) for
      draws under the prior π, times p_sel(θ) where selection acts on the truth; −inf for padding
      along samples.
    - `mask`: `(n_padded,)`, which rows are clusters; the others are padding.
    - `p`, `deviations`: `(n_padded, n_samples)` and `(k, n_padded, n_samples)`, of an operator
      whose uncertainty counts: its probability at the samples, and what each of its numbers adds to
      the logit of that.
    """

    theta: Float[Array, "axis n s"] | Float[np.ndarray, "axis n s"]
    log_weight: Float[Array, "n s"] | Float[np.ndarray, "n s"]
    mask: Bool[Array, " n"] | Bool[np.ndarray, " n"]
    p: Float[Array, "n s"] | Float[np.ndarray, "n s"] | None = None
    deviations: Float[Array, "k n s"] | Float[np.ndarray, "k n s"] | None = None

    @property
    def n_objects(self) -> int:
        return int(self.mask.sum())

    def padded(self, size: int) -> "ObjectSamples":
        """The same clusters in arrays of `size` rows; padding repeats the first row."""
        n = self.n_objects
        if size < n:
            raise ValueError(f"cannot pad {n} objects to {size} rows")
        rows = np.concatenate([np.arange(n), np.zeros(size - n, int)])
        p = None if self.p is None else self.p[rows]
        moved = None if self.deviations is None else self.deviations[:, rows]
        mask = np.arange(size) < n
        return ObjectSamples(self.theta[:, rows], self.log_weight[rows], mask, p, moved)


@dataclasses.dataclass(frozen=True)
class Points:
    """One point of θ for each object, with an interval: what is binned and shown.

    **Arguments:**

    - `theta`, `low`, `high`: `(n, 3)`; log10 M_sun, log10 yr, mag. Limits hold 68%, NaN where
      nothing is known.
    - `meaning`: what the points are, in words.
    """

    theta: Float[np.ndarray, "n 3"]
    low: Float[np.ndarray, "n 3"]
    high: Float[np.ndarray, "n 3"]
    meaning: str

    @property
    def errors(self) -> Float[np.ndarray, "n 3"]:
        """Half the interval, 0 where nothing is known."""
        half = (self.high - self.low) / 2
        return np.where(np.isfinite(half), np.maximum(half, 0.0), 0.0)


class AbstractObjects(eqx.Module):
    """Clusters that were catalogued, with p(d|θ) of each in a form of its own.

    A form of your own is a class with these attributes and methods; give it to `fit`.

    **Arguments:**

    - `source`: the file or generator that they came from, for messages.
    - `ids`: a different one for each object.
    """

    source: eqx.AbstractVar[str]
    ids: eqx.AbstractVar[np.ndarray]

    @property
    @abc.abstractmethod
    def steps(self) -> tuple[Step, ...]:
        """What was cut on the way, in order."""

    @property
    @abc.abstractmethod
    def exact(self) -> bool:
        """Whether each object is a point without error, for which one sample is enough."""

    @property
    def selects(self) -> bool:
        """Whether what is known of the objects says how they were selected, so that a fit needs no
        operator."""
        return False

    @property
    def survey(self) -> SurveyFacts | None:
        """The survey by whose measurements the objects were selected as well, where it is known:
        an operator beside them must be of that survey, and act on the data."""
        return None

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Axes of θ of which nothing is known of any object."""
        return ()

    @property
    @abc.abstractmethod
    def remedy(self) -> str:
        """What a user can do about objects with too few effective samples."""

    def remedy_for(self, times: float) -> str:
        """The same, where `times` as many samples would be enough. By default `remedy`."""
        del times
        return self.remedy

    def entering(self, selection: AbstractSelection) -> AbstractSelection:
        """`selection`, times the probability of passing the sample's limits, if it has any."""
        return selection

    @abc.abstractmethod
    def inside(self, box: Box) -> "AbstractObjects":
        """The objects that a population inside `box` may have, after `check_bounds`.

        Raises `ValueError` if there are none, if `box` cuts through them, or if what is known of
        them does not reach as far as `box` does.
        """

    @abc.abstractmethod
    def samples(
        self, box: Box, selection: AbstractSelection | None = None, pad: bool = True
    ) -> ObjectSamples:
        """Weighted samples of every object inside `box`, the population's bounds.

        **Arguments:**

        - `selection`: the fit's operator; if it acts on the truth, p_sel multiplies the weights.
        - `pad`: fill up to sizes that many catalogues share.

        Raises `ValueError` for an object without a sample inside.
        """

    def within(self, population: Population, selection: AbstractSelection) -> Any:
        """What the likelihood takes of the objects for a family: `samples` in its bounds.

        `selection`: the fit's operator.
        """
        return self.samples(population.box, selection)

    def expected(
        self,
        population: Population,
        selection: AbstractSelection,
        settings: QuadratureSettings | None = None,
    ) -> CheckedGrid:
        """The expected number of catalogued clusters, as a sum over nodes with a known error: by
        default the quadrature of `selection`.

        `settings`: of the quadrature.
        """
        return checked_grid(selection, population, settings)

    def finer(self) -> "AbstractObjects | None":
        """The same objects with other samples of each, by which the error of these shows: four
        times as many, drawn anew.

        None where they are what they are: draws that were made elsewhere, exact points, grids. The
        error of simulated clusters is known by other means (`library_error`).
        """
        return None

    @abc.abstractmethod
    def points(self) -> Points:
        """One point with an interval for each object."""

    def __len__(self) -> int:
        return len(self.ids)


def padded_size(n: int) -> int:
    """The next of 16, 24, 32, 48, 64, 96, ...: at most a third of the rows is padding."""
    size = 16
    while size < n:
        size = size * 3 // 2 if size & (size - 1) == 0 else size // 3 * 4
    return size


def with_selection(
    theta: Float[np.ndarray, "*shape 3"],
    log_weight: Float[np.ndarray, "*shape"],
    selection: AbstractSelection | None,
) -> Float[np.ndarray, "*shape"]:
    """`log_weight`, plus ln p_sel(θ) of what of the selection acts on the truth."""
    if selection is None or selection.acts_on == "data":
        return log_weight
    # Rows are filled up, so that the programs behind p_sel serve any number of them.
    rows = np.arange(padded_size(len(theta))) % len(theta)
    p = np.asarray(selection.p_object(*np.moveaxis(theta[rows], -1, 0)))[: len(theta)]
    with np.errstate(divide="ignore"):
        return log_weight + np.log(np.maximum(p, 0.0))


def names_of(ids: object) -> np.ndarray:
    """Identifiers as text, bytes read as UTF-8."""
    given = np.asarray(ids)
    return np.strings.decode(given, "utf-8") if given.dtype.kind == "S" else given.astype(str)


def check_ids(source: str, ids: np.ndarray) -> None:
    """Raises `ObjectsError` unless these are one list of different names, and one at least."""
    if ids.ndim != 1 or not len(ids):
        raise ObjectsError(f"{source}: ids have shape {ids.shape}; expected one for each object")
    found, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise ObjectsError(
            f"{source}: the id {found[counts > 1][0]} stands for {counts.max()} objects; expected "
            "different ones"
        )


def check_theta(source: str, theta: Float[np.ndarray, "*shape 3"], of: str) -> None:
    """Raises `ObjectsError` for θ that is not finite, or is in other units than ours."""
    for i, axis in enumerate(AXES):
        column = theta[..., i]
        if bad := int((~np.isfinite(column)).sum()):
            raise ObjectsError(f"{source}: {axis} of {bad} {of} is not finite; drop them")
        low, high = getattr(_SENSIBLE, axis)
        if not column.size or (column.min() >= low and column.max() <= high):
            continue
        raise ObjectsError(
            f"{source}: {axis} of {of} goes from {column.min():g} to {column.max():g}; expected "
            f"{_UNIT_WORDS[axis]}"
        )


_UNIT_WORDS = {
    "log_mass": "log10 of solar masses",
    "log_age": "log10 of years (8 is 100 Myr)",
    "a_v": "mag",
}
