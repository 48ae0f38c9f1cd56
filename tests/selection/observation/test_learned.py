"""The learned observation model against a survey whose density is known in closed form."""

import dataclasses

import h5py
import numpy as np
import pytest
import scipy.stats
from benchmarks import known_survey as known
from scipy.special import log_ndtr, logsumexp
from tests.inference.held_out import HeldOut

from starcensus.networks import TrainSettings
from starcensus.selection.catalogue.photometry import BandState, Photometry
from starcensus.selection.learning import LearningError
from starcensus.selection.observation import (
    LearnedObservation,
    ObservationFileError,
    ObservationSettings,
    learn_observation,
    load_observation,
    observation_provenance,
    recorded_photometry,
    save_observation,
)
from starcensus.selection.observation._numbers import parts_of_bands, parts_of_ci
from starcensus.selection.observation.reach import distance
from starcensus.selection.operators.nuisance import Nuisance

SETTINGS = ObservationSettings(
    n_components=2,
    n_ci=1,
    widths=(24, 24),
    epochs=25,
    max_rate=3e-3,
    batch_size=256,
    selection=TrainSettings(widths=(16,), n_members=1, epochs=20, batch_size=512),
)
BRIEF = dataclasses.replace(SETTINGS, widths=(8,), epochs=2, rank=2)


@pytest.fixture(scope="module")
def injections():
    return known.table(8000, seed=1)


@pytest.fixture(scope="module")
def learned(injections) -> LearnedObservation:
    return learn_observation(injections, SETTINGS)


SLOW_FORMS = [pytest.param(form, marks=pytest.mark.slow) for form in ("joint", "without CI")]


class Brief(dict):
    """Small models by form, each learned when a test first asks for it."""

    def __init__(self, some) -> None:
        super().__init__()
        self.some = some

    def __missing__(self, form: str) -> LearnedObservation:
        change = {"sequential": {}, "joint": {"form": "joint"}}.get(form, {"concentration": False})
        self[form] = learn_observation(self.some, dataclasses.replace(BRIEF, **change))
        return self[form]


@pytest.fixture(scope="module")
def brief(injections) -> dict[str, LearnedObservation]:
    return Brief(injections.take(slice(0, 2500)))


@pytest.fixture(scope="module")
def held():
    """True magnitudes of catalogued clusters that no network saw, and what was recorded."""
    table = known.table(3200, seed=2)
    return table.true_mags[table.catalogued], recorded_photometry(table, 0.3)


def log_density(model, data, mags, rows=None):
    rows = np.arange(len(data)) if rows is None else rows
    return model.log_prob(data, rows, mags) - np.log(model.p_sel(mags))


def seen_as(data: Photometry, band: int, state: BandState) -> Photometry:
    """The same without a magnitude in one band."""
    flux, error, states = data.flux.copy(), data.flux_error.copy(), data.states.copy()
    flux[:, band] = error[:, band] = np.nan
    states[:, band] = state
    return dataclasses.replace(data, flux=flux, flux_error=error, states=states)


def test_the_density_is_that_of_the_survey(learned, held):
    true, data = held
    exact = np.array([known.log_density(*row) for row in zip(true, data.mags, data.ci)])  # noqa: B905
    difference = log_density(learned, data, true) - exact
    # The first is −KL, in nats a cluster.
    assert -0.04 < difference.mean() < 0.01
    assert np.quantile(np.abs(difference), 0.95) < 0.5
    assert np.abs(learned.p_sel(true) - known.p_detected(true)).mean() < 0.03


def test_what_was_recorded_has_uniform_transforms(learned, held):
    true, data = held
    found = learned.transforms(data, true)
    for u in (found.ci, *found.bands.T):
        u = u[np.isfinite(u)]
        assert len(u) > 1000
        assert scipy.stats.kstest(u, "uniform").statistic < 0.06
    both = found.patterns.sum(axis=0)
    assert both.sum() == pytest.approx(len(data))
    counts = learned.patterns(data).sum(axis=0)
    assert np.abs(both - counts).max() < 4 * np.sqrt(len(data) * 0.25)


