"""Ways in which files are damaged."""

import io
from collections.abc import Callable

import h5py
import numpy as np

Damage = Callable[[bytes, np.random.Generator], bytes]
ABSURD = (
    b"1e308", b"-1e308", b"nan", b"inf", b"-1", b"0", b"1e15", b"99999999999999999999999",
    b"", b"x", b"\xc3\xa9", b"1,5", b"[1]", b"-999", b"1e-320", b"None",
)  # fmt: skip


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bytes are others."""
    changed = bytearray(content)
    for at in rng.integers(0, max(len(changed), 1), rng.integers(1, 9)):
        if changed:
            changed[at] ^= int(rng.integers(1, 256))
    return bytes(changed)


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(0, len(content) + 1)]


def without_start(content: bytes, rng: np.random.Generator) -> bytes:
    return content[rng.integers(0, len(content)) + 1 :] if content else content


def overwritten(content: bytes, rng: np.random.Generator) -> bytes:
    """A block of zeros, of 0xff or of noise in the middle."""
    start, n = rng.integers(0, len(content) + 1), int(rng.integers(1, 65))
    block = (bytes(n), b"\xff" * n, rng.bytes(n))[rng.integers(3)]
    return content[:start] + block + content[start + n :]


def inserted(content: bytes, rng: np.random.Generator) -> bytes:
    at = rng.integers(0, len(content) + 1)
    return content[:at] + rng.bytes(int(rng.integers(1, 20))) + content[at:]


def _lines(change: Callable[[list[bytes], np.random.Generator], None]) -> Damage:
    def damage(content: bytes, rng: np.random.Generator) -> bytes:
        lines = content.split(b"\n")
        change(lines, rng)
        return b"\n".join(lines)

    return damage


def _drop(lines: list[bytes], rng: np.random.Generator) -> None:
    del lines[rng.integers(len(lines))]


def _repeat(lines: list[bytes], rng: np.random.Generator) -> None:
    at = rng.integers(len(lines))
    lines.insert(at, lines[at])


def _swap_lines(lines: list[bytes], rng: np.random.Generator) -> None:
    i, j = rng.integers(len(lines), size=2)
    lines[i], lines[j] = lines[j], lines[i]


def _fields(change: Callable[[list[bytes], np.random.Generator], None]) -> Damage:
    """Of one line, whose fields commas or spaces part."""

    def of_lines(lines: list[bytes], rng: np.random.Generator) -> None:
        at = rng.integers(len(lines))
        by = b"," if b"," in lines[at] else b" "
        fields = lines[at].split(by)
        change(fields, rng)
        lines[at] = by.join(fields)

    return _lines(of_lines)


def _swap(fields: list[bytes], rng: np.random.Generator) -> None:
    i, j = rng.integers(len(fields), size=2)
    fields[i], fields[j] = fields[j], fields[i]


def _absurd(fields: list[bytes], rng: np.random.Generator) -> None:
    fields[rng.integers(len(fields))] = ABSURD[rng.integers(len(ABSURD))]


def utf16(content: bytes, rng: np.random.Generator) -> bytes:
    return content.decode("latin-1").encode("utf-16")


def nested(content: bytes, rng: np.random.Generator) -> bytes:
    """An opening bracket, thousands of times, after some line or value."""
    lines = content.split(b"\n")
    at = rng.integers(len(lines))
    opening = (b"[", b"{", b"{a=", b"(", b"[[")[rng.integers(5)]
    head = lines[at].split(b"=")[0] + b"=" if rng.random() < 0.5 else b""
    lines[at] = head + opening * int(rng.integers(100, 3000))
    return b"\n".join(lines)


ANY: dict[str, Damage] = {
    "flip": flip,
    "cut": cut,
    "no start": without_start,
    "overwritten": overwritten,
    "inserted": inserted,
    "empty": lambda content, rng: b"",
    "twice": lambda content, rng: content + content,
}
TEXT: dict[str, Damage] = {
    **ANY,
    "line gone": _lines(_drop),
    "line twice": _lines(_repeat),
    "lines swapped": _lines(_swap_lines),
    "fields swapped": _fields(_swap),
    "absurd": _fields(_absurd),
    "absurd again": _fields(_absurd),
    "UTF-16": utf16,
    "BOM": lambda content, rng: b"\xef\xbb\xbf" + content,
    "Latin": lambda content, rng: content.replace(b"e", b"\xe9", int(rng.integers(1, 9))),
    "nested": nested,
    "blank": lambda content, rng: b"\n \n" * int(rng.integers(1, 9)),
    "comments": lambda content, rng: b"".join(b"#" + ln for ln in content.splitlines(True)),
}


def _structure(change: Callable[[h5py.File, np.random.Generator], None]) -> Damage:
    """Of an HDF5 file that stays one."""

    def damage(content: bytes, rng: np.random.Generator) -> bytes:
        held = io.BytesIO(content)
        with h5py.File(held, "a") as file:
            change(file, rng)
        return held.getvalue()

    return damage


def _datasets(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(
        lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
    )
    return names


def _no_dataset(file: h5py.File, rng: np.random.Generator) -> None:
    if names := _datasets(file):
        del file[names[rng.integers(len(names))]]


def _other_dataset(file: h5py.File, rng: np.random.Generator) -> None:
    if not (names := _datasets(file)):
        return
    name = names[rng.integers(len(names))]
    old: np.ndarray = np.asarray(file[name][()])  # pyright: ignore[reportIndexIssue]
    others = (
        np.array(3.0), np.zeros(0), old.reshape(-1)[:1], np.array([b"word"]), np.full(3, np.nan),
        np.full(old.shape, -1), np.full(old.shape, 1e300), old[None], np.array(["a"], object),
        np.zeros(old.shape, "c8"), np.full(old.shape, np.inf), np.flip(old),
    )  # fmt: skip
    attributes = dict(file[name].attrs)
    del file[name]
    file[name] = others[rng.integers(len(others))]
    file[name].attrs.update(attributes)


def _other_attribute(file: h5py.File, rng: np.random.Generator) -> None:
    places: list[h5py.HLObject] = [file]
    file.visititems(lambda _, item: places.append(item))
    held = [(place, name) for place in places for name in place.attrs]
    if not held:
        return
    place, name = held[rng.integers(len(held))]
    value = place.attrs[name]
    del place.attrs[name]
    choice = rng.integers(8)
    if choice == 0:
        return
    if choice < 4 and isinstance(value, str):
        ways = list(TEXT.values())
        value = ways[rng.integers(len(ways))](value.encode(), rng).decode("latin-1")
        place.attrs[name] = value.replace("\0", "0")
        return
    others = (3, "word", "{}", "[]", "null", np.arange(4), float("nan"), "[" * 3000, -1, 10**15)
    place.attrs[name] = others[rng.integers(len(others))]


HDF5: dict[str, Damage] = {
    **ANY,
    "dataset gone": _structure(_no_dataset),
    "another dataset": _structure(_other_dataset),
    "another dataset too": _structure(_other_dataset),
    "another attribute": _structure(_other_attribute),
    "another attribute too": _structure(_other_attribute),
}


def _card(content: bytes, rng: np.random.Generator) -> bytes:
    """A header's card of FITS says something else."""
    changed = bytearray(content)
    cards = [i for i in range(0, len(changed), 80) if changed[i + 8 : i + 10] == b"= "]
    if cards:
        at = cards[rng.integers(len(cards))] + 10
        value = ABSURD[rng.integers(len(ABSURD))][:20].rjust(20)
        changed[at : at + 20] = value
    return bytes(changed)


FITS: dict[str, Damage] = {**ANY, "card": _card, "another card": _card, "third card": _card}
