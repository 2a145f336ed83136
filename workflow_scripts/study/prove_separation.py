"""Prove, before an arm trains, that nothing behind it was given a validation or test subject.

The proof rests on recorded image ids, and names the SHA-256 of every file that it rests on, and of
the synthetic pixels: `train_arm` takes no others than those that were proved, and an auditor can
follow. What it cannot show, `limits` says.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from workflow_scripts.common.errors import InputError, few
from workflow_scripts.common.files import sha256_of, write_text
from workflow_scripts.common.findings import single_finding
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import ARM_IMAGES, IMAGES, SAMPLES, SEEN
from workflow_scripts.common.tables import read_table
from workflow_scripts.study.arms import COLUMNS, taken_shards

# What a training that left a record may have been to an arm.
ROLES = {
    "generator": "the generator of its synthetic images",
    "guide": "the worse model that guided the generator",
    "classifier": "the domain classifier",
}


@dataclass
class Statement:
    """What is claimed, the files it rests on, what was counted, and the images that break it."""

    statement: str
    rests_on: list[str]
    counts: dict[str, int]
    breaches: list[str]


def held_out(seen: pd.DataFrame, images: pd.DataFrame) -> list[str]:
    """Return the ids of `seen` that are no training image or of a subject who is held out.

    The subject is looked up by image, and the one recorded counts as well. An image that the table
    does not know is no training image.

    Parameters
    ----------
    seen : columns `image_id` and `patient_id`
    images : IMAGES, all splits
    """
    known = images.set_index("image_id")
    others = set(images.loc[images["split"] != "train", "patient_id"])
    bad = (
        (seen["image_id"].map(known["split"]) != "train")
        | seen["image_id"].map(known["patient_id"]).isin(others)
        | seen["patient_id"].isin(others)
    )
    return sorted(seen.loc[bad, "image_id"])


def strangers(rows: pd.DataFrame, table: pd.DataFrame, columns: list[str]) -> list[str]:
    """Return the ids of `rows` that do not stand in `table` with the same values in `columns`."""
    known = set(table[columns].itertuples(index=False, name=None))
    found = [row[0] for row in rows[columns].itertuples(index=False, name=None) if row not in known]
    return sorted(map(str, found))


def seen_statement(role: str, path: Path, images_path: Path) -> Statement:
    """State that the training of `role` was given no validation or test subject."""
    seen = read_table(path, SEEN)
    return Statement(
        f"Every image that {ROLES[role]} was given to train on is of the training split, and no subject "
        "of it is in the validation or test split",
        [str(path), str(images_path)],
        {"images": len(seen), "patients": seen["patient_id"].nunique()},
        held_out(seen, read_table(images_path, IMAGES)),
    )


def arm_statements(
    training: pd.DataFrame, images: pd.DataFrame, arm_path: Path, images_path: Path
) -> Iterator[Statement]:
    """State of the arm's real images whose they are, what they show and where their pixels are."""
    real = training[~training["synthetic"]]
    rests_on = [str(arm_path), str(images_path)]
    counts = {"images": len(real), "patients": real["patient_id"].nunique()}
    yield Statement(
        "Every real image of the arm is of the training split, and no subject of it is in the "
        "validation or test split",
        rests_on,
        counts,
        held_out(real, images),
    )
    yield Statement(
        "Every real image of the arm shows one finding, and its subject, class and place in the "
        "image store are those of the image table",
        rests_on,
        {"images": len(real)},
        strangers(real, images[single_finding(images)], COLUMNS),
    )
    twice = training.duplicated("image_id") | training.duplicated(["shard", "row"])
    yield Statement(
        "No image is in the arm twice, neither by its id nor by its place in the image store",
        [str(arm_path)],
        {"images": len(training)},
        sorted(training.loc[twice, "image_id"]),
    )


def origin_statement(
    training: pd.DataFrame,
    samples_path: Path | None,
    shards: list[Path],
    arm_path: Path,
    source: str | None,
) -> Statement:
    """State that the synthetic images bear one model's and sampler's name, or that there are none.

    It rests on the pixels too: those of another drawing are refused.
    """
    made = training[training["synthetic"]]
    if samples_path is None or source is None:
        return Statement(
            "No image of the arm is synthetic",
            [str(arm_path)],
            {"images": 0},
            list(made["image_id"]),
        )
    samples = read_table(samples_path, SAMPLES)
    own = samples[samples["image_id"].str.startswith(f"{source}/")]
    return Statement(
        f"Every synthetic image of the arm bears the name of {source} (model and sampler), and its "
        "class and place in the image store are those of the table of samples",
        [str(arm_path), str(samples_path), *map(str, taken_shards(training, shards))],
        {"images": len(made)},
        strangers(made, own, [name for name in COLUMNS if name != "patient_id"]),
    )


