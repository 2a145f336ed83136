"""NIfTI volumes as slices: what lies where by the affine, and what is black and white.

Every volume is turned into the closest orientation of its axes to RAS+ (right, anterior, superior),
by permuting and flipping alone, as nibabel's `as_closest_canonical` does: nothing is resampled, so
that an oblique volume stays oblique. Its slices are shown as radiologists look at them: axial with
anterior up and coronal with superior up, both with the patient's right on the left; sagittal with
superior up and anterior on the left. A pixel is a voxel; what its sides in mm are is said beside it.
"""

import gzip
import io
import math
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, NamedTuple

import nibabel
import numpy as np
import pandas as pd
from nibabel.affines import voxel_sizes
from nibabel.arrayproxy import ArrayProxy
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from workflow_scripts.common.errors import InputError
from workflow_scripts.formats.images import Image, Place, window

# Along which axis of a volume in RAS+ slices are counted.
AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
LARGEST_VOLUME = 1 << 29  # voxels of one volume; 812 x 812 x 812
DEFLATE = 1032  # times that gzip shrinks anything at most, as masks nearly are
MOST_BESIDE = 1 << 24  # bytes before the voxels, and behind them
BUFFER = 1 << 16
GZIP = b"\x1f\x8b"
ADVICE = "Mend the file, or take it out of the folder."


class Edition(NamedTuple):
    """An edition of NIfTI: its header, and where in it stand the magic word and the voxels' offset."""

    header: type[nibabel.Nifti1Header]
    magic: int
    offset: int
    kind: str  # of the offset, as `struct` has it


EDITIONS = {  # by the lengths of their headers
    348: Edition(nibabel.Nifti1Header, 344, 108, "f"),
    540: Edition(nibabel.Nifti2Header, 4, 168, "q"),
}


class Scan:
    """One open file: a volume, or several one after the other (4-D).

    `shape` (3,) and `affine` (4, 4) are those of a volume in RAS+, `frames` is how many volumes
    there are, `mode` the type of the stored values, `oriented` whether the header gives an
    orientation at all.

    Raises
    ------
    InputError
        As `open_scan` says.
    """

    def __init__(self, path: str | Path, stream: BinaryIO) -> None:
        self.path, self.stream = Path(path), stream
        with told(self.path):
            header = header_of(stream)
            check_header(header, self.path.stat().st_size, isinstance(stream, gzip.GzipFile))
            self.proxy, sizes = ArrayProxy(stream, header), trimmed(header.get_data_shape())
            self.frames = sizes[3] if len(sizes) == 4 else 1
            self.mode = header.get_data_dtype().name
            affine = header.get_best_affine()
            self.orientation = io_orientation(affine)
            if np.isnan(self.orientation).any():
                raise InputError("its affine names no orientation of all three axes")
            self.affine = affine @ inv_ornt_aff(self.orientation, sizes[:3])
            self.shape = tuple(sizes[axis] for axis in np.argsort(self.orientation[:, 0]))
            self.oriented = bool(header["qform_code"] or header["sform_code"])

    def volumes(self) -> Iterator[np.ndarray]:
        """Yield each volume (x, y, z) in RAS+, in their order, its values scaled as the header says."""
        for frame in range(self.frames):
            with told(self.path):
                volume = self.read(frame)
            yield volume
        with told(self.path):
            self.read_to_the_end()

    def read(self, frame: int) -> np.ndarray:
        """Return a volume (x, y, z) in RAS+."""
        further = (0,) * (len(self.proxy.shape) - 4)
        place = (Ellipsis, frame, *further) if len(self.proxy.shape) > 3 else Ellipsis
        volume = np.asanyarray(self.proxy[place])
        if volume.dtype.kind == "f" and not np.isfinite(volume).all():
            count = int((~np.isfinite(volume)).sum())
            which = f" of volume {frame}" if self.frames > 1 else ""
            raise InputError(
                f"{count:,} voxels{which} are no number (NaN or infinite): give them one, as 0"
            )
        return apply_orientation(volume, self.orientation)

    def read_to_the_end(self) -> None:
        """Read what stands behind the voxels, at whose end gzip compares its checksum."""
        if isinstance(self.stream, gzip.GzipFile):
            limit = self.stream.tell() + MOST_BESIDE
            while self.stream.read(BUFFER):
                if self.stream.tell() > limit:
                    raise InputError(
                        f"goes on for more than {MOST_BESIDE:,} bytes behind its voxels"
                    )


@contextmanager
def open_scan(path: str | Path) -> Iterator[Scan]:
    """Open a NIfTI file of one piece, compressed with gzip or not.

    Raises
    ------
    InputError
        That names the file, here or when volumes are read: if it is no such file, is damaged or cut
        short, declares what it cannot hold or no scanner makes, or holds nothing; if voxels are
        complex, in colour or no numbers.
    """
    with ExitStack() as stack:
        stream = stack.enter_context(Path(path).open("rb"))
        if stream.peek(2)[:2] == GZIP:
            stream = stack.enter_context(gzip.open(stream))
        yield Scan(path, stream)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Put the name of a file into what is said of it, whatever nibabel raises."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}. {ADVICE}") from None
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's, not of what the file holds
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"{path}: damaged, cut short or no NIfTI file ({reason}). {ADVICE}"
        ) from None


