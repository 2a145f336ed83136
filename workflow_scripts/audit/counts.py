"""Counts that must add up, each taken anew from the files that it rests on."""

import json
from pathlib import Path

import pandas as pd

from workflow_scripts.audit.claims import Chapter, Check
from workflow_scripts.audit.evidence import Evidence, test_images, twice
from workflow_scripts.audit.sizes import Sizes
from workflow_scripts.common.schemas import MACRO, POOLED, SPLITS
from workflow_scripts.trail.records import Record

counts = Chapter("The counts")


@counts.claim("Cohort and exclusions together are the labels", "filter_cohort")
def cohort_and_exclusions_are_the_labels(evidence: Evidence, check: Check, record: Record) -> None:
    labels = evidence.table(record.input("labels")[0])["image_id"]
    kept, dropped = (
        evidence.table(record.output(name)[0])["image_id"] for name in ("cohort", "exclusions")
    )
    check.count(images=len(labels))
    path = ", ".join(file.path for file in record.outputs)
    check.none_of(path, set(kept) & set(dropped), "images are in both")
    check.none_of(
        path, set(labels) - set(kept) - set(dropped), "images of the labels are in neither"
    )
    check.none_of(path, (set(kept) | set(dropped)) - set(labels), "images are not in the labels")


@counts.claim(
    "The splits together are the cohort, in the numbers that the split report names", "check_leaks"
)
def splits_are_the_cohort(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.output("report")[0]
    parts = {name: evidence.table(record.input(name)[0]) for name in SPLITS}
    cohort = evidence.table(record.input("cohort")[0])
    ids = pd.concat([part["image_id"] for part in parts.values()])
    check.count(images=len(ids))
    where = record.input("train")[0]
    check.none_of(where, set(cohort["image_id"]) ^ set(ids), "images are in splits or cohort alone")
    check.equal(where, "images of all splits", len(ids), len(cohort))
    report = json.loads(Path(path).read_text(encoding="utf-8"))
    classes = sorted(set(cohort["class_name"]))
    for name, part in parts.items():
        alone = part.drop_duplicates(["patient_id", "class_name"])
        images = {label: int((part["class_name"] == label).sum()) for label in classes}
        people = {label: int((alone["class_name"] == label).sum()) for label in classes}
        images["all"], people["all"] = len(part), part["patient_id"].nunique()
        check.equal(path, f"images of {name}", report["images"][name], images)
        check.equal(path, f"subjects of {name}", report["patients"][name], people)
    check.equal(path, "subjects in two splits", report["patients_shared_between_splits"], 0)


@counts.claim(
    "Every row of an archive's index is a row of its shard, and no image is in two archives",
    "select_images",
)
def archives_hold_each_image_once(evidence: Evidence, check: Check, record: Record) -> None:
    indices = {path: evidence.table(path) for path in record.input("indices")}
    everything = pd.concat(indices.values())
    check.count(archives=len(indices), images=len(everything))
    check.none_of(record.path, twice(everything["image_id"]), "images are in two archives")
    for path, index in indices.items():
        shard = evidence.maker(path).output("shard")[0]
        check.equal(shard, "images", len(evidence.images_in(shard)), len(index))
        check.equal(path, "shards named", set(index["shard"]), {Path(shard).stem})


@counts.claim(
    "Every list of shards names those that it was made of, each with its images and SHA-256",
    "list_shards",
    "list_sample_shards",
)
def lists_are_of_their_shards(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.outputs[0].path
    table = evidence.table(path)
    check.count(lists=1, shards=len(table))
    listed = {
        str(Path(path).parent / shard.path): (shard.images, shard.sha256)
        for shard in table.itertuples()
    }
    standing = {
        file.path: (len(evidence.images_in(file.path)), evidence.hashed(file.path).sha256)
        for file in record.inputs
    }
    check.none_of(path, dict(listed.items() ^ standing.items()), "shards are not as it lists them")


@counts.claim(
    "Images with pixels and images that stand alone are all of the labels and of the archives",
    "select_images",
)
def selected_and_unmatched_add_up(evidence: Evidence, check: Check, record: Record) -> None:
    images, unmatched = (evidence.table(record.output(name)[0]) for name in ("images", "unmatched"))
    metadata, labels = (evidence.table(record.input(name)[0]) for name in ("metadata", "labels"))
    stored = {i for path in record.input("indices") for i in evidence.table(path)["image_id"]}
    listed, cohort = set(labels["image_id"]), set(metadata["image_id"])
    check.count(images=len(images), lone_images=len(unmatched))
    path, alone = record.output("images")[0], record.output("unmatched")[0]
    check.none_of(
        path, set(images["image_id"]) ^ (cohort & stored), "images are missing or too many"
    )
    in_table = unmatched["found_in"] == "table"
    check.none_of(
        alone,
        set(unmatched["image_id"][in_table]) ^ (listed - stored),
        "images of the labels without pixels are missing or too many",
    )
    check.none_of(
        alone,
        set(unmatched["image_id"][~in_table]) ^ (stored - listed),
        "images of archives without a label are missing or too many",
    )


@counts.claim(
    "Every file or slice that was listed was decoded or rejected, once", "list_files", "list_images"
)
def files_are_decoded_or_rejected(evidence: Evidence, check: Check, record: Record) -> None:
    name = "files" if record.rule == "list_files" else "listing"
    path = record.output(name)[0]
    images = evidence.table(path).drop_duplicates("image_id")
    check.count(images=len(images))
    for job in evidence.of("resize_archive"):
        if path not in job.input(name):
            continue
        found = [evidence.table(job.output(name)[0])["image_id"] for name in ("index", "rejects")]
        part = images.loc[images["part"] == job.wildcards["archive"], "image_id"]
        done = pd.concat(found)
        wrong = {*(set(part) ^ set(done)), *twice(done)}
        what = (
            "files or slices were neither decoded nor rejected, or twice, or are not of this part"
        )
        check.none_of(job.output("index")[0], wrong, what)


@counts.claim(
    "The label table names what was listed, no slice that was dropped, and all channels of each image",
    "list_images",
)
def labels_name_what_was_listed(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.output("listing")[0]
    listing, dropped = evidence.table(path), evidence.table(record.output("dropped")[0])
    table = record.output("labels")[0]
    evidence.hashed(table)
    labels = set(pd.read_csv(table, dtype=str, keep_default_na=False)["image_id"])
    listed = set(listing["image_id"])
    check.count(images=len(listed), dropped=len(dropped))
    check.none_of(table, labels ^ listed, "images are in the label table or the listing alone")
    check.none_of(path, listed & set(dropped["image_id"]), "dropped slices are listed")
    channels = listing.groupby("image_id")["channel"].agg(tuple)
    expected = tuple(range(listing["channel"].max() + 1))
    others = channels.index[[found != expected for found in channels]]
    check.none_of(path, others, "images lack a channel, or have one twice")


@counts.claim(
    "A training took the steps that it was to take",
    "train_diffusion",
    "train_simplex",
    "train_superresolution",
    "train_denoiser",
)
def trainings_took_their_steps(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.output("log")[0]
    last, training = evidence.table(path).iloc[-1], record.config["model"]["training"]
    steps = training["steps"]
    check.count(trainings=1, steps=steps)
    check.equal(path, "last step", int(last["step"]), steps)
    check.equal(path, "images", int(last["images"]), steps * training["batch_size"])


@counts.claim(
    "A shard of samples has the images of its class that fall to it, each with its seed",
    "draw_samples",
)
def shards_of_samples_are_full(evidence: Evidence, check: Check, record: Record) -> None:
    path, shard = record.output("index")[0], record.output("pixels")[0]
    index, config = evidence.table(path), record.config
    numbers = range(config["shard"], config["sampler"]["per_class"], config["sampler"]["shards"])
    check.count(shards=1, images=len(index))
    check.equal(shard, "images", len(evidence.images_in(shard)), len(numbers))
    found = [int(name.rpartition("/")[2]) for name in index["image_id"]]
    check.equal(path, "numbers of images", found, list(numbers))
    check.equal(path, "rows", list(index["row"]), list(range(len(numbers))))
    check.equal(path, "shard", set(index["shard"]), {Path(shard).stem} if numbers else set())
    for column in ("class_id", "class_name"):
        check.equal(path, column, set(index[column]), {config[column]} if numbers else set())


@counts.claim(
    "The samples are as many of each class as the sampler was to draw, and no seed comes twice",
    "collect_samples",
)
def samples_are_complete(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.output("samples")[0]
    samples = evidence.table(path)
    check.count(samplers=1, images=len(samples))
    parts = [evidence.table(index) for index in record.input("indices")]
    together = pd.concat(parts).sort_values("image_id", ignore_index=True)
    if not samples.equals(together):
        check.fault(path, "it is not what the shards' tables say together")
    drawn = [evidence.maker(index).config for index in record.input("indices")]
    expected = {one["class_name"]: one["sampler"]["per_class"] for one in drawn}
    check.equal(path, "images by class", samples["class_name"].value_counts().to_dict(), expected)
    check.none_of(path, twice(samples["seed"]), "seeds come twice")


@counts.claim(
    "Features and class probabilities have a row for each image that they are of",
    "extract_features",
    "train_on_synthetic",
)
def features_have_a_row_per_image(evidence: Evidence, check: Check, record: Record) -> None:
    index = record.input("index" if record.rule == "extract_features" else "images")[0]
    images = len(evidence.table(index))
    for file in record.outputs:
        check.count(arrays=1, rows=images)
        check.equal(file.path, "rows", len(evidence.array(file.path)), images)


@counts.claim("There are as many controls of noise as test images of one finding", "draw_controls")
def noise_is_as_many_as_test_images(evidence: Evidence, check: Check, record: Record) -> None:
    test = test_images(evidence.images_of(record))
    for name in ("noise", "planted"):
        path, shard = record.output(f"{name}_index")[0], record.output(name)[0]
        index = evidence.table(path)
        check.count(images=len(index))
        check.equal(shard, "images", len(evidence.images_in(shard)), len(index))
        if name == "noise":
            check.equal(path, "images", len(index), len(test))


@counts.claim("Every arm has the images of each class that its study planned", "plan_arms")
def arms_are_as_planned(evidence: Evidence, check: Check, record: Record) -> None:
    plan = evidence.table(record.outputs[0].path)
    arms = {
        job.wildcards["arm"]: job
        for job in evidence.of("compose_arm")
        if job.wildcards["study"] == record.wildcards["study"]
    }
    missing = set(plan["arm"]) - set(arms)
    check.none_of(record.outputs[0].path, missing, "arms are planned, but were not composed")
    for name, rows in plan[plan["arm"].isin(arms)].groupby("arm"):
        path = arms[name].output("arm")[0]
        arm = evidence.table(path)
        check.count(arms=1, images=len(arm))
        planned = {
            (r.class_name, made): n
            for r in rows.itertuples()
            for made, n in ((False, r.real), (True, r.synthetic))
            if n
        }
        found = arm.groupby(["class_name", "synthetic"]).size().to_dict()
        check.equal(path, "images by class, real and synthetic", found, planned)
        facts = json.loads(Path(arms[name].output("removed")[0]).read_text(encoding="utf-8"))
        made = {r.class_name: r.synthetic for r in rows.itertuples()}
        check.equal(arms[name].output("removed")[0], "synthetic images", facts["synthetic"], made)


@counts.claim(
    "A study has predictions of each arm and seed, once, all of the same test images",
    "summarise_study",
)
def predictions_are_complete(evidence: Evidence, check: Check, record: Record) -> None:
    found, test = [], None
    for path in record.input("predictions"):
        predictions = evidence.table(path)
        check.count(trainings=1, predictions=len(predictions))
        made = evidence.maker(path).wildcards
        said = set(zip(predictions["arm"], predictions["seed"], strict=True))
        check.equal(path, "arm and seed", said, {(made["arm"], int(made["seed"]))})
        found += said
        ids = sorted(predictions["image_id"])
        test = test or ids
        check.equal(path, "test images", ids, test)
    expected = [(arm, seed) for arm in record.config["arms"] for seed in record.config["seeds"]]
    summary = record.output("summary")[0]
    check.equal(summary, "arms and seeds", sorted(found), sorted(expected))


@counts.claim(
    "The N of every measure is what the images of the splits and of the sampler allow",
    "collect_metrics",
)
def metrics_compare_what_they_say(evidence: Evidence, check: Check, record: Record) -> None:
    for part in (file.path for file in record.inputs):
        job = evidence.maker(part)
        images, samples = evidence.images_of(job), evidence.table(job.input("samples")[0])
        sizes = Sizes(images, samples, job.config["classes"])
        metrics = evidence.table(part)
        check.count(measures=len(metrics))
        for metric, rows in metrics.groupby("metric"):
            listed = [name for name in rows["class_name"].unique() if name != POOLED]
            for row in rows.itertuples():
                allowed = sizes.expected(metric, row.class_name, listed, job.config.get("pairs", 0))
                if allowed is None:
                    check.fault(part, f"{metric}: no rule says what its N must be")
                elif not allowed.allows(row.n, row.n_reference):
                    check.fault(
                        part,
                        f"{metric}, {row.extractor}, {row.class_name}: N is {row.n} against "
                        f"{row.n_reference}, but the images allow {allowed.n} against "
                        f"{allowed.reference}",
                    )


@counts.claim("The table of classes asked and seen counts every sample once", "measure_condition")
def confusion_counts_every_sample(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.output("confusion")[0]
    asked = evidence.table(path).groupby("asked")["images"].sum()
    samples = evidence.table(record.input("samples")[0])["class_name"].value_counts()
    check.count(images=int(asked.sum()))
    check.equal(path, "images by class asked", asked[asked > 0].to_dict(), samples.to_dict())


@counts.claim("A summary rests on all test images, subjects and seeds", "summarise_study")
def summaries_rest_on_all_test_images(evidence: Evidence, check: Check, record: Record) -> None:
    predictions = evidence.table(record.input("predictions")[0])
    path, calibration = record.output("summary")[0], record.output("calibration")[0]
    summary, seeds = evidence.table(path), len(record.config["seeds"])
    check.count(studies=1, images=len(predictions))
    check.equal(path, "images", set(summary["n_images"]), {len(predictions)})
    check.equal(path, "subjects", set(summary["n_patients"]), {predictions["patient_id"].nunique()})
    check.equal(path, "seeds", set(summary["seeds"]), {seeds})
    for row in summary.drop_duplicates("class_name").itertuples():
        own = predictions
        if row.class_name != MACRO:
            own = predictions[predictions["class_name"] == row.class_name]
        found = (row.positives, row.positive_patients)
        expected = (len(own), own["patient_id"].nunique())
        check.equal(path, f"images and subjects of {row.class_name}", found, expected)
    sums = evidence.table(calibration).groupby("arm")["images"].sum().to_dict()
    expected = dict.fromkeys(record.config["arms"], seeds * len(predictions))
    check.equal(calibration, "predictions by arm", sums, expected)
