"""A learned density p(μ | θ) of the light of stochastic clusters."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import ndtr

from starcensus.files import FileError, Path, checksum, read_json, write_json
from starcensus.theta import Box

from ...networks.tensors import read_tensors, write_tensors
from .inputs import Inputs, Standard, inputs
from .mean import MeanLight, spread
from .mixture import (
    Components,
    Net,
    components,
    covariances,
    log_density,
    log_terms,
    outputs,
    per_component,
)

KIND = "starcensus emulator of light, 1"
_FOLDER = pathlib.Path(__file__).parents[1] / "data"
# Rows at a time, which bounds memory.
_ROWS = 4096


class EmulatorError(ValueError):
    """An emulator that does not know what it is asked for; the message says what it knows."""


@dataclasses.dataclass(frozen=True, eq=False)
class LightEmulator:
    """Absolute magnitudes μ of a cluster of mass, age and extinction θ, as a density.

    **Arguments:**

    - `bands`: names of the columns of magnitudes.
    - `inputs`: what the network sees, and the ranges of θ in which it was taught.
    - `weights`, `biases`: of the network, `(n_out, n_in)` and `(n_out,)` for each layer.
    - `mean`: the mean light that shapes are relative to.
    - `facts`: engine (stars, gas, IMF), library and training; JSON.

    Raises `ValueError` for networks that do not fit the bands.

    ```python
    emulator = default_emulator()
    theta, mags = np.array([[4.0, 7.5, 0.2]]), np.array([[-7.5, -7.4, -6.6, -6.7, -7.2]])
    emulator.log_prob(theta, mags, errors=0.05)
    ```
    """

    bands: tuple[str, ...]
    inputs: Inputs
    weights: tuple[Float[np.ndarray, "_ _"], ...]
    biases: tuple[Float[np.ndarray, "_"], ...]
    mean: MeanLight
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        width, each = self.inputs.n_in, per_component(len(self.bands))
        for w, b in zip(self.weights, self.biases, strict=True):
            if w.ndim != 2 or w.shape[1] != width or b.shape != w.shape[:1]:
                raise ValueError(
                    f"a layer has weights {w.shape} and biases {b.shape}; expected it to take "
                    f"{width} numbers"
                )
            width = w.shape[0]
        if width % each or self.mean.mags.shape[0] != len(self.bands):
            raise ValueError(
                f"the network has {width} outputs and the mean light {self.mean.mags.shape[0]} "
                f"bands; expected multiples of {each}, and {len(self.bands)} bands"
            )
        if not all(np.isfinite(x).all() for x in (*self.weights, *self.biases, self.mean.mags)):
            raise ValueError("the emulator has numbers that are not finite")

    @property
    def box(self) -> Box:
        """Where it was taught."""
        return self.inputs.box

    @property
    def n_components(self) -> int:
        return len(self.biases[-1]) // per_component(len(self.bands))

    def columns(self, bands: tuple[str, ...]) -> list[int]:
        """Columns of some bands, in their order.

        Raises `EmulatorError` for a band that it does not know.

        ```python
        default_emulator().columns(("ACS_F814W", "ACS_F555W"))
        ```
        """
        if unknown := [band for band in bands if band not in self.bands]:
            raise EmulatorError(
                f"the emulator knows no {', '.join(unknown)}; it has {', '.join(self.bands)}: "
                'learn one in the bands of the survey (kind = "emulator")'
            )
        return [self.bands.index(band) for band in bands]

    def parts(self, dtype: Any = None) -> tuple[Net, Standard]:
        """The network and its standardisation in a precision, by default JAX's own.

        ```python
        default_emulator().parts()
        ```
        """
        as_type = functools.partial(jnp.asarray, dtype=dtype or float)
        net = Net(tuple(map(as_type, self.weights)), tuple(map(as_type, self.biases)))
        return net, self.inputs.standard(dtype or float)

    def components(
        self, theta: Float[Array, "3 n"], parts: tuple[Net, Standard] | None = None
    ) -> Components:
        """The Gaussians at columns of θ; traceable.

        **Arguments:**

        - `theta`: `(3, n)`. `parts`: of `parts`, if they are at hand.

        ```python
        default_emulator().components(jnp.array([[4.0], [7.5], [0.2]])).mean.shape
        ```
        """
        net, standard = parts or self.parts(theta.dtype)
        out = outputs(net, inputs(standard, theta))
        return components(out, self.mean.centre(theta), spread(theta[0]))

    def log_prob(
        self,
        theta: Float[np.ndarray, "n 3"],
        mags: Float[np.ndarray, "n band"],
        errors: Float[np.ndarray, "n band"] | float = 0.0,
        common: Float[np.ndarray, " n"] | float = 0.0,
    ) -> Float[np.ndarray, " n"]:
        """ln p(m | θ) of magnitudes with Gaussian errors; bands that are NaN are integrated out.

        **Arguments:**

        - `theta`: inside the emulator's ranges. `mags`: `(n, band)`, absolute Vega magnitudes.
        - `errors`: standard deviations of each band's own errors, mag. `common`: of one error that
          all bands share, mag, one number or one for each cluster.

        Raises `EmulatorError` for θ outside of the ranges, `ValueError` for other numbers of bands
        or errors below 0.

        ```python
        default_emulator().log_prob(np.array([[4.0, 7.5, 0.2]]), np.full((1, 5), -7.0), 0.1)
        ```
        """
        found = np.empty(len(theta))
        with jax.enable_x64(True):
            parts = self.parts()
            given = self._measured(theta, mags, errors, common)
            for rows, n in _blocks(len(theta)):
                each = _log_density(self._at(theta[rows].T, parts), *(x[..., rows] for x in given))
                found[rows[:n]] = np.asarray(each)[:n]
        return found

    def given(
        self,
        theta: Float[np.ndarray, "n 3"],
        mags: Float[np.ndarray, "n band"],
        errors: Float[np.ndarray, "n band"],
        common: Float[np.ndarray, " n"] | float,
        rng: np.random.Generator,
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n band"]]:
        """`log_prob`, and true magnitudes of a cluster of each θ that was measured so, drawn from
        p(μ | m, θ); in bands that are NaN too.

        ```python
        theta, mags = np.array([[4.0, 7.5, 0.2]]), np.full((1, 5), -7.0)
        default_emulator().given(theta, mags, np.full((1, 5), 0.1), 0.0, np.random.default_rng(0))
        ```
        """
        log_p, true = np.empty(len(theta)), np.empty(mags.shape)
        n_bands = len(self.bands)
        lower = np.tril_indices(n_bands)
        with jax.enable_x64(True):
            parts = self.parts()
            measured = self._measured(theta, mags, errors, common)
            for rows, n in _blocks(len(theta)):
                some = [x[..., rows] for x in measured]
                u = jnp.asarray(rng.uniform(size=len(rows)))
                found = _picked(self._at(theta[rows].T, parts), u, *some)
                each, mean, triangle = (np.asarray(x) for x in found)
                log_p[rows[:n]] = each[:n]
                root = np.zeros((len(rows), n_bands, n_bands))
                root[:, *lower] = triangle.T
                true[rows[:n]] = _conditioned(mean.T, root, some, rng)[:n]
        return log_p, true

    def _measured(
        self,
        theta: np.ndarray,
        mags: np.ndarray,
        errors: np.ndarray | float,
        common: np.ndarray | float,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Magnitudes, variances and which are there, bands first, and the shared variance."""
        self.check_theta(theta)
        errors = np.broadcast_to(np.asarray(errors, float), mags.shape)
        shared = np.broadcast_to(np.asarray(common, float), (len(theta),))
        if mags.shape != (len(theta), len(self.bands)):
            raise ValueError(
                f"mags have shape {mags.shape}; expected ({len(theta)}, {len(self.bands)}), a "
                f"column for each of {', '.join(self.bands)}"
            )
        there = np.isfinite(mags)
        if not (shared >= 0).all() or not (errors[there] >= 0).all():
            raise ValueError("errors of magnitudes are 0 or more, mag")
        variance = np.where(there, errors, 1.0) ** 2
        return np.where(there, mags, 0.0).T, variance.T, there.T.astype(float), shared**2

    def draw(
        self, theta: Float[np.ndarray, "n 3"], rng: np.random.Generator
    ) -> Float[np.ndarray, "n band"]:
        """Absolute magnitudes of one cluster for each θ.

        Raises `EmulatorError` for θ outside of the ranges.

        ```python
        default_emulator().draw(np.tile([3.0, 7.5, 0.2], (10, 1)), np.random.default_rng(0))
        ```
        """
        self.check_theta(theta)
        found = np.empty((len(theta), len(self.bands)))
        with jax.enable_x64(True):
            parts = self.parts()
            for rows, n in _blocks(len(theta)):
                of = self._at(theta[rows].T, parts)
                u, z = (
                    rng.uniform(size=len(rows)),
                    rng.standard_normal((len(rows), len(self.bands))),
                )
                found[rows[:n]] = np.asarray(_drawn(of, jnp.asarray(u), jnp.asarray(z.T))).T[:n]
        return found

    def ranks(
        self,
        theta: Float[np.ndarray, "n 3"],
        mags: Float[np.ndarray, "n band"],
        errors: float = 0.0,
    ) -> Float[np.ndarray, "n band"]:
        """Share of the density below each magnitude, given the magnitudes in the bands before.

        Uniform and independent for clusters of p(μ | θ) (Rosenblatt 1952, Ann. Math. Stat. 23,
        470).

        **Arguments:**

        - `theta`, `mags`: as of `log_prob`, in all bands. `errors`: of every band, mag.

        ```python
        emulator = default_emulator()
        theta = np.tile([4.0, 8.0, 0.1], (50, 1))
        emulator.ranks(theta, emulator.draw(theta, np.random.default_rng(0))).mean()  # about 0.5
        ```
        """
        self.check_theta(theta)
        found = np.empty(mags.shape)
        with jax.enable_x64(True):
            parts = self.parts()
            for rows, n in _blocks(len(theta)):
                of = self._at(theta[rows].T, parts)
                found[rows[:n]] = _ranks(of, mags[rows].T, errors).T[:n]
        return found

    @functools.cached_property
    def _components(self) -> Callable[[Array, tuple[Net, Standard]], Components]:
        return jax.jit(self.components)

    def _at(self, theta: np.ndarray, parts: tuple[Net, Standard]) -> Components:
        return self._components(jnp.asarray(theta), parts)

    def check_theta(self, theta: Float[np.ndarray, "n 3"]) -> None:
        """Raises `EmulatorError` for θ outside of what it was taught.

        ```python
        default_emulator().check_theta(np.array([[4.0, 7.5, 0.2]]))
        ```
        """
        outside = ~self.box.holds(theta)
        if outside.any():
            first = ", ".join(f"{x:g}" for x in theta[int(np.argmax(outside))])
            raise EmulatorError(
                f"{int(outside.sum())} of {len(theta)} θ lie outside of what the emulator was "
                f"taught, {self.box.as_dict()}, the first is ({first}); narrow the bounds, or "
                "learn one there"
            )

    def check_engine(self, engine: Mapping[str, Any], stated: str) -> None:
        """Raises `EmulatorError` unless it was taught clusters of this engine.

        **Arguments:**

        - `engine`: what an engine says of itself, `StarcensusEngine.describe`.
        - `stated`: who states it, for the message.

        ```python
        engine = StarcensusEngine(default_emulator().bands)
        default_emulator().check_engine(engine.describe(), "the engine")
        ```
        """
        own = self.facts.get("engine", {})
        for name in ("grid", "imf", "settings"):
            if own.get(name) != engine.get(name):
                what = {"grid": "isochrones and atmospheres", "imf": "IMF", "settings": "gas"}[name]
                raise EmulatorError(
                    f"the emulator was taught clusters of other {what} than {stated} says: "
                    f"{own.get(name)}, and {engine.get(name)}; state those, or learn an emulator "
                    'of these (kind = "emulator")'
                )

    def save(self, path: Path) -> None:
        """Write the definition as JSON, and beside it the numbers, of suffix `.safetensors`.

        ```python
        default_emulator().save("emulator.json")
        LightEmulator.load("emulator.json").bands
        ```
        """
        tensors = pathlib.Path(path).with_suffix(".safetensors")
        arrays = {f"weight_{k}": w for k, w in enumerate(self.weights)}
        arrays |= {f"bias_{k}": b for k, b in enumerate(self.biases)}
        arrays["mean_mags"] = self.mean.mags
        write_tensors(tensors, {name: np.asarray(a, np.float32) for name, a in arrays.items()})
        definition = {
            "kind": KIND,
            "weights": tensors.name,
            "sha256": checksum(tensors),
            "bands": list(self.bands),
            "box": self.box.as_dict(),
            "age_features": self.inputs.age_features,
            "gas_until": self.inputs.gas_until,
            "mean": {"log_age": self.mean.log_age.tolist(), "a_v": self.mean.a_v.tolist()},
            "facts": dict(self.facts),
        }
        write_json(path, definition)

    @classmethod
    def load(cls, path: Path) -> "LightEmulator":
        """An emulator that `save` wrote.

        Raises `FileError` for files that are missing, damaged, or not of one another.
        """
        given = read_json(path, "definition of an emulator")
        if not isinstance(given, dict) or given.get("kind") != KIND:
            raise FileError(
                f"{path}: is no definition of an emulator of light; expected kind {KIND!r}"
            )
        try:
            # A name alone: a definition does not lead to files of other folders.
            tensors = pathlib.Path(path).parent / pathlib.PurePath(given["weights"]).name
            arrays = {name: a.astype(float) for name, a in read_tensors(tensors).items()}
            if checksum(tensors) != given["sha256"]:
                raise FileError(f"{path}: {tensors.name} is not the file that it was written with")
            n_layers = sum(name.startswith("weight_") for name in arrays)
            box = Box.from_dict({k: tuple(v) for k, v in given["box"].items()})
            ages, dust = (np.asarray(given["mean"][name], float) for name in ("log_age", "a_v"))
            return cls(
                tuple(given["bands"]),
                Inputs(box, int(given["age_features"]), given["gas_until"]),
                tuple(arrays[f"weight_{k}"] for k in range(n_layers)),
                tuple(arrays[f"bias_{k}"] for k in range(n_layers)),
                MeanLight(ages, dust, arrays["mean_mags"]),
                dict(given["facts"]),
            )
        except FileError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(f"{path}: is damaged: {type(error).__name__}: {error}") from error


