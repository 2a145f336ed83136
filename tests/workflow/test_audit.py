"""The audit of a finished run: it holds, and finds every fault that is planted in a copy of it.

Faults are planted as somebody would who wants them not to be found: after it, all records and proofs
are made to agree with the files, so that the hashes tell nothing.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import yaml

from workflow_scripts.audit.audit import CHAPTERS
from workflow_scripts.audit.claims import Chapter, Check, tried
from workflow_scripts.audit.custody import custody
from workflow_scripts.audit.evidence import Evidence
from workflow_scripts.trail.hashing import hash_file
from workflow_scripts.trail.records import read_record, record_paths

DATA = "results/phantom"
SPLITS = [f"{DATA}/splits/{name}.csv" for name in ("train", "val", "test")]
LABELS, COHORT, METADATA = (f"{DATA}/{name}.parquet" for name in ("labels", "cohort", "metadata"))
TENSORS, FEATURES = f"{DATA}/tensors/16", f"{DATA}/features/16"
IMAGES, PLANTED = f"{TENSORS}/images.parquet", f"{FEATURES}/controls/planted.parquet"
SHARD, OTHER_SHARD = f"{TENSORS}/images_001.npy", f"{TENSORS}/images_002.npy"
MODEL, SAMPLES = f"{DATA}/models/small", f"{DATA}/samples/small/dpm4"
SAMPLE_SHARD = f"{SAMPLES}/effusion/effusion_000.npy"
CLASSIFIER = f"{DATA}/classifier/16"
MEASURES, STUDY = f"{DATA}/evaluate/small/dpm4", f"{DATA}/study/augmentation"
KEY = f"{DATA}/readers/blinded/key.parquet"


class Run:
    """A copy of a finished run, in the working directory, and what was changed in it."""

    def __init__(self) -> None:
        self.changed: set[str] = set()
        self.images = pd.read_parquet(IMAGES)

    def image(self, split: str, several: bool = False) -> pd.Series:
        """Return an image of a split; with `several`, of a patient with several images in it."""
        part = self.images[self.images["split"] == split]
        if several:
            part = part[part["patient_id"].duplicated(keep=False)]
        return part.iloc[0]

    def edit(self, path: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        """Write what `change` makes of a table."""
        if path.endswith(".csv"):
            change(pd.read_csv(path, dtype=str)).to_csv(path, index=False)
        else:
            change(pd.read_parquet(path)).to_parquet(path, index=False)
        self.changed.add(path)

    def put(self, path: str, where: dict[str, object], **values: object) -> None:
        """Write values, or what they make of the old ones, into the first row that is as `where`."""

        def change(table: pd.DataFrame) -> pd.DataFrame:
            chosen = np.ones(len(table), dtype=bool)
            for name, wanted in where.items():
                chosen &= (table[name] == wanted).to_numpy()
            for row in table.index[chosen][:1]:
                for column, value in values.items():
                    old = table.loc[row, column]
                    table.loc[row, column] = value(old) if callable(value) else value
            return table

        self.edit(path, change)

    def add(self, path: str, **values: object) -> None:
        """Add a row to a table: its last one, with other values in the columns that it has."""

        def change(table: pd.DataFrame) -> pd.DataFrame:
            own = {name: value for name, value in values.items() if name in table}
            return pd.concat([table, table.tail(1).assign(**own)])

        self.edit(path, change)

    def drop(self, path: str, **where: object) -> None:
        """Take the rows of a value out of a table, or its last one."""
        if not where:
            self.edit(path, lambda table: table.iloc[:-1])
        for name, value in where.items():
            self.edit(path, lambda table, name=name, value=value: table[table[name] != value])

    def array(self, path: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Write what `change` makes of an array."""
        np.save(path, change(np.load(path)))
        self.changed.add(path)

    def pixels(self, shard: str, row: int, image: np.ndarray) -> None:
        """Put an image into a shard, and its hash into the index if there are any."""

        def change(array: np.ndarray) -> np.ndarray:
            array[row] = image
            return array

        self.array(shard, change)
        index = shard.replace(".npy", ".parquet")
        if "sha256" in pd.read_parquet(index):
            self.put(index, {"row": row}, sha256=hash_file(shard).images[row].hex())

    def json(self, path: str, change: Callable[[dict], object]) -> None:
        """Change what a JSON file holds."""
        found = json.loads(Path(path).read_text())
        change(found)
        Path(path).write_text(json.dumps(found, indent=1) + "\n")
        if "/provenance/" not in path:
            self.changed.add(path)

    def record(self, name: str, change: Callable[[dict], object]) -> None:
        """Change a record."""
        self.json(f"{DATA}/provenance/{name}.json", change)

    def swap(self, one: str, other: str) -> None:
        """Swap two files."""
        Path(one).rename("swapped")
        Path(other).rename(one)
        Path("swapped").rename(other)
        self.changed |= {one, other}

    def move(self, image: pd.Series, split: str) -> None:
        """Move an image into another split, wherever splits are told."""
        row = pd.DataFrame(
            [image[["image_id", "patient_id", "class_id", "class_name"]].astype(str)]
        )
        for path in SPLITS:
            self.drop(path, image_id=image.image_id)
        self.edit(f"{DATA}/splits/{split}.csv", lambda table: pd.concat([table, row]))
        for path in (METADATA, IMAGES):
            self.put(path, {"image_id": image.image_id}, split=split)

    def give(self, image: pd.Series, patient: str) -> None:
        """Give an image another patient, wherever patients are told but in the raw table."""
        for path in (LABELS, COHORT, METADATA, IMAGES, *SPLITS):
            self.put(path, {"image_id": image.image_id}, patient_id=patient)

    def forge(self) -> None:
        """Make all lists of shards, proofs and records agree with the files."""
        for path in map(str, Path(DATA).glob("**/shards.parquet")):
            self.edit(path, relisted(path))
        for path in map(str, Path(DATA).glob("study/*/separation/*.json")):
            self.json(path, lambda proof: proof["sha256"].update(hashes(proof["sha256"])))
        for path in map(str, record_paths(DATA)):
            self.json(path, agree)


