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


def counted(**options) -> pa.Column:
    return pa.Column("int64", pa.Check.ge(1), **options)


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
# Images that are parts of larger files, a row for each file that gives channels of one.
LISTING = table(
    {
        "image_id": text(),
        "part": text(),
        "channel": whole(),
        "file": text(),
        "frame": whole(),
        "position": whole(),
        "low": number(nullable=True),
        "high": number(nullable=True),
    },
    unique=["image_id", "channel"],
)
# Stands for the files of a data set where they would be inputs of a rule.
DATA_FILES = table({"file": text(unique=True), "bytes": whole(), "sha256": text()})
DROPPED = table({"image_id": text(unique=True), "reason": text()})

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

# acquire, tensors. Where findings are: each row one finding of one image, its region in a shard of
# masks, 1 inside and 0 outside.
REGIONS = table(
    {
        "image_id": text(),
        "finding": text(),
        "shard": text(),
        "row": whole(),
        "pixels": whole(),
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
# Stands for the shards of an image store where they would be inputs of a rule.
SHARDS = table({"path": text(unique=True), "images": whole(), "sha256": text()})
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

# features. Images that judges are tried out on: noise, and copies planted among training images.
CONTROLS = table(
    {
        "image_id": text(unique=True),
        "shard": text(),
        "row": whole(),
        "class_name": text(nullable=True),
        "source_image_id": text(nullable=True),
    }
)

# evaluate. `name` is what the value may be called: a published name only with published weights.
# Of each measure there are four values: of synthetic images, of as many real ones of other
# patients, unseen (`floor`: validation; of copies: test) and seen in training (`train`), and of
# what fails altogether (`ceiling`, named in `ceiling_of`). What the search for copies finds where
# there are none is `expected`, at most `expected_high` in 97.5 % of cases.
METRICS = table(
    {
        "metric": text(),
        "name": text(),
        "extractor": text(),
        "weights_sha256": text(nullable=True),
        "class_name": text(),
        "n": counted(),
        "n_reference": counted(),
        "value": number(),
        "low": number(nullable=True),
        "high": number(nullable=True),
        "interval": text(),
        "floor": number(),
        "train": number(nullable=True),
        "ceiling": number(),
        "ceiling_of": one_of("wrong class", "noise", "chance", "planted copies", "equal images"),
        "expected": number(0, 1, nullable=True),
        "expected_high": number(0, 1, nullable=True),
        "seed": whole(),
    }
)
# Of each synthetic image in each feature space: its nearest training image, and whether it is
# nearer to it than `threshold`.
COPIES = table(
    {
        "image_id": text(),
        "class_name": text(),
        "extractor": text(),
        "nearest_image_id": text(),
        "distance": number(0),
        "threshold": number(0),
        "copied": pa.Column(bool),
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

# training, classifier. The images that a training saw.
SEEN = table({"image_id": text(unique=True), "patient_id": text()})

# study. What each arm trains on: as planned, and image by image (`patient_id` of real ones).
ARMS = table({"arm": text()} | CLASS | {"real": whole(), "synthetic": whole()})
ARM_IMAGES = table(
    {"image_id": text(unique=True), "patient_id": text(nullable=True)}
    | CLASS
    | {"shard": text(), "row": whole(), "synthetic": pa.Column(bool)}
)
# Predictions have one column `p_<class_id>` per class beside these.
PREDICTIONS = table(
    IMAGE
    | CLASS
    | {
        "sex": one_of("F", "M", nullable=True),
        "view": text(nullable=True),
        "arm": text(),
        "seed": whole(),
        r"^p_\d+$": number(0, 1, regex=True, required=False),
    },
    strict=False,
)
ENOUGH_PATIENTS = 20  # in test, with a class and without it: fewer make nothing significant
# `resamples` of the bootstrap held every class that the measure needs; the intervals rest on them.
# `positives` are the test images of the class; of all classes for what is taken over classes.
SUMMARY = table(
    {
        "metric": one_of("auroc", "auprc", "balanced_accuracy", "brier", "calibration_error"),
        "class_name": text(),
        "arm": text(),
        "primary": pa.Column(bool),
        "n_images": counted(),
        "n_patients": counted(),
        "positives": counted(),
        "positive_patients": counted(),
        "fewest_patients": whole(),
        "seeds": counted(),
        "value": number(0),
        "low": number(0),
        "high": number(0),
        "seed_sd": number(0, nullable=True),
        "difference": number(nullable=True),
        "difference_low": number(nullable=True),
        "difference_high": number(nullable=True),
        "difference_seed_sd": number(0, nullable=True),
        "p_value": number(0, 1, nullable=True),
        "p_holm": number(0, 1, nullable=True),
        "significant": pa.Column(bool),
        "delong_low": number(nullable=True),
        "delong_high": number(nullable=True),
        "detectable": number(0, nullable=True),
        "resamples": whole(),
    }
)
# The same of a cross-validation: positives count once, however many repeats test them.
POOLED_SUMMARY = SUMMARY.remove_columns(["delong_low", "delong_high"]).add_columns(
    {"folds": counted(), "repeats": counted()}
)
# Macro AUROC by view and by sex, the mean of `classes` classes; `group` is "gap" for the largest
# difference between groups.
SUBGROUPS = table(
    {
        "arm": text(),
        "attribute": one_of("view", "sex"),
        "group": text(),
        "n_images": counted(),
        "n_patients": counted(),
        "classes": counted(),
        "value": number(0),
        "low": number(nullable=True),
        "high": number(nullable=True),
        "difference": number(nullable=True),
        "difference_low": number(nullable=True),
        "difference_high": number(nullable=True),
    }
)
# Of the predictions of all seeds (`images`), by how probable the most probable class is.
CALIBRATION = table(
    {
        "arm": text(),
        "bin": whole(),
        "images": counted(),
        "confidence": number(0, 1),
        "accuracy": number(0, 1),
    }
)

# readers. The key says what each item of a reader study is; it never leaves the workflow.
READER_KEY = table(
    {
        "study": text(),
        "item": text(unique=True),
        "image_id": text(unique=True),
        "class_name": text(),
        "synthetic": pa.Column(bool),
    }
)
READER_SCORES = table(
    {
        "reader": text(),
        "measure": one_of(
            "answered",
            "accuracy",
            "d_prime",
            "finding_accuracy_real",
            "finding_accuracy_synthetic",
            "agreement_source",
            "agreement_finding",
        ),
        "class_name": text(),
        "n": counted(),
        "value": number(nullable=True),
        "low": number(nullable=True),
        "high": number(nullable=True),
        "interval": text(),
        "chance": number(nullable=True),
    }
)

# denoising, inpainting, superresolution. How near a restored image is to the true one, which the
# methods did not see: one row per image, `condition` (how it was degraded), method, and `samples`,
# how many drawn answers were averaged (1 where a method has but one).
RESTORATION_METRICS = ("psnr", "ssim", "mae", "lpips", "inconsistency")
RESTORATION = table(
    {
        "image_id": text(),
        "patient_id": text(),
        "condition": text(),
        "method": text(),
        "samples": counted(),
        "psnr": number(),
        "ssim": number(-1, 1),
        "mae": number(0),
        "lpips": number(0, required=False),
        "inconsistency": number(0, required=False),
    },
    unique=["image_id", "condition", "method", "samples"],
)
# `difference` is to the reference method, image by image.
RESTORATION_SUMMARY = table(
    {
        "condition": text(),
        "method": text(),
        "samples": counted(),
        "metric": one_of(*RESTORATION_METRICS),
        "n_images": counted(),
        "n_patients": counted(),
        "value": number(),
        "low": number(nullable=True),
        "high": number(nullable=True),
        "difference": number(nullable=True),
        "difference_low": number(nullable=True),
        "difference_high": number(nullable=True),
    },
    unique=["condition", "method", "samples", "metric"],
)

# anomaly. Of each image and each way to make it healthy: `level` is noise over signal, 0 for the
# autoencoder, which sees it as it is; where the finding is known, its `region` is a share of the image.
METHODS = ("gaussian", "simplex", "autoencoder")
# An image's score is the mean over this share of its pixels, the ones with the largest residuals: about
# the size of a finding, so that neither one pixel decides nor the healthy rest of the film.
TOP = 0.05
AUTOENCODER_LOG = table(
    {
        "step": counted(),
        "loss": number(0, nullable=True),
        "validation_loss": number(0, nullable=True),
    }
)
ANOMALY_SCORES = table(
    {"image_id": text(), "patient_id": text()}
    | CLASS
    | {
        "split": one_of("val", "test"),
        "method": one_of(*METHODS),
        "level": number(0),
        "score": number(0, 255),
        "region": number(0, 1, nullable=True),
        "pixel_auroc": number(0, 1, nullable=True),
        "average_precision": number(0, 1, nullable=True),
        "hit": number(0, 1, nullable=True),
        "dice": number(0, 1, nullable=True),
        "threshold": number(0, 255, nullable=True),
    }
)
# Of test images alone. `chosen` is the level of a method that validation chose, by `validation`, the
# same measure's value there; differences are to the autoencoder, of the same images. A patient with
# healthy images and others counts among both.
ANOMALY_SUMMARY = table(
    {
        "measure": one_of("auroc", "pixel_auroc", "average_precision", "dice", "hit"),
        "class_name": text(),
        "method": one_of(*METHODS),
        "level": number(0),
        "chosen": pa.Column(bool),
        "n_images": counted(),
        "n_patients": counted(),
        "positives": counted(),
        "positive_patients": counted(),
        "healthy_patients": whole(),
        "value": number(0, 1),
        "low": number(0, 1, nullable=True),
        "high": number(0, 1, nullable=True),
        "chance": number(0, 1),
        "difference": number(-1, 1, nullable=True),
        "difference_low": number(-1, 1, nullable=True),
        "difference_high": number(-1, 1, nullable=True),
        "validation": number(0, 1, nullable=True),
    }
)

# inpainting. A row per test image and kind of mask: what is hidden of the image, `hidden` as a share.
MASKS = table(
    {"image_id": text(), "patient_id": text()}
    | CLASS
    | FINDINGS
    | PERSON
    | {
        "split": one_of("test"),
        "shard": text(),
        "row": whole(),
        "mask": one_of("box", "strokes", "half", "files"),
        "hidden": number(0, 1),
    },
    unique=["image_id", "mask"],
)

# denoising. Patches, named as their place on an image, `<image_id>@<top>,<left>`, and what became of
# the patches of each image.
PATCH_INDEX = table(
    {
        "image_id": text(unique=True),
        "source_image_id": text(),
        "top": whole(),
        "left": whole(),
        "content": number(0, 1),
        "shard": text(),
        "row": whole(),
        "sha256": text(),
    }
)
CUT_IMAGES = table(
    {
        "source_image_id": text(unique=True),
        "width": counted(),
        "height": counted(),
        "mode": text(),
        "places": whole(),
        "background": whole(),
        "left_out": whole(),
        "kept": whole(),
    }
)
NLM_TUNING = table(
    {
        "condition": text(),
        "variance": number(0),
        "strength": number(0),
        "n_images": counted(),
        "psnr": number(),
        "chosen": pa.Column(bool),
    }
)
SWEEP = table(
    {"sampler": text(), "steps": counted()}
    | {
        name: column
        for name, column in RESTORATION_SUMMARY.columns.items()
        if not name.startswith("difference") and name != "method"
    }
)
# Whether the answers that a method drew scatter as the truth does about them.
UNCERTAINTY = table(
    {
        "condition": text(),
        "method": text(),
        "samples": counted(),
        "measure": one_of("coverage", "error_over_spread"),
        "expected": number(0),
        "n_images": counted(),
        "n_patients": counted(),
        "value": number(0),
        "low": number(0, nullable=True),
        "high": number(0, nullable=True),
        "verdict": one_of("calibrated", "too narrow", "too wide", "unknown"),
    }
)
SPREAD = table(
    {
        "condition": text(),
        "method": text(),
        "bin": whole(),
        "pixels": counted(),
        "spread": number(0),
        "error": number(0),
    }
)
