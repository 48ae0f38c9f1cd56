"""The figures of the documentation can be drawn again."""

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from starcensus.experiments.cli.main import app
from starcensus.experiments.report import learned
from starcensus.experiments.report.clusters import BANDS, resolved_clusters
from starcensus.simulate.clusters.bins import StellarPopulation
from starcensus.simulate.stars.grid import StellarGrid


def test_every_listed_star_is_a_point():
    population = StellarPopulation(StellarGrid.default().select(BANDS))
    before = dict(matplotlib.rcParams)
    figure = resolved_clusters(population)
    assert dict(matplotlib.rcParams) == before
    for axes in figure.axes[:3]:
        stars = int(axes.get_title().split(":")[1].split()[0])
        [points] = [c for c in axes.collections if len(c.get_offsets()) > 0]
        assert len(points.get_offsets()) == stars > 10
        assert "pc" in axes.get_xlabel()
    assert "mag" in figure.axes[3].get_ylabel()


@pytest.mark.slow
def test_the_command_draws_small_pictures(tmp_path):
    command = ["simulate", "figures", "--out", str(tmp_path), "--draws", "10"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    pictures = sorted(tmp_path.iterdir())
    assert [str(p) for p in pictures] == sorted(result.output.split())
    for picture in pictures:
        assert picture.stat().st_size < 150_000
        assert np.ptp(imread(picture)[..., :3]) > 0.9


def curves(kind: str, error: str | None) -> list[dict[str, object]]:
    """A focused design that is worth twice as many uniform injections, rows out of order."""
    rows: list[dict[str, object]] = []
    for design, worth in (("uniform", 1), ("focused", 2), ("known", 3)):
        for n in (160_000, 10_000, 20_000, 40_000, 80_000):
            loss = (worth * n) ** -0.5 + (0.12 if kind == "held_out_loss" else 0)
            rows.append({"design": design, "n": n, kind: loss})
            if error is not None and design != "known":
                rows[-1][error] = 0.05 * n**-0.5
    return rows


@pytest.mark.parametrize(
    ("kind", "error", "scale"),
    [
        ("held_out_loss", None, "linear"),
        ("held_out_loss", "held_out_loss_se", "linear"),
        ("excess_loss", "standard_error", "log"),
    ],
)
def test_learning_curves_are_told_apart_without_colour(tmp_path, monkeypatch, kind, error, scale):
    drawn = []
    save = learned.save_figure
    monkeypatch.setattr(
        learned,
        "save_figure",
        lambda path, draw: save(path, lambda: drawn.append(draw()) or drawn[0]),
    )
    before = dict(matplotlib.rcParams)
    rows = curves(kind, error)
    path = learned.learning_curve_figure(tmp_path / "curves.png", rows)
    assert dict(matplotlib.rcParams) == before
    assert np.ptp(imread(path)[..., :3]) > 0.9 and list(tmp_path.iterdir()) == [path]
    [axes] = drawn[0].axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", scale)
    assert len(axes.containers) == 3
    lines = [container.lines[0] for container in axes.containers]
    assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == 3
    for design, line in zip(("uniform", "focused", "known"), lines, strict=True):
        n, loss = (np.asarray(part, float) for part in line.get_data(orig=False))
        assert list(n) == [10_000, 20_000, 40_000, 80_000, 160_000] and (np.diff(loss) < 0).all()
        given = {row["n"]: row[kind] for row in rows if row["design"] == design}
        np.testing.assert_allclose(loss, [given[count] for count in n])
    with_bars = [container.has_yerr for container in axes.containers]
    assert with_bars == ([False] * 3 if error is None else [True, True, False])
    for bars in (container.lines[2][0] for container in axes.containers if container.has_yerr):
        heights = [np.ptp(segment[:, 1]) for segment in bars.get_segments()]
        np.testing.assert_allclose(heights, 0.1 * np.array([1e4, 2e4, 4e4, 8e4, 16e4]) ** -0.5)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "uniform",
        "focused",
        "known",
    ]
    drawn[0].canvas.draw()
    shown = [text.get_text() for text in axes.get_xticklabels()]
    assert {"10,000", "20,000", "100,000"} <= set(shown)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"design": "uniform", "n": 100}],
        [{"design": "uniform", "held_out_loss": 0.1}],
        [
            {"design": "uniform", "n": 100, "held_out_loss": 0.1},
            {"design": "focused", "n": 100, "excess_loss": 0.1},
        ],
    ],
)
def test_rows_without_a_curve_are_refused(tmp_path, rows):
    with pytest.raises(ValueError, match="expected design, n and held_out_loss"):
        learned.learning_curve_figure(tmp_path / "curves.png", rows)
    assert not list(tmp_path.iterdir())
