"""The scores of readers, one by one and together."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from workflow_scripts.common.schemas import POOLED
from workflow_scripts.metrics.estimates import Estimate, proportion
from workflow_scripts.readers.detection import d_prime
from workflow_scripts.readers.intervals import (
    Resamples,
    agreement,
    mean_d_prime,
    mean_share,
    resamples,
)
from workflow_scripts.readers.responses import ALL_READERS, Answers

EXACT, CLUSTERED = "Clopper–Pearson 95 %", "Korn–Graubard 95 %, over images and readers"
NORMAL, BOOTSTRAP = "Gourevitch–Galanter 95 %", "bootstrap 95 %, over images and readers"
IMAGES_ALONE, NONE = "bootstrap 95 %, over images", "none"
COLUMNS = ["reader", "measure", "class_name", "n", "value", "low", "high", "interval", "chance"]
Row = tuple[str, str, int, Estimate, str, float]  # measure, class, n, estimate, interval, chance


def reader_scores(
    key: pd.DataFrame, answers: Answers, classes: list[str], seed: int
) -> pd.DataFrame:
    """Return READER_SCORES: each reader's, then those of all readers where there are several.

    Parameters
    ----------
    key : READER_KEY
    answers : in the order of the key
    classes : position is what `answers.finding` holds
    seed : of the bootstrap
    """
    found = [
        (name, measures(key, answers.source[[r]], answers.finding[[r]], classes))
        for r, name in enumerate(answers.readers)
    ]
    if len(answers.readers) > 1:
        strata = key.groupby(["class_name", "synthetic"]).ngroup().to_numpy()
        draws = resamples(strata, len(answers.readers), seed)
        of_all = measures(key, answers.source, answers.finding, classes, draws)
        found.append((ALL_READERS, of_all))
    rows = [
        (reader, measure, label, n, of.value, of.low, of.high, interval, chance)
        for reader, rows in found
        for measure, label, n, of, interval, chance in rows
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def measures(
    key: pd.DataFrame,
    source: np.ndarray,
    finding: np.ndarray,
    classes: list[str],
    draws: Resamples | None = None,
) -> Iterator[Row]:
    """Yield every measure of one reader, or with `draws` of several; nothing of what has no answer.

    Parameters
    ----------
    source, finding : float (readers, images), as in Answers
    """
    synthetic = key["synthetic"].to_numpy()
    truth = key["class_name"].map(classes.index).to_numpy()
    right, found = marked(source, synthetic), marked(finding, truth)
    answered = ~np.isnan(source) & ~np.isnan(finding)
    yield "answered", POOLED, answered.size, Estimate(float(answered.mean())), NONE, np.nan

    for label in [POOLED, *classes]:
        here = np.full(len(key), True) if label == POOLED else truth == classes.index(label)
        yield from share("accuracy", label, right[:, here], 0.5, within(draws, here))
        yield from detection(label, source[:, here], synthetic[here], within(draws, here))
        for kind, of_kind in (("real", ~synthetic), ("synthetic", synthetic)):
            both = here & of_kind
            measure, chance = f"finding_accuracy_{kind}", 1 / len(classes)
            yield from share(measure, label, found[:, both], chance, within(draws, both))
    if draws is not None:
        for what, given in (("source", source), ("finding", finding)):
            compared = int(((~np.isnan(given)).sum(axis=0) > 1).sum())
            if compared:
                estimate = agreement(given, draws)
                interval = NONE if np.isnan(estimate.low) else IMAGES_ALONE
                yield f"agreement_{what}", POOLED, compared, estimate, interval, 0.0


def share(
    measure: str, label: str, right: np.ndarray, chance: float, draws: Resamples | None
) -> Iterator[Row]:
    """Yield the share of right answers; `right` float (readers, images), NaN for no answer."""
    n = int((~np.isnan(right)).sum())
    if n and draws is None:
        yield measure, label, n, proportion(int(np.nansum(right)), n), EXACT, chance
    elif n:
        yield measure, label, n, mean_share(right, draws), CLUSTERED, chance


def detection(
    label: str, source: np.ndarray, synthetic: np.ndarray, draws: Resamples | None
) -> Iterator[Row]:
    """Yield d′ where a reader answered on images of both kinds."""
    given = ~np.isnan(source)
    n_synthetic, n_real = given[:, synthetic].sum(axis=1), given[:, ~synthetic].sum(axis=1)
    if not ((n_synthetic > 0) & (n_real > 0)).any():
        return
    n = int(given.sum())
    if draws is None:
        hits, alarms = (source[0, kind] == 1 for kind in (synthetic, ~synthetic))
        value, variance = d_prime(hits.sum(), n_synthetic[0], alarms.sum(), n_real[0])
        yield "d_prime", label, n, Estimate.normal(float(value), float(variance)), NORMAL, 0.0
    else:
        yield "d_prime", label, n, mean_d_prime(source, synthetic, draws), BOOTSTRAP, 0.0


def marked(given: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return 1 for right answers, 0 for wrong ones, NaN for none."""
    return np.where(np.isnan(given), np.nan, given == truth)


def within(draws: Resamples | None, images: np.ndarray) -> Resamples | None:
    """Return the resamples' share in some images; of whole strata, so that nothing is missing."""
    return draws and Resamples(draws.images[:, images], draws.readers)