@pytest.mark.parametrize("form", ["sequential", *SLOW_FORMS])
def test_the_sum_is_that_of_gaussians_by_scipy(brief, held, form):
    """Low rank, cut-offs, patterns and marginals, with full covariances in double precision."""
    model = brief[form]
    true, data = held[0][:40], held[1].take(slice(0, 40))
    blind = seen_as(data.take(slice(0, 20)), 0, BandState.NOT_OBSERVED)
    for some, mags in ((data, true), (blind, true[:20])):
        assert some.ci is not None
        found = log_density(model, some, mags)
        x = np.clip(mags, *model.density.limits.T)
        of, own = parts_of_bands(model.density, x, some.ci)
        of_c = None
        if model.density.shape.concentration:
            of_c = parts_of_ci(model.density, x)
        for i in range(len(mags)):
            there = model.recorded(some)[i]
            agree = model.patterns(some)[i]
            each = of.log_weight[i] + logsumexp(of.log_pattern[i][:, agree], axis=1)
            for k in range(model.density.shape.n_components):
                mean, loading = mags[i] + of.mean[i, k], of.loading[i, :, k]
                cov = np.diag(of.sd[i, k] ** 2) + loading.T @ loading
                at = np.ix_(there, there)
                each[k] += scipy.stats.multivariate_normal.logpdf(
                    some.mags[i, there], mean[there], cov[at]
                )
                each[k] -= log_ndtr((known.FAINTEST - mean[1]) / cov[1, 1] ** 0.5)
            if of_c is not None:
                ln_c = scipy.stats.norm.logpdf(some.ci[i], of_c.mean[i], of_c.sd[i])
                ln_c -= scipy.stats.norm.logsf(known.LEAST_CI, of_c.mean[i], of_c.sd[i])
                if own is not None:
                    expected = logsumexp(each + ln_c)
                else:
                    expected = logsumexp(each) + logsumexp(of_c.log_weight[i] + ln_c)
            else:
                expected = logsumexp(each)
            assert found[i] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("form", ["sequential", pytest.param("joint", marks=pytest.mark.slow)])
def test_a_band_that_nobody_looked_at_is_integrated_over(brief, held, form):
    model = brief[form]
    true, data = held
    row = int(np.flatnonzero(np.isfinite(data.mags[:, 2]) & (true[:, 1] < 22))[0])
    one, mags = data.take(slice(row, row + 1)), true[row : row + 1]
    grid = np.linspace(-4, 4, 4001) + true[row, 2]
    many = one.take(np.zeros(len(grid), int))
    flux = many.flux.copy()
    flux[:, 2] = 10 ** (-0.4 * grid)
    error = many.flux_error.copy()
    error[:, 2] = 0.01 * flux[:, 2]
    many = dataclasses.replace(many, flux=flux, flux_error=error)
    inside = np.exp(model.log_prob(many, np.arange(len(grid)), np.repeat(mags, len(grid), axis=0)))
    lost = np.exp(model.log_prob(seen_as(one, 2, BandState.NOT_DETECTED), np.array([0]), mags))
    found = np.exp(model.log_prob(seen_as(one, 2, BandState.NOT_OBSERVED), np.array([0]), mags))
    assert np.trapezoid(inside, grid) + lost[0] == pytest.approx(found[0], rel=2e-3)


def at_grid(ci: np.ndarray, v: np.ndarray) -> Photometry:
    """Clusters that were seen in V alone."""
    nan = np.full(len(v), np.nan)
    states = np.full((len(v), 3), BandState.NOT_OBSERVED, np.uint8)
    states[:, 1] = BandState.MEASURED
    mags = np.stack([nan, v, nan], axis=1)
    errors = np.where(np.isnan(mags), np.nan, 0.1)
    return Photometry.from_mags("grid", np.arange(len(v)), known.BANDS, mags, errors, states, ci=ci)


