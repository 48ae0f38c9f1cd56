"""The checks themselves: they pass what is right and catch what is wrong."""

import dataclasses

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import expit, logit

from starcensus.selection.injection import InjectionTable
from starcensus.selection.learning import (
    ChoiceSettings,
    TestSet,
    TransitionDesign,
    log_loss,
    reliability,
)
from starcensus.selection.learning.design import _scaled


def probabilities(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = expit(rng.normal(0, 3, n))
    return p, rng.random(n) < p


def test_the_log_loss_of_the_truth_is_its_entropy():
    p, label = probabilities(200_000, 0)
    entropy = -(p * np.log(p) + (1 - p) * np.log1p(-p)).mean()
    assert log_loss(p, label) == pytest.approx(entropy, abs=3e-3)
    assert log_loss(expit(1.3 * logit(p)), label) > entropy + 3e-3
    assert log_loss(p, p) == pytest.approx(entropy)
    half = np.arange(len(p)) % 2
    assert log_loss(p, label, half.astype(float)) == pytest.approx(
        log_loss(p[half == 1], label[half == 1])
    )


def test_reliability_rejects_as_often_as_it_says():
    """Over 300 right ones the p-values are uniform; a false alarm once in 1,000."""
    values = [reliability(*probabilities(4000, seed)).p_value for seed in range(300)]
    assert stats.kstest(values, "uniform").pvalue > 1e-3


def test_reliability_sees_probabilities_that_are_too_sure_or_weighted():
    p, label = probabilities(40_000, 1)
    assert reliability(p, label).p_value > 1e-3
    assert reliability(expit(1.2 * logit(p)), label).p_value < 1e-6
    # What class weights of 2 to 1 would do.
    weighted = reliability(expit(logit(p) + np.log(2)), label)
    assert weighted.p_value < 1e-6 and (weighted.observed < weighted.predicted).all()


def test_too_few_rows_say_so():
    with pytest.raises(ValueError, match=r"49 rows are too few .* no bin of them has 50; inject"):
        reliability(*probabilities(49, 2))
    p = np.full(50, 0.3)
    assert reliability(p, np.arange(50) < 15).n.tolist() == [50]


@pytest.fixture(scope="module")
def repeated(made_table):
    table, p = made_table(3000, seed=4, repeats=40)
    order = np.random.default_rng(0).permutation(len(table))
    return TestSet.of(table.take(order)), p[:3000]


def test_repeats_are_gathered_by_cluster_and_their_noise_is_known(repeated):
    test, p = repeated
    assert test.n_repeats == 40 and len(test) == 3000
    np.testing.assert_array_equal(test.first.cluster, np.arange(3000))
    assert np.abs(test.p_true - p).max() < 0.4
    miss = np.abs(test.p_true - p)
    assert (test.noise**2).mean() == pytest.approx((miss**2).mean(), rel=0.1)
    np.testing.assert_allclose(test.noise_percentiles(), test.error_percentiles(p), atol=0.012)


def test_neighbours_come_near_the_truth_without_seeing_a_clusters_own(repeated):
    test, p = repeated
    rows = test.first
    x = np.column_stack([rows.log_mass, rows.log_age, rows.a_v, np.log10(rows.r_eff_pc)])
    found = test.neighbour_regression(x, 30)
    assert np.abs(found - p).mean() < 0.03
    # Clusters without any relation to x are no better than a guess.
    guess = test.neighbour_regression(np.random.default_rng(0).normal(size=(3000, 2)), 30)
    assert np.abs(guess - p).mean() > 0.25


def test_repeats_of_a_cluster_are_one_outcome_in_the_reliability():
    """p is right on average, but clusters differ: repeats of one miss together."""
    rng = np.random.default_rng(4)
    p_values = []
    cluster, p, label = np.repeat(np.arange(400), 20), np.full(8000, 0.5), np.zeros(8000, bool)
    for _ in range(200):
        label = np.repeat(rng.random(400) < 0.5, 20)
        p_values.append(reliability(p, label, group=cluster).p_value)
        assert reliability(p, label).n[0] == 8000
    # Uniform: a Kolmogorov-Smirnov test at 1e-3; and a miss of 0.1 in p is seen.
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3
    miss = reliability(np.full(8000, 0.6), label, group=cluster)
    assert miss.p_value < 0.01 and miss.largest_miss == pytest.approx(0.1, abs=0.06)


def test_weights_undo_a_choice_in_the_reliability():
    """Outcomes depend on z, p does not; rows were chosen by z."""
    rng = np.random.default_rng(8)
    z = rng.uniform(size=40_000)
    label = rng.random(40_000) < z
    inclusion = 0.1 + 0.9 * z
    kept = rng.random(40_000) < inclusion
    p = np.full(int(kept.sum()), 0.5)
    assert reliability(p, label[kept]).p_value < 1e-20
    undone = reliability(p, label[kept], weight=1 / inclusion[kept])
    assert undone.p_value > 1e-3 and undone.observed[0] == pytest.approx(0.5, abs=0.02)


@pytest.fixture(scope="module")
def hidden(made_table):
    """Clusters of 50 repeats whose p depends on x and on what no input tells, and E[p | x].

    At one x a tenth of the clusters fare worse by 6 in the logit.
    """
    table, _ = made_table(4000, seed=6)
    rng = np.random.default_rng(6)
    x = rng.uniform(-1, 1, (4000, 3))
    z = 4 * np.sin(3 * x[:, 0]) + 2 * x[:, 1] + x[:, 2]
    p = expit(z - 6 * (rng.random(4000) < 0.1))
    shares = rng.binomial(50, p) / 50
    mean = 0.9 * expit(z) + 0.1 * expit(z - 6)
    return TestSet(table, shares, np.zeros(4000), 50), x, mean


def test_the_yardstick_is_near_the_mean_that_the_inputs_allow(hidden):
    test, x, mean = hidden
    found = test.neighbours(x)
    few = test.neighbour_regression(x, 10)
    excess = {k: log_loss(p, mean) - log_loss(mean, mean) for k, p in ((0, found.p), (10, few))}
    assert 10 < found.k < 320 and excess[0] < 0.01 and excess[0] < 0.25 * excess[10]
    assert found.scores == test.scores(found.p)
    # Without what is hidden no count reaches what the shares themselves allow.
    assert found.scores.log_loss > log_loss(test.p_true, test.p_true) + 0.05
    # The noise of repeats moves all scores alike, so that the least one is that of the mean.
    assert test.scores(mean).log_loss < min(each.log_loss for each in found.by_k.values())
    assert test.scores(mean).rms < min(each.rms for each in found.by_k.values())


def test_a_smaller_median_error_comes_with_a_worse_probability(hidden):
    test, x, mean = hidden
    found = test.neighbours(x)
    assert found.by_k[10].p50 < 0.9 * found.scores.p50 < 1.1 * test.scores(mean).p50
    assert found.by_k[10].log_loss > found.scores.log_loss + 0.01
    assert found.by_k[10].rms > found.scores.rms
    assert list(found.by_k) == [10, 20, 40, 80, 160, 320]


def part(hidden, n: int):
    """The first `n` clusters and their inputs."""
    test, x, _ = hidden
    return TestSet(test.first.take(slice(n)), test.p_true[:n], test.noise[:n], 50), x[:n]


@pytest.mark.parametrize("alike", [False, True])
def test_a_clusters_own_share_never_enters(hidden, alike):
    """Nor where several clusters have the same inputs."""
    test, x = part(hidden, 300)
    x = np.repeat(x[:30], 10, axis=0) if alike else x
    for k in (5, 40):
        before = test.neighbour_regression(x, k)
        for i in (0, 7, 155, 299):
            shares = test.p_true.copy()
            shares[i] = 1 - shares[i] if shares[i] != 0.5 else 1.0
            after = dataclasses.replace(test, p_true=shares).neighbour_regression(x, k)
            assert after[i] == pytest.approx(before[i], abs=1e-9)
            assert k == 5 or np.abs(after - before).max() > 1e-3


def test_a_local_fit_has_the_largest_likelihood(hidden):
    test, x, _ = hidden
    found = test.neighbour_regression(x, 40)
    u = (x - x.mean(0)) / x.std(0)
    for i in np.flatnonzero(np.abs(found - 0.5) < 0.4)[:10]:
        distance = np.sqrt(((u - u[i]) ** 2).sum(1))
        near = np.argsort(distance)[1:42]
        kernel = (1 - (distance[near] / distance[near[-1]]) ** 3) ** 3
        kernel /= kernel.sum()
        p, mean = test.p_true[near], (kernel * test.p_true[near]).sum()

        offset = u[near] - u[i]

        def loss(beta, offset=offset, kernel=kernel, p=p, mean=mean):
            q = expit(beta[0] + offset @ beta[1:])
            ridge = 0.01 * mean * (1 - mean) * (beta[1:] ** 2).sum()
            return -(kernel * (p * np.log(q) + (1 - p) * np.log1p(-q))).sum() + ridge

        best = optimize.minimize(loss, np.r_[logit(mean), np.zeros(3)], tol=1e-10)
        assert found[i] == pytest.approx(expit(best.x[0]), abs=1e-4)


def test_counts_that_a_test_set_is_too_small_for(hidden):
    test, x = part(hidden, 60)
    assert list(test.neighbours(x).by_k) == [10, 20, 40]
    with pytest.raises(ValueError, match="n_neighbours is 59; expected 1 to 58 for 60 clusters"):
        test.neighbour_regression(x, 59)
    with pytest.raises(ValueError, match="too few for any of"):
        test.neighbours(x, (80, 160))
    # An input that is the same for all says nothing, and does no harm.
    np.testing.assert_allclose(
        test.neighbour_regression(np.column_stack([x, np.ones(60)]), 20),
        test.neighbour_regression(x, 20),
    )


def test_bins_hold_means_and_small_ones_are_left_out(repeated):
    test, p = repeated
    rows = test.binned(test.first.log_mass, p, 20)
    inside = np.abs(test.first.log_mass - rows["middle"][5]) < 0.12
    assert rows["p"][5] == pytest.approx(p[inside].mean(), abs=0.02)
    np.testing.assert_allclose(rows["p"], rows["p_true"], atol=0.03)
    assert not len(test.binned(test.first.log_mass, p, 200)["n"])


def test_unequal_repeats_are_refused(made_table):
    table, _ = made_table(50, repeats=3)
    with pytest.raises(ValueError, match="injected 2 to 3 times"):
        TestSet.of(table.take(slice(0, 149)))


def test_repeats_may_come_in_several_tables_of_the_same_clusters(made_table):
    table, _ = made_table(50, repeats=6)
    first, last = (table.take(rows) for rows in (table.repeat < 3, table.repeat >= 3))
    again = dataclasses.replace(last, repeat=last.repeat - 3)
    joined = TestSet.of(InjectionTable.concatenate(first, again))
    assert joined.n_repeats == 6
    np.testing.assert_array_equal(joined.p_true, TestSet.of(table).p_true)
    others, _ = made_table(50, 1, repeats=3)
    with pytest.raises(ValueError, match="cluster 0 has not the same magnitudes"):
        TestSet.of(InjectionTable.concatenate(first, others))


def test_the_same_repeats_do_not_count_twice(made_table):
    """Given twice, they would seem to be without noise."""
    table, _ = made_table(50, repeats=2)
    with pytest.raises(ValueError, match="cluster 0 has two repeats at the same x and y"):
        TestSet.of(InjectionTable.concatenate(table, table))
    # At the same x but another y they are different injections.
    aligned = dataclasses.replace(table, x=np.zeros(len(table)))
    assert TestSet.of(aligned).n_repeats == 2


def pool(n: int = 50_000):
    rng = np.random.default_rng(5)
    z = rng.uniform(-20, 20, n)
    members = expit(z[None] + rng.normal(0, 0.3, (5, n)))
    return z, members


def test_a_design_goes_where_the_outcome_is_open():
    z, members = pool()
    design = TransitionDesign.choose(members, ChoiceSettings(5000))
    assert len(design.rows) == pytest.approx(5000, abs=4 * 5000**0.5)
    assert (np.abs(z[design.rows]) < 4).mean() > 0.55
    assert (np.abs(z) < 4).mean() < 0.25
    assert len(np.unique(design.rows)) == len(design.rows)


def test_a_design_goes_where_the_networks_disagree():
    """Two kinds of clusters of the same mean probability; members differ on the second."""
    members = np.repeat([[0.5, 0.2], [0.5, 0.8]], 1000, axis=1)

    def chances(disagreement: float) -> tuple[float, float]:
        design = TransitionDesign.choose(members, ChoiceSettings(400, 1e-9, disagreement))
        second = design.rows >= 1000
        return design.inclusion[~second].mean(), design.inclusion[second].mean()

    first, second = chances(4.0)
    # (p(1 - p))^½ is 0.5 and the spread 0.3.
    assert second / first == pytest.approx((0.5 + 4 * 0.3) / 0.5)
    assert chances(0.0) == pytest.approx((0.2, 0.2))


def test_its_weights_make_it_stand_for_the_pool():
    z, members = pool()
    design = TransitionDesign.choose(members, ChoiceSettings(10_000, seed=2))
    truth, found = np.abs(z).mean(), np.abs(z[design.rows])
    spread = np.sqrt((design.weights**2 * (found - truth) ** 2).sum()) / len(found)
    assert abs(np.average(found, weights=design.weights) - truth) < 4 * spread
    assert abs(found.mean() - truth) > 10 * spread


@pytest.mark.parametrize("n", [1, 5000, 40_000, 49_999])
def test_as_many_are_expected_as_were_asked_for(n):
    score = np.exp(3 * np.random.default_rng(3).normal(size=50_000))
    inclusion = _scaled(score, n)
    assert inclusion.sum() == pytest.approx(n) and 0 < inclusion.min() <= inclusion.max() <= 1
    # In proportion to the score where it is not certain.
    open_ = inclusion < 1
    np.testing.assert_allclose(np.ptp(np.log(inclusion / score)[open_]), 0, atol=1e-9)


def test_a_design_needs_a_pilot_and_a_pool():
    _, members = pool(100)
    with pytest.raises(ValueError, match="at least two networks"):
        TransitionDesign.choose(members[:1], ChoiceSettings(10))
    with pytest.raises(ValueError, match="a pool of 100 rows for 101"):
        TransitionDesign.choose(members, ChoiceSettings(101))
    with pytest.raises(ValueError, match="uniform is 0 and disagreement 4; expected a share above"):
        ChoiceSettings(10, uniform=0.0)
    whole = TransitionDesign.choose(members, ChoiceSettings(100))
    assert len(whole.rows) == 100 and (whole.inclusion == 1).all()
