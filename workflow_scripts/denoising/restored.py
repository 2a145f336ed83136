"""What a method made of the noisy patches: one HDF5 file with all its answers."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import REMAKE, whole_file

TEXT = h5py.string_dtype("utf-8")


@dataclass(frozen=True)
class Restored:
    """The answers of one method.

    Attributes
    ----------
    names : ids of the n patches
    variances : of the noise at the L levels
    images : float32 (L, n, K, h, w) or (L, n, K, h, w, c), about in [0, 1] and not clipped: of each
        noisy patch the K answers that the method drew, or its one
    """

    names: list[str]
    variances: list[float]
    images: np.ndarray

    @property
    def samples(self) -> int:
        """How many answers there are to each noisy patch."""
        return self.images.shape[2]

    def mean(self, count: int) -> np.ndarray:
        """Return the mean of the first `count` answers: float32 (L, n, h, w) or with channels."""
        return self.images[:, :, :count].mean(axis=2, dtype=np.float64).astype(np.float32)


def write_restored(restored: Restored, path: Path) -> None:
    """Write the file, without the times that HDF5 would keep."""
    with whole_file(path) as partial, h5py.File(partial, "w", locking=False) as file:
        file.create_dataset("image_id", data=restored.names, dtype=TEXT)
        file.create_dataset("variance", data=np.array(restored.variances, dtype=np.float64))
        file.create_dataset("images", data=np.asarray(restored.images, dtype=np.float32))


def read_restored(path: Path) -> Restored:
    """Read the file; an `InputError` if it is damaged or holds something else."""
    try:
        with h5py.File(path) as file:
            return Restored(
                file["image_id"].asstr()[()].tolist(),
                file["variance"][()].tolist(),
                file["images"][()],
            )
    except FileNotFoundError:
        raise
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{path} holds no restored patches ({error}). {REMAKE}") from None
