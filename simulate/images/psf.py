"""Point-spread functions: the embedded HST model and any image of one.

The model is the diffraction pattern of the 2.4 m aperture (GalSim: central obscuration 0.33, four
vanes), integrated over a native pixel, blurred by a Gaussian for charge diffusion and jitter; a
share of the light is scattered once more by a Moffat function. These four numbers per band are
fitted to STScI's encircled-energy table of WFC3/UVIS1 (`wfc3uvis1_aper_007_syn`) from 0.04 to 1.5
arcsec, which the model meets within 2% from 0.1 to 0.5 arcsec. ACS bands have numbers of fits to
the UVIS band next in wavelength, in blue and green ones other than UVIS's own, and ACS's pixel;
they meet Bohlin's (2016) encircled energy within 2.3% from 0.1 to 0.5 arcsec. The smoothing by
drizzling is left out.
"""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import fft

from starcensus.bands import BANDS, Letter
from starcensus.fits_files import opened

_DIAMETER_M = 2.4
_OBSCURATION = 0.33
_VANE = 0.022  # width over diameter

UVIS_PIXEL, ACS_PIXEL = 0.0396, 0.05
# Headers round pixel scales, TinyTim's to 10⁻⁴ arcsec: 0.0080 stands for 0.0396/5.
SCALE_TOLERANCE = 0.02


@dataclasses.dataclass(frozen=True)
class Optics:
    """Numbers of the PSF model of a band.

    **Arguments:**

    - `blur_arcsec`: σ of the Gaussian, arcsec.
    - `scattered`: share of the light that is convolved with (1 + r²/core²)^(−slope).
    - `scatter_core_arcsec`, `scatter_slope`: core (arcsec) and slope of that function.
    - `native_pixel_arcsec`: side of the pixel over which light is integrated, arcsec.
    - `wavelength_angstrom`: wavelength of the diffraction pattern, Å; None takes the band's pivot.

    ```python
    optical_psf("ACS_F606W", optics=Optics(0.0243, 0.77, 0.0188, 1.515, native_pixel_arcsec=0.05))
    ```
    """

    blur_arcsec: float
    scattered: float
    scatter_core_arcsec: float
    scatter_slope: float
    native_pixel_arcsec: float = UVIS_PIXEL
    wavelength_angstrom: float | None = None


# By camera and the letter that a band stands for.
OPTICS: Mapping[tuple[str, Letter], Optics] = {
    ("WFC3_UVIS", "NUV"): Optics(0.0490, 0.4350, 0.0121, 1.1291),
    ("WFC3_UVIS", "U"): Optics(0.0470, 0.7088, 0.0132, 1.3105),
    ("WFC3_UVIS", "B"): Optics(0.0294, 0.7496, 0.0065, 1.3009),
    ("WFC3_UVIS", "V"): Optics(0.0282, 0.7499, 0.0073, 1.3615),
    ("WFC3_UVIS", "I"): Optics(0.0173, 0.7628, 0.0189, 1.6035),
    ("ACS", "B"): Optics(0.0272, 0.7671, 0.0155, 1.4236, ACS_PIXEL),
    ("ACS", "V"): Optics(0.0243, 0.7714, 0.0188, 1.5150, ACS_PIXEL),
    ("ACS", "I"): Optics(0.0173, 0.7628, 0.0189, 1.6035, ACS_PIXEL),
}


@dataclasses.dataclass(frozen=True, eq=False)
class PSF:
    """Image of a point source, integrated over a pixel, on a grid finer than the pixels.

    **Arguments:**

    - `band`: the band that it is of.
    - `image`: `(n, n)`, n odd, centred on its middle pixel; its sum is 1.
    - `oversampling`: image pixels per detector pixel, along an axis.
    - `pixel_scale_arcsec`: side of a detector pixel, arcsec.

    Raises `ValueError` for an image of even or unequal sides, that is not finite, or does not sum
    to 1 within 10⁻³.

    ```python
    psfs["ACS_F555W"].encircled_energy(np.array([0.1, 0.5]))
    ```
    """

    band: str
    image: Float[np.ndarray, "n n"]
    oversampling: int
    pixel_scale_arcsec: float

    def __post_init__(self) -> None:
        n = self.image.shape[0]
        if self.image.shape != (n, n) or n % 2 == 0:
            raise ValueError(
                f"PSF of {self.band} has shape {self.image.shape}; expected a square of odd side, "
                "so that the source is centred on the middle pixel"
            )
        if not np.isfinite(self.image).all():
            raise ValueError(f"PSF of {self.band} has pixels that are not finite")
        if abs(self.image.sum() - 1) > 1e-3:
            raise ValueError(f"PSF of {self.band} sums to {self.image.sum():.4g}; expected 1")
        if self.oversampling < 1 or not self.pixel_scale_arcsec > 0:
            raise ValueError(
                f"PSF of {self.band}: oversampling is {self.oversampling} and pixel_scale_arcsec "
                f"{self.pixel_scale_arcsec}; expected >= 1 and > 0"
            )

    @property
    def radius_pix(self) -> float:
        """Half the side, in detector pixels."""
        return (self.image.shape[0] - 1) / 2 / self.oversampling

    def sha256(self) -> str:
        """Checksum of the image and its scale."""
        found = hashlib.sha256(np.ascontiguousarray(self.image).tobytes())
        found.update(f"{self.oversampling} {self.pixel_scale_arcsec!r}".encode())
        return found.hexdigest()

    def encircled_energy(self, radius_arcsec: Float[np.ndarray, "r"]) -> Float[np.ndarray, "r"]:
        """Share of the light within radii from the centre."""
        n = self.image.shape[0]
        step = np.arange(n) - (n - 1) / 2
        r = np.hypot(step[:, None], step) * self.pixel_scale_arcsec / self.oversampling
        order = np.argsort(r, axis=None)
        within = np.cumsum(self.image.ravel()[order], dtype=float)
        return np.interp(radius_arcsec, r.ravel()[order], within)


