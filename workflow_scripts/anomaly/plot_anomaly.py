"""Draw what a search shows: AUROC against noise, each finding, and examples."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.anomaly.figures import (
    Example,
    Healed,
    draw_examples,
    draw_findings,
    draw_sweep,
)
from workflow_scripts.anomaly.judged import judged_images
from workflow_scripts.anomaly.residuals import residual_maps
from workflow_scripts.anomaly.score_images import Version, true_regions
from workflow_scripts.common.figures import save_figure
from workflow_scripts.common.levels import shown
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import ANOMALY_SCORES, ANOMALY_SUMMARY, IMAGES
from workflow_scripts.common.store import ImageStore, open_shard
from workflow_scripts.common.tables import read_table


def plot_anomaly(
    summary_path: Path,
    scores_path: Path,
    images: Path,
    shards: list[Path],
    versions: Sequence[Version],
    regions: Sequence[Path],
    masks: Sequence[Path],
    figures: dict[str, Path],
    config: dict,
) -> None:
    """Write three figures (PNG).

    Parameters
    ----------
    versions, regions, masks : as of `score_images`
    figures : outputs, `sweep`, `findings` and `examples`
    config : `classes`, `healthy`, `per_class`, `seed`, and `phantom`, whether the films are drawn ones
    """
    summary = read_table(summary_path, ANOMALY_SUMMARY)
    save_figure(draw_sweep(summary, config["phantom"]), figures["sweep"])
    save_figure(draw_findings(summary, config["phantom"]), figures["findings"])
    rows = judged_images(read_table(images, IMAGES), config["per_class"], config["seed"])
    rows = rows.reset_index(drop=True)
    picked = typical(read_table(scores_path, ANOMALY_SCORES), summary, config["classes"])
    places = [int(np.flatnonzero(rows["image_id"] == image)[0]) for image in picked]
    known = true_regions(rows, regions, masks)
    pixels = ImageStore(rows, shards).gather(np.array(places))
    chosen = set(summary.loc[summary["chosen"], ["method", "level"]].itertuples(False, None))
    healed = [
        (method, level, np.asarray(open_shard(path)[places]))
        for method, level, path in versions
        if (method, level) in chosen
    ]
    maps = [residual_maps(pixels, version) for *_, version in healed]
    examples = [
        Example(
            title=rows["class_name"][place],
            picture=shown(pixels)[k],
            healed=[
                Healed(method, level, shown(version)[k], residual[k])
                for (method, level, version), residual in zip(healed, maps, strict=True)
            ],
            region=known.get(place),
        )
        for k, place in enumerate(places)
    ]
    save_figure(draw_examples(examples, config["phantom"]), figures["examples"])


def typical(scores: pd.DataFrame, summary: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """Return one test image of each class: the one in the middle by its score.

    By that of the first method at its chosen level; neither the best nor the worst is picked.
    """
    first = summary[summary["chosen"]].iloc[0]
    own = scores[
        (scores["split"] == "test")
        & (scores["method"] == first["method"])
        & (scores["level"] == first["level"])
    ]
    found = []
    for name in classes:
        ranked = own[own["class_name"] == name].sort_values(["score", "image_id"])
        if len(ranked):
            found.append(ranked["image_id"].iloc[(len(ranked) - 1) // 2])
    return found


if __name__ == "__main__":
    with step(snakemake) as config:
        plot_anomaly(
            Path(snakemake.input.summary),
            Path(snakemake.input.scores),
            Path(snakemake.input.images),
            [Path(path) for path in snakemake.input.shards],
            [
                (*version, Path(path))
                for version, path in zip(config["versions"], snakemake.input.healed, strict=True)
            ],
            [Path(path) for path in snakemake.input.regions],
            [Path(path) for path in snakemake.input.masks],
            {name: Path(snakemake.output[name]) for name in ("sweep", "findings", "examples")},
            config,
        )