@pytest.mark.parametrize("form", ["sequential", pytest.param("joint", marks=pytest.mark.slow)])
@pytest.mark.parametrize("v", [21.0, 23.9])
def test_the_density_is_one_within_the_cuts_and_nothing_beyond(brief, form, v):
    model = brief[form]
    ci, m = np.linspace(1.35, 3.2, 371), np.linspace(v - 3, v + 3, 601)
    grid_ci, grid_m = (part.ravel() for part in np.meshgrid(ci, m, indexing="ij"))
    true = np.tile([v + 0.3, v, v - 0.5], (len(grid_ci), 1))
    found = np.exp(log_density(model, at_grid(grid_ci, grid_m), true))
    assert (found[(grid_ci < known.LEAST_CI) | (grid_m > known.FAINTEST)] == 0).all()
    # The edges are nodes: half of the first step belongs to the inside.
    inside = found.reshape(len(ci), len(m))
    inside[np.isclose(ci, known.LEAST_CI), :] *= 0.5
    inside[:, np.isclose(m, known.FAINTEST)] *= 0.5
    assert inside.sum() * (ci[1] - ci[0]) * (m[1] - m[0]) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("form", ["sequential", *SLOW_FORMS])
def test_draws_have_the_density(brief, form):
    """By the transforms, and of c and V by integrals of `log_prob` itself."""
    model = brief[form]
    rng = np.random.default_rng(5)
    true = np.tile([22.3, 22.0, 21.6], (4000, 1))
    true[2000:] += 1.7
    catalogued, drawn = model.draw(true, rng)
    p = model.p_sel(true)
    assert abs(catalogued.sum() - p.sum()) < 4 * np.sqrt((p * (1 - p)).sum())
    model.check(drawn)
    kept = true[catalogued]
    found = model.transforms(drawn, kept)
    for u in (*([found.ci] if form != "without CI" else []), *found.bands.T):
        assert scipy.stats.kstest(u[np.isfinite(u)], "uniform").pvalue > 1e-3
    counts = model.patterns(drawn).sum(axis=0)
    sd = np.sqrt((found.patterns * (1 - found.patterns)).sum(axis=0))
    assert (np.abs(counts - found.patterns.sum(axis=0)) < 4 * sd + 1e-9).all()
    if form == "without CI":
        return
    faint = np.flatnonzero(kept[:, 1] > 23)
    ci = np.linspace(known.LEAST_CI, 3.5, 2001)
    unseen = at_grid(ci, np.full(len(ci), 22.0))
    unseen = seen_as(unseen, 1, BandState.NOT_OBSERVED)
    density = np.exp(model.log_prob(unseen, np.arange(len(ci)), np.tile(kept[faint[0]], (2001, 1))))
    cdf = np.cumsum(density) / density.sum()
    u = np.interp(drawn.ci[faint], ci, cdf)
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-3
    m = np.linspace(20.5, known.FAINTEST, 701)
    u = []
    for row in faint[:150]:
        grid = at_grid(np.full(len(m), drawn.ci[row]), m)
        ln_p = model.log_prob(grid, np.arange(len(m)), np.tile(kept[row], (len(m), 1)))
        density = np.exp(ln_p - ln_p.max())
        cdf = np.cumsum(density) - 0.5 * density  # the middle of each step
        u.append(np.interp(drawn.mags[row, 1], m, cdf / density.sum()))
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-3


def test_the_truth_is_within_reach(learned, held):
    true, data = held
    reach = learned.reach(data)
    assert (distance(reach, true) <= 5).mean() >= 0.999
    lost = ~learned.recorded(data)
    assert np.isnan(reach.centre[lost]).all() and np.isinf(reach.sd[lost]).all()
    # Generous, and no wider than 12 times what it must be.
    assert reach.common.max() < 12 * known.SHARED


