"""Cut the images of one archive, at the resolution and depth that they come in, into patches."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.levels import DEPTHS
from workflow_scripts.common.runtime import log, progress, step
from workflow_scripts.common.schemas import CUT_IMAGES, PATCH_INDEX
from workflow_scripts.common.store import growing_array
from workflow_scripts.common.tables import table_of, write_table
from workflow_scripts.denoising.patches.cutting import content, kept, places, stored
from workflow_scripts.formats.images import Image, Unreadable
from workflow_scripts.formats.sources import images_of


def cut_patches(
    name: str,
    images: Iterable[Image],
    settings: dict,
    channels: int,
    bits: int,
    max_rejects: int,
    shard: str | Path,
    index: str | Path,
    cut: str | Path,
) -> None:
    """Write a shard of patches, its PATCH_INDEX, and what became of each readable image, CUT_IMAGES.

    Which patches of an image are kept depends on that image and the seed alone. All labels and
    splits are cut: who corrects a label cuts nothing again. An archive may have no patch to keep: whether
    there are enough shows when all are listed.

    Parameters
    ----------
    name : of the archive, which becomes the shard's
    images : from `images_of`
    settings : configuration section `patches` of a denoising study
    channels, bits : of a patch; bits 8 or 16
    max_rejects : unreadable images to tolerate

    Raises
    ------
    InputError
        If more are unreadable. Nothing is written then.
    """
    size, rows, cuts = settings["size"], [], []
    seen, rejected = set(), []
    shape = (size, size) if channels == 1 else (size, size, channels)
    with growing_array(shard, shape, DEPTHS[bits][0]) as append:
        for image in progress(images, f"cutting {name}"):
            pixels = image.pixels
            if image.image_id in seen:
                pixels = Unreadable("the archive has this image already")
            if isinstance(pixels, Unreadable):
                log.warning("%s: %s: %s", name, image.name, pixels)
                rejected.append(f"{image.name}: {pixels}")
                continue
            seen.add(image.image_id)
            height, width = pixels.shape[:2]
            grid = places(height, width, size, settings["stride"])
            shares = content(pixels, size, grid, 255 * settings["background"])
            chosen = kept(
                shares,
                settings["least_content"],
                settings["per_image"],
                settings["seed"],
                image.image_id,
            )
            for place in chosen:
                top, left = grid[place]
                patch = stored(pixels[top : top + size, left : left + size], bits)
                rows.append(
                    {
                        "image_id": f"{image.image_id}@{top},{left}",
                        "source_image_id": image.image_id,
                        "top": top,
                        "left": left,
                        "content": shares[place],
                        "shard": name,
                        "row": len(rows),
                        "sha256": hashlib.sha256(np.ascontiguousarray(patch)).hexdigest(),
                    }
                )
                append(patch)
            empty = int((shares < settings["least_content"]).sum())
            cuts.append(
                {
                    "source_image_id": image.image_id,
                    "width": width,
                    "height": height,
                    "mode": image.mode,
                    "places": len(grid),
                    "background": empty,
                    "left_out": len(grid) - empty - len(chosen),
                    "kept": len(chosen),
                }
            )
        if len(rejected) > max_rejects:
            raise InputError(
                f"{name}: {len(rejected)} images cannot be used, tensors.max_rejects allows "
                f"{max_rejects}: {'; '.join(rejected[:5])}. Mend the files, or raise tensors.max_rejects "
                "to go on without them."
            )
    write_table(table_of(rows, PATCH_INDEX), index, PATCH_INDEX)
    if not rows:
        log.warning(
            "%s: not one of %d images has a patch of %d x %d pixels of which %.0f %% are brighter than the "
            "background", name, len(cuts), size, size, 100 * settings["least_content"],
        )  # fmt: skip
    table = table_of(cuts, CUT_IMAGES)
    write_table(table, cut, CUT_IMAGES)
    log.info(
        "%s: %d patches of %d images; %d of background, %d beyond per_image",
        name, len(rows), len(table), table["background"].sum(), table["left_out"].sum(),
    )  # fmt: skip


if __name__ == "__main__":
    with step(snakemake) as config:
        part = snakemake.wildcards.archive
        cut_patches(
            part,
            images_of(config["source"], part, dict(snakemake.input.items())),
            config["patches"],
            config["source"]["channels"],
            config["bits"],
            config["max_rejects"],
            snakemake.output.shard,
            snakemake.output.index,
            snakemake.output.cut,
        )
