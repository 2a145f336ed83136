# Bring the raw images and the label table to where the rest can read them.
# For later files: LABEL_TABLE, ARCHIVES, SOURCE, DATA_FILES, STATED_SPLITS, archive_input and
# archive_state.

import os
import re

from workflow_scripts.acquire.data_files import data_files, names_of, unpacked
from workflow_scripts.acquire.folder import digest
from workflow_scripts.acquire.manifest import read_manifest

RAW = f"{DATA}/raw"
DATASET = config["dataset"]
KIND = DATASET["kind"]
LABEL_TABLE = f"{RAW}/Data_Entry_2017_v2020.csv"
# What `images_of` is told of the data set, beside the files: part of the configuration of each job
# that reads images.
SOURCE = {"kind": KIND, "channels": config["tensors"]["channels"]}
DATA_FILES = []  # that hold many images, and tables beside them
STATED_SPLITS = {}  # lists for `split.method: official` that list_images writes
MANIFEST = {}  # what can be downloaded, by the names of the files


def archive_state(wildcards):
    """What an archive's content depends on, beyond what Snakemake sees in its input files."""
    return None


def one_of(names):
    """The expression that matches some names alone, or nothing."""
    return "|".join(map(re.escape, names)) or "(?!)"


def expected(archive):
    """What makes a file of a manifest the right one: neither its URL nor the code that fetches it."""
    return {"bytes": archive.bytes, "md5": archive.md5}


if KIND == "phantom":
    ARCHIVES = [f"images_{n:03d}" for n in range(1, DATASET["phantom"]["archives"] + 1)]

    def archive_input(wildcards):
        """The files that hold one archive's images."""
        return {"archive": f"{RAW}/{wildcards.archive}.tar.gz"}

    rule describe_phantom:
        output:
            table=LABEL_TABLE,
            truth=f"{RAW}/truth.parquet",
        log:
            f"{DATA}/logs/describe_phantom.log",
        benchmark:
            f"{DATA}/benchmarks/describe_phantom.tsv"
        localrule: True
        threads: 1
        params:
            config=canonical(phantom=DATASET["phantom"]),
            code=fingerprint("phantom/describe_phantom"),
        script:
            "../workflow_scripts/phantom/describe_phantom.py"

    rule draw_phantom:
        input:
            truth=f"{RAW}/truth.parquet",
        output:
            archive=f"{RAW}/{{archive}}.tar.gz",
        log:
            f"{DATA}/logs/draw_phantom/{{archive}}.log",
        benchmark:
            f"{DATA}/benchmarks/draw_phantom/{{archive}}.tsv"
        threads: 1
        params:
            config=canonical(phantom=DATASET["phantom"]),
            archive="{archive}",
            code=fingerprint("phantom/draw_phantom"),
        script:
            "../workflow_scripts/phantom/draw_phantom.py"

    rule draw_regions:
        input:
            truth=f"{RAW}/truth.parquet",
        output:
            masks=f"{TENSORS}/regions/{{archive}}.npy",
            index=f"{TENSORS}/regions/{{archive}}.parquet",
        log:
            f"{DATA}/logs/draw_regions/{SIZE}/{{archive}}.log",
        benchmark:
            f"{DATA}/benchmarks/draw_regions/{SIZE}/{{archive}}.tsv"
        threads: 1
        params:
            config=canonical(size=SIZE, seed=DATASET["phantom"]["seed"]),
            archive="{archive}",
            code=fingerprint("phantom/draw_regions"),
        script:
            "../workflow_scripts/phantom/draw_regions.py"


