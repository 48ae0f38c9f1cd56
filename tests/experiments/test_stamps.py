"""`simulate stamps`: the bank that it writes, its settings, and what it says to mistakes."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from tests.experiments.finder_project import BANDS, STAMPS, stellar_grid, write_project
from tests.helpers import run

from starcensus.experiments.jobs._job import Show, open_job
from starcensus.experiments.jobs.stamps import StampsJob
from starcensus.experiments.schema._base import parse
from starcensus.experiments.schema.stamps import StampsFile
from starcensus.files import checksum
from starcensus.shards import ShardedRun, Work
from starcensus.simulate import DrawSettings, Exposure, Salpeter, read_psf
from starcensus.simulate.stamps import StampBank, StampSettings, draw_mocks


@pytest.fixture
def project(tmp_path) -> pathlib.Path:
    return write_project(tmp_path)


def parsed(text: str) -> StampsFile:
    return parse('kind = "stamps"\n' + text, "s.toml", StampsFile)


def job(folder: pathlib.Path, out: str = "bank.h5", **how: Any) -> StampsJob:
    made = open_job(folder / "stamps.toml", folder / out, **how)
    assert isinstance(made, StampsJob)
    return made


def test_a_bank_and_what_stands_beside_it(project, monkeypatch, capfd):
    out = project / "made" / "bank.h5"
    arguments = [str(project / "stamps.toml"), "--out", str(out), "--shard-size", "15"]
    assert run(monkeypatch, "simulate", "stamps", *arguments) == 0
    said = capfd.readouterr()
    line = r"\S*bank\.h5: 40 mocks, \d+\.\d s, \d+\.\d per s\n"
    assert re.match(line, said.out) and said.err == ""
    bank = StampBank.load(out)
    assert len(bank) == 40 and bank.bands == BANDS and bank.size_pix == 16
    # Each row is what the settings, the PSFs, the seed and its number alone give.
    settings = StampSettings(
        exposures=tuple(
            Exposure(band, seconds, zero, sky)
            for band, seconds, zero, sky in (
                ("WFC3_UVIS_F336W", 2000.0, 24.0, 0.02),
                ("WFC3_UVIS_F438W", 1000.0, 25.0, 0.03),
                ("WFC3_UVIS_F814W", 1500.0, 24.5, 0.05),
            )
        ),
        distance_modulus=28.0,
        size_pix=16,
        log_age=(6.5, 8.5),
        log_age_step=0.5,
        log_mass=(2.0, 3.0),
        faintest_mags=None,
        z=None,
        psf_radius_pix=12,
        grid=str(project / "grid.h5"),
    )
    psfs = {band: read_psf(project / f"{band}_psf.fits", band, 4, 0.04) for band in BANDS}
    drawn = draw_mocks(settings, psfs, 3, 20, 23)
    np.testing.assert_array_equal(bank.images[20:23], drawn["images"])
    np.testing.assert_array_equal(bank["log_age"][20:23], drawn["log_age"])
    described = json.loads(json.dumps(settings.describe()))
    assert bank.meta["seed"] == 3 and bank.meta["settings"] == described
    summary = json.loads(out.with_suffix(".summary.json").read_text())
    assert summary["n_mocks"] == 40 and summary["n_drawn_before"] == 0
    assert summary["mocks_per_s"] == pytest.approx(40 / summary["wall_s"])
    facts = json.loads(out.with_suffix(".provenance.json").read_text())
    inputs = {role: item["sha256"] for role, item in facts["inputs"].items()}
    files = {"grid": "grid.h5"} | {f"psf.{band}": f"{band}_psf.fits" for band in BANDS}
    assert inputs == {role: checksum(project / name) for role, name in files.items()}
    assert facts["seed"] == 3 and facts["file"] == STAMPS


def test_an_interrupted_bank_goes_on_to_the_same_bytes(project):
    whole = job(project).perform()
    assert whole["n_drawn_before"] == 0

    def stop(done: int, n: int) -> None:
        if done >= 20:
            raise KeyboardInterrupt

    again = {"out": "again.h5", "work": Work(shard_size=10)}
    with pytest.raises(KeyboardInterrupt):
        job(project, **again).perform(Show(count=stop))
    assert not (project / "again.h5").exists()
    done = job(project, **again).perform()
    assert done["n_drawn_before"] == 20
    assert (project / "again.h5").read_bytes() == (project / "bank.h5").read_bytes()
    lines: list[str] = []
    # The same again is finished; another seed is refused, and nothing is lost.
    assert job(project, **again).perform(Show(say=lines.append))["n_drawn_before"] == 40
    assert lines[-1] == "again.h5: finished before"
    (project / "stamps.toml").write_text(STAMPS.replace("seed = 3", "seed = 4"))
    with pytest.raises(ValueError, match=r"again\.h5 is there and is of another settings"):
        job(project, **again).perform()
    assert (project / "again.h5").read_bytes() == (project / "bank.h5").read_bytes()


def test_run_does_it_too(project, monkeypatch):
    (project / "stamps.toml").write_text(STAMPS.replace("n = 40", "n = 2"))
    files = str(project / "stamps.toml"), "--out", str(project / "few.h5")
    assert run(monkeypatch, "run", *files, "--shard-size", "1") == 0
    assert len(StampBank.load(project / "few.h5")) == 2


def test_a_file_without_a_table_has_the_librarys_settings():
    bare = parsed("")
    assert bare.stamp_settings() == StampSettings() and bare.n == 50_000
    assert parsed("[stamps]\n[draw]\n[imf]\n").stamp_settings() == StampSettings()
    # A table that says one thing leaves the others as they are.
    assert parsed("[draw]\ncovering = 0.2").draw == DrawSettings(nebular=False, covering=0.2)
    assert parsed("[draw]\nnebular = true").draw == DrawSettings()
    assert parsed('[imf]\nkind = "salpeter"').stamp_settings().imf == Salpeter()


def test_words_of_files_for_what_toml_has_not():
    none = parsed('[stamps]\nfaintest_mags = "none"\nz = "any"')
    assert none.stamps.faintest_mags is None and none.stamps.z is None
    part = parsed("[stamps]\nfaintest_mags = [24, inf, 23]")
    assert part.stamps.faintest_mags == (24.0, np.inf, 23.0)
    for file in (none, part):
        # JSON has no infinity; what it says is the same file again.
        text = json.dumps(file.settings(), allow_nan=False)
        assert StampsFile.model_validate(json.loads(text)) == file
    two = '[[exposures]]\nband = "{}"\nexposure_s = 1.0\nzero_point = 25.0\nsky = 0.1\n'
    cuts = "[stamps]\nfaintest_mags = [22, 23]\n" + two.format("V") + two.format("I")
    assert parsed(cuts).stamp_settings().bands == ("V", "I")


MISTAKES = [
    ("n = 40", "n = 0", "n is 0; expected at least 1 mock"),
    ("n = 40", "n = 40\nm = 3", "m: unknown key; remove it or check its spelling"),
    ('faintest_mags = "none"', "faintest_mags = [24]", "expected one magnitude for each of WFC3"),
    ('faintest_mags = "none"', 'faintest_mags = "some"', r"stamps\.faintest_mags: .*'some'"),
    ("size_pix = 16", 'size_pix = "16"', r"stamps\.size_pix is '16'; expected a number"),
    ("size_pix = 16", "side_pix = 16", r"stamps\.side_pix: unknown key"),
    ("size_pix = 16", "exposures = 3", "stamps: unknown key exposures; remove it"),
    ("[2.0, 3.0]", "[3.0, 2.0]", r"log_mass = \[3, 2\]; expected the lower limit first"),
    ('"any"', "0.03", r"grid\.h5 has z = None and the settings ask for z = 0\.03"),
    ("[6.5, 8.5]", "[6.5, 9.5]", r"log_age runs from 6\.5 to 9\.5; .*grid\.h5 has 6\.5 to 8\.5"),
    ("grid.h5", "none.h5", r"grid: no file none\.h5 in "),
    ("F438W_psf", "F439W_psf", r"psf\.WFC3_UVIS_F438W: no file WFC3_UVIS_F439W_psf\.fits in "),
    ("[psf]\n", '[psf]\nACS_F555W = "v.fits"\n', "psf: no band ACS_F555W; there are WFC3"),
    ('band = "WFC3_UVIS_F438W"', f'band = "{BANDS[0]}"', "exposures are of bands, each once"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_mistakes(project, monkeypatch, capfd, old, new, message):
    assert old in STAMPS
    (project / "stamps.toml").write_text(STAMPS.replace(old, new))
    out = project / "bank.h5"
    files = str(project / "stamps.toml"), "--out", str(out)
    assert run(monkeypatch, "simulate", "stamps", *files) == 2
    error = capfd.readouterr().err.strip()
    assert error.startswith("starcensus: ") and "\n" not in error, error
    assert re.search(message, error), error
    assert not out.exists()


def test_no_file_can_be_replaced_unnoticed(project, monkeypatch):
    """The key of the shards too: they are what an interrupted run goes on from."""

    class Asked(Exception):
        pass

    def stop(run: ShardedRun, *_: object) -> None:
        raise Asked(run.key)

    monkeypatch.setattr(ShardedRun, "run", stop)

    def keys() -> tuple[str, str]:
        made = job(project)
        with pytest.raises(Asked) as asked:
            made.perform()
        return made.identity.key, str(asked.value)

    before = keys()
    assert keys() == before
    changes: dict[str, Callable[[], object]] = {
        "grid.h5": lambda: brighter(project / "grid.h5"),
        "WFC3_UVIS_F814W_psf.fits": lambda: wider(project / "WFC3_UVIS_F814W_psf.fits"),
    }
    for name, change in changes.items():
        content = (project / name).read_bytes()
        change()
        assert all(new != old for new, old in zip(keys(), before, strict=True)), name
        (project / name).write_bytes(content)
    assert keys() == before


def brighter(path: pathlib.Path) -> None:
    grid = stellar_grid()
    dataclasses.replace(grid, flux=grid.flux * np.float32(1.01)).save(path)


def wider(path: pathlib.Path) -> None:
    with fits.open(path, mode="update") as hdus:
        data: Any = hdus[0].data
        data += 1e-6
