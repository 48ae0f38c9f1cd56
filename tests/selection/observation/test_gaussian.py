"""Gaussian observation against quadrature, closed forms and its own generator."""

import dataclasses

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest, norm

from starcensus.selection import PhotometricNetwork
from starcensus.selection.catalogue.photometry import BandState, Photometry
from starcensus.selection.observation import (
    GaussianObservation,
    MeasuredCuts,
    NoiseCurves,
    legus_cuts,
    load_observation,
    probability_of,
    save_observation,
)

BANDS = ("WFC3_UVIS_F336W", "ACS_F435W", "ACS_F555W")
LN = 0.4 * np.log(10.0)
SKY = 10 ** (-0.4 * np.array([25.0, 26.0, 26.5]))


def survey(**changes) -> GaussianObservation:
    noise = NoiseCurves(BANDS, SKY**2, np.array([1e-13, 0.0, 1e-13]), np.full(3, 0.01))
    return GaussianObservation(BANDS, 29.98, **{"noise": noise, "floor": 0.05, **changes})


def data(mags, states=None, snr=None) -> Photometry:
    mags = np.atleast_2d(np.asarray(mags, float))
    flux = 10 ** (-0.4 * mags)
    sigma = survey().noise.sigma(np.nan_to_num(flux))
    error = sigma / flux / LN
    if states is not None:
        states = np.atleast_2d(np.asarray(states, np.uint8))
    ids = np.arange(len(mags)).astype(str)
    return Photometry.from_mags("mine", ids, BANDS, mags, error, states, distance_modulus=29.98)


def likelihood(seen: GaussianObservation, one: Photometry, mags) -> float:
    return float(
        np.exp(seen.log_prob(one, np.array([0]), np.atleast_2d(np.asarray(mags, float)))[0])
    )


@pytest.mark.parametrize("common", [0.0, 0.1, 0.37])
def test_the_shift_of_all_bands_is_integrated_as_quadrature_does(common):
    seen, one = survey(common=common, n_nodes=9), data([23.0, 23.1, 22.9])
    for mags in ([23.0, 23.1, 22.9], [22.7, 22.75, 22.5], [23.2, 23.2, 22.9]):

        def at(s, mags=mags):
            flux = 10 ** (-0.4 * (np.asarray(mags) + s))
            variance = one.flux_error[0] ** 2 + (LN * 0.05 * flux) ** 2
            each = np.exp(-0.5 * (one.flux[0] - flux) ** 2 / variance)
            return float((each / np.sqrt(variance / one.flux_error[0] ** 2)).prod())

        if common:
            truth = quad(lambda s: at(s) * norm.pdf(s, 0, common), -2, 2, points=[0, 0.3, -0.3],
                         limit=400)[0]  # fmt: skip
        else:
            truth = at(0.0)
        assert likelihood(seen, one, mags) == pytest.approx(truth, rel=2e-3)


def test_density_of_the_data_has_the_integral_one():
    """Over the fluxes of one band, measured and not detected together."""
    cuts = MeasuredCuts(min_snr=5.0, min_bands=1, any_of=(BANDS[2],), recorded_snr=3.0)
    seen = survey(cuts=cuts)
    true = np.array([25.5, 25.0, 24.0])
    seen_flux = 10 ** (-0.4 * true)
    least = seen.noise.threshold(3.0)[0]
    lost = data([np.nan, 25.0, 24.0], [BandState.NOT_DETECTED, 0, 0])
    rest = data([np.nan, 25.0, 24.0], [BandState.NOT_OBSERVED, 0, 0])
    p_lost = likelihood(seen, lost, true) / likelihood(seen, rest, true)
    sd = np.sqrt(seen.noise.sigma(seen_flux)[0] ** 2 + (LN * 0.05 * seen_flux[0]) ** 2)
    assert p_lost == pytest.approx(norm.cdf((least - seen_flux[0]) / sd), rel=1e-9)


def test_a_band_that_was_not_observed_tells_nothing_and_one_not_detected_does():
    seen = survey(cuts=MeasuredCuts(recorded_snr=0.0, min_snr=0.0), coverage=(
        (0.5, BANDS), (0.5, BANDS[1:])))  # fmt: skip
    outside = data([np.nan, 23.0, 23.0], [BandState.NOT_OBSERVED, 0, 0])
    lost = data([np.nan, 23.0, 23.0], [BandState.NOT_DETECTED, 0, 0])
    bright, faint = [20.0, 23.0, 23.0], [30.0, 23.0, 23.0]
    assert likelihood(seen, outside, bright) == likelihood(seen, outside, faint)
    assert likelihood(seen, lost, bright) < 1e-12 * likelihood(seen, lost, faint)
    assert likelihood(seen, lost, faint) == pytest.approx(
        likelihood(seen, outside, faint) * norm.cdf(-(10 ** (-0.4 * 30.0)) / SKY[0]), rel=1e-3
    )


