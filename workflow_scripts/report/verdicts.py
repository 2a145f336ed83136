"""What a measured value means: where it stands between real images and failure, in words.

The words are computed and claim nothing that the interval does not carry: a value whose interval
holds the floor "cannot be told from other real images", whichever side its centre is on.
"""

from dataclasses import dataclass
from math import isfinite, log

import numpy as np

from workflow_scripts.common.numbers import UNKNOWN, known, percent, short, span

# Measures that are shares of images, printed in percent.
SHARES = {
    "precision",
    "recall",
    "coverage",
    "class_accuracy",
    "classification_accuracy_score",
    "memorised_fraction",
    "closer_to_train",
}
RISING = SHARES - {"memorised_fraction", "closer_to_train"} | {
    "density",
    "class_score",
    "class_auroc",
    "lpips_diversity",
    "msssim_diversity",
}  # measures that fall towards the ceiling; all others rise
TWO_SIDED = {"sharpness_ratio": ("smoother", "sharper")}  # departures either way are as bad

MEANINGS = {
    "frechet_distance": "Distance between the means and covariances of the two sets",
    "frechet_distance_infinity": "The same, extrapolated to any number of images",
    "kernel_distance": "Difference of the two sets in their moments up to the third",
    "gaussian_kernel_distance": "Difference of the two sets in any respect",
    "precision": "Synthetic images that lie where real ones do",
    "recall": "Real images that lie where synthetic ones do",
    "density": "How densely real images surround the synthetic ones",
    "coverage": "Real images with a synthetic one in their neighbourhood",
    "class_score": "How clear and how evenly spread the recognised classes are",
    "lpips_diversity": "How much images of a class differ to a network’s eye; 1 is as real ones do",
    "msssim_diversity": "How much images of a class differ in structure; 1 is as real ones do",
    "class_accuracy": "By a classifier trained on real images",
    "class_auroc": "How well that classifier ranks the class above the others",
    "classification_accuracy_score": "What synthetic images teach a classifier about real ones",
    "cardiothoracic_ratio_distance": "Measured width of the heart, class by class",
    "effusion_height_distance": "Measured height of effusions, class by class",
    "intensity_distance": "Difference in how often each grey level occurs",
    "spectrum_distance": "Difference in detail at all scales",
    "sharpness_ratio": "Steepness of edges; 1 is as in real images",
    "memorised_fraction": "As near as 1 % of unseen real images are",
    "closer_to_train": "Compared with as many unseen images",
}
BEYOND = {
    "precision": "lie among real images more often than other real images do",
    "density": "lie among real images more densely than other real images do",
    "recall": "spread over real images more widely than other real images do",
    "coverage": "spread over real images more evenly than other real images do",
    "class_score": "fall into classes more clearly than real images do",
    "lpips_diversity": "differ more than real images do",
    "msssim_diversity": "differ more than real images do",
    "class_accuracy": "show their class more plainly than real images do",
    "class_auroc": "show their class more plainly than real images do",
    "classification_accuracy_score": "teach more than real images do",
}
NEARER = "are nearer to the test images than other real images are"
CEILINGS = {
    "wrong class": "the wrong class",
    "noise": "noise",
    "chance": "chance",
    "planted copies": "planted copies",
    "equal images": "images all alike",
}
BLIND = "this space cannot see copies, so nothing follows"
CLEARLY = 0.1  # more planted copies than is expected of other images
REAL = "other real images"
FLOORS = {"classification_accuracy_score": "training on real images"}  # all others: REAL


@dataclass(frozen=True)
class Way:
    """Where values stand: 0 as real images among themselves, 1 as what fails altogether."""

    value: float
    low: float
    high: float
    train: float


def written(metric: str, value: float | None) -> str:
    """Return a value as the page prints it: shares in percent, others with three digits."""
    if metric in SHARES and known(value):
        return f"{100 * value:.1f}\u00a0%"
    return short(value)


def interval_of(row: dict) -> str:
    """Return the interval as the page prints it."""
    return span(row["low"], row["high"], lambda end: written(row["metric"], end))


def way(row: dict) -> Way | None:
    """Return where a row of METRICS stands between its floor and its ceiling.

    w(x) = (x - floor) / (ceiling - floor); of a ratio that fails on both sides of 1, such as
    sharpness, w(x) = |ln(x / floor)| / |ln(ceiling / floor)|, so that an interval around the
    floor begins at 0.

    None where the ceiling is not worse than the floor: there the measure cannot judge.
    """
    floor, ceiling = row["floor"], row["ceiling"]
    ends = [row[name] for name in ("value", "low", "high", "train")]
    if row["metric"] in TWO_SIDED:
        if floor <= 0 or ceiling <= 0 or floor == ceiling:
            return None
        whole = abs(log(ceiling / floor))
        value, *edges, train = [
            log(x / floor) / whole if known(x) and x > 0 else np.nan for x in ends
        ]
        low, high = sorted(map(abs, edges))
        return Way(abs(value), 0.0 if edges[0] <= 0 <= edges[1] else low, high, abs(train))
    if (ceiling < floor) != (row["metric"] in RISING) or ceiling == floor:
        return None
    value, *edges, train = [(x - floor) / (ceiling - floor) if known(x) else np.nan for x in ends]
    return Way(value, *sorted(edges), train)


