"""Data of every kind that holds many images in one file, from the files to the tensors, one to samples."""

import gzip
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.volumes import head, write_brains, write_digits, write_patches
from workflow_scripts.audit.audit import audit
from workflow_scripts.formats.images import window
from workflow_scripts.formats.nifti import plane
from workflow_scripts.tensors.reduction import reduce

SPLITS = ("train", "val", "test")
DRAWN = [
    f"results/brains/samples/small/dpm4/{name}/{name}_000.npy" for name in ("no_finding", "tumour")
]


def brains(folder):
    """Two contrasts of two volumes each: 4-D files, two channels, 16 bits."""
    write_brains(folder, volumes=2)
    nifti = {
        "images": str(folder),
        "files": r".*/(?P<subject>case_\d+)_(?P<contrast>t1|t2|seg)\.nii\.gz",
        "contrasts": ["t2", "t1"],
        "mask": {"contrast": "seg", "finding": "Tumour"},
        "axis": "coronal",
    }
    return {
        "dataset": {"name": "brains", "kind": "nifti", "nifti": nifti},
        "cohort": {"classes": ["No Finding", "Tumour"]},
        "split": {"fractions": {"train": 0.6, "val": 0.2, "test": 0.2}},
        "tensors": {"size": 12, "channels": 2, "bits": 16},
        "models": {
            "small": {
                "network": {"channels": [8]},
                "training": {"steps": 20, "batch_size": 8, "warmup_steps": 5},
            }
        },
        "samplers": {"dpm4": {"method": "dpm++2m", "steps": 4, "per_class": 3}},
    }


def patches(folder):
    write_patches(folder, {"train": 48, "valid": 16, "test": 16})
    hdf5 = {
        "folder": str(folder),
        "files": [
            {
                "images": f"split_{name}_x.h5",
                "labels": f"split_{name}_y.h5",
                "subjects": f"split_{name}_meta.csv",
                "split": split,
            }
            for name, split in zip(("train", "valid", "test"), SPLITS, strict=True)
        ],
        "arrays": {"images": "x", "labels": "y", "subjects": "wsi"},
        "findings": {0: "No Finding", 1: "Tumour"},
        "parts": 2,
    }
    return {
        "dataset": {"name": "patches", "kind": "hdf5", "hdf5": hdf5},
        "cohort": {"classes": ["No Finding", "Tumour"]},
        "split": {"method": "official"},
        "tensors": {"size": 12, "channels": 3},
    }


def digits(folder):
    write_digits(folder, {"train": 40, "t10k": 12})
    files = [
        {
            "images": f"{name}-images-idx3-ubyte",
            "labels": f"{name}-labels-idx1-ubyte",
            "split": split,
        }
        for name, split in (("train", "train"), ("t10k", "test"))
    ]
    return {
        "dataset": {
            "name": "digits",
            "kind": "idx",
            "idx": {"folder": str(folder), "files": files},
        },
        "cohort": {"classes": ["0", "1", "2"]},
        "split": {"method": "official", "fractions": {"train": 0.7, "val": 0.2, "test": 0.1}},
        "tensors": {"size": 8},
    }


KINDS = {"nifti": brains, "hdf5": patches, "idx": digits}


@pytest.fixture(scope="module", params=KINDS)
def run(request, tmp_path_factory, snakemake):
    """A finished run of each kind up to its tensors, or samples: kind, folder, configuration."""
    folder = tmp_path_factory.mktemp(request.param)
    config = KINDS[request.param](folder / "files")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    targets = ["tensors", *(DRAWN if "models" in config else [])]
    snakemake(folder, *targets, "--configfile", folder / "config.yaml")
    return request.param, folder, config


def tables(run):
    _, folder, config = run
    data = folder / "results" / config["dataset"]["name"]
    size = config["tensors"]["size"]
    images = pd.read_parquet(data / f"tensors/{size}/images.parquet")
    shards = {path.stem: np.load(path) for path in data.glob(f"tensors/{size}/*.npy")}
    pixels = [shards[row.shard][row.row] for row in images.itertuples()]
    return data, images, pixels


def test_no_subject_is_in_two_splits_and_the_official_ones_are_kept(run):
    kind, _, _ = run
    data, images, _ = tables(run)
    assert (images.groupby("patient_id")["split"].nunique() == 1).all()
    assert set(images["split"]) == set(SPLITS)
    report = json.loads((data / "split_report.json").read_text())
    assert report["patients_shared_between_splits"] == 0
    stem = images["image_id"].str.split("/").str[0]
    if kind == "hdf5":
        names = dict(zip(("split_train_x", "split_valid_x", "split_test_x"), SPLITS, strict=True))
        assert (images["split"] == stem.map(names)).all()
        assert images["patient_id"].str.match(r"slide_\d+").all()
    elif kind == "idx":
        assert ((images["split"] == "test") == stem.str.startswith("t10k")).all()
        assert (images["patient_id"] == images["image_id"]).all()
    else:
        assert images["patient_id"].nunique() == 12