def optical_psf(
    band: str,
    pixel_scale_arcsec: float = UVIS_PIXEL,
    oversampling: int = 4,
    radius_pix: int = 100,
    optics: Optics | None = None,
) -> PSF:
    """The embedded model of a band; needs GalSim (extra `images`).

    **Arguments:**

    - `band`: one of WFC3/UVIS or ACS, or any with `optics`.
    - `pixel_scale_arcsec`: side of a detector pixel, arcsec.
    - `oversampling`: image pixels per detector pixel, along an axis.
    - `radius_pix`: half the side of the image, detector pixels. All light is put inside.
    - `optics`: other numbers than those of the band's camera and letter.

    Raises `ValueError` for a band without numbers.

    ```python
    optical_psf("ACS_F814W", radius_pix=50).radius_pix
    ```
    """
    import galsim

    known = BANDS.get(band)
    if optics is None and (known is None or (known.camera, known.letter) not in OPTICS):
        there = [b.name for b in BANDS.values() if (b.camera, b.letter) in OPTICS]
        raise ValueError(
            f"there is no PSF model of {band}; there are {', '.join(there)}. Add the band to BANDS "
            f"(in a file: [bands.{band}]) with a letter of its camera (WFC3_UVIS or ACS), pass "
            "`optics`, or read a PSF with `read_psf` (in a file: [psf])"
        )
    if optics is None:
        assert known is not None and known.letter is not None
        optics = OPTICS[known.camera, known.letter]
    wavelength = optics.wavelength_angstrom or (known and known.pivot_angstrom)
    if wavelength is None:
        raise ValueError(f"`optics` of {band} say no wavelength_angstrom, and the band is unknown")
    scale = pixel_scale_arcsec / oversampling
    n = 2 * radius_pix * oversampling + 1
    pattern = galsim.OpticalPSF(  # pyright: ignore[reportCallIssue]
        lam=wavelength / 10,
        diam=_DIAMETER_M,
        obscuration=_OBSCURATION,
        nstruts=4,
        strut_thick=_VANE,
        strut_angle=45 * galsim.degrees,
        pad_factor=2,
    )
    core = galsim.Convolve(pattern, galsim.Pixel(optics.native_pixel_arcsec))
    drawn = core.drawImage(  # pyright: ignore[reportCallIssue]
        nx=n, ny=n, scale=scale, method="no_pixel", dtype=float
    )
    image = drawn.array
    size = fast_length(2 * n)
    f_row, f_col = np.fft.fftfreq(size, scale)[:, None], np.fft.rfftfreq(size, scale)
    blur = np.exp(-2 * (np.pi * optics.blur_arcsec) ** 2 * (f_row**2 + f_col**2))
    step = np.minimum(np.arange(size), size - np.arange(size)) * scale
    r = np.hypot(step[:, None], step)
    scatter = (1 + (r / optics.scatter_core_arcsec) ** 2) ** -optics.scatter_slope
    scatter[r > radius_pix * pixel_scale_arcsec] = 0.0
    kernel = np.asarray(fft.rfft2(scatter / scatter.sum())) * optics.scattered
    kernel += 1 - optics.scattered
    spectrum = np.asarray(fft.rfft2(image, s=(size, size))) * blur * kernel
    image = np.asarray(fft.irfft2(spectrum, s=(size, size)))[:n, :n]
    return PSF(band, image / image.sum(), oversampling, pixel_scale_arcsec)


def default_psfs(bands: tuple[str, ...], pixel_scale_arcsec: float = UVIS_PIXEL) -> dict[str, PSF]:
    """The embedded model of each band, by name; see `optical_psf`.

    `pixel_scale_arcsec`: side of a detector pixel, arcsec. Raises `ValueError` for a band without a
    model.

    ```python
    default_psfs(("ACS_F435W", "ACS_F555W"))["ACS_F555W"].sha256()
    ```
    """
    return {band: optical_psf(band, pixel_scale_arcsec) for band in bands}


