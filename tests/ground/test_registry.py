"""Names and what they stand for."""

import pytest

from starcensus.registry import Registry


class Ours: ...


def test_a_class_is_found_by_its_name_and_names_itself():
    laws = Registry[type]("law")

    @laws.register("my_law")
    class Mine: ...

    laws.add("ours", Ours)
    assert laws.find("my_law") is Mine and laws["ours"] is Ours
    assert laws.name_of(Mine) == "my_law"
    assert list(laws) == ["my_law", "ours"] and len(laws) == 2 and "ours" in laws


def test_a_cell_that_runs_twice_replaces_its_class():
    laws = Registry[type]("law")

    def cell() -> type:
        @laws.register("mine")
        class Mine: ...

        return Mine

    first, second = cell(), cell()
    assert first is not second and laws.find("mine") is second


def test_a_name_is_not_taken_from_another():
    laws = Registry[object]("law")
    laws.add("ours", Ours)
    with pytest.raises(ValueError, match=r"'ours'.*law.*Ours"):
        laws.add("ours", dict)
    laws.add("value", 1)
    laws.add("value", 1)
    with pytest.raises(ValueError, match="'value'"):
        laws.add("value", 2)
    assert laws["ours"] is Ours and laws["value"] == 1


@pytest.mark.parametrize("name", ["", "_", "a b", "a.b", "a-b", "a/b", "a\n", "'"])
def test_a_name_is_a_word(name: str):
    with pytest.raises(ValueError, match="cannot name a law"):
        Registry[type]("law").add(name, Ours)


@pytest.mark.parametrize("name", ["other", "", None, 3, ["ours"], {}])
def test_an_unknown_name_is_answered_with_those_that_there_are(name: object):
    laws = Registry[type]("law")
    laws.add("ours", Ours)
    with pytest.raises(ValueError, match=r"no law.*ours"):
        laws.find(name)


def test_a_class_without_a_name_says_so():
    with pytest.raises(ValueError, match=r"Ours.*no name as a law"):
        Registry[type]("law").name_of(Ours)
