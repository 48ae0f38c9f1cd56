"""Bridge sampling: the evidence from draws of a posterior.

Meng & Wong (1996, Statistica Sinica 6, 831): with draws x of q = π L and y of a proposal g,

    Z = E_g[h q] / E_post[h g],    h = 1 / (s₁ q/Z + s₂ g),

whose h makes the error least for independent draws, and is found by iteration; s₁ and s₂ are the
shares of (effective) draws. The relative error is that of Frühwirth-Schnatter (2004, Econometrics
Journal 7, 143, eq. 4.5), with the effective number of draws of the dependent chain. The proposal
is a mixture of normal distributions that is fitted to one half of the draws and bridged to the
other: one that was fitted to the draws that it is bridged to has too large an overlap with them
(Wang, Jones & Meng 2020, JCGS 31, 1). The halves then change places, and the mean of both is taken.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from starcensus.settings import check_seed

from .chains import effective, r_hat
from .errors import EvidenceError
from .mixture import Mixture

_STEPS, _TOLERANCE = 1000, 1e-10


@dataclasses.dataclass(frozen=True)
class BridgeSettings:
    """How an evidence is bridged, and when it is refused.

    **Arguments:**

    - `max_parts`: most normal distributions in the proposal.
    - `n_proposals`: draws of each proposal; 0 takes as many as there are of the posterior.
    - `max_error`: largest error of ln Z.
    - `min_effective`: fewest effective draws, of the posterior and of the proposal, on each side of
      a bridge.
    - `max_disagreement`: of the two halves, in their errors.
    - `max_r_hat`: largest R-hat of a coordinate of the draws.
    - `seed`: of the proposals.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    BridgeSettings(max_error=0.05)
    ```
    """

    max_parts: int = 4
    n_proposals: int = 0
    max_error: float = 0.1
    min_effective: float = 100.0
    max_disagreement: float = 5.0
    max_r_hat: float = 1.05
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.max_parts < 1 or self.n_proposals < 0:
            raise ValueError(
                f"max_parts = {self.max_parts}, n_proposals = {self.n_proposals}; expected 1 or "
                "more parts, and 0 or more proposals"
            )
        if not self.max_r_hat > 1:
            raise ValueError(f"max_r_hat = {self.max_r_hat}; expected a number above 1")
        for name in ("max_error", "min_effective", "max_disagreement"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)}; expected a number above 0")


@dataclasses.dataclass(frozen=True)
class Bridge:
    """An evidence by bridge sampling.

    **Arguments:**

    - `ln_z`, `error`: ln of the evidence and its standard error.
    - `halves`: ln Z by each half of the draws. `half_errors`: standard error of each.
    - `effective`: fewest effective draws on a side of a bridge.
    - `n_parts`: normal distributions in each proposal.
    """

    ln_z: float
    error: float
    halves: tuple[float, float]
    half_errors: tuple[float, float]
    effective: float
    n_parts: tuple[int, int]


def bridge(
    log_density: Callable[[Float[np.ndarray, "k d"]], Float[np.ndarray, " k"]],
    draws: Float[np.ndarray, "chain draw d"],
    settings: BridgeSettings | None = None,
    most_effective: float = np.inf,
) -> Bridge:
    """ln ∫ exp(log_density) from draws of the distribution with that density (Meng & Wong 1996).

    **Arguments:**

    - `log_density`: ln π L of points `(k, d)`, in coordinates without bounds.
    - `draws`: of chains that have converged.
    - `settings`: of the proposal, and when to refuse.
    - `most_effective`: independent draws that `draws` stand for at most.

    Raises `EvidenceError` where the error is too large or cannot be trusted: chains that have not
    converged, too few effective draws, or halves that disagree.

    ```python
    rng = np.random.default_rng(1)
    bridge(lambda x: -0.5 * (x**2).sum(axis=1), rng.normal(size=(4, 500, 1)))  # ½ ln 2π
    ```
    """
    settings = settings or BridgeSettings()
    n_chains, n_draws, _ = draws.shape
    if n_draws < 4 or not np.isfinite(draws).all():
        raise EvidenceError(
            f"draws have shape {draws.shape}, {int((~np.isfinite(draws)).sum())} values are not "
            "finite; expected 4 or more finite draws of each chain"
        )
    worst = max(r_hat(x) if np.ptp(x) > 0 else np.inf for x in np.moveaxis(draws, -1, 0))
    if not worst <= settings.max_r_hat:
        raise EvidenceError(
            f"the chains have not converged: R-hat is {worst:.3f}, above {settings.max_r_hat:g}; "
            "raise sampler.n_warmup and sampler.n_samples"
        )
    halves = draws[:, : n_draws // 2], draws[:, n_draws // 2 :]
    at = log_density(draws.reshape(-1, draws.shape[-1])).reshape(n_chains, n_draws)
    at_halves = at[:, : n_draws // 2], at[:, n_draws // 2 :]
    if bad := int((~np.isfinite(at)).sum()):
        raise EvidenceError(
            f"the density is 0 or no number at {bad} of {at.size} draws; expected draws of it"
        )
    d, found, parts = draws.shape[-1], [], []
    for i in (0, 1):
        rng = np.random.default_rng([settings.seed, i])
        proposal = Mixture.best(halves[1 - i].reshape(-1, d), settings.max_parts, rng)
        n = settings.n_proposals or at_halves[i].size
        y = proposal.draw(n, rng)
        share = at_halves[i].size / at.size
        log_g = proposal.log_density(halves[i].reshape(-1, d)).reshape(at_halves[i].shape)
        of_proposals = log_density(y) - proposal.log_density(y)
        found.append(_one_bridge(at_halves[i] - log_g, of_proposals, most_effective * share))
        parts.append(len(proposal.shares))
    (z0, e0, n0), (z1, e1, n1) = found
    # Each half's own draws and proposals are its own: their errors are as good as independent.
    error = float(np.hypot(e0, e1) / 2)
    made = Bridge((z0 + z1) / 2, error, (z0, z1), (e0, e1), min(n0, n1), (parts[0], parts[1]))
    _refuse(made, settings)
    return made


def _one_bridge(
    log_ratio_post: Float[np.ndarray, "chain draw"],
    log_ratio_prop: Float[np.ndarray, " n"],
    most_effective: float,
) -> tuple[float, float, float]:
    """ln Z, its error, and the fewest effective draws, for ln q/g at draws of both."""
    n_post, n_prop = log_ratio_post.size, log_ratio_prop.size
    size = effective(log_ratio_post, most_effective)
    s_post, s_prop = size / (size + n_prop), n_prop / (size + n_prop)
    ln_z = float(np.median(log_ratio_post))
    for _ in range(_STEPS):
        post, prop = log_ratio_post - ln_z, log_ratio_prop - ln_z
        top = _log_mean(prop - np.logaddexp(np.log(s_post) + prop, np.log(s_prop)))
        bottom = _log_mean(-np.logaddexp(np.log(s_post) + post, np.log(s_prop)))
        ln_z += top - bottom
        if abs(top - bottom) < _TOLERANCE:
            break
    else:
        raise EvidenceError(
            f"the bridge has not converged after {_STEPS} iterations: posterior and proposal "
            "hardly overlap; take more draws, or priors that keep the posterior off its edges"
        )
    post, prop = log_ratio_post - ln_z, log_ratio_prop - ln_z
    # Both are bounded, by 1 / s_post and 1 / s_prop: their variances exist.
    f_prop = np.exp(prop - np.logaddexp(np.log(s_post) + prop, np.log(s_prop)))
    f_post = np.exp(-np.logaddexp(np.log(s_post) + post, np.log(s_prop)))
    of_prop = f_prop.var() / f_prop.mean() ** 2 / n_prop
    of_post = f_post.var() / f_post.mean() ** 2 / effective(f_post, most_effective)
    fewest = min(
        effective(f_post, most_effective) / n_post * f_post.sum() ** 2 / (f_post**2).sum(),
        f_prop.sum() ** 2 / (f_prop**2).sum(),
    )
    return ln_z, float(np.sqrt(of_prop + of_post)), float(fewest)


def _refuse(made: Bridge, settings: BridgeSettings) -> None:
    more = "take more draws (sampler.n_samples), or priors that keep the posterior off their edges"
    if made.effective < settings.min_effective:
        raise EvidenceError(
            f"a bridge stands on {made.effective:.0f} effective draws, fewer than "
            f"{settings.min_effective:g}, and its error cannot be trusted; {more}"
        )
    if made.error > settings.max_error:
        raise EvidenceError(
            f"ln Z has an error of {made.error:.2g} by bridge sampling, more than "
            f"{settings.max_error:g}; {more}"
        )
    apart = abs(made.halves[0] - made.halves[1])
    # Errors below a thousandth are of no interest, and neither is a difference of as much.
    allowed = settings.max_disagreement * max(float(np.hypot(*made.half_errors)), 2e-3)
    if apart > allowed:
        raise EvidenceError(
            f"two halves of the draws give ln Z = {made.halves[0]:.3f} and {made.halves[1]:.3f}, "
            f"which differ by {apart:.2g}, more than {allowed:.2g}: the chains do not stand for "
            f"one distribution; {more}"
        )


def _log_mean(values: np.ndarray) -> float:
    top = values.max()
    return float(top + np.log(np.exp(values - top).mean()))
