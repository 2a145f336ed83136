"""The schema of every table that one stage writes and another reads.

`results/README.md` explains the columns to a person; a test holds the two together.
"""

import pandera.pandas as pa

SPLITS = ("train", "val", "test")
MACRO = "macro"  # stands for a class where a measure is the mean over classes
POOLED = "pooled"  # stands for a class where a measure is of all classes' images together


def text(**options) -> pa.Column:
    return pa.Column(str, **options)


def whole(**options) -> pa.Column:
    return pa.Column("int64", pa.Check.ge(0), **options)


def number(low: float | None = None, high: float | None = None, **options) -> pa.Column:
    checks = [pa.Check.ge(low)] if low is not None else []
    checks += [pa.Check.le(high)] if high is not None else []
    return pa.Column("float64", checks, **options)


def one_of(*values: str, **options) -> pa.Column:
    return pa.Column(str, pa.Check.isin(values), **options)


def table(columns: dict[str, pa.Column], strict: bool = True, **options) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(columns, strict=strict, **options)


IMAGE = {"image_id": text(unique=True), "patient_id": text()}
CLASS = {"class_id": whole(), "class_name": text()}
FINDINGS = {"findings": text()}
PERSON = {
    "age_years": number(0, 120, nullable=True),
    "sex": one_of("F", "M", nullable=True),
    "view": text(nullable=True),
}

# acquire
FILES = table({"image_id": text(unique=True), "bytes": whole(), "part": text()})

SIDE = ("right", "left", "none")
PHANTOM_TRUTH = table(
    IMAGE
    | {
        "archive": text(),
        "follow_up": whole(),
        "findings": text(),
        "age_years": whole(),
        "age_written": whole(),
        "sex": one_of("F", "M"),
        "view": one_of("PA", "AP"),
        "mode": one_of("L", "RGBA"),
        "anatomy_seed": whole(),
        "film_seed": whole(),
        "habitus": number(0),
        "thorax_width": number(0),
        "lung_height": number(0),
        "rotation": number(-45, 45),
        "lean": number(-45, 45),
        "offset_x": number(),
        "offset_y": number(),
        "aortic_knob": number(0),
        "bone_density": number(0),
        "breast": number(0),
        "cardiothoracic_ratio": number(0, 1),
        "exposure": number(),
        "contrast": number(0),
        "photons": number(0),
        "effusion_side": one_of(*SIDE),
        "effusion_height": number(0, 1),
        "pneumothorax_side": one_of(*SIDE),
        "pneumothorax_width": number(0, 1),
        "atelectasis_lobe": one_of(
            "right upper", "right lower", "left upper", "left lower", "none"
        ),
        "atelectasis_opacity": number(0, 1),
        "mediastinal_shift": number(),
        "diaphragm_elevation": number(0),
        "consolidation_side": one_of(*SIDE),
        "consolidation_x": number(0, 1),
        "consolidation_y": number(0, 1),
        "consolidation_extent": number(0, 1),
        "consolidation_opacity": number(0, 1),
        "nodule_side": one_of(*SIDE),
        "nodule_x": number(0, 1),
        "nodule_y": number(0, 1),
        "nodule_radius": number(0),
        "infiltration": number(0, 1),
        "origin": one_of("phantom"),
    }
)

# curate. `labels` has one boolean column per finding beside these.
LABELS = table(IMAGE | PERSON, strict=False)
LABEL_ISSUES = table({"image_id": text(), "column": text(), "value": text(), "reason": text()})
COHORT = table(IMAGE | CLASS | FINDINGS | PERSON)
EXCLUSIONS = table(IMAGE | {"reason": text(), "detail": text()})
SPLIT = table(IMAGE | CLASS)
METADATA = table(IMAGE | CLASS | FINDINGS | PERSON | {"split": one_of(*SPLITS)})

# tensors
SHARD_INDEX = table(
    {
        "image_id": text(unique=True),
        "shard": text(),
        "row": whole(),
        "sha256": text(),
        "width": whole(),
        "height": whole(),
        "mode": text(),
    }
)
REJECTS = table({"archive": text(), "member": text(), "image_id": text(), "reason": text()})
UNMATCHED = table({"image_id": text(unique=True), "found_in": text(), "reason": text()})
IMAGES = table(
    IMAGE | CLASS | FINDINGS | PERSON | {"split": one_of(*SPLITS), "shard": text(), "row": whole()}
)