if KIND == "nih":
    try:
        LISTED = read_manifest(DATASET["nih"]["manifest"], DATASET["nih"]["archives"])
    except InputError as error:
        raise WorkflowError(str(error)) from None
    ARCHIVES = list(LISTED)
    NIH_DIR = config["nih_dir"]

    def local_archive(wildcards):
        """An archive in the folder of the user; asked for only by what decodes it."""
        path = f"{NIH_DIR}/{wildcards.archive}.tar.gz"
        if not os.path.exists(path):
            raise WorkflowError(
                f"nih_dir: there is no {path}. Put it there, name the archives that are in "
                "dataset.nih.archives, or leave nih_dir out to download them."
            )
        return path

    def archive_input(wildcards):
        """The files that hold one archive's images."""
        if NIH_DIR is None:
            return {"archive": f"{RAW}/{wildcards.archive}.tar.gz"}
        return {
            "archive": local_archive(wildcards),
            "receipt": f"{RAW}/{wildcards.archive}.verified.json",
        }

    if DATASET["nih"]["labels"] is not None:
        LABEL_TABLE = DATASET["nih"]["labels"]
    else:

        rule extract_label_table:
            output:
                table=LABEL_TABLE,
            log:
                f"{DATA}/logs/extract_label_table.log",
            benchmark:
                f"{DATA}/benchmarks/extract_label_table.tsv"
            localrule: True
            threads: 1
            params:
                config=canonical(),
                code=fingerprint("acquire/extract_label_table"),
            script:
                "../workflow_scripts/acquire/extract_label_table.py"

    rule extract_boxes:
        output:
            boxes=f"{RAW}/BBox_List_2017.csv",
        log:
            f"{DATA}/logs/extract_boxes.log",
        benchmark:
            f"{DATA}/benchmarks/extract_boxes.tsv"
        localrule: True
        threads: 1
        params:
            config=canonical(),
            code=fingerprint("acquire/extract_boxes"),
        script:
            "../workflow_scripts/acquire/extract_boxes.py"

    if NIH_DIR is not None:

        rule verify_archive:
            input:
                archive=local_archive,
            output:
                receipt=f"{RAW}/{{archive}}.verified.json",
            log:
                f"{DATA}/logs/verify_archive/{{archive}}.log",
            benchmark:
                f"{DATA}/benchmarks/verify_archive/{{archive}}.tsv"
            threads: 1
            params:
                config=lambda w: canonical(
                    archive=w.archive, **expected(LISTED[w.archive])
                ),
                code=fingerprint("acquire/verify_archive"),
            script:
                "../workflow_scripts/acquire/verify_archive.py"

    else:
        MANIFEST = {f"{name}.tar.gz": archive for name, archive in LISTED.items()}


if KIND in ("folder", "dicom"):
    FOLDER = DATASET["folder"]
    LABEL_TABLE = FOLDER["labels"]
    SOURCE["images"] = FOLDER["images"]
    ARCHIVES = [f"part_{n:03d}" for n in range(1, FOLDER["parts"] + 1)]

    def archive_input(wildcards):
        """The files that hold one archive's images."""
        return {"files": f"{RAW}/files.parquet"}

    def archive_state(wildcards):
        """The names, lengths and times of the files, since Snakemake does not see into folders."""
        try:
            return digest(FOLDER["images"], KIND)
        except InputError:
            return None

    rule list_files:
        output:
            files=f"{RAW}/files.parquet",
        log:
            f"{DATA}/logs/list_files.log",
        benchmark:
            f"{DATA}/benchmarks/list_files.tsv"
        localrule: True
        threads: 1
        params:
            config=lambda w: canonical(
                kind=KIND,
                images=FOLDER["images"],
                parts=ARCHIVES,
                state=archive_state(w),
            ),
            code=fingerprint("acquire/list_files"),
        script:
            "../workflow_scripts/acquire/list_files.py"


if KIND in ("nifti", "hdf5", "idx"):
    SETTINGS = DATASET[KIND]
    LABEL_TABLE = f"{RAW}/labels.csv"
    LISTING = f"{RAW}/listing.parquet"
    ARCHIVES = [f"part_{n:03d}" for n in range(1, SETTINGS["parts"] + 1)]
    # What list_images reads beside its inputs, and what the images depend on beside their listing.
    READ = {name: value for name, value in SETTINGS.items() if name != "parts"}
    CONTENT = {}


if KIND == "nifti":
    SOURCE |= {name: SETTINGS[name] for name in ("images", "axis")}
    if SETTINGS["labels"] is not None:
        DATA_FILES = [SETTINGS["labels"]]
        CONTENT = {"subjects": SETTINGS["labels"]}

    def archive_state(wildcards):
        """The names, lengths and times of the files, since Snakemake does not see into folders."""
        try:
            return digest(SETTINGS["images"], KIND)
        except InputError:
            return None

    def archive_input(wildcards):
        """The files that hold one archive's images."""
        return {"listing": LISTING}


