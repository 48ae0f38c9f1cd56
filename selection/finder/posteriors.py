"""What a finder says of the clusters of a catalogue, on disk: their posteriors and the prior."""

import dataclasses
import json
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from starcensus.files import Path
from starcensus.hdf5 import Format, read_array, read_json_attribute
from starcensus.theta import AXES

from ...networks.cnn.targets import JOINT, Grid

FORMAT = Format(
    "starcensus.FinderPosteriors", 1, "file of a finder's posteriors", "`detect` writes one"
)


@dataclasses.dataclass(frozen=True, eq=False)
class FinderPosteriors:
    """Posteriors of the clusters of a catalogue, and the prior under which they are posteriors.

    **Arguments:**

    - `ids`: `(n,)`, those of the catalogue.
    - `joint`: `(n, bins)`, of age, extinction and mass; `size`: `(n, sizes)`.
    - `prior`: `(bins,)`, share of the training clusters in each bin.
    - `grid`: the bins.
    - `facts`: the pipeline's description; JSON.

    Raises `ValueError` for shapes that differ.

    ```python
    from starcensus.networks.cnn import Grid

    n = Grid().heads()
    flat = np.full((2, n["joint"]), 1 / n["joint"]), np.full((2, n["size"]), 1 / n["size"])
    FinderPosteriors(np.array([4, 7]), *flat, flat[0][0], Grid()).theta_grid()[1].shape
    ```
    """

    ids: Shaped[np.ndarray, "n"]
    joint: Float[np.ndarray, "n bins"]
    size: Float[np.ndarray, "n sizes"]
    prior: Float[np.ndarray, "bins"]
    grid: Grid
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        heads = self.grid.heads()
        shapes = {
            "joint": (len(self.ids), heads["joint"]),
            "size": (len(self.ids), heads["size"]),
            "prior": (heads["joint"],),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}; expected {shape}")

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
        clusters. Where the prior holds less than one in 10⁸ no training cluster was, and nothing
        is known: such bins have 0 in both.

        ```python
        from starcensus.networks.cnn import Grid

        n = Grid().heads()
        flat = np.full((2, n["joint"]), 1 / n["joint"]), np.full((2, n["size"]), 1 / n["size"])
        made = FinderPosteriors(np.array([4, 7]), *flat, flat[0][0], Grid())
        made.theta_grid()[0][0][[0, -1]]  # 3.5, 5.5
        ```
        """
        padding = [axis.padding for axis in self.grid.joint]
        posterior = _folded(self.joint, self.grid, padding)
        prior = _folded(self.prior[None], self.grid, padding)[0]
        known = prior > 1e-8 * prior.sum()
        edges = [
            axis.edges[axis.padding : len(axis.edges) - axis.padding] for axis in self.grid.joint
        ]
        # From (age, extinction, mass) to (mass, age, extinction).
        order = [JOINT.index(name) for name in AXES]
        m, t, a = (edges[i] for i in order)
        return (
            (m, t, a),
            np.where(known, posterior, 0.0).transpose(0, *(1 + i for i in order)),
            np.where(known, prior, 0.0).transpose(order),
        )

    def save(self, path: Path) -> None:
        """Write them as HDF5, in one step."""
        facts = {"grid": self.grid.as_dict(), "facts": self.facts}
        with FORMAT.create(path) as file:
            file.attrs["facts"] = json.dumps(facts, sort_keys=True)
            file["ids"] = np.asarray(self.ids).astype(str).astype("S")
            file["prior"] = self.prior
            for name in ("joint", "size"):
                values = getattr(self, name).astype(np.float32)
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
