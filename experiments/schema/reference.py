"""What files may hold, as text, as JSON schema, and as the pages of the reference."""

from collections.abc import Iterator, Mapping
from typing import Any

from starcensus.experiments.schema._base import FILES, KINDS, file_class
from starcensus.experiments.schema._describe import json_schema

_SIMPLE = {
    "string": "text",
    "number": "number",
    "integer": "whole number",
    "boolean": "true or false",
    "null": "none",
    "object": "table",
    "array": "list",
}


def all_kinds() -> tuple[str, ...]:
    """Kinds of files, ours first."""
    return (*KINDS, *(name for name in FILES if name not in KINDS))


def json_of(kind: str) -> dict[str, Any]:
    """JSON schema of a kind of file; raises `ValueError` for a kind that there is not."""
    found = json_schema(file_class(kind))
    found["properties"]["kind"] = {**found["properties"]["kind"], "const": kind}
    return {"title": kind, **found}


def kinds_text() -> str:
    """One line for each kind."""
    width = max(len(kind) for kind in all_kinds())
    lines = [f"{kind:{width}s}  {json_of(kind)['description']}" for kind in all_kinds()]
    return "\n".join([*lines, "", "`starcensus schema KIND` says what a file of a kind may hold."])


def text_of(kind: str) -> str:
    """The keys of a kind of file, for a terminal."""
    found = json_of(kind)
    lines = [f'kind = "{kind}": {found["description"]}', ""]
    for row in _rows(found, ""):
        pad = "  " * row.depth
        lines.append(f"{pad}{row.key}: {row.type}{row.default_text()}")
        if row.words:
            lines.append(f"{pad}    {row.words}")
    return "\n".join(lines)


def markdown() -> str:
    """The page of the reference, of all kinds that starcensus has."""
    parts, seen = [_HEAD], dict[str, str]()
    for kind in KINDS:
        found = json_of(kind)
        anchor = f"[{kind}](#kind-{kind})"
        parts.append(
            f'\n## {kind} {{: #kind-{kind} }}\n\n`kind = "{kind}"`. {found["description"]}\n'
        )
        for title, words, rows in _tables(found):
            parts.append(f"\n{title}\n" if title else "")
            parts.append(f"{words}\n\n" if words else "\n")
            content = "\n".join(row.markdown() for row in rows)
            if seen.setdefault(content, anchor) != anchor:
                parts.append(f"As in {seen[content]}.\n")
                continue
            parts.append("| key | holds | default | meaning |\n|---|---|---|---|\n")
            parts += [f"{row.markdown()}\n" for row in rows]
    return "".join(parts).rstrip("\n") + "\n"


_HEAD = """# Files of settings

Every file is TOML and says its `kind`; `starcensus run FILE --out OUT` does what it asks for, and
`starcensus schema KIND` prints what follows. A key that is not listed is refused. A relative path
starts from the folder of the file that says it; what is not there is looked for in the folders of
`--data` and below them, and `package:NAME` is a file that starcensus carries. `seed` stands at the
top of the file always. Files of version 0.1 do not say their kind: they are refused, with the line
to add. Where `kind` chooses among tables, a module of yours may add to them (`--allow-own`).

This page is made by `starcensus.experiments.schema.reference.markdown`.
"""


class Row:
    """One key."""

    def __init__(self, key: str, item: Mapping[str, Any], required: bool, depth: int) -> None:
        self.key, self.item, self.required, self.depth = key, item, required, depth
        self.type = type_of(item)
        self.words = str(item.get("description", ""))

    def default_text(self) -> str:
        if self.required:
            return " (needed)"
        default = self.item.get("default")
        return "" if default is None or isinstance(default, dict) else f" [{_toml(default)}]"

    def markdown(self) -> str:
        default = self.item.get("default")
        shown = "" if default is None or isinstance(default, dict) else f"`{_toml(default)}`"
        cells = (f"`{self.key}`", self.type, "needed" if self.required else shown, self.words)
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _rows(schema: Mapping[str, Any], prefix: str, depth: int = 0) -> Iterator[Row]:
    """The keys of a table, and below each those of its own tables."""
    required = schema.get("required", ())
    for name, item in schema.get("properties", {}).items():
        if name == "kind" and "const" in item:
            continue
        yield Row(name, item, name in required, depth)
        for _, label, table in _inner(name, item):
            if label:
                words = table.get("description", "")
                yield Row(label, {"description": words, "type": "object"}, False, depth + 1)
            yield from _rows(table, prefix, depth + 2 if label else depth + 1)


def _tables(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str, list[Row]]]:
    """The tables of a kind of file, each with its title, words and keys."""
    required = schema.get("required", ())
    items = {k: v for k, v in schema.get("properties", {}).items() if "const" not in v}
    rows = [Row(name, item, name in required, 0) for name, item in items.items()]
    if rows and not path:
        yield "", "", rows
    for name, item in items.items():
        for place, label, table in _inner(name, item):
            full = f"{path}.{place}" if path else place
            title = f"### `[{full}]`" + (f", `{label}`" if label else "")
            inner = {k: v for k, v in table["properties"].items() if "const" not in v}
            needed = table.get("required", ())
            listed = [Row(key, value, key in needed, 0) for key, value in inner.items()]
            if listed:
                yield title, str(table.get("description", "")), listed
            yield from _tables({**table, "properties": inner}, full)


def _inner(name: str, item: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(place, kind, schema) of the tables that a key holds."""
    if "properties" in item:
        const = item["properties"].get("kind", {}).get("const")
        label = "" if const is None else f'kind = "{const}"'
        yield name, item.get("label", label), item
    for each in (*item.get("anyOf", ()), *item.get("tables", ())):
        yield from _inner(name, each)
    if isinstance(item.get("additionalProperties"), dict):
        yield from _inner(f"{name}.NAME", item["additionalProperties"])
    if isinstance(item.get("items"), dict):
        yield from _inner(f"[{name}]", item["items"])


def type_of(item: Mapping[str, Any]) -> str:
    """What a key holds, in words."""
    if "anyOf" in item:
        kinds = [type_of(each) for each in item["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in item:
        return " or ".join(f'"{value}"' for value in item["enum"])
    if "const" in item:
        return f'"{item["const"]}"'
    if "properties" in item:
        const = item["properties"].get("kind", {}).get("const")
        return "table" if const is None else f'table of kind "{const}"'
    if "prefixItems" in item:
        inner = dict.fromkeys(type_of(each) for each in item["prefixItems"])
        return f"{len(item['prefixItems'])} of {' or '.join(inner)}"
    if item.get("type") == "array" and item.get("items"):
        return f"list of {type_of(item['items'])}"
    if isinstance(item.get("additionalProperties"), dict):
        return f"tables by name: {type_of(item['additionalProperties'])}"
    return _SIMPLE.get(str(item.get("type", "")), "number") + _limits(item)


def _limits(item: Mapping[str, Any]) -> str:
    words = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {item[name]:g}" for name, sign in words.items() if name in item]
    return f" {', '.join(found)}" if found else ""


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return "…"
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
