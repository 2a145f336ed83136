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

CHUNK = 1024  # images in memory at a time
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
    store = ImageStore(rows, shards)
    parts = np.array_split(np.arange(len(rows)), -(-len(rows) // CHUNK))
    table = rows[["image_id", "patient_id", "class_id", "class_name", "split"]]
    found = []
    for method, level, path in progress(versions, "scoring", unit="version"):
        healed = open_shard(path)
        if len(healed) != len(rows):
            raise InputError(f"{path} holds {len(healed)} images, not {len(rows)}. {REMAKE}")
        score, where = [], {}
        for part in parts:
            maps = residual_maps(store.gather(part), healed[part])
            score.append(image_scores(maps))
            where |= {k: located(maps[k - part[0]], known[k]) for k in part if k in known}
        own = table.assign(method=method, level=level, score=np.concatenate(score))
        found.append(own.join(with_dice(where, rows["split"])))
    rows = pd.concat(found).to_dict("records")
    write_table(table_of(rows, ANOMALY_SCORES), scores, ANOMALY_SCORES)


def located(residual: np.ndarray, region: np.ndarray) -> dict:
    """Return how well a map shows a region: measures by name, and Dice at every threshold as `curve`.

    Parameters
    ----------
    residual : (height, width)
    region : bool (height, width)
    """
    return {
        "region": float(region.mean()),
        "pixel_auroc": pixel_auroc(residual, region),
        "average_precision": average_precision(residual, region),
        "hit": float(peak_inside(residual, region)),
        "curve": dice_curve(residual, region),
    }


def with_dice(where: dict[int, dict], split: pd.Series) -> pd.DataFrame:
    """Return one row for each image that was `located`, by its position, with Dice at one threshold.

    The one of the highest mean over validation images; without any there is no Dice.

    Parameters
    ----------
    split : of every image
    """
    columns = ["region", "pixel_auroc", "average_precision", "hit"]
    table = pd.DataFrame(where.values(), index=list(where), columns=columns, dtype=float)
    table["dice"], table["threshold"] = np.nan, np.nan
    chooses = split.loc[table.index].to_numpy() == "val"
    if chooses.any():
        curves = np.array([one["curve"] for one in where.values()])
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
