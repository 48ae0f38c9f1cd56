"""The interface of every observation model: true magnitudes μ ↦ what a survey records.

A survey does two things to a cluster of true total magnitudes μ: it catalogues it or not, with
probability P(det | μ), and of those that are catalogued it records data d, the fluxes in some bands
and the concentration index, with density p(d | μ, det). Both halves are in one object, so that

    p(d, det | θ) = ∫ p(d | μ, det) P(det | μ) p(μ | θ) dμ,    p_sel(θ) = ∫ P(det | μ) p(μ | θ) dμ

are of one survey, and ∫ p(d, det | θ) dd = p_sel(θ) whether the cuts act on what is measured, on
the truth, or share noise with the data (Loredo & Hendry, arXiv:1911.12337; Mandel, Farr & Gair,
arXiv:1809.02063).
"""

import abc
import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from starcensus.registry import Registry

from ..catalogue.photometry import Photometry
from ..operators.facts import SurveyFacts

# Standard deviations of a reach beyond which nothing is.
REACH = 5.0
OBSERVATIONS = Registry[type]("observation model")


@dataclasses.dataclass(frozen=True, eq=False)
class Reach:
    """A Gaussian of the true magnitudes of each cluster, wide enough to hold all that may be.

    **Arguments:**

    - `centre`: `(n, band)`, magnitudes; NaN in a band that does not restrict the truth.
    - `sd`: `(n, band)`, of each band's own deviation, mag; infinite where `centre` is NaN.
    - `common`: `(n,)`, sd of the deviation that all bands share, mag.
    - `core`: standard deviations inside of which nearly all truths lie, where few lie far out, as
      blends do: of simulated clusters beyond it a sample is looked at.
    """

    centre: Float[np.ndarray, "n band"]
    sd: Float[np.ndarray, "n band"]
    common: Float[np.ndarray, " n"]
    core: float = REACH


@dataclasses.dataclass(frozen=True, eq=False)
class Truths:
    """Clusters of known magnitudes, each of which is compared with many objects.

    **Arguments:**

    - `observation`: the survey.
    - `mags`: `(row, band)`, true apparent Vega magnitudes.
    """

    observation: "AbstractObservation"
    mags: Float[np.ndarray, "row band"]

    def log_prob(
        self, data: Photometry, rows: Int[np.ndarray, " pair"], which: Int[np.ndarray, " pair"]
    ) -> Float[np.ndarray, " pair"]:
        """ln p(d, det | μ) as of `AbstractObservation.log_prob`, of the clusters `which`."""
        return self.observation.log_prob(data, rows, self.mags[which])


class AbstractObservation(abc.ABC):
    """What a survey does to a cluster of given true magnitudes.

    An observation model of your own is a class with these attributes and methods.

    - `bands`: names of the columns of magnitudes.
    - `distance_modulus`: of the galaxy, mag.
    - `learned_for`: the survey that it was learned in, None where it was stated.
    - `halves`: models of the same survey, each learned from a random half of the artificial
      clusters. How they scatter is what all artificial clusters leave open (half-samples: McCarthy
      1969, Rev. Int. Stat. Inst. 37, 239). None by default.
    """

    bands: tuple[str, ...]
    distance_modulus: float
    learned_for: SurveyFacts | None
    halves: tuple["AbstractObservation", ...] = ()

    @property
    @abc.abstractmethod
    def words(self) -> str:
        """What the model is, in a sentence for the report."""

    @property
    def limits(self) -> dict[str, float]:
        """Cuts on what is measured that the model counts, by the names of `LIMITS`; by default
        those of the pipeline that it was learned from."""
        return {} if self.learned_for is None else dict(self.learned_for.pipeline_limits)

    def passing(self, data: Photometry) -> tuple[Bool[np.ndarray, " n"], str]:
        """Which clusters pass the survey's own cuts on what was measured, and the cuts in words.

        By default all do: a model of one's own must be given clusters that pass its cuts.
        """
        return np.ones(len(data), bool), "none are known"

    @abc.abstractmethod
    def check(self, data: Photometry) -> None:
        """Raises `ValueError` for data that this survey cannot have recorded: other bands, states
        that it does not know, clusters that its own cuts exclude."""

    def check_expected(self, data: Photometry) -> None:
        """Raises `ValueError` for clusters of parts of the survey whose P(det | μ) is not known:
        what they say of themselves is known, and how many were to be expected is not. By default
        none is refused."""
        del data

    @abc.abstractmethod
    def log_prob(
        self, data: Photometry, rows: Int[np.ndarray, " pair"], mags: Float[np.ndarray, "pair band"]
    ) -> Float[np.ndarray, " pair"]:
        """ln p(d, det | μ), up to a constant of each cluster.

        **Arguments:**

        - `data`: what was recorded of each cluster.
        - `rows`: `(pair,)`, the row of `data` of each pair.
        - `mags`: `(pair, band)`, true apparent Vega magnitudes; infinite for a cluster without
          light.
        """

    def truths(self, mags: Float[np.ndarray, "row band"]) -> Truths:
        """Clusters that many objects are compared with; a model may keep of each what it needs for
        all of these."""
        return Truths(self, mags)

    @abc.abstractmethod
    def p_sel(self, mags: Float[np.ndarray, "n band"]) -> Float[np.ndarray, " n"]:
        """P(det | μ) at true apparent Vega magnitudes `(n, band)`."""

    def beyond(self, mags: Float[np.ndarray, "n band"]) -> Bool[np.ndarray, " n"]:
        """Which clusters have a P(det | μ) that nobody has seen, `(n,)`: those that are fainter
        than every artificial cluster, for which the faintest ones stand. By default none."""
        return np.zeros(len(mags), bool)

    @abc.abstractmethod
    def reach(self, data: Photometry) -> Reach:
        """Where the true magnitudes of each cluster may lie: outside of 5 standard deviations of
        the Gaussian, `log_prob` is negligible."""

    @abc.abstractmethod
    def draw(
        self, mags: Float[np.ndarray, "n band"], rng: np.random.Generator
    ) -> tuple[Bool[np.ndarray, " n"], Photometry]:
        """Which clusters of true apparent magnitudes `mags` are catalogued, and what is recorded of
        those: the survey, as a generator."""
