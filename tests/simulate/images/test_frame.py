"""Band images and frames."""

import numpy as np
import pytest

from starcensus.simulate.images.frame import BandImage, Frame


def band(name: str = "ACS_F555W", shape=(4, 6), **changes) -> BandImage:
    return BandImage(
        **{"band": name, "data": np.ones(shape), "exposure_s": 10.0, "zero_point": 25.0, **changes}
    )


def test_an_image_keeps_its_own_pixels():
    data = np.ones((4, 6))
    image = band(data=data)
    data[:] = 7
    assert (image.data == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        image.data[0, 0] = 2


def test_magnitudes_and_rates_are_inverse():
    image = band()
    mags = np.array([20.0, 25.0, 30.0])
    np.testing.assert_allclose(image.rate(mags), [100.0, 1.0, 0.01])
    np.testing.assert_allclose(image.electrons(mags), [1000.0, 10.0, 0.1])
    np.testing.assert_allclose(image.mag(image.rate(mags)), mags)
    assert np.isnan(image.mag(np.array([0.0, -1.0]))).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exposure_s": 0.0}, "exposure_s is 0.0; expected seconds > 0"),
        ({"zero_point": np.nan}, "zero_point is nan; expected a magnitude"),
        ({"data": np.diag([np.nan, 1.0])}, "1 pixels are not finite, the first at row 0, column 0"),
        ({"n_exposures": 0}, "n_exposures 0; expected >= 0 and >= 1"),
    ],
)
def test_what_is_no_image_is_refused(changes, message: str):
    with pytest.raises(ValueError, match=f"ACS_F555W: .*{message}"):
        band(**changes)


def test_a_frame_has_one_grid_and_each_band_once():
    with pytest.raises(ValueError, match="differ in shape"):
        Frame((band(), band("ACS_F814W", shape=(6, 4))), 30.0)
    with pytest.raises(ValueError, match="each band once"):
        Frame((band(), band()), 30.0)
    frame = Frame((band(), band("ACS_F814W")), 29.98, 0.0396)
    assert frame.shape == (4, 6) and frame.pc_per_pixel == pytest.approx(1.902, abs=0.001)
    with pytest.raises(ValueError, match="no band ACS_F435W; it has ACS_F555W, ACS_F814W"):
        frame.image("ACS_F435W")


def test_a_cutout_keeps_rows_and_columns_apart():
    data = np.arange(24.0).reshape(4, 6)
    cut = Frame((band(data=data),), 30.0).cutout(slice(1, 3), slice(2, 6))
    np.testing.assert_array_equal(cut.images[0].data, data[1:3, 2:6])
