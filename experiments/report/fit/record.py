"""What was fitted, and where it came from: what a run's own files say of it."""

import dataclasses
import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from starcensus.experiments.report.fit.load import Quantity, Run, finite
from starcensus.experiments.report.words import mapping, plain, readable

_COUNTS = ("n_before", "n_after")


@dataclasses.dataclass(frozen=True)
class InputFile:
    """A file that a run read."""

    role: str
    name: str
    sha256: str
    origin: str


@dataclasses.dataclass(frozen=True)
class Facts:
    """`provenance.json` for a page: inputs, short facts by name, texts of several lines."""

    inputs: list[InputFile]
    short: list[tuple[str, str]]
    texts: list[tuple[str, str]]


def is_fitted(run: Run, parameter: Mapping[str, Any]) -> bool:
    """Whether the posterior holds draws of a parameter."""
    return any(q.parent == parameter["name"] for q in run.quantities)


def selection_kind(run: Run) -> str:
    """The kind of the selection operator in words: `NetworkSelection` is "network selection"."""
    kind = str(mapping(run.info.get("selection")).get("kind", ""))
    return plain(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower())


def steps(run: Run) -> list[dict[str, object]]:
    """Cuts of the catalogue: name, rows removed and left (None where unknown), reason."""
    given = mapping(run.info.get("catalogue")).get("steps")
    rows = []
    for step in map(mapping, given if isinstance(given, list) else []):
        before, after = (n if isinstance(n := step.get(k), int) else None for k in _COUNTS)
        rows.append(
            {
                "name": plain(step.get("name", "")),
                "first": before,
                "removed": None if before is None or after is None else before - after,
                "left": after,
                "reason": str(step.get("reason", "")),
            }
        )
    return rows


def published(run: Run) -> tuple[list[Quantity], list[tuple[str, list[float | None]]]]:
    """Scalars that others have published, and their values by the name of the work."""
    given = run.info.get("references")
    entries = [e for e in map(mapping, given) if e] if isinstance(given, list) else []
    shown = [q for q in run.scalars if any(q.name in e for e in entries)]
    return shown, [
        (str(e.get("name", "")), [finite(e.get(q.name)) for q in shown]) for e in entries
    ]


def facts(run: Run) -> Facts:
    """Facts of `provenance.json`; settings, and texts of several lines such as the file, apart."""
    rest = dict(run.provenance)
    inputs, settings = rest.pop("inputs", None), rest.pop("settings", None)
    short, texts = [], []
    for key, value in _flatten(rest):
        if key == "command" and isinstance(value, list):
            value = shlex.join(map(str, value))
        if isinstance(value, str) and "\n" in value.strip():
            texts.append((plain(key), value.strip()))
        else:
            short.append((plain(key), readable(value)))
    if settings:
        texts.append(("settings, with every default", json.dumps(settings, indent=2)))
    return Facts(_inputs(inputs), short, texts)


def _inputs(given: object) -> list[InputFile]:
    """Inputs by their roles; version 0.1 recorded checksums by the files' names."""
    found = []
    for role, item in mapping(given).items():
        about = mapping(item)
        found.append(
            InputFile(
                plain(role),
                str(about.get("name", role)),
                str(about.get("sha256", item)).removeprefix("sha256:"),
                readable(about.get("origin") or ""),
            )
        )
    return found


def _flatten(value: Mapping[str, Any], above: str = "") -> list[tuple[str, object]]:
    flat: list[tuple[str, object]] = []
    for key, item in value.items():
        name = f"{above} · {key}" if above else str(key)
        flat += _flatten(item, name) if isinstance(item, Mapping) else [(name, item)]
    return flat