def test_negative_fluxes_are_measurements():
    flux = np.array([[-0.5 * SKY[0], 1e-9, 1e-9]])
    one = Photometry("mine", np.array(["a"]), BANDS, flux, np.broadcast_to(SKY, (1, 3)).copy(),
                     np.zeros((1, 3), np.uint8))  # fmt: skip
    seen = survey(floor=0.0)
    faint, bright = [40.0, 22.5, 22.5], [25.0, 22.5, 22.5]
    ratio = likelihood(seen, one, bright) / likelihood(seen, one, faint)
    assert ratio == pytest.approx(np.exp(-0.5 * (1.5**2 - 0.5**2)), rel=1e-6)


def test_p_sel_is_the_share_of_its_own_draws():
    cuts = MeasuredCuts(3.6, 2, (), BANDS[1:2], {BANDS[2]: -5.0}, 0.0)
    seen = survey(cuts=cuts, common=0.3, coverage=((0.7, BANDS), (0.3, BANDS[1:])))
    rng = np.random.default_rng(3)
    for mags in ([24.0, 24.7, 24.6], [26.0, 25.4, 25.2], [22.0, 23.0, 24.9]):
        n = 40_000
        kept, drawn = seen.draw(np.broadcast_to(mags, (n, 3)), rng)
        p = float(seen.p_sel(np.asarray([mags]))[0])
        assert abs(kept.mean() - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-4
        seen.check(drawn)


def test_draws_follow_log_prob():
    """Ranks of the flux in one band given the others are uniform under the density."""
    seen, rng = survey(common=0.0), np.random.default_rng(4)
    mags = np.broadcast_to([23.5, 23.2, 23.0], (4000, 3))
    _, drawn = seen.draw(mags, rng)
    flux = 10 ** (-0.4 * mags)
    sd = np.sqrt(seen.noise.sigma(flux) ** 2 + (LN * 0.05 * flux) ** 2)
    for k in range(3):
        assert kstest(norm.cdf((drawn.flux - flux) / sd)[:, k], "uniform").pvalue > 1e-4


@pytest.mark.parametrize(("scatter", "rtol"), [(0.02, 0.01), (0.3, 0.06)])
def test_noise_curves_are_the_median_of_quoted_errors(scatter, rtol):
    rng = np.random.default_rng(5)
    truth = NoiseCurves(BANDS, SKY**2, np.array([1e-12, 0.0, 3e-12]), np.array([0.01, 0.02, 0.0]))
    flux = 10 ** (-0.4 * rng.uniform(19, 27, (3000, 3)))
    errors = truth.sigma(flux) * np.exp(rng.normal(0, scatter, flux.shape))
    # Blends of which each error is four times what the survey's are.
    errors[::10] *= 4
    one = Photometry("m", np.arange(3000).astype(str), BANDS, flux, errors,
                     np.zeros((3000, 3), np.uint8))  # fmt: skip
    found = NoiseCurves.of(one)
    at = 10 ** (-0.4 * np.linspace(19, 27, 9))[:, None] * np.ones(3)
    # One in ten that are larger move the median by 0.14 of the scatter.
    expected = truth.sigma(at) * np.exp(0.14 * scatter)
    np.testing.assert_allclose(found.sigma(at), expected, rtol=rtol)


@pytest.mark.parametrize("snr", [0.5, 3.6, 10.0, -3.0])
def test_threshold_is_where_the_flux_is_so_many_sigma(snr):
    noise = survey().noise
    at = noise.threshold(snr)
    np.testing.assert_allclose(at / noise.sigma(at), snr, rtol=1e-12)
    assert np.isinf(noise.threshold(101.0)).all() and (noise.threshold(0.0) == 0).all()


def test_patterns_are_counted_once():
    counting = np.array([[0.2, 0.5, 0.9]])
    every = MeasuredCuts(min_bands=1).passing(BANDS)
    assert len(every) == 7
    assert probability_of(counting, every)[0] == pytest.approx(1 - 0.8 * 0.5 * 0.1)
    two = MeasuredCuts(min_bands=2, all_of=(BANDS[2],)).passing(BANDS)
    assert probability_of(counting, two)[0] == pytest.approx(0.9 * (1 - 0.8 * 0.5))


def test_legus_cuts_are_those_of_the_papers():
    bands = ("WFC3_UVIS_F275W", "WFC3_UVIS_F336W", "ACS_F435W", "ACS_F555W", "ACS_F814W")
    cuts = legus_cuts(bands)
    assert cuts.min_snr == pytest.approx(3.619, abs=1e-3) and cuts.min_bands == 4
    assert cuts.max_absolute == {"ACS_F555W": -6.0}
    assert set(cuts.any_of) == {"ACS_F435W", "ACS_F814W"}


def test_reach_holds_the_truth():
    seen, rng = survey(common=0.2), np.random.default_rng(6)
    mags = rng.uniform(21, 26, (4000, 1)) + rng.normal(0, 0.5, (4000, 3))
    kept, drawn = seen.draw(mags, rng)
    reach, true = seen.reach(drawn), mags[kept]
    own = np.where(np.isfinite(reach.centre), true - reach.centre, 0.0)
    colours = np.abs(own[:, :, None] - own[:, None, :])
    widths = 5 * np.hypot(reach.sd[:, :, None], reach.sd[:, None, :])
    known = np.isfinite(reach.centre)
    both = known[:, :, None] & known[:, None, :]
    assert (colours <= widths)[both].mean() > 0.999
    assert (np.abs(own) <= 5 * np.hypot(reach.sd, reach.common[:, None]))[known].mean() > 0.9999


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"common": 3.0}, "common = 3"),
        ({"distance_modulus": -29.98}, "distance_modulus is -29.98; expected apparent minus"),
        ({"coverage": ((0.5, BANDS),)}, "do not have the sum 1"),
        ({"coverage": ((1.0, ("F999W",)),)}, "some of WFC3_UVIS_F336W"),
        ({"cuts": MeasuredCuts(all_of=("F999W",))}, "the cuts ask for F999W"),
    ],
)
def test_surveys_that_cannot_be_are_refused(change, words):
    noise = survey().noise
    with pytest.raises(ValueError, match=words):
        GaussianObservation(BANDS, **{"distance_modulus": 29.98, "noise": noise, **change})


