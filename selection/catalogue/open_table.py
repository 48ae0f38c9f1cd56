"""Any table of a file: FITS, VOTable, CDS, ECSV, CSV, Parquet or text, packed with gzip or not.

What a file is follows from how it begins; only of text the suffix says whether commas or blanks
stand between the columns. Blanks and nulls are masked.
"""

import dataclasses
import gzip
import importlib
import io
import pathlib
import warnings
import zlib
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from starcensus.extras import MissingExtraError, need
from starcensus.files import raised_by
from starcensus.fits_files import check_sizes

from ._base import CatalogueError
from .bad_rows import BadRows

if TYPE_CHECKING:
    from astropy.table import Table

_CSV = {".csv", ".tsv"}
_TEXT = {".txt", ".dat", ".tab", ".tbl", ".asc", ".cat", ".mrt", ".cds", ".list", ""}
_OTHER = {".ecsv", ".fits", ".fit", ".vot", ".votable", ".xml", ".parquet", ".pq"}
_NULLS = ("nan", "NaN", "--", "---", "...", "null", "NULL", "None", "N/A", '""')
_LARGEST = 2**31


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A table and where its rows are.

    **Arguments:**

    - `table`: of astropy.
    - `numbers`: `(n,)`, of each row in the file. `word`: `line` or `row`, by which they count.
    - `bad`: rows that could not be read.
    """

    table: "Table"
    numbers: np.ndarray
    word: str
    bad: BadRows


def load(
    path: pathlib.Path,
    delimiter: str = ",",
    n_fields: int | None = None,
    wanted: Collection[str] = (),
) -> Loaded:
    """The table of a file.

    **Arguments:**

    - `delimiter`: of a CSV file.
    - `n_fields`: of text, how many fields of each line are read.
    - `wanted`: names that are looked for, by which the line of names is known among comments.

    Raises `CatalogueError` for what is no table, or damaged.
    """
    content, suffix = unpacked(path)
    if content.startswith(b"SIMPLE  =") or suffix in {".fits", ".fit"}:
        return _whole(path, read_fits_table(path, content))
    if content.startswith(b"PAR1") or suffix in {".parquet", ".pq"}:
        return _whole(path, _read_parquet(path, content))
    if content[:200].lstrip().startswith((b"<?xml", b"<VOTABLE")) or suffix in {".vot", ".votable"}:
        return _whole(path, _read_votable(path, content))
    if suffix not in _CSV | _TEXT | _OTHER and not content.startswith(b"# %ECSV"):
        raise CatalogueError(
            f"{path}: unknown kind of table {suffix!r}; expected FITS, VOTable, ECSV, CSV, "
            "Parquet, a CDS table, or text (.txt, .dat, .tab), packed with gzip or not"
        )
    lines = _lines(path, content)
    if content.startswith(b"# %ECSV") or suffix == ".ecsv":
        return _by_line(path, lines, "ascii.ecsv", "ECSV")
    if suffix in _CSV:
        return _read_csv(path, lines, "\t" if suffix == ".tsv" else delimiter)
    if any("Byte-by-byte Description" in line for line in lines[:300]):
        return _read_cds(path, lines)
    return _read_text(path, lines, n_fields, wanted)


def unpacked(path: pathlib.Path) -> tuple[bytes, str]:
    """What the file holds, unpacked from gzip, and its suffix without `.gz`.

    Raises `CatalogueError` for damaged gzip, or what unpacks to more than 2 GB.
    """
    content, suffix = path.read_bytes(), path.suffix.lower()
    if not content.startswith(b"\x1f\x8b"):
        return content, suffix
    try:
        with gzip.open(io.BytesIO(content)) as packed:
            content = packed.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CatalogueError(
            f"{path}: not readable by gzip ({_one_line(error)}); the file may be truncated: fetch "
            "it again"
        ) from error
    if len(content) > _LARGEST:
        raise CatalogueError(f"{path}: unpacks to more than {_LARGEST:.2g} bytes, too large here")
    suffix = pathlib.Path(path.stem).suffix.lower() if suffix == ".gz" else suffix
    return content, suffix


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _whole(path: pathlib.Path, table: "Table") -> Loaded:
    return Loaded(table, np.arange(1, len(table) + 1), "row", BadRows(str(path), "row"))


def read_fits_table(path: pathlib.Path, content: bytes | None = None) -> "Table":
    """The first table of a FITS file.

    Units such as `[yr]` (VizieR's way to say log10) are kept as text without astropy's warning.
    **Raises** `CatalogueError` for a truncated file or one without a table.
    """
    from astropy import units
    from astropy.table import Table

    content = unpacked(path)[0] if content is None else content
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error")
            for category, message in (
                (units.UnitsWarning, ".*did not parse as fits unit.*"),
                (Warning, ".*hdu= was not specified but multiple tables are present.*"),
            ):
                warnings.filterwarnings("ignore", message, category)
            check_sizes(io.BytesIO(content))
            return Table.read(io.BytesIO(content), format="fits", memmap=False)
    except Exception as error:
        raise CatalogueError(
            f"{path}: not a readable FITS table ({_one_line(error)}); the file may be truncated: "
            "fetch it again"
        ) from error


def _read_parquet(path: pathlib.Path, content: bytes) -> "Table":
    from astropy.table import MaskedColumn, Table

    try:
        need("pyarrow", purpose="reading Parquet")
    except MissingExtraError as error:
        raise CatalogueError(f"{path}: {error}") from error
    parquet = importlib.import_module("pyarrow.parquet")
    try:
        table = parquet.ParquetFile(io.BytesIO(content)).read()
        columns = {}
        for name in table.column_names:
            values, absent = table[name].to_numpy(), table[name].is_null().to_numpy()
            columns[name] = MaskedColumn(values, mask=absent) if absent.any() else values
        return Table(columns)
    except Exception as error:
        raise CatalogueError(f"{path}: not a readable Parquet file ({_one_line(error)})") from error


def _read_votable(path: pathlib.Path, content: bytes) -> "Table":
    from astropy.io.votable import parse_single_table

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return parse_single_table(io.BytesIO(content)).to_table(use_names_over_ids=True)
    except Exception as error:
        raise CatalogueError(
            f"{path}: not a readable VOTable ({_one_line(error)}); fetch it again"
        ) from error


def _lines(path: pathlib.Path, content: bytes) -> list[str]:
    if b"\0" in content:
        raise CatalogueError(f"{path}: binary data of no known kind of table")
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CatalogueError(
            f"{path}: line {line}: byte 0x{content[error.start]:02x} is not UTF-8 text; save the "
            "table as UTF-8"
        ) from error


def _parsed(path: pathlib.Path, lines: list[str], kind: str, name: str, **how: object) -> "Table":
    from astropy.table import Table

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Table.read(lines, format=kind, **how)
    except Exception as error:
        if raised_by(error) != "astropy":
            raise
        raise CatalogueError(f"{path}: not a readable {name} table: {_one_line(error)}") from error


def _by_line(path: pathlib.Path, lines: list[str], kind: str, name: str, **how: object) -> Loaded:
    """A table with one line of names after its comments, and a line for each row."""
    table = _parsed(path, lines, kind, name, **how)
    full = [k for k, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")][1:]
    numbers = np.array(full[: len(table)])
    if len(numbers) != len(table):
        numbers = np.arange(1, len(table) + 1)
    return Loaded(table, numbers, "line", BadRows(str(path), "line"))


def _read_csv(path: pathlib.Path, lines: list[str], delimiter: str) -> Loaded:
    header = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    if delimiter not in header:
        for other, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas")):
            if header.count(other):
                shown = other.replace("\t", "\\t")
                raise CatalogueError(
                    f"{path}: its header has {word} between the columns, expected {delimiter!r}; "
                    f'say delimiter = "{shown}" in the column map, or save it with commas '
                    "(numbers with decimal commas cannot be read)"
                )
    return _by_line(
        path,
        lines,
        "ascii.csv",
        "CSV",
        delimiter=delimiter,
        comment=r"\s*#",
        fill_values=[("", "0"), *((null, "0") for null in _NULLS)],
    )


def _read_cds(path: pathlib.Path, lines: list[str]) -> Loaded:
    """A table with its byte-by-byte description, of CDS or the AAS journals."""
    table = _parsed(path, lines, "ascii.cds", "CDS")
    return Loaded(table, np.arange(1, len(table) + 1), "row", BadRows(str(path), "row"))


def _read_text(
    path: pathlib.Path, lines: list[str], n_fields: int | None, wanted: Collection[str]
) -> Loaded:
    """Blanks between the fields; names in a comment, in the first line, or nowhere."""
    bad = BadRows(str(path), "line")
    rows = [(k, line.split()) for k, line in enumerate(lines, 1) if line.split()]
    comments = [_bare(fields) for _, fields in rows if fields[0].startswith("#")]
    rows = [(k, fields) for k, fields in rows if not fields[0].startswith("#")]
    if not rows:
        raise CatalogueError(f"{path}: no rows, only blank lines and comments")
    header = rows[0][1] if _are_names(rows[0][1]) else None
    rows = [(k, fields[:n_fields]) for k, fields in rows[1 if header else 0 :]]
    if not rows:
        raise CatalogueError(f"{path}: no rows after the line of names")
    usual = n_fields or int(np.bincount([len(fields) for _, fields in rows]).argmax())
    for k, fields in rows:
        if len(fields) != usual:
            bad.add(
                k,
                f"{len(fields)} fields, expected {usual}; of tables whose last column has blanks a "
                "column map can say n_fields",
            )
    bad.check(len(rows))
    rows = [(k, fields) for k, fields in rows if len(fields) == usual]
    names = _distinct(header or _among(comments, usual, wanted), usual)
    table = _parsed(
        path,
        ["\x1f".join(fields) for _, fields in rows],
        "ascii.no_header",
        "text",
        names=names,
        delimiter="\x1f",
        guess=False,
        fill_values=[(null, "0") for null in _NULLS],
        comment="\x1e",
        quotechar="\x1d",
    )
    return Loaded(table, np.array([k for k, _ in rows]), "line", bad)


def _among(comments: list[list[str]], n: int, wanted: Collection[str]) -> list[str]:
    """The comment that holds names of n columns: the one with most of those that are wanted."""
    found = [words[:n] for words in comments if len(words) >= n and _are_names(words[:n])]
    return max(found, key=lambda words: len(set(words) & set(wanted)), default=[])


def _bare(words: list[str]) -> list[str]:
    """The words of a comment without its sign."""
    first = words[0].lstrip("#")
    return [first, *words[1:]] if first else words[1:]


def _are_names(words: list[str]) -> bool:
    """Whether no word of a line is a number or a null."""
    return bool(words) and not any(word in _NULLS or _is_number(word) for word in words)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _distinct(names: list[str], n: int) -> list[str]:
    """Names of n columns: those that are given once, and field_3 and so on for the others."""
    given = names if len(names) == n else [""] * n
    return [
        name if name and given.count(name) == 1 else f"field_{k}" for k, name in enumerate(given, 1)
    ]
