"""Finder files and what their job makes of bank, images and answers; its training needs Torch."""

import dataclasses
import importlib.util
import json
import pathlib
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from tests.experiments.finder_project import (
    BANDS,
    FINDER,
    MODULUS,
    noise_frame,
    write_project,
)
from tests.helpers import run

from starcensus.experiments.jobs import finder as jobs
from starcensus.experiments.jobs._job import open_job
from starcensus.experiments.jobs.finder import FinderJob
from starcensus.experiments.report.finder import finder_figures
from starcensus.experiments.schema._base import ConfigError, parse
from starcensus.experiments.schema.finder import FinderFile
from starcensus.files import FileError
from starcensus.networks import ConvNetwork
from starcensus.networks.cnn.decoding import softmax
from starcensus.networks.conv_settings import ConvSettings
from starcensus.selection.finder import grid_of, mocks
from starcensus.selection.finder.answers import Binned
from starcensus.selection.finder.learning import LearningSettings
from starcensus.simulate.stamps import (
    Backgrounds,
    BackgroundSettings,
    StampBank,
    StampSettings,
)
from starcensus.simulate.stamps.bank import write_bank


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> pathlib.Path:
    folder = write_project(tmp_path_factory.mktemp("finder"), n=60)
    open_job(folder / "stamps.toml", folder / "bank.h5").perform()
    return folder


@pytest.fixture(scope="module")
def bank(project) -> StampBank:
    return StampBank.load(project / "bank.h5")


def parsed(text: str = FINDER) -> FinderFile:
    return parse(text, "f.toml", FinderFile)


def job(folder: pathlib.Path, text: str = FINDER) -> FinderJob:
    (folder / "changed.toml").write_text(text)
    made = open_job(folder / "changed.toml", folder / "out")
    assert isinstance(made, FinderJob)
    return made


def test_what_a_file_leaves_out_is_the_librarys():
    bare = parsed('kind = "finder"\nbank = "b.h5"\n[images]\npaths = "x"\n')
    tables = "[backgrounds]\n[network]\n[batches]\n[loop]\n[sharpening]\n"
    assert parsed(f'kind = "finder"\nbank = "b.h5"\n[images]\npaths = "x"\n{tables}') == bare
    assert bare.backgrounds == BackgroundSettings()
    assert bare.learning_settings() == LearningSettings()
    # A table that says one thing leaves the others as they are.
    few = parsed('kind = "finder"\nbank = "b.h5"\nimages.paths = "x"\n[loop]\nsteps = 7\n')
    assert few.loop == dataclasses.replace(LearningSettings().loop, steps=7)
    heads = {"joint": 6, "class": 2}
    made = bare.conv_settings(("V", "I"), (0.1, 0.2), heads)
    alone = ConvSettings(("V", "I"), (0.1, 0.2), heads=(("joint", 6), ("class", 2)))
    assert made == dataclasses.replace(alone, heads=(*alone.heads, ("mixture", 12 * 15)))
    bins = parsed('kind = "finder"\nbank = "b.h5"\ncomponents = 0\nimages.paths = "x"\n')
    assert bins.conv_settings(("V", "I"), (0.1, 0.2), heads) == alone
    assert "flux_scale" not in bare.settings()["network"]


