"""Libraries drawn to order: simulated clusters where a catalogue's clusters are.

A precise object is like few of a library's clusters, and a wider kernel would change what it says.
So more clusters are drawn where they are wanted. Rounds explore: the first covers the bounds, each
later one follows the objects' own posteriors, those most that have the fewest effective clusters,
in cells of θ, with a part that covers the bounds again. Then the library is drawn from the mixture
of all that was learned, and has that one density.

Explored clusters take no part in sums. Their numbers decided where others were drawn, so that in
sums over the mixture of all rounds a cell with few of them by chance would stay with few and count
for less than it is, by more than the scatter between its clusters says: two libraries of NGC 3344
differed there by three times their errors.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from starcensus.files import Path, prepare_folder
from starcensus.settings import check_seed
from starcensus.shards import Work
from starcensus.theta import AXES, Box

from ...selection.catalogue.photometry import Photometry
from ...selection.observation import AbstractObservation
from ...simulate import CellTheta, ClusterLibrary, Design, Pool
from ...simulate.library.run import Engine, run_library
from .kernel import Pairs, effective_clusters, find_pairs, reference_weights

# Pairs of an object that a round keeps, about; they stand for all that there were.
_MAX_PAIRS = 5000
# By how much more than another an object may be followed.
_MOST_NEED = 30.0
# Rows of the library that are compared at a time.
_ROWS = 250_000
# Objects with fewer effective clusters are looked for with a kernel as many times wider.
_TOO_FEW = 12.0
_SCALES = (2.0, 4.0, 8.0, 16.0)

type CellEdges = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class TargetSettings:
    """How many clusters are drawn, and where.

    **Arguments:**

    - `n_clusters`: clusters of the library.
    - `effective`: effective clusters that every object is to have when exploring ends.
    - `n_first`: clusters of the first round of exploring, which covers the bounds.
    - `n_round`: clusters of each later one.
    - `max_rounds`: later rounds at most.
    - `n_extinctions`: columns of dust that each cluster is put behind.
    - `wide_share`: share of a later round that covers the bounds.
    - `mass_slope`: dN/dM ∝ M^mass_slope of what covers the bounds.
    - `cells`: dex, dex and mag, widths of the cells.
    - `seed`: of everything random.

    ```python
    TargetSettings(n_clusters=600_000, max_rounds=8)
    ```
    """

    n_clusters: int = 300_000
    effective: float = 100.0
    n_first: int = 30_000
    n_round: int = 30_000
    max_rounds: int = 5
    n_extinctions: int = 8
    wide_share: float = 0.2
    mass_slope: float = -1.5
    cells: tuple[float, float, float] = (0.1, 0.1, 0.1)
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        each = self.n_clusters, self.n_first, self.n_round, self.n_extinctions
        if any(n != int(n) or n < 1 for n in each) or self.max_rounds < 0:
            raise ValueError(
                f"n_clusters, n_first, n_round, n_extinctions, max_rounds are {each}, "
                f"{self.max_rounds}; expected whole numbers from 1 on, and 0 or more rounds"
            )
        if not 0 < self.wide_share <= 1 or self.effective <= 0 or min(self.cells) <= 0:
            raise ValueError(
                f"wide_share = {self.wide_share}, effective = {self.effective}, cells = "
                f"{self.cells}; expected a share above 0, and numbers above 0"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Targeted:
    """A pool and how well it serves each object.

    **Arguments:**

    - `pool`: the library.
    - `pairs`: what `find_pairs` gives for it.
    - `effective`: `(n,)`, effective clusters of each object under dN/dM ∝ M⁻², dN/dT ∝ T^(−1/2).
    - `n_rounds`: rounds that explored, after the first.
    """

    pool: Pool
    pairs: Pairs
    effective: Float[np.ndarray, " n"]
    n_rounds: int


def draw_to_order(
    data: Photometry,
    observation: AbstractObservation,
    engine: Engine,
    box: Box,
    settings: TargetSettings | None = None,
    folder: Path | None = None,
    work: Work = Work(),
    progress: Callable[[str], None] = lambda _: None,
) -> Targeted:
    """Simulated clusters for a catalogue, most of them where its objects are.

    **Arguments:**

    - `data`, `observation`: what was recorded, and by what survey.
    - `engine`: what draws the light of clusters, in the survey's bands.
    - `box`: where clusters may be: at least the bounds of every population that is to be fitted.
    - `settings`: numbers of clusters.
    - `folder`: where the library and each round are kept; one that is there already and has the
      same design is not drawn again. By default nothing is kept.
    - `work`: processes, or a Dask scheduler.
    - `progress`: called with a phrase at the start of each round.

    Raises `ValueError` for data that the survey cannot have recorded, or bands that the engine
    lacks, `RunError` for a box beyond what the engine can draw.

    ```python
    few = TargetSettings(200, n_first=100, max_rounds=0, n_extinctions=2)
    draw_to_order(light, survey, engine, box, few).effective
    ```
    """
    settings = settings or TargetSettings()
    observation.check(data)
    lacking = [band for band in observation.bands if band not in engine.bands]
    if lacking:
        raise ValueError(
            f"the engine draws no {', '.join(lacking)}; it has {', '.join(engine.bands)}"
        )
    if folder is not None:
        kept = prepare_folder(pathlib.Path(folder))
        return _drawn(data, observation, engine, box, settings, kept, work, progress)
    with tempfile.TemporaryDirectory() as made:
        where = pathlib.Path(made)
        return _drawn(data, observation, engine, box, settings, where, work, progress)


def _drawn(
    data: Photometry,
    observation: AbstractObservation,
    engine: Engine,
    box: Box,
    settings: TargetSettings,
    folder: pathlib.Path,
    work: Work,
    progress: Callable[[str], None],
) -> Targeted:
    def library(name: str, n: int, number: int, cells: CellTheta) -> ClusterLibrary:
        design = Design(n * settings.n_extinctions, _seed(settings.seed, number), cells)
        run_library(design, engine, folder / f"{name}.h5", work)
        return ClusterLibrary.load(folder / f"{name}.h5", bands=observation.bands)

    each = [
        np.linspace(low, high, max(1, round((high - low) / width)) + 1)
        for (low, high), width in zip(box.as_dict().values(), settings.cells, strict=True)
    ]
    edges = each[0], each[1], each[2]
    wide = wide_cells(edges, settings.mass_slope)
    shares, n, number = wide, settings.n_first, 0
    rounds: list[tuple[ClusterLibrary, CellTheta]] = []
    pairs, learned = Pairs.none(), np.zeros(wide.shape)
    while True:
        progress(f"exploring, round {number + 1}")
        cells = CellTheta(edges, shares, settings.n_extinctions)
        rounds.append((library(f"explored-{number:02d}", n, number + 1, cells), cells))
        pool = Pool.of_rounds(rounds)
        n_before = len(pool) - len(rounds[-1][0])
        pairs = _with_more(pairs, data, observation, pool, n_before, number)
        effective = effective_clusters(pairs, pool, len(data))
        progress(f"round {number + 1}: {_words(effective, settings.effective)}")
        lack = settings.effective / np.maximum(effective, 1.0)
        last = (effective >= settings.effective).all() or number == settings.max_rounds
        # Who has enough needs no further round; of the library all have a part.
        need = lack if last else np.where(lack <= 1.0, 0.0, lack - 0.9)
        need = np.minimum(need, _MOST_NEED)
        wanted = _wanted(data, observation, pool, pairs, effective, edges, need)
        learned += n * (shares if number else wanted)
        if last:
            break
        number, n = number + 1, settings.n_round
        shares = settings.wide_share * wide + (1 - settings.wide_share) * wanted
    # Rounds that followed the objects, and what the last of them found to be wanting.
    learned = 0.5 * learned / learned.sum() + 0.5 * wanted
    shares = settings.wide_share * wide + (1 - settings.wide_share) * learned
    cells = CellTheta(edges, shares, settings.n_extinctions)
    progress(f"drawing {settings.n_clusters:,} clusters")
    drawn = library("library", settings.n_clusters, 0, cells)
    pool = Pool.of_rounds([(drawn, cells)])
    pairs = Pairs.none()
    for block, start in enumerate(range(0, len(pool), _ROWS)):
        progress(f"comparing clusters: {start / len(pool):.0%}")
        some = pool.take(slice(0, min(start + _ROWS, len(pool))))
        pairs = _with_more(pairs, data, observation, some, start, block)
    effective = effective_clusters(pairs, pool, len(data))
    progress(f"the library: {_words(effective, settings.effective)}")
    return Targeted(pool, pairs, effective, number)


def _seed(seed: int, number: int) -> int:
    """Of the library, 0, or of a round: no other seed's library or round has the same stream, as
    the next of seeds in a row would."""
    [word] = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)
    return int(word >> np.uint64(2))


def _words(effective: Float[np.ndarray, " n"], target: float) -> str:
    return (
        f"the fewest effective clusters of an object are {effective.min():.1f}, "
        f"{(effective < target).mean():.0%} have fewer than {target:g}"
    )


def _with_more(
    pairs: Pairs,
    data: Photometry,
    observation: AbstractObservation,
    pool: Pool,
    n_before: int,
    seed: int,
) -> Pairs:
    """With the pairs of the rows after the first `n_before`, thinned."""
    more = find_pairs(data, observation, pool.take(slice(n_before, None)))
    return pairs.joined(more, n_before).thinned(pool, len(data), _MAX_PAIRS, seed)


def wide_cells(edges: CellEdges, slope: float) -> Float[np.ndarray, "m t a"]:
    middle = (edges[0][1:] + edges[0][:-1]) / 2
    mass = np.exp((slope + 1) * np.log(10.0) * (middle - middle[0]))
    shape = tuple(len(e) - 1 for e in edges)
    shares = np.broadcast_to(mass[:, None, None], shape)
    return shares / shares.sum()


def _wanted(
    data: Photometry,
    observation: AbstractObservation,
    pool: Pool,
    pairs: Pairs,
    effective: Float[np.ndarray, " n"],
    edges: CellEdges,
    need: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "m t a"]:
    """Where the objects are that need clusters: the sum of their posteriors in cells."""
    n = len(data)
    total = np.zeros(tuple(len(e) - 1 for e in edges))
    current, poor = pairs, effective < _TOO_FEW
    for scale in (1.0, *_SCALES):
        if scale > 1.0:
            if not poor.any():
                break
            chosen = np.flatnonzero(poor)
            current = find_pairs(data, observation, pool, scale, chosen)
            poor = poor & (effective_clusters(current, pool, n) < _TOO_FEW)
            settled = np.isin(np.arange(n), chosen) & ~poor
        else:
            settled = ~poor
        if scale == _SCALES[-1]:
            settled |= poor
        total += _in_cells(current, pool, np.where(settled, need, 0.0), edges, n)
    if total.sum() == 0:
        return np.full(total.shape, 1.0 / total.size)
    return smoothed_cells(total / total.sum())


def _in_cells(
    pairs: Pairs,
    pool: Pool,
    need: Float[np.ndarray, " n"],
    edges: CellEdges,
    n: int,
) -> Float[np.ndarray, "m t a"]:
    weight = reference_weights(pairs, pool, n)
    share = weight / np.maximum(np.bincount(pairs.owner, weight, n), 1e-300)[pairs.owner]
    theta = pool.theta[pairs.row]
    return np.histogramdd(theta, edges, weights=share * need[pairs.owner])[0]


def smoothed_cells(shares: Float[np.ndarray, "m t a"]) -> Float[np.ndarray, "m t a"]:
    """Half of each cell's share goes to its neighbours along each axis in turn."""
    for axis in range(len(AXES)):
        padded = np.pad(shares, [(1, 1) if k == axis else (0, 0) for k in range(3)], mode="edge")
        ends = [np.take(padded, np.arange(s, s + shares.shape[axis]), axis) for s in (0, 2)]
        shares = 0.5 * shares + 0.25 * (ends[0] + ends[1])
    return shares / shares.sum()
