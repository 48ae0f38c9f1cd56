"""What a network says at every pixel of a mosaic, and of the clusters that stand out there."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ...networks import ConvNetwork
from ...networks.cnn.decoding import softmax
from ...networks.cnn.mixture import Mixtures
from ...networks.cnn.targets import Axis, Grid
from ...networks.conv_maps import Reduce
from .answers import AbstractAnswers, Binned, Mixed
from .cells import PARAMETERS
from .peaks import Peaks, PeakSettings, find_peaks

_RADIUS_BINS = 3
_LEVELS = (0.025, 0.16, 0.5, 0.84, 0.975)


@dataclasses.dataclass(frozen=True)
class FinderSettings:
    """What counts as a cluster.

    **Arguments:**

    - `min_class`, `min_visibility`: least probability of a cluster, and least visibility, averaged
      about the peak; those of the thesis.
    - `peaks`: how peaks are found.
    - `stride`: pixels between the windows of the maps.
    - `tile_pix`: side of a tile.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    FinderSettings(min_visibility=2.0)
    ```
    """

    min_class: float = 0.95
    min_visibility: float = 2.5
    peaks: PeakSettings = dataclasses.field(default_factory=PeakSettings)
    stride: int = 1
    tile_pix: int = 256

    def __post_init__(self) -> None:
        if not 0 <= self.min_class < 1 or not self.min_visibility >= 0:
            raise ValueError(
                f"min_class is {self.min_class} and min_visibility {self.min_visibility}; expected "
                "a probability below 1, and 0 or more"
            )

    def passing(
        self, probability: Float[np.ndarray, "n"], visibility: Float[np.ndarray, "n"]
    ) -> Bool[np.ndarray, "n"]:
        """Which peaks count as clusters.

        ```python
        FinderSettings().passing(np.array([0.99, 0.99]), np.array([3.0, 1.0]))  # True, False
        ```
        """
        return (probability >= self.min_class) & (visibility >= self.min_visibility)


@dataclasses.dataclass(frozen=True, eq=False)
class FinderMaps:
    """Two maps of a mosaic.

    **Arguments:**

    - `probability`: `(y, x)`, of a cluster in the middle of the window; NaN where the window leaves
      the mosaic or holds a pixel without a number.
    - `visibility`: `(y, x)`.
    - `origin_pix`, `stride`: pixel i of a map is at `origin_pix` + i · `stride` in the mosaic.
    """

    probability: Float[np.ndarray, "y x"]
    visibility: Float[np.ndarray, "y x"]
    origin_pix: float
    stride: int


@dataclasses.dataclass(frozen=True, eq=False)
class Said:
    """What a network says of clusters, under the training clusters' distribution.

    **Arguments:**

    - `joint`: `(n, bins)`, of age, extinction and mass; `size`: `(n, sizes)`, of the radius.
    - `mixtures`: of all four; None of a network without this head.
    - `grid`: the bins.
    """

    joint: Float[np.ndarray, "n bins"]
    size: Float[np.ndarray, "n sizes"]
    mixtures: Mixtures | None
    grid: Grid

    def __len__(self) -> int:
        return len(self.joint)

    @property
    def binned(self) -> Binned:
        """The answers in bins."""
        return Binned(self.joint, self.size, self.grid)

    @functools.cached_property
    def answers(self) -> AbstractAnswers:
        """The finest answers: mixtures, or bins where there are none."""
        return self.binned if self.mixtures is None else Mixed(self.mixtures, self.grid)

    def take(self, rows: np.ndarray) -> "Said":
        """Those of some clusters."""
        mixtures = None if self.mixtures is None else self.mixtures.take(rows)
        return Said(self.joint[rows], self.size[rows], mixtures, self.grid)

    @classmethod
    def of_logits(cls, logits: Mapping[str, Float[np.ndarray, "n _"]], grid: Grid) -> "Said":
        """What the heads of `ConvNetwork` say of stamps.

        ```python
        from starcensus.networks.cnn import Grid

        logits = {name: np.zeros((2, n)) for name, n in Grid().heads().items()}
        Said.of_logits(logits, Grid()).answers.points()
        ```
        """
        mixtures = Mixtures.of_outputs(logits["mixture"], grid) if "mixture" in logits else None
        return cls(softmax(logits["joint"]), softmax(logits["size"]), mixtures, grid)

    @classmethod
    def concatenated(cls, parts: Sequence["Said"]) -> "Said":
        """Clusters of several, one after another."""
        mixtures = [part.mixtures for part in parts if part.mixtures is not None]
        return cls(
            np.concatenate([part.joint for part in parts]),
            np.concatenate([part.size for part in parts]),
            Mixtures.concatenated(mixtures) if mixtures else None,
            parts[0].grid,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """Clusters that a network finds.

    **Arguments:**

    - `x`, `y`: `(n,)`, places in the mosaic, pixels from 0.
    - `probability`, `visibility`: `(n,)`, averaged about the peak.
    - `said`: their posteriors.
    """

    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    probability: Float[np.ndarray, "n"]
    visibility: Float[np.ndarray, "n"]
    said: Said

    def __len__(self) -> int:
        return len(self.x)

    def points(self) -> dict[str, Float[np.ndarray, "n"]]:
        """Means of `log_age`, `a_v`, `log_mass` and `log_r_eff_pc` of each."""
        return dict(zip(PARAMETERS, self.said.answers.points().T, strict=True))

    def intervals(self) -> dict[str, Float[np.ndarray, "n level"]]:
        """2.5, 16, 50, 84 and 97.5% of each parameter."""
        levels = self.said.answers.quantiles(_LEVELS)
        return {name: levels[:, k] for k, name in enumerate(PARAMETERS)}


def finder_maps(
    network: ConvNetwork,
    grid: Grid,
    mosaic: Float[np.ndarray, "band y x"],
    settings: FinderSettings | None = None,
) -> FinderMaps:
    """Probability of a cluster and visibility at every pixel.

    **Arguments:**

    - `network`, `grid`: the network and its bins.
    - `mosaic`: in the unit and with the bands of the network, NaN where nothing was observed.
    - `settings`: stride and tiles.

    Raises `ValueError` for a mosaic that is smaller than a window or of other bands.

    ```python
    from starcensus.networks.cnn import Grid

    conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)
    network = ConvNetwork(conv, {n: np.zeros(s) for n, s in conv.shapes().items()})
    finder_maps(network, Grid(), np.zeros((1, 40, 40))).probability[3, 3]  # 0.5
    ```
    """
    settings = settings or FinderSettings()
    made = network.dense(
        mosaic,
        ("class", "visibility"),
        stride=settings.stride,
        tile_pix=settings.tile_pix,
        reduce=_reduction(grid.log_visibility),
    )
    return FinderMaps(
        made["probability"][0],
        made["visibility"][0],
        network.settings.centre_pix,
        settings.stride,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class SeenPeaks:
    """All peaks of a mosaic's map, the highest first, whether they count as clusters or not.

    **Arguments:**

    - `peaks`: places in the map.
    - `x`, `y`: `(n,)`, places in the mosaic, pixels from 0: means about the peak with its weights.
    - `probability`, `visibility`: `(n,)`, averaged about the peak.

    ```python
    maps = FinderMaps(np.pad([[1.0]], 20), np.full((41, 41), 3.0), 31.5, 1)
    seen = see_peaks(maps)
    seen.take(FinderSettings().passing(seen.probability, seen.visibility)).y
    ```
    """

    peaks: Peaks
    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    probability: Float[np.ndarray, "n"]
    visibility: Float[np.ndarray, "n"]

    def take(self, kept: np.ndarray) -> "SeenPeaks":
        """Those of a mask."""
        parts = (self.x, self.y, self.probability, self.visibility)
        return SeenPeaks(self.peaks.take(kept), *(part[kept] for part in parts))


def see_peaks(maps: FinderMaps, settings: FinderSettings | None = None) -> SeenPeaks:
    """The peaks of maps, with what the network says about each.

    ```python
    maps = FinderMaps(np.pad([[1.0]], 20), np.full((41, 41), 3.0), 31.5, 1)
    see_peaks(maps).x  # 51.5
    ```
    """
    settings = settings or FinderSettings()
    peaks = find_peaks(maps.probability, settings.peaks)
    x, y = (
        maps.origin_pix + maps.stride * (peaks.weight * at).sum(axis=1)
        for at in (peaks.columns, peaks.rows)
    )
    return SeenPeaks(peaks, x, y, peaks.mean(maps.probability), peaks.mean(maps.visibility))


def find_clusters(
    network: ConvNetwork,
    grid: Grid,
    mosaic: Float[np.ndarray, "band y x"],
    settings: FinderSettings | None = None,
) -> Found:
    """Clusters of a mosaic, the surest first.

    **Arguments:** as of `finder_maps`; `settings` also has the cuts.

    ```python
    from starcensus.networks.cnn import Grid

    conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)
    network = ConvNetwork(conv, {n: np.zeros(s) for n, s in conv.shapes().items()})
    find_clusters(network, Grid(), np.zeros((1, 40, 40))).points()["log_mass"]  # none
    ```
    """
    settings = settings or FinderSettings()
    seen = see_peaks(finder_maps(network, grid, mosaic, settings), settings)
    seen = seen.take(settings.passing(seen.probability, seen.visibility))
    said = posteriors_at(network, grid, mosaic, seen.peaks, settings.stride)
    return Found(seen.x, seen.y, seen.probability, seen.visibility, said)


def posteriors_at(
    network: ConvNetwork,
    grid: Grid,
    mosaic: Float[np.ndarray, "band y x"],
    peaks: Peaks,
    stride: int = 1,
) -> Said:
    """Posteriors: averages over the windows about each peak.

    The weights are those of `Peaks`. Raises `ValueError` for peaks of another mosaic's map.

    ```python
    from starcensus.networks.cnn import Grid

    conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)
    network = ConvNetwork(conv, {n: np.zeros(s) for n, s in conv.shapes().items()})
    peaks = find_peaks(np.pad([[1.0]], 10))
    posteriors_at(network, Grid(), np.zeros((1, 40, 40)), peaks).size  # 1/14 in each bin
    ```
    """
    sizes = dict(network.settings.heads)
    joint, size = (np.zeros((len(peaks), sizes[name])) for name in ("joint", "size"))
    heads = tuple(name for name in ("joint", "size", "mixture") if name in sizes)
    mixtures = []
    reach = round((peaks.rows.shape[1] ** 0.5 - 1) / 2)
    for part, said in network.around(mosaic, peaks.y, peaks.x, reach, heads, stride):
        weight = peaks.weight[part]
        used = {}
        for name in heads:
            logits = said[name].reshape(len(weight), sizes[name], -1).swapaxes(1, 2)
            used[name] = np.where(weight[..., None] > 0, logits, 0.0).reshape(-1, sizes[name])
        for name, into in (("joint", joint), ("size", size)):
            shares = softmax(used[name]).reshape(*weight.shape, -1)
            into[part] = np.einsum("nw,nwb->nb", weight, shares)
        if "mixture" in heads:
            mixtures.append(Mixtures.of_outputs(used["mixture"], grid).blended(weight))
    if "mixture" not in heads:
        return Said(joint, size, None, grid)
    if not mixtures:
        mixtures = [Mixtures.of_outputs(np.zeros((0, sizes["mixture"])), grid)]
    return Said(joint, size, Mixtures.concatenated(mixtures), grid)


# One function for each axis, so that what is compiled with it is compiled once.
@functools.lru_cache(maxsize=8)
def _reduction(axis: Axis) -> Reduce:
    centres = axis.centres

    def reduce(logits: dict[str, Float[Array, "_ y x"]]) -> dict[str, Float[Array, "1 y x"]]:
        share = jax.nn.softmax(logits["visibility"], axis=0)
        bins = jnp.arange(len(centres))[:, None, None]
        near = jnp.abs(bins - share.argmax(axis=0)[None]) <= _RADIUS_BINS
        held = jnp.where(near, share, 0.0)
        at = jnp.asarray(centres, share.dtype)[:, None, None]
        log_visibility = (held * at).sum(axis=0) / held.sum(axis=0)
        return {
            "probability": jax.nn.softmax(logits["class"], axis=0)[1:],
            "visibility": 10.0 ** log_visibility[None],
        }

    return reduce
