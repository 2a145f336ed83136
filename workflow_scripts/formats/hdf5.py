"""Arrays of HDF5 files: found by name, checked, and read in blocks from front to back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.common.errors import InputError, few
from workflow_scripts.formats.images import Unreadable, check_size

ADVICE = "Name one of them in dataset.hdf5.arrays, or give another file"
LARGEST_BLOCK = 1 << 27  # bytes that are read at a time, and that a chunk may take unpacked


@contextmanager
def open_file(path: str | Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to read; an `InputError` that names it if it is none or is cut short."""
    with told(path):
        file = h5py.File(path, "r")
    with file:
        yield file


def array_of(file: h5py.File, name: str, advice: str = ADVICE) -> h5py.Dataset:
    """Return the array of a name, such as "x" or "group/x"; `advice` is for where there is none.

    Raises
    ------
    InputError
        If there is none, with the names of those that there are; or if its values lie in other
        files, which it could name at will.
    """
    path = file.filename
    with told(path):
        if name not in file or not isinstance(file[name], h5py.Dataset):
            raise InputError(
                f"holds no array {name}; there are {few(names_in(file), 20) or 'none at all'}. {advice}"
            )
        found = file[name]
        # By where it ends: links of one kind may lead to those of another.
        if found.file.filename != file.filename:
            raise InputError(f"{name} is a link to another file; copy what it means into this one")
        if found.is_virtual or found.external:
            raise InputError(f"{name} lies in other files; copy it into this one")
        if (
            found.chunks
            and np.prod(found.chunks, dtype=object) * found.dtype.itemsize > LARGEST_BLOCK
        ):
            raise InputError(f"{name} is stored in chunks of more than {LARGEST_BLOCK:,} bytes")
        return found


def names_in(file: h5py.File) -> list[str]:
    """Return the names of all arrays of a file, with their shapes."""
    found: list[str] = []

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found.append(f"{name} {item.shape}")

    file.visititems(note)
    return found


def check_images(array: h5py.Dataset, channels: int, windowed: bool) -> None:
    """Refuse what are no images (n, height, width) or, of several channels, (n, h, w, channels).

    Of one channel, (n, height, width, 1) are images as well.
    """
    name, shape, kind = array.name.lstrip("/"), array.shape or (), native(array)
    expected = "(n, height, width)" if channels == 1 else f"(n, height, width, {channels})"
    with told(array.file.filename):
        if len(shape) != 3 + (channels > 1) and not (channels == 1 and shape[3:] == (1,)):
            raise InputError(
                f"{name} is {shape}, no images {expected} of tensors.channels: {channels}"
            )
        if channels > 1 and shape[3] != channels:
            raise InputError(
                f"{name} is {shape}, and images of tensors.channels: {channels} are {expected}: with "
                f"{shape[3]} channels, set tensors.channels to {shape[3]}; with channels first, store "
                "them last"
            )
        if kind.kind not in "iuf":
            raise InputError(f"{name} holds {kind}, no numbers that could be grey levels")
        if kind not in (np.uint8, np.uint16) and not windowed:
            raise InputError(
                f"{name} holds {kind}, whose black and white nobody knows: give dataset.hdf5.window: "
                "[low, high], the values that are black and white"
            )
        try:
            check_size(shape[2], shape[1])
        except Unreadable as reason:
            raise InputError(f"{name}: an image {reason}") from None


def native(array: h5py.Dataset) -> np.dtype:
    """Return the type of an array in the order of bytes of this machine."""
    return array.dtype.newbyteorder("=")


def rows(array: h5py.Dataset, first: int, end: int) -> Iterator[np.ndarray]:
    """Yield the rows `first` to `end` (not in it) as `native`, read in blocks as they are stored."""
    each = max(1, array.dtype.itemsize * int(np.prod(array.shape[1:])))
    step = max(1, array.chunks[0] if array.chunks else (1 << 22) // each)
    step = max(1, min(step, LARGEST_BLOCK // each))
    while first < end:
        until = min(end, (first // step + 1) * step)
        with told(array.file.filename):
            block = array[first:until].astype(native(array), copy=False)
        yield from block
        first = until


def texts(array: h5py.Dataset) -> list[str]:
    """Return all values of an array as text: whole numbers, truth values as 0 and 1, and texts.

    Raises
    ------
    InputError
        If it holds anything else, or is damaged.
    """
    kind = array.dtype.kind
    with told(array.file.filename):
        if h5py.check_string_dtype(array.dtype) is not None:
            # What calls itself ASCII, as byte strings of NumPy do, may be UTF-8 as well.
            strings = array.asstr("utf-8", errors="replace")[:]
            return [str(value).strip() for value in strings.ravel()]
        values = array[:].ravel() if kind in "biuf" else None
        if values is None or not (np.isfinite(values) & (values == np.rint(values))).all():
            name = array.name.lstrip("/")
            raise InputError(f"{name} holds {array.dtype}, neither whole numbers nor texts")
        return [str(int(value)) for value in values.tolist()]


@contextmanager
def told(path: str | Path) -> Iterator[None]:
    """Put the name of a file into what is said of it, whatever h5py raises."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}.") from None
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: damaged, cut short or no HDF5 file ({reason}).") from None
