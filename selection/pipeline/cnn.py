"""A survey whose clusters a network finds in the images (Bialopetravičius & Narbutis 2020)."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from starcensus.bands import reference_band
from starcensus.files import checksum

from ...networks import ConvNetwork, read_network, shipped_network
from ...networks.cnn.targets import Grid
from ...simulate.images.frame import Frame
from ...simulate.images.psf import PSF
from ..finder import (
    FinderPosteriors,
    FinderSettings,
    Found,
    finder_maps,
    posteriors_at,
    see_peaks,
)
from ._base import PIPELINES, Field
from .detections import Detections
from .legus import all_corrections
from .photometry import APERTURE_PIX, SKY_PIX, aperture_photometry, magnitudes
from .taught import as_taught

_SHIPPED = "m83"
_LEVELS = ("02", "16", "50", "84", "98")


@dataclasses.dataclass(frozen=True)
class CnnSettings:
    """Settings of the pipeline.

    **Arguments:**

    - `network`: path of a network's definition (.json), relative to the survey's folder, or the
      name of one that the package carries.
    - `min_class`, `min_visibility`: what counts as a cluster; defaults of the thesis, section 3.3.
    - `stride`: pixels between the windows of the maps: 1, 2 or 4.
    - `posteriors`: whether each cluster's posterior is evaluated; artificial cluster tests do
      without, and are faster.
    - `max_exposure_ratio`: largest ratio of an exposure to that of the network's mocks, either way:
      how noise looks is learned.
    - `aperture_pix`, `sky_pix`, `ci_pix`, `aperture_correction`: photometry, as of `LegusSettings`.
    - `tile_pix`: side of the tiles in which a mosaic is gone through.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    CnnSettings(min_visibility=2.0, stride=2)
    ```
    """

    network: str = _SHIPPED
    min_class: float = 0.95
    min_visibility: float = 2.5
    stride: int = 1
    posteriors: bool = True
    max_exposure_ratio: float = 1.5
    aperture_pix: float = APERTURE_PIX
    sky_pix: tuple[float, float] = SKY_PIX
    ci_pix: tuple[float, float] = (1.0, 3.0)
    aperture_correction: Mapping[str, float] = dataclasses.field(default_factory=dict)
    tile_pix: int = 256

    def __post_init__(self) -> None:
        _ = self.finder
        if self.stride not in (1, 2, 4):
            raise ValueError(f"stride is {self.stride}; expected 1, 2 or 4 pixels")
        if not self.max_exposure_ratio >= 1:
            raise ValueError(f"max_exposure_ratio is {self.max_exposure_ratio}; expected 1 or more")

    @property
    def finder(self) -> FinderSettings:
        """What counts as a cluster."""
        return FinderSettings(
            self.min_class, self.min_visibility, stride=self.stride, tile_pix=self.tile_pix
        )

    @property
    def own_network(self) -> str | None:
        """The path, where it is not the name of a network that the package carries."""
        return self.network if self.network.endswith(".json") else None

    def files(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """The network's definition, which knows the checksum of its parameters."""
        return [] if self.own_network is None else [folder / self.own_network]


@PIPELINES.register("cnn")
@dataclasses.dataclass(frozen=True, eq=False)
class CnnPipeline:
    """Peaks of a network's map of probability, with its measurements and aperture photometry.

    Every peak is a source. Cuts: `class` and `visibility`, means about the peak. Columns:
    `p_cluster`, `visibility`, and of those that pass, where `posteriors` are evaluated, the points
    `log_age`, `a_v`, `log_mass`, `log_r_eff_pc` (means; NaN of others) and quantiles of their
    posteriors under the training clusters' distribution, `log_age_16` and so on.
    Magnitudes are those of apertures at the peak, as LEGUS takes them; CI is of V, or of the band
    nearest to it.

    **Arguments:**

    - `settings`: cuts and photometry, with an aperture correction for each band of the frame.
    - `network`: what looks at the images. `about`: what its file says beside it.
    - `sha256`: checksum of the network's definition.

    Raises `ValueError` for a network without bins or mocks in its file.
    """

    settings: CnnSettings
    network: ConvNetwork
    about: Mapping[str, Any]
    sha256: str

    Settings: ClassVar[type] = CnnSettings

    def __post_init__(self) -> None:
        for name in ("grid", "prior", "taught", "lattice", "stamps"):
            if name not in self.about:
                raise ValueError(
                    f"the network's file says nothing of its {name}; expected one that "
                    "`starcensus train` wrote"
                )

    @classmethod
    def for_field(
        cls,
        frame: Frame,
        psfs: Mapping[str, PSF],
        settings: CnnSettings | None = None,
        *,
        eta: float = 1.5,
        folder: pathlib.Path = pathlib.Path(),
    ) -> "CnnPipeline":
        """The pipeline of a field, with aperture corrections of its PSFs where none are given.

        Raises `FileError` for a network that is missing or damaged, and `ValueError` where the
        images are not like those that it was taught, as `see` does.

        ```python
        from starcensus.simulate import BandImage, Frame
        from starcensus.simulate.stamps import StampSettings, stamp_psfs

        as_m83 = StampSettings(psf_radius_pix=24)
        images = [
            BandImage(e.band, np.zeros((80, 80)), e.exposure_s, e.zero_point)
            for e in as_m83.exposures
        ]
        m83 = Frame(tuple(images), as_m83.distance_modulus, as_m83.pixel_scale_arcsec)
        CnnPipeline.for_field(m83, stamp_psfs(as_m83)).describe()["network"]  # m83
        ```
        """
        settings = settings or CnnSettings()
        path = (
            shipped_network(settings.network)
            if settings.own_network is None
            else folder / settings.own_network
        )
        conv, arrays, about = read_network(path)
        corrections = all_corrections(settings, frame, psfs, eta)
        settings = dataclasses.replace(settings, aperture_correction=corrections)
        pipeline = cls(settings, ConvNetwork(conv, arrays), about, checksum(path))
        pipeline.see(frame)
        return pipeline

    @classmethod
    def for_survey(cls, settings: CnnSettings, field: Field) -> "CnnPipeline":
        """As `for_field`, from the parts of a survey file."""
        return cls.for_field(field.frame, field.psfs, settings, eta=field.eta, folder=field.folder)

    def describe(self) -> dict[str, Any]:
        settings = dataclasses.asdict(self.settings)
        # How fast, and not what.
        settings.pop("tile_pix")
        return {"pipeline": "cnn", **settings, "network_sha256": self.sha256}

    @property
    def reach_pix(self) -> float:
        """How far from its middle a window reaches: artificial clusters must be that far apart."""
        return self.network.settings.window_pix / 2

    @property
    def grid(self) -> Grid:
        """The bins of the network."""
        return Grid.from_dict(self.about["grid"])

    def see(self, frame: Frame) -> Float[np.ndarray, "band row col"]:
        """The images as the network takes them: its bands and zero points, NaN where bad.

        Raises `ValueError` for a frame that lacks a band, or whose pixels, distance or exposures
        are others than those of the mocks that the network was taught.
        """
        return as_taught(
            frame,
            self.network.settings.bands,
            self.about["stamps"],
            self.settings.max_exposure_ratio,
        )

    def __call__(self, frame: Frame) -> Detections:
        """Run on a frame; raises as `see`."""
        return self.find(frame)[0]

    def find(self, frame: Frame) -> tuple[Detections, FinderPosteriors]:
        """Detections, and the posteriors of those that are catalogued; of none where they are not
        evaluated.
        """
        mosaic, finder, grid = self.see(frame), self.settings.finder, self.grid
        seen = see_peaks(finder_maps(self.network, grid, mosaic, finder), finder)
        cuts = {
            "class": seen.probability >= finder.min_class,
            "visibility": seen.visibility >= finder.min_visibility,
        }
        kept = cuts["class"] & cuts["visibility"]
        some = seen.take(kept if self.settings.posteriors else np.zeros(len(kept), bool))
        said = posteriors_at(self.network, grid, mosaic, some.peaks, finder.stride)
        found = Found(some.x, some.y, some.probability, some.visibility, said)
        columns = {"p_cluster": seen.probability, "visibility": seen.visibility}
        if self.settings.posteriors:
            columns |= _spread(found, kept)
        detections = self._measured(frame, seen.x, seen.y, cuts, columns)
        ids = detections.ids[kept] if self.settings.posteriors else detections.ids[:0]
        return detections, FinderPosteriors.of_said(ids, said, self.about, self.describe())

    def _measured(
        self,
        frame: Frame,
        x: Float[np.ndarray, "n"],
        y: Float[np.ndarray, "n"],
        cuts: Mapping[str, np.ndarray],
        columns: Mapping[str, np.ndarray],
    ) -> Detections:
        s, n = self.settings, len(x)
        mags, errors = np.empty((n, len(frame.bands))), np.empty((n, len(frame.bands)))
        ci = np.full(n, np.nan)
        reference = reference_band(frame.bands)
        for column, image in enumerate(frame):
            own = image.band == reference
            radii = (s.aperture_pix, *s.ci_pix) if own else (s.aperture_pix,)
            measured = aperture_photometry(image, x, y, radii, s.sky_pix)
            mags[:, column], errors[:, column] = magnitudes(
                image, measured.flux[:, 0], measured.error[:, 0]
            )
            mags[:, column] += s.aperture_correction[image.band]
            if own:
                ci = image.mag(measured.flux[:, 1]) - image.mag(measured.flux[:, 2])
        return Detections(frame.bands, x, y, mags, errors, ci, cuts, columns)


def _spread(found: Found, kept: np.ndarray) -> dict[str, Float[np.ndarray, "n"]]:
    """Points and quantiles in columns as long as the peaks, NaN of those that are not kept."""
    columns = found.points()
    for name, levels in found.intervals().items():
        columns |= {f"{name}_{w}": levels[:, k] for k, w in enumerate(_LEVELS)}
    made = {}
    for name, values in columns.items():
        made[name] = np.full(len(kept), np.nan)
        made[name][kept] = values
    return made
