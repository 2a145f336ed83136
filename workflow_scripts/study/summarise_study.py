"""What a study shows, from its prediction files alone: every measure with its interval."""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import log, progress, step
from workflow_scripts.common.schemas import MACRO, PREDICTIONS, SUMMARY
from workflow_scripts.common.seeds import generator
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.study.bootstrap import BLOCK, interval, resamples
from workflow_scripts.study.measures import measure, names


def summarise_study(
    predictions: list[Path],
    summary_path: Path,
    arms: list[str],
    reference: str,
    primary: dict,
    seeds: list[int],
    bootstrap: int,
    classes: list[str],
) -> None:
    """Write one row per measure, class and arm (SUMMARY).

    Parameters
    ----------
    predictions : one file (PREDICTIONS) per arm and seed, in any order
    primary : `arm` and `metric` of the comparison that was named before looking
    bootstrap : resamples of test patients
    """
    test, probabilities = read_predictions(predictions, arms, seeds, classes)
    write_table(
        summarise(test, probabilities, arms, reference, primary, bootstrap, classes),
        summary_path,
        SUMMARY,
    )


def read_predictions(
    paths: list[Path], arms: list[str], seeds: list[int], classes: list[str]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the test images and what every arm and seed predicted for them.

    Returns
    -------
    test : image_id, patient_id, class_id, class_name, sorted by image_id
    probabilities : float64 (arms, seeds, images, classes)

    Raises
    ------
    InputError
        If an arm and seed has no file, or files disagree about the test images.
    """
    described = ["image_id", "patient_id", "class_id", "class_name"]
    columns = [f"p_{number}" for number in range(len(classes))]
    test, found = None, {}
    for path in paths:
        frame = read_table(path, PREDICTIONS).sort_values("image_id", ignore_index=True)
        absent = [name for name in columns if name not in frame]
        if absent or frame.empty:
            raise InputError(
                f"{path} has no {', '.join(absent) or 'rows'}: delete it and run again."
            )
        test = frame[described] if test is None else test
        if not frame[described].equals(test):
            raise InputError(
                f"{path} predicts other test images than {paths[0]}: arms can only be compared on "
                "the same images. Delete the predictions and run again."
            )
        found[frame["arm"][0], int(frame["seed"][0])] = frame[columns].to_numpy()
    missing = [f"{arm}, seed {seed}" for arm in arms for seed in seeds if (arm, seed) not in found]
    if missing:
        raise InputError(f"no predictions of {'; '.join(missing)}: run the study again.")
    return test, np.array([[found[arm, seed] for seed in seeds] for arm in arms])


def summarise(
    test: pd.DataFrame,
    probabilities: np.ndarray,
    arms: list[str],
    reference: str,
    primary: dict,
    bootstrap: int,
    classes: list[str],
) -> pd.DataFrame:
    """Return SUMMARY.

    A value is the mean over seeds of the measure on the test images; its interval, and that of
    the difference to the reference, is the 95 % percentile interval of that mean over resamples
    of patients. It speaks of other test patients, not of other training runs: those show in
    `seed_sd` and `difference_seed_sd`, standard deviations over seeds.

    Parameters
    ----------
    test : image_id, patient_id, class_id
    probabilities : float (arms, seeds, images, classes)
    """
    class_ids = test["class_id"].to_numpy()
    absent = [name for number, name in enumerate(classes) if number not in class_ids]
    if absent:
        raise InputError(
            f"no test image shows {', '.join(absent)}, so no classifier can be judged on it. "
            "Enlarge split.fractions.test or leave the class out of cohort.classes."
        )
    rows = names(classes)
    arm_count, seed_count = probabilities.shape[:2]
    runs = list(np.ndindex(arm_count, seed_count))
    once = np.ones((len(test), 1), dtype=np.float32)
    point = np.empty((arm_count, seed_count, len(rows)))
    for run in runs:
        point[run] = measure(probabilities[run], class_ids, once)[:, 0]

    # Seeds are averaged on the way: what is kept is (arms, measures, resamples).
    drawn = np.zeros((arm_count, len(rows), bootstrap))
    blocks = resamples(test["patient_id"].to_numpy(), bootstrap, generator("bootstrap"))
    start = 0
    for weights in progress(blocks, "resampling", -(-bootstrap // BLOCK), unit="block"):
        stop = start + weights.shape[1]
        for arm, seed in runs:
            values = measure(probabilities[arm, seed], class_ids, weights)
            drawn[arm, :, start:stop] += values
        start = stop
    drawn /= seed_count

    base = arms.index(reference)
    low, high = interval(drawn)
    difference_low, difference_high = interval(drawn - drawn[base])
    used = (~np.isnan(drawn[base])).sum(axis=-1)
    if used.min() < bootstrap:
        log.warning(
            "a class has so few test patients that %d of %d resamples held none of them; its "
            "intervals rest on the others and are too narrow",
            bootstrap - used.min(),
            bootstrap,
        )
    table = []
    for number, (metric, class_name) in enumerate(rows):
        shown = test if class_name == MACRO else test[class_ids == classes.index(class_name)]
        for position, arm in enumerate(arms):
            seen, beside = point[position, :, number], point[base, :, number]
            compared = position != base
            table.append(
                {
                    "metric": metric,
                    "class_name": class_name,
                    "arm": arm,
                    "primary": (metric, class_name, arm)
                    == (primary["metric"], MACRO, primary["arm"]),
                    "n_images": len(test),
                    "n_patients": test["patient_id"].nunique(),
                    "positives": len(shown),
                    "positive_patients": shown["patient_id"].nunique(),
                    "seeds": seed_count,
                    "value": seen.mean(),
                    "low": low[position, number],
                    "high": high[position, number],
                    "seed_sd": spread(seen),
                    "difference": (seen - beside).mean() if compared else np.nan,
                    "difference_low": difference_low[position, number] if compared else np.nan,
                    "difference_high": difference_high[position, number] if compared else np.nan,
                    "difference_seed_sd": spread(seen - beside) if compared else np.nan,
                    "resamples": used[number],
                }
            )
    return pd.DataFrame(table)


def spread(values: np.ndarray) -> float:
    """Return the standard deviation over seeds; NaN of a single one."""
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


if __name__ == "__main__":
    with step(snakemake) as config:
        summarise_study(
            [Path(path) for path in snakemake.input.predictions],
            Path(snakemake.output[0]),
            **config,
        )