def shipped_emulator() -> pathlib.Path:
    """Path of the emulator that the package carries, as `docs/results/emulator.md` describes it.

    ```python
    LightEmulator.load(shipped_emulator()).box
    ```
    """
    return _FOLDER / "emulator.json"


@functools.lru_cache(maxsize=1)
def default_emulator() -> LightEmulator:
    """The emulator that the package carries: five bands of LEGUS, solar metallicity, with gas.

    ```python
    default_emulator().bands
    ```
    """
    return LightEmulator.load(shipped_emulator())


def _blocks(n: int) -> Iterator[tuple[np.ndarray, int]]:
    """Rows in blocks of few sizes; the last is filled up with its first row."""
    for start in range(0, n, _ROWS):
        rows = np.arange(start, min(start + _ROWS, n))
        size = _ROWS if len(rows) == _ROWS else min(_ROWS, 1 << max(len(rows) - 1, 63).bit_length())
        yield np.resize(rows, size) if len(rows) < size else rows, len(rows)


_log_density = jax.jit(log_density)


@jax.jit
def _picked(
    of: Components,
    u: Float[Array, " n"],
    mags: Float[Array, "band n"],
    variance: Float[Array, "band n"],
    there: Float[Array, "band n"],
    common: Float[Array, " n"],
) -> tuple[Float[Array, " n"], Float[Array, "band n"], Float[Array, "entry n"]]:
    """ln p(m | θ), and mean and triangle of a component by its share of it."""
    terms = log_terms(of, mags, variance, there, common)
    total = jax.nn.logsumexp(terms, axis=0)
    return total, *_one_of(of, jnp.exp(terms - total[None]), u)