def test_how_many_batches_wait_is_no_part_of_a_run(project):
    before = job(project).identity.key
    assert job(project, FINDER.replace("threads = 1", "threads = 1\nahead = 5")).identity.key == (
        before
    )
    assert job(project, FINDER.replace("threads = 1", "threads = 2")).identity.key != before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("box_pix = 9", "box_pix = 11", "window of 18 pixels and backgrounds.size_pix is 16"),
        ("box_pix = 9", "box_pix = 8", "box_pix is 8; expected an odd number"),
        ("box_pix = 9", 'heads = [["joint", 3]]', "network: unknown key heads; remove it"),
        ("n = [60, 20, 20]", "n = [23, 9, 9]", r"n is \[23, 9, 9\]; expected 24 or more for tr"),
        ("n = [60, 20, 20]", "n = [60, 20, 0]", r"n is \[60, 20, 0\]; .* some .* for the test"),
        ("n_clusters = 16", "n_clusters = 0", "batches have 8 backgrounds and 0 clusters; exp"),
        ("steps = 30", "steps = 30\nseed = 2", "loop: unknown key seed .*at the top of the file"),
        ("n_test = 10", "n_test = 1", "n_test: .*greater than or equal to 2"),
        ("threads = 1", "threads = 0", "threads: .*greater than or equal to 1"),
        ('bank = "bank.h5"', "", "bank: is missing"),
    ],
)
def test_files_that_are_refused(old, new, message):
    assert old in FINDER
    with pytest.raises(ConfigError, match=rf"^f\.toml: .*{message}"):
        parsed(FINDER.replace(old, new))


def test_without_torch_it_says_so_before_it_reads(project, monkeypatch, capsys):
    find = importlib.util.find_spec

    def without(name: str, *rest: Any) -> Any:
        return None if name == "torch" else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    (project / "early.toml").write_text(FINDER.replace('"bank.h5"', '"none.h5"'))
    out = project / "nothing"
    assert run(monkeypatch, "train", project / "early.toml", "--out", out) == 2
    said = capsys.readouterr().err
    assert said == (
        "starcensus: training of networks needs torch, which is not installed: "
        "pip install 'starcensus[cnn]'\n"
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "n_validation = 30",
            "n_validation = 35",
            "has 60 mocks, of which n_validation = 35 and n_test = 10 take no part in training: "
            "15 are left, and a batch takes 16; draw more",
        ),
        ("n_test = 10", "n_test = 40", "0 are left, and a batch takes 16"),
        (
            "size_pix = 16\nmargin_pix = 2",
            "size_pix = 18\nmargin_pix = 2",
            "stamps of bank.h5 have 16 pixels a side, and the network has a window of 18",
        ),
    ],
)
def test_a_bank_that_is_not_for_the_network_is_refused(project, bank, old, new, message):
    assert old in FINDER
    text = FINDER.replace(old, new)
    if "size_pix = 18" in new:
        text = text.replace("box_pix = 9", "box_pix = 11")
    with pytest.raises(ConfigError, match=message):
        jobs.refuse_small(parsed(text), StampBank.load(project / "bank.h5", rows=slice(0, 0)))
    # A batch of one pass.
    jobs.refuse_small(parsed(FINDER.replace("n_validation = 30", "n_validation = 34")), bank)


def test_images_are_taken_in_the_bands_of_the_bank(bank):
    frame = noise_frame(side=64)
    assert jobs.like_bank(frame.select(BANDS[::-1]), bank, "bank.h5").bands == BANDS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda frame: frame.select(BANDS[1:]),
            r"there is no WFC3_UVIS_F336W among WFC3_UVIS_F438W, WFC3_UVIS_F814W; the bank mine",
        ),
        (
            lambda frame: dataclasses.replace(frame, pixel_scale_arcsec=0.0396 * 1.021),
            r"pixels of 0\.040432 arcsec, and the stamps of mine\.h5 0\.04: draw a bank for these",
        ),
        (
            lambda frame: dataclasses.replace(frame, distance_modulus=29.98),
            r"the distance modulus 29\.98 mag, and the stamps of mine\.h5 28: draw",
        ),
        (
            lambda frame: dataclasses.replace(
                frame,
                images=tuple(
                    dataclasses.replace(image, zero_point=24.95)
                    if image.band == BANDS[1]
                    else image
                    for image in frame
                ),
            ),
            r"in WFC3_UVIS_F438W the zero point 24\.95 mag, and the stamps of mine\.h5 25: draw",
        ),
    ],
)
def test_images_unlike_the_bank_are_refused_with_what_both_say(bank, change, message):
    with pytest.raises(ConfigError, match=message):
        jobs.like_bank(change(noise_frame(side=64)), bank, "mine.h5")


