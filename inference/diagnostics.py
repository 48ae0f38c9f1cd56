"""Is the fit to be trusted? R-hat, ESS, divergences, BFMI, tree depth, sample quality."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from .sampling import Draws


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """What a fit must reach (Vehtari et al. 2021 for R-hat and ESS; Betancourt 2016 for BFMI).

    **Arguments:**

    - `max_r_hat`: largest R-hat of a parameter.
    - `min_ess`: fewest effective draws of a parameter, bulk and tail.
    - `max_divergent`: most divergent transitions.
    - `min_bfmi`: least BFMI of a chain.
    - `max_saturated_share`: largest share of trajectories that end at the largest depth.
    - `min_object_ess`: fewest effective samples of a cluster, under any draw that is looked at.
    - `max_integral_error`: largest relative error of the selection integral, and largest share of
      it that nobody has seen (`AbstractObservation.beyond`).
    - `max_object_shift`: largest shift of a parameter by the number of samples of each cluster, in
      its standard deviations.
    - `max_node_error`: largest change of ln L between two draws because sums were
      deposited on nodes.

    ```python
    FitSettings(thresholds=Thresholds(min_ess=1000.0))
    ```
    """

    max_r_hat: float = 1.01
    min_ess: float = 400.0
    max_divergent: int = 0
    min_bfmi: float = 0.3
    max_saturated_share: float = 0.01
    min_object_ess: float = 4.0
    max_integral_error: float = 3e-3
    max_object_shift: float = 0.25
    max_node_error: float = 0.1


@dataclasses.dataclass(frozen=True)
class Diagnostics:
    """Measured diagnostics and the verdict in words.

    **Arguments:**

    - `r_hat`, `ess_bulk`, `ess_tail`: R-hat and effective draws of each parameter, by flat name.
    - `n_divergent`: number of divergent transitions.
    - `min_bfmi`: least Bayesian fraction of missing information of the chains.
    - `saturated_share`: share of trajectories that end at the largest depth.
    - `min_object_ess`: fewest effective samples of an object.
    - `integral_error`: relative error of the expected count, by the quadrature.
    - `object_shift`: shift of each parameter with other samples of each object, in its
      standard deviations (`object_shift`); empty where there are no more.
    - `mode_converged`: whether the posterior's mode was found.
    - `failures`: a sentence for each threshold that was missed.
    - `node_error`: what depositing on nodes does to ln L (`node_error`); 0 without nodes.
    - `share_beyond`: of the expected count, what comes from clusters fainter than every artificial
      one.
    """

    r_hat: dict[str, float]
    ess_bulk: dict[str, float]
    ess_tail: dict[str, float]
    n_divergent: int
    min_bfmi: float
    saturated_share: float
    min_object_ess: float
    integral_error: float
    object_shift: dict[str, float]
    mode_converged: bool
    failures: tuple[str, ...]
    node_error: float = 0.0
    share_beyond: float = 0.0

    @property
    def converged(self) -> bool:
        return not self.failures

    @property
    def max_object_shift(self) -> float:
        return max((abs(shift) for shift in self.object_shift.values()), default=0.0)

    @property
    def max_r_hat(self) -> float:
        return max(self.r_hat.values())

    @property
    def min_ess_bulk(self) -> float:
        return min(self.ess_bulk.values())

    @property
    def min_ess_tail(self) -> float:
        return min(self.ess_tail.values())

    def verdict(self) -> str:
        """One paragraph: converged or not, because of what."""
        facts = (
            f"the largest R-hat is {self.max_r_hat:.4f}, the smallest bulk and tail effective "
            f"sample sizes are {self.min_ess_bulk:.0f} and {self.min_ess_tail:.0f}, "
            f"{self.n_divergent} transitions diverged, the smallest BFMI is {self.min_bfmi:.2f}"
        )
        if self.converged:
            return f"Converged: yes, because {facts}."
        return f"Converged: NO, because {'; '.join(self.failures)}. For the record, {facts}."


def diagnose(
    values: dict[str, Float[np.ndarray, "chain draw"]],
    draws: Draws,
    object_ess: Float[np.ndarray, " n"],
    max_tree_depth: int,
    thresholds: Thresholds | None = None,
    remedy: str = "raise errors.n_samples",
    integral_error: float = 0.0,
    object_shift: Mapping[str, float] | None = None,
    node_error: float = 0.0,
    integral_remedy: str = "lower quadrature.max_relative_error",
    share_beyond: float = 0.0,
) -> Diagnostics:
    """Check scalar parameters and the sampler's statistics.

    **Arguments:**

    - `values`: draws `(chain, draw)` by flat name.
    - `draws`: what `Sampler.run` gave.
    - `object_ess`: least effective number of samples behind each object's likelihood term, NaN
      for padding.
    - `max_tree_depth`: that of the sampler's settings.
    - `thresholds`: what must be reached.
    - `remedy`: what a user can do about too few effective samples of an object.
    - `integral_error`: relative error of the expected count, by the quadrature.
    - `object_shift`: by the number of samples of each object, as the function of that name says.
    - `node_error`: change of ln L by depositing on nodes, as the function of that name says.
    - `integral_remedy`: what a user can do about an uncertain integral.
    - `share_beyond`: of the expected count, what comes from clusters that are fainter than every
      artificial one, of which nobody has seen whether they are catalogued.
    """
    from arviz_base import from_dict
    from arviz_stats.sampling_diagnostics import bfmi, ess, rhat

    limits = thresholds or Thresholds()
    tree = from_dict({"posterior": values, "sample_stats": {"energy": np.asarray(draws.energy)}})

    def per_name(dataset) -> dict[str, float]:
        return {name: float(dataset[name]) for name in values}

    r_hat = per_name(rhat(tree).dataset)
    most = draws.most_effective
    bulk, tail = (
        {name: min(size, most) for name, size in per_name(ess(tree, method=kind).dataset).items()}
        for kind in ("bulk", "tail")
    )
    fraction = np.asarray(bfmi(tree).dataset["energy"]) if len(values) else np.ones(1)
    saturated = float(np.mean(np.asarray(draws.n_steps) >= 2**max_tree_depth - 1))
    n_divergent = int(np.asarray(draws.diverging).sum())
    smallest_object_ess = float(np.nanmin(object_ess)) if np.isfinite(object_ess).any() else 0.0
    failures = []
    for name, value in r_hat.items():
        if not value < limits.max_r_hat:
            failures.append(f"R-hat of {name} is {value:.4f}, not below {limits.max_r_hat:g}")
    for kind, sizes in (("bulk", bulk), ("tail", tail)):
        for name, value in sizes.items():
            if not value >= limits.min_ess:
                failures.append(f"{kind} ESS of {name} is {value:.0f}, below {limits.min_ess:g}")
    if n_divergent > limits.max_divergent:
        failures.append(f"{n_divergent} divergent transitions")
    if not fraction.min() >= limits.min_bfmi:
        failures.append(f"BFMI is {fraction.min():.2f}, below {limits.min_bfmi:g}")
    if saturated > limits.max_saturated_share:
        failures.append(f"{saturated:.1%} of trajectories reached the maximum tree depth")
    if smallest_object_ess < limits.min_object_ess * (1 - 1e-9):
        poor = int((object_ess < limits.min_object_ess).sum())
        failures.append(
            f"{poor} clusters have fewer than {limits.min_object_ess:g} effective samples behind "
            f"their likelihood term; {remedy}"
        )
    if integral_error > limits.max_integral_error:
        failures.append(
            f"the selection integral is uncertain by {integral_error:.2g} of its value, more than "
            f"{limits.max_integral_error:g}; {integral_remedy}"
        )
    if share_beyond > limits.max_integral_error:
        failures.append(
            f"{share_beyond:.2g} of the expected clusters are fainter than every artificial one, "
            "and count as if they were catalogued as often as the faintest of these; more than "
            f"{limits.max_integral_error:.2g}: inject fainter clusters, down to where none is found"
        )
    for name, shift in (object_shift or {}).items():
        if not abs(shift) <= limits.max_object_shift:
            failures.append(
                f"{name} moves by {shift:+.2f} standard deviations with other draws "
                f"behind each cluster, more than {limits.max_object_shift:g}; {remedy}"
            )
    if not node_error <= limits.max_node_error:
        failures.append(
            f"ln L changes by {node_error:.2g} between draws because sums were deposited on nodes, "
            f"more than {limits.max_node_error:g}; narrow light.panels or nodes.panels"
        )
    # An unfinished search for the mode is no failure: it only sets the sampler's first scale, and a
    # posterior that leans on the edge of a prior has its mode at infinity.
    return Diagnostics(
        r_hat,
        bulk,
        tail,
        n_divergent,
        float(fraction.min()),
        saturated,
        smallest_object_ess,
        integral_error,
        dict(object_shift or {}),
        bool(np.asarray(draws.mode_converged).all()),
        tuple(failures),
        node_error,
        share_beyond,
    )
