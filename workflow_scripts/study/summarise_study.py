"""What a study shows, from its prediction files alone: every measure with its interval."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import step
from workflow_scripts.common.schemas import CALIBRATION, PREDICTIONS, SUBGROUPS, SUMMARY
from workflow_scripts.common.seeds import generator
from workflow_scripts.common.tables import read_table, write_table
from workflow_scripts.study.bootstrap import resampled
from workflow_scripts.study.calibration import reliability
from workflow_scripts.study.delong import difference_interval
from workflow_scripts.study.measures import Measures, names
from workflow_scripts.study.subgroups import Group, GroupAuroc, find_groups, tabulate
from workflow_scripts.study.summary import require_all_classes, summary_table


def summarise_study(
    predictions: list[Path],
    summary_path: Path,
    subgroups_path: Path,
    calibration_path: Path,
    arms: list[str],
    reference: str,
    primary: dict,
    seeds: list[int],
    bootstrap: int,
    classes: list[str],
) -> None:
    """Write one row per measure, class and arm (SUMMARY), by group (SUBGROUPS), and CALIBRATION.

    Parameters
    ----------
    predictions : one file (PREDICTIONS) per arm and seed, in any order
    primary : `arm` and `metric` of the comparison that was named before looking
    bootstrap : resamples of test patients
    """
    test, probabilities = read_predictions(predictions, arms, seeds, classes)
    summary, subgroups = summarise(
        test, probabilities, arms, reference, primary, bootstrap, classes
    )
    class_ids = test["class_id"].to_numpy()
    calibration = pd.concat(
        [
            reliability(of_arm, class_ids).assign(arm=arm)
            for arm, of_arm in zip(arms, probabilities, strict=True)
        ]
    )
    write_table(summary, summary_path, SUMMARY)
    write_table(subgroups, subgroups_path, SUBGROUPS)
    write_table(calibration, calibration_path, CALIBRATION)


def read_predictions(
    paths: list[Path], arms: list[str], seeds: list[int], classes: list[str]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the test images and what every arm and seed predicted for them.

    Returns
    -------
    test : image_id, patient_id, class_id, class_name, sex, view, sorted by image_id
    probabilities : float64 (arms, seeds, images, classes)

    Raises
    ------
    InputError
        If an arm and seed has no file, or files disagree about the test images.
    """
    described = ["image_id", "patient_id", "class_id", "class_name", "sex", "view"]
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
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return SUMMARY, of which `summary_table` says more, and SUBGROUPS.

    Parameters
    ----------
    test : image_id, patient_id, class_id, class_name, sex, view
    probabilities : float (arms, seeds, images, classes)
    """
    require_all_classes(test, classes)
    class_ids, groups = test["class_id"].to_numpy(), find_groups(test, classes)
    judges = [[judge(run, class_ids, groups) for run in seeds] for seeds in probabilities]
    patients = test["patient_id"].to_numpy()
    point, drawn = resampled(judges, patients, bootstrap, generator("bootstrap"))
    rows = len(names(classes))
    subgroups = tabulate(
        test, groups, arms, reference, point[..., rows:].mean(axis=1), drawn[:, rows:]
    )
    table = summary_table(
        point[..., :rows], drawn[:, :rows], test, arms, reference, primary, classes
    )
    add_delong(table, probabilities, class_ids, arms, reference, classes)
    return table, subgroups


def judge(
    run: np.ndarray, class_ids: np.ndarray, groups: list[Group]
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what judges one classifier's predictions (n, K): its measures, then its groups."""
    measures, by_group = Measures(run, class_ids), GroupAuroc(run, class_ids, groups)
    return lambda weights: np.vstack([measures(weights), by_group(weights)])


def add_delong(
    table: pd.DataFrame,
    probabilities: np.ndarray,
    class_ids: np.ndarray,
    arms: list[str],
    reference: str,
    classes: list[str],
) -> None:
    """Add `delong_low` and `delong_high` of each class's AUROC, from (arms, seeds, images, classes)."""
    base = probabilities[arms.index(reference)]
    for arm, of_arm in zip(arms, probabilities, strict=True):
        for number, name in enumerate(classes):
            row = (table["metric"] == "auroc") & (table["class_name"] == name)
            row &= (table["arm"] == arm) & (arm != reference)
            ends = difference_interval(of_arm[..., number], base[..., number], class_ids == number)
            table.loc[row, ["delong_low", "delong_high"]] = ends


if __name__ == "__main__":
    with step(snakemake) as config:
        summarise_study(
            [Path(path) for path in snakemake.input.predictions],
            Path(snakemake.output.summary),
            Path(snakemake.output.subgroups),
            Path(snakemake.output.calibration),
            **config,
        )
