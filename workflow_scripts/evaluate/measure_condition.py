"""Measure whether one sampler's images show what was asked for."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from workflow_scripts.common.figures import save_figure
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import (
    CONFUSION,
    IMAGES,
    METRICS,
    PHANTOM_TRUTH,
    POOLED,
    SAMPLES,
)
from workflow_scripts.common.store import ImageStore
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.evaluate import confusion
from workflow_scripts.evaluate.anatomy import anatomy_rows
from workflow_scripts.evaluate.rows import (
    CLUSTERED,
    EXACT,
    SETS,
    Pictures,
    arrays_of_sets,
    metrics_table,
    of_class,
    row,
    rows_for,
)
from workflow_scripts.evaluate.sets import members
from workflow_scripts.metrics.estimates import Estimate, proportion
from workflow_scripts.metrics.recognition import auroc, balanced_accuracy

DELONG = "DeLong 95 %"


def measure_condition(
    images: Path,
    shards: list[Path],
    samples: Path,
    sample_shards: list[Path],
    classes_real: Path,
    classes_samples: Path,
    synthetic_trained: Path,
    weights: Path,
    truth: Path | None,
    classes: list[str],
    seed: int,
    metrics: Path,
    confusion_table: Path,
    confusion_figure: Path,
) -> None:
    """Write the measures, and which class the domain classifier sees in which.

    Parameters
    ----------
    images, samples : tables of all real and of all synthetic images
    shards, sample_shards : their pixels, which only `truth` asks for
    classes_real, classes_samples : the domain classifier's class probabilities for both
    synthetic_trained : those for all real images by one trained on the synthetic images alone
    weights : the domain classifier
    truth : PHANTOM_TRUTH, where the real images are phantoms
    classes : class names in the order of their ids
    seed : decides the sets whose anatomy is compared
    metrics, confusion_table, confusion_figure : outputs
    """
    table, sampled = read_table(images, IMAGES), read_table(samples, SAMPLES)
    pictures = Pictures(table, sampled)
    everything = members(table, sampled, classes)
    probabilities = arrays_of_sets(classes_real, classes_samples, pictures)
    sha256 = sha256_of(weights)
    asked, seen = {}, {}
    for name in SETS:
        asked[name], seen[name] = asked_and_seen(everything[name], probabilities[name])
    trained = rows_for(synthetic_trained, len(table))
    rows = [
        *accuracy_rows(classes, asked, seen, sha256),
        *auroc_rows(classes, asked, seen, sha256),
        *score_rows(pictures, everything["reference"], trained, probabilities["reference"]),
    ]
    if truth is not None:
        pictures = Pictures(
            table, sampled, ImageStore(table, shards), ImageStore(sampled, sample_shards)
        )
        rows += anatomy_rows(pictures, everything, read_table(truth, PHANTOM_TRUTH), seed)
    write_table(metrics_table(rows, seed), metrics, METRICS)
    counted = confusion.counts(asked["synthetic"], seen["synthetic"].argmax(axis=1), len(classes))
    write_table(confusion.as_table(counted, classes), confusion_table, CONFUSION)
    save_figure(confusion.draw(counted, classes), confusion_figure)


def asked_and_seen(
    rows: dict[str, np.ndarray], probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the class id of every image of a set, int64 (n,), and what is seen in it, (n, K)."""
    asked = np.repeat(np.arange(len(rows)), [len(positions) for positions in rows.values()])
    return asked, np.asarray(probabilities[of_class(rows, POOLED)])


def accuracy_rows(
    classes: list[str], asked: dict[str, np.ndarray], seen: dict[str, np.ndarray], sha256: str
) -> Iterator[dict]:
    """Yield the share of synthetic images that are seen as the class they were asked for.

    Floor and train are the same classifier's shares on real validation and training images, and
    `n_reference` counts the former; the ceiling is chance. Pooled, each class of real images weighs
    as many as were drawn of it.
    """
    tables = {
        name: confusion.counts(asked[name], seen[name].argmax(axis=1), len(classes))
        for name in SETS
    }
    drawn, floor = tables["synthetic"].sum(axis=1), tables["floor"].sum(axis=1)
    real = {name: confusion.shares(tables[name]) for name in ("floor", "train")}
    right = np.diag(tables["synthetic"])
    chance = Estimate(1 / len(classes))
    known = (drawn > 0) & (floor > 0)
    for number, label in enumerate(classes):
        if not known[number]:
            log.warning("%s: no share seen as it without synthetic and validation images", label)
            continue
        estimates = {name: Estimate(real[name][number]) for name in real}
        estimates |= {"synthetic": proportion(right[number], drawn[number]), "ceiling": chance}
        cell = label, int(drawn[number]), int(floor[number])
        yield row("class_accuracy", "domain", sha256, *cell, estimates, EXACT, "chance")
    if known.any():
        weights, total = drawn[known], int(drawn[known].sum())
        estimates = {
            name: Estimate(float(np.average(share[known], weights=weights)))
            for name, share in real.items()
        }
        estimates |= {"synthetic": proportion(right[known].sum(), total), "ceiling": chance}
        cell = POOLED, total, int(floor[known].sum())
        yield row("class_accuracy", "domain", sha256, *cell, estimates, EXACT, "chance")