def test_pairs_in_any_order_and_number(learned, held, monkeypatch):
    true, data = held
    rng = np.random.default_rng(0)
    rows, at = rng.integers(0, len(data), (2, 5000))
    whole = learned.log_prob(data, rows, true[at])
    monkeypatch.setattr("starcensus.selection.observation._truths.BLOCK", 256)
    np.testing.assert_allclose(learned.log_prob(data, rows, true[at]), whole, rtol=1e-4, atol=1e-3)
    some = slice(100, 107)
    parts = learned.log_prob(data, rows[some], true[at][some])
    np.testing.assert_allclose(parts, whole[some], rtol=1e-4, atol=1e-3)
    assert learned.log_prob(data, rows[:0], true[:0]).shape == (0,)


def test_what_is_kept_of_clusters_is_theirs(learned, held):
    """Pairs that come one after another, in any order, have the values that they have alone."""
    true, data = held
    rng = np.random.default_rng(1)
    truths = learned.truths(true[:50])
    for n in (40, 3000, 9000):
        rows, which = rng.integers(0, len(data), n), rng.integers(0, 50, n)
        expected = learned.log_prob(data, rows, true[which])
        np.testing.assert_allclose(truths.log_prob(data, rows, which), expected, atol=1e-3)


def test_a_density_of_ones_own_is_asked(learned, held):
    true, data = held

    class Fainter(type(learned)):
        def log_prob(self, data, rows, mags):
            return super().log_prob(data, rows, mags + 0.3)

    own = Fainter(**{f.name: getattr(learned, f.name) for f in dataclasses.fields(learned)})
    rows = np.arange(20)
    found = own.truths(true[:20]).log_prob(data, rows, rows)
    expected = learned.log_prob(data, rows, true[:20] + 0.3)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_without_light_nothing_is_recorded(learned, held):
    _, data = held
    dark = np.full((3, 3), np.inf)
    dark[1, 0] = dark[2, 0] = 22.0
    dark[2, 1] = 22.0
    lost = int(np.flatnonzero(~np.isfinite(data.mags[:, 2]))[0])
    found = learned.log_prob(data, np.full(3, lost), dark)
    assert np.isneginf(found[:2]).all()
    # Without light in a band in which nothing was found, which is no contradiction.
    assert np.isfinite(found[2])
    assert learned.p_sel(dark)[0] == 0


def test_a_poor_magnitude_is_not_recorded(learned, held):
    _, data = held
    row = int(np.flatnonzero(np.isfinite(data.mags[:, 2]))[0])
    one = data.take(slice(row, row + 1))
    error = one.flux_error.copy()
    error[0, 2] = one.flux[0, 2] * 0.5
    poor = dataclasses.replace(one, flux_error=error)
    mags = np.array([[22.0, 21.8, 21.5]])
    found = learned.log_prob(poor, np.array([0]), mags)
    none = learned.log_prob(seen_as(one, 2, BandState.NOT_DETECTED), np.array([0]), mags)
    assert found == none


def test_data_of_another_survey_are_refused(learned, held):
    _, data = held
    learned.check(data)
    with pytest.raises(ValueError, match=r"data.select\(observation.bands\)"):
        learned.check(data.select(("ACS_F555W", "ACS_F435W", "ACS_F814W")))
    with pytest.raises(ValueError, match=r"distance modulus 29; .* learned at 30"):
        learned.check(dataclasses.replace(data, distance_modulus=29.0))
    with pytest.raises(ValueError, match="no concentration index"):
        learned.check(dataclasses.replace(data, ci=None))
    small = data.ci.copy()
    small[3] = 1.2
    with pytest.raises(ValueError, match=f"1 of {len(data)} .*first is {data.ids[3]}.* below 1.4"):
        learned.check(dataclasses.replace(data, ci=small))
    flux = data.flux.copy()
    flux[2, 1] = 10 ** (-0.4 * 24.2)
    with pytest.raises(ValueError, match=r"fainter than 24.000 in ACS_F555W"):
        learned.check(dataclasses.replace(data, flux=flux))
    with pytest.raises(ValueError, match="does not say why"):
        learned.check(seen_as(data, 2, BandState.UNKNOWN))
    with pytest.raises(ValueError, match="no artificial cluster had together"):
        learned.check(seen_as(data, 0, BandState.NOT_DETECTED))
    with pytest.raises(ValueError, match="ACS_F555W was not observed"):
        learned.check(seen_as(data, 1, BandState.NOT_OBSERVED))