def verdict(row: dict) -> str:
    """Return in a sentence what came out of a row of METRICS."""
    kinds = {"memorised_fraction": copied, "closer_to_train": leaning}
    text = kinds.get(row["metric"], standing)(row)
    return f"{text[0].upper()}{text[1:]}."


def standing(row: dict) -> str:
    """Return where the value stands between its floor and what fails.

    Noise may lie so far off that all that is real stands at 0 %: an interval above the floor is
    worse than the floor, however little of the way that is.
    """
    found, failure = way(row), CEILINGS[row["ceiling_of"]]
    real = FLOORS.get(row["metric"], REAL)
    if found is None:
        return f"{failure} does no worse than {real} here, so this measure cannot judge"
    share = f"{percent(found.value)} of the way from {real} to {failure}"
    if not (known(found.low) and known(found.high)):
        where = share if 0 <= found.value <= 1 else "outside the way from floor to ceiling"
        return f"{where}; without an interval nothing follows from it"
    low, high = found.low, found.high
    side = ""
    if row["metric"] in TWO_SIDED:
        side = f", {TWO_SIDED[row['metric']][row['value'] > row['floor']]} than real images"
    if low >= 1:
        return f"fails: as far from {real} as {failure}, or farther{side}"
    if round(high, 2) < 0:
        return f"synthetic images {BEYOND.get(row['metric'], NEARER)}"
    if low <= 0 and high >= 1:
        return f"the interval holds both {real} and {failure}: it decides nothing"
    if low <= 0:
        text = f"cannot be told from {real}"
        return (
            text
            if round(high, 2) <= 0
            else f"{text}; at worst {percent(high)} of the way to {failure}"
        )
    if high >= 1:
        return f"{share}{side}; cannot be told from {failure}"
    if high < 0.01:
        return f"worse than {real}, by less than 1\u00a0% of the way to {failure}{side}"
    least = percent(low) if low >= 0.005 else "less than 1\u00a0%"
    return f"{share} ({least} to {percent(high)}){side}"


def blind(row: dict) -> bool:
    """Return whether a space does not show planted copies, so that no share in it means anything.

    It finds less than half of them, or not clearly more than is expected of images that are none.
    """
    found, most = row["ceiling"], row["expected_high"]
    if not known(most):
        most = row["expected"] + CLEARLY
    return found < 0.5 or found <= most


def copied(row: dict) -> str:
    """Return whether more images look copied than chance gives, and whether planted ones do."""
    planted = f"of copies planted on purpose {written(row['metric'], row['ceiling'])} are found"
    if blind(row):
        return f"{BLIND}: {planted}"
    low, most = row["low"], row["expected_high"]
    if not (known(low) and known(most)):
        found = "without an interval nothing follows from it"
    else:
        low, value, most = (round(x, 3) for x in (low, row["value"], most))
        chance = f"where nothing is copied, chance gives up to {written(row['metric'], most)}"
        if low > most:
            found = f"more than chance explains: {chance}"
        elif value <= most:
            found = f"no more than chance explains: {chance}"
        else:
            found = f"above what chance gives, but the interval holds it: {chance}"
    text = f"{found}. O{planted[1:]}"
    return text if row["ceiling"] >= 1 else f"{text}: some copies go unseen"


def leaning(row: dict) -> str:
    """Return whether images lie nearer to training images than to unseen ones."""
    low, high, even = row["low"], row["high"], row["expected"]
    if blind(row):
        planted = written(row["metric"], row["ceiling"])
        return f"{BLIND}: of copies planted on purpose {planted} lie nearer to training images"
    if not all(map(known, (low, high, even))):
        return "without an interval nothing follows from it"
    low, high, least = round(low, 3), round(high, 3), round(even, 3)
    expected = f"{written(row['metric'], even)} is expected where nothing is copied"
    if low > least:
        return f"they lean towards training images: {expected}"
    if high < least:
        return f"they lean away from training images: {expected}"
    return f"they lean neither way: {expected}"


def printed_way(found: Way | None) -> str:
    """Return the value's place in percent; outside the way, only on which side."""
    if found is None or not isfinite(found.value):
        return UNKNOWN
    if round(found.value, 2) < 0:
        return "below 0\u00a0%"
    return percent(found.value) if round(found.value, 2) <= 1 else "above 100\u00a0%"