def test_bins_follow_from_the_bank_alone(bank):
    of_file = StampSettings(
        distance_modulus=MODULUS,
        log_age=(6.5, 8.5),
        log_mass=(2.0, 3.0),
        faintest_mags=None,
    )
    assert grid_of(jobs.settings_of(bank)) == grid_of(of_file)


def test_what_was_taught_has_the_exposures_of_the_images(bank):
    frame = noise_frame(side=64)
    longer = tuple(dataclasses.replace(image, exposure_s=3 * image.exposure_s) for image in frame)
    facts = jobs.taught_by(bank, dataclasses.replace(frame, images=longer))
    seconds = {each["band"]: each["exposure_s"] for each in facts["exposures"]}
    assert seconds == dict(zip(BANDS, (6000.0, 3000.0, 4500.0), strict=True))
    same = jobs.taught_by(bank, frame)
    assert same == bank.meta["settings"] and facts["pixel_scale_arcsec"] == 0.04


def test_circles_are_three_columns_of_a_table(tmp_path):
    path = tmp_path / "known.ecsv"
    Table({"name": ["a", "b"], "radius": [3.0, 0.0], "y": [5, 6], "x": [1.5, 2.5]}).write(path)
    assert jobs.read_circles(path).tolist() == [[1.5, 5.0, 3.0], [2.5, 6.0, 0.0]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"radius": [1.0, -2.0]}, r"known\.csv: line 3, column radius: .* number of 0 or more"),
        ({"x": [np.nan, 2.0]}, r"known\.csv: line 2, column x: expected a finite number"),
        ({"y": ["a", "b"]}, r"known\.csv: line 2, column y: expected a finite number"),
        ({"radius": None}, r"has no column radius; expected x, y and radius, pixels"),
    ],
)
def test_circles_that_are_none_are_refused(tmp_path, columns, message):
    good: dict[str, Any] = {"x": [1.0, 2.0], "y": [1.0, 2.0], "radius": [1.0, 2.0]}
    kept = {name: values for name, values in (good | columns).items() if values is not None}
    Table(kept).write(tmp_path / "known.csv")
    with pytest.raises(FileError, match=message):
        jobs.read_circles(tmp_path / "known.csv")


def network(bank: StampBank, scale: float = 0.3) -> ConvNetwork:
    """Of random weights, which sees the stamps of the bank."""
    heads = tuple(grid_of(jobs.settings_of(bank)).heads().items())
    stages = (((3, 4),), ((3, 8),))
    conv = ConvSettings(BANDS, (0.02, 0.02, 0.02), stages=stages, box_pix=9, heads=heads)
    rng = np.random.default_rng(2)
    return ConvNetwork(conv, {n: scale * rng.normal(size=s) for n, s in conv.shapes().items()})


def test_each_mock_is_answered_once_and_in_its_place(bank, monkeypatch):
    """In an exposure without end there is no noise: what is seen is the mock."""
    monkeypatch.setattr(mocks, "_CHUNK", 20)
    nowhere = np.zeros(4, int)
    dark = Backgrounds(
        BANDS,
        np.zeros((4, 3, 16, 16), np.float32),
        nowhere,
        nowhere,
        nowhere,
        np.full(3, 1e14),
        bank.zero_point,
        bank.pixel_scale_arcsec,
    )
    seen, grid = network(bank), grid_of(jobs.settings_of(bank))
    found = mocks.answer_mocks(seen, grid, bank, dark, seed=1)
    said = found.said
    parts = [seen(bank.images[k : k + 20]) for k in (0, 20, 40)]
    logits = {name: np.concatenate([part[name] for part in parts]) for name in ("joint", "size")}
    for name, values in (("joint", said.joint), ("size", said.size)):
        np.testing.assert_allclose(values, softmax(logits[name]), rtol=0.01, atol=1e-6)
    # Rows differ by more than that, but for mocks of no light.
    ratio = (said.joint[1:] / said.joint[:-1]).max(axis=1)
    assert np.percentile(ratio, 10) > 1.2
    np.testing.assert_array_equal(found.true["log_age"], bank["log_age"])
    np.testing.assert_allclose(10 ** found.true["log_r_eff_pc"], bank["r_h_pc"])