def test_both_halves_are_of_the_area_that_all_bands_cover(brief, injections, held):
    """Where U has no data the survey here finds half as many clusters: of all injections P(det | μ)
    would be 0.83 of what it is where all bands have data."""
    some = injections.take(slice(0, 2500))
    rng = np.random.default_rng(8)
    covered = np.ones((2500, 3), bool)
    covered[rng.random(2500) < 1 / 3, 0] = False
    lost = ~covered[:, 0] & (rng.random(2500) < 0.5)
    mags = np.where(covered & ~lost[:, None], some.measured_mags, np.nan)
    table = dataclasses.replace(
        some, covered=covered, catalogued=some.catalogued & ~lost, measured_mags=mags
    )
    here = table.take(covered.all(axis=1))
    assert table.catalogued.mean() < 0.88 * here.catalogued.mean()
    brief_settings = dataclasses.replace(BRIEF, epochs=2)
    of_all, of_here = (learn_observation(t, brief_settings) for t in (table, here))
    true, data = held
    np.testing.assert_array_equal(of_all.p_sel(true), of_here.p_sel(true))
    with pytest.raises(LearningError, match=r"of 2500 injections lie where some band has no data"):
        learn_observation(table, BRIEF, selection=brief["sequential"].selection)
    somewhere = seen_as(data.take(slice(0, 9)), 0, BandState.NOT_OBSERVED)
    of_all.check_expected(data)
    of_all.check(somewhere)
    with pytest.raises(ValueError, match=r"9 of 9 .*where some band was not observed.*whole"):
        of_all.check_expected(somewhere)


@pytest.mark.slow
def test_the_average_over_radii_is_a_sum_over_nodes(injections, held):
    true, data = held[0][:50], held[1].take(slice(0, 50))
    settings = dataclasses.replace(BRIEF, r_eff=True)
    model = learn_observation(injections.take(slice(0, 2500)), settings)
    nuisance = Nuisance(
        ("log_r_eff_pc",), np.log10([[1.5], [4.0], [9.0]]), np.array([0.2, 0.5, 0.3])
    )

    def over(nodes: Nuisance) -> LearnedObservation:
        return dataclasses.replace(
            model, selection=dataclasses.replace(model.selection, nuisance=nodes)
        )

    rows = np.arange(50)
    each = [
        np.log(w) + over(Nuisance(nuisance.names, v[None], np.ones(1))).log_prob(data, rows, true)
        for v, w in zip(nuisance.values, nuisance.weights, strict=True)
    ]
    found = over(nuisance).log_prob(data, rows, true)
    np.testing.assert_allclose(found, logsumexp(each, axis=0), rtol=1e-4, atol=1e-3)
    catalogued, drawn = over(nuisance).draw(true, np.random.default_rng(0))
    assert len(drawn) == catalogued.sum()


@pytest.mark.slow
def test_the_same_table_and_settings_give_the_same_model(injections, brief, held):
    true, data = held
    again = learn_observation(injections.take(slice(0, 2500)), BRIEF)
    rows = np.arange(len(data))
    first = brief["sequential"].log_prob(data, rows, true)
    assert np.array_equal(again.log_prob(data, rows, true), first)
    other = learn_observation(injections.take(slice(0, 2500)), dataclasses.replace(BRIEF, seed=1))
    assert not np.array_equal(other.log_prob(data, rows, true), first)


def test_it_carries_the_survey(learned, injections):
    assert learned.learned_for.field == "known"
    assert learned.learned_for.tables_sha256 == (injections.sha256(),)
    assert "in known" in learned.words
    with pytest.raises(LearningError, match="was trained on"):
        learned.marks.refuse({"mine": injections}, "the observation model")


