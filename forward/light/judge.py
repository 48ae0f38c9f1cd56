"""Is a learned density of light that of the engine? Fresh clusters at stated θ say so.

At each θ clusters are drawn that nobody was taught, and seen with errors. Of a part of them

- the log score of the emulator stands beside that of kernel sums over the rest, which is how a
  library explains a cluster: a Gaussian of the errors about each simulated one;
- the ranks of their magnitudes among the emulator's, band after band, are uniform if it is right:
  the largest difference of the distribution functions is given, and its level by chance;
- the energy distance (Székely & Rizzo 2013, J. Stat. Plan. Inference 143, 1249) between them and as
  many draws of the emulator has a p-value by permutations.
"""

import dataclasses
from collections.abc import Callable, Iterable

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Float

from starcensus.settings import check_seed

from ...simulate import StarcensusEngine
from .emulator import EmulatorError, LightEmulator

_STREAM = 47
# Levels of the two tests at each θ.
_KS_LEVEL = 1.63
_PERMUTATIONS = 199


@dataclasses.dataclass(frozen=True)
class JudgeSettings:
    """At which θ clusters are drawn, and how many.

    **Arguments:**

    - `log_mass`, `log_age`: of the cells' centres, log10 M_sun and log10 yr; every pair is one.
    - `a_v`: mag, of all.
    - `error_mag`: with which magnitudes are seen.
    - `n_test`: clusters of each cell that are judged. `n_kernel`: others, for the kernel sums.
    - `seed`: of the clusters.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    JudgeSettings(log_mass=(3.0, 5.0), log_age=(7.0, 9.0), n_kernel=2000)
    ```
    """

    log_mass: tuple[float, ...] = (2.3, 2.7, 3.7, 4.7, 6.0)
    log_age: tuple[float, ...] = (6.3, 6.8, 7.2, 7.7, 8.5, 9.5)
    a_v: float = 0.4
    error_mag: float = 0.05
    n_test: int = 1000
    n_kernel: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not self.log_mass or not self.log_age or self.a_v < 0 or not self.error_mag > 0:
            raise ValueError(
                "log_mass and log_age are lists of one number or more, a_v is 0 or more, and "
                "error_mag above 0"
            )
        if self.n_test < 50 or self.n_kernel < 100:
            raise ValueError(
                f"n_test is {self.n_test} and n_kernel {self.n_kernel}; expected 50 and 100 or more"
            )


@dataclasses.dataclass(frozen=True)
class Cell:
    """What was found at one θ.

    **Arguments:**

    - `log_mass`, `log_age`: log10 M_sun, log10 yr.
    - `score`, `kernel_score`: mean ln p of the judged clusters, nats; `difference_error`: standard
      error of their difference.
    - `rank_distance`: largest difference of a distribution function of ranks from the uniform, over
      bands; `rank_by_chance`: what one band exceeds in 1% of samples of this size.
    - `energy_p`: p-value of the energy distance.
    - `shift_seen`: shift of all magnitudes, in their standard deviations, that the energy distance
      of so many clusters refuses at 1%: its power.
    """

    log_mass: float
    log_age: float
    score: float
    kernel_score: float
    difference_error: float
    rank_distance: float
    rank_by_chance: float
    energy_p: float
    shift_seen: float


