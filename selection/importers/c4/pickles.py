"""Arrays out of Torch checkpoints and scikit-learn scalers, without running what they name.

A pickle may name any importable callable and call it. Here every admitted name is bound to a
stand-in that only describes an array; any other name raises `UnsafePickleError` before anything is
imported. The layouts are those of Torch's zip format (one `data.pkl`, one raw little-endian file
per storage) and of joblib's (array bytes inside the pickle's stream, after the wrapper's state).
"""

import io
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from typing import Any, ClassVar

import numpy as np

_MAX_BYTES = 1 << 30
_DTYPES = {"f4": "<f4", "f8": "<f8", "i4": "<i4", "i8": "<i8"}
_STORAGES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "LongStorage": "<i8"}


class UnsafePickleError(ValueError):
    """A pickle names something other than the arrays it should hold."""


# What the unpickler, and zipfile, raise of bytes that are no pickle and no archive.
_DAMAGE = (
    LookupError,
    TypeError,
    AttributeError,
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    ArithmeticError,
    RuntimeError,
    zlib.error,
    struct.error,
    MemoryError,
)


class _Storage:
    def __init__(self, dtype: str):
        self.dtype = np.dtype(dtype)


class _Dtype:
    """Stand-in for `numpy.dtype`: plain numbers only, little-endian."""

    def __init__(self, code: str, align: bool = False, copy: bool = True):
        if code not in _DTYPES:
            raise UnsafePickleError(f"an array has dtype {code!r}; expected {', '.join(_DTYPES)}")
        self.dtype = np.dtype(_DTYPES[code])

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in ("<", "|"):
            raise UnsafePickleError(f"an array has byte order {state[1]!r}; expected little-endian")


class _Ndarray:
    """Stand-in for the class `numpy.ndarray`, which pickles name but need not call."""


class _Array:
    """Stand-in for an array under reconstruction by NumPy's own pickle protocol."""

    values: np.ndarray

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise UnsafePickleError("an array's state is not numbers in bytes")
        flat = np.frombuffer(data, dtype.dtype)
        self.values = flat.reshape(shape, order="F" if fortran else "C").copy()


class _Wrapper:
    """Stand-in for joblib's `NumpyArrayWrapper`: shape and dtype of the bytes that follow."""

    def read(self, stream: io.BytesIO) -> np.ndarray:
        state = vars(self)
        dtype, shape = state.get("dtype"), state.get("shape")
        if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple):
            raise UnsafePickleError("an array's wrapper does not say its shape and dtype")
        if state.get("numpy_array_alignment_bytes") is not None:
            stream.read(stream.read(1)[0])
        n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.dtype.itemsize
        if not 0 <= n_bytes <= _MAX_BYTES:
            raise UnsafePickleError(f"an array of shape {shape} is not plausible")
        data = stream.read(n_bytes)
        if len(data) != n_bytes:
            raise UnsafePickleError(f"an array of shape {shape} is cut short")
        order = "F" if state.get("order") == "F" else "C"
        return np.frombuffer(data, dtype.dtype).reshape(shape, order=order).copy()


class _Scaler:
    """Stand-in for scikit-learn's `StandardScaler`."""


def _scalar(dtype: _Dtype, data: bytes) -> np.generic:
    if not isinstance(dtype, _Dtype):
        raise UnsafePickleError("a number has no plain dtype")
    return np.frombuffer(data, dtype.dtype)[0]


def _reconstruct(*_: object) -> _Array:
    return _Array()


_TORCH_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    **{("torch", name): _Storage(dtype) for name, dtype in _STORAGES.items()},
}
_SCALER_NAMES: dict[tuple[str, str], Any] = {
    ("sklearn.preprocessing._data", "StandardScaler"): _Scaler,
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _Wrapper,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Ndarray,
    **{
        (f"numpy.{core}.multiarray", name): stand_in
        for core in ("core", "_core")
        for name, stand_in in (("scalar", _scalar), ("_reconstruct", _reconstruct))
    },
}


