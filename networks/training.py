"""Training of ensembles of classifiers whose output is a probability.

The loss is the Bernoulli cross-entropy without class weights, for a reweighted loss no longer has
the probability as its minimum. Where rows were chosen by a design, `weight` undoes or states it.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from starcensus.settings import check_seed

from .mlp import MLP, random_mlp

if TYPE_CHECKING:
    import optax


class TrainingDiverged(ValueError):
    """The loss became infinite or NaN."""


Parameters = tuple[tuple[Float[Array, "_ _"], Float[Array, "_"]], ...]
Progress = Callable[[int, int, float, float], None]

# Grid of C-4, appendix D: maximum learning rates and weight decays.
C4_RATES = (5e-3, 1e-2, 5e-2, 1e-1)
C4_DECAYS = (1e-3, 5e-3, 1e-2, 3e-2, 5e-2, 1e-1)
# Chance that a band is hidden, for inputs with a mask.
MASKED_DROPOUT = 0.2


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """How an ensemble is trained; architecture and schedule are those of C-4 (Tang et al.,
    arXiv:2604.05291, section 3.3 and appendix D).

    **Arguments:**

    - `widths`: widths of the hidden layers.
    - `n_members`: number of networks, each with its own start and order of rows.
    - `epochs`: passes over the rows.
    - `batch_size`: rows in a step; those that do not fill a last batch sit out, others each epoch.
    - `max_rate`: largest learning rate, which then falls as a cosine to zero.
    - `weight_decay`: decay of AdamW; biases have none.
    - `warm_up`: share of all steps in which the rate rises linearly to `max_rate`.
    - `validation`: share of the rows held out from every member, stratified by label.
    - `dropout`: chance that a band is hidden in a row of a batch, for inputs with a mask. By
      default 0.2 for these and 0 for others.
    - `seed`: seed of everything random.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    TrainSettings(widths=(64, 64), n_members=3, epochs=20)
    ```
    """

    widths: tuple[int, ...] = (512, 512)
    n_members: int = 5
    epochs: int = 100
    batch_size: int = 4096
    max_rate: float = 1e-2
    weight_decay: float = 1e-2
    warm_up: float = 0.1
    validation: float = 0.2
    dropout: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_members", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        check_seed(self.seed)
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"widths is {self.widths}; expected at least one hidden layer")
        if not (self.max_rate > 0 and self.weight_decay >= 0 and 0 <= self.warm_up < 1):
            raise ValueError(
                "max_rate > 0, weight_decay >= 0 and 0 <= warm_up < 1; got "
                f"{self.max_rate}, {self.weight_decay} and {self.warm_up}"
            )
        if not (0 < self.validation < 1 and 0 <= (self.dropout or 0.0) < 1):
            raise ValueError(
                "validation lies between 0 and 1 and dropout from 0 to below 1; got "
                f"{self.validation} and {self.dropout}"
            )

    def with_dropout(self, masked: bool) -> "TrainSettings":
        """With the default `dropout` of inputs that have a mask or none, unless it is given."""
        if self.dropout is not None:
            return self
        return dataclasses.replace(self, dropout=MASKED_DROPOUT if masked else 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """An ensemble and how it came about.

    **Arguments:**

    - `networks`: the members.
    - `held_out`: `(v,)`, the rows that no member saw.
    - `train_loss`, `validation_loss`: `(member, epoch)`, mean cross-entropy in nats.
    """

    networks: tuple[MLP, ...]
    held_out: Int[np.ndarray, "v"]
    train_loss: Float[np.ndarray, "member epoch"]
    validation_loss: Float[np.ndarray, "member epoch"]


def stratified_split(
    label: Bool[np.ndarray, "n"], share: float, seed: int
) -> tuple[Int[np.ndarray, "t"], Int[np.ndarray, "v"]]:
    """Rows to train on and rows held out, with the share of each label in both alike.

    Raises `ValueError` where a label would be missing from either.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    held: list[np.ndarray] = []
    for value in (False, True):
        rows = rng.permutation(np.flatnonzero(label == value))
        n = round(share * len(rows))
        if not 0 < n < len(rows):
            raise ValueError(
                f"{len(rows)} of {len(label)} rows have the label {value}; both labels are needed "
                "in the training set and among the rows held out"
            )
        held.append(rows[:n])
    held_out = np.sort(np.concatenate(held))
    rest = np.setdiff1d(np.arange(len(label)), held_out)
    return rest, held_out


def train_ensemble(
    x: Float[np.ndarray, "n k"],
    label: Bool[np.ndarray, "n"],
    settings: TrainSettings = TrainSettings(),
    *,
    mean: Float[np.ndarray, "k"] | None = None,
    scale: Float[np.ndarray, "k"] | None = None,
    n_masked: int = 0,
    weight: Float[np.ndarray, "n"] | None = None,
    progress: Progress = lambda member, epoch, train, validation: None,
) -> Trained:
    """Train an ensemble on features and labels, in single precision.

    **Arguments:**

    - `x`: `(n, k)`, finite features, a row for each example.
    - `label`: `(n,)`, the outcomes of the rows.
    - `settings`: how the ensemble is trained.
    - `mean`, `scale`: `(k,)`, standardisation; by default that of the rows trained on.
    - `n_masked`: the first so many columns may be hidden; the last so many say which are there
      (1) or hidden (0), and a hidden value has to be the column's `mean`.
    - `weight`: `(n,)`, weight of each row in the loss; by default 1.
    - `progress`: called after each epoch with member, epoch, training and held-out loss.

    Raises `ValueError` for shapes, values or labels that cannot be trained on, and
    `TrainingDiverged`.

    ```python
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    trained = train_ensemble(x, x[:, 0] > rng.normal(size=200), short)
    trained.validation_loss[:, -1]
    ```
    """
    _check(x, label, weight)
    dropout = settings.with_dropout(n_masked > 0).dropout or 0.0
    rows, held_out = stratified_split(label, settings.validation, settings.seed)
    x = np.asarray(x, np.float32)
    chosen = x[rows].astype(float)
    mean = chosen.mean(0) if mean is None else np.asarray(mean, float)
    scale = np.maximum(chosen.std(0), 1e-9) if scale is None else np.asarray(scale, float)
    if n_masked:
        mean, scale = mean.copy(), scale.copy()
        mean[-n_masked:], scale[-n_masked:] = 0.0, 1.0
    standard = ((x - mean) / scale).astype(np.float32)
    w = np.ones(len(x), np.float32) if weight is None else weight.astype(np.float32)
    data = tuple(jnp.asarray(a) for a in (standard[rows], label[rows].astype(np.float32), w[rows]))
    test = tuple(
        jnp.asarray(a)
        for a in (standard[held_out], label[held_out].astype(np.float32), w[held_out])
    )
    batch = min(settings.batch_size, len(rows))
    per_epoch = len(rows) // batch
    steps = settings.epochs * per_epoch
    rising = max(1, round(settings.warm_up * steps))
    schedule = rising, max(steps, rising + 1)
    rates = jnp.float32(settings.max_rate), jnp.float32(settings.weight_decay)
    begin = _optimiser(*rates, *schedule).init
    networks, train_loss, validation_loss = [], [], []
    for member in range(settings.n_members):
        key = jax.random.fold_in(jax.random.key(settings.seed), member)
        key, start = jax.random.split(key)
        parameters = _parameters(random_mlp((x.shape[1], *settings.widths), key=start))
        state = begin(parameters)
        losses = []
        for epoch in range(settings.epochs):
            parameters, state, loss = _epoch(
                parameters,
                state,
                data,
                jax.random.fold_in(key, epoch),
                rates,
                schedule,
                batch,
                dropout,
                n_masked,
            )
            losses.append((float(loss), float(_mean_loss(parameters, test))))
            progress(member, epoch, *losses[-1])
        if not np.isfinite(losses[-1]).all():
            raise TrainingDiverged(
                f"the loss of member {member} is {losses[-1]} after training; a smaller max_rate "
                f"than {settings.max_rate} helps"
            )
        train_loss.append([a for a, _ in losses])
        validation_loss.append([b for _, b in losses])
        networks.append(
            MLP([np.asarray(p) for p, _ in parameters], [np.asarray(b) for _, b in parameters],
                mean, scale)
        )  # fmt: skip
    return Trained(tuple(networks), held_out, np.array(train_loss), np.array(validation_loss))


def search_grid(
    x: Float[np.ndarray, "n k"],
    label: Bool[np.ndarray, "n"],
    settings: TrainSettings = TrainSettings(),
    rates: Sequence[float] = C4_RATES,
    decays: Sequence[float] = C4_DECAYS,
    **options: Any,
) -> tuple[TrainSettings, Float[np.ndarray, "rate decay"]]:
    """The settings of least final validation loss on a grid, and all losses; one member each.

    The default grid is that of C-4 (Tang et al., arXiv:2604.05291, appendix D).

    **Arguments:**

    - `x`: `(n, k)`, features, as of `train_ensemble`.
    - `label`: `(n,)`, outcomes.
    - `settings`: everything but the two that are searched.
    - `rates`: values of `max_rate`.
    - `decays`: values of `weight_decay`.
    - `options`: further arguments of `train_ensemble`.

    Returns the settings and the losses `(rate, decay)`, nats; a combination that diverges has the
    loss infinity. Raises as `train_ensemble`.

    ```python
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    label = x[:, 0] > rng.normal(size=200)
    best, losses = search_grid(x, label, short, rates=(1e-3, 1e-2), decays=(0.0,))
    ```
    """
    losses = np.full((len(rates), len(decays)), np.inf)
    one = dataclasses.replace(settings, n_members=1)
    for i, rate in enumerate(rates):
        for j, decay in enumerate(decays):
            trial = dataclasses.replace(one, max_rate=rate, weight_decay=decay)
            try:
                losses[i, j] = train_ensemble(x, label, trial, **options).validation_loss[0, -1]
            except TrainingDiverged:
                continue
    i, j = (int(at) for at in np.unravel_index(np.argmin(losses), losses.shape))
    best = dataclasses.replace(settings, max_rate=rates[i], weight_decay=decays[j])
    return best, losses


def checksum(networks: Sequence[MLP]) -> str:
    """SHA-256 of the parameters, hexadecimal."""
    digest = hashlib.sha256()
    for network in networks:
        for name, values in sorted(network.to_arrays().items()):
            digest.update(name.encode() + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _check(x: np.ndarray, label: np.ndarray, weight: np.ndarray | None) -> None:
    if x.ndim != 2 or label.shape != x.shape[:1]:
        raise ValueError(f"features {x.shape} and labels {label.shape} do not fit each other")
    if not np.isfinite(x).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise ValueError(f"feature {column} of row {row} is {x[row, column]}; expected a number")
    if weight is not None and not (weight.shape == label.shape and (weight >= 0).all()):
        raise ValueError("weight has one number >= 0 for each row")


def _optimiser(
    max_rate: Array, weight_decay: Array, rising: int, steps: int
) -> "optax.GradientTransformation":
    import optax

    share = optax.warmup_cosine_decay_schedule(0.0, 1.0, rising, steps)
    return optax.adamw(
        lambda step: max_rate * share(step),
        weight_decay=weight_decay,  # pyright: ignore[reportArgumentType]
        mask=lambda parameters: jax.tree.map(lambda p: p.ndim == 2, parameters),
    )


def _parameters(network: MLP) -> Parameters:
    return tuple(
        (jnp.asarray(w, jnp.float32), jnp.asarray(b, jnp.float32))
        for w, b in zip(network.weights, network.biases, strict=True)
    )


def _logits(parameters: Parameters, x: Float[Array, "n k"]) -> Float[Array, "n"]:
    for layer, (w, b) in enumerate(parameters):
        if layer:
            x = jax.nn.gelu(x, approximate=False)
        x = x @ w.T + b[None]
    return x[:, 0]


def _loss(parameters: Parameters, data: tuple[Array, Array, Array]) -> Float[Array, ""]:
    import optax

    x, label, weight = data
    each = optax.sigmoid_binary_cross_entropy(_logits(parameters, x), label)
    return (weight * each).sum() / jnp.maximum(weight.sum(), 1e-12)


_mean_loss = jax.jit(_loss)


@functools.partial(
    jax.jit, static_argnames=("schedule", "batch", "dropout", "n_masked"), donate_argnums=(0, 1)
)
def _epoch(
    parameters: Parameters,
    state: Any,
    data: tuple[Array, Array, Array],
    key: Array,
    rates: tuple[Array, Array],
    schedule: tuple[int, int],
    batch: int,
    dropout: float,
    n_masked: int,
) -> tuple[Parameters, Any, Float[Array, ""]]:
    """One pass over the rows in a new order.

    Rate and decay are arguments of the program, so that a search over them compiles once.
    """
    import optax

    optimiser = _optimiser(*rates, *schedule)
    n = len(data[1])
    key, order_key = jax.random.split(key)
    order = jax.random.permutation(order_key, n)[: n // batch * batch].reshape(-1, batch)

    def step(carry: Any, rows_and_key: Any) -> Any:
        parameters, state = carry
        rows, step_key = rows_and_key
        x, label, weight = (part[rows] for part in data)
        if n_masked and dropout:
            x = _hide(x, step_key, dropout, n_masked)
        loss, gradient = jax.value_and_grad(_loss)(parameters, (x, label, weight))
        # Optax counts steps in integers and multiplies them with floats.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimiser.update(gradient, state, parameters)
        return (optax.apply_updates(parameters, updates), state), loss

    keys = jax.random.split(key, len(order))
    (parameters, state), losses = jax.lax.scan(step, (parameters, state), (order, keys))
    return parameters, state, losses.mean()


def _hide(x: Float[Array, "n k"], key: Array, dropout: float, n_masked: int) -> Float[Array, "n k"]:
    """Hide bands at random, but never all of a row."""
    keep = jax.random.uniform(key, (len(x), n_masked)) >= dropout
    keep = jnp.where(keep.any(1, keepdims=True), keep, True)
    # Standardised, a hidden value is 0, as its column's mean; the mask is not standardised.
    bands = jnp.where(keep, x[:, :n_masked], 0.0)
    mask = jnp.where(keep, x[:, -n_masked:], 0.0)
    return jnp.concatenate([bands, x[:, n_masked:-n_masked], mask], axis=1)
