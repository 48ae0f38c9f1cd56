"""Tables that may be joined, and those that may not."""

import dataclasses

import numpy as np
import pytest

from starcensus.selection.injection import InjectionTable

SURVEY = {
    "distance_modulus": 29.98,
    "pipeline": {"name": "legus", "threshold": 3.0},
    "frame_sha256": "ab",
    "label": "in the catalogue",
}
OTHERS = {
    "distance_modulus": 29.5,
    "pipeline": {"name": "legus", "threshold": 4.0},
    "frame_sha256": "cd",
    "label": "detected",
}


@pytest.mark.parametrize("name", SURVEY)
def test_tables_of_different_surveys_are_not_joined(made_table, name):
    def table(meta):
        return dataclasses.replace(made_table(20)[0], meta=meta)

    one, other = table(SURVEY), table({**SURVEY, name: OTHERS[name]})
    silent = table({k: v for k, v in SURVEY.items() if k != name})
    for tables in ((one, other), (silent, one, other)):
        with pytest.raises(ValueError, match=f"tables have {name} .*; only tables of one") as error:
            InjectionTable.concatenate(*tables)
        assert str(OTHERS[name]) in str(error.value) and str(SURVEY[name]) in str(error.value)
    # What a survey does not say, and what differs between plans, is no obstacle.
    joined = InjectionTable.concatenate(one, silent, table({**SURVEY, "plan": {"seed": 1}}))
    assert len(joined) == 60 and joined.meta == SURVEY
    np.testing.assert_array_equal(joined.x[20:40], silent.x)


def test_a_joined_table_says_how_its_clusters_were_chosen(made_table, tmp_path):
    uniform = made_table(20)[0]

    def chosen(seed, **inputs):
        meta = {**uniform.meta, "choice": {"inputs": inputs, "seed": seed}}
        return dataclasses.replace(uniform, meta=meta, inclusion=np.full(20, 0.5))

    one, again, other = chosen(0, r_eff=True), chosen(1, r_eff=True), chosen(2, r_eff=False)
    join = InjectionTable.concatenate
    assert join(uniform, uniform).choices == [] and "choice" not in join(uniform, uniform).meta
    first = one.meta["choice"]
    assert join(uniform, one).meta["choice"] == join(one, again, uniform).meta["choice"] == first
    join(join(uniform, one), other, again).save(tmp_path / "joined.h5")
    assert InjectionTable.load(tmp_path / "joined.h5").choices == [first, other.meta["choice"]]