def judge_emulator(
    emulator: LightEmulator,
    engine: StarcensusEngine,
    settings: JudgeSettings = JudgeSettings(),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[Cell, ...]:
    """Cells of (mass, age), each judged by fresh clusters.

    Raises `EmulatorError` for another engine than that of its teaching, or θ outside of its ranges.

    ```python
    few = JudgeSettings((4.0,), (8.0,), n_test=50, n_kernel=100)
    judge_emulator(default_emulator(), StarcensusEngine(default_emulator().bands), few)[0].score
    ```
    """
    emulator.check_engine(engine.describe(), "the engine of the judgement")
    if engine.bands != emulator.bands:
        raise EmulatorError(
            f"the engine draws {', '.join(engine.bands)}; expected {', '.join(emulator.bands)}"
        )
    places = [(m, t) for m in settings.log_mass for t in settings.log_age]
    for m, t in places:
        emulator.check_theta(np.array([[m, t, settings.a_v]]))
    found = []
    for k, (m, t) in enumerate(places):
        progress(k, len(places))
        found.append(_judged(emulator, engine, settings, k, m, t))
    return tuple(found)


def _judged(
    emulator: LightEmulator,
    engine: StarcensusEngine,
    settings: JudgeSettings,
    number: int,
    log_mass: float,
    log_age: float,
) -> Cell:
    rng = np.random.default_rng([settings.seed, _STREAM, number])
    n, error = settings.n_test, settings.error_mag
    theta = np.tile([log_mass, log_age, settings.a_v], (n + settings.n_kernel, 1))
    seeds = rng.integers(0, 1 << 62, len(theta)).astype(np.uint64)
    mags = engine.draw(theta[:, 0], theta[:, 1], theta[:, 2], seeds)["abs_mags"]
    seen = mags[:n] + error * rng.standard_normal((n, mags.shape[1]))
    own = emulator.log_prob(theta[:n], seen, error)
    kernel = kernel_score(seen, mags[n:], error)
    ranks = emulator.ranks(theta[:n], seen, error)
    drawn = emulator.draw(theta[:n], rng)
    drawn = drawn + error * rng.standard_normal(drawn.shape)
    return Cell(
        log_mass,
        log_age,
        float(own.mean()),
        float(kernel.mean()),
        float((own - kernel).std() / np.sqrt(n)),
        max(_distance(column) for column in ranks.T),
        _KS_LEVEL / np.sqrt(n),
        energy_test(seen, drawn, rng),
        _least_shift(seen, rng),
    )


def kernel_score(
    seen: Float[np.ndarray, "n band"], simulated: Float[np.ndarray, "row band"], error: float
) -> Float[np.ndarray, " n"]:
    """ln of the mean of Gaussians of the errors about simulated clusters, at each that was seen.

    ```python
    kernel_score(np.zeros((1, 2)), np.zeros((5, 2)), error=0.1)
    ```
    """
    found, constant = [], -seen.shape[1] * np.log(error * np.sqrt(2 * np.pi))
    for part in np.array_split(seen, max(1, len(seen) * len(simulated) // 2_000_000)):
        square = np.zeros((len(part), len(simulated)), np.float32)
        for k in range(seen.shape[1]):
            square += (((part[:, k, None] - simulated[None, :, k]) / error) ** 2).astype(np.float32)
        found.append(np.asarray(logsumexp(-0.5 * jnp.asarray(square), axis=1), float))
    return np.concatenate(found) + constant - np.log(len(simulated))


def energy_test(
    one: Float[np.ndarray, "n band"],
    two: Float[np.ndarray, "m band"],
    rng: np.random.Generator,
) -> float:
    """p-value of the energy distance between two samples, in units of the first's scatter.

    ```python
    rng = np.random.default_rng(0)
    energy_test(rng.normal(size=(100, 2)), rng.normal(size=(100, 2)), rng)
    ```
    """
    both = np.concatenate([one, two]) / np.maximum(one.std(axis=0), 1e-9)
    square = (both**2).sum(axis=1)
    apart = np.sqrt(np.maximum(square[:, None] + square[None] - 2 * both @ both.T, 0.0))
    n, m = len(one), len(two)
    member = np.zeros((_PERMUTATIONS + 1, n + m))
    for k in range(_PERMUTATIONS + 1):
        member[k, np.arange(n) if k == 0 else rng.permutation(n + m)[:n]] = 1.0
    sums = member @ apart
    within = (sums * member).sum(axis=1)
    across = sums.sum(axis=1) - within
    rest = apart.sum() - 2 * across - within
    value = 2 * across / (n * m) - within / n**2 - rest / m**2
    return float((value >= value[0] * (1 - 1e-12)).mean())


def _least_shift(seen: np.ndarray, rng: np.random.Generator) -> float:
    """The first of some shifts that halves of the sample show to each other."""
    order = rng.permutation(len(seen))
    one, two = seen[order[::2]], seen[order[1::2]]
    # Halves are of half the size; what they see the whole sees at 1/√2 of it.
    for shift in (0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0):
        if energy_test(one, two + shift * seen.std(axis=0), rng) <= 0.01:
            return shift / np.sqrt(2)
    return np.inf


def _distance(ranks: np.ndarray) -> float:
    """Of Kolmogorov and Smirnov, from the uniform."""
    ordered, n = np.sort(ranks), len(ranks)
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))


def table(cells: Iterable[Cell]) -> str:
    """Cells as rows of text, for a terminal."""
    lines = ["log M  log T    score   kernel  difference  ranks  chance  energy p"]
    for c in cells:
        lines.append(
            f"{c.log_mass:5.2f}  {c.log_age:5.2f}  {c.score:7.3f}  {c.kernel_score:7.3f}  "
            f"{c.score - c.kernel_score:+6.3f} ± {c.difference_error:.3f}  {c.rank_distance:.3f}  "
            f"{c.rank_by_chance:.3f}  {c.energy_p:.3f}"
        )
    return "\n".join(lines)
