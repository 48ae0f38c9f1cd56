"""The sections of the page, in HTML."""

import dataclasses
from collections.abc import Callable

import numpy as np

from starcensus.experiments.report import comparison, words
from starcensus.experiments.report.checks import checks, checks_plot
from starcensus.experiments.report.corner import corner_plot, vector_plot
from starcensus.experiments.report.functions import clipping, functions_plot, plane_plot
from starcensus.experiments.report.load import Quantity, Run
from starcensus.experiments.report.markup import figure, table
from starcensus.experiments.report.record import fitted, is_fitted, provenance, published
from starcensus.experiments.report.sampler import chains_plot, sampler_plot
from starcensus.experiments.report.words import escape


@dataclasses.dataclass(frozen=True)
class Section:
    """A numbered part of the page."""

    anchor: str
    title: str
    short: str
    body: str


def sections(run: Run) -> list[Section]:
    """Every section that the run has something for, in reading order."""
    makers: list[tuple[str, str, str, Callable[[Run], str]]] = [
        ("answer", "The answer", "Answer", _answer),
        ("fitted", "What was fitted", "Fitted", fitted),
        ("functions", "Mass and age functions", "Functions", _functions),
        ("plane", "Ages and masses", "Ages & masses", lambda r: figure(plane_plot(r))),
        ("posterior", "The posterior", "Posterior", _posterior),
        ("checks", "Does the fit predict the catalogue?", "Checks", _checks),
        ("comparison", "Fitted otherwise", "Comparison", _comparison),
        ("parameters", "Parameters", "Parameters", _parameters),
        ("sampler", "The sampler", "Sampler", _sampler),
        ("provenance", "Provenance", "Provenance", provenance),
    ]
    return [
        Section(anchor, title, short, make(run))
        for anchor, title, short, make in makers
        if anchor != "comparison" or run.comparisons
    ]


def _answer(run: Run) -> str:
    converged = run.summary.get("converged")
    said = str(run.summary.get("verdict") or "")
    if not said:
        said = "Converged: " + ("yes." if converged is True else "not recorded.")
    head, colon, rest = said.partition(",")
    parts = [
        f'<p class="lead">{words.answer(run)}</p>',
        '<p class="note">Values are posterior medians; ± and brackets hold 68%.</p>',
        f'<div class="box{"" if converged is True else " bad"}" id="verdict">'
        f"<p><strong>{escape(head)}</strong>{escape(colon + rest)}</p></div>",
    ]
    doubtful = [c.name for c in checks(run) if not c.passed]
    if doubtful:
        parts.append(
            '<div class="box bad" id="misfit"><p><strong>The fit does not predict the catalogue'
            f"</strong> in: {', '.join(doubtful)}; see the checks below.</p></div>"
        )
    parts += [f"<p>{comparison.verdict(run, c)}</p>" for c in run.comparisons]
    return "".join(parts)


def _functions(run: Run) -> str:
    return (
        figure(functions_plot(run))
        + "<p>The correction is that of C-4 (their equations 16 to 18): the completeness averaged "
        "over the fitted densities of the two other axes, which are taken as separable, evaluated "
        "at each cluster and averaged in each bin. Thin bars are Poisson errors; thick bars are "
        "the counts divided by the 84th and 16th percentile of completeness in the bin, the rough "
        "guide to the correction's uncertainty that C-4 gives, not a confidence interval. "
        f"{clipping(run)} Triangles are 84% upper limits of bins without clusters.</p>"
    )


def _posterior(run: Run) -> str:
    parts = [figure(corner_plot(run))] if run.scalars else []
    parts += [figure(vector_plot(run, name, elements)) for name, elements in run.vectors().items()]
    return "".join(parts)


def _checks(run: Run) -> str:
    items = "".join(f"<li>{c.words}</li>" for c in checks(run))
    return (
        f"<ul>{items}</ul>{figure(checks_plot(run))}"
        '<p class="note">p is the share of predicted catalogues whose distance from the mean '
        "prediction, Σ (<i>n</i> − mean)² / variance over bins, is at least that of the observed "
        "one; sparse bins are joined. For the number of clusters it is two-sided. The same data "
        "were fitted, so that values above 0.5 are common and small ones weigh heavily.</p>"
    )


