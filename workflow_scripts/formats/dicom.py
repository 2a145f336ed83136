"""Grey levels of a DICOM image as a viewer shows them.

Stored value -> modality LUT -> VOI LUT or window -> photometric interpretation (DICOM PS3.3, C.11
and C.7.6.3.1.2). All of it is one table over the stored values, made once for all files that agree
in these elements.
"""

import io

import numpy as np
import pydicom
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing
from pydicom.uid import DeflatedExplicitVRLittleEndian

from workflow_scripts.formats.images import Unreadable, check_size

# What the table depends on, beside the look-up tables that some files bring along.
SHADING = (
    "BitsStored",
    "PixelRepresentation",
    "PhotometricInterpretation",
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
)
LOOK_UPS = ("ModalityLUTSequence", "VOILUTSequence")
TABLES: dict[tuple, np.ndarray] = {}


def decode_dicom(content: bytes) -> tuple[np.ndarray, str]:
    """Decode a single-frame grey DICOM file, its pixels compressed or not.

    A VOI LUT goes before a window, and the first window before others. Without either, 8-bit
    images are shown over their whole range and deeper ones from their least to their greatest
    value. MONOCHROME1 is inverted, padding is black.

    Returns
    -------
    Grey levels, float32 (height, width) in [0, 255], and photometric interpretation and bit depth
    as the mode.
    """
    try:
        refuse_deflated(content)
        dataset = pydicom.dcmread(io.BytesIO(content))
        refuse(dataset)
        stored = np.ascontiguousarray(dataset.pixel_array)
        # As an index into the table, a negative value counts from its end, as in the table's making.
        index = stored.view(f"u{stored.itemsize}")
        mode = f"{dataset.PhotometricInterpretation}/{dataset.BitsStored}"
        return levels(dataset, stored)[index], mode
    except Unreadable:
        raise
    except Exception as error:  # pydicom and its decoders raise anything
        text = " ".join(str(error).split())[:300] or type(error).__name__
        raise Unreadable(f"damaged or unsupported DICOM: {text}") from None


def refuse_deflated(content: bytes) -> None:
    """Refuse a file that is deflated as a whole: pydicom would inflate it to any length."""
    # The functions of `dcmread`, so that it cannot find another transfer syntax than this.
    stream = io.BytesIO(content)
    read_preamble(stream, force=False)
    if _read_file_meta_info(stream).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise Unreadable("deflated DICOM; save it in another transfer syntax")


def refuse(dataset: pydicom.Dataset) -> None:
    """Refuse what is no single grey image."""
    if "PixelData" not in dataset:
        raise Unreadable("DICOM without pixels")
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise Unreadable(f"DICOM of {dataset.NumberOfFrames} frames; readable is one")
    if dataset.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        raise Unreadable(f"DICOM in {dataset.PhotometricInterpretation}; readable is MONOCHROME")
    if dataset.BitsAllocated not in (8, 16):
        raise Unreadable(
            f"DICOM with {dataset.BitsAllocated} bits allocated; readable are 8 and 16"
        )
    check_size(dataset.Columns, dataset.Rows)


def levels(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray:
    """Return the grey level of every value that can be stored: float32 (256 or 65536,)."""
    limits = None
    if not windowed(dataset) and "VOILUTSequence" not in dataset and dataset.BitsStored > 8:
        limits = present_limits(dataset, stored)
    if any(name in dataset for name in LOOK_UPS):
        return table(dataset, stored.dtype, limits)
    key = (stored.dtype, limits, *(str(dataset.get(name)) for name in SHADING))
    if key not in TABLES:
        if len(TABLES) == 64:
            TABLES.clear()
        TABLES[key] = table(dataset, stored.dtype, limits)
    return TABLES[key]


def table(dataset: pydicom.Dataset, kind: np.dtype, limits: tuple[int, int] | None) -> np.ndarray:
    """Return what the standard makes of every stored value of dtype `kind`.

    `limits` are the stored values to show as black and white where the file does not say.
    """
    every = np.arange(256**kind.itemsize, dtype=f"u{kind.itemsize}").view(kind).astype(np.int32)
    values = np.asarray(apply_modality_lut(every, dataset), dtype=np.float64)
    if "VOILUTSequence" in dataset:
        shown = apply_voi(np.rint(values).astype(np.int32), dataset)
        low, high = 0, 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif windowed(dataset):
        shown = apply_windowing(values, dataset)
        low, high = value_range(dataset, values)
    else:
        shown = values
        low, high = sorted(values[list(limits)] if limits else value_range(dataset, values))
    shades = ((shown - low) / ((high - low) or 1)).clip(0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shades = 1 - shades
    shades[is_padding(dataset, every)] = 0
    return (255 * shades).astype(np.float32)


def windowed(dataset: pydicom.Dataset) -> bool:
    """Whether a file gives a window; the elements may be there and empty."""
    return all(dataset.get(name) not in (None, "") for name in ("WindowCenter", "WindowWidth"))


def value_range(dataset: pydicom.Dataset, values: np.ndarray) -> tuple[float, float]:
    """Return the least and the greatest value after the modality LUT, as pydicom's window has them.

    With a negative slope, the first is the greater one.
    """
    if "ModalityLUTSequence" in dataset:
        return 0, 2 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    half = 2 ** (dataset.BitsStored - 1)
    low, high = (-half, half - 1) if dataset.PixelRepresentation else (0, 2 * half - 1)
    return values[low], values[high]


def present_limits(dataset: pydicom.Dataset, stored: np.ndarray) -> tuple[int, int]:
    """Return the least and the greatest stored value that is not padding."""
    image = stored[~is_padding(dataset, stored)]
    return (int(image.min()), int(image.max())) if image.size else (0, 0)


def is_padding(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray:
    """Say which stored values mean that nothing was imaged there."""
    first = dataset.get("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, dtype=bool)
    last = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(first), int(first if last is None else last)))
    return (stored >= low) & (stored <= high)