def _one_of(
    of: Components, share: Float[Array, "k n"], u: Float[Array, " n"]
) -> tuple[Float[Array, "band n"], Float[Array, "entry n"]]:
    k = jnp.argmax(jnp.cumsum(share, axis=0) >= (u * (1 - 1e-9))[None], axis=0)
    mean, triangle = (
        jnp.take_along_axis(x, k[None, None], axis=0)[0] for x in (of.mean, of.triangle)
    )
    return mean, triangle


def _conditioned(
    mean: np.ndarray, root: np.ndarray, measured: list[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """A draw of each Gaussian given what was measured: one of the Gaussian by itself, and one of
    the errors, moved by what the two leave over (Matheron's rule)."""
    mags, variance, there, common = (np.asarray(x).T for x in measured)
    n, n_bands = mean.shape
    free = mean + (root @ rng.standard_normal((n, n_bands, 1)))[..., 0]
    noise = np.sqrt(variance) * rng.standard_normal((n, n_bands))
    noise = noise + np.sqrt(common)[:, None] * rng.standard_normal((n, 1))
    own = root @ root.transpose(0, 2, 1)
    both = there[:, :, None] * there[:, None, :]
    whole = (
        both * (own + common[:, None, None])
        + np.eye(n_bands) * np.where(there > 0, variance, 1.0)[:, None, :]
    )
    left = there * (mags - free - noise)
    moved = np.linalg.solve(whole, left[..., None])
    return free + (own @ (there[..., None] * moved))[..., 0]


@jax.jit
def _drawn(of: Components, u: Float[Array, " n"], z: Float[Array, "band n"]) -> Array:
    mean, triangle = _one_of(of, jnp.exp(of.log_weight), u)
    found, entry = [], 0
    for i in range(of.n_bands):
        found.append(mean[i] + sum(triangle[entry + j] * z[j] for j in range(i + 1)))
        entry += i + 1
    return jnp.stack(found)


def _ranks(of: Components, mags: np.ndarray, error: float) -> np.ndarray:
    """`(band, n)`: conditional distribution functions, band after band."""
    whole = [[np.array(x) for x in row] for row in covariances(of)]
    for i in range(len(whole)):
        whole[i][i] = whole[i][i] + error**2
    log_w, away = np.array(of.log_weight), mags[None] - np.asarray(of.mean)
    factor: list[list[np.ndarray]] = []
    solved: list[np.ndarray] = []
    found = np.empty(mags.shape)
    for i in range(len(mags)):
        row: list[np.ndarray] = []
        for j in range(i + 1):
            entry = whole[i][j] - sum(row[m] * (row if i == j else factor[j])[m] for m in range(j))
            row.append(np.sqrt(np.maximum(entry, 1e-18)) if i == j else entry / factor[j][j])
        z = (away[:, i] - sum(row[m] * solved[m] for m in range(i))) / row[i]
        weight = np.exp(log_w - log_w.max(axis=0))
        found[i] = (weight * ndtr(z)).sum(axis=0) / weight.sum(axis=0)
        log_w = log_w - 0.5 * z**2 - np.log(row[i])
        factor.append(row)
        solved.append(z)
    return found