def read_psf(
    path: str | os.PathLike[str],
    band: str,
    oversampling: int,
    pixel_scale_arcsec: float,
    *,
    extension: int = 0,
    plane: int | None = None,
    pixel_integrated: bool = True,
    image_scale_arcsec: float | None = None,
) -> PSF:
    """A PSF from a FITS image; its sum is made 1.

    **Arguments:**

    - `path`: the file.
    - `band`: the band that it is of.
    - `oversampling`: image pixels per detector pixel. Images of even side lose the first row and
      column when the peak is at n/2 (counted from 0), as TinyTim's, and else the last.
    - `pixel_scale_arcsec`: side of a detector pixel, arcsec.
    - `extension`: number of the image's extension.
    - `plane`: which of a cube, such as Anderson's grid of positions on the detector.
    - `pixel_integrated`: False for a pattern that is not integrated over a detector pixel yet. What
      TinyTim writes without its charge diffusion stays without.
    - `image_scale_arcsec`: side of the file's pixels, if that is not `pixel_scale_arcsec` over
      `oversampling`: the image is interpolated with splines to pixels of that size.

    Raises `ValueError`, with the file, for images that are not square, not finite, or negative by
    more than a hundredth of the peak (as the filler of planes that are not measured), for a
    brightest pixel that is not within a detector pixel of the centre, and for image pixels larger
    by more than 2% than a detector pixel, or smaller than those they are interpolated to.

    ```python
    from astropy.io import fits

    fits.writeto("psf.fits", psfs["ACS_F555W"].image)
    read_psf("psf.fits", "ACS_F555W", oversampling=4, pixel_scale_arcsec=0.0396)
    ```
    """
    with opened(path, "FITS image of a PSF") as file:
        hdu: Any = file[extension] if extension < len(file) else None
        if hdu is None or not hdu.is_image or hdu.data is None:
            raise ValueError(f"{path}: extension {extension} holds no image")
        data = np.asarray(hdu.data, float)
    if data.ndim == 3:
        if plane is None or not 0 <= plane < len(data):
            raise ValueError(
                f"{path}: holds {len(data)} images and plane is {plane}; name one from 0 to "
                f"{len(data) - 1}"
            )
        data = data[plane]
    if data.ndim != 2 or data.shape[0] != data.shape[1]:
        raise ValueError(f"{path}: shape {data.shape}; expected a square image or a cube of them")
    if not np.isfinite(data).all():
        raise ValueError(f"{path}: {int((~np.isfinite(data)).sum())} pixels are not finite")
    if not data.min() >= -0.01 * data.max() or not data.max() > 0:
        raise ValueError(
            f"{path}: values run from {data.min():.4g} to {data.max():.4g}; expected a PSF, which "
            "is nowhere negative"
        )
    n = len(data)
    peak = np.array(np.unravel_index(np.argmax(data), data.shape))
    if n % 2 == 0:
        data = data[1:, 1:] if (peak >= n // 2).all() else data[:-1, :-1]
        n -= 1
        peak = np.array(np.unravel_index(np.argmax(data), data.shape))
    step = 1.0
    if image_scale_arcsec is not None:
        step = pixel_scale_arcsec / oversampling / image_scale_arcsec
        if not 1 / (1 + SCALE_TOLERANCE) <= step * oversampling:
            raise ValueError(
                f"{path}: its pixels of {image_scale_arcsec:g} arcsec are larger than the "
                f"detector's of {pixel_scale_arcsec:g}; expected a PSF that is sampled at least as "
                "finely"
            )
        if step > 1 + 1e-9:
            raise ValueError(
                f"{path}: its pixels are {image_scale_arcsec:g} arcsec and oversampling is "
                f"{oversampling}, which would leave out some; expected "
                f"{int(np.ceil(step * oversampling))} or more"
            )
    if np.abs(peak - (n - 1) / 2).max() > step * oversampling:
        raise ValueError(
            f"{path}: the brightest pixel is (row, column) {tuple(peak.tolist())} of {n} x {n}; "
            "expected it at the centre"
        )
    if step != 1:
        data = _resampled(data, step)
    if not pixel_integrated:
        data = _box(data, oversampling)
    return PSF(band, data / data.sum(), oversampling, pixel_scale_arcsec)


def fast_length(n: int) -> int:
    """The next even length whose Fourier transform is fast."""
    return 2 * int(fft.next_fast_len((n + 1) // 2, real=True))  # pyright: ignore


def _box(image: Float[np.ndarray, "n n"], width: int) -> Float[np.ndarray, "n n"]:
    """Running mean over `width` pixels; an even width takes half of each end."""
    from scipy import ndimage

    kernel = np.ones(width) if width % 2 else np.r_[0.5, np.ones(width - 1), 0.5]
    kernel /= kernel.sum()
    for axis in (0, 1):
        image = ndimage.convolve1d(image, kernel, axis=axis, mode="constant")
    return image


def _resampled(image: Float[np.ndarray, "n n"], step: float) -> Float[np.ndarray, "m m"]:
    """The image at points `step` pixels apart around its middle pixel.

    Interpolated, not averaged: it is integrated over a detector pixel already, or will be.
    """
    from scipy import ndimage

    middle = (len(image) - 1) / 2
    half = int(middle / step + 1e-9)
    return ndimage.affine_transform(
        image,
        np.array([step, step]),
        offset=middle - half * step,
        output_shape=(2 * half + 1, 2 * half + 1),
        order=5,
        mode="mirror",
    )
