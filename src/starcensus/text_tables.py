"""The door of tables in text, ECSV and CSV: each fault of the format is an error with its name."""

import warnings
from typing import TYPE_CHECKING

from starcensus.files import FileError, Path, existing, read_text, reading
from starcensus.fits_files import opened

if TYPE_CHECKING:
    import astropy.table

FORMATS = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv"}


def text_table(path: Path, form: str, what: str = "table") -> "astropy.table.Table":
    """A table in text.

    **Arguments:**

    - `form`: astropy's name of the format, one of `FORMATS`.
    - `what`: what it should be, for the message.

    Raises `FileError` for a file that is missing, is not UTF-8, is empty, or is no such table.
    """
    from astropy.table import Table  # slow to import

    with reading(path, f"{what} in {form.removeprefix('ascii.').upper()}", "astropy") as source:
        lines = read_text(source, what).splitlines()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Table.read(lines, format=form)


def any_table(path: Path, what: str = "table") -> "astropy.table.Table":
    """A table in ECSV, CSV or FITS, by the ending of its name.

    Raises `FileError` for another ending, and for a file that is missing or damaged.
    """
    from astropy.table import Table

    source = existing(path, what)
    suffix = source.suffix.lower()
    if suffix in FORMATS:
        return text_table(source, FORMATS[suffix], what)
    if suffix not in (".fits", ".fit"):
        raise FileError(
            f"{source}: cannot be read as a {what}; expected a name ending in .ecsv, .csv or .fits"
        )
    with reading(source, what, "astropy"), opened(source, what) as file:
        return Table.read(file)
