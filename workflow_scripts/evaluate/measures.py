"""Rows of the metrics table: each number beside its interval, its floor and its N."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from workflow_scripts.classifier.weights import load
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.runtime import log, progress
from workflow_scripts.common.schemas import POOLED
from workflow_scripts.common.seeds import generator
from workflow_scripts.common.store import ImageStore
from workflow_scripts.evaluate.confusion import counts, proportion, shares
from workflow_scripts.evaluate.distances import (
    Estimate,
    frechet_distance,
    group_codes,
    kernel_distance,
)
from workflow_scripts.evaluate.diversity import (
    lpips_distances,
    lpips_network,
    mean_and_variance,
    random_pairs,
    ratio,
    ssim_distances,
)
from workflow_scripts.evaluate.memorisation import (
    Chance,
    Nearest,
    chance_of_copies,
    clustered_proportion,
    copy_threshold,
    nearest,
)
from workflow_scripts.evaluate.published import name_of
from workflow_scripts.evaluate.subsets import SPLIT_OF, Subsets

JACKKNIFE, EXACT, NONE = "jackknife 95 %", "Clopper–Pearson 95 %", "none"
CLUSTERED = "Korn–Graubard 95 %"
SETS = ("synthetic", *SPLIT_OF)


@dataclass(frozen=True)
class FeatureSpace:
    """One extractor's files: its weights, and the features of all real and all synthetic images."""

    name: str
    weights: Path
    real: Path
    samples: Path


