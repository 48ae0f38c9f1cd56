"""The evidence of a fit: by its draws, and by nested sampling, of the likelihood that it had."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from starcensus.settings import check_choices

from ..draws import thinned
from ..identity import fingerprint, model_digest
from ..library_error import library_error
from ..object_shift import sums_of_terms
from ..objects import EmulatedObjects, LightObjects
from ..results import FitResult
from ..sampling import double_precision
from .bridge import Bridge, BridgeSettings, bridge
from .errors import EvidenceError
from .mixture import Mixture
from .nested import Nested, NestedSettings, nested
from .priors import check_priors
from .target import Target, population_target, unconstrained_draws

# Draws at which other nodes or samples are tried.
_TRIED = 60
# Recomputed densities of draws agree with the sampler's to rounding.
_SAME = 1e-4


@dataclasses.dataclass(frozen=True)
class EvidenceSettings:
    """How the evidence of a fit is found.

    **Arguments:**

    - `method`: `"both"`, or `"bridge"` alone, which relies on the draws of the fit.
    - `bridge`, `nested`: settings of each.
    - `max_disagreement`: of ln Z by the two; more, and more than four of their errors, is refused.
    - `max_numerical`: largest change of ln Z by nodes, samples and integrals.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    EvidenceSettings(nested=NestedSettings(n_live=500))
    ```
    """

    method: Literal["both", "bridge"] = "both"
    bridge: BridgeSettings = dataclasses.field(default_factory=BridgeSettings)
    nested: NestedSettings = dataclasses.field(default_factory=NestedSettings)
    max_disagreement: float = 0.3
    max_numerical: float = 1.0

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("max_disagreement", "max_numerical"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)}; expected a number above 0")


@dataclasses.dataclass(frozen=True)
class Evidence:
    """ln Z of a model and of the data that it was given.

    ln Z has the constants of the likelihood of `fit`, which are the same for all populations of one
    catalogue, operator, bounds and form, and of no meaning otherwise: `data` says of which it is.

    **Arguments:**

    - `ln_z`, `error`: by bridge sampling, less `shift` already, and its Monte Carlo error.
    - `bridge_ln_z`, `nested_ln_z`, `nested_error`: by each method, without `shift`; None where
      nested sampling was left out.
    - `shift`: what other samples of each cluster, or the rows behind nodes, add to ln Z.
    - `numerical`: what is not known of ln Z by chance of these, and by the selection integral.
    - `data`: digests of what the likelihood had: clusters, selection, bounds, form.
    - `model`: digest of population, priors and form. `n_clusters`: number of clusters.
    - `details`: further numbers of both methods, for summaries.
    """

    ln_z: float
    error: float
    bridge_ln_z: float
    nested_ln_z: float | None
    nested_error: float | None
    shift: float
    numerical: float
    data: Mapping[str, str]
    model: str
    n_clusters: int
    details: Mapping[str, float]

    @property
    def disagreement(self) -> float | None:
        """ln Z by nested sampling less that by bridge sampling."""
        return None if self.nested_ln_z is None else self.nested_ln_z - self.bridge_ln_z

    def json(self) -> dict[str, Any]:
        """All of it, for a file.

        ```python
        found = evidence(fit(catalogue, operator, model))
        Evidence.of_json(found.json()) == found
        ```
        """
        return dataclasses.asdict(self)

    @classmethod
    def of_json(cls, facts: Mapping[str, Any]) -> "Evidence":
        """What `json` gave."""
        return cls(**facts)


def posterior_values(result: FitResult) -> dict[str, Float[np.ndarray, "chain draw ..."]]:
    """Draws of a fit by parameter name.

    ```python
    posterior_values(fit(catalogue, operator, model))["alpha_m"]
    ```
    """
    return {str(k): v.values for k, v in result.tree["posterior"].data_vars.items()}


def evidence(
    result: FitResult,
    settings: EvidenceSettings | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Evidence:
    """The evidence of a fit, of any form of objects.

    **Arguments:**

    - `result`: of `fit`; it must have converged.
    - `settings`: of both methods, and when to refuse.
    - `progress`: called with a phrase at the start of each stage.

    Raises `EvidenceError` for a fit that has not converged or counts an uncertainty, priors that
    are not normalised, too few draws, methods that disagree, and numerical errors that are too
    large.

    ```python
    result = fit(catalogue, operator, model)
    found = evidence(result, EvidenceSettings(method="bridge"))
    found.ln_z, found.error
    ```
    """
    settings = settings or EvidenceSettings()
    if not result.diagnostics.converged:
        raise EvidenceError(
            f"an evidence takes a fit that has converged: {result.diagnostics.verdict()}"
        )
    for part in ("operator", "observation"):
        if result.summary.get(f"{part}.uncertainty"):
            raise EvidenceError(
                f"the fit counts what is uncertain about its {part} (uncertainty = true), so that "
                "its draws are not of the one likelihood that is integrated; fit without it"
            )
    model = result.model
    check_priors(model)
    target = population_target(model, result.samples, result.grid)
    x = unconstrained_draws(model, posterior_values(result))
    _check_same(target, x, result)
    progress("bridge sampling")
    most = _most_effective(result)
    by_bridge = bridge(lambda at: np.add(*target.at(at)), x, settings.bridge, most)
    by_nested = None
    if settings.method == "both":
        rng = np.random.default_rng([settings.nested.seed, 7])
        near = Mixture.best(x.reshape(-1, target.n), settings.bridge.max_parts, rng)
        by_nested = nested(target, settings.nested, near, progress)
        _check_agree(by_bridge, by_nested, settings)
    progress("trying other samples of each cluster")
    shift, numerical = _numerical(result)
    if not numerical <= settings.max_numerical:
        raise EvidenceError(
            f"ln Z is uncertain by {numerical:.2g} because of samples, nodes and the selection "
            f"integral, more than {settings.max_numerical:g}; raise errors.n_samples, lower "
            "quadrature.max_relative_error, or draw a larger library"
        )
    details = {
        "bridge.error": by_bridge.error,
        "bridge.effective": by_bridge.effective,
        "bridge.half_difference": by_bridge.halves[1] - by_bridge.halves[0],
    }
    if by_nested is not None:
        details |= {
            "nested.information": by_nested.information,
            "nested.n_calls": float(by_nested.n_calls),
            "nested.remaining": by_nested.remaining,
            "nested.insertion": by_nested.insertion,
        }
    return Evidence(
        by_bridge.ln_z + shift,
        by_bridge.error,
        by_bridge.ln_z,
        None if by_nested is None else by_nested.ln_z,
        None if by_nested is None else by_nested.error,
        shift,
        numerical,
        data_digests(result),
        model_digest(model),
        len(result.objects),
        details,
    )


def data_digests(result: FitResult) -> dict[str, str]:
    """What the likelihood of a fit had, so that two of them can be told to be of the same data.

    ```python
    data_digests(fit(catalogue, operator, model))["bounds"]
    ```
    """

    def short(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    box, objects = result.model.population.box, result.objects
    if isinstance(objects, LightObjects | EmulatedObjects):
        assert objects.pool is not None
        # Its nodes may be finer for one model than for another; what they stand for is not.
        selection = fingerprint((objects.pool.theta, objects.pool.log_weight, objects.p_rows))
    else:
        selection = fingerprint(result.selection)
    clusters = " ".join(objects.ids.astype(str)) + fingerprint(result.exact)
    return {
        "clusters": short(clusters),
        "selection": short(selection),
        "bounds": str(box.as_dict()),
        "form": result.model.form,
    }


def _most_effective(result: FitResult) -> float:
    if (_stat(result, "n_steps") == 0).all():
        return float(_stat(result, "acceptance_rate").sum())
    return np.inf


def _stat(result: FitResult, name: str) -> np.ndarray:
    return np.asarray(result.tree["sample_stats"][name])


def _check_same(target: Target, x: Float[np.ndarray, "chain draw n"], result: FitResult) -> None:
    """Raises `EvidenceError` where prior times likelihood is not what the sampler had."""
    ours = np.add(*target.at(x.reshape(-1, target.n)))
    theirs = _stat(result, "lp").ravel()
    apart = float(np.median(np.abs(ours - theirs)))
    if not apart <= _SAME * max(1.0, 1e-6 * float(np.abs(theirs).max())):
        raise EvidenceError(
            f"the posterior density at the fit's draws differs by {apart:.2g} from what its "
            "sampler had; give the result as `fit` made it"
        )


def _check_agree(by_bridge: Bridge, by_nested: Nested, settings: EvidenceSettings) -> None:
    apart = abs(by_nested.ln_z - by_bridge.ln_z)
    allowed = max(settings.max_disagreement, 4 * float(np.hypot(by_nested.error, by_bridge.error)))
    if apart > allowed:
        raise EvidenceError(
            f"ln Z is {by_bridge.ln_z:.2f} ± {by_bridge.error:.2f} by bridge sampling and "
            f"{by_nested.ln_z:.2f} ± {by_nested.error:.2f} by nested sampling, which differ by "
            f"{apart:.2g}, more than {allowed:.2g}: the chains may have missed a mode. Run more "
            "chains, or raise nested.n_live"
        )


def _numerical(result: FitResult) -> tuple[float, float]:
    """What better sums add to ln Z, and what is not known of it by these sums."""
    model, values = result.model, posterior_values(result)
    n = len(result.objects)
    shift, variance = 0.0, 0.0
    population = model.population.with_values(model.fixed_values())
    picked = thinned({p.name: values[p.name] for p in model.fitted()}, _TRIED)
    picked = {**picked, **{k: picked[v] for k, v in model.tied().items() if v in picked}}
    with double_precision():
        at = np.asarray(sums_of_terms(population, picked, result.exact))
        if result.exact is not result.samples:
            shift += _log_mean(at - np.asarray(sums_of_terms(population, picked, result.samples)))
        finer = result.objects.finer()
        if finer is not None:
            more = finer.within(population, result.selection)
            change = np.asarray(sums_of_terms(population, picked, more)) - at
            shift += _log_mean(change)
            # Four times as many samples have left half of the chance.
            variance += (0.5 * _log_mean(change)) ** 2
    if isinstance(result.objects, LightObjects):
        variance += library_error(result.objects, model, values).log_likelihood ** 2
    else:
        variance += (n * result.diagnostics.integral_error) ** 2
    return shift, float(np.sqrt(variance))


def _log_mean(change: Float[np.ndarray, " draw"]) -> float:
    top = float(change.max())
    return top + float(np.log(np.exp(change - top).mean()))
