"""Observation by Gaussian noise: what can be said of a catalogue without injections of its own.

The true magnitude in band b is seen as μ_b + s, with one shift s ~ N(0, `common`²) of all bands
(one average aperture correction for clusters of every size), and its flux F_b = 10^(−0.4 (μ_b + s))
is measured with Gaussian noise,

    f_b ~ N(F_b, σ_b² + (0.4 ln 10 · floor · F_b)²),

in flux at every S/N, so that faint bands, and negative fluxes, need no rule of their own. σ_b is
the error that the catalogue quotes for the cluster, `floor` (mag) what its errors do not know of.
What the catalogue demands of its *measured* fluxes (`MeasuredCuts`) is certain given the data, and
is integrated over the noise in `p_sel`; a further operator of true magnitudes multiplies both.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import erfc

from ..catalogue.photometry import BandState, Photometry
from ..operators.facts import LIMITS, SurveyFacts, learned_facts
from ..operators.marginal import Photometric
from ..operators.photometric import PhotometricNetwork
from ._base import OBSERVATIONS, AbstractObservation, Reach
from ._gaussian_kernel import FAR, LN_MAG, log_kernel
from .cuts import MeasuredCuts, probability_of
from .noise import NoiseCurves

_PAIRS = 1 << 17
# What is rounded in a table must not fail its own cut.
_ROUNDED = 1e-6


@OBSERVATIONS.register("gaussian")
@dataclasses.dataclass(frozen=True, eq=False)
class GaussianObservation(AbstractObservation):
    """Fluxes with Gaussian noise, cuts on what was measured, and an operator for the rest.

    **Arguments:**

    - `bands`: names of the columns of magnitudes.
    - `distance_modulus`: mag.
    - `noise`: noise of clusters that were not observed; `NoiseCurves.of` a catalogue.
    - `floor`: mag, error of each band on top of the quoted one.
    - `common`: mag, standard deviation of the shift that all bands share.
    - `cuts`: what the catalogue demands of measured fluxes.
    - `coverage`: shares of the survey's area and the bands that were observed there; by default all
      bands everywhere.
    - `selection`: operator of true magnitudes, such as a `PhotometricNetwork`, for what else
      decides whether a cluster is catalogued; None where nothing does.
    - `n_nodes`: Gauss-Hermite nodes of the integral over the shift.

    Raises `ValueError` for numbers out of their ranges, or bands that do not agree.

    ```python
    bands = ("ACS_F435W", "ACS_F555W")
    quiet = np.full(2, 10.0 ** (-0.8 * 27.0))
    noise = NoiseCurves(bands, quiet, np.zeros(2), np.zeros(2))
    survey = GaussianObservation(
        bands, 29.98, noise, floor=0.03, cuts=MeasuredCuts(max_absolute={"ACS_F555W": -6.0})
    )
    survey.p_sel(np.array([[23.5, 23.2], [25.5, 25.2]]))
    ```
    """

    bands: tuple[str, ...]
    distance_modulus: float
    noise: NoiseCurves
    floor: float = 0.03
    common: float = 0.0
    cuts: MeasuredCuts = dataclasses.field(default_factory=MeasuredCuts)
    coverage: tuple[tuple[float, tuple[str, ...]], ...] = ()
    selection: Photometric | None = None
    n_nodes: int = 7

    def __post_init__(self) -> None:
        if self.noise.bands != self.bands:
            raise ValueError(
                f"the noise is of {', '.join(self.noise.bands)}; expected {', '.join(self.bands)}"
            )
        self.cuts.check_bands(self.bands)
        if not (0 <= self.floor < 1 and 0 <= self.common < 2):
            raise ValueError(
                f"floor = {self.floor}, common = {self.common}; expected magnitudes from 0 to 1 "
                "and to 2"
            )
        if not 10 < self.distance_modulus < 50:
            raise ValueError(
                f"distance_modulus is {self.distance_modulus:g}; expected apparent minus absolute "
                "magnitude, 15 to 45 mag for galaxies with clusters that are resolved"
            )
        if self.n_nodes < 1:
            raise ValueError(f"n_nodes is {self.n_nodes}; expected 1 or more")
        for share, names in self.coverage:
            if not 0 < share <= 1 or not names or set(names) - set(self.bands):
                raise ValueError(
                    f"coverage has {share} of {names}; expected a share of the area above 0 and "
                    f"some of {', '.join(self.bands)}"
                )
        if self.coverage and abs(sum(share for share, _ in self.coverage) - 1) > 1e-6:
            raise ValueError("the shares of `coverage` do not have the sum 1")
        if self.selection is not None:
            self._check_selection(self.selection)

    def _check_selection(self, selection: Photometric) -> None:
        if tuple(selection.bands) != self.bands:
            raise ValueError(
                f"the operator is of {', '.join(selection.bands)}; expected {', '.join(self.bands)}"
            )
        if abs(selection.distance_modulus - self.distance_modulus) > 0.05:
            raise ValueError(
                f"the operator was learned at a distance modulus of {selection.distance_modulus:g};"
                f" expected {self.distance_modulus:g}, that of the survey"
            )
        if isinstance(selection, PhotometricNetwork):
            selection.check_vega()
        own = self.cuts.limits(self.bands)
        twice = {
            name: (value, own[name])
            for facts in learned_facts(selection)
            for name, value in facts.pipeline_limits
            if name in own
        }
        if twice:
            said = "; ".join(
                f"{LIMITS[name].format(theirs)}, and the cuts {LIMITS[name].format(ours)}"
                for name, (theirs, ours) in twice.items()
            )
            raise ValueError(
                "the operator was learned from a pipeline that makes cuts which the observation "
                f"model makes too, so that they would count twice: the operator has {said}. Learn "
                "it from injections that a pipeline without these cuts catalogued, or take a model "
                "that was learned from injections for what is measured as well"
            )

    @property
    def learned_for(self) -> SurveyFacts | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of the operator of the rest, if there is one."""
        return next(iter(learned_facts(self.selection)), None)

    @property
    def limits(self) -> dict[str, float]:
        """Those of the cuts, and of the pipeline that the operator of the rest was learned from."""
        return {**super().limits, **self.cuts.limits(self.bands)}

    @property
    def words(self) -> str:
        shift = f", a shift of {self.common:g} mag that all bands share" if self.common else ""
        rest = "an operator of true magnitudes" if self.selection else "no further selection"
        return (
            f"Gaussian noise with the quoted errors and a floor of {self.floor:g} mag{shift}; cuts "
            f"on measured magnitudes integrated over the noise; {rest}"
        )

    def passing(self, data: Photometry) -> tuple[Bool[np.ndarray, " n"], str]:
        passing = {tuple(row) for row in self.cuts.passing(self.bands).tolist()}
        good = [tuple(row) in passing for row in self._above(data).tolist()]
        return np.array(good, bool), self.cuts.words

    def check(self, data: Photometry) -> None:
        if data.bands != self.bands:
            raise ValueError(
                f"{data.source}: has the bands {', '.join(data.bands)}; the observation model is "
                f"of {', '.join(self.bands)}: select those"
            )
        if data.distance_modulus is not None and (
            abs(data.distance_modulus - self.distance_modulus) > 1e-6
        ):
            raise ValueError(
                f"{data.source}: its distance modulus is {data.distance_modulus:g}; the "
                f"observation model has {self.distance_modulus:g}: correct the one that is wrong"
            )
        self._refuse(
            data,
            (data.states == BandState.UNKNOWN).any(axis=1),
            "lack a magnitude and do not say why; say whether such bands are not observed or not "
            "detected, or leave the clusters out",
        )
        self._check_coverage(data)
        self._refuse(
            data,
            ~self._recorded(data).all(axis=1),
            f"have a measured flux below {self.cuts.recorded_snr:g} of its error, which the survey "
            "does not record; lower recorded_snr, or say that such bands are not detected",
        )
        if np.isneginf(self.cuts.recorded_snr):
            self._refuse(
                data,
                (data.states == BandState.NOT_DETECTED).any(axis=1),
                "have bands that were not detected, and the survey records every flux; say from "
                "which S/N on it does, as recorded_snr of the cuts (0: where the flux is above 0)",
            )
        passing, words = self.passing(data)
        self._refuse(
            data,
            ~passing,
            f"do not pass the survey's own cuts ({words}); cut the catalogue by them, or state "
            "those that it had",
        )

    def _refuse(self, data: Photometry, bad: np.ndarray, what: str) -> None:
        if bad.any():
            first = data.ids[int(np.argmax(bad))]
            raise ValueError(
                f"{data.source}: {int(bad.sum())} of {len(data)} clusters, the first is {first}, "
                f"{what}"
            )

    def _recorded(self, data: Photometry) -> Bool[np.ndarray, "n band"]:
        """Whether each measured flux is one that is recorded; True where not measured."""
        return ~data.measured | _at_least(self.cuts.recorded_snr, data)

    def _above(self, data: Photometry) -> Bool[np.ndarray, "n band"]:
        """Which bands count, by their own errors, and are bright enough where that matters."""
        faintest = self.cuts.faintest(self.bands, self.distance_modulus)
        with np.errstate(invalid="ignore"):
            bright = data.flux >= faintest * (1 - _ROUNDED)
        return data.measured & bright & _at_least(self.cuts.min_snr, data)

    def _check_coverage(self, data: Photometry) -> None:
        observed = data.states != BandState.NOT_OBSERVED
        known = [tuple(band in names for band in self.bands) for _, names in self.coverage]
        known = known or [(True,) * len(self.bands)]
        patterns, counts = np.unique(observed, axis=0, return_counts=True)
        strange = [i for i, row in enumerate(patterns.tolist()) if tuple(row) not in known]
        if strange:
            found = "; ".join(
                f"{counts[i]} with {', '.join(np.array(self.bands)[patterns[i]]) or 'no band'}"
                for i in strange
            )
            raise ValueError(
                f"{data.source}: clusters lie where not all bands were observed ({found}), and the "
                "coverage of the survey does not say so; state coverage = the shares of the area "
                "with each set of bands, or leave these clusters out"
            )

    def log_prob(
        self, data: Photometry, rows: Int[np.ndarray, " pair"], mags: Float[np.ndarray, "pair band"]
    ) -> Float[np.ndarray, " pair"]:
        noise = self.noise
        result = log_kernel(
            data.flux,
            data.flux_error,
            data.measured,
            data.states == BandState.NOT_DETECTED,
            rows,
            mags,
            floor=self.floor,
            common=self.common,
            n_nodes=self.n_nodes,
            curves=(noise.sky, noise.source, noise.share),
            least=noise.threshold(self.cuts.recorded_snr),
        )
        if self.selection is None:
            return result
        with np.errstate(divide="ignore"):
            return result + np.log(self._rest(mags))

    def _sd(self, seen: Float[np.ndarray, "n band"]) -> Float[np.ndarray, "n band"]:
        """Standard deviation of what is measured of these fluxes."""
        return np.sqrt(self.noise.sigma(seen) ** 2 + (LN_MAG * self.floor * seen) ** 2)

    def _rest(self, mags: Float[np.ndarray, "n band"]) -> Float[np.ndarray, " n"]:
        if self.selection is None:
            return np.ones(len(mags))
        operator = self.selection
        if isinstance(operator, PhotometricNetwork):
            # Beyond its limits it says what it says: 0, or what is nearest within.
            operator = operator.simulated()
        return np.asarray(operator.p_sel(mags), float)

    def p_sel(self, mags: Float[np.ndarray, "n band"]) -> Float[np.ndarray, " n"]:
        out = np.empty(len(mags))
        for start in range(0, len(mags), _PAIRS):
            part = slice(start, start + _PAIRS)
            out[part] = self._p_cuts(mags[part]) * self._rest(mags[part])
        return out

    def beyond(self, mags: Float[np.ndarray, "n band"]) -> Bool[np.ndarray, " n"]:
        """Which clusters are fainter than all that `selection`, a network, has learned from.

        ```python
        survey.beyond(np.full((3, len(survey.bands)), 22.0))
        ```
        """
        if not isinstance(self.selection, PhotometricNetwork):
            return np.zeros(len(mags), bool)
        columns = [self.bands.index(band) for band in self.selection.bands]
        return self.selection.simulated().beyond(mags[:, columns])

    def _p_cuts(self, mags: Float[np.ndarray, "n band"]) -> Float[np.ndarray, " n"]:
        flux = 10.0 ** (-0.4 * mags)
        passing = self.cuts.passing(self.bands)
        x, w = np.polynomial.hermite_e.hermegauss(4 * self.n_nodes if self.common else 1)
        total = np.zeros(len(mags))
        for shift, weight in zip(self.common * x, w / w.sum(), strict=True):
            counting = self._p_counting(flux * np.exp(-LN_MAG * shift))
            for share, names in self.coverage or ((1.0, self.bands),):
                there = np.array([band in names for band in self.bands])
                total += weight * share * probability_of(np.where(there, counting, 0.0), passing)
        return np.clip(total, 0.0, 1.0)

    def _p_counting(self, seen: Float[np.ndarray, "n band"]) -> Float[np.ndarray, "n band"]:
        return 0.5 * erfc((self._least() - seen) / self._sd(seen) / np.sqrt(2.0))

    def _least(self) -> Float[np.ndarray, " band"]:
        """Measured fluxes above which a band counts, and is bright enough."""
        faintest = self.cuts.faintest(self.bands, self.distance_modulus)
        return np.maximum(self.noise.threshold(self.cuts.min_snr), faintest)

    def reach(self, data: Photometry) -> Reach:
        with np.errstate(invalid="ignore", divide="ignore"):
            relative = np.sqrt((data.flux_error / data.flux) ** 2 + (LN_MAG * self.floor) ** 2)
            # Where flux and noise are of one size the truth may have any.
            good = data.measured & (data.flux > 0) & (relative < 0.9 / FAR)
            widest = -np.log(1.0 - FAR * relative) / LN_MAG / FAR
        centre = np.where(good, data.mags, np.nan)
        sd = np.where(good, widest, np.inf)
        return Reach(centre, sd, np.full(len(data), self.common))

    def draw(
        self, mags: Float[np.ndarray, "n band"], rng: np.random.Generator
    ) -> tuple[Bool[np.ndarray, " n"], Photometry]:
        n, k = mags.shape
        shift = self.common * rng.standard_normal(n)
        seen = 10.0 ** (-0.4 * (mags + shift[:, None]))
        flux = seen + self._sd(seen) * rng.standard_normal((n, k))
        areas = self.coverage or ((1.0, self.bands),)
        area = rng.choice(len(areas), size=n, p=[share for share, _ in areas])
        observed = np.array([[b in names for b in self.bands] for _, names in areas])[area]
        above = (flux >= self._least()) & observed
        passing = self.cuts.passing(self.bands)
        kept = (above[:, None] == passing[None]).all(axis=2).any(axis=1)
        kept &= rng.uniform(size=n) < self._rest(mags)
        recorded = observed & (flux >= self.noise.threshold(self.cuts.recorded_snr))
        states = np.where(observed, BandState.NOT_DETECTED, BandState.NOT_OBSERVED)
        states = np.where(recorded, BandState.MEASURED, states).astype(np.uint8)
        data = Photometry(
            "drawn",
            np.arange(n).astype(str),
            self.bands,
            np.where(recorded, flux, np.nan),
            np.where(recorded, self.noise.sigma(flux), np.nan),
            states,
            distance_modulus=self.distance_modulus,
        )
        return kept, data.take(kept)


def _at_least(snr: float, data: Photometry) -> Bool[np.ndarray, "n band"]:
    """Where the flux is `snr` of its error or more; False where it is not measured."""
    if np.isneginf(snr):
        return data.measured
    with np.errstate(invalid="ignore"):
        return data.flux >= snr * data.flux_error - _ROUNDED * np.abs(data.flux)
