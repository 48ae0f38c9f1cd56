"""How long the tests take: a table of the docs and the order in which workers take the files.

    python -m pytest -m "not slow" -o junit_family=xunit1 --junitxml=out/suite.xml ...
    python benchmarks/durations.py out/suite.xml

writes `tests/durations.json`, seconds of each file, and prints a page with the longest files and
tests. Seconds are those of a worker; fixtures count for the test that first asks for them.
"""

import argparse
import collections
import json
import pathlib
import xml.etree.ElementTree as ET

TESTS = pathlib.Path(__file__).resolve().parents[1] / "tests"


def read_durations(path: pathlib.Path) -> list[tuple[str, str, float]]:
    """File below tests/, test and seconds, of each test in a JUnit report of family xunit1."""
    found = []
    for case in ET.parse(path).getroot().iter("testcase"):
        file = pathlib.PurePosixPath(case.attrib["file"]).relative_to("tests")
        name = case.attrib["name"].split("@")[0]
        found.append((str(file), name, float(case.attrib["time"])))
    return found


def page(durations: list[tuple[str, str, float]], n: int) -> str:
    """Markdown: the sum, the longest files, the longest tests."""
    files = sums(durations)
    lines = [
        "# How long the tests take",
        "",
        "`make durations` measures this and writes the page. Seconds are those of one of two",
        "workers; a fixture counts for the test that first asks for it.",
        "",
        f"{len(durations):,} tests in {len(files)} files take {sum(files.values()):,.0f} s in all.",
        "",
        "| file | tests | s |",
        "|---|---:|---:|",
    ]
    counts = collections.Counter(file for file, _, _ in durations)
    for file, seconds in list(files.items())[:n]:
        lines.append(f"| `{file}` | {counts[file]} | {seconds:.0f} |")
    lines += ["", "| test | s |", "|---|---:|"]
    for file, name, seconds in sorted(durations, key=lambda d: -d[2])[:n]:
        lines.append(f"| `{file}` {name} | {seconds:.1f} |")
    return "\n".join(lines) + "\n"


def sums(durations: list[tuple[str, str, float]]) -> dict[str, float]:
    """Seconds of each file, the longest first."""
    files: dict[str, float] = collections.defaultdict(float)
    for file, _, seconds in durations:
        files[file] += seconds
    return dict(sorted(files.items(), key=lambda item: -item[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Durations of the tests.")
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("--n", type=int, default=30, help="rows of each table")
    arguments = parser.parse_args()
    durations = read_durations(arguments.report)
    files = {file: round(seconds, 1) for file, seconds in sums(durations).items()}
    (TESTS / "durations.json").write_text(json.dumps(files, indent=1) + "\n")
    print(page(durations, arguments.n), end="")


if __name__ == "__main__":
    main()
