"""What a finder says of the clusters of a catalogue, on disk: their posteriors and the prior."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from starcensus.files import Path
from starcensus.hdf5 import Format, read_array, read_json_attribute
from starcensus.theta import AXES

from ...networks.cnn.targets import JOINT, Grid
from .answers import Mixed
from .cells import PARAMETERS, cell_log_prior
from .maps import Said

# Draws of each cluster on disk.
N_DRAWS = 500

FORMAT = Format(
    "starcensus.FinderPosteriors", 2, "file of a finder's posteriors", "`detect` writes one"
)


@dataclasses.dataclass(frozen=True, eq=False)
class FinderPosteriors:
    """Posteriors of the clusters of a catalogue, and the prior under which they are posteriors.

    **Arguments:**

    - `ids`: `(n,)`, those of the catalogue.
    - `joint`: `(n, bins)`, of age, extinction and mass; `size`: `(n, sizes)`.
    - `prior`: `(bins,)`, share of the mocks in each bin, before any cut by magnitude.
    - `grid`: the bins.
    - `taught`: `(bins,)`, share of the mocks of a bin that passed that cut.
    - `draws`: `(n, draw, 4)`, of a network that has densities: log_age, a_v, log_mass and
      log_r_eff_pc.
    - `lattice`: steps of the mocks' lattice by parameter, see `cell_log_prior`.
    - `facts`: the pipeline's description; JSON.

    Raises `ValueError` for shapes that differ.

    ```python
    from starcensus.networks.cnn import Grid

    n = Grid().heads()
    flat = np.full((2, n["joint"]), 1 / n["joint"]), np.full((2, n["size"]), 1 / n["size"])
    one = FinderPosteriors(np.array([4, 7]), *flat, flat[0][0], Grid(), np.ones(n["joint"]))
    one.theta_grid()[1].shape
    ```
    """

    ids: Shaped[np.ndarray, "n"]
    joint: Float[np.ndarray, "n bins"]
    size: Float[np.ndarray, "n sizes"]
    prior: Float[np.ndarray, "bins"]
    grid: Grid
    taught: Float[np.ndarray, "bins"]
    draws: Float[np.ndarray, "n draw parameter"] | None = None
    lattice: Mapping[str, float] = dataclasses.field(default_factory=dict)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        heads, n = self.grid.heads(), len(self.ids)
        shapes = {
            "joint": (n, heads["joint"]),
            "size": (n, heads["size"]),
            "prior": (heads["joint"],),
            "taught": (heads["joint"],),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}; expected {shape}")
        if self.draws is not None and self.draws.shape[::2] != (n, len(PARAMETERS)):
            raise ValueError(
                f"draws have shape {self.draws.shape}; expected ({n}, some, {len(PARAMETERS)})"
            )

    @classmethod
    def of_said(
        cls,
        ids: Shaped[np.ndarray, "n"],
        said: Said,
        about: Mapping[str, Any],
        facts: dict[str, Any],
    ) -> "FinderPosteriors":
        """Those of what a network says, with what its file says of its mocks.

        `about`: `prior`, `taught` and `lattice`. `facts`: the pipeline's description.
        """
        answers = said.answers
        draws = answers.draws[:, :N_DRAWS] if isinstance(answers, Mixed) else None
        return cls(
            ids,
            said.joint,
            said.size,
            np.array(about["prior"], float),
            said.grid,
            np.array(about["taught"], float),
            draws,
            dict(about["lattice"]),
            facts,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def theta_grid(
        self,
    ) -> tuple[
        tuple[np.ndarray, np.ndarray, np.ndarray],
        Float[np.ndarray, "n m t a"],
        Float[np.ndarray, "m t a"],
    ]:
        """Edges, posteriors and prior in the order of θ, as `GridPosteriors` takes them.

        Padding is there for targets that lean over the ends of their ranges; what it has goes back
        into the bins beside it, in posteriors and prior alike. So edges are those of the training
        clusters.

        ```python
        from starcensus.networks.cnn import Grid

        n = Grid().heads()
        flat = np.full((2, n["joint"]), 1 / n["joint"]), np.full((2, n["size"]), 1 / n["size"])
        made = FinderPosteriors(np.array([4, 7]), *flat, flat[0][0], Grid(), np.ones(n["joint"]))
        made.theta_grid()[0][0][[0, -1]]  # 3.5, 5.5
        ```
        """
        posterior, prior = self._folded(self.joint), self._folded(self.prior[None])[0]
        return self._edges(), posterior, prior

    def taught_grid(
        self,
    ) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], Float[np.ndarray, "m t a"]]:
        """Edges, and the share of the mocks of each bin that passed their cut, in the order of θ.

        ```python
        from starcensus.networks.cnn import Grid

        n = Grid().heads()
        flat = np.full((2, n["joint"]), 1 / n["joint"]), np.full((2, n["size"]), 1 / n["size"])
        made = FinderPosteriors(np.array([4, 7]), *flat, flat[0][0], Grid(), np.ones(n["joint"]))
        made.taught_grid()[1].min()  # 1
        ```
        """
        passed, drawn = self._folded(np.stack([self.taught * self.prior, self.prior]))
        return self._edges(), passed / drawn

    def theta_draws(
        self,
    ) -> tuple[Float[np.ndarray, "n draw 3"], Float[np.ndarray, "n draw"]]:
        """Draws in the order of θ, and ln of the prior's density at each, up to a constant.

        Raises `ValueError` where there are none.
        """
        if self.draws is None:
            raise ValueError("the network has no densities, and so there are no draws")
        # Single precision may carry one over an end.
        columns = {
            name: np.clip(
                self.draws[..., PARAMETERS.index(name)].astype(float), axis.low, axis.high
            )
            for name, axis in ((name, getattr(self.grid, name)) for name in AXES)
        }
        lattice = {name: step for name, step in self.lattice.items() if name in AXES}
        log_prior = cell_log_prior(columns, lattice, self.grid)
        return np.stack([columns[name] for name in AXES], axis=-1), log_prior

    def _edges(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        m, t, a = (
            axis.edges[axis.padding : len(axis.edges) - axis.padding]
            for axis in (getattr(self.grid, name) for name in AXES)
        )
        return m, t, a

    def _folded(self, joint: Float[np.ndarray, "n bins"]) -> Float[np.ndarray, "n m t a"]:
        """In the order of θ."""
        cube = _folded(joint, self.grid, [axis.padding for axis in self.grid.joint])
        return cube.transpose(0, *(1 + JOINT.index(name) for name in AXES))

    def save(self, path: Path) -> None:
        """Write them as HDF5, in one step."""
        facts = {
            "grid": self.grid.as_dict(),
            "lattice": dict(self.lattice),
            "facts": self.facts,
        }
        with FORMAT.create(path) as file:
            file.attrs["facts"] = json.dumps(facts, sort_keys=True)
            file["ids"] = np.asarray(self.ids).astype(str).astype("S")
            file["prior"], file["taught"] = self.prior, self.taught
            for name in ("joint", "size", "draws"):
                values = getattr(self, name)
                if values is None:
                    continue
                values = values.astype(np.float32)
                file.create_dataset(name, data=values, compression="gzip", shuffle=True)

    @classmethod
    def load(cls, path: Path) -> "FinderPosteriors":
        """Read what `save` wrote; raises `FileError` for a file that is none, or damaged."""
        with FORMAT.open(path) as file:
            facts: dict[str, Any] = read_json_attribute(file, "facts")
            return cls(
                ids=read_array(file, "ids", "S").astype(str),
                joint=read_array(file, "joint").astype(float),
                size=read_array(file, "size").astype(float),
                prior=read_array(file, "prior").astype(float),
                grid=Grid.from_dict(facts["grid"]),
                taught=read_array(file, "taught").astype(float),
                draws=read_array(file, "draws") if "draws" in file else None,
                lattice=facts["lattice"],
                facts=facts["facts"],
            )


def _folded(
    joint: Float[np.ndarray, "n bins"], grid: Grid, padding: list[int]
) -> Float[np.ndarray, "n t a m"]:
    """Bins of the joint head with those of the padding added to the outermost inside."""
    cube = joint.reshape(-1, *grid.joint_shape)
    for axis, width in enumerate(padding, start=1):
        if not width:
            continue
        cube = np.moveaxis(cube, axis, -1)
        inner = cube[..., width:-width].copy()
        inner[..., 0] += cube[..., :width].sum(-1)
        inner[..., -1] += cube[..., -width:].sum(-1)
        cube = np.moveaxis(inner, -1, axis)
    return cube
