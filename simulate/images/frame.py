"""Images of one field in several bands.

Pixel convention, everywhere in starcensus: the centre of the first pixel is (x, y) = (0, 0); x is
the column and y the row, so an array is indexed `[y, x]`. FITS and SExtractor count from 1.
"""

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ..sky import pc_per_pixel

# Programs that detect sources, sep among them, count pixels in 32 bits.
MOST_PIXELS = 2**31 - 1


def check_size(shape: tuple[int, ...], what: str, bytes_per_pixel: int = 4) -> None:
    """Raises `ValueError` for an image of more pixels than 2³¹ − 1, or than memory holds.

    **Arguments:**

    - `shape`: (rows, columns).
    - `what`: names it, for the message.
    - `bytes_per_pixel`: what is held for each pixel at once.

    ```python
    check_size((4096, 4096), "the frame")
    ```
    """
    pixels = math.prod(shape)
    size = " x ".join(str(side) for side in shape)
    if pixels > MOST_PIXELS:
        raise ValueError(
            f"{what} declares {size} pixels, {pixels:.3g} of them; expected at most "
            f"{MOST_PIXELS:.3g}: give a part of it"
        )
    needed, there = pixels * bytes_per_pixel, _memory_bytes()
    if there is not None and needed > there:
        raise ValueError(
            f"{what} declares {size} pixels, which take {needed / 2**30:.3g} GiB of memory; this "
            f"machine has {there / 2**30:.3g} GiB: give a part of it, or a machine with more"
        )


