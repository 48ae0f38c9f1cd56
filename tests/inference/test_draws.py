"""Draws of the number behind a fit that is conditional on it."""

import numpy as np
import pytest

from starcensus.forward import Constant, HalfNormal, Population, PowerLaw, Separable, selection_grid
from starcensus.inference import PopulationModel
from starcensus.inference.draws import with_number
from starcensus.inference.sampling import double_precision
from starcensus.selection import MagnitudeLimit

POPULATION = Population(
    Separable(PowerLaw((3.0, 6.0)), Constant((6.0, 9.0))), HalfNormal((0.0, 2.0)), log_n=2.5
)


def test_the_number_of_a_conditional_fit_is_the_populations_and_not_the_catalogues():
    """N | φ, n ~ Gamma(n) / share catalogued; catches a share that is left out, or is another's."""
    n, slopes = 40, np.array([-2.2, -1.8])
    values = {"alpha_m": np.repeat(slopes[:, None], 4000, axis=1)}
    with double_precision():
        grid = selection_grid(MagnitudeLimit.default(limit_mag=22.0, outside="zero"), POPULATION)
        shares = [
            float(grid.detected_fraction(POPULATION.with_values({"alpha_m": s}))) for s in slopes
        ]
    assert max(shares) < 0.5 and shares[1] > 1.5 * shares[0]
    model = PopulationModel(POPULATION, {"sigma_av": 0.5}, "conditional")
    found = 10 ** with_number(model, values, n, grid, seed=1)["log_n"]
    for draws, share in zip(found, shares, strict=True):
        assert draws.mean() == pytest.approx(n / share, rel=4 / np.sqrt(n * 4000))
        assert draws.std() == pytest.approx(np.sqrt(n) / share, rel=0.05)
    whole = PopulationModel(POPULATION, {"sigma_av": 0.5})
    assert with_number(whole, values, n, grid, seed=1) == values
