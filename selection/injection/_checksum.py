"""Checksums of columns, by which tables and libraries are known whatever file they are in."""

import hashlib
from collections.abc import Mapping

import numpy as np


def columns_sha256(columns: Mapping[str, np.ndarray], title: str = "") -> str:
    """SHA-256 over names and values of columns, whatever their order; hexadecimal."""
    found = hashlib.sha256(title.encode())
    for name, values in sorted(columns.items()):
        found.update(name.encode())
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()