# The Python unpickler, because joblib's stream has array bytes between opcodes and only it can be
# stopped there (joblib's own reader does the same).
class _Restricted(pickle._Unpickler):  # pyright: ignore
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # pyright: ignore

    def __init__(self, stream: io.BytesIO, name: str, admitted: dict[tuple[str, str], Any]):
        super().__init__(stream)
        self._stream, self._name, self._admitted = stream, name, admitted

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._admitted[module, name]
        except KeyError:
            raise UnsafePickleError(
                f"{self._name} names {module}.{name}, which arrays do not need; it was not loaded. "
                "Expected the files of cluster-completeness-pipeline 0.1.0"
            ) from None

    def load_build(self) -> None:
        # Only instances may be given state: a pickle must not edit the stand-ins themselves.
        if type(self.stack[-2]) not in (OrderedDict, _Scaler, _Wrapper, _Array, _Dtype):  # pyright: ignore
            raise UnsafePickleError(f"{self._name} sets the state of something that is no array")
        super().load_build()  # pyright: ignore
        top = self.stack[-1]  # pyright: ignore
        if isinstance(top, _Wrapper):
            self.stack[-1] = top.read(self._stream)  # pyright: ignore
        elif isinstance(top, _Array):
            self.stack[-1] = top.values  # pyright: ignore

    dispatch[pickle.BUILD[0]] = load_build


class _Checkpoint(_Restricted):
    def __init__(self, archive: zipfile.ZipFile, folder: str, name: str):
        admitted = _TORCH_NAMES | {("torch._utils", "_rebuild_tensor_v2"): _rebuild}
        super().__init__(io.BytesIO(archive.read(f"{folder}/data.pkl")), name, admitted)
        self._archive, self._folder = archive, folder

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(storage, _Storage) or not str(key).isdigit():
            raise UnsafePickleError(
                f"{self._name} refers to {pid!r}; expected a storage of numbers"
            )
        data = self._archive.read(f"{self._folder}/data/{key}")
        values = np.frombuffer(data, storage.dtype)
        if len(values) != count:
            raise UnsafePickleError(
                f"{self._name}: storage {key} has {len(values)} numbers; expected {count}"
            )
        return values


def _rebuild(
    storage: np.ndarray, offset: int, size: tuple, stride: tuple, *_: object
) -> np.ndarray:
    contiguous = tuple(int(np.prod(size[k + 1 :], dtype=np.int64)) for k in range(len(size)))
    count = int(np.prod(size, dtype=np.int64))
    if not isinstance(storage, np.ndarray) or tuple(stride) != contiguous:
        raise UnsafePickleError(
            f"a tensor of shape {size} has strides {stride}; expected contiguous {contiguous}"
        )
    if offset < 0 or offset + count > len(storage):
        raise UnsafePickleError(f"a tensor of shape {size} leaves its storage")
    return storage[offset : offset + count].reshape(size).copy()


def read_checkpoint(data: bytes, name: str) -> dict[str, Any]:
    """The dictionary of a Torch zip checkpoint, tensors as NumPy arrays.

    `name` is for messages. Raises `UnsafePickleError`, or `ValueError` if it is no such file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(item.file_size for item in archive.infolist()) > _MAX_BYTES:
                raise UnsafePickleError(f"{name} unpacks to more than {_MAX_BYTES >> 20} MiB")
            pickles = [
                n for n in archive.namelist() if n.count("/") == 1 and n.endswith("/data.pkl")
            ]
            if len(pickles) != 1:
                raise ValueError(f"{name} is no Torch checkpoint: it has no data.pkl")
            folder = pickles[0].split("/")[0]
            if f"{folder}/byteorder" in archive.namelist():
                order = archive.read(f"{folder}/byteorder")
                if order != b"little":
                    raise ValueError(f"{name} has byte order {order!r}; expected b'little'")
            result = _Checkpoint(archive, folder, name).load()
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{name} is not a zip archive; expected a checkpoint written by torch.save since 1.6"
        ) from error
    except UnsafePickleError as error:
        if name in str(error):
            raise
        raise UnsafePickleError(f"{name}: {error}") from error
    except _DAMAGE as error:
        raise UnsafePickleError(f"{name} is not a readable checkpoint ({error})") from error
    if not isinstance(result, dict):
        raise ValueError(f"{name} holds a {type(result).__name__}; expected a dictionary")
    return result


def read_scaler(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """`mean_` and `scale_` of a pickled (or joblib-dumped, uncompressed) StandardScaler.

    `name` is for messages. Raises `UnsafePickleError`, or `ValueError` if it is no such file.
    """
    try:
        result = _Restricted(io.BytesIO(data), name, _SCALER_NAMES).load()
    except UnsafePickleError as error:
        if name in str(error):
            raise
        raise UnsafePickleError(f"{name}: {error}") from error
    except _DAMAGE as error:
        raise UnsafePickleError(f"{name} is not a readable scaler ({error})") from error
    state = vars(result) if isinstance(result, _Scaler) else {}
    mean, scale = state.get("mean_"), state.get("scale_")
    if not isinstance(mean, np.ndarray) or not isinstance(scale, np.ndarray):
        raise ValueError(f"{name} holds no StandardScaler with mean_ and scale_")
    return mean, scale
