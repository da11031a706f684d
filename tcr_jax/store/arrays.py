"""Opens arrays of .npy and .safetensors files without reading them into memory."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np

from tcr_jax.store.files import StoreError

SAFETENSORS_DTYPES = {
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "BOOL": np.dtype("bool"),
}


def open_array(path: Path | str, name: str) -> np.ndarray:
    """The array in a .npy file, or the tensor `name` of a .safetensors file (its only one, whatever its name).

    The array is mapped from the disk, read-only. A .npy of bfloat16, which NumPy saves as raw pairs of bytes, is
    read as bfloat16.

    Raises:
      StoreError: the file is missing, damaged, of another kind, or does not have the tensor; names the file.
    """
    path = Path(path)
    openers = {".npy": _open_npy, ".safetensors": _open_safetensors}
    if path.suffix not in openers:
        raise StoreError(f"{path}: unknown kind of file; give one that ends in {' or '.join(openers)}")
    try:
        array = openers[path.suffix](path, name)
    except StoreError:
        raise
    except (AttributeError, EOFError, OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: cannot be opened ({error}); write the file again") from error
    if not array.ndim:
        raise StoreError(f"{path}: holds a single number; write an array there")
    return array


def _open_npy(path: Path, name: str) -> np.ndarray:
    array: np.ndarray = np.load(path, mmap_mode="r")
    return array.view(ml_dtypes.bfloat16) if array.dtype == np.dtype("V2") else array


def _open_safetensors(path: Path, name: str) -> np.ndarray:
    # The format: the length of the header in 8 bytes, the header in JSON, then the tensors' bytes.
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("the header is cut short")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    if len(header) == 1:
        (name,) = header
    if name not in header:
        raise StoreError(f"{path}: no tensor {name!r} among {', '.join(sorted(header))}; rename one of them")
    tensor, start = header[name], 8 + length + header[name]["data_offsets"][0]
    if tensor["dtype"] not in SAFETENSORS_DTYPES:
        raise StoreError(f"{path}: {name} is {tensor['dtype']}; give one of {', '.join(SAFETENSORS_DTYPES)}")
    return np.memmap(path, SAFETENSORS_DTYPES[tensor["dtype"]], "r", start, tuple(tensor["shape"]))