def limits(seen: dict[str, Path], patients: float, spaces: list[str]) -> list[str]:
    """Return what the proof does not say, in sentences.

    Parameters
    ----------
    seen : the records of trainings, by role
    patients : share of the training subjects that every arm may use
    spaces : feature spaces of the audit by which synthetic images were left out, if any were
    """
    found = [
        "A subject is an id of the label table: one person under two ids, or one image twice under "
        "two names, was not looked for.",
        "The pixels of the real images were not compared with anything: that an image is the one its "
        "id names rests on the image store.",
        "People chose the settings; nothing proves on which results.",
    ]
    if "generator" in seen:
        found.append(
            "That the synthetic images were drawn with these weights rests on their names alone."
        )
        found.append(
            "Validation images chose which average of the generator's weights is drawn from "
            "(choose_average); no test image did."
        )
        if patients < 1:
            found.append(
                f"The arm may use a share of {patients:g} of the training subjects; the generator "
                "learned from all of them."
            )
    if spaces:
        found.append(
            "Validation images set the distances below which synthetic images were left out as copies "
            "(audit_copies); no test image did."
        )
    foreign = [space for space in spaces if space not in ("pixels", "domain")]
    if foreign:
        found.append(
            f"The weights of {', '.join(foreign)}, by which copies were looked for, were trained "
            "elsewhere; which images they saw is not recorded here."
        )
    return found


def prove_separation(
    images_path: Path,
    arm_path: Path,
    samples_path: Path | None,
    shards: list[Path],
    seen: dict[str, Path],
    proof_path: Path,
    study: str,
    arm: str,
    source: str | None,
    patients: float,
    spaces: list[str],
) -> None:
    """Write the proof (JSON): each statement with its files and counts, and what is not proved.

    Parameters
    ----------
    samples_path : SAMPLES; None where the arm takes no synthetic images
    shards : the pixels of `samples_path`
    seen : records of trainings (SEEN), by role (see `ROLES`)
    source : "<model>/<sampler>" of the synthetic images; None where the arm takes none
    patients, spaces : see `limits`

    Raises
    ------
    InputError
        If a statement does not hold, with the images that break it; nothing is written.
    """
    images, training = read_table(images_path, IMAGES), read_table(arm_path, ARM_IMAGES)
    statements = [
        *arm_statements(training, images, arm_path, images_path),
        origin_statement(training, samples_path, shards, arm_path, source),
        *(seen_statement(role, path, images_path) for role, path in sorted(seen.items())),
    ]
    for one in statements:
        if one.breaches:
            raise InputError(
                f"studies.{study}.arms.{arm}: this does not hold: {one.statement}. The images "
                f"{few(one.breaches)} break it ({', '.join(one.rests_on)}). The arm's result would "
                "mean nothing. Make the splits, the models and the samples anew."
            )
    parts = {name: images[images["split"] == name] for name in ("val", "test")}
    proof = {
        "study": study,
        "arm": arm,
        "held_out": {
            name: {"images": len(part), "patients": part["patient_id"].nunique()}
            for name, part in parts.items()
        },
        "statements": [
            {name: value for name, value in asdict(one).items() if name != "breaches"}
            for one in statements
        ],
        "limits": limits(seen, patients, spaces),
        "sha256": {
            path: sha256_of(path) for path in sorted({p for s in statements for p in s.rests_on})
        },
    }
    write_text(proof_path, json.dumps(proof, indent=2) + "\n")


if __name__ == "__main__":
    with step(snakemake) as config:
        given = snakemake.input
        prove_separation(
            Path(given.images),
            Path(given.arm),
            Path(given.samples) if given.get("samples") else None,
            [Path(path) for path in given.get("arm_shards", [])],
            {role: Path(given[role]) for role in ROLES if given.get(role)},
            Path(snakemake.output[0]),
            **config,
        )
