"""Small data of every format that holds many images in one file, made from seeds."""

import gzip
import struct
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

CANONICAL = axcodes2ornt(("R", "A", "S"))


def head(seed: int, shape: tuple[int, int, int] = (20, 24, 18), lesion: bool = False) -> np.ndarray:
    """Draw a head in RAS+: an ellipsoid in air, brighter to the right, to the front and upwards.

    int16 (x, y, z), from 0 to about 1,000; the outermost slices along each axis are empty.
    """
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = rng.uniform(0.7, 0.8)
    inside = x**2 + y**2 + z**2 < radius**2
    values = inside * (500 + 150 * x + 100 * y + 50 * z + rng.normal(0, 20, shape))
    if lesion:
        spot = (x - 0.3) ** 2 + (y - 0.2) ** 2 + (z - 0.1) ** 2 < 0.06
        values[spot] = 1000
    return values.clip(0).astype(np.int16)


def stored(volume: np.ndarray, codes: str, spacing: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Return a volume in RAS+, and its affine, as a scanner might store it: by `codes`, such as LPS."""
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = [-20, -24, -18]
    change = ornt_transform(CANONICAL, axcodes2ornt(tuple(codes)))
    return (
        apply_orientation(volume, change),
        affine @ inv_ornt_aff(change, volume.shape[:3]),
    )


def write_nifti(
    path: Path, volume: np.ndarray, codes: str = "RAS", slope: float | None = None, kind=None
) -> Path:
    """Write a volume that is given in RAS+, stored in the order of `codes`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array, affine = stored(volume, codes)
    image = nibabel.Nifti1Image(array if kind is None else array.astype(kind), affine)
    if slope is not None:
        image.header.set_slope_inter(slope, -100.0)
    image.to_filename(path)
    if path.suffix == ".gz":  # without the time that gzip notes, so that the same is the same bytes
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), mtime=0))
    return path


def write_brains(folder: Path, subjects: int = 12, volumes: int = 1) -> Path:
    """Write two contrasts and a mask for each subject, half of whom have a tumour, as BraTS does.

    Of several `volumes`, each contrast is a 4-D file, and each volume half as bright as the one before.
    """
    for number in range(subjects):
        name, ill = f"case_{number:03d}", number % 2 == 0
        for contrast, weight in (("t1", 1.0), ("t2", 0.5)):
            volume = (weight * head(number, lesion=ill)).astype(np.int16)
            if volumes > 1:
                volume = np.stack([volume // 2**n for n in range(volumes)], axis=-1)
            write_nifti(folder / name / f"{name}_{contrast}.nii.gz", volume, "LPS")
        mask = (head(number, lesion=ill) == 1000).astype(np.uint8)
        write_nifti(folder / name / f"{name}_seg.nii.gz", mask, "LPS")
    return folder


def write_patches(folder: Path, counts: dict[str, int], size: int = 12) -> dict[str, np.ndarray]:
    """Write x, y and meta files as PatchCamelyon's, `counts` images of each split; return the pixels.

    Four patches come from each slide; those with label 1 are redder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng, pixels, slide = np.random.default_rng(5), {}, 0
    for split, count in counts.items():
        labels = rng.permutation(np.arange(count) % 2)
        images = rng.integers(0, 120, (count, size, size, 3), dtype=np.uint8)
        images[..., 0] += (100 * labels).astype(np.uint8)[:, None, None]
        slides = [f"slide_{slide + number // 4:03d}" for number in range(count)]
        slide += count
        with h5py.File(folder / f"split_{split}_x.h5", "w") as file:
            file.create_dataset("x", data=images, chunks=(3, size, size, 3), compression="gzip")
        with h5py.File(folder / f"split_{split}_y.h5", "w") as file:
            file["y"] = labels.astype(np.int64).reshape(-1, 1, 1, 1)
        meta = pd.DataFrame({"tumor_patch": labels.astype(bool), "wsi": slides})
        meta.to_csv(folder / f"split_{split}_meta.csv")
        pixels[split] = images
    return pixels


def write_digits(folder: Path, counts: dict[str, int], size: int = 8) -> dict[str, np.ndarray]:
    """Write IDX files as MNIST's, of three digits; return the pixels.

    Those of training are compressed, the others are not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng, pixels = np.random.default_rng(6), {}
    for split, count in counts.items():
        labels = rng.permutation(np.arange(count) % 3).astype(np.uint8)
        images = rng.integers(0, 100, (count, size, size), dtype=np.uint8)
        images[np.arange(count), labels] += 150  # a bright row, whose place is the digit
        for name, array in (
            (f"{split}-images-idx3-ubyte", images),
            (f"{split}-labels-idx1-ubyte", labels),
        ):
            content = idx_bytes(array)
            if split == "train":
                (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
            else:
                (folder / name).write_bytes(content)
        pixels[split] = images
    return pixels


def idx_bytes(array: np.ndarray) -> bytes:
    """Return an array of uint8 in the format IDX."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()
