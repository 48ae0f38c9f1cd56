"""Identity of models and grids: what makes two of them one to a compiled program.

JAX keeps compiled programs by the shapes of arrays and the equality of everything else. Models
hold arrays and priors, which cannot be compared; `Static` compares them by their digest, so that a
second fit of an equal model compiles nothing.
"""

import dataclasses
import hashlib
import pickle
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ..forward import SelectionGrid
from ..forward._quadrature import PanelRule
from ..forward.priors import Given
from .model import PopulationModel

type Rules = tuple[tuple[tuple[float, ...], int], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Static[T]:
    """A value that is a constant of compiled programs, equal to others of the same `key`."""

    value: T
    key: str

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self.key == other.key


def fingerprint(tree: Any) -> str:
    """SHA-256 of the structure and all leaves of a tree: operators, populations, priors."""
    leaves, structure = jax.tree.flatten(tree)
    digest = hashlib.sha256(str(structure).encode())
    for leaf in leaves:
        if isinstance(leaf, np.ndarray | jax.Array):
            array = np.asarray(leaf)
            digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
        else:
            # The text of a function has its place in memory, which no two processes share.
            name = getattr(leaf, "__qualname__", None)
            said = repr(leaf) if name is None else f"{leaf.__module__}.{name}"
            digest.update(said.encode())
    return digest.hexdigest()


def described(value: Any) -> str:
    """SHA-256 of what an object was made of, by its fields: what it found since, as cached
    properties do, is no part of it. Other objects than dataclasses are pickled.

    ```python
    described(survey) == described(survey)
    ```
    """
    digest = hashlib.sha256(type(value).__qualname__.encode())
    if isinstance(value, Mapping):
        digest.update(repr([(described(k), described(v)) for k, v in value.items()]).encode())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            digest.update(f"{field.name} {described(getattr(value, field.name))}".encode())
    elif isinstance(value, np.ndarray | jax.Array):
        digest.update(fingerprint(value).encode())
    elif isinstance(value, list | tuple):
        digest.update(repr([described(each) for each in value]).encode())
    elif value is None or isinstance(value, str | bytes | int | float | np.generic):
        digest.update(repr(value).encode())
    else:
        digest.update(pickle.dumps(value))
    return digest.hexdigest()


def model_digest(model: PopulationModel) -> str:
    """SHA-256 of a model: the family, the values that it starts from, all priors, the form."""
    given = [prior.given for prior in model.priors.values() if isinstance(prior, Given)]
    facts = (
        fingerprint(model.population),
        [(p.name, model.record(p)) for p in model.population.parameters()],
        fingerprint(given),
        model.form,
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def rules_of(grid: SelectionGrid) -> Rules:
    """The nodes of a grid as numbers that can be compared."""
    rules = (grid.mass_rule, grid.age_rule, grid.a_v_rule)
    return tuple((tuple(rule.edges.tolist()), rule.order) for rule in rules)


def grid_of(
    rules: Rules,
    p_sel: Float[Array, "m t a"] | Float[np.ndarray, "m t a"],
    deviations: Float[Array, "k m t a"] | Float[np.ndarray, "k m t a"] | None = None,
) -> SelectionGrid:
    """The grid of `rules_of` with p_sel, and its deviations, at its nodes, which may be traced."""
    made = [PanelRule(edges=np.asarray(edges, float), order=order) for edges, order in rules]
    grid = SelectionGrid(*made, p_sel=np.broadcast_to(0.0, p_sel.shape))
    return eqx.tree_at(
        lambda g: (g.p_sel, g.deviations), grid, (p_sel, deviations), is_leaf=lambda x: x is None
    )
