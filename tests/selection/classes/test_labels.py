"""Labels as they are given, and what they are rolled up to."""

import numpy as np
import pytest

from starcensus.selection.classes import (
    CLASSES,
    SUBCLASSES,
    class_counts,
    class_labels,
    four_classes,
)


def test_numbers_words_and_pairs_are_labels_also_mixed():
    given = [1, "2", (3, 0), "4.1", (4, 10), [4, 12], np.int32(4)]
    assert class_labels(given).tolist() == ["1", "2", "3", "4.1", "4.10", "4.12", "4"]


def test_a_single_star_and_what_is_too_faint_stay_apart():
    assert class_labels(["4.1", "4.10"]).tolist() == ["4.1", "4.10"]
    assert class_labels(np.array([[4, 1], [4, 10], [2, 0]])).tolist() == ["4.1", "4.10", "2"]
    counts = class_counts([(4, 1), (4, 10), (4, 10)])
    assert (counts["4.1"], counts["4.10"], counts["4"]) == (1, 2, 3)


@pytest.mark.parametrize("label", [4.1, 4.10, 1.0, np.float32(4.9), np.float64(2)])
def test_floats_are_refused(label: float):
    with pytest.raises(ValueError, match=r"floats cannot tell 4\.1 .* from 4\.10"):
        class_labels([1, label])
    with pytest.raises(ValueError, match="array of float"):
        four_classes(np.array([1, label]))


@pytest.mark.parametrize("word", ["1.0", "4.0", "4.13", "4.01", "4."])
def test_words_that_were_floats_are_refused(word: str):
    with pytest.raises(ValueError, match="floats cannot tell"):
        class_labels([word])


@pytest.mark.parametrize(
    "label", [0, 5, -1, "C1", "", " 1", True, np.True_, None, (4,), (4, 13), (3, 1), (4, 1.0)]
)
def test_what_is_no_class_is_refused(label: object):
    with pytest.raises(ValueError, match="label is"):
        class_labels([label])


def test_one_word_is_not_taken_for_its_letters():
    with pytest.raises(ValueError, match="the word '12'"):
        class_labels("12")


def test_all_twelve_kinds_roll_up_to_4():
    assert list(SUBCLASSES) == [f"4.{kind}" for kind in range(1, 13)]
    assert four_classes(list(SUBCLASSES)).tolist() == [4] * 12
    assert four_classes([(4, kind) for kind in range(1, 13)]).tolist() == [4] * 12
    assert four_classes(np.array([1, 2, 3, 4])).tolist() == list(CLASSES)


def test_triplets_alone_can_be_promoted():
    promoted = four_classes(list(SUBCLASSES), promote_triplets=True)
    assert promoted.tolist() == [4, 4, 3, *[4] * 9]
    assert four_classes(["1", "3", "4"], promote_triplets=True).tolist() == [1, 3, 4]


def test_of_nothing_there_is_nothing():
    assert class_labels([]).tolist() == [] and four_classes(np.zeros(0, int)).tolist() == []
    assert set(class_counts([]).values()) == {0}