def test_every_pixel_is_the_one_of_the_file(run):
    kind, folder, _ = run
    data, images, pixels = tables(run)
    if kind == "nifti":
        listing = pd.read_parquet(data / "raw/listing.parquet").set_index(["image_id", "channel"])
        for image, found in zip(images.itertuples(), pixels, strict=True):
            assert found.dtype == np.uint16 and found.shape == (12, 12, 2)
            number = int(image.patient_id[-3:])
            volume = head(number, lesion=number % 2 == 0)
            for channel, weight in enumerate((0.5, 1.0)):
                place = listing.loc[image.image_id, channel]
                scan = (weight * volume).astype(np.int16) // 2**place.frame
                values = plane(scan, "coronal", place.position)
                expected = reduce(window(values, place.low, place.high), 12, bits=16)
                np.testing.assert_array_equal(found[..., channel], expected)
        assert set(images["image_id"].str.split("/").str[2]) == {"volume_000", "volume_001"}
        dropped = pd.read_parquet(data / "raw/dropped.parquet")
        assert len(dropped) and set(dropped["reason"]) == {"empty slice"}
        assert not set(dropped["image_id"]) & set(images["image_id"])
    elif kind == "hdf5":
        stored = write_patches(folder / "again", {"train": 48, "valid": 16, "test": 16})
        for image, found in zip(images.itertuples(), pixels, strict=True):
            _, name, row = re.fullmatch(r"(split_(\w+)_x)/(\d+)", image.image_id).groups()
            np.testing.assert_array_equal(found, stored[name][int(row)])
    else:
        stored = write_digits(folder / "again", {"train": 40, "t10k": 12})
        for image, found in zip(images.itertuples(), pixels, strict=True):
            name, row = image.image_id.split("/")
            np.testing.assert_array_equal(found, stored[name.split("-")[0]][int(row)])
            assert found.mean(axis=1).argmax() == int(image.class_name)


def test_every_claim_of_an_audit_holds(run, monkeypatch):
    _, folder, config = run
    monkeypatch.chdir(folder)
    elsewhere = [str(path) for path in (folder / "files").glob("*") if path.is_file()]
    audit(Path("results", config["dataset"]["name"]), elsewhere, 1)


@pytest.mark.parametrize("run", ["nifti"], indirect=True)
def test_four_dimensional_files_of_two_contrasts_are_learned_and_drawn(run):
    _, folder, _ = run
    for path in DRAWN:
        images = np.load(folder / path)
        assert images.dtype == np.uint16 and images.shape == (3, 12, 12, 2)
        assert images.std() > 0 and len({image.tobytes() for image in images}) == 3


def test_an_edited_file_makes_its_images_anew(run, forks, root):
    kind, folder, _ = run

    def plan():
        status, said = forks.run(
            root, "snakemake", "tensors", "-n", "--snakefile", root / "Snakefile",
            "--workflow-profile", root / "profiles" / "default", "--directory", folder,
            "--configfile", folder / "config.yaml",
        )  # fmt: skip
        assert status == 0, said[-6000:]
        return set(re.findall(r"^(?:local)?rule (\w+):", said, flags=re.MULTILINE))

    assert plan() == set()
    if kind == "nifti":
        write_brains(folder / "files", 1, volumes=2)
    else:
        (path,) = (folder / "files").glob("*_test_x.h5" if kind == "hdf5" else "t10k-images*")
        path.write_bytes(path.read_bytes()[:-1] + b"0")
    planned = plan()
    assert planned >= {"list_images", "resize_archive"}
    assert ("hash_files" in planned) == (kind != "nifti")


def test_a_file_of_a_manifest_is_downloaded_and_unpacked(snakemake, tmp_path):
    config = patches(tmp_path / "files")
    rows = ["file\tbytes\tmd5\turl"]
    for path in sorted((tmp_path / "files").iterdir()):
        if path.suffix == ".h5":
            packed = path.with_suffix(".h5.gz")
            packed.write_bytes(gzip.compress(path.read_bytes()))
            path = packed
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        rows.append(f"{path.name}\t\t{md5}\t{path.as_uri()}")
    (tmp_path / "files.tsv").write_text("\n".join(rows) + "\n")
    config["dataset"]["hdf5"] |= {"folder": None, "manifest": str(tmp_path / "files.tsv")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    target = "results/patches/raw/split_test_y.h5"
    snakemake(tmp_path, target, "--configfile", tmp_path / "config.yaml")
    expected = (tmp_path / "files" / "split_test_y.h5").read_bytes()
    assert (tmp_path / target).read_bytes() == expected
    assert not (tmp_path / "results/patches/raw/split_train_x.h5.gz").exists()
