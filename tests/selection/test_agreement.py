"""Operators say what they were learned for, and are refused for anything else."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from starcensus.networks import random_mlp
from starcensus.selection import (
    BandFacts,
    Box,
    Nuisance,
    OtherSurveyError,
    ProductSelection,
    RecordedSelection,
    SurveyFacts,
    catalogue_differences,
    complete,
    differences,
    facts_of_catalogue,
    learned_facts,
    load_selection,
    not_compared,
    refuse_other_survey,
    save_selection,
    tabulate,
    with_acts_on,
    with_outside,
)
from starcensus.selection.catalogue import (
    AbsoluteMagnitude,
    Catalogue,
    Classes,
    Concentration,
    PhotometricErrors,
    apply_cuts,
    read_catalogue,
    write_catalogue,
)
from starcensus.selection.operators.facts import facts_of_meta, pipeline_text, quantiles
from starcensus.selection.operators.network import NetworkSelection

BOX = Box((2.0, 7.0), (6.0, 10.0), (0.0, 3.0))
LEGUS = {
    "pipeline": "legus",
    "max_absolute_v": -6.0,
    "ci_limit": 1.4,
    "max_error": 0.3,
    "min_bands": 4,
    "detection_sigma": 20.0,
}
BANDS = ("WFC3_UVIS_F275W", "WFC3_UVIS_F336W", "ACS_F435W", "ACS_F555W", "ACS_F814W")
FACTS = SurveyFacts(
    field="NGC 628-C",
    distance_modulus=29.98,
    bands=tuple(BandFacts(band, 1000.0, 29.5, "a" * 64, 0.07) for band in BANDS),
    radius_pc=(1.0, 2.0, 5.0, 9.0, 10.0),
    sky=(0.03, 0.05, 0.1, 0.2, 0.3),
    pipeline=pipeline_text(LEGUS),
    frame_sha256="b" * 64,
    tables_sha256=("c" * 64,),
)
NETWORKS = tuple(random_mlp((3, 4), key=jax.random.key(k)) for k in range(2))


def network() -> NetworkSelection:
    return NetworkSelection(NETWORKS, BOX, learned_for=FACTS)


def catalogue(n: int = 6, **meta) -> Catalogue:
    rng = np.random.default_rng(3)
    theta = np.stack([rng.uniform(4, 5, n), rng.uniform(7, 8, n), rng.uniform(0, 1, n)], axis=1)
    return Catalogue(
        "mine",
        np.arange(n).astype(str),
        theta,
        theta - 0.1,
        theta + 0.1,
        BANDS,
        np.full((n, 5), 22.0),
        np.full((n, 5), 0.05),
        {"class_mode": np.ones(n, int), "concentration_index": np.full(n, 1.6)},
        meta={"distance_modulus": 29.98, "field": "ngc628-c", **meta},
    )


STAGE2 = (PhotometricErrors(), AbsoluteMagnitude(), Concentration())


def about(found) -> list[str]:
    return [each.about for each in found]


def test_facts_are_stored_with_the_operator_and_pass_through_what_is_made_of_it(tmp_path):
    limits = RecordedSelection(complete(BOX), (0.1, 0.1, 0.1))
    made = ProductSelection(network(), limits)
    nodes = (np.array([3.0, 5.0]), np.array([7.0, 9.0]), np.array([0.5, 2.0]))
    for operator in (
        network(),
        with_acts_on(network(), "truth"),
        RecordedSelection(with_outside(network(), "zero"), (0.1, 0.1, 0.0)),
        made,
        tabulate(network(), *nodes),
    ):
        save_selection(operator, tmp_path / "operator.h5")
        assert learned_facts(operator) == (FACTS,)
        assert learned_facts(load_selection(tmp_path / "operator.h5")) == (FACTS,)
    assert learned_facts(complete(BOX)) == ()


def test_facts_survive_json_and_a_catalogue_file(tmp_path):
    assert SurveyFacts.read(json.loads(json.dumps(FACTS.json()))) == FACTS
    kept = apply_cuts(catalogue(survey=FACTS.json()), STAGE2)
    write_catalogue(kept, tmp_path / "mine.ecsv")
    back = read_catalogue(tmp_path / "mine.ecsv", "starcensus")
    assert facts_of_catalogue(back) == facts_of_catalogue(kept)
    assert facts_of_catalogue(back).limits == (
        ("max_error", 0.3),
        ("min_bands", 4.0),
        ("max_absolute_v", -6.0),
        ("ci_limit", 1.4),
    )
    with pytest.raises(ValueError, match="knows no colour"):
        SurveyFacts.read({"colour": 1})
    with pytest.raises(ValueError, match="expected the quantiles"):
        SurveyFacts(sky=(1.0, 2.0))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("field", {"field": "NGC 1313"}, "learned in NGC 628-C, the catalogue is of NGC 1313"),
        ("distance", {"distance_modulus": 28.21}, "1.77 mag brighter"),
        ("bands", {"bands": FACTS.bands[:4]}, "ACS_F814W; the catalogue has"),
        ("bands", {"bands": (*FACTS.bands[:4], BandFacts("WFC3_UVIS_F814W"))}, "UVIS_F814W"),
        (
            "depth",
            {"bands": tuple(dataclasses.replace(b, noise_mag=28.6) for b in FACTS.bands)},
            "ACS_F555W -0.90 mag",
        ),
        (
            "psf",
            {
                "bands": tuple(
                    dataclasses.replace(b, psf_sha256="d" * 64, psf_fwhm_arcsec=0.08)
                    for b in FACTS.bands
                )
            },
            "FWHM 0.080 for 0.070 arcsec",
        ),
        ("radius", {"radius_pc": (1.0, 1.0, 2.0, 3.0, 4.0)}, "half-light radii of 5 (16%"),
        ("sky", {"sky": tuple(5 * x for x in FACTS.sky)}, "moves by up to 0.87 mag"),
        (
            "pipeline",
            {"pipeline": pipeline_text({**LEGUS, "detection_sigma": 10.0})},
            "detection_sigma 10.0 for 20.0",
        ),
    ],
)
def test_each_thing_that_differs_is_refused_with_both_values_unless_accepted(name, change, words):
    here = dataclasses.replace(FACTS, **change)
    found = differences(FACTS, here)
    assert about(found) == [name] and words in found[0].words
    with pytest.raises(OtherSurveyError) as refused:
        refuse_other_survey(found, source="table.tab")
    said = str(refused.value)
    assert said.startswith("table.tab: ") and words in said
    assert f'accept = ["{name}"]' in said and f"--accept {name}" in said
    refuse_other_survey(found, accept=(name,))


def test_what_differs_by_less_than_it_matters_or_is_not_known_is_no_difference():
    bands = tuple(
        dataclasses.replace(b, noise_mag=29.56, psf_sha256=None, exposure_s=1100.0)
        for b in FACTS.bands
    )
    near = dataclasses.replace(
        FACTS,
        field="ngc628-c",
        distance_modulus=29.95,
        bands=bands,
        radius_pc=(1.0, 2.0, 6.0, 9.0, 10.0),
        sky=tuple(1.1 * x for x in FACTS.sky),
        pipeline=pipeline_text({**LEGUS, "ci_limit": 1.4 + 1e-12}),
    )
    assert differences(FACTS, near) == ()
    assert differences(FACTS, SurveyFacts()) == () == differences(SurveyFacts(), FACTS)
    assert differences(FACTS, dataclasses.replace(FACTS, sky=(-1e-3,) * 5)) == ()
    # Bands without a camera, as those of C-4, are told by their filters.
    bare = dataclasses.replace(FACTS, bands=tuple(BandFacts(b.name[-5:]) for b in FACTS.bands))
    assert differences(bare, FACTS) == ()
    wide = dataclasses.replace(FACTS, sky=tuple(5 * x for x in FACTS.sky), radius_pc=(9.0,) * 5)
    assert differences(FACTS, wide, given=("radius", "sky")) == ()
    assert set(not_compared(FACTS, near)) == {"psf"}
    assert set(not_compared(FACTS, SurveyFacts("NGC 628"))) == {
        *("distance", "bands", "depth", "psf", "radius", "sky", "pipeline")
    }


def test_a_catalogue_cut_as_the_operator_was_learned_has_no_warning():
    assert catalogue_differences(network(), apply_cuts(catalogue(), STAGE2)) == ()


@pytest.mark.parametrize(
    ("cuts", "words"),
    [
        ((*STAGE2, Classes((1, 2))), "keeps the classes 1, 2, which were given by inspection"),
        (
            (PhotometricErrors(), AbsoluteMagnitude(limit=-7.0), Concentration()),
            "M_V <= -6, and the catalogue was cut at M_V <= -7",
        ),
        ((PhotometricErrors(), Concentration()), "no step says that the catalogue was cut so"),
    ],
)
def test_other_cuts_are_a_warning_in_words_and_no_refusal(cuts, words):
    found = catalogue_differences(network(), apply_cuts(catalogue(), cuts))
    assert about(found) == ["cuts"] and words in found[0].words and found[0].is_warning
    refuse_other_survey(found)


def test_classes_are_compared_with_those_of_the_classifier():
    """Of an operator whose injections were classified, and catalogues by people and by networks."""
    said = {**FACTS.settings, "classifier": {"classes": [1, 2], "sha256": "a"}}
    facts = dataclasses.replace(FACTS, pipeline=pipeline_text(said))
    operator = dataclasses.replace(network(), learned_for=facts)

    def warned(*cuts) -> list[str]:
        found = catalogue_differences(operator, apply_cuts(catalogue(), (*STAGE2, *cuts)))
        assert set(about(found)) <= {"cuts"}
        return [each.words for each in found]

    assert warned(Classes((1, 2))) == warned(Classes((2, 1))) == []
    [words] = warned(Classes((1, 2, 3)))
    assert words == (
        "the operator counts what its classifier puts into 1, 2, and the catalogue keeps the "
        "classes 1, 2, 3"
    )
    [words] = warned()
    assert words.endswith("into 1, 2, and no step says that the catalogue keeps these classes")
    # A catalogue of our own says which pipeline made it, and other networks are another pipeline.
    assert differences(facts, facts) == ()
    for classifier in ({"classes": [1, 2], "sha256": "b"}, {"classes": [1], "sha256": "a"}, None):
        other = {**said, "classifier": classifier} if classifier else FACTS.settings
        here = dataclasses.replace(FACTS, pipeline=pipeline_text(other))
        [found] = differences(facts, here)
        assert found.about == "pipeline" and not found.is_warning and "classifier" in found.words


def test_a_cut_that_the_operator_does_not_know_is_said():
    cut = apply_cuts(catalogue(), (PhotometricErrors(), Concentration()))

    def warned(**settings) -> list[str]:
        facts = dataclasses.replace(FACTS, pipeline=pipeline_text(settings))
        found = catalogue_differences(dataclasses.replace(network(), learned_for=facts), cut)
        assert set(about(found)) <= {"cuts"}
        return [each.words for each in found]

    [words] = warned(max_error=0.3, min_bands=4)
    assert words == "the catalogue was cut at CI >= 1.4 mag, and the operator counts all"
    # Of a pipeline that names no cut nothing is known.
    assert warned(pipeline="C-4") == []


def test_a_catalogue_that_knows_what_its_selection_looked_at_contradicts_the_operator():
    mock = apply_cuts(catalogue(acts_on="truth"), STAGE2)
    found = catalogue_differences(network(), mock)
    assert about(found) == ["acts_on"] and 'acts_on = "truth"' in found[0].words
    assert catalogue_differences(with_acts_on(network(), "truth"), mock) == ()
    # p = 1 inside the bounds is the same in both places.
    assert catalogue_differences(complete(BOX), mock) == ()


def test_facts_of_tables_of_before_are_what_their_meta_says():
    meta = {
        "bands": ["ACS_F555W"],
        "distance_modulus": 29.98,
        "pipeline": LEGUS,
        "frame_sha256": "e" * 64,
        "templates": {"psf_sha256": {"ACS_F555W": "f" * 64}},
    }
    facts = facts_of_meta(meta)
    assert facts.bands == (BandFacts("ACS_F555W", psf_sha256="f" * 64),)
    assert facts.settings == LEGUS and facts.distance_modulus == 29.98
    assert dict(facts.pipeline_limits)["max_absolute_v"] == -6.0
    assert facts_of_meta({**meta, "survey": FACTS.json()}) == FACTS


def test_quantiles_leave_out_what_is_not_finite_and_follow_weights():
    assert quantiles(np.array([np.nan])) == ()
    values = np.append(np.linspace(0, 100, 101), np.nan)
    assert quantiles(values) == (5.0, 16.0, 50.0, 84.0, 95.0)
    assert quantiles(np.array([1.0, 2.0]), np.array([1.0, 99.0])) == (2.0,) * 5


def test_an_operator_of_before_has_the_facts_of_its_provenance(tmp_path):
    bare = dataclasses.replace(network(), learned_for=None)
    meta = {"bands": list(BANDS), "distance_modulus": 29.98, "pipeline": LEGUS}
    facts = {"injections": meta, "tables_sha256": ["c" * 64]}
    save_selection(bare, tmp_path / "old.h5", facts)
    (found,) = learned_facts(load_selection(tmp_path / "old.h5"))
    assert found.distance_modulus == 29.98 and found.tables_sha256 == ("c" * 64,)
    far = apply_cuts(catalogue(distance_modulus=27.0), STAGE2)
    assert "distance" in about(catalogue_differences(load_selection(tmp_path / "old.h5"), far))


def test_the_nuisance_of_an_operator_says_its_radii(made_table):
    from starcensus.selection.learning import facts_of_table

    table, _ = made_table(400)
    radii = Nuisance(("log_r_eff_pc",), np.log10([[3.0], [4.0]]), np.array([0.9, 0.1]))
    assert facts_of_table(table, radii).radius_pc == (3.0, 3.0, 3.0, 3.0, 4.0)
    assert facts_of_table(table).radius_pc == quantiles(table.r_eff_pc)
    of_mass = dataclasses.replace(radii, mass_radius=(0.1, 0.2))
    assert facts_of_table(table, of_mass).radius_pc == ()