@dataclass(frozen=True)
class Pictures:
    """Real and synthetic images: their tables, their pixels, and whose they are."""

    images: pd.DataFrame
    samples: pd.DataFrame
    real: ImageStore
    synthetic: ImageStore

    def gather(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return pixels of one of SETS, uint8 (n, height, width)."""
        return (self.synthetic if name == "synthetic" else self.real).gather(rows)

    def owners(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return whose each image is: its patient's, or for a synthetic image its own."""
        if name == "synthetic":
            return self.samples["image_id"].to_numpy()[rows]
        return self.images["patient_id"].to_numpy()[rows]


def row(
    metric: str,
    extractor: str,
    weights_sha256: str | None,
    class_name: str,
    n: int,
    n_reference: int,
    estimates: dict[str, Estimate],
    interval: str,
    chance: Chance | None = None,
) -> dict:
    """Return one row of the metrics table; an interval that could not be had is none.

    `estimates` holds the same measure of the sets `synthetic`, `floor` and `train`, `chance` what
    is expected where nothing is copied.
    """
    expected, expected_high = chance or (np.nan, np.nan)
    synthetic = estimates["synthetic"]
    known = bool(np.isfinite([synthetic.low, synthetic.high]).all())
    return {
        "metric": metric,
        "name": name_of(metric, extractor, weights_sha256),
        "extractor": extractor,
        "weights_sha256": weights_sha256,
        "class_name": class_name,
        "n": n,
        "n_reference": n_reference,
        "value": synthetic.value,
        "low": synthetic.low if known else np.nan,
        "high": synthetic.high if known else np.nan,
        "interval": interval if known else NONE,
        "floor": estimates["floor"].value,
        "train": estimates["train"].value,
        "expected": expected,
        "expected_high": expected_high,
    }


def of_class(by_class: dict[str, np.ndarray], label: str) -> np.ndarray:
    """Return what stands under one class, or, pooled, under all of them."""
    return np.concatenate(list(by_class.values())) if label == POOLED else by_class[label]


def features_of_sets(space: FeatureSpace, pictures: Pictures) -> dict[str, np.ndarray]:
    """Return the features of the table that each of SETS is drawn from, memory-mapped."""
    features = {}
    for name in SETS:
        drawn = name == "synthetic"
        features[name] = np.load(space.samples if drawn else space.real, mmap_mode="r")
        expected = len(pictures.samples if drawn else pictures.images)
        if len(features[name]) != expected:
            raise ValueError(f"{space}: {len(features[name])} features for {expected} images")
    return features


def distance_rows(space: FeatureSpace, pictures: Pictures, subsets: Subsets) -> Iterator[dict]:
    """Yield Fréchet distance (pooled: it is biased by N) and kernel distance (also per class).

    All sets hold as many images of a class. A class of fewer than two takes no part.
    """
    features = features_of_sets(space, pictures)
    sha256 = sha256_of(space.weights)
    numbers = {label: len(rows) for label, rows in subsets["reference"].items() if len(rows) > 1}
    if not numbers:
        return
    subsets = {name: {label: subsets[name][label] for label in numbers} for name in SETS}
    for label in progress([POOLED, *numbers], f"distances in {space.name}"):
        rows = {name: of_class(subsets[name], label) for name in SETS}
        count = len(rows["reference"])
        own = numbers if label == POOLED else {label: count}
        classes = np.repeat(list(own), list(own.values()))
        x = {name: features[name][rows[name]] for name in SETS}
        owners = {name: pictures.owners(name, rows[name]) for name in SETS}
        kernel = {
            name: kernel_distance(
                x[name], x["reference"], owners[name], owners["reference"], classes, classes
            )
            for name in SETS
            if name != "reference"
        }
        if label == POOLED:
            frechet = {name: Estimate(frechet_distance(x[name], x["reference"])) for name in kernel}
            yield row("frechet_distance", space.name, sha256, label, count, count, frechet, NONE)
        yield row("kernel_distance", space.name, sha256, label, count, count, kernel, JACKKNIFE)


def diversity_rows(
    pictures: Pictures, everything: Subsets, lpips: dict[str, Path], pairs: int, seed: int
) -> Iterator[dict]:
    """Yield how different images of one class are, as a ratio to real test images.

    A class without images of two patients in some set is left out; if all are, nothing comes.
    `n` and `n_reference` count pairs. Floor and train are the ratios of real images of those
    splits.

    Parameters
    ----------
    everything : all rows of every set and class
    lpips : weights by LPIPS backbone
    pairs : how many pairs per class to draw, if the poorest set has that many
    """
    drawn = equal_pairs(pictures, everything, pairs, seed)
    if not drawn["reference"]:
        log.warning("no diversity: no class has images of two patients in every set")
        return
    measures: list[tuple[str, str, str | None, Callable]] = [
        ("ssim_diversity", "pixels", None, ssim_distances)
    ]
    for net, weights in lpips.items():
        distance = partial(lpips_distances, lpips_network(net, weights))
        measures.append(("lpips_diversity", net, sha256_of(weights), distance))
    for metric, extractor, sha256, distance in measures:
        distances = {
            name: {
                label: distance(*(pictures.gather(name, side) for side in chosen.T))
                for label, chosen in drawn[name].items()
            }
            for name in progress(SETS, f"{metric} of {extractor}", unit="set")
        }
        for label in [POOLED, *drawn["reference"]]:
            means = {}
            for name in SETS:
                chosen = of_class(drawn[name], label)
                owners = pictures.owners(name, chosen.ravel()).reshape(chosen.shape)
                means[name] = mean_and_variance(of_class(distances[name], label), owners)
            ratios = {name: ratio(means[name], means["reference"]) for name in SETS}
            total = len(of_class(drawn["reference"], label))
            yield row(metric, extractor, sha256, label, total, total, ratios, JACKKNIFE)


def equal_pairs(pictures: Pictures, everything: Subsets, pairs: int, seed: int) -> Subsets:
    """Draw the same number of pairs of a class from every set: rows of its table, (pairs, 2)."""
    drawn = {
        name: {
            label: rows[
                random_pairs(
                    pictures.owners(name, rows), pairs, generator(seed, "pairs", name, label)
                )
            ]
            for label, rows in subset.items()
        }
        for name, subset in everything.items()
    }
    count = {label: min(len(drawn[name][label]) for name in SETS) for label in drawn["reference"]}
    return {
        name: {label: rows[: count[label]] for label, rows in subset.items() if count[label]}
        for name, subset in drawn.items()
    }


def seen_classes(classifier: FeatureSpace, pictures: Pictures, everything: Subsets) -> Subsets:
    """Return the class that the domain classifier sees in every image, from its features alone."""
    head = load(classifier.weights, torch.device("cpu")).head
    seen = {}
    for name, features in features_of_sets(classifier, pictures).items():
        with torch.inference_mode():
            best = head(torch.from_numpy(np.array(features))).argmax(dim=1).numpy()
        seen[name] = {label: best[rows] for label, rows in everything[name].items()}
    return seen


def confusion_counts(rows: dict[str, np.ndarray], seen: dict[str, np.ndarray]) -> np.ndarray:
    """Return the class asked against the class seen of one set."""
    asked = np.repeat(np.arange(len(rows)), [len(positions) for positions in rows.values()])
    return counts(asked, of_class(seen, POOLED), len(rows))


def accuracy_rows(everything: Subsets, seen: Subsets, sha256: str) -> Iterator[dict]:
    """Yield the share of synthetic images that are seen as the class they were asked for.

    Floor and train are the same classifier's shares on real validation and training images, and
    `n_reference` counts the former. Pooled, every class has the same weight.
    """
    tables = {name: confusion_counts(everything[name], seen[name]) for name in SETS}
    asked, floor = tables["synthetic"].sum(axis=1), tables["floor"].sum(axis=1)
    real = {name: shares(tables[name]) for name in ("floor", "train")}
    right = np.diag(tables["synthetic"])
    for number, label in enumerate(everything["synthetic"]):
        if not asked[number] or not floor[number]:
            log.warning("%s: no share seen as it without synthetic and validation images", label)
            continue
        estimates = {name: Estimate(real[name][number]) for name in real}
        estimates["synthetic"] = proportion(right[number], asked[number])
        count = int(asked[number]), int(floor[number])
        yield row("class_accuracy", "domain", sha256, label, *count, estimates, EXACT)
    estimates = {name: Estimate(float(np.nanmean(real[name]))) for name in real}
    estimates["synthetic"] = proportion(right.sum(), asked.sum())
    count = int(asked.sum()), int(floor.sum())
    yield row("class_accuracy", "domain", sha256, POOLED, *count, estimates, EXACT)


def memorisation_rows(
    space: FeatureSpace, pictures: Pictures, everything: Subsets, seed: int
) -> Iterator[dict]:
    """Yield the shares of images that look copied, `memorised_fraction` and `closer_to_train`.

    `memorised_fraction`: of images nearer to one of *all* training images than held-out ones are,
    by the threshold of each class (see `memorisation.copy_threshold`), beside what chance alone
    would find (see `memorisation.chance_of_copies`); its interval takes the threshold as given.
    Merely typical images, which are near to everything, pass the threshold too; hence
    `closer_to_train`: of images nearer to a training image than to any of equally many held-out
    ones (validation and test) of the same classes. 0.5 is expected. Images whose nearest real one
    is of one patient are one cluster: few real images may be nearest to many.

    Floor and train are the shares of real validation and training images, which are never
    compared with images of their own patient. `n` counts synthetic images, `n_reference` the test
    images behind the threshold, or the images on each side. Pooled, every class has the same
    weight in floor and train.
    """
    features = features_of_sets(space, pictures)
    sha256 = sha256_of(space.weights)
    labels = [
        name
        for name in everything["reference"]
        if all(len(everything[part][name]) for part in SETS)
    ]
    if not labels:
        log.warning("%s: no memorisation without images of a class in every set", space.name)
        return
    training = np.flatnonzero(pictures.images["split"] == "train")
    sides = {name: equal_sides(pictures, everything, name, seed) for name in labels}
    seen, unseen = (np.concatenate([sides[name][side] for name in labels]) for side in (0, 1))

    people = group_codes(pictures.images["patient_id"], len(pictures.images))

    def search(part: str, rows: np.ndarray, references: np.ndarray) -> Nearest:
        """Find the nearest of some real images, of other patients, to rows of a set."""
        there = features["reference"][references]
        if part == "synthetic":
            return nearest(features[part][rows], there)
        return nearest(features[part][rows], there, people[rows], people[references])

    copied: dict[str, Subsets] = {name: {} for name in SETS}
    closer: dict[str, Subsets] = {name: {} for name in SETS}
    owners = {}
    for label in progress(labels, f"memorisation in {space.name}", unit="class"):
        held_out = search("reference", everything["reference"][label], training).distance
        limit = copy_threshold(held_out)
        for name in ("synthetic", "floor", "train"):
            rows = everything[name][label]
            if name == "train":  # as many as test images: all would cost train times train
                rows = generator(seed, "copied", label).permutation(rows)[: len(held_out)]
            copied[name][label] = search(name, rows, training).distance < limit
            near, far = search(name, rows, seen), search(name, rows, unseen)
            closer[name][label] = near.distance < far.distance
            chosen = np.where(closer[name][label], seen[near.position], unseen[far.position])
            if name == "synthetic":
                owners[label] = people[chosen]

    def real(flags: dict[str, Subsets], own: list[str]) -> dict[str, Estimate]:
        """Return the shares of real images."""
        return {
            name: Estimate(float(np.mean([flags[name][label].mean() for label in own])))
            for name in ("floor", "train")
        }

    for label in [POOLED, *labels]:
        own = labels if label == POOLED else [label]
        found, nearer = (of_class(flags["synthetic"], label) for flags in (copied, closer))
        share = {"synthetic": proportion(found.sum(), len(found))} | real(copied, own)
        drawn, held_out = (
            [len(everything[name][one]) for one in own] for name in ("synthetic", "reference")
        )
        chance = chance_of_copies(drawn, held_out, generator(seed, "chance", label))
        count = sum(drawn), sum(held_out)
        yield row("memorised_fraction", space.name, sha256, label, *count, share, EXACT, chance)
        share = {"synthetic": clustered_proportion(nearer, of_class(owners, label))}
        count = len(nearer), sum(len(sides[name][0]) for name in own)
        share |= real(closer, own)
        half = Chance(0.5)
        yield row("closer_to_train", space.name, sha256, label, *count, share, CLUSTERED, half)


def equal_sides(
    pictures: Pictures, everything: Subsets, label: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw equally many training and held-out images of a class: rows of the image table.

    Whole patients are drawn, so that both sides have about as many: single images of twice the
    patients would cover more ground.
    """
    held_out = np.concatenate([everything[name][label] for name in ("reference", "floor")])
    sides = {"train": everything["train"][label], "held-out": held_out}
    count = min(map(len, sides.values()))
    drawn = []
    for name, rows in sides.items():
        code = group_codes(pictures.owners("reference", rows), len(rows))
        rank = generator(seed, "sides", name, label).permutation(code.max() + 1)
        drawn.append(rows[np.argsort(rank[code], kind="stable")[:count]])
    return drawn[0], drawn[1]