@pytest.mark.parametrize("form", ["sequential", *SLOW_FORMS])
def test_a_file_gives_back_the_same_model(brief, held, tmp_path, form):
    true, data = held
    save_observation(brief[form], tmp_path / "model.h5", {"by": "me"})
    again = load_observation(tmp_path / "model.h5")
    assert isinstance(again, LearnedObservation)
    rows = np.arange(len(data))
    expected = brief[form].log_prob(data, rows, true)
    assert np.array_equal(again.log_prob(data, rows, true), expected)
    assert again.settings == brief[form].settings
    assert again.learned_for == brief[form].learned_for and again.marks == brief[form].marks
    assert observation_provenance(tmp_path / "model.h5") == {"by": "me"}
    for one, two in ((again, brief[form]),):
        a, b = (m.draw(true, np.random.default_rng(2))[1] for m in (one, two))
        assert np.array_equal(a.flux, b.flux, equal_nan=True)


def test_damaged_files_are_refused(brief, tmp_path):
    path = tmp_path / "model.h5"
    with pytest.raises(ObservationFileError, match="save_observation"):
        load_observation(path)
    save_observation(brief["sequential"], path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ObservationFileError, match=r"model\.h5"):
        load_observation(path)
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        del file["density/networks/0/weights/1"]
    with pytest.raises(ObservationFileError, match="density/networks/0/weights/1"):
        load_observation(path)
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        weights = file["density/networks/0/weights/0"][:]
        del file["density/networks/0/weights/0"]
        file["density/networks/0/weights/0"] = weights[:, :-1]
    with pytest.raises(ObservationFileError, match="layers have weights"):
        load_observation(path)