# training. `sigma_rel` is the width of an average's profile as a share of the training.
TRAINING_LOG = table(
    {
        "step": whole(),
        "images": whole(),
        "loss": number(0),
        "validation_loss": number(0, nullable=True),
        "learning_rate": number(0),
        "gradient_norm": number(0),
    }
)
AVERAGES = table(
    {"sigma_rel": number(0, 1), "validation_loss": number(0), "chosen": pa.Column(bool)}
)

# sampling
SAMPLES = table(
    {
        "image_id": text(unique=True),
        "shard": text(),
        "row": whole(),
        "class_id": whole(),
        "class_name": text(),
        "seed": whole(),
    }
)

# classifier
CLASSIFIER_LOG = table({"step": whole(), "loss": number(0), "learning_rate": number(0)})

# evaluate. `name` is what the value may be called: a published name only with published weights.
# Of each measure there are three values: of synthetic images, and of as many real ones of other
# patients, unseen (`floor`: validation) and seen in training (`train`). What the search for copies
# finds where there are none is `expected`, at most `expected_high` in 97.5 % of cases.
METRICS = table(
    {
        "metric": text(),
        "name": text(),
        "extractor": text(),
        "weights_sha256": text(nullable=True),
        "class_name": text(),
        "n": whole(),
        "n_reference": whole(),
        "value": number(),
        "low": number(nullable=True),
        "high": number(nullable=True),
        "interval": text(),
        "floor": number(),
        "train": number(),
        "expected": number(0, 1, nullable=True),
        "expected_high": number(0, 1, nullable=True),
        "seed": whole(),
    }
)
CONFUSION = table({"asked": text(), "seen": text(), "images": whole()})
# One row per model and sampler. Beside these, of every feature space `kernel_distance_<extractor>`
# with its `_low`, `_high` and `_floor`.
COMPARISON = table(
    {
        "model": text(),
        "sampler": text(),
        "process": one_of("ddpm", "vp_sde", "edm"),
        "schedule": text(),
        "prediction": text(),
        "training_steps": whole(),
        "images_seen": whole(),
        "training_tflop": number(0),
        "method": text(),
        "steps": whole(),
        "guidance": number(0),
        "evaluations": whole(),
        "sampling_gflop": number(0),
        "n": whole(),
        "class_accuracy": number(0, 1),
        "class_accuracy_low": number(0, 1),
        "class_accuracy_high": number(0, 1),
        "class_accuracy_floor": number(0, 1),
        "class_accuracy_n": whole(),
        r"^kernel_distance_[a-z0-9]+(_low|_high|_floor)?$": number(
            nullable=True, regex=True, required=False
        ),
    }
)

# study. Predictions have one column `p_<class_id>` per class beside these.
ARMS = table({"arm": text()} | CLASS | {"real": whole(), "synthetic": whole()})
PREDICTIONS = table(
    IMAGE
    | CLASS
    | {"arm": text(), "seed": whole(), r"^p_\d+$": number(0, 1, regex=True, required=False)},
    strict=False,
)
# `resamples` of the bootstrap held every class that the measure needs; the intervals rest on them.
# `positives` are the test images of the class; of all classes for what is taken over classes.
SUMMARY = table(
    {
        "metric": one_of("auroc", "auprc", "balanced_accuracy"),
        "class_name": text(),
        "arm": text(),
        "primary": pa.Column(bool),
        "n_images": whole(),
        "n_patients": whole(),
        "positives": whole(),
        "positive_patients": whole(),
        "seeds": whole(),
        "value": number(0, 1),
        "low": number(0, 1),
        "high": number(0, 1),
        "seed_sd": number(0, nullable=True),
        "difference": number(-1, 1, nullable=True),
        "difference_low": number(-1, 1, nullable=True),
        "difference_high": number(-1, 1, nullable=True),
        "difference_seed_sd": number(0, nullable=True),
        "resamples": whole(),
    }
)
