"""Concentration indices in seven apertures (Thilker et al. 2022, section 4.1 and table 1).

CI(i, j) = m(r = i) − m(r = j) = 2.5 log10(F_j / F_i) for radii i < j; larger is more extended.
NCI = 1 − CI/CI_fid, with the CI of a fiducial cluster, a Moffat profile of FWHM 2 pixels and η = 3
behind the PSF; larger is more concentrated. MCI_in is the mean NCI of the inner three pairs of
radii, MCI_out that of the outer three; the fiducial cluster is at (0, 0).
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ....simulate.clusters.profiles import Moffat
from ....simulate.images.frame import BandImage
from ....simulate.images.psf import PSF
from ....simulate.images.render import add_sources
from ....simulate.images.templates import make_template
from ..photometry import SKY_PIX, aperture_photometry

RADII_PIX = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
CI_TABLE_1 = (0.746, 0.447, 0.288, 0.186, 0.201, 0.0858)
"""Of the fiducial cluster in neighbouring radii, in V with WFC3/UVIS at 0.0396 arcsec a pixel."""
FIDUCIAL_FWHM_PIX, FIDUCIAL_ETA = 2.0, 3.0
OFFSETS_PIX = ((0.0, 0.0), (0.25, 0.25), (0.5, 0.5), (0.25, 0.0), (0.5, 0.0))
"""(x, y) of a model's centre from that of its pixel; others follow by symmetry (section 3)."""


def concentration(flux: Float[np.ndarray, "n 7"]) -> Float[np.ndarray, "n 6"]:
    """CI of each pair of neighbouring radii, mag; NaN where either flux is not positive."""
    inner, outer = flux[:, :-1], flux[:, 1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((inner > 0) & (outer > 0), 2.5 * np.log10(outer / inner), np.nan)


def normalised(
    ci: Float[np.ndarray, "n 6"], fiducial: tuple[float, ...] = CI_TABLE_1
) -> Float[np.ndarray, "n 6"]:
    """NCI of the six pairs: 0 for the fiducial cluster, 1 for all light in the inner aperture.

    Raises `ValueError` for a fiducial that is not six positive magnitudes.
    """
    return 1 - ci / checked_fiducial(fiducial)


def multi_scale(
    ci: Float[np.ndarray, "n 6"], fiducial: tuple[float, ...] = CI_TABLE_1
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """(MCI_in, MCI_out) of CI in the six pairs; NaN where one of its three CI is."""
    nci = normalised(ci, fiducial)
    return nci[:, :3].mean(1), nci[:, 3:].mean(1)


def model_ci(
    psf: PSF,
    profile: Moffat | None,
    pc_per_pixel: float = 1.0,
    offsets_pix: tuple[tuple[float, float], ...] = OFFSETS_PIX,
) -> Float[np.ndarray, "6"]:
    """Noise-free CI of a model cluster, or a point source (None): the mean over the offsets.

    With one centre alone table 1 is not met: CI(1, 1.5) of the fiducial cluster goes from 0.79 in
    the middle of a pixel to 0.69 at its corner.
    """
    side = 2 * int(psf.radius_pix) + 1
    template = make_template(psf, profile, pc_per_pixel)
    flux = []
    for dx, dy in offsets_pix:
        x, y = np.array([side // 2 + dx]), np.array([side // 2 + dy])
        data = np.zeros((side, side), np.float32)
        add_sources(data, template, x, y, np.ones(1))
        image = BandImage(psf.band, data, exposure_s=1.0, zero_point=0.0)
        flux.append(aperture_photometry(image, x, y, RADII_PIX, SKY_PIX).flux[0])
    return concentration(np.array(flux)).mean(0)


def fiducial_ci(psfs: Mapping[str, PSF]) -> dict[str, tuple[float, ...]]:
    """CI of the fiducial cluster behind the PSF of each band, noise-free; see `model_ci`.

    The survey takes medians over fiducial clusters inserted in each field, and finds that they
    differ between cameras and hardly between fields.
    """
    fiducial = Moffat(FIDUCIAL_FWHM_PIX, FIDUCIAL_ETA)
    return {
        band: tuple(float(each) for each in model_ci(psf, fiducial)) for band, psf in psfs.items()
    }


def checked_fiducial(fiducial: tuple[float, ...]) -> Float[np.ndarray, "6"]:
    """As an array; `ValueError` for what is not six positive magnitudes."""
    values = np.array(fiducial, float)
    if values.shape != (6,) or not (values > 0).all():
        raise ValueError(
            f"fiducial CI are six positive magnitudes, of the pairs of neighbouring radii; got "
            f"{fiducial}. `fiducial_ci` gives them for a PSF"
        )
    return values
