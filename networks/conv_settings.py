"""The definition of a convolutional network, which Torch trains and JAX evaluates."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from starcensus.settings import check_numbers

type Stage = tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class ConvSettings:
    """A network without padding: its output at a pixel is that of the window around it, exactly.

    Each band becomes two channels. The first is asinh((x − μ) / σ) with the mean and the standard
    deviation of the box of `box_pix` around each pixel; the second is asinh(x / `flux_scale`),
    which keeps the flux that the first divides away. Only pixels whose box lies inside the image
    have channels, so a window of the network is `box_pix` − 1 wider than the field of its
    convolutions. Since the box moves with the pixel and not with the window, channels are computed
    once for an image of any size.

    Convolutions with bias and ReLU follow, with a maximum over 2×2 pixels between stages, and at
    the end a linear layer for each head.

    **Arguments:**

    - `bands`: names of the bands, in the order of the images.
    - `flux_scale`: for each band, a flux in the unit of the images: about the standard deviation
      of an empty sky.
    - `stages`: for each stage its convolutions, as (width in pixels, number of channels).
    - `box_pix`: side of the box, an odd number of pixels.
    - `sd_floor`: added in square to σ, in `flux_scale`, so that a constant sky can be divided by.
    - `heads`: names of the heads and the number of outputs of each.

    By default a window has 64×64 pixels, of which the convolutions see the inner 40×40, and a
    network of three bands and the heads of `Grid` has 1.05 million parameters.

    Raises `ValueError` for bands and scales that do not fit, and numbers out of their ranges.

    ```python
    conv = ConvSettings(bands=("V", "I"), flux_scale=(0.01, 0.02))
    conv.window_pix, conv.stride  # 64, 4
    ```
    """

    bands: tuple[str, ...]
    flux_scale: tuple[float, ...]
    stages: tuple[Stage, ...] = (
        ((5, 32),),
        ((3, 64), (3, 64)),
        ((3, 128), (3, 128), (3, 192)),
    )
    box_pix: int = 25
    sd_floor: float = 0.01
    heads: tuple[tuple[str, int], ...] = (
        ("joint", 2800),
        ("size", 14),
        ("class", 2),
        ("visibility", 20),
    )

    def __post_init__(self) -> None:
        if not self.bands or len(set(self.bands)) != len(self.bands):
            raise ValueError(f"bands are {self.bands}; expected one or more, all different")
        if len(self.flux_scale) != len(self.bands) or not all(
            math.isfinite(scale) and scale > 0 for scale in self.flux_scale
        ):
            raise ValueError(
                f"flux_scale is {self.flux_scale}; expected a positive flux for each of the "
                f"{len(self.bands)} bands"
            )
        if not self.stages or not all(self.stages):
            raise ValueError("a stage has no convolution; expected one or more in each")
        if any(k < 1 or n < 1 for stage in self.stages for k, n in stage):
            raise ValueError(f"stages are {self.stages}; expected (width, channels), all 1 or more")
        if self.box_pix < 3 or self.box_pix % 2 == 0:
            raise ValueError(f"box_pix is {self.box_pix}; expected an odd number, 3 or more")
        if not (math.isfinite(self.sd_floor) and self.sd_floor > 0):
            raise ValueError(f"sd_floor is {self.sd_floor}; expected a positive number")
        names = [name for name, _ in self.heads]
        if not names or len(set(names)) != len(names) or min(n for _, n in self.heads) < 1:
            raise ValueError(
                f"heads are {self.heads}; expected names, all different, with 1 output or more"
            )

    @property
    def field_pix(self) -> int:
        """Side of the field that the convolutions see, pixels."""
        field, step = 1, 1
        for i, stage in enumerate(self.stages):
            if i:
                field, step = field + step, 2 * step
            field += step * sum(k - 1 for k, _ in stage)
        return field

    @property
    def window_pix(self) -> int:
        """Side of the window that an output depends on, pixels: that of a stamp."""
        return self.field_pix + self.box_pix - 1

    @property
    def centre_pix(self) -> float:
        """Place in the image of output 0 of a map: the middle of the first window, pixels from 0.

        A window of an even number of pixels has its middle between two.
        """
        return (self.window_pix - 1) / 2

    @property
    def stride(self) -> int:
        """Pixels between two windows where every maximum is taken in steps of 2."""
        return 2 ** (len(self.stages) - 1)

    @property
    def n_features(self) -> int:
        """Channels of the last convolution, on which the heads stand."""
        return self.stages[-1][-1][1]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each array of the network by its name, as files have them.

        Convolutions are `(out, in, y, x)`, heads `(out, in)`.

        ```python
        ConvSettings(("V", "I"), (0.01, 0.02)).shapes()["stage_0.conv_0.weight"]  # (32, 4, 5, 5)
        ```
        """
        found: dict[str, tuple[int, ...]] = {}
        n_in = 2 * len(self.bands)
        for i, stage in enumerate(self.stages):
            for j, (k, n_out) in enumerate(stage):
                found[f"stage_{i}.conv_{j}.weight"] = (n_out, n_in, k, k)
                found[f"stage_{i}.conv_{j}.bias"] = (n_out,)
                n_in = n_out
        for name, n_out in self.heads:
            found[f"heads.{name}.weight"] = (n_out, n_in)
            found[f"heads.{name}.bias"] = (n_out,)
        return found

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def macs(self) -> int:
        """Multiplications of one window, each with an addition: half the floating-point operations.

        ```python
        ConvSettings(("V", "I"), (0.01, 0.02)).macs() / 1e6  # 20
        ```
        """
        side, total = self.field_pix, 0
        shapes = self.shapes()
        for i, stage in enumerate(self.stages):
            side //= 2 if i else 1
            for j, (k, _) in enumerate(stage):
                side -= k - 1
                total += side**2 * math.prod(shapes[f"stage_{i}.conv_{j}.weight"])
        return total + sum(math.prod(shapes[f"heads.{name}.weight"]) for name, _ in self.heads)

    def as_dict(self) -> dict[str, Any]:
        """The settings for JSON; `from_dict` reads it."""
        return dataclasses.asdict(self) | {"heads": dict(self.heads)}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "ConvSettings":
        """The settings of `as_dict`; raises `ValueError` for words or values that are none of it.

        ```python
        conv = ConvSettings(("V", "I"), (0.01, 0.02))
        ConvSettings.from_dict(conv.as_dict()) == conv  # True
        ```
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if set(given) != names:
            has, expected = (", ".join(sorted(words)) for words in (given, names))
            raise ValueError(f"the definition has {has}; expected {expected}")
        try:
            parts = dict(given) | {
                "bands": tuple(str(band) for band in given["bands"]),
                "flux_scale": tuple(float(scale) for scale in given["flux_scale"]),
                "stages": tuple(
                    tuple((int(k), int(n)) for k, n in stage) for stage in given["stages"]
                ),
                "heads": tuple((str(name), int(n)) for name, n in dict(given["heads"]).items()),
            }
        except (TypeError, ValueError) as error:
            raise ValueError(f"the definition is no network: {error}") from error
        check_numbers(cls, {name: parts[name] for name in ("box_pix", "sd_floor")})
        return cls(**parts)


def check_arrays(settings: ConvSettings, arrays: Mapping[str, Any]) -> None:
    """Raises `ValueError` naming an array that is missing, left over or of another shape.

    ```python
    conv = ConvSettings(("V",), (0.02,))
    check_arrays(conv, {name: np.zeros(shape) for name, shape in conv.shapes().items()})
    ```
    """
    shapes = settings.shapes()
    if differing := sorted(set(shapes) ^ set(arrays)):
        raise ValueError(
            f"array {differing[0]!r} is missing, or none of the definition; expected "
            f"{', '.join(shapes)}"
        )
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ValueError(f"array {name!r} has the shape {arrays[name].shape}; expected {shape}")
