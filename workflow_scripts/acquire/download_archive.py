"""Download one file of a manifest, continuing what an earlier attempt left."""

from pathlib import Path

from workflow_scripts.acquire.manifest import SUFFIX, Archive, read_files, read_manifest
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import step
from workflow_scripts.common.transfer import download


def download_archive(archive: Archive, manifest: str | Path, target: str | Path) -> None:
    """Fetch what a row of a manifest names to `target`, verified for its MD5 and length."""
    if not archive.url:
        raise InputError(
            f"{manifest}: no url for {archive.name}; add one, or name the folder that has the file "
            "(nih_dir, or `folder` of the data set)"
        )
    download(archive.url, target, ("md5", archive.md5), archive.bytes)


if __name__ == "__main__":
    with step(snakemake) as config:
        name, manifest = config["file"], config["manifest"]
        if config["kind"] == "nih":
            archive = read_manifest(manifest)[name.removesuffix(SUFFIX)]
        else:
            archive = read_files(manifest)[name]
        download_archive(archive, manifest, snakemake.output.archive)