def test_an_operator_of_other_bands_or_distance_is_refused():
    import jax

    from starcensus.networks import random_mlp

    def network(bands, modulus):
        return PhotometricNetwork(
            (random_mlp((len(bands), 4), key=jax.random.key(0)),),
            bands,
            np.tile([15.0, 30.0], (len(bands), 1)),
            modulus,
        )

    with pytest.raises(ValueError, match="the operator is of ACS_F555W; expected"):
        survey(selection=network(BANDS[2:], 29.98))
    with pytest.raises(ValueError, match=r"learned at a distance modulus of 27\.5"):
        survey(selection=network(BANDS, 27.5))
    nothing = dataclasses.replace(network(BANDS, 29.98), outside="zero")
    nothing = dataclasses.replace(nothing, limits=np.tile([15.0, 26.0], (3, 1)))
    beyond = survey(selection=nothing).p_sel(np.array([[25.0] * 3, [26.5] * 3]))
    assert beyond[0] > 0 and beyond[1] == 0
    seen, alone = survey(selection=network(BANDS, 29.98)), survey()
    mags = np.array([[23.0, 23.0, 23.0]])
    p = float(network(BANDS, 29.98).p_sel(mags)[0])
    one = data(mags)
    assert seen.p_sel(mags)[0] == pytest.approx(p * alone.p_sel(mags)[0], rel=1e-5)
    assert likelihood(seen, one, mags) == pytest.approx(p * likelihood(alone, one, mags), rel=1e-5)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (data([np.nan, 23, 23], [BandState.UNKNOWN, 0, 0]), "do not say why"),
        (data([np.nan, 23, 23], [BandState.NOT_OBSERVED, 0, 0]), "coverage of the survey does not"),
        (data([23.0, 23.0, 24.9]), "do not pass the survey's own cuts"),
        (data([28.4, 23.0, 23.0]), "have a measured flux below 1 of its error"),
        (data([23.0, 23.0, 23.0]).select(BANDS[:2]), "the observation model is of"),
    ],
)
def test_data_that_the_survey_cannot_have_recorded_are_refused(one, words):
    seen = survey(cuts=MeasuredCuts(3.6, 1, (), (), {BANDS[2]: -6.0}, 1.0))
    with pytest.raises(ValueError, match=words):
        seen.check(one)


def test_not_detected_needs_a_limit():
    lost = data([np.nan, 23.0, 23.0], [BandState.NOT_DETECTED, 0, 0])
    with pytest.raises(ValueError, match="the survey records every flux"):
        survey().check(lost)


def test_a_survey_with_cuts_and_coverage_is_stored(tmp_path):
    cuts = MeasuredCuts(3.6, 2, (), (), {BANDS[2]: -6.0}, 0.0)
    stated = survey(common=0.1, cuts=cuts, coverage=((0.7, BANDS), (0.3, BANDS[1:])))
    save_observation(stated, tmp_path / "survey.h5")
    read = load_observation(tmp_path / "survey.h5")
    assert isinstance(read, GaussianObservation)
    assert read.cuts == cuts and read.cuts.recorded_snr == cuts.recorded_snr
    assert read.coverage == stated.coverage and read.words == stated.words
    one, mags = data([23.0, 23.1, 22.9]), [22.9, 23.0, 22.8]
    assert read.p_sel(np.array([mags])) == stated.p_sel(np.array([mags]))
    assert likelihood(read, one, mags) == likelihood(stated, one, mags)
    save_observation(survey(), tmp_path / "uncut.h5")
    uncut = load_observation(tmp_path / "uncut.h5")
    assert isinstance(uncut, GaussianObservation) and uncut.cuts.min_snr == -np.inf