def _memory_bytes() -> int | None:
    """Physical memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


@dataclasses.dataclass(frozen=True, eq=False)
class BandImage:
    """One band of a field: count rates and what is needed to make them electrons or magnitudes.

    **Arguments:**

    - `band`: name, as in `StellarGrid.bands`, e.g. `"ACS_F555W"`.
    - `data`: `(row, col)`, electrons per second in each pixel, sky included. A copy is
      kept, read-only, as of `bad` and `weight`.
    - `exposure_s`: total exposure time, s.
    - `zero_point`: Vega magnitude of 1 electron per second.
    - `read_noise_e`: electrons rms of one read of a pixel.
    - `n_exposures`: number of reads that were summed.
    - `zero_point_ab`: AB magnitude of 1 electron per second, or None.
    - `wcs`: an `astropy.wcs.WCS`, or None.
    - `bad`: `(row, col)`, True where there is no valid datum. Its pixels have any value.
    - `weight`: `(row, col)`, inverse variance, (electrons/s)⁻², or None.
    - `notes`: what a reader left out of a file or decided, in words.

    Raises `ValueError` for shapes that differ, numbers that are not positive, or data that are not
    finite outside `bad`.

    ```python
    image = BandImage("ACS_F555W", np.full((64, 64), 0.04), exposure_s=858.0, zero_point=25.731)
    image.electrons(np.array([24.0]))
    ```
    """

    band: str
    data: Float[np.ndarray, "row col"]
    exposure_s: float
    zero_point: float
    read_noise_e: float = 3.1
    n_exposures: int = 1
    zero_point_ab: float | None = None
    wcs: Any = None
    bad: Bool[np.ndarray, "row col"] | None = None
    weight: Float[np.ndarray, "row col"] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.data.ndim != 2 or 0 in self.data.shape:
            raise ValueError(f"{self.band}: an image has rows and columns; got {self.data.shape}")
        for name in ("bad", "weight"):
            plane = getattr(self, name)
            if plane is not None and plane.shape != self.data.shape:
                raise ValueError(
                    f"{self.band}: {name} has shape {plane.shape}; the image has {self.data.shape}"
                )
        if not (np.isfinite(self.exposure_s) and self.exposure_s > 0):
            raise ValueError(f"{self.band}: exposure_s is {self.exposure_s}; expected seconds > 0")
        if not np.isfinite(self.zero_point):
            raise ValueError(f"{self.band}: zero_point is {self.zero_point}; expected a magnitude")
        if not self.read_noise_e >= 0 or self.n_exposures < 1:
            raise ValueError(
                f"{self.band}: read_noise_e is {self.read_noise_e} and n_exposures "
                f"{self.n_exposures}; expected >= 0 and >= 1"
            )
        good = np.isfinite(self.data)
        if self.bad is not None:
            good |= self.bad
        if not good.all():
            row, col = (int(i) for i in np.argwhere(~good)[0])
            raise ValueError(
                f"{self.band}: {int((~good).sum())} pixels are not finite, the first at row {row}, "
                f"column {col}; mark pixels without data in `bad`"
            )
        for name in ("data", "bad", "weight"):
            if getattr(self, name) is not None:
                plane = np.array(getattr(self, name))
                plane.flags.writeable = False
                object.__setattr__(self, name, plane)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.data.shape[0], self.data.shape[1]

    def rate(self, mag: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """Electrons per second of Vega magnitudes; 0 for a magnitude of infinity."""
        return 10.0 ** (-0.4 * (mag - self.zero_point))

    def electrons(self, mag: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """Electrons in the whole exposure."""
        return self.rate(mag) * self.exposure_s

    def mag(self, rate: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """Vega magnitudes of electrons per second; NaN where the rate is not positive."""
        rate = np.asarray(rate, float)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(rate > 0, self.zero_point - 2.5 * np.log10(rate), np.nan)

    def with_data(self, data: Float[np.ndarray, "row col"]) -> "BandImage":
        """The same band with other count rates."""
        return dataclasses.replace(self, data=data)


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """Band images of one field on one pixel grid.

    **Arguments:**

    - `images`: at least one, all of one shape, of distinct bands.
    - `distance_modulus`: distance modulus of the galaxy, mag.
    - `pixel_scale_arcsec`: side of a pixel, arcsec, the same in all bands.
    - `field`: name of the galaxy or pointing, empty where none is given.

    Raises `ValueError` for shapes that differ, bands named twice, or no image.

    ```python
    image = BandImage("ACS_F555W", np.full((64, 64), 0.04), exposure_s=858.0, zero_point=25.731)
    Frame((image,), distance_modulus=29.98).pc_per_pixel
    ```
    """

    images: tuple[BandImage, ...]
    distance_modulus: float
    pixel_scale_arcsec: float = 0.0396
    field: str = ""

    def __post_init__(self) -> None:
        if not self.images:
            raise ValueError("a frame has at least one band image; got none")
        if len(set(self.bands)) < len(self.bands):
            raise ValueError(f"a frame has each band once; got {', '.join(self.bands)}")
        shapes = {image.shape for image in self.images}
        if len(shapes) > 1:
            each = ", ".join(f"{image.band} {image.shape}" for image in self.images)
            raise ValueError(f"band images differ in shape ({each}); drizzle them to one grid")
        if not self.pixel_scale_arcsec > 0:
            raise ValueError(f"pixel_scale_arcsec is {self.pixel_scale_arcsec}; expected > 0")

    def __iter__(self) -> Iterator[BandImage]:
        return iter(self.images)

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands, in the order of the images."""
        return tuple(image.band for image in self.images)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.images[0].shape

    @property
    def pc_per_pixel(self) -> float:
        """Side of a pixel at the galaxy's distance, pc."""
        return pc_per_pixel(self.distance_modulus, self.pixel_scale_arcsec)

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the bands, each with its band."""
        return tuple(f"{image.band}: {note}" for image in self.images for note in image.notes)

    @property
    def bad(self) -> Bool[np.ndarray, "row col"]:
        """True where any band has no valid datum."""
        bad = np.zeros(self.shape, bool)
        for image in self.images:
            if image.bad is not None:
                bad |= image.bad
        return bad

    @property
    def covered(self) -> Bool[np.ndarray, "band row col"]:
        """Where each band has data."""
        there = np.ones((len(self.images), *self.shape), bool)
        for plane, image in zip(there, self.images, strict=True):
            if image.bad is not None:
                plane &= ~image.bad
        return there

    def index(self, band: str) -> int:
        """Position of a band; `ValueError` naming those that are there."""
        if band not in self.bands:
            raise ValueError(f"the frame has no band {band}; it has {', '.join(self.bands)}")
        return self.bands.index(band)

    def image(self, band: str) -> BandImage:
        """The image of a band; `ValueError` naming those that are there."""
        return self.images[self.index(band)]

    def select(self, bands: tuple[str, ...]) -> "Frame":
        """The frame with these bands alone, in this order."""
        return dataclasses.replace(self, images=tuple(self.image(band) for band in bands))

    def with_data(self, data: Mapping[str, np.ndarray]) -> "Frame":
        """The frame with other count rates in some bands."""
        for band in data:
            self.index(band)
        return dataclasses.replace(
            self,
            images=tuple(
                image.with_data(data[image.band]) if image.band in data else image
                for image in self.images
            ),
        )

    def cutout(self, rows: slice, cols: slice) -> "Frame":
        """The pixels of these rows and columns; positions count from its own first pixel."""

        def cut(plane: np.ndarray | None) -> np.ndarray | None:
            return None if plane is None else np.ascontiguousarray(plane[rows, cols])

        images = []
        for image in self.images:
            wcs = None if image.wcs is None else image.wcs[rows, cols]
            images.append(
                dataclasses.replace(
                    image,
                    data=cut(image.data),
                    bad=cut(image.bad),
                    weight=cut(image.weight),
                    wcs=wcs,
                )
            )
        return dataclasses.replace(self, images=tuple(images))