def auroc_rows(
    classes: list[str], asked: dict[str, np.ndarray], seen: dict[str, np.ndarray], sha256: str
) -> Iterator[dict]:
    """Yield how well the class asked for is told from the others among synthetic images.

    AUROC of each class against the rest, by the domain classifier's probability of it; pooled, the
    mean over classes. Floor and train are those among real validation and training images; `n` and
    `n_reference` count all images ranked, synthetic and validation. The ceiling is chance.
    """
    found = {name: auroc(seen[name], asked[name]) for name in ("synthetic", "floor", "train")}
    count = len(asked["synthetic"]), len(asked["floor"])
    for number, label in enumerate([*classes, POOLED]):
        estimates = {
            name: mean if label == POOLED else each[number] for name, (each, mean) in found.items()
        }
        if np.isnan([estimates[name].value for name in ("synthetic", "floor")]).any():
            log.warning("%s: no AUROC without it and others, synthetic and validation", label)
            continue
        estimates["ceiling"] = Estimate(0.5)
        yield row("class_auroc", "domain", sha256, label, *count, estimates, DELONG, "chance")


def score_rows(
    pictures: Pictures,
    test: dict[str, np.ndarray],
    trained: np.ndarray,
    domain: np.ndarray,
) -> Iterator[dict]:
    """Yield the classification accuracy score: trained on synthetic images, tested on real ones.

    The share of a class's test images that are seen as it; pooled, the mean over classes. The
    floor is the same of the domain classifier, which the same recipe made of real images; the
    ceiling is chance. `n` counts the synthetic images of that training, all of them in every row,
    `n_reference` the test images; the floor's training had another number of images. The interval
    is that of other test patients, given this one training. The classifier keeps no weights, hence
    no SHA-256.

    Parameters
    ----------
    test : rows of the image table, by class
    trained, domain : class probabilities of all real images by both classifiers
    """
    metric, chance = "classification_accuracy_score", Estimate(1 / len(test))
    numbers = {label: number for number, label in enumerate(test) if len(test[label])}
    for label in [POOLED, *numbers] if numbers else []:
        own = numbers if label == POOLED else {label: numbers[label]}
        rows = np.concatenate([test[name] for name in own])
        class_ids = np.repeat(list(own.values()), [len(test[name]) for name in own])
        owners = pictures.owners("reference", rows)
        synthetic, floor = (
            balanced_accuracy(seen[rows].argmax(axis=1) == class_ids, class_ids, owners)
            for seen in (trained, domain)
        )
        estimates = {"synthetic": synthetic, "floor": floor, "ceiling": chance}
        cell = label, len(pictures.samples), len(rows)
        yield row(metric, "synthetic_trained", None, *cell, estimates, CLUSTERED, "chance")


if __name__ == "__main__":
    with step(snakemake) as config:
        truth = snakemake.input.get("truth")
        measure_condition(
            images=Path(snakemake.input.images),
            shards=[Path(path) for path in snakemake.input.get("shards", [])],
            samples=Path(snakemake.input.samples),
            sample_shards=[Path(path) for path in snakemake.input.get("sample_shards", [])],
            classes_real=Path(snakemake.input.classes_real),
            classes_samples=Path(snakemake.input.classes_samples),
            synthetic_trained=Path(snakemake.input.synthetic_trained),
            weights=Path(snakemake.input.weights),
            truth=Path(truth) if truth else None,
            classes=config["classes"],
            seed=config["seed"],
            metrics=Path(snakemake.output.metrics),
            confusion_table=Path(snakemake.output.confusion),
            confusion_figure=Path(snakemake.output.figure),
        )
