"""What the folds of a cross-validation show together: every patient is tested, none is trained on.

A value is the mean over repeats and seeds of `PooledMeasures`. Its interval is the percentile
interval of that mean over resamples of all patients; a patient counts as often in every repeat, arm
and seed, so differences are paired.

What the interval leaves out: it takes the trained classifiers as they are. Any two folds share most
of their training patients, so that their errors depend on each other in a way that one
cross-validation cannot show, and no unbiased estimate of its variance exists (Bengio and Grandvalet
2004, J Mach Learn Res 5:1089). It speaks of other patients, not of other data to train on; what
another training does shows in `seed_sd`, of values that are means over folds and repeats already.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.common.figures import save_figure
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.schemas import MACRO, POOLED_SUMMARY
from workflow_scripts.common.seeds import generator
from workflow_scripts.common.tables import write_table
from workflow_scripts.study.bootstrap import resampled
from workflow_scripts.study.folds import Fold, read_fold, repeats, tested
from workflow_scripts.study.forest import draw_forest
from workflow_scripts.study.measures import Measures, names
from workflow_scripts.study.summary import require_all_classes, summary_table


def pool_folds(
    split_reports: list[Path],
    predictions: list[list[Path]],
    summary_path: Path,
    forest_path: Path,
    datasets: list[str],
    arms: list[str],
    reference: str,
    primary: dict,
    seeds: list[int],
    bootstrap: int,
    classes: list[str],
    phantom: bool,
) -> None:
    """Write one row per measure, class and arm (POOLED_SUMMARY), and the forest plot (PNG).

    Parameters
    ----------
    split_reports : JSON of the split of each data set
    predictions : of each data set, one file (PREDICTIONS) per arm and seed
    datasets : names of the data sets, one per fold and repeat
    primary : `arm` and `metric` of the comparison that was named before looking
    bootstrap : resamples of patients
    phantom : whether the films are drawn ones, which the figure then says
    """
    folds = [
        read_fold(*run, arms, seeds, classes)
        for run in zip(datasets, split_reports, predictions, strict=True)
    ]
    groups = repeats(folds)
    images = tested(groups[0])
    log.info(
        "repeats: %d, folds: %d; %d images of %d patients, each tested once per repeat",
        len(groups),
        len(groups[0]),
        len(images),
        images["patient_id"].nunique(),
    )
    summary = pool(groups, arms, reference, primary, bootstrap, classes)
    write_table(summary, summary_path, POOLED_SUMMARY)
    save_figure(draw_forest(summary, reference, bootstrap, phantom), forest_path)


class PooledMeasures:
    """Every measure of one arm and seed, taken within each fold, under any weighting of the images.

    Scores of different classifiers are not comparable, so that no image is ranked against one of
    another fold. Folds are averaged with weights: an AUROC with its pairs (positive, negative), so
    that every pair within a fold counts once; AUPRC with its positives; the Brier score
    and the calibration error with their images. Balanced accuracy is the mean over classes of the
    share of a class's images given to it, and that share is averaged with the class's images. A
    fold that has no positive in a weighting, as resampling may leave a rare class, has no say. The mean over classes is taken after
    that over folds, and the unweighted mean over repeats last.

    Parameters
    ----------
    repeats : of each repeat its folds, each as rows (m,) of its images among all and the
        probabilities (m, K) of these
    class_ids : int (n,) of all images
    """

    def __init__(
        self, repeats: list[list[tuple[np.ndarray, np.ndarray]]], class_ids: np.ndarray
    ) -> None:
        self.classes = repeats[0][0][1].shape[1]
        self.rows = names([str(number) for number in range(self.classes)])
        truth = class_ids == np.arange(self.classes)[:, None]
        self.repeats = [
            [
                (
                    rows,
                    Measures(probabilities, class_ids[rows]),
                    truth[:, rows].astype(np.float32),
                    (truth[:, rows] & (probabilities.argmax(axis=1) == class_ids[rows])).astype(
                        np.float32
                    ),
                )
                for rows, probabilities in folds
            ]
            for folds in repeats
        ]

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return every measure under each weighting, in the order of `names`.

        Parameters
        ----------
        weights : float32 (n, b) of whole numbers

        Returns
        -------
        float64 (2 K + 5, b); NaN where a weighting leaves a class without images in every fold
        """
        return np.mean([self.over_folds(folds, weights) for folds in self.repeats], axis=0)

    def over_folds(self, folds: list[tuple], weights: np.ndarray) -> np.ndarray:
        """Return the measures of one repeat: float64 (2 K + 5, b)."""
        total = share = right = members = 0.0
        for rows, measures, truth, hits in folds:
            here = weights[rows]
            positives = (truth @ here).astype(np.float64)
            images = positives.sum(axis=0)
            by = {"auroc": positives * (images - positives), "auprc": positives}
            part = np.array(
                [images if name == MACRO else by[metric][int(name)] for metric, name in self.rows]
            )
            total = total + part * np.where(part > 0, np.nan_to_num(measures(here)), 0)
            share, members = share + part, members + positives
            right = right + hits @ here
        with np.errstate(invalid="ignore", divide="ignore"):
            pooled = np.where(share > 0, total / share, np.nan)
            recall = right / members
        for place, (metric, name) in enumerate(self.rows):
            if metric == "balanced_accuracy":
                pooled[place] = recall.mean(axis=0)
            elif metric in ("auroc", "auprc") and name == MACRO:
                pooled[place] = pooled[place - self.classes : place].mean(axis=0)
        return pooled


def pool(
    repeats: list[list[Fold]],
    arms: list[str],
    reference: str,
    primary: dict,
    bootstrap: int,
    classes: list[str],
) -> pd.DataFrame:
    """Return POOLED_SUMMARY.

    Parameters
    ----------
    repeats : complete repeats, that test the same images
    """
    images = tested(repeats[0])
    require_all_classes(images, classes)
    class_ids = images["class_id"].to_numpy()
    place = pd.Series(np.arange(len(images)), index=images["image_id"])
    of_folds = [
        [(place[fold.test["image_id"]].to_numpy(), fold) for fold in folds] for folds in repeats
    ]
    seeds = repeats[0][0].probabilities.shape[1]
    judges = [
        [
            PooledMeasures(
                [
                    [(rows, fold.probabilities[arm, seed]) for rows, fold in folds]
                    for folds in of_folds
                ],
                class_ids,
            )
            for seed in range(seeds)
        ]
        for arm in range(len(arms))
    ]
    patients = images["patient_id"].to_numpy()
    point, drawn = resampled(judges, patients, bootstrap, generator("bootstrap"))
    table = summary_table(point, drawn, images, arms, reference, primary, classes)
    return table.assign(folds=len(repeats[0]), repeats=len(repeats))


if __name__ == "__main__":
    with step(snakemake) as config:
        runs = len(config["datasets"])
        files = [Path(path) for path in snakemake.input.predictions]
        each = len(files) // runs
        pool_folds(
            [Path(path) for path in snakemake.input.split_reports],
            [files[run * each : (run + 1) * each] for run in range(runs)],
            Path(snakemake.output.summary),
            Path(snakemake.output.forest),
            **config,
        )
