"""Objects of which a survey measured the light: p(d|θ) by a learned density of it.

With p(μ|θ) a mixture of Gaussians, p(m|θ) = ∫ N(m; μ, S) p(μ|θ) dμ is a closed form for a Gaussian
of what was measured, S. What a survey records is a Gaussian of magnitudes to first order alone:
fluxes have the noise, some bands are not detected, some models are learned. So true magnitudes are
drawn from the exact p(μ | m, θ), and weighted by how much the survey's own density differs:

    ∫ p(d_i, det | θ) λ(θ) dθ ≈ Σ_j λ(θ_ij) p(m_i | θ_ij) / (n q_i(θ_ij)) · r_ij,
    r_ij = p(d_i, det | μ_ij) / N(m_i; μ_ij, S_i),

with θ_ij drawn from q_i, near the object's own posterior, and μ_ij from p(μ | m_i, θ_ij). It is
unbiased whatever the observation model; for Gaussian magnitudes the last factor is 1.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from starcensus.settings import check_seed
from starcensus.theta import AXES, Box

from ...forward import Population, QuadratureSettings
from ...forward.light import LightEmulator
from ...forward.light.mixture import Components, log_density
from ...selection import AbstractSelection
from ...selection.catalogue import Step
from ...selection.catalogue.photometry import Photometry
from ...selection.observation import AbstractObservation
from ...simulate import CellTheta, Design, Pool
from ._base import (
    ObjectSamples,
    ObjectsError,
    Points,
    check_ids,
    names_of,
    padded_size,
)
from .adaptive import FIRST_WIDENED, adapted
from .bounds import check_bounds
from .kernel import apparent
from .measured import MeasuredLight
from .nodes import rules_of_box
from .pool_grid import PoolGrid
from .rows import SLOPES
from .targeted import CellEdges, smoothed_cells, wide_cells

# Objects that are looked at together.
_OBJECTS = 128
_CELLS = 0.2, 0.2, 0.25
# Of the clusters of the expected number, those that cover the bounds.
_WIDE = 0.3


@dataclasses.dataclass(frozen=True)
class EmulatedSettings:
    """How many points stand for each object, and for the expected number.

    **Arguments:**

    - `n_samples`: points of θ of each object. `n_first`: points that all objects share at first.
    - `n_expected`: clusters that are drawn for the expected number.
    - `panels`: dex, dex and mag, widest panels of its rule. `order`: nodes in each.
    - `seed`: of everything random.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    EmulatedSettings(n_samples=512)
    ```
    """

    n_samples: int = 256
    n_first: int = 4096
    n_expected: int = 300_000
    panels: tuple[float, float, float] = (0.2, 0.15, 0.2)
    order: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.n_samples < 32 or self.n_first < 512 or self.n_expected < 1000:
            raise ValueError(
                f"n_samples is {self.n_samples}, n_first {self.n_first} and n_expected "
                f"{self.n_expected}; expected at least 32, 512 and 1000"
            )
        if min(self.panels) <= 0 or self.order < 2:
            raise ValueError(
                f"panels are {self.panels}, order is {self.order}; expected widths above 0, and 2 "
                "nodes or more"
            )


class EmulatedObjects(MeasuredLight):
    """Clusters with measured light, and an emulator that explains them.

    **Arguments:**

    - `data`: what was recorded of each.
    - `observation`: the survey; it judges what it records and what it catalogues.
    - `emulator`: of light, in the survey's bands at least.
    - `box`: where clusters may be, inside of what the emulator knows; by default all of it.
    - `settings`: numbers of points.

    Raises `ObjectsError` for data that the observation model cannot have recorded, and for bands
    and bounds that the emulator does not know.

    ```python
    few = EmulatedSettings(n_samples=32, n_first=512, n_expected=1000)
    EmulatedObjects(light, survey, default_emulator(), settings=few).points().theta
    ```
    """

    data: Photometry
    observation: AbstractObservation
    emulator: LightEmulator
    box: Box | None = None
    settings: EmulatedSettings = EmulatedSettings()
    cuts: tuple[Step, ...] = ()
    drawn: ObjectSamples | None = None
    pool: Pool | None = None
    p_rows: Float[np.ndarray, " row"] | None = None
    ids: np.ndarray = eqx.field(init=False)
    source: str = eqx.field(init=False)

    def __post_init__(self) -> None:
        self.ids = names_of(self.data.ids)
        self.source = self.data.source
        check_ids(self.source, self.ids)
        self.box = self.emulator.box if self.box is None else self.box
        try:
            self.emulator.columns(self.observation.bands)
            self.observation.check(self.data)
        except ValueError as error:
            raise ObjectsError(str(error)) from error
        if complaints := self.box.exceeds(self.emulator.box):
            raise ObjectsError(
                f"{self.source}: the bounds reach beyond what the emulator was taught: "
                f"{'; '.join(complaints)}; narrow them, or learn an emulator there"
            )
        if self.drawn is None:
            self.drawn = _sampled(self)
        if self.pool is None:
            self.pool, self.p_rows = _expected_clusters(
                self.emulator, self.observation, self.box, self.settings
            )

    @property
    def steps(self) -> tuple[Step, ...]:
        return (*self.data.steps, *self.cuts)

    @property
    def remedy(self) -> str:
        return "take more points of each (n_samples)"

    def expected(
        self,
        population: Population,
        selection: AbstractSelection,
        settings: QuadratureSettings | None = None,
    ) -> PoolGrid:
        """Of clusters drawn from the emulator; `ObjectsError` if they do not cover the bounds, or
        for objects of a part of the survey whose selection is not known."""
        self._check_expected()
        self._check_covers(population.box)
        assert self.pool is not None and self.p_rows is not None
        panels, order = self.settings.panels, self.settings.order
        rules = rules_of_box(population.box, panels, order, population.extinction.corners())
        facts = self.observation.learned_for
        beyond = self.observation.beyond(apparent(self.pool, self.observation))
        return PoolGrid.of(self.pool, self.p_rows, population.box, rules, facts, beyond)

    def inside(self, box: Box) -> "EmulatedObjects":
        """The objects, after `check_bounds`; every one must have points inside `box`.

        Raises `BoundsError` if `box` cuts through the objects, `ObjectsError` if it reaches beyond
        where clusters may be, or for objects that no cluster inside is like.
        """
        self._check_covers(box)
        weights = self._weights(box)
        if (none := np.flatnonzero(weights.sum(axis=1) <= 0)).size:
            shown = ", ".join(str(self.ids[i]) for i in none[:5])
            raise ObjectsError(
                f"{self.source}: {len(none)} of {len(self)} clusters are like none that the "
                f"emulator gives inside {box.as_dict()}: {shown}{', …' if none.size > 5 else ''}; "
                "the stars, the dust, the errors or the bounds cannot explain them: widen what may "
                "be wrong, or leave them out with a cut that the report names"
            )
        check_bounds(self.source, self._shares(box), self.points().theta, self.ids, box)
        reason = "some cluster inside the bounds is like it"
        step = Step("inside the bounds", len(self), len(self), reason)
        return dataclasses.replace(self, cuts=(*self.cuts, step))

    def taking(self, kept: np.ndarray) -> "EmulatedObjects":
        """Those of a mask, with the points that they had.

        ```python
        few = EmulatedSettings(n_samples=32, n_first=512, n_expected=1000)
        EmulatedObjects(light, survey, default_emulator(), settings=few).taking(
            np.arange(len(light)) > 0
        )
        ```
        """
        drawn = ObjectSamples(self._drawn.theta[:, kept], self._drawn.log_weight[kept],
                              np.ones(int(kept.sum()), bool))  # fmt: skip
        return dataclasses.replace(self, data=self.data.take(kept), drawn=drawn)

    def samples(
        self, box: Box, selection: AbstractSelection | None = None, pad: bool = True
    ) -> ObjectSamples:
        """Points of every object; those outside `box` have no weight. `selection` is of no effect:
        the observation model is in the weights."""
        self._check_covers(box)
        theta = np.asarray(self._drawn.theta)
        inside = _holds(box, np.moveaxis(theta, 0, -1))
        log_weight = np.where(inside, np.asarray(self._drawn.log_weight), -np.inf)
        # A point outside stands at one of the object's inside, where λ is known.
        there = np.argmax(log_weight, axis=1)
        kept = np.take_along_axis(theta, there[None, :, None], axis=2)
        theta = np.where(np.isfinite(log_weight)[None], theta, kept)
        if not np.isfinite(log_weight).any(axis=1).all():
            raise ObjectsError(
                f"{self.source}: some objects have nothing inside {box.as_dict()}; `inside` names "
                "them"
            )
        made = ObjectSamples(theta, log_weight, np.ones(len(self), bool))
        return made.padded(padded_size(len(self))) if pad else made

    def finer(self) -> "EmulatedObjects":
        """With four times as many points of each, drawn anew."""
        settings = dataclasses.replace(
            self.settings, n_samples=4 * self.settings.n_samples, seed=self.settings.seed + 1
        )
        return dataclasses.replace(self, settings=settings, drawn=None)

    def effective(self) -> Float[np.ndarray, " n"]:
        """Effective points of each object under dN/dM ∝ M⁻², dN/dT ∝ T^(−1/2).

        ```python
        few = EmulatedSettings(n_samples=32, n_first=512, n_expected=1000)
        EmulatedObjects(light, survey, default_emulator(), settings=few).effective().min()
        ```
        """
        assert self.box is not None
        weights = self._weights(self.box)
        squares = (weights**2).sum(axis=1)
        return weights.sum(axis=1) ** 2 / np.where(squares > 0, squares, 1.0)

    def points(self) -> Points:
        """Means and central 68% under dN/dM ∝ M⁻², dN/dT ∝ T^(−1/2), flat in a_v."""
        assert self.box is not None
        weights = self._weights(self.box)
        total = weights.sum(axis=1, keepdims=True)
        weights = weights / np.where(total > 0, total, 1.0)
        theta = np.moveaxis(np.asarray(self._drawn.theta), 0, -1)
        means = np.einsum("ns,nsa->na", weights, theta)
        limits = np.full((2, len(self), 3), np.nan)
        for axis in range(3):
            order = np.argsort(theta[:, :, axis], axis=1)
            x = np.take_along_axis(theta[:, :, axis], order, axis=1)
            below = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
            for k, level in enumerate((0.16, 0.84)):
                at = np.minimum((below < level).sum(axis=1), x.shape[1] - 1)
                limits[k, :, axis] = np.take_along_axis(x, at[:, None], axis=1)[:, 0]
        unknown = total[:, 0] <= 0
        means[unknown], limits[:, unknown] = np.nan, np.nan
        words = "means and 68% of each object under dN/dM ~ M^-2, dN/dT ~ T^-1/2, any extinction"
        return Points(means, limits[0], limits[1], words)

    @property
    def _drawn(self) -> ObjectSamples:
        assert self.drawn is not None
        return self.drawn

    def _weights(self, box: Box) -> Float[np.ndarray, "n s"]:
        """Under the reference, relative to the largest of each object; 0 outside `box`."""
        theta = np.moveaxis(np.asarray(self._drawn.theta), 0, -1)
        log_w = np.asarray(self._drawn.log_weight) + theta @ np.asarray(SLOPES)
        log_w = np.where(_holds(box, theta), log_w, -np.inf)
        top = log_w.max(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(log_w), np.exp(log_w - top), 0.0)

    def _shares(self, box: Box) -> Float[np.ndarray, "n 3 2"]:
        """Share of each object below and above `box`."""
        assert self.box is not None
        weights = self._weights(self.box)
        weights = weights / weights.sum(axis=1, keepdims=True)
        theta = np.asarray(self._drawn.theta)
        sides = [
            [(weights * out).sum(axis=1) for out in (x < low, x > high)]
            for x, (low, high) in zip(theta, box.as_dict().values(), strict=True)
        ]
        return np.moveaxis(np.asarray(sides), -1, 0)

    def _check_covers(self, box: Box) -> None:
        assert self.box is not None
        if complaints := box.exceeds(self.box):
            raise ObjectsError(
                f"{self.source}: the population's bounds reach beyond where clusters may be: "
                f"{'; '.join(complaints)}; narrow the bounds, or widen those of the light"
            )


def _holds(box: Box, theta: Float[np.ndarray, "n s 3"]) -> np.ndarray:
    return box.holds(theta.reshape(-1, 3)).reshape(theta.shape[:2])


def _sampled(objects: EmulatedObjects) -> ObjectSamples:
    """Points of every object with their weights."""
    settings, data, observation = objects.settings, objects.data, objects.observation
    emulator, box = objects.emulator, objects.box
    assert box is not None
    mags, errors, common = _as_gaussians(objects)
    theta = np.empty((3, len(data), settings.n_samples))
    log_weight = np.empty(theta.shape[1:])
    first = _first(box, settings)
    columns = emulator.columns(observation.bands)
    slopes = np.asarray(SLOPES)

    def target(
        rows: Int[np.ndarray, " n"], at: Float[np.ndarray, "n s 3"], widened: float
    ) -> Float[np.ndarray, "n s"]:
        each, flat = np.repeat(rows, at.shape[1]), at.reshape(-1, 3)
        own, shared = np.hypot(errors[each], widened), np.hypot(common[each], widened)
        found = emulator.log_prob(flat, mags[each], own, shared)
        return (found + flat @ slopes).reshape(at.shape[:2])

    log_first = _first_look(emulator, first, mags, errors, common) + first @ slopes
    for start in range(0, len(data), _OBJECTS):
        rows = np.arange(start, min(start + _OBJECTS, len(data)))
        rng = np.random.default_rng([settings.seed, 61, start])
        made = adapted(
            first,
            log_first[rows],
            lambda own, at, widened, rows=rows: target(rows[own], at, widened),
            box,
            settings.n_samples,
            rng,
        )
        each, flat = np.repeat(rows, settings.n_samples), made.theta.reshape(-1, 3)
        log_p, true = emulator.given(flat, mags[each], errors[each], common[each], rng)
        seen = true[:, columns] + observation.distance_modulus
        ratio = observation.log_prob(data, each, seen)
        ratio = ratio - _log_gaussian(mags[each] - true, errors[each], common[each])
        log_w = (log_p + ratio).reshape(made.log_density.shape) - made.log_density
        theta[:, rows] = np.moveaxis(made.theta, -1, 0)
        log_weight[rows] = np.where(np.isnan(log_w), -np.inf, log_w) - np.log(settings.n_samples)
    return ObjectSamples(theta, log_weight, np.ones(len(data), bool))


def _as_gaussians(
    objects: EmulatedObjects,
) -> tuple[Float[np.ndarray, "n band"], Float[np.ndarray, "n band"], Float[np.ndarray, " n"]]:
    """Absolute magnitudes in the emulator's bands, NaN where nothing is known, their errors, and
    those that all bands share: a Gaussian as wide as the truth may be."""
    reach = objects.observation.reach(objects.data)
    shape = len(objects.data), len(objects.emulator.bands)
    mags, errors = np.full(shape, np.nan), np.full(shape, np.nan)
    columns = objects.emulator.columns(objects.observation.bands)
    known = np.isfinite(reach.centre) & np.isfinite(reach.sd)
    mags[:, columns] = np.where(known, reach.centre - objects.observation.distance_modulus, np.nan)
    errors[:, columns] = np.where(known, reach.sd, np.nan)
    return mags, errors, np.asarray(reach.common, float)


def _first(box: Box, settings: EmulatedSettings) -> Float[np.ndarray, "m 3"]:
    from scipy.stats import qmc  # slow to import

    ends = np.array(list(box.as_dict().values()))
    rng = np.random.default_rng([settings.seed, 67])
    n = 1 << (settings.n_first - 1).bit_length()
    return ends[:, 0] + (ends[:, 1] - ends[:, 0]) * qmc.Sobol(3, rng=rng).random(n)


def _first_look(
    emulator: LightEmulator,
    first: Float[np.ndarray, "m 3"],
    mags: Float[np.ndarray, "n band"],
    errors: Float[np.ndarray, "n band"],
    common: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "n m"]:
    """ln of each object's likelihood at points that all share, with wider errors."""
    there = np.isfinite(mags)
    variance = np.where(there, errors**2 + FIRST_WIDENED**2, 1.0)
    single = [
        x.astype(np.float32)
        for x in (np.where(there, mags, 0.0), variance, there, common**2 + FIRST_WIDENED**2)
    ]
    of = emulator.components(jnp.asarray(first.T, jnp.float32), emulator.parts(jnp.float32))
    return np.asarray(_looked(of, *single), float)


@jax.jit
def _looked(
    of: Components,
    mags: Float[Array, "n band"],
    variance: Float[Array, "n band"],
    there: Float[Array, "n band"],
    common: Float[Array, " n"],
) -> Float[Array, "n m"]:
    shape = of.mean.shape[1:]

    def one(row: tuple[Array, Array, Array, Array]) -> Float[Array, " m"]:
        m, v, t, c = row
        each = [jnp.broadcast_to(x[:, None], shape) for x in (m, v, t)]
        return log_density(of, each[0], each[1], each[2], c)

    return jax.lax.map(one, (mags, variance, there, common))


def _log_gaussian(
    away: Float[np.ndarray, "n band"],
    errors: Float[np.ndarray, "n band"],
    common: Float[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    """ln N(away; 0, diag(errors²) + common²) over the bands that are known."""
    there = np.isfinite(away) & np.isfinite(errors)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(there, 1.0 / errors**2, 0.0)
        log_det = np.where(there, 2 * np.log(errors), 0.0).sum(axis=1)
    x = np.where(there, away, 0.0)
    total, cross = weight.sum(axis=1), (weight * x).sum(axis=1)
    grown = 1.0 + common**2 * total
    square = (weight * x**2).sum(axis=1) - common**2 * cross**2 / grown
    n = there.sum(axis=1)
    return -0.5 * (square + log_det + np.log(grown) + n * np.log(2 * np.pi))


def _expected_clusters(
    emulator: LightEmulator,
    observation: AbstractObservation,
    box: Box,
    settings: EmulatedSettings,
) -> tuple[Pool, Float[np.ndarray, " row"]]:
    """Clusters of the emulator where the survey catalogues some, and P(det | μ) of each.

    A fifth as many explore where these are, and take no part.
    """
    each = [
        np.linspace(low, high, max(1, round((high - low) / width)) + 1)
        for (low, high), width in zip(box.as_dict().values(), _CELLS, strict=True)
    ]
    edges: CellEdges = (each[0], each[1], each[2])
    wide = wide_cells(edges, -1.5)
    explored, p = _of_cells(
        emulator, observation, edges, wide, settings.n_expected // 5, settings, 1
    )
    weight = p * np.exp(explored.log_weight + explored.theta @ np.asarray(SLOPES))
    # The scatter of the sum is least where clusters are drawn as its terms' root mean squares.
    total = np.histogramdd(explored.theta, edges, weights=weight)[0]
    found = smoothed_cells(total / total.sum()) if total.sum() > 0 else wide
    shares = _WIDE * wide + (1 - _WIDE) * found
    return _of_cells(emulator, observation, edges, shares, settings.n_expected, settings, 2)


def _of_cells(
    emulator: LightEmulator,
    observation: AbstractObservation,
    edges: CellEdges,
    shares: np.ndarray,
    n: int,
    settings: EmulatedSettings,
    number: int,
) -> tuple[Pool, Float[np.ndarray, " row"]]:
    cells = CellTheta(edges, shares)
    [seed] = np.random.SeedSequence([settings.seed, 71, number]).generate_state(1, np.uint64)
    design = Design(n, int(seed >> np.uint64(2)), cells)
    rows = design.rows(0, n)
    theta = np.stack([rows[axis] for axis in AXES], axis=1)
    mags = emulator.draw(theta, np.random.default_rng([settings.seed, 73, number]))
    pool = Pool(
        observation.bands,
        theta,
        mags[:, emulator.columns(observation.bands)].astype(np.float32),
        -rows["log_density"] - np.log(n),
        np.arange(n),
        Box(*cells.bounds().values()),
    )
    return pool, np.asarray(observation.p_sel(apparent(pool, observation)), float)
