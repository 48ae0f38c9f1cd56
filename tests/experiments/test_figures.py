"""The figures of the documentation can be drawn again."""

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from starcensus.experiments.cli import app
from starcensus.experiments.figures import BANDS, resolved_clusters
from starcensus.simulate.population import StellarPopulation
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
