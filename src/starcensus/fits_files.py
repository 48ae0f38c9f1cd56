"""The door of every FITS file that is read: each fault of the format is an error with its name."""

import contextlib
import io
import math
import os
import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from starcensus.files import FileError, Path, existing, raised_by

_BLOCK, _CARD = 2880, 80
# FITS 4.0, section 4.4.1: the most axes, and 7.2.1: the most columns.
_MOST = 999


@contextlib.contextmanager
def opened(path: Path, what: str = "FITS file") -> Iterator[Any]:
    """The HDU list of a file, which is closed when the block ends.

    Raises `FileError` for a file that is missing, is not FITS, or whose headers say more than it
    holds, or what cannot be, also where that shows only as its data are read. `what`: what it
    should be, for the message.
    """
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyUserWarning
    from astropy.wcs import FITSFixedWarning

    source = existing(path, what)
    # The stream is ours to close, also where astropy gives up in the middle.
    with warnings.catch_warnings(), source.open("rb") as stream:
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        warnings.simplefilter("ignore", FITSFixedWarning)
        warnings.filterwarnings("error", "File may have been truncated", AstropyUserWarning)
        try:
            check_sizes(stream)
            stream.seek(0)
            file = fits.open(stream, memmap=False, lazy_load_hdus=False)
        except Exception as error:  # Whatever astropy says of damaged headers.
            raise FileError(
                f"{source}: cannot be read as FITS ({_one_line(error)}); expected a whole {what}"
            ) from error
        with file:
            try:
                yield file
            except FileError:
                raise
            except Exception as error:
                if raised_by(error) != "astropy":
                    raise
                raise FileError(
                    f"{source}: cannot be read ({_one_line(error)}); is it cut off or damaged?"
                ) from error


def table(path: Path, what: str = "FITS table", extension: int = 1) -> tuple[np.ndarray, Any]:
    """Rows of a binary or ASCII table as a structured array, and its column definitions.

    Raises `FileError` for a file that is none, or holds no table in that extension.
    """
    from astropy.io import fits

    with opened(path, what) as file:
        hdu = file[extension] if extension < len(file) else None
        if not isinstance(hdu, fits.BinTableHDU | fits.TableHDU):
            there = ", ".join(f"{i} {each.name or 'PRIMARY'}" for i, each in enumerate(file))
            raise FileError(f"{path}: extension {extension} is no table; it has {there}")
        try:
            rows = np.asarray(hdu.data)
        except (TypeError, ValueError) as error:
            raise FileError(f"{path}: its rows cannot be read ({error}); is it cut off?") from error
        if rows.dtype.names is None:
            raise FileError(f"{path}: extension {extension} has no columns")
        return rows, hdu.columns


def numbers(rows: np.ndarray, column: str, path: Path) -> Float[np.ndarray, "row"]:
    """A column of a table as numbers; raises `FileError` for one that holds none, one each row."""
    values = rows[column] if column in (rows.dtype.names or ()) else np.empty(0, "S1")
    if values.dtype.kind not in "iufb" or values.ndim != 1:
        raise FileError(f"{path}: column {column} is damaged; expected a number in each row")
    return values.astype(np.float64)


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300]


def check_sizes(stream: io.BufferedIOBase) -> None:
    """Raises `ValueError` for headers whose data go beyond a file, before they are believed.

    ```python
    with open("mosaic.fits", "rb") as stream:
        check_sizes(stream)
    ```
    """
    end = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if stream.read(2) == b"\x1f\x8b":
        return  # astropy unpacks it.
    at = 0
    while at < end:
        stream.seek(at)
        header, at = _header(stream, at)
        if not at or "BITPIX" not in header:
            # What follows the last extension is no part of the file.
            return
        at += -(-_data_bytes(header) // _BLOCK) * _BLOCK
        # The last block need not be filled up.
        if at > -(-end // _BLOCK) * _BLOCK:
            raise ValueError(f"its headers say {at:,} bytes and it has {end:,}")


def _header(stream: io.BufferedIOBase, at: int) -> tuple[dict[str, str], int]:
    """The values that say sizes, and where the data begin; 0 where there is no header."""
    found: dict[str, str] = {}
    while len(block := stream.read(_BLOCK)) == _BLOCK:
        at += _BLOCK
        for i in range(0, _BLOCK, _CARD):
            card = block[i : i + _CARD].decode("latin-1")
            if card.rstrip() == "END":
                return found, at
            if card[8:10] == "= ":
                found.setdefault(card[:8].strip(), card[10:].partition("/")[0].strip())
    return found, 0


def _data_bytes(header: dict[str, str]) -> int:
    def whole(name: str, default: int | None = None, most: int = 2**62) -> int:
        text = header.get(name, default)
        if not re.fullmatch(r"[+-]?\d+", str(text)) or abs(int(str(text))) > most:
            raise ValueError(f"its header says {name} = {str(text)[:30]}; expected a whole number")
        return int(str(text))

    axes = [whole(f"NAXIS{i + 1}") for i in range(whole("NAXIS", most=_MOST))]
    whole("TFIELDS", 0, _MOST)
    if min([whole("NAXIS"), whole("TFIELDS", 0), *axes]) < 0:
        raise ValueError("its header says sizes below 0")
    if header.get("GROUPS") == "T" and axes and axes[0] == 0:
        axes = axes[1:]
    n = math.prod(axes) if axes else 0
    extra = whole("PCOUNT", 0) + n if "PCOUNT" in header else n
    return abs(whole("BITPIX", most=64)) // 8 * whole("GCOUNT", 1) * max(extra, 0)
