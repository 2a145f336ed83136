"""Join the patches with the cohort: each has the patient and the split of its image."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from workflow_scripts.common.errors import InputError, few
from workflow_scripts.common.files import write_text
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import CUT_IMAGES, IMAGES, METADATA, PATCH_INDEX, SPLITS
from workflow_scripts.common.tables import read_table, write_table


def list_patches(
    metadata: str | Path,
    indices: Sequence[str | Path],
    cuts: Sequence[str | Path],
    images: str | Path,
    patches: str | Path,
    report: str | Path,
) -> None:
    """Write the cohort's patches as IMAGES and as PATCH_INDEX, and what was cut and left out.

    Both tables have the same rows. The report counts images, patients and patches by split, what was
    dropped, and the images of the cohort that were not cut, since no archive has them or they could not
    be read.

    Parameters
    ----------
    metadata : METADATA of the cohort
    indices, cuts : PATCH_INDEX and CUT_IMAGES of every archive

    Raises
    ------
    InputError
        If a patient is in two splits, a split has no patch, or two archives hold the same image.
    """
    cohort = read_table(metadata, METADATA)
    index = pd.concat([read_table(path, PATCH_INDEX) for path in indices], ignore_index=True)
    cut = pd.concat([read_table(path, CUT_IMAGES) for path in cuts], ignore_index=True)
    if len(twins := sorted(set(cut.loc[cut["source_image_id"].duplicated(), "source_image_id"]))):
        raise InputError(
            f"{few(twins)}: in more than one archive. Remove one of the archives, or give the images "
            "different names."
        )
    of_source = cohort.rename(columns={"image_id": "source_image_id"})
    joined = index.merge(of_source, on="source_image_id").sort_values("image_id")
    counts = counted(joined)
    if counts["patients_in_two_splits"]:
        raise InputError(
            f"patients are in two splits: {few(counts['patients_in_two_splits'])}. {metadata} is not "
            "as the workflow made it: remove it and run again."
        )
    if empty := [name for name in SPLITS if not counts["splits"][name]["patches"]]:
        raise InputError(
            f"no patch is in the split {', '.join(empty)}. Use more images, or lower patches.size, "
            "patches.least_content or patches.background of the denoising study."
        )
    known = cut[cut["source_image_id"].isin(of_source["source_image_id"])]
    counts |= {
        "images_without_a_patch": int((known["kept"] == 0).sum()),
        "images_outside_the_cohort": len(cut) - len(known),
        "images_not_cut": len(of_source) - len(known),
        "places": int(known["places"].sum()),
        "dropped_as_background": int(known["background"].sum()),
        "left_out_by_per_image": int(known["left_out"].sum()),
        "kept": int(known["kept"].sum()),
    }
    write_table(joined[list(IMAGES.columns)], images, IMAGES)
    write_table(joined[list(PATCH_INDEX.columns)], patches, PATCH_INDEX)
    write_text(report, json.dumps(counts, indent=2) + "\n")
    for name, row in counts["splits"].items():
        log.info("%s: %s", name, ", ".join(f"{count} {what}" for what, count in row.items()))


def counted(joined: pd.DataFrame) -> dict:
    """Return images, patients and patches by split, and who is in two."""
    splits = joined.groupby("patient_id")["split"].nunique()
    by_split = {name: joined[joined["split"] == name] for name in SPLITS}
    return {
        "splits": {
            name: {
                "patients": int(rows["patient_id"].nunique()),
                "images": int(rows["source_image_id"].nunique()),
                "patches": len(rows),
            }
            for name, rows in by_split.items()
        },
        "patients_in_two_splits": sorted(splits.index[splits > 1]),
    }


if __name__ == "__main__":
    with step(snakemake):
        list_patches(
            snakemake.input.metadata,
            snakemake.input.indices,
            snakemake.input.cuts,
            snakemake.output.images,
            snakemake.output.patches,
            snakemake.output.report,
        )
