"""Draws from each object's own posterior, with the prior under which they were made.

If θ_ij are S_i draws from p(θ|d_i) ∝ p(d_i|θ) π(θ), then

    ∫ p(d_i|θ) λ(θ) dθ ∝ 1/S_i Σ_j λ(θ_ij) / π(θ_ij),

whatever π is, so long as it reaches wherever λ does (Hogg, Myers & Bovy 2010, arXiv:1008.4146,
equation 11; Mandel, Farr & Gair 2019, arXiv:1809.02063). This is what an SED fit gives: CIGALE,
BEAST, cluster_slug, or a flow.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import equinox as eqx
import h5py
import numpy as np
from jaxtyping import Float, Int

from starcensus.files import FileError, Path
from starcensus.hdf5 import Format, read_json_attribute
from starcensus.text_tables import any_table
from starcensus.theta import AXES, AXIS_UNITS, Box

from ...selection import AbstractSelection, SurveyFacts
from ...selection.catalogue import Step
from ...selection.finder import FinderPosteriors
from ...selection.posterior import ThetaDraws
from ._base import (
    AbstractObjects,
    ObjectSamples,
    ObjectsError,
    Points,
    check_ids,
    check_theta,
    names_of,
    padded_size,
    with_selection,
)
from .bounds import check_bounds
from .taught import Taught

if TYPE_CHECKING:
    from astropy.table import Table

POSTERIORS = Format(
    "starcensus-posteriors",
    1,
    "file of posterior draws",
    "`write_posteriors` writes one, and docs/likelihood.md says what it holds",
    ObjectsError,
)
COLUMNS = ("object_id", *AXES, "log_prior")
_MIN_SHARE_INSIDE = 1e-3


class PosteriorDraws(AbstractObjects):
    """Draws of θ from the posterior of each object; objects may have different numbers of them.

    **Arguments:**

    - `source`: where they came from, for messages.
    - `ids`: one for each object, all different.
    - `counts`: `(n,)`, number of draws of each object.
    - `theta`: `(draw, 3)`, all draws, object after object: log10 M_sun, log10 yr, mag.
    - `log_prior`: `(draw,)`, ln π(θ) at each draw, the density *per dex, dex and mag* of the prior
      under which the draws were made. A constant may be missing from it. A prior flat in mass, not
      in its logarithm, has ln π = ln(10) log_mass here.
    - `support`: where that prior is not zero; a fit whose bounds reach further is refused. None:
      not known, and not checked.
    - `cuts`: what was cut on the way.
    - `taught`: what a network was taught, against which an operator is checked.
    - `learned_for`: the survey whose data both made the posteriors and decided what is catalogued,
      as far as it is known: an operator beside them must be its own, and act on the data. None: of
      posteriors that do not say.

    Raises `ObjectsError` for objects without draws, θ that is not finite or in other units, and
    π that is not finite and positive.

    ```python
    rng = np.random.default_rng(0)
    draws = [rng.normal([4.0, 7.5, 0.5], 0.1, (100, 3)), rng.normal([4.5, 8.2, 0.3], 0.1, (80, 3))]
    objects = PosteriorDraws.from_arrays(["a", "b"], draws, [np.zeros(100), np.zeros(80)])
    objects.samples(population.box).log_weight.shape
    ```
    """

    source: str
    ids: np.ndarray = eqx.field(converter=names_of)
    counts: Int[np.ndarray, " n"]
    theta: Float[np.ndarray, "draw 3"]
    log_prior: Float[np.ndarray, " draw"]
    support: Box | None = None
    cuts: tuple[Step, ...] = ()
    taught: Taught | None = None
    learned_for: SurveyFacts | None = None

    def __check_init__(self) -> None:
        check_ids(self.source, self.ids)
        if len(self.counts) != len(self.ids):
            raise ObjectsError(
                f"{self.source}: {len(self.ids)} objects and {len(self.counts)} numbers of draws"
            )
        if (empty := np.flatnonzero(self.counts < 1)).size:
            raise ObjectsError(
                f"{self.source}: {len(empty)} objects have no draws, the first is "
                f"{self.ids[empty[0]]}; leave them out, and let the selection say so"
            )
        n = int(self.counts.sum())
        if len(self.theta) != n or len(self.log_prior) != n:
            raise ObjectsError(
                f"{self.source}: the objects have {n} draws together, but there are "
                f"{len(self.theta)} θ and {len(self.log_prior)} values of ln π"
            )
        check_theta(self.source, self.theta, "draws")
        if (bad := np.flatnonzero(~np.isfinite(self.log_prior))).size:
            raise ObjectsError(
                f"{self.source}: ln π is not finite at {len(bad)} draws, the first is one of "
                f"object {self.ids[self._owner()[bad[0]]]}; a posterior has no draws where its "
                "prior is zero: check ln π"
            )
        if self.support is not None and (outside := ~self.support.holds(self.theta)).any():
            first = int(np.flatnonzero(outside)[0])
            raise ObjectsError(
                f"{self.source}: {int(outside.sum())} draws lie outside the support of their prior "
                f"{self.support.as_dict()}, the first is one of object "
                f"{self.ids[self._owner()[first]]} at (log_mass, log_age, a_v) = "
                f"({', '.join(f'{x:.4g}' for x in self.theta[first])})"
            )

    @classmethod
    def of_finder(cls, found: FinderPosteriors, source: str) -> "PosteriorDraws":
        """What a network with densities says of the clusters that it found.

        Raises `ValueError` for a network that has bins alone: see `GridPosteriors.of_finder`.

        ```python
        from starcensus.networks.cnn import Grid
        from starcensus.selection.finder import FinderPosteriors

        n = Grid().heads()
        flat = np.full((1, n["joint"]), 1 / n["joint"]), np.full((1, n["size"]), 1 / n["size"])
        drawn = np.random.default_rng(1).normal([7.0, 1.0, 4.0, 0.5], 0.1, (1, 100, 4))
        ones = np.ones(n["joint"])
        found = FinderPosteriors(np.array([4]), *flat, flat[0][0], Grid(), ones, drawn)
        PosteriorDraws.of_finder(found, "a network").counts
        ```
        """
        theta, log_prior = found.theta_draws()
        names, axes = np.asarray(found.ids).astype(str), (getattr(found.grid, n) for n in AXES)
        return cls(
            source,
            names,
            np.full(len(names), theta.shape[1]),
            theta.reshape(-1, len(AXES)),
            log_prior.ravel(),
            Box(*((axis.low, axis.high) for axis in axes)),
            taught=Taught(*found.taught_grid()),
            learned_for=SurveyFacts(),
        )

    @classmethod
    def of_learned(cls, drawn: ThetaDraws, source: str) -> "PosteriorDraws":
        """What was learned of catalogued clusters from artificial ones.

        The prior is even, so that ln π is 0.

        ```python
        drawn = posterior.draw(found, 200, accept=("pipeline",))
        PosteriorDraws.of_learned(drawn, "a survey").counts
        ```
        """
        n, n_draws = drawn.theta.shape[:2]
        return cls(
            source,
            np.asarray(drawn.ids).astype(str),
            np.full(n, n_draws),
            drawn.theta.reshape(-1, len(AXES)),
            np.zeros(n * n_draws),
            drawn.box,
            cuts=drawn.cuts,
            learned_for=drawn.learned_for,
        )

    @classmethod
    def from_arrays(
        cls,
        ids: Sequence[object] | np.ndarray,
        draws: Iterable[Float[np.ndarray, "_ 3"]],
        log_prior: Iterable[Float[np.ndarray, "_"]],
        support: Box | None = None,
        source: str = "posterior draws",
    ) -> "PosteriorDraws":
        """Make it of one array of draws, shape (draw, 3), and one of ln π for each object."""
        each = [np.asarray(d, float).reshape(-1, 3) for d in draws]
        priors = [np.asarray(p, float).ravel() for p in log_prior]
        names = names_of(ids)
        if not len(names) == len(each) == len(priors):
            raise ObjectsError(
                f"{source}: {len(names)} ids, {len(each)} arrays of draws and {len(priors)} of ln π"
            )
        for name, theta, prior in zip(names, each, priors, strict=True):
            if len(theta) != len(prior):
                raise ObjectsError(
                    f"{source}: object {name} has {len(theta)} draws and {len(prior)} ln π"
                )
        counts = np.asarray([len(theta) for theta in each])
        return cls(source, names, counts, np.concatenate(each), np.concatenate(priors), support)

    @classmethod
    def from_table(
        cls,
        table: "Table",
        ids: Sequence[object] | np.ndarray | None = None,
        support: Box | None = None,
        source: str = "table of posterior draws",
    ) -> "PosteriorDraws":
        """Make it of a table with one draw a row, the objects in any order.

        **Arguments:**

        - `table`: an astropy table with the columns `object_id`, `log_mass`, `log_age`, `a_v` and
            `log_prior`. Columns may have units; another than ours is refused.
        - `ids`: the objects that there are, to notice those without draws. None: those of the
            table.

        Raises `ObjectsError` naming the column, the object or the unit that is wrong.
        """
        if missing := [name for name in COLUMNS if name not in table.colnames]:
            raise ObjectsError(
                f"{source}: has no column {', '.join(missing)}; expected {', '.join(COLUMNS)}"
            )
        for name in COLUMNS:
            if np.any(getattr(table[name], "mask", False)):
                raise ObjectsError(f"{source}: {name} is masked in some rows; drop them")
            check_unit(source, name, getattr(table[name], "unit", None))
        columns = {name: np.asarray(table[name]) for name in COLUMNS}
        return cls._from_columns(columns, ids, support, source)

    @classmethod
    def _from_columns(
        cls,
        columns: dict[str, np.ndarray],
        ids: Sequence[object] | np.ndarray | None,
        support: Box | None,
        source: str,
    ) -> "PosteriorDraws":
        owners = names_of(columns["object_id"])
        if not len(owners):
            raise ObjectsError(f"{source}: has no rows")
        found, first, owner = np.unique(owners, return_index=True, return_inverse=True)
        names = found[np.argsort(first)] if ids is None else names_of(ids)
        if unknown := sorted(set(found) - set(names)):
            raise ObjectsError(
                f"{source}: has draws of {unknown[0]}, which is none of the {len(names)} objects"
            )
        place = {name: i for i, name in enumerate(names)}
        row_of = np.asarray([place[name] for name in found], int)[owner]
        order = np.argsort(row_of, kind="stable")
        try:
            theta = np.stack([columns[axis].astype(float) for axis in AXES], axis=1)
            log_prior = columns["log_prior"].astype(float)
        except (TypeError, ValueError) as error:
            raise ObjectsError(
                f"{source}: a column is not of numbers: {str(error)[:200]}"
            ) from error
        counts = np.bincount(row_of, minlength=len(names))
        return cls(source, names, counts, theta[order], log_prior[order], support)

    def thinned(self, n: int) -> "PosteriorDraws":
        """At most n draws of each object, evenly spaced among those that it has."""
        if n < 1:
            raise ValueError(f"n = {n}; expected at least one draw")
        starts = np.cumsum(self.counts) - self.counts
        rows = [
            start + np.linspace(0, count - 1, min(n, count)).astype(int)
            for start, count in zip(starts, self.counts, strict=True)
        ]
        every = np.concatenate(rows)
        return dataclasses.replace(
            self,
            counts=np.minimum(self.counts, n),
            theta=self.theta[every],
            log_prior=self.log_prior[every],
        )

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.cuts

    @property
    def exact(self) -> bool:
        return False

    @property
    def survey(self) -> SurveyFacts | None:
        return self.learned_for

    @property
    def remedy(self) -> str:
        return "take more draws from their posteriors, or a wider prior"

    def inside(self, box: Box) -> "PosteriorDraws":
        """Skip objects of whose posterior, with the prior divided out, nearly nothing is inside.

        Raises `BoundsError` if `box` cuts through the objects, `ObjectsError` if none is left, or
        if `box` reaches beyond the prior's support.
        """
        self._check_support(box)
        weight = self._flat_weights()
        share = np.bincount(self._owner(), weight * box.holds(self.theta), len(self.ids))
        keep = share > _MIN_SHARE_INSIDE
        if not keep.any():
            raise ObjectsError(
                f"{self.source}: none of the {len(self)} objects has draws inside the population's "
                f"bounds {box.as_dict()}; check the bounds and the units"
            )
        check_bounds(self.source, self._shares(weight, box), self.points().theta, self.ids, box)
        reason = f"more than {_MIN_SHARE_INSIDE:g} of the draws inside the population's bounds"
        step = Step("inside the bounds", len(self), int(keep.sum()), reason)
        rows = keep[self._owner()]
        return dataclasses.replace(
            self,
            ids=self.ids[keep],
            counts=self.counts[keep],
            theta=self.theta[rows],
            log_prior=self.log_prior[rows],
            cuts=(*self.cuts, step),
        )

    def samples(
        self, box: Box, selection: AbstractSelection | None = None, pad: bool = True
    ) -> ObjectSamples:
        """Weights 1/(π S_i): draws outside `box` count among S_i and are left out, for λ is 0."""
        self._check_support(box)
        if self.taught is not None and selection is not None:
            self.taught.check(self.source, box, selection)
        owner, within = self._owner(), box.holds(self.theta)
        inside = np.bincount(owner[within], minlength=len(self.ids))
        if (none := np.flatnonzero(inside == 0)).size:
            raise ObjectsError(
                f"{self.source}: {len(none)} objects have no draws inside {box.as_dict()}, the "
                f"first is {self.ids[none[0]]}; `inside` leaves them out"
            )
        log_weight = -self.log_prior - np.log(self.counts)[owner]
        theta, log_weight, owner = self.theta[within], log_weight[within], owner[within]
        log_weight = with_selection(theta, log_weight, selection)
        width = padded_size(int(inside.max())) if pad else int(inside.max())
        starts = np.cumsum(inside) - inside
        # Padding repeats an object's first draw, so that ln λ and its gradient are finite there.
        every = np.repeat(theta[starts][:, None], width, axis=1)
        weights = np.full(every.shape[:2], -np.inf)
        column = np.arange(len(owner)) - starts[owner]
        every[owner, column] = theta
        weights[owner, column] = log_weight
        by_axis = np.ascontiguousarray(np.moveaxis(every, -1, 0))
        samples = ObjectSamples(by_axis, weights, np.ones(len(self), bool))
        return samples.padded(padded_size(len(self))) if pad else samples

    def points(self) -> Points:
        """Means of the posteriors after their prior is divided out, and their central 68%.

        So they scatter about the truth as a measurement does; means under π would be drawn to it.
        """
        weight, owner, n = self._flat_weights(), self._owner(), len(self.ids)
        means = [np.bincount(owner, weight * column, n) for column in self.theta.T]
        limits = np.empty((2, n, 3))
        for axis, column in enumerate(self.theta.T):
            order = np.lexsort((column, owner))
            below = np.cumsum(weight[order]) - weight[order] / 2
            for i, level in enumerate((0.16, 0.84)):
                at = np.searchsorted(below, np.arange(n) + level)
                first = np.cumsum(self.counts) - self.counts
                at = np.clip(at, first, first + self.counts - 1)
                limits[i, :, axis] = column[order][at]
        words = "means and 68% of the objects' posteriors, with their prior divided out"
        return Points(np.stack(means, axis=1), limits[0], limits[1], words)

    def _shares(self, weight: Float[np.ndarray, " draw"], box: Box) -> Float[np.ndarray, "n 3 2"]:
        """Share of each object below and above `box`; n draws cannot tell less than 1/(2n)."""
        owner, least = self._owner(), 0.5 / self.counts
        sides = [
            [np.bincount(owner, weight * beyond, len(self.ids)) for beyond in (x < low, x > high)]
            for x, (low, high) in zip(self.theta.T, box.as_dict().values(), strict=True)
        ]
        shares = np.moveaxis(np.asarray(sides), -1, 0)
        return np.clip(shares, least[:, None, None], 1 - least[:, None, None])

    def _owner(self) -> Int[np.ndarray, " draw"]:
        return np.repeat(np.arange(len(self.ids)), self.counts)

    def _flat_weights(self) -> Float[np.ndarray, " draw"]:
        """1/π of each draw, with the sum 1 over those of its object."""
        owner = self._owner()
        starts = np.cumsum(self.counts) - self.counts
        largest = np.maximum.reduceat(-self.log_prior, starts)
        weight = np.exp(-self.log_prior - largest[owner])
        return weight / np.add.reduceat(weight, starts)[owner]

    def _check_support(self, box: Box) -> None:
        complaints = [] if self.support is None else box.exceeds(self.support)
        if complaints:
            raise ObjectsError(
                f"{self.source}: the population's bounds reach beyond the prior under which the "
                f"draws were made: {'; '.join(complaints)}; nothing is known there: narrow the "
                "bounds"
            )


def read_posteriors(path: Path, ids: Sequence[object] | np.ndarray | None = None) -> PosteriorDraws:
    r"""Read draws from HDF5 (what `write_posteriors` writes), or from a table that astropy reads.

    **Arguments:**

    - `path`: HDF5 for `.h5` and `.hdf5`, else a table with the columns of
      `PosteriorDraws.from_table`: ECSV, FITS, or text with a header.
    - `ids`: as in `PosteriorDraws.from_table`.

    Raises `ObjectsError` for a file that cannot be read or used.

    ```python
    rows = ["object_id,log_mass,log_age,a_v,log_prior"]
    rows += ["a,4.0,7.5,0.5,0.0", "a,4.1,7.4,0.6,0.0", "b,4.5,8.2,0.3,0.0"]
    write_text("draws.csv", "\n".join(rows))
    read_posteriors("draws.csv").counts
    ```
    """
    source = pathlib.Path(path)
    if source.suffix not in (".h5", ".hdf5"):
        try:
            table = any_table(source, POSTERIORS.what)
        except FileError as error:
            raise ObjectsError(str(error)) from error
        return PosteriorDraws.from_table(table, ids, source=source.name)
    with POSTERIORS.open(source) as file:
        columns = {}
        for name in COLUMNS:
            data = file.get(name)
            if not isinstance(data, h5py.Dataset) or data.ndim != 1:
                raise ObjectsError(f"{source}: has no column {name}; {POSTERIORS.remedy}")
            check_unit(source.name, name, data.attrs.get("unit"))
            columns[name] = data.asstr()[:] if data.dtype.kind == "O" else data[:]
        if len({len(column) for column in columns.values()}) != 1:
            raise ObjectsError(f"{source}: its columns have different lengths")
        support = None
        if "support" in file.attrs:
            try:
                support = Box.from_dict(read_json_attribute(file, "support"))
            except (TypeError, ValueError, AttributeError) as error:
                raise ObjectsError(f"{source}: its `support` is no box: {error}") from error
    return PosteriorDraws._from_columns(columns, ids, support, source.name)


def write_posteriors(objects: PosteriorDraws, path: Path) -> None:
    """Write draws as HDF5: the columns `object_id`, `log_mass`, `log_age`, `a_v`, `log_prior`.

    Raises `FileError` where the file cannot be written.

    ```python
    draws = np.random.default_rng(0).normal([4.0, 7.5, 0.5], 0.1, (100, 3))
    write_posteriors(PosteriorDraws.from_arrays(["a"], [draws], [np.zeros(100)]), "draws.h5")
    ```
    """
    import json

    with POSTERIORS.create(path) as file:
        names = np.repeat(objects.ids, objects.counts).astype("S")
        file.create_dataset("object_id", data=names, compression="gzip", shuffle=True)
        for i, axis in enumerate(AXES):
            made = file.create_dataset(axis, data=objects.theta[:, i], compression="gzip")
            made.attrs["unit"] = "mag" if axis == "a_v" else ""
        file.create_dataset("log_prior", data=objects.log_prior, compression="gzip")
        if objects.support is not None:
            file.attrs["support"] = json.dumps(objects.support.as_dict())


def check_unit(source: str, name: str, unit: object) -> None:
    """Raises `ObjectsError` for a column whose unit contradicts its name."""
    import astropy.units as u

    if unit is None or name == "object_id" or str(unit).strip() in ("", "dex"):
        return
    ours = {"log_mass": u.dex(u.Msun), "log_age": u.dex(u.yr), "a_v": u.mag}.get(name)
    try:
        given = u.Unit(str(unit))
    except (TypeError, ValueError):
        given = None
    if ours is not None and given == ours:
        return
    if str(unit) == AXIS_UNITS.get(name):
        return
    raise ObjectsError(
        f"{source}: the unit of {name} is {str(unit)[:100]}; expected "
        f"{AXIS_UNITS.get(name, 'none, for ln of a density per dex, dex and mag')}"
    )
