"""`python -m tests.sabotage`: deliberate faults, one at a time, and which test sees each.

The checkout is copied, one fault of `faults.toml` is put into the copy, and the tests of the
default suite that it names run there. First they all run without a fault: only then does a failure
tell. The table is written to stdout, what is going on to stderr.
"""

import argparse
import concurrent.futures
import multiprocessing
import pathlib
import sys
import tempfile

from tests.sabotage.copies import Outcome, copy_of_checkout, preload, run_tests, with_fault
from tests.sabotage.faults import Fault, faults


def try_faults(chosen: list[Fault], number: int) -> list[Outcome]:
    """The outcome of each fault, in a copy of their own."""
    found = []
    with tempfile.TemporaryDirectory() as folder, copy_of_checkout(pathlib.Path(folder)) as copy:
        for fault in chosen:
            with with_fault(copy, fault.file, fault.old, fault.new):
                found.append(run_tests(copy, fault.tests))
            said = found[-1].failed or "SURVIVED"
            words = f"[{number}] {found[-1].seconds:4.0f} s  {fault.name}: {said}"
            print(words, file=sys.stderr, flush=True)
    return found


def check_whole(chosen: list[Fault]) -> None:
    """Raises `SystemExit` if the tests fail where there is no fault."""
    tests = list(dict.fromkeys(test for fault in chosen for test in fault.tests))
    files = {test for test in tests if "::" not in test}
    tests = [test for test in tests if test in files or test.split("::")[0] not in files]
    with tempfile.TemporaryDirectory() as folder, copy_of_checkout(pathlib.Path(folder)) as copy:
        outcome = run_tests(copy, tests, first=False)
    if outcome.failed:
        raise SystemExit(f"without any fault {outcome.failed} fails:\n{outcome.words}")
    print(f"{outcome.seconds:8.0f} s  without a fault: passed", file=sys.stderr, flush=True)


def table(chosen: list[Fault], outcomes: list[Outcome]) -> str:
    """Markdown: a row for each fault."""
    rows = ["| fault | file | why it matters | seen by |", "|---|---|---|---|"]
    for fault, outcome in zip(chosen, outcomes, strict=True):
        seen = f"`{outcome.failed.removeprefix('tests/')}`" if outcome.failed else "**survived**"
        if not outcome.failed and fault.survives:
            seen += f": {fault.survives}"
        rows.append(f"| {fault.name} | `{fault.file}` | {fault.why} | {seen} |")
    caught = sum(bool(outcome.failed) for outcome in outcomes)
    share = f"{caught} of {len(chosen)} faults are seen, {caught / len(chosen):.1%}."
    return "\n".join([share, "", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", action="append", help="faults whose name or file contains this; may be repeated"
    )
    parser.add_argument("--jobs", type=int, default=1, help="copies at a time")
    parser.add_argument(
        "--trust", action="store_true", help="do not run the tests without a fault first"
    )
    options = parser.parse_args()
    wanted = options.only or [""]
    chosen = [f for f in faults() if any(word in f"{f.name} {f.file}" for word in wanted)]
    if not chosen:
        raise SystemExit(f"no fault's name or file contains {' or '.join(map(repr, wanted))}")
    preload()
    if not options.trust:
        check_whole(chosen)
    shares = [chosen[i :: options.jobs] for i in range(min(options.jobs, len(chosen)))]
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(len(shares), context) as pool:
        parts = list(pool.map(try_faults, shares, range(len(shares))))
    outcomes = dict(
        (fault.name, outcome)
        for share, part in zip(shares, parts, strict=True)
        for fault, outcome in zip(share, part, strict=True)
    )
    ordered = [outcomes[fault.name] for fault in chosen]
    print(table(chosen, ordered))
    unexplained = [
        f.name for f, o in zip(chosen, ordered, strict=True) if not (o.failed or f.survives)
    ]
    sys.exit(f"survived without a reason: {', '.join(unexplained)}" if unexplained else 0)


if __name__ == "__main__":
    main()
