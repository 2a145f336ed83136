"""Results: what is said follows from the files beneath it, worked out anew by other code."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from workflow_scripts.audit.claims import Chapter, Check
from workflow_scripts.audit.evidence import Evidence, test_images
from workflow_scripts.common.schemas import MACRO, POOLED
from workflow_scripts.trail.records import Record

results = Chapter("The results")
CLOSE = 1e-6  # by which two ways to the same number may differ
Values = dict[tuple[str, str], float]  # of measures, by name and class


@results.claim("The measures of a sampler are those of their parts", "collect_metrics")
def metrics_are_their_parts(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.output("metrics")[0]
    metrics = evidence.table(path)
    check.count(measures=len(metrics))
    parts = [evidence.table(file.path) for file in record.inputs]
    if not metrics.equals(pd.concat(parts, ignore_index=True)):
        check.fault(path, "it is not what its parts say together")


@results.claim(
    "Class accuracy follows from the classes asked and seen, and the accuracy of a training on "
    "synthetic images from its predictions",
    "measure_condition",
)
def accuracies_follow(evidence: Evidence, check: Check, record: Record) -> None:
    path, classes = record.output("metrics")[0], record.config["classes"]
    table = evidence.table(record.output("confusion")[0])
    metrics = evidence.table(path)
    listed = metrics.loc[metrics["metric"] == "class_accuracy", "class_name"]
    seen = table.pivot(index="asked", columns="seen", values="images").loc[classes, classes]
    right = pd.Series(np.diag(seen), classes)
    asked = seen.sum(axis=1)
    own = [name for name in classes if name in set(listed)]
    values = {("class_accuracy", name): right[name] / asked[name] for name in own}
    values["class_accuracy", POOLED] = right[own].sum() / asked[own].sum()

    images = evidence.images_of(record)
    probabilities = evidence.array(record.input("synthetic_trained")[0])
    test = test_images(images)
    hit = probabilities[test.index.to_numpy()].argmax(axis=1) == test["class_id"]
    shares = hit.groupby(test["class_name"]).mean().reindex(classes).dropna()
    metric = "classification_accuracy_score"
    values |= {(metric, name): share for name, share in shares.items()}
    values[metric, POOLED] = shares.mean()
    compare(check, path, metrics, values)


@results.claim(
    "The share of images that look copied follows from the list of nearest images", "audit_copies"
)
def copied_shares_follow(evidence: Evidence, check: Check, record: Record) -> None:
    path, copies = record.output("metrics")[0], evidence.table(record.output("copies")[0])
    metrics = evidence.table(path)
    metrics = metrics[metrics["metric"] == "memorised_fraction"]
    for row in copies.itertuples():
        if row.copied != (row.distance < row.threshold):
            check.fault(record.output("copies")[0], f"{row.image_id}: copied, or not, by mistake")
    for space, own in copies.groupby("extractor"):
        said = metrics[metrics["extractor"] == space]
        shares = own.groupby("class_name")["copied"].mean()
        values = {("memorised_fraction", name): share for name, share in shares.items()}
        if set(said["class_name"]) == {*shares.index, POOLED}:
            values["memorised_fraction", POOLED] = own["copied"].mean()
        compare(check, path, said, values)


def compare(check: Check, path: str, metrics: pd.DataFrame, values: Values) -> None:
    """Demand that measures have the values that were worked out anew."""
    said = metrics.set_index(["metric", "class_name"])["value"]
    for key, expected in values.items():
        check.count(values=1)
        if abs(said.get(key, np.nan) - expected) <= CLOSE:
            continue
        found = f"{said[key]:.6g}" if key in said else "missing"
        check.fault(path, f"{', '.join(key)}: {found}, but {expected:.6g} by the files beneath it")


@results.claim("The comparison of models says what their measures say", "compare_models")
def comparison_is_of_the_measures(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.output("table")[0]
    comparison = evidence.table(path).set_index(["model", "sampler"])
    for source in record.input("metrics"):
        wildcards = evidence.maker(source).wildcards
        row = comparison.loc[(wildcards["model"], wildcards["sampler"])]
        metrics = evidence.table(source)
        pooled = metrics[metrics["class_name"] == POOLED]
        for one in pooled.itertuples():
            name = one.metric
            if name == "kernel_distance":
                name = f"{name}_{one.extractor}"
            elif name != "class_accuracy":
                continue
            ends = {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
            for column, value in (ends | {f"{name}_floor": one.floor}).items():
                check.count(values=1)
                if not np.isclose(row[column], value, rtol=0, atol=CLOSE, equal_nan=True):
                    check.fault(path, f"{wildcards}, {column}: {row[column]:.6g}, not {value:.6g}")


@results.claim(
    "AUROC, AUPRC, balanced accuracy and Brier score of every arm, and their differences to the "
    "reference, follow from the predictions",
    "summarise_study",
)
def summaries_follow(evidence: Evidence, check: Check, record: Record) -> None:
    path, config = record.output("summary")[0], record.config
    summary = evidence.table(path).set_index(["arm", "metric", "class_name"])
    by_arm: dict[str, list[Values]] = {arm: [] for arm in config["arms"]}
    for source in record.input("predictions"):
        predictions = evidence.table(source)
        values = dict(measures(predictions, config["classes"]))
        by_arm[evidence.maker(source).wildcards["arm"]].append(values)
    means = {
        arm: {key: float(np.mean([one[key] for one in runs])) for key in runs[0]}
        for arm, runs in by_arm.items()
    }
    reference = means[config["reference"]]
    for arm, values in means.items():
        for key, value in values.items():
            row = summary.loc[(arm, *key)]
            expected = {"value": value}
            if arm != config["reference"]:
                expected["difference"] = value - reference[key]
            for column, number in expected.items():
                check.count(values=1)
                if not abs(row[column] - number) <= CLOSE:
                    check.fault(
                        path,
                        f"{column} of {arm}, {', '.join(key)}: {row[column]:.6g}, but {number:.6g} "
                        "by the predictions",
                    )
    named = config["primary"]
    found = summary.index[summary["primary"]].to_list()
    check.equal(path, "primary comparison", found, [(named["arm"], named["metric"], MACRO)])


@results.claim(
    "The AUROC of a search follows from its scores, of every finding, method and level, and the levels "
    "are those that are best for validation images",
    "summarise_anomaly",
)
def searches_follow(evidence: Evidence, check: Check, record: Record) -> None:
    path, config = record.output("summary")[0], record.config
    summary = evidence.table(path)
    summary = summary[summary["measure"] == "auroc"]
    said = summary.set_index(["method", "level", "class_name"])
    scores = evidence.table(record.input("scores")[0])
    findings = [name for name in config["classes"] if name != config["healthy"]]
    means: dict[str, dict[str, dict[float, float]]] = {"val": {}, "test": {}}
    for (method, level, split), own in scores.groupby(["method", "level", "split"]):
        values = {}
        for name in findings:
            pair = own[own["class_name"].isin((name, config["healthy"]))]
            truth = (pair["class_name"] == name).to_numpy()
            if truth.any() and not truth.all():
                values[name] = auroc(truth, pair["score"].to_numpy())
        values[MACRO] = float(np.mean(list(values.values())))
        means[split].setdefault(method, {})[level] = values[MACRO]
        for name, expected in values.items() if split == "test" else ():
            check.count(values=1)
            found = said["value"].get((method, level, name), np.nan)
            if not abs(found - expected) <= CLOSE:
                what = f"{method}, {level:g}, {name}: {found:.6g}, but {expected:.6g} by the scores"
                check.fault(path, what)
    for method, by_level in means["val"].items():
        best = min(by_level, key=lambda level: (-by_level[level], level))
        chosen = set(summary.loc[summary["chosen"] & (summary["method"] == method), "level"])
        check.equal(path, f"chosen level of {method}", chosen, {best})


def measures(
    predictions: pd.DataFrame, classes: list[str]
) -> Iterator[tuple[tuple[str, str], float]]:
    """Yield the measures of one classifier's predictions (PREDICTIONS), by name and class."""
    p = predictions[[f"p_{number}" for number in range(len(classes))]].to_numpy()
    truth = predictions["class_id"].to_numpy()[:, None] == np.arange(len(classes))
    for metric, measure in (("auroc", auroc), ("auprc", average_precision)):
        each = [measure(t, s) for t, s in zip(truth.T, p.T, strict=True)]
        yield from (((metric, name), one) for name, one in zip(classes, each, strict=True))
        yield (metric, MACRO), float(np.mean(each))
    right = truth[np.arange(len(p)), p.argmax(axis=1)]
    recall = [right[own].mean() for own in truth.T]
    yield ("balanced_accuracy", MACRO), float(np.mean(recall))
    yield ("brier", MACRO), float(np.square(p - truth).sum(axis=1).mean())


def auroc(truth: np.ndarray, score: np.ndarray) -> float:
    """Return the share of pairs of a positive and a negative that are ranked rightly, ties half.

    Parameters
    ----------
    truth, score : bool and float (n,)
    """
    ranks = pd.Series(score).rank().to_numpy()
    positive, negative = truth.sum(), (~truth).sum()
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """Return the mean over positives of the precision at their threshold, which ties share."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)
    found = np.cumsum(truth[order])[last]
    gained = np.diff(found, prepend=0)
    return float((gained * found / (1 + np.flatnonzero(last))).sum() / truth.sum())


@results.claim("What is exported is the model, byte for byte", "export_model")
def exports_are_the_models(evidence: Evidence, check: Check, record: Record) -> None:
    for name in ("facts", "unet", "weights"):
        path, source = record.output(name)[0], record.input(name)[0]
        check.count(files=1)
        if evidence.hashed(path).sha256 != evidence.hashed(source).sha256:
            check.fault(path, f"it is not {source}")