def header_of(stream: BinaryIO) -> nibabel.Nifti1Header:
    """Return the header at the beginning of a stream.

    What stands between it and the voxels is read as far as the header says, and no further, whatever
    the extensions there say of their own lengths.
    """
    first = stream.read(540)
    lengths = {order: struct.unpack(f"{order}i", first[:4].ljust(4, b"\0"))[0] for order in "<>"}
    order = next((order for order, length in lengths.items() if length in EDITIONS), None)
    if order is None:
        raise InputError("no NIfTI file" if first else "an empty file")
    edition = EDITIONS[lengths[order]]
    if first[edition.magic : edition.magic + 2] == b"ni":
        raise InputError("the header of a pair of files (.hdr, .img); save it as one (.nii)")
    (offset,) = struct.unpack_from(order + edition.kind, first, edition.offset)
    if not 0 <= offset <= MOST_BESIDE:
        raise InputError(f"its voxels are to begin at byte {offset}")
    content = first + stream.read(max(0, int(offset) - len(first)))
    return edition.header.from_fileobj(io.BytesIO(content))


def check_header(header: nibabel.Nifti1Header, size: int, compressed: bool) -> None:
    """Refuse what is no image, or declares too much, before memory is taken for it.

    Parameters
    ----------
    header : of the file
    size : of the file in bytes
    compressed : whether it is by gzip
    """
    shape, kind = header.get_data_shape(), header.get_data_dtype()
    sizes = trimmed(shape)
    if len(sizes) not in (3, 4):
        raise InputError(
            f"{len(sizes)} dimensions ({size_of(shape)}); readable are 3 and, of several volumes, 4"
        )
    if min(sizes) < 1:
        raise InputError(f"{size_of(sizes)} voxels: it holds nothing")
    if kind.kind not in "iuf":
        what = "complex numbers" if kind.kind == "c" else "colours"
        raise InputError(f"its voxels are {what} ({kind}); readable are real numbers")
    if math.prod(sizes[:3]) > LARGEST_VOLUME:
        raise InputError(
            f"declares {size_of(sizes[:3])} voxels, more than any scanner's ({LARGEST_VOLUME:,})"
        )
    declared = math.prod(sizes) * kind.itemsize
    if declared > size * (DEFLATE if compressed else 1):
        raise InputError(
            f"declares {declared:,} bytes of voxels, which {size:,} bytes cannot hold: damaged or "
            "cut short"
        )
    if not np.isfinite(header.get_best_affine()).all():
        raise InputError("its affine is no number")


def trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without dimensions of 1 behind the third."""
    sizes = tuple(map(int, shape))
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes = sizes[:-1]
    return sizes


def size_of(shape: Iterable[int]) -> str:
    """Return a shape as people write it."""
    return " x ".join(map(str, shape))


# Along which axes of a volume in RAS+ the columns and the rows of a slice run.
SIDES = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}


def plane(volume: np.ndarray, axis: str, position: int) -> np.ndarray:
    """Return a slice of a volume in RAS+ as it is looked at.

    Parameters
    ----------
    volume : (x, y, z), growing to the patient's right, to the front and upwards
    axis : sagittal, coronal or axial
    position : index along the axis, from the left, from the back or from below

    Returns
    -------
    (rows, columns): axial (y, x) with anterior up, coronal (z, x) with superior up, both with the
    patient's right on the left; sagittal (z, y) with superior up and anterior on the left.
    """
    # The axes that are left are in their order, the columns' first.
    return np.take(volume, position, AXES[axis]).T[::-1, ::-1]


def aspect(affine: np.ndarray, axis: str) -> float:
    """Return the height of a slice's pixels over their width, by the sides of voxels in mm."""
    sides = voxel_sizes(affine)
    across, up = SIDES[axis]
    return float(sides[up] / sides[across])


def slices(listing: pd.DataFrame, folder: str | Path, axis: str) -> Iterator[Image]:
    """Yield the images of rows of the table LISTING, whose files lie below `folder`.

    A file is read from front to back, once as long as its slices stand together in the table.

    Raises
    ------
    InputError
        As `open_scan`, and if a file has no longer what the table says.
    """
    rows = listing[["image_id", *Place._fields]].itertuples(index=False)
    images = (
        (image_id, [Place(*row[1:]) for row in channels])
        for image_id, channels in groupby(rows, key=lambda row: row.image_id)
    )
    for files, group in groupby(images, key=lambda image: [place.file for place in image[1]]):
        wanted: dict[int, list] = {}
        last = 0
        for image_id, places in group:
            wanted.setdefault(places[0].frame, []).append((image_id, places))
            last = max(last, places[0].position)
        with ExitStack() as stack:
            scans = [stack.enter_context(open_scan(Path(folder, file))) for file in files]
            for scan in scans:
                if max(wanted) >= scan.frames or last >= scan.shape[AXES[axis]]:
                    raise InputError(
                        f"{scan.path} has no volume {max(wanted)} or no slice {last} any more: it was "
                        "changed while it was read. Run again."
                    )
            tall = aspect(scans[0].affine, axis)
            for frame, volumes in enumerate(zip(*(scan.volumes() for scan in scans), strict=True)):
                for image_id, places in wanted.get(frame, []):
                    channels = [
                        window(plane(volume, axis, place.position), place.low, place.high)
                        for volume, place in zip(volumes, places, strict=True)
                    ]
                    pixels = channels[0] if len(channels) == 1 else np.stack(channels, axis=-1)
                    yield Image(image_id, image_id, pixels, scans[0].mode, tall)
