"""Download one archive of the manifest, continuing what an earlier attempt left."""

from pathlib import Path

from workflow_scripts.acquire.manifest import read_manifest
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.runtime import step
from workflow_scripts.common.transfer import download


def download_archive(manifest: str | Path, name: str, target: str | Path) -> None:
    """Fetch the archive `name` of the table `manifest` to `target`, verified for length and MD5."""
    archive = read_manifest(manifest)[name]
    if not archive.url:
        raise InputError(
            f"{manifest}: no url for {name}; add one, or set nih_dir to the folder that has the archive"
        )
    download(archive.url, target, ("md5", archive.md5), archive.bytes)


if __name__ == "__main__":
    with step(snakemake) as config:
        download_archive(config["manifest"], snakemake.wildcards.archive, snakemake.output.archive)
