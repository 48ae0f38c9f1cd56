"""What each section of the page shows: the figures, tables and numbers that its template needs."""

import functools
import itertools
from typing import Any

import numpy as np

from starcensus.experiments.report.fit import comparison, record
from starcensus.experiments.report.fit.answer import catalogued, median_extinction
from starcensus.experiments.report.fit.checks import checks, checks_plot
from starcensus.experiments.report.fit.correction import correct
from starcensus.experiments.report.fit.ensemble import changes, operator_changes, survey_changes
from starcensus.experiments.report.fit.functions import functions_plot
from starcensus.experiments.report.fit.load import Run, finite
from starcensus.experiments.report.fit.magnitudes import magnitude_checks, magnitudes_plot
from starcensus.experiments.report.fit.plane import plane_plot, selection_plane
from starcensus.experiments.report.fit.posterior import corner_plot, vector_plot
from starcensus.experiments.report.fit.sampler import (
    TRACE_POINTS,
    chains_plot,
    sampler_plot,
    thinned,
)
from starcensus.experiments.report.words import mapping

# Anchor (also the template's name), title, and the word for it at the top of the page.
SECTIONS = (
    ("answer", "The answer", "Answer"),
    ("fitted", "What was fitted", "Fitted"),
    ("functions", "Mass and age functions", "Functions"),
    ("plane", "Ages and masses", "Ages & masses"),
    ("posterior", "The posterior", "Posterior"),
    ("checks", "Does the fit predict the catalogue?", "Checks"),
    ("comparison", "Fitted otherwise", "Comparison"),
    ("parameters", "Parameters", "Parameters"),
    ("sampler", "The sampler", "Sampler"),
    ("provenance", "Provenance", "Provenance"),
)
_FITS_PER_TABLE = 2
# Parameters that the answer's sentence on extinction stands for.
_OF_DUST = ("tilt_av", "sigma_av", "log_av_median", "sigma_log_av", "slope_av")
_IN_WORDS = (
    *("log_n", "alpha_m", "log_m_break", "alpha_m_high", "alpha_t", "log_t_mid"),
    *("gamma_mdd", "log_t_mdd"),
)


def context(run: Run) -> dict[str, Any]:
    """Everything that the templates of the page use."""
    of_light = bool(run.magnitudes)
    # θ of clusters with measured light are means under a stated prior, which no one would record.
    found = magnitude_checks(run) if of_light else checks(run)
    return {
        "run": run,
        "sections": [s for s in SECTIONS if s[0] != "comparison" or run.comparisons],
        "title": str(run.info.get("title") or "A population of star clusters"),
        "known_truth": any(q.truth is not None for q in run.quantities),
        "checks": found,
        "size_range": np.percentile(run.n_catalogued, [2.5, 97.5]),
        "of_light": of_light,
        "checks_plot": magnitudes_plot(run, found) if of_light else checks_plot(run, found),
        **_answer(run),
        **_fitted(run),
        **_pictures(run),
        **_comparison(run),
        **_sampler(run),
        "provenance": record.facts(run),
    }


def _answer(run: Run) -> dict[str, Any]:
    said = str(run.summary.get("verdict") or "")
    converged = run.summary.get("converged") is True
    head, comma, rest = said.partition(",")
    return {
        "converged": converged,
        "remarks": str(run.summary.get("remarks") or ""),
        "said": (head, comma + rest)
        if said
        else (f"Converged: {'yes' if converged else 'not recorded'}.", ""),
        "q": {quantity.name: quantity for quantity in run.quantities},
        "others": [x for x in run.scalars if x.name not in (*_IN_WORDS, *_OF_DUST)],
        "catalogued": catalogued(run),
        "extinction": median_extinction(run),
    }


def _fitted(run: Run) -> dict[str, Any]:
    notes = run.info.get("notes")
    shown, works = record.published(run)
    return {
        "info": run.info,
        "catalogue": mapping(run.info.get("catalogue")),
        "population": mapping(run.info.get("population")),
        "selection": mapping(run.info.get("selection")),
        "selection_kind": record.selection_kind(run),
        "errors": mapping(run.info.get("errors")),
        "observation": mapping(run.info.get("observation")),
        "library": {k: v for k, v in run.summary.items() if k.startswith("library.")},
        "latents": {k: v for k, v in run.summary.items() if k.startswith("latents.")},
        "steps": record.steps(run),
        "notes": notes if isinstance(notes, list) else [],
        "is_fitted": functools.partial(record.is_fitted, run),
        "unfitted": [p for p in run.parameters if not record.is_fitted(run, p)],
        "published": shown,
        "ensemble": changes(run),
        "operator": operator_changes(run),
        "survey": survey_changes(run),
        "count_sd": finite(run.summary.get("operator.count_sd")),
        "works": works,
    }


def _pictures(run: Run) -> dict[str, Any]:
    corrections = {axis: correct(run, axis) for axis in ("log_mass", "log_age")}
    plane = selection_plane(run)
    return {
        "corrections": corrections,
        "functions_plot": functions_plot(run, corrections),
        "plane": plane,
        "plane_plot": plane_plot(run, plane),
        "corner_plot": corner_plot(run) if run.scalars else None,
        "vector_plots": [(name, vector_plot(run, name, q)) for name, q in run.vectors().items()],
    }


def _comparison(run: Run) -> dict[str, Any]:
    if not run.comparisons:
        return {"verdicts": []}
    shared = any(c.run.find(q.name) for c in run.comparisons for q in run.quantities)
    return {
        "verdicts": [(c, comparison.verdict(run, c)) for c in run.comparisons],
        "large": comparison.LARGE,
        "tables": [
            (fits, comparison.rows(run, fits))
            for fits in itertools.batched(run.comparisons, _FITS_PER_TABLE)
        ],
        "intervals_plot": comparison.intervals_plot(run) if shared else None,
        "overlay_plot": comparison.overlay_plot(run),
    }


def _sampler(run: Run) -> dict[str, Any]:
    chains, draws = run.quantities[0].draws.shape
    facts = [f"{chains} chains of {draws:,} draws"]
    if "diverging" in run.stats:
        facts.append(f"{int(np.sum(run.stats['diverging'])):,} divergent transitions")
    if "acceptance_rate" in run.stats:
        facts.append(f"mean acceptance {100 * np.mean(run.stats['acceptance_rate']):.0f}%")
    if "n_steps" in run.stats:
        facts.append(f"{np.mean(run.stats['n_steps']):.1f} leapfrog steps per draw")
    if run.bfmi:
        facts.append("BFMI by chain " + ", ".join(f"{b:.2f}" for b in run.bfmi))
    wall = run.summary.get("wall_s")
    if isinstance(wall, int | float):
        facts.append(f"{wall:,.0f} s in all")
    return {
        "sampler_facts": "; ".join(facts),
        "thinned": thinned(run),
        "trace_points": TRACE_POINTS,
        "chains_plot": chains_plot(run),
        "sampler_plot": sampler_plot(run),
    }
