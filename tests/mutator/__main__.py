"""`python -m tests.mutator --n 20000`: many damaged files, and a table of what became of them."""

# ruff: noqa: E402
from jaxtyping import install_import_hook

# What is accepted must also be what its annotations say.
install_import_hook("starcensus", "beartype.beartype")

import argparse
import collections
import json
import multiprocessing
import pathlib
import sys
import tempfile
import time

from tests.mutator.outcome import LIMIT_S, Reader, attempts
from tests.mutator.readers import readers

KINDS = ("accepted", "refused", "traceback", "hang", "memory", "crash")


def _work(reader: Reader, numbers: range, log: str) -> None:
    with open(log, "a") as file, tempfile.TemporaryDirectory() as folder:
        for number, way, outcome in attempts(reader, pathlib.Path(folder), numbers):
            line = {"n": number, "way": way, "what": outcome.what, "words": outcome.words[:400]}
            file.write(json.dumps(line) + "\n")
            file.flush()


def run_reader(reader: Reader, n: int, folder: pathlib.Path) -> list[dict]:
    """Outcomes of `n` damages, in processes of their own: a library in C may end them."""
    log = folder / f"{abs(hash(reader.name))}.jsonl"
    log.touch()
    context = multiprocessing.get_context("fork")
    found: list[dict] = []
    while len(found) < n:
        worker = context.Process(target=_work, args=(reader, range(len(found), n), str(log)))
        worker.start()
        before, since = len(found), time.monotonic()
        while worker.is_alive():
            worker.join(0.2)
            now = len(log.read_text().splitlines())
            if now > before:
                before, since = now, time.monotonic()
            elif time.monotonic() - since > 4 * LIMIT_S:
                worker.kill()
                worker.join()
        found = [json.loads(line) for line in log.read_text().splitlines()]
        if len(found) < n:
            if worker.exitcode == 1:
                raise SystemExit(f"{reader.name}: the mutator itself failed")
            line = {"n": len(found), "way": "", "what": "crash", "words": str(worker.exitcode)}
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
            found.append(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--n", type=int, default=20_000, help="damaged files, of all readers together"
    )
    parser.add_argument("--only", default="", help="readers whose name contains this")
    parser.add_argument("--faults", action="store_true", help="print each fault once")
    options = parser.parse_args()
    chosen = [reader for reader in readers() if options.only in reader.name]
    each = -(-options.n // len(chosen))
    totals: collections.Counter[str] = collections.Counter()
    print(f"{'reader':28s}" + "".join(f"{kind:>11s}" for kind in KINDS))
    with tempfile.TemporaryDirectory() as folder:
        for reader in chosen:
            found = run_reader(reader, each, pathlib.Path(folder))
            counts = collections.Counter(line["what"] for line in found)
            totals.update(counts)
            print(f"{reader.name:28s}" + "".join(f"{counts[k]:11d}" for k in KINDS), flush=True)
            if options.faults:
                faults = [line for line in found if line["what"] not in KINDS[:2]]
                by_place = {line["words"].rpartition("(")[2]: line for line in faults}
                for line in by_place.values():
                    print("    ", line["n"], line["way"], line["what"], line["words"], flush=True)
    print(f"{'all':28s}" + "".join(f"{totals[kind]:11d}" for kind in KINDS))
    sys.exit(any(totals[kind] for kind in KINDS[2:]))


if __name__ == "__main__":
    main()
