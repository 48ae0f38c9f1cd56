"""Products of operators, and operators on tensor grids."""

import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from starcensus.selection import (
    Box,
    MagnitudeLimit,
    ProductSelection,
    RecordedSelection,
    complete,
    with_acts_on,
    with_outside,
)

BOX = Box((3.0, 6.0), (6.5, 9.0), (0.0, 2.0))
LIMITS = Box((4.0, 5.0), (2.0, 12.0), (-5.0, 5.0))
SIGMA = (0.2, 0.1, 0.15)


def magnitude() -> MagnitudeLimit:
    return with_outside(MagnitudeLimit.default(width_mag=0.3), "zero")


def nodes(n: int = 7) -> list[np.ndarray]:
    return [
        np.linspace(low + 0.05, high - 0.05, n)
        for low, high in (BOX.log_mass, BOX.log_age, BOX.a_v)
    ]


def test_product_is_the_product_of_probabilities():
    product = ProductSelection(magnitude(), RecordedSelection(complete(LIMITS), SIGMA))
    theta = (jnp.asarray([3.9, 4.5, 5.3]), 7.5, 0.5)
    box_share = norm.cdf((5.0 - theta[0]) / 0.2) - norm.cdf((4.0 - theta[0]) / 0.2)
    expected = np.asarray(magnitude().p_sel(*theta)) * box_share
    np.testing.assert_allclose(product.p_sel(*theta), expected, rtol=1e-6)


def test_product_states_domain_place_and_refusal():
    narrow = MagnitudeLimit.default(domain=Box((3.0, 6.0), (7.0, 9.0), (0.0, 2.0)))
    product = ProductSelection(narrow, complete(BOX))
    assert product.domain == Box((3.0, 6.0), (7.0, 9.0), (0.0, 2.0))
    assert product.outside == "refuse"
    assert np.isnan(product.p_sel(4.0, 6.6, 0.0))
    # A stage that clips is known everywhere.
    clipping = with_outside(narrow, "clip")
    product = ProductSelection(clipping, complete(BOX))
    assert product.domain == BOX and product.outside == "zero"
    np.testing.assert_allclose(product.p_sel(4.0, 6.6, 0.0), narrow.p_sel(4.0, 7.0, 0.0))
    other = with_outside(complete(Box((3.0, 6.0), (6.0, 7.5), (0.0, 2.0))), "clip")
    product = ProductSelection(clipping, other)
    assert product.domain == Box((3.0, 6.0), (6.0, 9.0), (0.0, 2.0)) and product.outside == "clip"
    np.testing.assert_allclose(product.p_sel(4.0, 8.0, 0.0), narrow.p_sel(4.0, 8.0, 0.0))


def test_of_a_mixed_product_the_stage_of_the_truth_alone_multiplies_objects():
    on_truth = with_acts_on(magnitude(), "truth")
    limits = complete(Box((4.0, 6.0), (6.0, 9.0), (0.0, 2.0)))
    theta = (np.array([3.9, 4.3]), 8.2, 0.4)
    for product in (ProductSelection(on_truth, limits), ProductSelection(limits, on_truth)):
        assert product.acts_on == "mixed"
        np.testing.assert_allclose(product.p_object(*theta), magnitude().p_sel(*theta))
        np.testing.assert_allclose(
            product.p_sel(*theta), magnitude().p_sel(*theta) * np.array([0.0, 1.0])
        )
    np.testing.assert_array_equal(magnitude().p_object(*theta), [1.0, 1.0])
    np.testing.assert_allclose(on_truth.p_object(*theta), on_truth.p_sel(*theta))


def test_recorded_tensor_grid_against_random_noise():
    operator = RecordedSelection(magnitude(), SIGMA)
    axes = nodes(4)
    on_grid = np.asarray(operator.on_tensor_grid(*axes))[0]
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(40_000, 3)) * SIGMA
    for index in [(0, 0, 0), (1, 2, 3), (2, 3, 1), (3, 1, 0)]:
        theta = np.asarray([axes[k][i] for k, i in enumerate(index)])
        p = np.asarray(magnitude().p_sel(*(jnp.asarray(c) for c in (theta + noise).T)))
        error = p.std() / np.sqrt(len(p))
        assert abs(on_grid[index] - p.mean()) < 4.5 * error + 1e-6