def test_what_cannot_be_learned_from_is_refused(injections):
    few = injections.take(np.flatnonzero(injections.catalogued)[:50])
    with pytest.raises(LearningError, match="50 of 50 injections are catalogued"):
        learn_observation(few, BRIEF)
    nothing = dataclasses.replace(injections, ci=np.full(len(injections), np.nan))
    with pytest.raises(LearningError, match="concentration=False"):
        learn_observation(nothing, BRIEF)
    lower = dataclasses.replace(injections, ci=injections.ci - 0.2)
    with pytest.raises(LearningError, match="beyond the cuts"):
        learn_observation(lower, BRIEF)
    operator = learn_observation(injections.take(slice(0, 2500)), BRIEF).selection
    with pytest.raises(LearningError, match="uncertain about it would be left out"):
        learn_observation(injections, dataclasses.replace(BRIEF, n_halves=2), selection=operator)
    with pytest.raises(ValueError, match="0, or 2 or more"):
        dataclasses.replace(BRIEF, n_halves=1)
    with pytest.raises(LearningError, match=r"expected .* log_r_eff_pc"):
        learn_observation(injections, dataclasses.replace(BRIEF, r_eff=True), selection=operator)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_components": 0}, "n_components is 0"),
        ({"rank": -1}, "rank is -1"),
        ({"max_error": 0.0}, "max_error is 0"),
        ({"validation": 1.0}, "validation is 1"),
        ({"widths": ()}, "hidden layer"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ObservationSettings(**wrong)


@pytest.mark.slow
def test_with_many_injections_the_transforms_are_uniform():
    """Each within the simultaneous 95% band of 20,000, at the 1% level for all four together."""
    settings = dataclasses.replace(SETTINGS, n_components=3, n_ci=2, widths=(64, 64), epochs=80)
    model = learn_observation(known.table(80_000, seed=3), settings)
    table = known.table(30_000, seed=4)
    found = model.transforms(recorded_photometry(table, 0.3), table.true_mags[table.catalogued])
    for u in (found.ci, *found.bands.T):
        assert scipy.stats.kstest(u[np.isfinite(u)], "uniform").pvalue > 0.0025


def test_held_out_injections_are_a_survey_of_their_own(brief, injections):
    """Of one table's clusters another table's fates have the rates and the spreads of the truth,
    and none is beyond the cut."""
    survey = HeldOut.of(brief["sequential"], known.table(30_000, seed=5))
    with pytest.raises(ValueError, match="that it has not seen"):
        HeldOut.of(brief["sequential"], injections)
    rng = np.random.default_rng(6)
    true = known.true_mags(6000, rng)
    catalogued, drawn = survey.draw(true, rng)
    n, expected = catalogued.sum(), known.p_detected(true).sum()
    assert len(drawn) == n and abs(n - expected) < 4 * (expected / 4) ** 0.5
    assert np.nanmax(drawn.mags[:, 1]) <= known.FAINTEST
    bright = true[catalogued][:, 1] < 22.0
    other, ci = known.measured(true[catalogued][bright], rng)
    excess = drawn.mags[bright] - true[catalogued][bright]
    expected = other - true[catalogued][bright]
    m = bright.sum()
    for k in range(3):
        sd = np.nanstd(expected[:, k])
        assert abs(np.nanmean(excess[:, k]) - np.nanmean(expected[:, k])) < 5 * sd / m**0.5
        assert np.nanstd(excess[:, k]) == pytest.approx(sd, rel=0.1)
    colour, of_truth = (np.nanstd(x[:, 0] - x[:, 1]) for x in (excess, expected))
    assert colour == pytest.approx(of_truth, rel=0.1)
    lost, of_truth = (np.isnan(x[:, 2]).mean() for x in (excess, expected))
    assert abs(lost - of_truth) < 4 * (of_truth / m) ** 0.5
    assert drawn.ci is not None
    assert abs(drawn.ci[bright].mean() - ci.mean()) < 5 * ci.std() / m**0.5


def test_what_is_drawn_passes_the_surveys_own_cuts(brief):
    """Of truths far beyond the cut as well, of which the networks let some pass."""
    model = brief["sequential"]
    mags = known.true_mags(4000, np.random.default_rng(6)) + 4.0
    drawn = model.draw(mags, np.random.default_rng(7))[1]
    assert len(drawn) > 20 and drawn.mags[:, 1].max() <= known.FAINTEST
    model.check(drawn)


def test_halves_are_learned_from_halves_and_kept(injections, tmp_path):
    some = injections.take(slice(0, 2500))
    model = learn_observation(some, dataclasses.replace(BRIEF, n_halves=2))
    whole = learn_observation(some, BRIEF)
    mags = known.true_mags(200, np.random.default_rng(3))
    np.testing.assert_array_equal(model.p_sel(mags), whole.p_sel(mags))
    save_observation(model, tmp_path / "model.h5")
    again = load_observation(tmp_path / "model.h5")
    first, second = again.halves
    assert not np.array_equal(first.p_sel(mags), second.p_sel(mags))
    for one, other in zip(model.halves, again.halves, strict=True):
        np.testing.assert_array_equal(one.p_sel(mags), other.p_sel(mags))
    # The rows are half of them, and no two halves are the same.
    assert all(each.settings.n_halves == 0 for each in model.halves)
    assert model.halves[0].density.limits.tolist() != model.halves[1].density.limits.tolist()


@pytest.mark.slow
def test_halves_scatter_as_models_of_other_injections_do():
    """Logit P(det | μ) at the survey's edge, of other injections and other starts of networks:
    with networks as brief as these it is the starts that differ most."""
    settings = dataclasses.replace(SETTINGS, n_halves=6)

    def of(seed: int):
        selection = dataclasses.replace(SETTINGS.selection, seed=seed)
        own = dataclasses.replace(SETTINGS, seed=seed, selection=selection)
        return learn_observation(known.table(6000, seed), own)

    v = np.linspace(22.0, 24.2, 12)
    mags = np.stack([v + 0.3, v, v - 0.5], axis=1)

    def logit(model):
        p = np.clip(model.p_sel(mags), 1e-6, 1 - 1e-6)
        return np.log(p / (1 - p))

    halves = [logit(half) for half in learn_observation(known.table(6000, 1), settings).halves]
    others = [logit(of(seed)) for seed in range(2, 8)]
    of_halves, of_others = (np.sqrt(np.var(x, axis=0, ddof=1).mean()) for x in (halves, others))
    assert 0.5 < of_halves / of_others < 2.0
