"""Score every image by its residual map, and how well the map shows where the finding is."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.anomaly.judged import judged_images
from workflow_scripts.anomaly.residuals import (
    average_precision,
    dice_curve,
    image_scores,
    peak_inside,
    pixel_auroc,
    residual_maps,
)
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import REMAKE
from workflow_scripts.common.runtime import log, progress, step
from workflow_scripts.common.schemas import ANOMALY_SCORES, IMAGES, REGIONS
from workflow_scripts.common.store import ImageStore, open_shard
from workflow_scripts.common.tables import read_table, table_of, write_table

Version = tuple[str, float, Path]  # method, level and the file of the healthy versions


def score_images(
    images: Path,
    shards: list[Path],
    versions: Sequence[Version],
    regions: Sequence[Path],
    masks: Sequence[Path],
    scores: Path,
    settings: dict,
) -> None:
    """Write one row for each image and each way to make it healthy.

    Parameters
    ----------
    images : table IMAGES
    shards : the image store's shards
    versions : files whose rows are those of `judged_images`
    regions, masks : tables REGIONS and the shards that they name; none where nobody knows where
        findings are
    scores : output, table ANOMALY_SCORES
    settings : `per_class` and `seed`, of an entry of `anomaly`
    """
    rows = judged_images(read_table(images, IMAGES), settings["per_class"], settings["seed"])
    rows = rows.reset_index(drop=True)
    known = true_regions(rows, regions, masks)
    log.info("%d of %d images have a known region", len(known), len(rows))
    pixels = ImageStore(rows, shards).all()
    found = []
    for method, level, path in progress(versions, "scoring", unit="version"):
        healed = open_shard(path)
        if len(healed) != len(rows):
            raise InputError(f"{path} holds {len(healed)} images, not {len(rows)}. {REMAKE}")
        maps = residual_maps(pixels, np.asarray(healed))
        table = rows[["image_id", "patient_id", "class_id", "class_name", "split"]].assign(
            method=method,
            level=level,
            score=image_scores(maps),
        )
        found.append(table.join(located(maps, known, rows["split"])))
    write_table(
        table_of(pd.concat(found).to_dict("records"), ANOMALY_SCORES), scores, ANOMALY_SCORES
    )


def located(maps: np.ndarray, known: dict[int, np.ndarray], split: pd.Series) -> pd.DataFrame:
    """Return how well maps show known regions: one row for each image of these, by its position.

    The threshold behind `dice` is the one of the highest mean over validation images with a region;
    without any there is no Dice.

    Parameters
    ----------
    maps : (n, height, width)
    known : by the positions of images, their regions, bool (height, width)
    split : of each image
    """
    where = sorted(known)
    measured = [
        {
            "region": float(known[k].mean()),
            "pixel_auroc": pixel_auroc(maps[k], known[k]),
            "average_precision": average_precision(maps[k], known[k]),
            "hit": float(peak_inside(maps[k], known[k])),
        }
        for k in where
    ]
    columns = ["region", "pixel_auroc", "average_precision", "hit"]
    table = pd.DataFrame(measured, index=where, columns=columns, dtype=float)
    curves = np.array([dice_curve(maps[k], known[k]) for k in where])
    chooses = split.loc[where].to_numpy() == "val"
    table["dice"], table["threshold"] = np.nan, np.nan
    if chooses.any():
        best = int(curves[chooses].mean(axis=0).argmax())
        table["dice"], table["threshold"] = curves[:, best], float(best)
    return table


def true_regions(
    rows: pd.DataFrame, regions: Sequence[Path], masks: Sequence[Path]
) -> dict[int, np.ndarray]:
    """Return the regions of images' own findings: bool (height, width) by position in `rows`.

    An image whose finding has no region, or one of no pixel or of all, is left out.
    """
    if not regions:
        return {}
    table = pd.concat([read_table(path, REGIONS) for path in regions], ignore_index=True)
    arrays = {path.stem: open_shard(path) for path in masks}
    place = {key: k for k, key in enumerate(zip(rows["image_id"], rows["class_name"], strict=True))}
    return dict(sorted(own_regions(table, arrays, place)))


def own_regions(
    table: pd.DataFrame, arrays: dict[str, np.ndarray], place: dict[tuple[str, str], int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the position and the region of each row whose image and finding have a `place`."""
    for region in table.itertuples():
        position = place.get((region.image_id, region.finding))
        if position is None:
            continue
        mask = arrays[region.shard][region.row] > 0
        if 0 < mask.sum() < mask.size:
            yield position, mask


if __name__ == "__main__":
    with step(snakemake) as config:
        score_images(
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            [
                (*version, Path(path))
                for version, path in zip(config["versions"], snakemake.input.healed, strict=True)
            ],
            [Path(path) for path in snakemake.input.regions],
            [Path(path) for path in snakemake.input.masks],
            Path(snakemake.output.scores),
            config,
        )
