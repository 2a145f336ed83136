"""Join the cohort with the shards: which image is where, and what has no match."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import (
    IMAGES,
    LABELS,
    METADATA,
    REJECTS,
    SHARD_INDEX,
    SPLITS,
    UNMATCHED,
)
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.tensors.rejects import refuse_excess

NOT_FOUND = "in the table, in no archive"
NOT_LISTED = "in an archive, not in the table"


def select_images(
    metadata: str | Path,
    labels: str | Path,
    indices: Sequence[str | Path],
    rejects: Sequence[str | Path],
    classes: Sequence[str],
    max_missing: int | None,
    max_rejects: int,
    images: str | Path,
    unmatched: str | Path,
) -> None:
    """Write IMAGES, the cohort's images that have pixels, and UNMATCHED, what stands alone.

    Parameters
    ----------
    metadata, labels : METADATA of the cohort and LABELS of the whole label table
    indices, rejects : SHARD_INDEX and REJECTS of every archive
    classes : names of the classes, each of which needs an image in every split
    max_missing : images of the cohort that may lack pixels; None for any number
    max_rejects : unreadable files that an archive may have. Asked for again where all archives meet:
        one that was decoded when more were allowed is not decoded again

    Raises
    ------
    InputError
        If more are missing or unreadable, a class has no image in a split, or two archives hold the same image.
    """
    cohort = read_table(metadata, METADATA)
    table = read_table(labels, LABELS)
    shards = pd.concat([read_table(path, SHARD_INDEX) for path in indices], ignore_index=True)
    refused = pd.concat([read_table(path, REJECTS) for path in rejects], ignore_index=True)
    refuse_twins(shards)
    for archive, rows in refused.groupby("archive"):
        refuse_excess(archive, list(rows.itertuples(index=False, name=None)), max_rejects)

    reasons = dict(zip(refused["image_id"], refused["reason"], strict=True))
    alone = unmatched_images(table["image_id"], shards, reasons)
    selected = cohort.merge(shards[["image_id", "shard", "row"]], on="image_id")
    missing = sorted(set(cohort["image_id"]) - set(selected["image_id"]))
    log.info(
        "%d of the cohort's %d images have pixels; %d images of the table are in no archive, "
        "%d images of archives are not in the table",
        len(selected),
        len(cohort),
        (alone["found_in"] == "table").sum(),
        (alone["found_in"] != "table").sum(),
    )
    if max_missing is not None and len(missing) > max_missing:
        lines = "".join(f"\n  {name}: {reasons.get(name, NOT_FOUND)}" for name in missing[:5])
        more = f"\n  and {len(missing) - 5:,} more" if len(missing) > 5 else ""
        raise InputError(
            f"{len(missing):,} of the cohort's {len(cohort):,} images have no pixels, "
            f"tensors.max_missing allows {max_missing:,}:{lines}{more}\n"
            "Add the archives that hold them, or raise tensors.max_missing (null: any number)."
        )
    refuse_gaps(selected, classes)
    write_table(selected.sort_values("image_id"), images, IMAGES)
    write_table(alone, unmatched, UNMATCHED)


def unmatched_images(
    listed: pd.Series, shards: pd.DataFrame, reasons: dict[str, str]
) -> pd.DataFrame:
    """Return UNMATCHED: ids of the table without pixels, and pixels without a row of the table."""
    absent = sorted(set(listed) - set(shards["image_id"]))
    extra = shards.loc[~shards["image_id"].isin(listed)].sort_values("image_id")
    rows = [(name, "table", reasons.get(name, NOT_FOUND)) for name in absent]
    rows += [
        (name, shard, NOT_LISTED)
        for name, shard in zip(extra["image_id"], extra["shard"], strict=True)
    ]
    return pd.DataFrame(rows, columns=list(UNMATCHED.columns), dtype=str)


def refuse_twins(shards: pd.DataFrame) -> None:
    """Raise an `InputError` if an image id is in two archives: which one counts is unknown."""
    twins = shards[shards["image_id"].duplicated(keep=False)].sort_values(["image_id", "shard"])
    if len(twins):
        name = twins["image_id"].iloc[0]
        places = " and ".join(twins.loc[twins["image_id"] == name, "shard"])
        raise InputError(
            f"{twins['image_id'].nunique():,} images are in more than one archive, among them {name} "
            f"in {places}. Remove one of the archives, or give the images different names."
        )


def refuse_gaps(selected: pd.DataFrame, classes: Sequence[str]) -> None:
    """Raise an `InputError` that names every class without an image in some split.

    An image with other findings as well does not count: none that judges would use it.
    """
    own = selected[single_finding(selected)]
    counts = pd.crosstab(own["class_name"], own["split"])
    counts = counts.reindex(index=list(classes), columns=list(SPLITS), fill_value=0)
    gaps = [
        f"{name} has none in {split}"
        for name in classes
        for split in SPLITS
        if not counts.at[name, split]
    ]
    if gaps:
        raise InputError(
            f"a class has no image of its own in some split: {'; '.join(gaps)}. Use more archives, "
            "leave the class out of cohort.classes, or change split.seed or split.fractions."
        )


if __name__ == "__main__":
    with step(snakemake) as config:
        select_images(
            snakemake.input.metadata,
            snakemake.input.labels,
            snakemake.input.indices,
            snakemake.input.rejects,
            config["classes"],
            config["max_missing"],
            config["max_rejects"],
            snakemake.output.images,
            snakemake.output.unmatched,
        )
