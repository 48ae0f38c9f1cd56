"""What was fitted, and where it came from: the sections that describe a run."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from starcensus.experiments.report import words
from starcensus.experiments.report.load import AXES, Run, finite
from starcensus.experiments.report.markup import mapping, plain, readable, table
from starcensus.experiments.report.words import escape

_ACTS_ON = {
    "data": (
        "Whether a cluster is catalogued follows from its recorded data. p<sub>sel</sub> "
        "therefore stands in the likelihood once, in the expected number of catalogued clusters "
        "∫ p<sub>sel</sub> λ dθ; no cluster of the catalogue is multiplied or divided by it."
    ),
    "truth": (
        "Whether a cluster is catalogued follows from its true mass, age and extinction, whatever "
        "the noise in their measurement. p<sub>sel</sub> therefore stands in the likelihood twice: "
        "in the expected number of catalogued clusters ∫ p<sub>sel</sub> λ dθ, and inside each "
        "cluster's integral ∫ p(d|θ) p<sub>sel</sub> λ dθ."
    ),
}
_M, _T = "<i>M</i>", "<i>T</i>"
_MDD = (
    f"mass-dependent disruption: constant formation of clusters with d<i>N</i>/d{_M} ∝ "
    f"{_M}<sup>α<sub>M</sub></sup> exp(−{_M}/{_M}<sub>break</sub>) at birth, whose masses shrink "
    f"with age on a timescale ∝ {_M}<sup>γ<sub>MDD</sub></sup>"
)
# Words for the kinds of an experiment file; other texts are shown as they are.
_KINDS = {
    "mass": {
        "power_law": f"power law, d<i>N</i>/d{_M} ∝ {_M}<sup>α<sub>M</sub></sup>",
        "schechter": (
            f"Schechter function, d<i>N</i>/d{_M} ∝ {_M}<sup>α<sub>M</sub></sup> "
            f"exp(−{_M}/{_M}<sub>break</sub>)"
        ),
        "double_power_law": f"power law with another slope above {_M}<sub>break</sub>",
        "mdd": _MDD,
    },
    "age": {
        "constant": "constant formation without disruption",
        "power_law": f"power law, d<i>N</i>/d{_T} ∝ {_T}<sup>α<sub>T</sub></sup>",
        "mid": (
            f"mass-independent disruption: d<i>N</i>/d{_T} constant up to {_T}<sub>mid</sub>, "
            f"then ∝ {_T}<sup>α<sub>T</sub></sup>"
        ),
        "piecewise_linear": f"free: d<i>N</i>/d log {_T} linear between nodes",
        "mdd": "as disruption of a constant formation rate leaves it",
    },
    "extinction": {
        "nodes": "density linear between nodes",
        "half_normal": "half-normal",
        "log_normal": "log-normal",
    },
}
_BOUNDS = {
    "log_mass": ("log<sub>10</sub> mass", "M<sub>☉</sub>"),
    "log_age": ("log<sub>10</sub> age", "yr"),
    "a_v": ("A<sub>V</sub>", "mag"),
}


def fitted(run: Run) -> str:
    """Catalogue, selection, population, bounds, cuts and priors."""
    info = run.info
    catalogue, population = mapping(info.get("catalogue")), mapping(info.get("population"))
    selection = mapping(info.get("selection"))
    facts: list[tuple[str, str]] = []
    source = catalogue.get("source")
    n = f"{len(run.theta):,} clusters"
    facts.append(("Catalogue", f"{n} from <code>{escape(source)}</code>" if source else n))
    if selection:
        kind = escape(
            plain(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(selection.get("kind", ""))).lower())
        )
        about = escape(selection.get("description", ""))
        facts.append(("Selection", " – ".join(x for x in (kind, about) if x)))
        if (acts := _ACTS_ON.get(str(selection.get("acts_on")))) is not None:
            facts.append(("In the likelihood", acts))
    for key in ("mass", "age", "extinction"):
        if population.get(key):
            given = str(population[key])
            facts.append((key.capitalize(), _KINDS[key].get(given, escape(given))))
    facts.append(("Bounds", _bounds(run)))
    if errors := mapping(info.get("errors")):
        text = "; ".join(f"{escape(plain(k))}: {readable(v)}" for k, v in errors.items())
        facts.append(("Errors", text))
    parts = [f"<p>{escape(info['description'])}</p>"] if info.get("description") else []
    parts.append(f"<dl>{''.join(f'<dt>{k}</dt><dd>{v}</dd>' for k, v in facts)}</dl>")
    parts.append(_steps(catalogue.get("steps")))
    rows = [
        f'<tr><th scope="row">{words.html_label(str(p.get("label", "")), str(p["name"]))} '
        f'<code class="note">{escape(p["name"])}</code></th>'
        f"<td>{words.prior(p.get('prior', {}), p['name'], is_fitted(run, p))}</td>"
        f'<td class="text">{escape(p.get("reason", ""))}</td></tr>'
        for p in run.parameters
    ]
    parts.append("<h3>Priors</h3>" + table(["Parameter", "Prior", "Why"], rows))
    notes = info.get("notes")
    if isinstance(notes, list) and notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in notes)
        parts.append(f"<h3>Notes</h3><ul>{items}</ul>")
    return "".join(parts)


def is_fitted(run: Run, parameter: Mapping[str, Any]) -> bool:
    """Whether the posterior holds draws of a parameter."""
    return any(q.parent == parameter["name"] for q in run.quantities)


def _bounds(run: Run) -> str:
    texts = []
    for axis in AXES:
        name, unit = _BOUNDS[axis]
        low, high = run.edges[axis][[0, -1]]
        texts.append(f"{name} {words.number(low)} to {words.number(high)} ({unit})")
    return ", ".join(texts)


def _steps(steps: object) -> str:
    if not isinstance(steps, list) or not steps:
        return ""
    rows = []
    for step in map(mapping, steps):
        before, after = (step.get(k) for k in ("n_before", "n_after"))
        left = f"{after:,}" if isinstance(after, int) else words.NOTHING
        cut = words.NOTHING
        if isinstance(before, int) and isinstance(after, int):
            cut = f"{before - after:,}"
        rows.append(
            f'<tr><th scope="row">{escape(plain(step.get("name", "")))}</th>'
            f'<td class="count">{cut}</td><td class="count">{left}</td>'
            f'<td class="text">{escape(step.get("reason", ""))}</td></tr>'
        )
    first = mapping(steps[0]).get("n_before")
    caption = f"From {first:,} rows of the file." if isinstance(first, int) else ""
    return "<h3>Cuts</h3>" + table(["Step", "Removed", "Left", "Why"], rows, caption, "steps")


def published(run: Run) -> str:
    """Values of the parameters that others have published, where the run names any."""
    given = run.info.get("references")
    entries = [e for e in map(mapping, given) if e] if isinstance(given, list) else []
    shown = [q for q in run.scalars if any(q.name in e for e in entries)]
    if not shown:
        return ""
    rows = [
        f'<tr><th scope="row">{name}</th>{"".join(f"<td>{v}</td>" for v in values)}</tr>'
        for name, values in (
            ("this fit", [words.plus_minus(q) for q in shown]),
            *(
                (escape(e.get("name", "")), [words.number(finite(e.get(q.name))) for q in shown])
                for e in entries
            ),
        )
    ]
    head = ["", *(f"{words.label(q)}" for q in shown)]
    return "<h3>Published values</h3>" + table(head, rows, kind="numbers")


def provenance(run: Run) -> str:
    """Facts of `provenance.json`; texts of several lines, such as the experiment file, folded."""
    flat = dict(_flatten(run.provenance))
    if not flat:
        return "<p>This run folder has no <code>provenance.json</code>.</p>"
    rows, texts = [], []
    for key, value in flat.items():
        if key == "command" and isinstance(value, list):
            value = shlex.join(map(str, value))
        if isinstance(value, str) and "\n" in value.strip():
            texts.append(
                f"<details><summary>{escape(plain(key))}</summary>"
                f"<pre>{escape(value.strip())}</pre></details>"
            )
        else:
            rows.append(
                f'<tr><th scope="row">{escape(plain(key))}</th>'
                f"<td><code>{readable(value)}</code></td></tr>"
            )
    return table(["What", "Value"], rows, kind="facts") + "".join(texts)


def _flatten(value: Mapping[str, Any], above: str = "") -> list[tuple[str, object]]:
    flat: list[tuple[str, object]] = []
    for key, item in value.items():
        name = f"{above} · {key}" if above else str(key)
        flat += _flatten(item, name) if isinstance(item, Mapping) else [(name, item)]
    return flat
