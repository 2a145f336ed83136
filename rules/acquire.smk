# Bring the raw images and the label table to where the rest can read them.
# For later files: LABEL_TABLE, ARCHIVES, SOURCE, archive_input and archive_state.

import os
import re

from workflow_scripts.acquire.folder import digest
from workflow_scripts.acquire.manifest import read_manifest

RAW = f"{DATA}/raw"
DATASET = config["dataset"]
KIND = DATASET["kind"]
LABEL_TABLE = f"{RAW}/Data_Entry_2017_v2020.csv"
# What `images_of` is told of the data set, beside the files: part of the configuration of each job
# that reads images.
SOURCE = {"kind": KIND, "channels": config["tensors"]["channels"]}


def archive_state(wildcards):
    """What an archive's content depends on, beyond what Snakemake sees in its input files."""
    return None


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
            code=fingerprint("acquire/describe_phantom"),
        script:
            "../workflow_scripts/acquire/describe_phantom.py"

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
            code=fingerprint("acquire/draw_phantom"),
        script:
            "../workflow_scripts/acquire/draw_phantom.py"


if KIND == "nih":
    try:
        MANIFEST = read_manifest(DATASET["nih"]["manifest"], DATASET["nih"]["archives"])
    except InputError as error:
        raise WorkflowError(str(error)) from None
    ARCHIVES = list(MANIFEST)
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

    def expected(wildcards):
        """What makes an archive the right one: neither its URL nor the code that fetches it."""
        archive = MANIFEST[wildcards.archive]
        return {"bytes": archive.bytes, "md5": archive.md5}

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
                config=lambda w: canonical(archive=w.archive, **expected(w)),
                code=fingerprint("acquire/verify_archive"),
            script:
                "../workflow_scripts/acquire/verify_archive.py"

    else:

        # No fingerprint: what arrives is pinned by its MD5, and nobody wants 42 GB again for an
        # edited line.
        rule download_archive:
            output:
                archive=f"{RAW}/{{archive}}.tar.gz",
            log:
                f"{DATA}/logs/download_archive/{{archive}}.log",
            benchmark:
                f"{DATA}/benchmarks/download_archive/{{archive}}.tsv"
            localrule: True
            threads: 1
            params:
                config=lambda w: canonical(
                    archive=w.archive,
                    manifest=DATASET["nih"]["manifest"],
                    **expected(w),
                ),
            script:
                "../workflow_scripts/acquire/download_archive.py"


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


wildcard_constraints:
    archive="|".join(map(re.escape, ARCHIVES)),