def test_answers_depend_on_the_seed_and_on_nothing_else(bank):
    rng = np.random.default_rng(3)
    nowhere = np.zeros(4, int)
    sky = rng.normal(0.05, 0.01, (4, 3, 16, 16)).astype(np.float32)
    fields = bank.exposure_s, bank.zero_point, bank.pixel_scale_arcsec
    backgrounds = Backgrounds(BANDS, sky, nowhere, nowhere, nowhere, *fields)
    grid, seen = grid_of(jobs.settings_of(bank)), network(bank)
    first, again, other = (
        mocks.answer_mocks(seen, grid, bank.take(slice(0, 20)), backgrounds, seed=seed).said.joint
        for seed in (0, 0, 5)
    )
    assert (first == again).all() and not (first == other).all()


def test_curves_have_a_row_for_each_step():
    curves = {
        "train.total": np.array([4.0, 3.0, 2.0, 1.0]),
        "validation.total": np.array([3.5, 1.5]),
        "validation_step": np.array([2.0, 4.0]),
    }
    made = jobs.by_step(curves)
    assert made["step"].tolist() == [1, 2, 3, 4]
    assert made["train.total"].tolist() == [4.0, 3.0, 2.0, 1.0]
    np.testing.assert_array_equal(made["validation.total"], [np.nan, 3.5, np.nan, 1.5])


def test_figures_are_drawn(bank, tmp_path):
    grid, rng = grid_of(jobs.settings_of(bank)), np.random.default_rng(1)
    n, heads = 50, grid.heads()
    true = {
        name: rng.uniform(axis.low, axis.high, n)
        for name, axis in zip(
            ("log_age", "a_v", "log_mass", "log_r_eff_pc"), grid.continuous, strict=True
        )
    }
    joint, size = (softmax(rng.normal(size=(n, heads[name]))) for name in ("joint", "size"))
    curves: dict[str, np.ndarray] = {"step": np.arange(1, 101)}
    for head in ("total", "joint", "size", "class", "visibility"):
        curves[f"train.{head}"] = 1 + 1 / curves["step"]
        curves[f"validation.{head}"] = np.where(curves["step"] % 25, np.nan, 1.05)
    paths = finder_figures(tmp_path, curves, Binned(joint, size, grid), true, sharpened_from=80)
    assert [path.name for path in paths] == ["curves.png", "predicted.png"]
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_no_file_can_be_replaced_unnoticed(project):
    before = job(project).identity.key
    assert job(project).identity.key == before

    def other(content: bytes) -> bytes:
        return content[:-1] + bytes([content[-1] ^ 1])

    for name in ("bank.h5", f"images/{BANDS[1]}.fits", "known.csv"):
        path = project / name
        content = path.read_bytes()
        if name == "bank.h5":
            rewritten(path, 1.01)
        else:
            path.write_bytes(other(content))
        assert job(project).identity.key != before, name
        path.write_bytes(content)
    assert job(project).identity.key == before


def rewritten(path: pathlib.Path, factor: float) -> None:
    """The same bank with other light in its last mock."""
    bank = StampBank.load(path)
    images = bank.images.copy()
    images[-1] *= np.float32(factor)
    write_bank(path, len(bank), bank.meta, [lambda: {"images": images, **bank.columns}])


def test_the_schema_is_whole_json(project):
    from starcensus.experiments.schema.reference import json_of

    found = json_of("finder")["properties"]["network"]
    assert set(found["properties"]) == {"stages", "box_pix", "sd_floor"}
    assert "required" not in found
    stamps = json_of("stamps")["properties"]
    assert {"const": "none"} in stamps["stamps"]["properties"]["faintest_mags"]["anyOf"]
    assert stamps["draw"]["properties"]["nebular"]["default"] is False
    assert json.loads(json.dumps(json_of("stamps"))) == json_of("stamps")
