"""The observation model that was learned from artificial clusters."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from ..catalogue.photometry import BandState, Photometry
from ..learning.guards import TrainingMarks
from ..operators.facts import SurveyFacts
from ..operators.photometric import PhotometricNetwork
from ._base import OBSERVATIONS, AbstractObservation, Reach, Truths
from ._numbers import draw_recorded, transform
from ._truths import LearnedTruths
from .mixture import MixtureDensity
from .reach import QuotedErrors, ReachTable
from .settings import ObservationSettings

# Distance moduli that are the same, mag.
_SAME_MAG = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Transforms:
    """What was recorded, as probabilities: uniform from 0 to 1 where the model is right.

    **Arguments:**

    - `ci`: `(n,)`, P(c' < c | μ, det); NaN for a model without concentration index.
    - `bands`: `(n, band)`, P(m' < m | μ, c, det) of the band of reference; of the others, given
      its magnitude too. NaN where not recorded.
    - `patterns`: `(n, pattern)`, the probability of each pattern, given c.
    """

    ci: Float[np.ndarray, " n"]
    bands: Float[np.ndarray, "n band"]
    patterns: Float[np.ndarray, "n pattern"]


@OBSERVATIONS.register("learned")
@dataclasses.dataclass(frozen=True, eq=False)
class LearnedObservation(AbstractObservation):
    """P(det | μ) and p(d | μ, det), learned from the same artificial clusters.

    The data d of a cluster are its concentration index, which bands are recorded, and the
    magnitudes of these. A band is recorded that is measured with a quoted error of `max_error` or
    less; another in which somebody looked is not detected, and how probable that is belongs to the
    density; one that nobody looked at is marginalised. Quoted errors have no other part in it.

        p(d, det | μ) = Σ_q w_q P(det | μ, r_q, x_q) p(d | μ, r_q, x_q, det)

    where q are the nodes of `selection.nuisance`; without them, networks that do not take radius r
    and local sky x learned the same sum under the design's distribution of both.

    **Arguments:**

    - `bands`, `distance_modulus`, `learned_for`: see `AbstractObservation`.
    - `selection`: P(det | μ).
    - `density`: p(d | μ, det).
    - `errors`: what the survey quotes, which `draw` gives.
    - `ranges`: where the truth may lie.
    - `max_error`: mag.
    - `settings`: of the training.
    - `losses`: of the training and the validation rows, −ln p(d | μ, det) a row, nats.
    - `marks`: by which the injections of the training are known again.
    - `halves`: the same, each learned from a random half of the injections, see
      `AbstractObservation`; `settings.n_halves` of them.

    Raises `ValueError` for parts that do not fit each other.

    ```python
    mags = np.array([[22.0, 21.8]])
    observation.p_sel(mags), observation.words
    ```
    """

    bands: tuple[str, ...]
    distance_modulus: float
    selection: PhotometricNetwork
    density: MixtureDensity
    errors: QuotedErrors
    ranges: ReachTable
    max_error: float
    learned_for: SurveyFacts | None = None
    settings: ObservationSettings = dataclasses.field(default_factory=ObservationSettings)
    losses: tuple[float, float] = (0.0, 0.0)
    marks: TrainingMarks = dataclasses.field(default_factory=lambda: TrainingMarks(None))
    halves: tuple[AbstractObservation, ...] = ()

    def __post_init__(self) -> None:
        of_selection = 0 if (at := self.selection.nuisance) is None else len(at.names)
        if self.selection.bands != self.bands or len(self.bands) != self.density.shape.n_bands:
            raise ValueError(
                f"the model is of {', '.join(self.bands)}; its operator is of "
                f"{', '.join(self.selection.bands)} and its density of "
                f"{self.density.shape.n_bands} bands: learn both from one table"
            )
        if of_selection != self.density.n_nuisances:
            raise ValueError(
                f"the operator averages over {of_selection} nuisance properties, the density takes "
                f"{self.density.n_nuisances}; expected the same"
            )
        if self.selection.masked or self.selection.outside != "clip":
            raise ValueError(
                f"the operator is masked: {self.selection.masked}, outside="
                f'"{self.selection.outside}"; expected one of all bands with outside="clip"'
            )

    @property
    def words(self) -> str:
        shape = self.density.shape
        field = None if self.learned_for is None else self.learned_for.field
        n = "" if shape.concentration else "no "
        return (
            f"learned from artificial clusters{f' in {field}' if field else ''}: a mixture of "
            f"{shape.n_components} Gaussians of the magnitudes in {len(self.bands)} bands, with "
            f"{n}concentration index"
        )

    def recorded(self, data: Photometry) -> Bool[np.ndarray, "n band"]:
        """Which bands are measured with an error of `max_error` or less.

        ```python
        observation.recorded(seen).all()
        ```
        """
        with np.errstate(invalid="ignore"):
            return data.measured & (data.mag_errors <= self.max_error)

    def patterns(self, data: Photometry) -> Bool[np.ndarray, "n pattern"]:
        """Which of the density's patterns agree with what is known of each cluster."""
        known = data.states != BandState.NOT_OBSERVED
        there = self.recorded(data)
        differ = self.density.patterns[None] != there[:, None]
        return ~(differ & known[:, None]).any(axis=2)

    def passing(self, data: Photometry) -> tuple[Bool[np.ndarray, " n"], str]:
        """Which clusters the survey could have catalogued, as far as their measurements say.

        Those without a concentration index are not cut; `check` refuses them.

        ```python
        observation.passing(seen)[1]
        ```
        """
        shape, words = self.density.shape, ["bands that artificial clusters had together"]
        kept = self.patterns(data).any(axis=1)
        with np.errstate(invalid="ignore"):
            if shape.least_ci is not None and data.ci is not None:
                kept &= ~(data.ci < shape.least_ci)
                words.append(f"CI >= {shape.least_ci:g} mag")
            if shape.faintest is not None:
                kept &= ~(data.mags[:, shape.reference] > shape.faintest)
                words.append(f"{data.bands[shape.reference]} <= {shape.faintest:.3f} mag")
        return kept, "; ".join(words)

    def check(self, data: Photometry) -> None:
        """Raises `ValueError` for data of another survey.

        Refused are other bands, another distance, bands of which nobody says why they have no
        magnitude, missing concentration indices, clusters beyond the survey's own cuts, and bands
        that were never recorded together.

        ```python
        observation.check(seen)
        ```
        """
        shape = self.density.shape
        if data.bands != self.bands:
            raise ValueError(
                f"{data.source}: has the bands {', '.join(data.bands)}; the observation model was "
                f"learned for {', '.join(self.bands)}: `data.select(observation.bands)`, or a "
                "model of these bands"
            )
        modulus = data.distance_modulus
        if modulus is not None and abs(modulus - self.distance_modulus) > _SAME_MAG:
            raise ValueError(
                f"{data.source}: has the distance modulus {modulus:g}; the observation model was "
                f"learned at {self.distance_modulus:g}: inject at the catalogue's distance"
            )
        unknown = (data.states == BandState.UNKNOWN).any(axis=1)
        _refuse(
            data,
            unknown,
            "have bands without a magnitude of which the table does not say why; expected "
            "NOT_OBSERVED or NOT_DETECTED, which say different things: tell the reader",
        )
        if shape.concentration:
            ci = np.full(len(data), np.nan) if data.ci is None else data.ci
            _refuse(
                data,
                ~np.isfinite(ci),
                "have no concentration index, which the observation model uses; read its column, "
                "drop these, or learn with concentration=False",
            )
            if shape.least_ci is not None:
                _refuse(
                    data,
                    ci < shape.least_ci,
                    f"have a concentration index below {shape.least_ci:g} mag, which the survey's "
                    f"own cut excludes (the least is {np.min(ci, initial=np.inf):g}); the "
                    "catalogue was made with other cuts, or its index with other apertures: inject "
                    "with those, or cut at this limit",
                )
        if shape.faintest is not None:
            v = data.mags[:, shape.reference]
            _refuse(
                data,
                data.states[:, shape.reference] == BandState.NOT_OBSERVED,
                f"lie where {self.bands[shape.reference]} was not observed, and the survey's own "
                "cut is on its magnitude; drop them",
            )
            _refuse(
                data,
                v > shape.faintest,
                f"are fainter than {shape.faintest:.3f} in {self.bands[shape.reference]}, which "
                "the survey's own cut excludes; drop them, or inject with the catalogue's limit",
            )
        _refuse(
            data,
            ~self.patterns(data).any(axis=1),
            f"have magnitudes with errors up to {self.max_error:g} in bands that no "
            "artificial cluster had together; drop them, or learn from more injections. "
            f"Together are: {self._known_patterns()}",
        )

    def check_expected(self, data: Photometry) -> None:
        """Raises `ValueError` for clusters where some band was not observed: P(det | μ) is of the
        area that all bands cover.

        ```python
        observation.check_expected(seen)
        ```
        """
        _refuse(
            data,
            (data.states == BandState.NOT_OBSERVED).any(axis=1),
            "lie where some band was not observed, and the observation model knows how many are "
            "catalogued where all bands have data: leave them out (whole = true in [photometry]), "
            "so that the survey is that area",
        )

    def _known_patterns(self) -> str:
        return "; ".join(
            " ".join(b for b, t in zip(self.bands, row, strict=True) if t) or "none"
            for row in self.density.patterns
        )

    def log_prob(
        self, data: Photometry, rows: Int[np.ndarray, " pair"], mags: Float[np.ndarray, "pair band"]
    ) -> Float[np.ndarray, " pair"]:
        """ln p(d, det | μ), of magnitudes in mag and a concentration index in mag.

        Arguments and shapes as of `AbstractObservation.log_prob`. −inf for a cluster without light
        in a recorded band, and for data that the survey cannot have recorded (`check`). In single
        precision: errors are below 1e-3 where the density is not negligible.

        ```python
        rows = np.repeat(np.arange(len(seen)), 3)
        observation.log_prob(seen, rows, seen.mags[rows] + 0.1)
        ```
        """
        return LearnedTruths(self, mags).log_prob(data, rows, np.arange(len(mags)))

    def truths(self, mags: Float[np.ndarray, "row band"]) -> Truths:
        """Clusters of which what no object decides is found once.

        ```python
        rows = np.arange(len(seen))
        observation.truths(seen.mags + 0.1).log_prob(seen, rows, rows)
        ```
        """
        own = type(self).log_prob is LearnedObservation.log_prob
        return LearnedTruths(self, mags) if own else Truths(self, mags)

    def p_sel(self, mags: Float[np.ndarray, "n band"]) -> Float[np.ndarray, " n"]:
        """P(det | μ), averaged over radii and skies; 0 for a cluster without light.

        `mags`: `(n, band)`, true apparent Vega magnitudes. Raises `ValueError` for NaN.

        ```python
        observation.p_sel(np.array([[21.0, 20.8], [29.0, 29.0]]))
        ```
        """
        found = np.asarray(self.selection.simulated().p_sel(mags), float)
        return np.where(np.isposinf(mags).all(axis=1), 0.0, found)

    def beyond(self, mags: Float[np.ndarray, "n band"]) -> Bool[np.ndarray, " n"]:
        """Which clusters with light are fainter, in V or what stands for it, than every injection.

        ```python
        observation.beyond(np.array([[21.0, 20.8], [40.0, 40.0]]))  # False, True
        ```
        """
        return self.selection.beyond(mags) & np.isfinite(mags).any(axis=1)

    def reach(self, data: Photometry) -> Reach:
        """Where the true magnitudes may lie: of the training rows, all but 2 in 10,000 are within 5
        standard deviations.

        ```python
        observation.reach(seen).centre
        ```
        """
        mags = np.where(self.recorded(data), data.mags, np.nan)
        return self.ranges.of(mags, data.ci if self.density.shape.concentration else None)

    def draw(
        self, mags: Float[np.ndarray, "n band"], rng: np.random.Generator
    ) -> tuple[Bool[np.ndarray, " n"], Photometry]:
        """Which clusters are catalogued, `(n,)`, and what is recorded of those.

        Quoted errors are the median of their magnitude; bands that are not recorded are
        NOT_DETECTED. Raises `ValueError` for NaN among `mags`, `(n, band)`.

        ```python
        catalogued, drawn = observation.draw(np.full((100, 2), 21.0), np.random.default_rng(1))
        ```
        """
        further = np.empty((len(mags), 0))
        p = self.p_sel(mags)
        if (nuisance := self.selection.nuisance) is not None:
            # A node first, by its weight; whether it is catalogued follows from it.
            weights = np.asarray(nuisance.weights, float)
            at = rng.choice(len(weights), len(mags), p=weights / weights.sum())
            further = np.asarray(nuisance.values, float)[at]
            members = self.selection.simulated().members(mags, further)
            p = np.where(p > 0, np.asarray(members, float).mean(axis=0), 0.0)
        catalogued = rng.random(len(mags)) < p
        true = mags[catalogued]
        seen, ci = draw_recorded(self.density, self._inputs(true, further[catalogued]), true, rng)
        if (faintest := self.density.shape.faintest) is not None:
            # Of a truth far beyond the cut, rounding would put it on the wrong side.
            band = self.density.shape.reference
            seen[:, band] = np.minimum(seen[:, band], faintest - 1e-9)
        errors = self.errors.of(seen, self.max_error * (1 - 1e-9))
        states = np.where(np.isnan(seen), BandState.NOT_DETECTED, BandState.MEASURED)
        drawn = Photometry.from_mags(
            "draws of the observation model",
            np.flatnonzero(catalogued),
            self.bands,
            seen,
            errors,
            states.astype(np.uint8),
            ci=ci,
            distance_modulus=self.distance_modulus,
        )
        return catalogued, drawn

    def transforms(
        self,
        data: Photometry,
        mags: Float[np.ndarray, "n band"],
        further: Float[np.ndarray, "n k"] | None = None,
    ) -> Transforms:
        """What was recorded as probabilities, given the true magnitudes: a test of the model.

        **Arguments:**

        - `data`: n clusters.
        - `mags`: `(n, band)`, their true apparent Vega magnitudes.
        - `further`: `(n, k)`, their nuisance properties, for networks that take them.

        ```python
        observation.transforms(seen, seen.mags - 0.1).bands
        ```
        """
        further = np.empty((len(data), 0)) if further is None else further
        allowed = np.where(self.patterns(data), 0.0, -np.inf)
        found = transform(
            self.density,
            self._inputs(mags, further),
            mags,
            data.mags,
            self.recorded(data),
            allowed,
            np.zeros(len(data)) if data.ci is None else data.ci,
        )
        return Transforms(*found)

    def _inputs(self, mags: np.ndarray, further: np.ndarray) -> Float[np.ndarray, "n k"]:
        return np.column_stack([np.clip(mags, *self.density.limits.T), further])


def _refuse(data: Photometry, bad: Bool[np.ndarray, " n"], what: str) -> None:
    if bad.any():
        first = data.ids[int(np.argmax(bad))]
        raise ValueError(
            f"{data.source}: {int(bad.sum())} of {len(data)} clusters (the first is {first}) {what}"
        )
