"""Reconstruct images with the autoencoder, which knows healthy ones alone."""

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from workflow_scripts.anomaly.autoencoder import Autoencoder
from workflow_scripts.anomaly.judged import judged_images
from workflow_scripts.common.devices import leased_device
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import REMAKE, whole_file
from workflow_scripts.common.pixels import to_input, to_pixels
from workflow_scripts.common.precision import use_tf32
from workflow_scripts.common.runtime import progress, step
from workflow_scripts.common.schemas import IMAGES
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table

BATCH = 64


@torch.inference_mode()
def reconstruct_images(
    images: Path, shards: list[Path], weights: Path, healed: Path, settings: dict, device: str
) -> None:
    """Write the reconstruction of every image that is judged.

    Parameters
    ----------
    images : table IMAGES
    shards : the image store's shards
    weights : of the autoencoder
    healed : output, `.npy`, stored as the images are, its rows those of `judged_images`
    settings : `autoencoder`, `per_class` and `seed`, of an entry of `anomaly`
    """
    rows = judged_images(read_table(images, IMAGES), settings["per_class"], settings["seed"])
    store = ImageStore(rows, shards)
    found = []
    with leased_device(device) as where:
        use_tf32(False)
        model = load_autoencoder(weights, store, settings["autoencoder"]).to(where)
        for start in progress(range(0, len(rows), BATCH), "reconstructing", unit="batch"):
            batch = np.arange(start, min(start + BATCH, len(rows)))
            found.append(to_pixels(model(to_input(store.gather(batch), where)), store.bits))
    with whole_file(healed) as partial:
        np.save(partial, np.concatenate(found))


def load_autoencoder(weights: Path, store: ImageStore, settings: dict) -> Autoencoder:
    """Return the autoencoder that `train_autoencoder` wrote for images such as a store's.

    Raises
    ------
    InputError
        If the file holds no weights of such a one.
    """
    model = Autoencoder(store.size, store.channels, settings["latent"])
    try:
        model.load_state_dict(load_file(weights))
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{weights} holds no autoencoder of these images ({reason}). {REMAKE}"
        ) from None
    return model.eval()


if __name__ == "__main__":
    with step(snakemake) as config:
        if config is not None:  # not in the cache
            reconstruct_images(
                Path(snakemake.input.images),
                [Path(path) for path in snakemake.input.shards],
                Path(snakemake.input.weights),
                Path(snakemake.output.healed),
                config,
                config["device"],
            )
