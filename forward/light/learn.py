"""From a library of stochastic clusters to the density of their light."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from starcensus.theta import Box

from ...networks.descent import best_epoch, first_layers
from ...simulate import ClusterLibrary, StarcensusEngine
from ...simulate.library.engine import population_of_engine
from .emulator import EmulatorError, LightEmulator
from .inputs import Inputs, Standard, inputs
from .mean import MeanLight, spread
from .mixture import Net, components, log_density, outputs, per_component
from .settings import EmulatorSettings

# Fewer clusters teach no density.
_LEAST_CLUSTERS = 1000

type Rows = tuple[Float[Array, "3 n"], Float[Array, "band n"], Float[Array, " n"]]


def learn_emulator(
    library: ClusterLibrary,
    engine: StarcensusEngine,
    box: Box,
    settings: EmulatorSettings = EmulatorSettings(),
    progress: Callable[[int, float, float], None] = lambda epoch, train, validation: None,
) -> LightEmulator:
    """Learn p(μ | θ) of the clusters of a library.

    The mean over the library's θ of −ln p is what the network minimises, of magnitudes seen with
    known errors, so that it need not be sharper than any photometry. The same library and settings
    give the same network.

    **Arguments:**

    - `library`: clusters spread over `box`, in the bands of the density.
    - `engine`: with which they were drawn.
    - `box`: where the density is to be known: where the library was drawn.
    - `settings`: of the mixture and the training.
    - `progress`: called after each epoch with it and both losses, nats a cluster.

    Raises `EmulatorError` for a library of another engine, clusters outside of the box, or too few
    of them, `TrainingDiverged` where the loss is no number.

    ```python
    few = EmulatorSettings(n_components=4, widths=(16,), epochs=1)
    learn_emulator(library, engine, theta_box, few).bands
    ```
    """
    _check(library, engine, box)
    stars = population_of_engine(engine)
    gas = engine.settings
    jumps = gas.nebular and box.log_age[0] < gas.nebular_max_log_age < box.log_age[1]
    given = Inputs(box, settings.age_features, gas.nebular_max_log_age if jumps else None)
    mean = MeanLight.of(stars, box.log_age, box.a_v, gas)
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(31,)))
    rows = _rows(library, mean, settings, rng)
    held = _held_out(library, settings, rng)
    train, test = (tuple(jnp.asarray(x[..., some]) for x in rows) for some in (~held, held))
    standard = given.standard(jnp.float32)
    key = jax.random.key(settings.seed)
    first = _first_components(train, settings)
    sizes = (given.n_in, *settings.widths, len(first))
    net = Net(*first_layers(key, sizes, first, spread=1.7, last_spread=0.3))
    learned, losses = best_epoch(
        _loss,
        net,
        standard,
        train,
        test,
        (settings.max_rate, settings.weight_decay),
        settings.epochs,
        settings.batch_size,
        key,
        progress,
    )
    facts = {
        "engine": engine.describe(),
        "library": {"n": len(library), "design": library.meta.get("design")},
        "training": _plain(settings),
        "losses": {"train": losses[0], "validation": losses[1]},
    }
    single = [tuple(np.asarray(x, np.float32).astype(float) for x in part) for part in learned]
    return LightEmulator(library.bands, given, single[0], single[1], _single(mean), facts)


def _check(library: ClusterLibrary, engine: StarcensusEngine, box: Box) -> None:
    said, own = library.meta.get("engine"), engine.describe()
    if not isinstance(said, dict) or any(
        said.get(name) != own[name] for name in ("grid", "imf", "settings")
    ):
        raise EmulatorError(
            f"the library was drawn by {said}; expected the engine that is stated, {own}"
        )
    if tuple(engine.bands) != library.bands:
        raise EmulatorError(
            f"the library has {', '.join(library.bands)}, and the engine draws "
            f"{', '.join(engine.bands)}; expected the same bands in the same order"
        )
    if (outside := ~box.holds(library.theta)).any():
        raise EmulatorError(
            f"{int(outside.sum())} of {len(library)} clusters lie outside {box.as_dict()}; "
            "expected the box that they were drawn in"
        )
    if len(library) < _LEAST_CLUSTERS:
        raise EmulatorError(
            f"the library has {len(library)} clusters; a density needs {_LEAST_CLUSTERS} or more"
        )
    if library.inclusion is not None:
        raise EmulatorError("the library's clusters were chosen by their light; expected all")
    if (dark := ~np.isfinite(library.abs_mags).all(axis=1)).any():
        raise EmulatorError(
            f"{int(dark.sum())} of {len(library)} clusters give no light in some band; expected a "
            "box where all do: raise the least mass"
        )


def _rows(
    library: ClusterLibrary,
    mean: MeanLight,
    settings: EmulatorSettings,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """θ, magnitudes less those of the mean light as seen with errors, and the errors."""
    low, high = np.log(settings.noise_mag)
    error = np.exp(rng.uniform(low, high, len(library)))
    theta = library.theta.T
    away = library.abs_mags.T - np.asarray(mean.centre(jnp.asarray(theta, jnp.float32)))
    away = away + error * rng.standard_normal(away.shape)
    return theta.astype(np.float32), away.astype(np.float32), error.astype(np.float32)


def _held_out(
    library: ClusterLibrary, settings: EmulatorSettings, rng: np.random.Generator
) -> np.ndarray:
    """Rows of some clusters, all rows of each."""
    of = np.arange(len(library)) if library.seed is None else library.seed
    each, whose = np.unique(of, return_inverse=True)
    return (rng.uniform(size=len(each)) < settings.validation)[whose]


def _first_components(rows: Any, settings: EmulatorSettings) -> Float[np.ndarray, " out"]:
    """Components start where clusters lie, as wide as the spread."""
    theta, away, _ = rows
    n_bands, k = away.shape[0], settings.n_components
    each = per_component(n_bands)
    last = np.zeros((k, each))
    some = np.asarray(away[:, :4096] / spread(theta[0, :4096])[None]).T
    order = some[np.argsort(some.mean(axis=1))]
    # Between the extremes, which are of single stars.
    at = np.linspace(0.02, 0.98, k) * (len(order) - 1)
    last[:, 1 : 1 + n_bands] = np.clip(order[at.astype(int)], -3.0, 6.0)
    entry = 1 + n_bands
    for i in range(n_bands):
        last[:, entry + i] = -0.5
        entry += i + 1
    return last.ravel()


def _loss(net: Net, standard: Standard, rows: Rows) -> Float[Array, ""]:
    theta, away, error = rows
    out = outputs(net, inputs(standard, theta))
    of = components(out, jnp.zeros_like(away), spread(theta[0]))
    variance = jnp.broadcast_to(error[None] ** 2, away.shape)
    return -log_density(of, away, variance, jnp.ones_like(away)).mean()


def _single(mean: MeanLight) -> MeanLight:
    """As it is kept in a file."""
    return MeanLight(mean.log_age, mean.a_v, mean.mags.astype(np.float32).astype(float))


def _plain(settings: EmulatorSettings) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(settings).items()}
