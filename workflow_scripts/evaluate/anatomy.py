"""Are hearts and effusions as large as in real images of the class? Only phantoms have a truth."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from workflow_scripts.common.levels import grey
from workflow_scripts.common.runtime import log
from workflow_scripts.common.schemas import POOLED
from workflow_scripts.evaluate.rows import GROUPED, Pictures, of_class, row
from workflow_scripts.evaluate.sets import Subsets, equal_subsets, wrong_class
from workflow_scripts.metrics.anatomy import MOST, RELIABLE, Device, coarse, determination, fit
from workflow_scripts.metrics.estimates import Estimate, blocks, group_jackknife

COMPARED = ("synthetic", "reference", "floor")
# What is measured, and where the truth has it.
QUANTITIES = {
    "cardiothoracic_ratio_distance": "cardiothoracic_ratio",
    "effusion_height_distance": "effusion_height",
}


def anatomy_rows(
    pictures: Pictures, everything: Subsets, truth: pd.DataFrame, seed: int
) -> Iterator[dict]:
    """Yield how far apart sizes measured in synthetic and in real images of a class are.

    Wasserstein-1 of two sets of equally many measured sizes, in their own unit; pooled, the mean
    over classes, in the ceiling as well, which are images of other classes. There is no value of
    training images: the device was taught by them.

    Parameters
    ----------
    everything : all rows of every set and class
    truth : PHANTOM_TRUTH
    """
    patients = pictures.images["patient_id"]
    subsets = equal_subsets(everything, patients, seed)
    wrong = wrong_class(everything, subsets, patients, seed)
    labels = [name for name, rows in subsets["reference"].items() if len(rows) and len(wrong[name])]
    if not labels:
        log.warning("no anatomy without images of two classes in every set")
        return
    by_image = truth.set_index("image_id").reindex(pictures.images["image_id"])
    train, unseen = (of_class(everything[name], POOLED) for name in ("train", "floor"))
    train = train[:: -(-len(train) // MOST)]
    taught, tried = (looked_at(pictures, *of) for of in (("train", train), ("floor", unseen)))
    seen = {
        name: {label: looked_at(pictures, name, subsets[name][label]) for label in labels}
        for name in COMPARED
    }
    seen["ceiling"] = {label: looked_at(pictures, "floor", wrong[label]) for label in labels}
    for metric, quantity in QUANTITIES.items():
        true = by_image[quantity].to_numpy()
        device = fit(taught, true[train])
        if not reliable(device, tried, true[unseen], quantity):
            log.warning("%s is left out", metric)
            continue
        sizes = {
            name: {label: device.predict(x) for label, x in of_set.items()}
            for name, of_set in seen.items()
        }
        for label in [POOLED, *labels]:
            own = labels if label == POOLED else [label]
            owners = [
                pictures.owners(name, np.concatenate([subsets[name][one] for one in own]))
                for name in ("synthetic", "reference")
            ]
            estimates, count = compare(sizes, own, owners, seed)
            yield row(
                metric, "pixels", None, label, count, count, estimates, GROUPED, "wrong class"
            )


def looked_at(pictures: Pictures, name: str, rows: np.ndarray) -> np.ndarray:
    """Return images of one of SETS as the device looks at them, reading few at a time."""
    return np.concatenate(
        [coarse(grey(pictures.gather(name, rows[block]))) for block in blocks(len(rows), 256)]
    )


def reliable(device: Device, x: np.ndarray, true: np.ndarray, quantity: str) -> bool:
    """Say whether a device measures well in unseen films, whose sizes are `true`."""
    explained = determination(device, x, true)
    log.info(
        "%s: what is measured explains %.1f %% of the variance in %d unseen films (at least %.0f %%"
        " are asked for)",
        *(quantity, 100 * explained, len(true), 100 * RELIABLE),
    )
    return explained >= RELIABLE


def compare(
    sizes: dict[str, dict[str, np.ndarray]], own: list[str], owners: list[np.ndarray], seed: int
) -> tuple[dict[str, Estimate], int]:
    """Return mean distances over the classes `own` to the reference, and how many images it has.

    Parameters
    ----------
    sizes : by set, `ceiling` among them, and class
    owners : whose each synthetic and each reference image is, class by class
    """
    x, y = (
        np.concatenate([sizes[name][one] for one in own]) for name in ("synthetic", "reference")
    )
    classes = np.repeat(np.arange(len(own)), [len(sizes["reference"][one]) for one in own])

    def distance(here: np.ndarray, there: np.ndarray) -> float:
        pairs = [
            (x[here[classes[here] == number]], y[there[classes[there] == number]])
            for number in range(len(own))
        ]
        if not all(len(part) for pair in pairs for part in pair):
            return np.nan
        return float(np.mean([wasserstein_distance(*pair) for pair in pairs]))

    def real(name: str) -> Estimate:
        reference = sizes["reference"]
        gaps = [wasserstein_distance(sizes[name][one], reference[one]) for one in own]
        return Estimate(float(np.mean(gaps)))

    synthetic = group_jackknife(distance, *owners, seed, classes_x=classes, classes_y=classes)
    estimates = {"floor": real("floor"), "ceiling": real("ceiling")}
    return estimates | {"synthetic": synthetic.within(low=0.0)}, len(classes)