def _comparison(run: Run) -> str:
    parts = []
    for c in run.comparisons:
        if c.text:
            parts.append(f"<p>{escape(c.text)}</p>")
        parts.append(f'<p class="verdict">{comparison.verdict(run, c)}</p>')
        if c.run.summary.get("converged") is not True:
            said = escape(c.run.summary.get("verdict") or "Converged: not recorded.")
            parts.append(
                f'<div class="box bad"><p><strong>{escape(c.name)}</strong>: {said}</p></div>'
            )
    if any(c.run.find(q.name) for c in run.comparisons for q in run.quantities):
        parts += [figure(comparison.intervals_plot(run)), comparison.tables(run)]
        parts.append(
            '<p class="note">A shift is the difference of the medians in units of half the 68% '
            "interval of this fit.</p>"
        )
    parts.append(figure(comparison.overlay_plot(run)))
    return "".join(parts)


def _parameters(run: Run) -> str:
    truth = any(q.truth is not None for q in run.quantities)
    head = ["Parameter", "Unit", "Median", "68%", "95%"] + ["Truth", "Inside 95%"] * truth
    head += ["Prior", "R&#x302;", "Bulk ESS"]
    rows = [_row(run, q, truth) for q in run.quantities]
    fixed = [p for p in run.parameters if not is_fitted(run, p)]
    text = ", ".join(
        f"<code>{escape(p['name'])}</code> ({words.prior(p.get('prior', {}), p['name'], False)})"
        for p in fixed
    )
    after = f"<p>Not fitted: {text}.</p>" if fixed else ""
    return table(head, rows, kind="numbers") + after + published(run)


def _row(run: Run, q: Quantity, truth: bool) -> str:
    low, high = q.interval(68)
    scale = (high - low) / 2
    cells = [
        f'<th scope="row">{words.label(q)} <code class="note">{escape(q.name)}</code></th>',
        f"<td>{words.unit(q.unit)}</td>",
        f"<td>{words.number(q.median, scale)}</td>",
        f"<td>{words.interval(low, high)}</td>",
        f"<td>{' to '.join(words.number(x, scale) for x in q.interval(95))}</td>",
    ]
    if truth:
        inside = {True: '<td class="good">yes</td>', False: '<td class="bad">no</td>'}
        cells.append(f"<td>{words.number(q.truth, scale)}</td>")
        cells.append(f"<td>{words.NOTHING}</td>" if q.covered is None else inside[q.covered])
    cells += [
        f'<td class="text">{words.prior(q.prior, q.name)}</td>',
        f"<td>{words.NOTHING if q.r_hat is None else f'{q.r_hat:.4f}'}</td>",
        f"<td>{words.NOTHING if q.ess_bulk is None else f'{q.ess_bulk:,.0f}'}</td>",
    ]
    return f'<tr data-parameter="{escape(q.name)}">{"".join(cells)}</tr>'


def _sampler(run: Run) -> str:
    chains, draws = run.quantities[0].draws.shape
    facts = [f"{chains} chains of {draws:,} draws"]
    if "diverging" in run.stats:
        facts.append(f"{int(np.sum(run.stats['diverging'])):,} divergent transitions")
    if "acceptance_rate" in run.stats:
        facts.append(f"mean acceptance {np.mean(run.stats['acceptance_rate']):.2f}")
    if "n_steps" in run.stats:
        facts.append(f"{np.mean(run.stats['n_steps']):.1f} leapfrog steps per draw")
    if run.bfmi:
        facts.append("BFMI by chain " + ", ".join(f"{b:.2f}" for b in run.bfmi))
    wall = run.summary.get("wall_s")
    if isinstance(wall, int | float):
        facts.append(f"{wall:,.0f} s in all")
    return f"<p>{'; '.join(facts)}.</p>{figure(chains_plot(run))}{figure(sampler_plot(run))}"
