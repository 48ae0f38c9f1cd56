"""The door of every FITS file that is read: each fault of the format is an error with its name."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from starcensus.files import FileError, Path, existing


@contextlib.contextmanager
def opened(path: Path, what: str = "FITS file") -> Iterator[Any]:
    """The HDU list of a file, which is closed when the block ends.

    Raises `FileError` for a file that is missing, is not FITS, or ends before its headers say, also
    where that shows only as its data are read. `what`: what it should be, for the message.
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
            file = fits.open(stream, memmap=False, lazy_load_hdus=False)
        except (OSError, AstropyUserWarning) as error:
            raise FileError(
                f"{source}: cannot be read as FITS ({str(error).strip()}); expected a whole {what}"
            ) from error
        with file:
            try:
                yield file
            except (OSError, fits.VerifyError) as error:
                raise FileError(
                    f"{source}: cannot be read ({str(error).strip()}); is it cut off?"
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
            return np.asarray(hdu.data), hdu.columns
        except (TypeError, ValueError) as error:
            raise FileError(f"{path}: its rows cannot be read ({error}); is it cut off?") from error