if KIND in ("hdf5", "idx"):
    try:
        ENTRIES, MANIFEST = data_files(KIND, SETTINGS)
    except InputError as error:
        raise WorkflowError(str(error)) from None
    SOURCE["images"] = SETTINGS["folder"] or RAW
    if KIND == "hdf5":
        SOURCE |= {"array": SETTINGS["arrays"]["images"], "window": SETTINGS["window"]}
    DATA_FILES = sorted(
        {f"{SOURCE['images']}/{name}" for entry in ENTRIES for name in names_of(entry)}
    )
    READ |= {"files": ENTRIES, "folder": SOURCE["images"], "manifest": None}
    CONTENT = {"data": f"{RAW}/data_files.parquet"}
    splits = {entry["split"] for entry in ENTRIES}
    if config["split"]["method"] == "official" and None not in splits:
        names = [
            "train_val_list",
            "test_list",
            *(["val_list"] if "val" in splits else []),
        ]
        STATED_SPLITS = {name: f"{RAW}/{name}.txt" for name in names}

    def archive_input(wildcards):
        """The files that hold one archive's images."""
        return {"listing": LISTING, **CONTENT}

    # The one rule that the files themselves are inputs of, as list_shards for the shards.
    rule hash_files:
        input:
            DATA_FILES,
        output:
            f"{RAW}/data_files.parquet",
        log:
            f"{DATA}/logs/hash_files.log",
        benchmark:
            f"{DATA}/benchmarks/hash_files.tsv"
        threads: 1
        params:
            config=canonical(folder=SOURCE["images"]),
            code=fingerprint("acquire/hash_files"),
        script:
            "../workflow_scripts/acquire/hash_files.py"

    rule unpack_file:
        input:
            f"{RAW}/{{file}}.gz",
        output:
            f"{RAW}/{{file}}",
        log:
            f"{DATA}/logs/unpack_file/{{file}}.log",
        benchmark:
            f"{DATA}/benchmarks/unpack_file/{{file}}.tsv"
        wildcard_constraints:
            file=one_of(unpacked(ENTRIES, MANIFEST)),
        threads: 1
        params:
            config=canonical(),
            code=fingerprint("acquire/unpack_file"),
        script:
            "../workflow_scripts/acquire/unpack_file.py"


if KIND in ("nifti", "hdf5", "idx"):

    rule list_images:
        input:
            **CONTENT,
        output:
            **STATED_SPLITS,
            listing=LISTING,
            dropped=f"{RAW}/dropped.parquet",
            labels=LABEL_TABLE,
        log:
            f"{DATA}/logs/list_images.log",
        benchmark:
            f"{DATA}/benchmarks/list_images.tsv"
        threads: 4 if KIND == "nifti" else 1  # which reads several volumes at a time
        params:
            config=lambda w: canonical(
                kind=KIND,
                channels=SOURCE["channels"],
                settings=READ,
                parts=ARCHIVES,
                state=archive_state(w),
            ),
            code=fingerprint("acquire/list_images"),
        script:
            "../workflow_scripts/acquire/list_images.py"


if MANIFEST:

    # No fingerprint: what arrives is pinned by its MD5, and nobody wants 42 GB again for an
    # edited line.
    rule download_archive:
        output:
            archive=f"{RAW}/{{file}}",
        log:
            f"{DATA}/logs/download_archive/{{file}}.log",
        benchmark:
            f"{DATA}/benchmarks/download_archive/{{file}}.tsv"
        wildcard_constraints:
            file=one_of(MANIFEST),
        localrule: True
        threads: 1
        params:
            config=lambda w: canonical(
                file=w.file,
                kind=KIND,
                manifest=DATASET[KIND]["manifest"],
                **expected(MANIFEST[w.file]),
            ),
        script:
            "../workflow_scripts/acquire/download_archive.py"


wildcard_constraints:
    archive=one_of(ARCHIVES),
