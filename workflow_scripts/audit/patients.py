"""Subjects: from the raw table to every comparison, nobody who judges was learned from.

Shares no code with the steps that keep subjects apart, but the schemas of the tables.
"""

import hashlib
import json
import re
from pathlib import Path

import pandas as pd
from safetensors import safe_open

from workflow_scripts.audit.claims import Chapter, Check
from workflow_scripts.audit.evidence import (
    Evidence,
    single_finding,
    test_images,
    twice,
    whole_images,
)
from workflow_scripts.audit.raw_files import stated_by_arrays, stated_by_names
from workflow_scripts.common.schemas import SPLITS
from workflow_scripts.trail.records import Record

patients = Chapter("The subjects")
PLACE = ["image_id", "class_id", "class_name", "shard", "row"]


@patients.claim(
    "Every image of the raw label table is in the labels, of the same subject and with the same "
    "findings, and no other is",
    "parse_labels",
)
def labels_are_the_raw_table(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.output("labels")[0]
    labels = evidence.table(path).set_index("image_id")
    raw = evidence.raw_table(record)[1].set_index("image_id")
    check.count(images=len(raw), subjects=raw["patient_id"].nunique())
    check.none_of(path, twice(raw.index), "images stand twice in the raw table")
    check.none_of(path, set(raw.index) - set(labels.index), "images of the raw table are missing")
    check.none_of(path, set(labels.index) - set(raw.index), "images are not in the raw table")
    raw = raw[~raw.index.duplicated()].reindex(labels.index)
    other = raw["patient_id"].notna() & (raw["patient_id"] != labels["patient_id"])
    check.none_of(path, labels.index[other], "images have another subject in the raw table")
    aliases = {column_name(a): column_name(b) for a, b in record.config.get("aliases", {}).items()}
    flags = labels.select_dtypes("bool")
    names = flags.columns.to_numpy()
    wrong = [
        image
        for image, text, row in zip(labels.index, raw["findings"], flags.to_numpy(), strict=True)
        if isinstance(text, str) and written(text, aliases) != {*names[row]}
    ]
    check.none_of(path, wrong, "images have other findings in the raw table")


def column_name(finding: str) -> str:
    """Return the column of a finding: its letters and digits in lower case, joined by underscores."""
    return "_".join(re.findall(r"[^\W_]+", finding.lower()))


def written(text: str, aliases: dict[str, str]) -> set[str]:
    """Return the columns of the findings that a cell of the raw table names."""
    names = (column_name(part) for part in text.split("|") if part.strip())
    return {aliases.get(name, name) for name in names}


@patients.claim(
    "Every row or slice is of the subject whom the files of the data set name, with the findings that "
    "they name",
    "list_images",
)
def the_raw_table_is_what_the_files_say(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.output("labels")[0]
    evidence.hashed(path)
    table = pd.read_csv(path, dtype=str, keep_default_na=False).set_index("image_id")
    settings, kind = record.config["settings"], record.config["kind"]
    if kind == "nifti":
        stated = stated_by_names(settings, evidence.table(record.output("listing")[0]))
    else:
        stated = stated_by_arrays(kind, settings, evidence.data_files(record))
    stated = stated.set_index("image_id")
    check.count(images=len(stated), patients=stated["patient_id"].nunique())
    check.none_of(
        path, set(table.index) ^ set(stated.index), "images are in the files or here alone"
    )
    both = table.index.intersection(stated.index)
    for name in stated.columns:
        other = both[(table.loc[both, name] != stated.loc[both, name]).to_numpy()]
        check.none_of(path, other, f"images have another {name} in the files")


@patients.claim(
    "Every image of the cohort is as the labels have it: subject, age, sex, view and findings",
    "filter_cohort",
)
def cohort_is_of_the_labels(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.output("cohort")[0]
    cohort = evidence.table(path)
    labels = evidence.table(record.input("labels")[0]).set_index("image_id")
    check.count(images=len(cohort))
    known = cohort["image_id"].isin(labels.index)
    check.none_of(path, cohort.loc[~known, "image_id"], "images are not in the labels")
    cohort = cohort[known]
    there = labels.loc[cohort["image_id"]].reset_index()
    for column in ("patient_id", "age_years", "sex", "view"):
        other = unequal(cohort[column], there[column])
        check.none_of(
            path, cohort["image_id"][other], f"images have another {column} in the labels"
        )
    flags = there.select_dtypes("bool")
    names = flags.columns.to_numpy()
    wrong = [
        image.image_id
        for image, row in zip(cohort.itertuples(), flags.to_numpy(), strict=True)
        if image.class_name not in (named := image.findings.split("|"))
        or {*names[row]} != {*map(column_name, named)}
    ]
    check.none_of(path, wrong, "images have another class or other findings in the labels")
    pairs = cohort[["class_id", "class_name"]].drop_duplicates()
    classes = list(enumerate(record.config["classes"]))
    if not set(pairs.itertuples(index=False, name=None)) <= set(classes):
        check.fault(
            path, "its class_id are not the positions of its class_name in the configuration"
        )


@patients.claim("No subject, by the raw label table, is in two splits", "split_patients")
def splits_share_nobody(evidence: Evidence, check: Check, record: Record) -> None:
    tables = [evidence.table(record.output(name)[0]).assign(split=name) for name in SPLITS]
    rows = pd.concat(tables, ignore_index=True)
    by_raw_table = rows.assign(patient_id=rows["image_id"].map(evidence.owners))
    splits = pd.concat([rows, by_raw_table]).groupby("patient_id")["split"].nunique()
    check.count(images=len(rows), subjects=rows["patient_id"].nunique())
    path = ", ".join(record.output(name)[0] for name in SPLITS)
    check.none_of(path, splits.index[splits > 1], "subjects are in two splits")
    check.none_of(path, twice(rows["image_id"]), "images are in two splits")


@patients.claim(
    "The metadata are the cohort, each image in the split whose list names it", "join_metadata"
)
def metadata_joins_cohort_and_splits(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.output("metadata")[0]
    metadata = evidence.table(path)
    lists = [evidence.table(record.input(name)[0]).assign(split=name) for name in SPLITS]
    cohort = evidence.table(record.input("cohort")[0])
    check.count(images=len(metadata))
    same_rows(check, path, metadata, pd.concat(lists), "in the lists of the splits")
    same_rows(check, path, metadata, cohort, "in the cohort")
    check.none_of(path, set(cohort["image_id"]) - set(metadata["image_id"]), "images are missing")


@patients.claim(
    "Every image that later steps read, and every patch of one, is as the metadata have it, and lies "
    "where its archive's index says",
    "select_images",
    "list_patches",
)
def images_are_of_the_metadata(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.output("images")[0]
    images = evidence.table(path)
    indices = pd.concat([evidence.table(index) for index in record.input("indices")])
    check.count(images=len(images))
    metadata = evidence.table(record.input("metadata")[0])
    whole = whole_images(images) if record.rule == "list_patches" else images
    same_rows(check, path, whole, metadata, "in the metadata")
    same_rows(check, path, images, indices, "in the archives' indices")


def same_rows(check: Check, path: str, rows: pd.DataFrame, table: pd.DataFrame, where: str) -> None:
    """Demand that each of `rows` stands in `table`, with the same in the columns of both."""
    table = table.drop_duplicates("image_id").set_index("image_id")
    known = rows["image_id"].isin(table.index)
    check.none_of(path, rows.loc[~known, "image_id"], f"images are not {where}")
    rows = rows[known]
    for column in rows.columns.intersection(table.columns):
        other = unequal(rows[column], rows["image_id"].map(table[column]))
        check.none_of(path, rows["image_id"][other], f"images have another {column} {where}")


def unequal(one: pd.Series, other: pd.Series) -> list[bool]:
    """Return where two columns differ; unknown is equal to unknown."""
    return [not (a == b or (pd.isna(a) and pd.isna(b))) for a, b in zip(one, other, strict=True)]


@patients.claim(
    "The pixels of every real image have the SHA-256 that was taken when it was decoded",
    "resize_archive",
)
def pixels_are_as_decoded(evidence: Evidence, check: Check, record: Record) -> None:
    path, index = record.output("shard")[0], evidence.table(record.output("index")[0])
    pixels = dict(enumerate(evidence.images_in(path)))
    check.count(images=len(pixels))
    check.none_of(path, set(pixels) ^ set(index["row"]), "rows are in the shard or the index alone")
    wrong = [
        image.image_id
        for image in index.itertuples()
        if image.row in pixels and pixels[image.row].hex() != image.sha256
    ]
    check.none_of(path, wrong, "images have other pixels than their index says")


@patients.claim(
    "No image is both real and synthetic, nor in two splits under two names, pixel for pixel"
)
def no_pixels_twice(evidence: Evidence, check: Check) -> None:
    real: dict[bytes, str] = {}
    for record in evidence.of("resize_archive"):
        index = evidence.table(record.output("index")[0])
        shards = {Path(path).stem: path for path in record.output("shard")}
        real |= {pixels: image.image_id for image, pixels in evidence.shown(index, shards)}
    check.count(real_images=len(real))
    for record in evidence.of("select_images"):
        path = record.output("images")[0]
        shards = shards_by_stem(evidence, record.input("indices"))
        splits: dict[bytes, dict[str, str]] = {}  # by pixels: of each split, who bears them
        for image, pixels in evidence.shown(evidence.table(path), shards):
            splits.setdefault(pixels, {}).setdefault(image.split, image.image_id)
        both = [" and ".join(names.values()) for names in splits.values() if len(names) > 1]
        check.none_of(path, both, "images show the same in two splits")
    for record in evidence.of("collect_samples"):
        path = record.output("samples")[0]
        shards = {Path(shard.path).stem: shard.path for shard in evidence.shards(record, "shards")}
        drawn = list(evidence.shown(evidence.table(path), shards))
        check.count(synthetic_images=len(drawn))
        both = [f"{image.image_id} is {real[pixels]}" for image, pixels in drawn if pixels in real]
        check.none_of(path, both, "synthetic images are real ones")


def shards_by_stem(evidence: Evidence, indices: list[str]) -> dict[str, str]:
    """Return the shards that lie beside some indices, by the names of their files."""
    shards = [evidence.maker(index).output("shard")[0] for index in indices]
    return {Path(shard).stem: shard for shard in shards}


@patients.claim(
    "Every image that a generator, or an autoencoder of healthy images, was given to train on is of "
    "the training split, and nobody of it is in the validation or test split",
    "train_diffusion",
    "train_simplex",
    "train_autoencoder",
    "train_superresolution",
    "train_denoiser",
)
def generators_saw_no_held_out_patient(evidence: Evidence, check: Check, record: Record) -> None:
    images = evidence.images_of(record)
    if record.rule == "train_denoiser":
        images = whole_images(images).drop_duplicates("image_id")
    expected = images[images["split"] == "train"]
    if record.rule == "train_autoencoder":
        well = single_finding(expected) & (expected["class_name"] == record.config["healthy"])
        expected = expected[well]
        path = record.output("seen")[0]
        ill = set(evidence.table(path)["image_id"]) - set(expected["image_id"])
        check.none_of(path, ill, "images are not healthy, or not of the training split")
    saw_training_alone(evidence, check, record, expected, images)


@patients.claim(
    "Every image that the domain classifier was given to train on is of the training split, and "
    "nobody of it is in the validation or test split; its weights name the same images",
    "train_domain_classifier",
)
def the_classifier_saw_no_held_out_patient(
    evidence: Evidence, check: Check, record: Record
) -> None:
    images = evidence.images_of(record)
    expected = images[(images["split"] == "train") & single_finding(images)]
    seen = saw_training_alone(evidence, check, record, expected, images)
    path = record.output("weights")[0]
    evidence.hashed(path)
    with safe_open(path, framework="np") as stream:
        named = json.loads((stream.metadata() or {}).get("classifier", "{}"))
    check.equal(path, "images named in the weights", named.get("images"), str(len(seen)))
    ids = hashlib.sha256("\n".join(seen["image_id"]).encode()).hexdigest()
    check.equal(path, "SHA-256 of their ids", named.get("image_ids_sha256"), ids)


@patients.claim(
    "Every image that a search scores is of the validation or test split, as the split says, and shows "
    "one finding alone",
    "score_images",
)
def searches_score_held_out_images(evidence: Evidence, check: Check, record: Record) -> None:
    path, images = record.output("scores")[0], evidence.images_of(record)
    held_out = images[(images["split"] != "train") & single_finding(images)]
    scores = evidence.table(path)
    check.count(searches=1, images=scores["image_id"].nunique())
    columns = ["image_id", "patient_id", "class_name", "split"]
    wrong = strangers(scores, held_out, columns)
    check.none_of(path, set(wrong), "images are not held out, or not as the split says")


def saw_training_alone(
    evidence: Evidence, check: Check, record: Record, expected: pd.DataFrame, images: pd.DataFrame
) -> pd.DataFrame:
    """Try what a training recorded that it saw, and return it."""
    path = record.output("seen")[0]
    seen = evidence.table(path)
    check.count(trainings=1, images=len(seen))
    seen = whole_images(seen) if record.rule == "train_denoiser" else seen
    bad = evidence.not_for_training(seen, images)
    check.none_of(path, bad, "images are held out, or of a subject who is")
    missing = set(expected["image_id"]) - set(seen["image_id"])
    check.none_of(path, missing, "images of the training split are missing in what it says it saw")
    return seen


@patients.claim(
    "The images of every sampler were drawn with the weights of the model that they are named "
    "after, and of the one that guides it",
    "draw_samples",
    "choose_average",
)
def samples_come_from_their_model(evidence: Evidence, check: Check, record: Record) -> None:
    if record.rule == "choose_average":
        models, taken = {record.wildcards["model"]}, ["model", "short", "long"]
    else:
        model, guide = record.config["model_name"], record.config["sampler"]["autoguidance"]
        models, taken = (
            {model, *([guide] if guide not in (None, "early") else [])},
            ["model", "guide"],
        )
        path = record.output("index")[0]
        index = evidence.table(path)
        check.count(images=len(index))
        family = f"{model}/{record.config['sampler_name']}/{record.wildcards['cls']}/"
        strange = index.loc[~index["image_id"].str.startswith(family), "image_id"]
        check.none_of(path, strange, f"images are not named after {family}")
    weights = [path for name in taken for path in record.input(name)]
    found = {evidence.maker(path).wildcards["model"] for path in weights}
    check.equal(record.path, "models whose weights were read", found, models)


@patients.claim(
    "The classifier that is trained on synthetic images alone was given nothing else",
    "train_on_synthetic",
)
def synthetic_training_had_no_real_image(evidence: Evidence, check: Check, record: Record) -> None:
    samples = evidence.table(record.input("samples")[0])
    shards = [shard.path for shard in evidence.shards(record, "sample_shards")]
    check.count(trainings=1, images=len(samples))
    rules = {evidence.maker(path).rule for path in shards}
    check.equal(record.path, "rules that made the images it was given", rules, {"draw_samples"})
    check.equal(
        record.path,
        "shards of the images it was given",
        {Path(path).stem for path in shards},
        set(samples["shard"]),
    )
    both = set(samples["image_id"]) & set(evidence.owners.index)
    check.none_of(record.input("samples")[0], both, "images are real ones")


@patients.claim(
    "Every real image that a classifier of a study was given to train on is of the training split, "
    "of one finding, and nobody of it is in the validation or test split; every synthetic one is "
    "one of its sampler's; none comes twice",
    "compose_arm",
)
def arms_hold_no_held_out_patient(evidence: Evidence, check: Check, record: Record) -> None:
    path, images = record.output("arm")[0], evidence.images_of(record)
    arm = evidence.table(path)
    real, made = arm[~arm["synthetic"]], arm[arm["synthetic"]]
    check.count(arms=1, real_images=len(real), synthetic_images=len(made))
    bad = evidence.not_for_training(real, images)
    check.none_of(path, bad, "images are held out, or of a subject who is")
    single = images[single_finding(images)]
    strange = strangers(real, single, ["patient_id", *PLACE])
    check.none_of(path, strange, "real images are not in the image table with these values")
    samples = [evidence.table(name) for name in record.input("samples")]
    strange = strangers(made, pd.concat([images.head(0), *samples]), PLACE)
    check.none_of(path, strange, "synthetic images are not in the table of samples like that")
    check.none_of(path, twice(arm["image_id"]), "images come twice")
    check.none_of(path, arm["image_id"][arm.duplicated(["shard", "row"])], "images share pixels")


def strangers(rows: pd.DataFrame, table: pd.DataFrame, columns: list[str]) -> list[str]:
    """Return the ids of `rows` that are not in `table` with the same values in `columns`."""
    known = set(table[columns].itertuples(index=False, name=None))
    named = zip(rows["image_id"], rows[columns].itertuples(index=False, name=None), strict=True)
    return [name for name, row in named if row not in known]


@patients.claim(
    "Every proof of separation is of the files that stand there, and counts the same subjects",
    "prove_separation",
)
def proofs_are_of_these_files(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.outputs[0].path
    proof = read_json(evidence, path)
    named, images = proof["sha256"], evidence.images_of(record)
    check.count(proofs=1, files=len(named))
    now = {name: evidence.hashed(name).sha256 for name in named}
    other = [name for name in named if named[name] != now[name]]
    check.none_of(path, other, "files are not those that it was made of")
    needed = {
        file.path
        for file in record.inputs
        if file.name in ("images", "arm", "samples", "classifier", "generator", "guide")
    }
    check.none_of(path, needed - set(named), "files are missing in it")
    for split, counts in proof["held_out"].items():
        part = images[images["split"] == split]
        expected = {"images": len(part), "patients": part["patient_id"].nunique()}
        check.equal(path, f"{split} images and subjects", counts, expected)


def read_json(evidence: Evidence, path: str) -> dict:
    """Return what a JSON file holds."""
    evidence.hashed(path)
    return json.loads(Path(path).read_text(encoding="utf-8"))


@patients.claim(
    "Every classifier of a study was trained on the images that were proved, and on no others",
    "train_arm",
)
def classifiers_were_trained_as_proved(evidence: Evidence, check: Check, record: Record) -> None:
    proof = read_json(evidence, record.input("proof")[0])["sha256"]
    arm = evidence.table(record.input("arm")[0])
    check.count(trainings=1)
    taken = set(arm["shard"])
    read = {file.path: file.sha256 for file in record.inputs if file.name in ("images", "arm")}
    read |= {
        file.path: file.sha256
        for file in evidence.shards(record, "arm_shards")
        if Path(file.path).stem in taken
    }
    other = [path for path, sha256 in read.items() if proof.get(path) != sha256]
    path = record.outputs[0].path
    check.none_of(path, other, "files of its training are not those that were proved")
    given = {
        Path(shard.path).stem
        for name in ("shards", "arm_shards")
        for shard in evidence.shards(record, name)
    }
    check.none_of(path, taken - given, "shards of the arm were not given to the training")


@patients.claim(
    "Every classifier of a study was judged on the test images of one finding, all of them and no "
    "other, each of its own subject",
    "train_arm",
)
def predictions_are_of_test_images(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.outputs[0].path
    predictions = evidence.table(path)
    test = test_images(evidence.images_of(record))
    check.count(trainings=1, predictions=len(predictions))
    check.none_of(
        path, set(predictions["image_id"]) - set(test["image_id"]), "images are no test images"
    )
    check.none_of(path, set(test["image_id"]) - set(predictions["image_id"]), "images are missing")
    columns = ["image_id", "patient_id", "class_id", "class_name", "sex", "view"]
    same_rows(check, path, predictions[columns], test, "among the test images")
    trained = evidence.table(record.input("arm")[0])
    own = set(trained["patient_id"].dropna()) & set(predictions["patient_id"])
    check.none_of(path, own, "subjects were trained on and judged on")


@patients.claim(
    "The copies planted to try the search for copies are of training images", "draw_controls"
)
def planted_copies_are_of_training_images(evidence: Evidence, check: Check, record: Record) -> None:
    path, images = record.output("planted_index")[0], evidence.images_of(record)
    planted = evidence.table(path)
    check.count(images=len(planted))
    training = images[(images["split"] == "train") & single_finding(images)]
    wrong = strangers(
        planted[["source_image_id", "class_name"]].set_axis(["image_id", "class_name"], axis=1),
        training,
        ["image_id", "class_name"],
    )
    check.none_of(path, wrong, "planted copies are of no training image of their class")


@patients.claim(
    "Copies were looked for among the training images, and of synthetic images alone",
    "audit_copies",
)
def copies_are_of_training_images(evidence: Evidence, check: Check, record: Record) -> None:
    path, images = record.output("copies")[0], evidence.images_of(record)
    copies, samples = evidence.table(path), evidence.table(record.input("samples")[0])
    check.count(images=copies["image_id"].nunique())
    strange = strangers(copies, samples, ["image_id", "class_name"])
    check.none_of(path, strange, "images are not in the table of samples")
    training = images.loc[images["split"] == "train", "image_id"]
    wrong = set(copies["nearest_image_id"]) - set(training)
    check.none_of(path, wrong, "images that were looked among are no training images")
    pairs = copies["image_id"] + " in " + copies["extractor"]
    check.none_of(path, twice(pairs), "images come twice")


@patients.claim(
    "Readers are shown test images, one of each subject, and synthetic images of the sampler",
    "make_reader_study",
)
def readers_see_test_images(evidence: Evidence, check: Check, record: Record) -> None:
    path = record.output("key")[0]
    key, samples = evidence.table(path), evidence.table(record.input("samples")[0])
    test = test_images(evidence.images_of(record))
    real, made = key[~key["synthetic"]], key[key["synthetic"]]
    check.count(real_images=len(real), synthetic_images=len(made))
    columns = ["image_id", "class_name"]
    check.none_of(path, strangers(real, test, columns), "real images are no test images")
    check.none_of(path, strangers(made, samples, columns), "synthetic images are none of samples")
    owners = test.set_index("image_id")["patient_id"]
    shown = real["image_id"].map(owners).dropna()
    check.none_of(path, twice(shown), "subjects are shown twice")
    numbers = [part["class_name"].value_counts().to_dict() for part in (real, made)]
    check.equal(path, "real images by class", numbers[0], numbers[1])
