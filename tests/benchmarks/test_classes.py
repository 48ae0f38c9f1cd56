"""What two ensembles of classifiers are told they agree in, where that is known."""

import json

import numpy as np
import pytest
from benchmarks.classes import FIVE, judge

from starcensus.selection.classes.ensembles import ensemble_vote
from starcensus.selection.classes.labelled import LabelledStamps

N = 400


@pytest.fixture(scope="module")
def seen() -> LabelledStamps:
    """A hundred of each class; class 4 is the faintest and stands on the brightest sky."""
    labels = np.repeat([1, 2, 3, 4], N // 4)
    rng = np.random.default_rng(1)
    images = rng.normal(labels[:, None, None, None], 0.1, (N, 5, 8, 8)).astype(np.float32)
    mags = np.broadcast_to((20.0 + labels + rng.uniform(0, 0.1, N))[:, None], (N, 5))
    kinds = np.array(["symmetric", "elongated", "association", "star"])[labels - 1]
    return LabelledStamps(images, labels, FIVE.bands, kinds, {"mags": mags})


def test_agreement_is_counted(seen):
    """The first is right; the second takes 20 stars for symmetric clusters, half of its networks
    another 20 of them for associations."""
    right = np.repeat(seen.labels[:, None], 4, axis=1)
    wrong = right.copy()
    wrong[-20:] = 1
    wrong[-40:-20, :2] = 3
    found = judge(seen, [ensemble_vote(right), ensemble_vote(wrong)])
    json.dumps(found, allow_nan=False)
    assert found["n_of_class"] == [100] * 4
    assert found["truth_1.same"] == 1.0 and found["truth_1.fractions"] == [1.0] * 6
    assert found["truth_2.same"] == found["each_other.same"] == 0.95
    assert found["truth_2.same_of_two"] == 0.95
    # Class 1: 100 of 100 and of 120; class 4: 80 of 100 and of 80.
    assert found["truth_2.fractions"][0] == pytest.approx((1 + 100 / 120) / 2, abs=1e-4)
    assert found["truth_2.fractions"][3] == pytest.approx(0.9, abs=1e-4)
    assert found["called_cluster.star"] == 0.0 and found["called_cluster.elongated"] == 1.0
    assert found["unanimous_1"] == 1.0 and found["unanimous_2"] == 0.95
    assert found["right_if_unanimous_2"] == pytest.approx(360 / 380)
    # Bins go from bright to faint, and from dark to bright skies; one class fills each.
    assert found["truth_1.mag"] == sorted(found["truth_1.mag"])
    assert found["truth_1.sky"] == pytest.approx([1, 2, 3, 4], abs=0.1)
    assert found["truth_1.mean_by_sky"] == [None] * 4