def hashes(paths: Iterable[str]) -> dict[str, str]:
    return {path: hash_file(path).sha256 for path in paths}


def relisted(path: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return what makes a list of shards agree with the shards."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        paths = [str(Path(path).parent / name) for name in table["path"]]
        return table.assign(
            images=[len(np.load(one)) for one in paths], sha256=[*hashes(paths).values()]
        )

    return change


def agree(record: dict) -> None:
    """Make a record agree with the files."""
    for file in record["inputs"] + record["outputs"]:
        path = file["path"]
        found = hash_file(path)
        file |= {"bytes": found.bytes, "sha256": found.sha256}
        if "rows" in file and path.endswith(".npy"):
            file["rows"] = len(np.load(path, mmap_mode="r"))
        elif "rows" in file and path.endswith(".parquet"):
            file["rows"] = len(pd.read_parquet(path))
        elif "rows" in file and path.endswith(".csv"):
            file["rows"] = len(pd.read_csv(path))


class Plant(NamedTuple):
    """A fault, the claim that must not hold then, and where it must say what."""

    fault: str
    edit: Callable[[Run], object]
    claim: str
    path: str
    says: str


def measure(run: Run, part: str, where: dict[str, object], **values: object) -> None:
    """Edit a measure in its part and in the table of all measures alike."""
    for path in (f"{MEASURES}/parts/{part}.parquet", f"{MEASURES}/metrics.parquet"):
        run.put(path, where, **values)


def real_pixels(run: Run, split: str) -> np.ndarray:
    """Return an image of a split: uint8 (size, size)."""
    image = run.image(split)
    return np.load(f"{TENSORS}/{image['shard']}.npy")[image["row"]]


def described(image: pd.Series) -> dict[str, object]:
    """Return what an arm says of a real image."""
    return {
        name: image[name]
        for name in ("image_id", "patient_id", "class_id", "class_name", "shard", "row")
    }


def more(value):
    return value + 1


REAL = {"synthetic": False}
WRONG = "is another"
IN_DATA = [
    Plant(
        "a patient has images in train and in test",
        lambda run: run.move(run.image("train", several=True), "test"),
        "splits_share_nobody",
        SPLITS[0],
        "subjects are in two splits",
    ),
    Plant(
        "an image was moved to another split, and predictions were not made anew",
        lambda run: None,
        "predictions_are_of_test_images",
        f"{STUDY}/predictions/real_seed0.parquet",
        "images are missing",
    ),
    Plant(
        "the split report counts what was there before",
        lambda run: None,
        "splits_are_the_cohort",
        f"{DATA}/split_report.json",
        "images of test",
    ),
    Plant(
        "a row is in the list of another split alone",
        lambda run: (
            run.add(SPLITS[2], **described(run.image("val"))),
            run.drop(SPLITS[1], image_id=run.image("val")["image_id"]),
        ),
        "metadata_joins_cohort_and_splits",
        METADATA,
        "images have another split in the lists",
    ),
    Plant(
        "an image has another patient, everywhere but in the raw table",
        lambda run: run.give(run.image("test"), "999"),
        "labels_are_the_raw_table",
        LABELS,
        "images have another subject in the raw table",
    ),
    Plant(
        "a view was edited in the cohort",
        lambda run: run.put(COHORT, {}, view="LATERAL"),
        "cohort_is_of_the_labels",
        COHORT,
        "images have another view in the labels",
    ),
    Plant(
        "an exclusion was taken out",
        lambda run: run.drop(f"{DATA}/exclusions.parquet"),
        "cohort_and_exclusions_are_the_labels",
        f"{DATA}/exclusions.parquet",
        "images of the labels are in neither",
    ),
    Plant(
        "an image was taken out of the image table",
        lambda run: run.drop(IMAGES),
        "selected_and_unmatched_add_up",
        IMAGES,
        "images are missing or too many",
    ),
    Plant(
        "an image lies in another row",
        lambda run: run.put(IMAGES, {"split": "train"}, row=more),
        "images_are_of_the_metadata",
        IMAGES,
        "images have another row in the archives' indices",
    ),
    Plant(
        "a pixel was edited",
        lambda run: run.array(
            OTHER_SHARD, lambda array: array ^ (np.indices(array.shape).sum(0) == 9)
        ),
        "pixels_are_as_decoded",
        OTHER_SHARD,
        "images have other pixels than their index says",
    ),
    Plant(
        "a synthetic image is among the real ones",
        lambda run: run.pixels(SHARD, 3, np.load(SAMPLE_SHARD)[0]),
        "no_pixels_twice",
        f"{SAMPLES}/samples.parquet",
        "small/dpm4/effusion/000000 is ",
    ),
    Plant(
        "a validation image stands in the test split under another name",
        lambda run: run.pixels(
            f"{TENSORS}/{run.image('test')['shard']}.npy",
            run.image("test")["row"],
            real_pixels(run, "val"),
        ),
        "no_pixels_twice",
        IMAGES,
        "images show the same in two splits",
    ),
    Plant(
        "a shard is not listed",
        lambda run: run.drop(f"{SAMPLES}/shards.parquet"),
        "lists_are_of_their_shards",
        f"{SAMPLES}/shards.parquet",
        "shards are not as it lists them",
    ),
    Plant(
        "an image is in two archives",
        lambda run: run.put(
            f"{TENSORS}/images_002.parquet",
            {"row": 5},
            image_id=pd.read_parquet(f"{TENSORS}/images_001.parquet")["image_id"].iloc[0],
        ),
        "archives_hold_each_image_once",
        "select_images",
        "images are in two archives",
    ),
    Plant(
        "a table lacks a column",
        lambda run: run.edit(
            f"{DATA}/label_issues.parquet", lambda table: table.drop(columns="reason")
        ),
        "tables_fit",
        "label_issues.parquet",
        "column",
    ),
]
ELSEWHERE = [
    Plant(
        "a generator saw a test image",
        lambda run: run.add(f"{MODEL}/seen.parquet", **described(run.image("test"))),
        "generators_saw_no_held_out_patient",
        f"{MODEL}/seen.parquet",
        "images are held out",
    ),
    Plant(
        "a generator does not say all that it saw",
        lambda run: run.drop(f"{MODEL}/seen.parquet", image_id=run.image("train")["image_id"]),
        "generators_saw_no_held_out_patient",
        f"{MODEL}/seen.parquet",
        "images of the training split are missing",
    ),
    Plant(
        "the domain classifier saw another image of a validation patient",
        lambda run: run.put(
            f"{CLASSIFIER}/domain_seen.parquet", {}, patient_id=run.image("val")["patient_id"]
        ),
        "the_classifier_saw_no_held_out_patient",
        f"{CLASSIFIER}/domain_seen.parquet",
        "images are held out",
    ),
    Plant(
        "the domain classifier was given other images than it says",
        lambda run: run.put(f"{CLASSIFIER}/domain_seen.parquet", {}, image_id="another.png"),
        "the_classifier_saw_no_held_out_patient",
        f"{CLASSIFIER}/domain.safetensors",
        "SHA-256 of their ids",
    ),
    Plant(
        "a real test image is among the synthetic ones",
        lambda run: run.pixels(SAMPLE_SHARD, 2, real_pixels(run, "test")),
        "no_pixels_twice",
        f"{SAMPLES}/samples.parquet",
        "small/dpm4/effusion/000004 is ",
    ),
    Plant(
        "samples were drawn with the weights of another model",
        lambda run: run.record(
            "draw_samples/small/dpm4/cardiomegaly_000",
            lambda facts: facts["config"].update(model_name="other"),
        ),
        "samples_come_from_their_model",
        "small/dpm4/cardiomegaly_000",
        "models whose weights were read",
    ),
    Plant(
        "a sample is named after another model",
        lambda run: run.put(
            f"{SAMPLES}/no_finding/no_finding_001.parquet",
            {},
            image_id="other/dpm4/no_finding/000001",
        ),
        "samples_come_from_their_model",
        "no_finding_001.parquet",
        "images are not named after small/dpm4/no_finding/",
    ),
    Plant(
        "a training on synthetic images was given a real shard",
        lambda run: run.record(
            "train_on_synthetic/small/dpm4",
            lambda facts: facts["inputs"].append(
                {"name": "sample_shards", "path": SHARD, "bytes": 0, "sha256": ""}
            ),
        ),
        "synthetic_training_had_no_real_image",
        "train_on_synthetic",
        "rules that made the images it was given",
    ),
    Plant(
        "an arm holds a validation image",
        lambda run: run.put(f"{STUDY}/arms/rare.parquet", REAL, **described(run.image("val"))),
        "arms_hold_no_held_out_patient",
        f"{STUDY}/arms/rare.parquet",
        "images are held out",
    ),
    Plant(
        "an arm holds pixels of a test image under the name of a training image",
        lambda run: run.put(f"{STUDY}/arms/pretrain.parquet", REAL, row=run.image("test")["row"]),
        "arms_hold_no_held_out_patient",
        f"{STUDY}/arms/pretrain.parquet",
        "real images are not in the image table with these values",
    ),
    Plant(
        "an arm holds a synthetic image of another sampler",
        lambda run: run.put(
            f"{STUDY}/arms/rare.parquet",
            {"synthetic": True},
            image_id="small/other/effusion/000000",
        ),
        "arms_hold_no_held_out_patient",
        f"{STUDY}/arms/rare.parquet",
        "synthetic images are not in the table of samples",
    ),
    Plant(
        "a proof counts other patients",
        lambda run: run.json(
            f"{STUDY}/separation/real.json",
            lambda proof: proof["held_out"]["test"].update(patients=1),
        ),
        "proofs_are_of_these_files",
        f"{STUDY}/separation/real.json",
        "test images and subjects",
    ),
    Plant(
        "a proof is not of the arm that was trained on",
        lambda run: run.json(
            f"{STUDY}/separation/pretrain.json",
            lambda proof: proof["sha256"].pop(f"{STUDY}/arms/pretrain.parquet"),
        ),
        "classifiers_were_trained_as_proved",
        f"{STUDY}/predictions/pretrain_seed1.parquet",
        "files of its training are not those that were proved",
    ),
    Plant(
        "a classifier was judged on an image that is no test image",
        lambda run: run.put(
            f"{STUDY}/predictions/rare_seed0.parquet", {}, image_id=run.image("train")["image_id"]
        ),
        "predictions_are_of_test_images",
        f"{STUDY}/predictions/rare_seed0.parquet",
        "images are no test images",
    ),
    Plant(
        "predictions of two seeds were swapped",
        lambda run: run.swap(*(f"{STUDY}/predictions/real_seed{seed}.parquet" for seed in (0, 1))),
        "predictions_are_complete",
        f"{STUDY}/predictions/real_seed1.parquet",
        "arm and seed",
    ),
    Plant(
        "a planted copy is of a test image",
        lambda run: run.put(PLANTED, {}, source_image_id=run.image("test")["image_id"]),
        "planted_copies_are_of_training_images",
        PLANTED,
        "planted copies are of no training image",
    ),
    Plant(
        "copies were looked for among test images",
        lambda run: run.put(
            f"{MEASURES}/copies.parquet", {}, nearest_image_id=run.image("test")["image_id"]
        ),
        "copies_are_of_training_images",
        f"{MEASURES}/copies.parquet",
        "no training images",
    ),
    Plant(
        "readers saw a training image",
        lambda run: run.put(KEY, REAL, image_id=run.image("train")["image_id"]),
        "readers_see_test_images",
        KEY,
        "real images are no test images",
    ),
    Plant(
        "a training was cut short",
        lambda run: run.drop(f"{MODEL}/training_log.parquet"),
        "trainings_took_their_steps",
        f"{MODEL}/training_log.parquet",
        "last step",
    ),
    Plant(
        "a sample is missing in its shard",
        lambda run: run.array(
            f"{SAMPLES}/cardiomegaly/cardiomegaly_001.npy", lambda array: array[:-1]
        ),
        "shards_of_samples_are_full",
        "cardiomegaly_001.npy",
        "images: 5, but 6",
    ),
    Plant(
        "two samples have one seed",
        lambda run: [
            run.put(path, {"image_id": "small/dpm4/effusion/000001"}, seed=7)
            or run.put(path, {"image_id": "small/dpm4/effusion/000003"}, seed=7)
            for path in (f"{SAMPLES}/effusion/effusion_001.parquet", f"{SAMPLES}/samples.parquet")
        ],
        "samples_are_complete",
        f"{SAMPLES}/samples.parquet",
        "seeds come twice: 7",
    ),
    Plant(
        "features of an image are missing",
        lambda run: run.array(f"{FEATURES}/pixels/real.npy", lambda array: array[:-1]),
        "features_have_a_row_per_image",
        f"{FEATURES}/pixels/real.npy",
        "rows",
    ),
    Plant(
        "a feature is no number",
        lambda run: run.array(f"{FEATURES}/domain/planted.npy", lambda array: array * np.inf),
        "arrays_fit",
        f"{FEATURES}/domain/planted.npy",
        "no number",
    ),
    Plant(
        "noise is less than the test images",
        lambda run: (
            run.drop(f"{FEATURES}/controls/noise.parquet"),
            run.array(f"{FEATURES}/controls/noise.npy", lambda array: array[:-1]),
        ),
        "noise_is_as_many_as_test_images",
        f"{FEATURES}/controls/noise.parquet",
        "images: ",
    ),
    Plant(
        "an arm is not what was planned",
        lambda run: run.put(f"{STUDY}/arms.parquet", {"arm": "real"}, real=more),
        "arms_are_as_planned",
        f"{STUDY}/arms/real.parquet",
        "images by class",
    ),
    Plant(
        "a measure says another N",
        lambda run: measure(
            run, "physics", {"metric": "sharpness_ratio", "class_name": "Effusion"}, n=more
        ),
        "metrics_compare_what_they_say",
        f"{MEASURES}/parts/physics.parquet",
        "sharpness_ratio, pixels, Effusion: N is ",
    ),
    Plant(
        "a measure was edited in the table of all",
        lambda run: run.put(
            f"{MEASURES}/metrics.parquet", {"metric": "kernel_distance"}, value=0.0
        ),
        "metrics_are_their_parts",
        f"{MEASURES}/metrics.parquet",
        "not what its parts say",
    ),
    Plant(
        "class accuracy was edited",
        lambda run: measure(
            run, "condition", {"metric": "class_accuracy", "class_name": "pooled"}, value=0.99
        ),
        "accuracies_follow",
        f"{MEASURES}/parts/condition.parquet",
        "class_accuracy, pooled: 0.99",
    ),
    Plant(
        "the share of copies was edited",
        lambda run: measure(
            run, "copies", {"metric": "memorised_fraction", "class_name": "Effusion"}, value=0.5
        ),
        "copied_shares_follow",
        f"{MEASURES}/parts/copies.parquet",
        "memorised_fraction, Effusion: 0.5",
    ),
    Plant(
        "the classes seen count an image too many",
        lambda run: run.put(f"{MEASURES}/confusion.parquet", {}, images=more),
        "confusion_counts_every_sample",
        f"{MEASURES}/confusion.parquet",
        "images by class asked",
    ),
    Plant(
        "the comparison of models was edited",
        lambda run: run.put(f"{DATA}/evaluate/comparison.parquet", {}, kernel_distance_domain=0.0),
        "comparison_is_of_the_measures",
        f"{DATA}/evaluate/comparison.parquet",
        "kernel_distance_domain",
    ),
    Plant(
        "the answer of a study was edited",
        lambda run: run.put(f"{STUDY}/summary.parquet", {"primary": True}, difference=0.2),
        "summaries_follow",
        f"{STUDY}/summary.parquet",
        "difference of real+0.2, auroc, macro: 0.2",
    ),
    Plant(
        "a study says that it rests on more patients",
        lambda run: run.put(f"{STUDY}/summary.parquet", {}, n_patients=more),
        "summaries_rest_on_all_test_images",
        f"{STUDY}/summary.parquet",
        "subjects",
    ),
    Plant(
        "other weights were exported",
        lambda run: run.swap(
            f"{DATA}/export/small/unet/diffusion_pytorch_model.safetensors",
            f"{MODEL}/ema/early.safetensors",
        ),
        "exports_are_the_models",
        f"{DATA}/export/small/unet/diffusion_pytorch_model.safetensors",
        f"it is not {MODEL}/unet",
    ),
]
# Tried in test_audit_custody.py on a folder of its own, for the phantom has no such files, and in
# test_anomaly_search.py on a run with a search.
TRIED_APART = {
    "searches_follow",
    "searches_score_held_out_images",
    "from_outside",
    "files_are_decoded_or_rejected",
    "labels_name_what_was_listed",
    "the_raw_table_is_what_the_files_say",
}


def copied(run: Path, folder: Path) -> Path:
    """Copy a finished run into a folder whose name is as people have them."""
    return shutil.copytree(run, folder / "Röntgen 1", symlinks=True)


def failing(*chapters: Chapter) -> dict[str, Check]:
    """Audit the working directory, and return the claims that do not hold by the name of what tries them."""
    evidence = Evidence(Path(DATA), threads=2)
    found = [pair for _, own in tried(chapters, evidence) for pair in own]
    return {claim.function.__name__: check for claim, check in found if not check.holds}


@pytest.fixture(scope="module", params=[IN_DATA, ELSEWHERE], ids=["data", "elsewhere"])
def planted(request, phantom_run, tmp_path_factory) -> Iterator[tuple]:
    """Plant many faults in a copy of a run; return them, what was changed, and what fails by hash and by proof."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copied(phantom_run, tmp_path_factory.mktemp("planted")))
        run = Run()
        for plant in request.param:
            plant.edit(run)
        changed, by_hash = set(run.changed), failing(custody)
        run.forge()
        yield request.param, changed, by_hash, failing(*CHAPTERS)


def test_a_finished_run_holds(phantom_run, monkeypatch):
    monkeypatch.chdir(phantom_run)
    assert failing(*CHAPTERS) == {}


def test_every_changed_file_is_found_by_its_hash(planted):
    _, changed, by_hash, _ = planted
    assert {fault.path for fault in by_hash["unchanged"].faults} == changed


def test_faults_are_found_though_all_records_agree_with_them(planted):
    plants, _, _, by_proof = planted
    assert "unchanged" not in by_proof and "current" not in by_proof
    missed = [
        plant.fault
        for plant in plants
        if plant.claim not in by_proof
        or not any(
            plant.path in fault.path and plant.says in fault.what
            for fault in by_proof[plant.claim].faults
        )
    ]
    assert missed == [], {
        plant.claim: by_proof.get(plant.claim) for plant in plants if plant.fault in missed
    }


def test_a_fault_is_planted_for_every_claim():
    names = {claim.function.__name__ for chapter in CHAPTERS for claim in chapter.claims}
    kept = {claim.function.__name__ for claim in custody.claims}
    assert names == {plant.claim for plant in IN_DATA + ELSEWHERE} | kept | TRIED_APART


def test_a_damaged_file_of_every_kind_is_found(phantom_run, tmp_path, monkeypatch):
    monkeypatch.chdir(copied(phantom_run, tmp_path))
    made = [file.path for path in record_paths(DATA) for file in read_record(path).outputs]
    by_kind = {path.rpartition(".")[2]: path for path in sorted(made)}
    assert {"gz", "csv", "parquet", "npy", "safetensors", "json", "png", "html", "md", "py"} == {
        *by_kind
    }
    for path in by_kind.values():
        data = bytearray(Path(path).read_bytes())
        # The first bytes and the last, too, are where readers stumble in ways of their own.
        for place in (4, len(data) // 2, -5):
            data[place] ^= 1
        Path(path).write_bytes(data)
    found = failing(*CHAPTERS)
    assert {fault.path for fault in found["unchanged"].faults} == {*by_kind.values()}
    assert "present" not in found and "one_maker" not in found


def test_what_is_gone_foreign_or_unrecorded_is_named(phantom_run, tmp_path, monkeypatch):
    monkeypatch.chdir(copied(phantom_run, tmp_path))
    gone, foreign, unread = (
        f"{MODEL}/seen.parquet",
        f"{TENSORS}/mine.npy",
        f"{DATA}/provenance/audit.json",
    )
    Path(gone).unlink()
    Path(foreign).write_bytes(b"")
    Path(f"{DATA}/provenance/collect_samples/small/dpm4.json").unlink()
    Path(unread).write_text("{}")
    found = failing(*CHAPTERS)
    assert [fault.path for fault in found["present"].faults] == [gone]
    unrecorded = {fault.path for fault in found["one_maker"].faults}
    assert {foreign, f"{SAMPLES}/samples.parquet", f"{SAMPLES}/effusion/grid.png"} <= unrecorded
    assert unread in [fault.path for fault in found["readable"].faults]
    # What rests on them is not said to hold.
    for name in ("generators_saw_no_held_out_patient", "arms_hold_no_held_out_patient"):
        assert found[name].obstacles
    assert gone in " ".join(found["generators_saw_no_held_out_patient"].obstacles)


def test_the_command_tells_a_finished_run_from_one_that_is_stale(snakemake, world):
    folder, config = world.data.parents[1], world.folder / "mine.yaml"
    page = world.data / "audit" / "index.html"

    def run(target: str, check: bool = True) -> subprocess.CompletedProcess:
        config.write_text(yaml.safe_dump(world.config, sort_keys=False))
        return snakemake(folder, target, "--configfile", config, check=check)

    assert re.search(rf"{DATA}: all \d+ claims hold", run("audit").stderr)
    assert "Everything holds." in page.read_text() and str(folder) not in page.read_text()
    assert world.plan().rules == set()

    # Fewer synthetic images, and only the arm is made anew.
    world.config["studies"]["low-data"]["arms"]["synthetic"]["synthetic"] = 0.1
    arm = f"{DATA}/study/low-data/arms/synthetic.parquet"
    run(arm)
    done = run("audit", check=False)
    assert done.returncode != 0 and "defect" not in done.stderr
    stale = f"separation/synthetic.json: stale: made of another version of {arm}"
    assert stale in done.stderr and "stale: made of another version" in page.read_text()
