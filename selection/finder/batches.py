"""Batches for training: stamps as a survey sees them, and what a network is to say of them."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float

from starcensus.settings import check_seed

from ...networks.cnn.targets import JOINT, SIGMA_JOINT, Axis, Grid, make_targets
from ...simulate.stamps import Backgrounds, ComposeSettings, StampBank, StampSettings, compose
from .cells import PARAMETERS, in_cells

# Of all random numbers of a batch's seed, those of places within cells.
_CELLS = 3
# Points in a bin of a range without a lattice.
_EVENLY = 200

type Batch = tuple[np.ndarray, dict[str, np.ndarray]]


def grid_of(settings: StampSettings, grid: Grid = Grid()) -> Grid:
    """The bins of a network for mocks of these settings.

    **Arguments:**

    - `settings`: ranges of the mocks; sizes in arcsec become parsecs at their distance.
    - `grid`: numbers of bins and of padding, and the bins of the visibility.

    ```python
    grid_of(StampSettings(log_mass=(4.0, 5.0))).log_mass.edges[[1, -2]]  # 4 and 5
    ```
    """
    sizes = np.log10(settings.pc_per_arcsec) + np.asarray(settings.log_r_h_arcsec)
    ranges = {
        "log_age": settings.log_age,
        "a_v": settings.a_v,
        "log_mass": settings.log_mass,
        "log_r_eff_pc": (float(sizes[0]), float(sizes[1])),
    }

    def axis(name: str, low: float, high: float) -> Axis:
        return dataclasses.replace(getattr(grid, name), low=low, high=high)

    axes = {name: axis(name, low, high) for name, (low, high) in ranges.items()}
    return dataclasses.replace(grid, **axes)


@dataclasses.dataclass(frozen=True, eq=False)
class StampBatches:
    """Composed stamps with their targets, as `train_network` asks for them.

    Called with the number of a step, it returns batches from that step on, without end: images
    `(n, band, row, col)` in electrons/s, and the targets of `make_targets`.

    **Arguments:**

    - `bank`, `backgrounds`: mocks, and the backgrounds of one split.
    - `grid`: the bins, of `grid_of`.
    - `seed`: of all batches.
    - `settings`: sizes of a batch, turning and jitter.
    - `cells`: how targets are spread over bins, see `make_targets`.

    Raises `ValueError` for mocks beyond the bins: a network would be taught a wrong edge.

    ```python
    like = dataclasses.replace(StampSettings().like(frame), size_pix=16)
    run_stamps(like, 4, 1, "bank.h5", psfs=psfs)
    choice = BackgroundSettings(n=(20, 5, 5), size_pix=16, block_pix=32, guard_pix=4)
    train = cut_backgrounds(frame, choice, seed=1).of("train")
    batches = StampBatches(StampBank.load("bank.h5"), train, grid_of(like), seed=1)
    images, targets = next(batches(0))
    ```
    """

    bank: StampBank
    backgrounds: Backgrounds
    grid: Grid
    seed: int
    settings: ComposeSettings = dataclasses.field(default_factory=ComposeSettings)
    cells: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name, column in self._truths().items():
            edges = getattr(self.grid, name).edges
            if len(column) and not (edges[0] <= column.min() and column.max() <= edges[-1]):
                raise ValueError(
                    f"{name} of the mocks goes from {column.min():.4g} to {column.max():.4g}, and "
                    f"the bins from {edges[0]:.4g} to {edges[-1]:.4g}; make the bins of the "
                    "settings that the bank was drawn with (`grid_of`)"
                )

    def __call__(self, step: int) -> Iterator[Batch]:
        while True:
            yield self._batch(step)
            step += 1

    def _batch(self, step: int) -> Batch:
        made = compose(self.bank, self.backgrounds, self.seed, step, self.settings)
        of_cluster = made.cluster[made.has_cluster]
        parameters = {}
        for name, column in self._truths().items():
            parameters[name] = np.full(len(made), np.nan)
            parameters[name][made.has_cluster] = column[of_cluster]
        targets = make_targets(
            self.grid,
            made.has_cluster,
            **parameters,
            visibility=made.visibility,
            cells=self.cells,
        )
        # A density learns of the cells that mocks of a lattice stand for, not of their middles.
        told = np.stack([parameters[name] for name in PARAMETERS], axis=1)[made.has_cluster]
        rng = np.random.default_rng([self.seed, _CELLS, step])
        moved = in_cells(told, self.bank.lattice, rng, self.grid)
        targets["continuous"][made.has_cluster] = moved
        return made.images, targets

    def _truths(self) -> dict[str, np.ndarray]:
        named = {name: self.bank[name] for name in ("log_age", "a_v", "log_mass")}
        return named | {"log_r_eff_pc": np.log10(self.bank["r_h_pc"])}


def training_prior(
    bank: StampBank, grid: Grid, cells: Mapping[str, float] | None = None
) -> Float[np.ndarray, "bins"]:
    """Share of the mocks in each bin of the joint head, as its targets spread them, *before* the
    cut by magnitude: the prior of what a network says of clusters that pass it.

    Of mocks that passed, P(θ | image, passed) ∝ π(θ) p(image | θ) for every image of a cluster that
    passed, where π is the density of the mocks as they were drawn. Divided by the density of those
    that passed it would be the likelihood of the image *among* these: too large where few pass.

    **Arguments:**

    - `bank`: the mocks that it was taught. `grid`: its bins. `cells`: as of its targets.

    ```python
    small = StampSettings(faintest_mags=None, size_pix=16, psf_radius_pix=24)
    run_stamps(small, 4, 1, "bank.h5")
    training_prior(StampBank.load("bank.h5"), grid_of(small)).sum()  # 1
    ```
    """
    facts = bank.meta["settings"]
    shares = []
    for axis, name in zip(grid.joint, JOINT, strict=True):
        low, high = facts[name]
        step = facts.get(f"{name}_step", 0.0)
        if step > 0:
            values = low + step * np.arange(round((high - low) / step) + 1)
        else:
            n = _EVENLY * (axis.n_bins - 2 * axis.padding)
            values = low + (high - low) * (np.arange(n) + 0.5) / n
        shares.append(_spread(axis, name, values, cells).mean(axis=0))
    return np.einsum("i,j,k->ijk", *shares).ravel()


def taught_share(
    bank: StampBank, grid: Grid, cells: Mapping[str, float] | None = None
) -> Float[np.ndarray, "bins"]:
    """Share of the mocks of each bin that passed the cut by magnitude, so that they were taught.

    One more counts as drawn and as passed in each bin: a share is never 0.

    **Arguments:** as of `training_prior`.

    ```python
    small = StampSettings(faintest_mags=None, size_pix=16, psf_radius_pix=24)
    run_stamps(small, 4, 1, "bank.h5")
    taught_share(StampBank.load("bank.h5"), grid_of(small)).max()  # 1
    ```
    """
    each = (
        _spread(axis, name, bank[name], cells) for axis, name in zip(grid.joint, JOINT, strict=True)
    )
    passed = np.einsum("ni,nj,nk->ijk", *each, optimize=True).ravel()
    drawn = float(bank["n_drawn"].sum()) * training_prior(bank, grid, cells)
    return np.minimum((passed + 1) / (drawn + 1), 1.0)


def _spread(
    axis: Axis, name: str, values: Float[np.ndarray, "n"], cells: Mapping[str, float] | None
) -> Float[np.ndarray, "n bin"]:
    if cells is None:
        return axis.encode(values, SIGMA_JOINT)
    return axis.encode_cells(values, cells.get(name, 0.0))
