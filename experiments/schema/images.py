"""[images], [read] and [psf]: what images are."""

from typing import Annotated

import pydantic

from starcensus.experiments.schema._base import Strict
from starcensus.simulate import ReadOptions


class ImagesTable(Strict):
    """The images.

    **Arguments:**

    - `paths`: a folder, a list of files, or a table BAND = "file".
    - `field`: name of the galaxy or pointing, which operators learned from the images carry.
    - `distance_modulus`: mag, by default the files'.
    - `pixel_scale_arcsec`: by default the files'.
    - `bands`: some of the images', in this order; by default all, by wavelength.
    - `read`: what to take instead of what the files say.
    - `read_band`: the same for a band alone, by its name.
    """

    paths: str | tuple[str, ...] | dict[str, str]
    field: str = ""
    distance_modulus: float | None = None
    pixel_scale_arcsec: float | None = None
    bands: tuple[str, ...] | None = None
    read: ReadOptions = ReadOptions()
    read_band: dict[str, ReadOptions] = pydantic.Field({})


class PsfTable(Strict):
    """A PSF from a FITS image; a path alone stands for `{ path = "…" }`.

    Where `pixel_scale_arcsec` is no whole fraction of the survey's (within 0.1%, within 2% if it is
    the header's) the image is interpolated. A header that contradicts `oversampling` by more than
    2% is refused.

    **Arguments:**

    - `path`: of the image.
    - `oversampling`: image pixels per pixel of the survey's images, by default the header's
      OVERSAMP.
    - `pixel_scale_arcsec`: of the file's own pixels, by default what PIXSCALE, PIXELSCL or a WCS
      say; instead of `oversampling`.
    - `extension`: of the file. `plane`: of a cube.
    - `pixel_integrated`: whether the image contains the response of a pixel.
    """

    path: str
    oversampling: Annotated[int, pydantic.Field(ge=1)] | None = None
    pixel_scale_arcsec: Annotated[float, pydantic.Field(gt=0)] | None = None
    extension: int = 0
    plane: int | None = None
    pixel_integrated: bool = True

    @pydantic.model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: object) -> object:
        return {"path": value} if isinstance(value, str) else value

    @pydantic.model_validator(mode="after")
    def _one_sampling(self) -> "PsfTable":
        if self.oversampling is not None and self.pixel_scale_arcsec is not None:
            raise ValueError(
                f"oversampling is {self.oversampling} and pixel_scale_arcsec "
                f"{self.pixel_scale_arcsec:g}; give one, the other follows from the survey's pixels"
            )
        return self
