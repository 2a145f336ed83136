"""The schema of every table that one stage writes and another reads.

`results/README.md` explains the columns to a person; a test holds the two together.
"""

import pandera.pandas as pa

SPLITS = ("train", "val", "test")


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
PERSON = {
    "age_years": number(0, 120, nullable=True),
    "sex": one_of("F", "M", nullable=True),
    "view": text(nullable=True),
}

# acquire
FILES = table({"image_id": text(unique=True), "path": text(), "bytes": whole(), "part": text()})

# curate. `labels` has one boolean column per finding beside these.
LABELS = table(IMAGE | PERSON, strict=False)
LABEL_ISSUES = table({"image_id": text(), "column": text(), "value": text(), "reason": text()})
COHORT = table(IMAGE | CLASS | PERSON)
EXCLUSIONS = table(IMAGE | {"reason": text(), "detail": text()})
METADATA = table(IMAGE | CLASS | PERSON | {"split": one_of(*SPLITS)})

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
REJECTS = table({"archive": text(), "member": text(), "reason": text()})
IMAGES = table(IMAGE | CLASS | PERSON | {"split": one_of(*SPLITS), "shard": text(), "row": whole()})

# diffusion
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

# evaluate. `comparison` says what was compared with the test split: synthetic images, or real ones
# of other patients (`floor`: validation; `train`: training) in the same number.
METRICS = table(
    {
        "metric": text(),
        "extractor": text(),
        "weights_sha256": text(nullable=True),
        "class_name": text(),
        "n": whole(),
        "n_reference": whole(),
        "value": number(),
        "low": number(nullable=True),
        "high": number(nullable=True),
        "interval": text(),
        "floor": number(nullable=True),
        "train": number(nullable=True),
        "seed": whole(),
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
