"""Verify an archive that is on disk already and will be read in place."""

import json
from pathlib import Path

from workflow_scripts.acquire.manifest import Archive, verify
from workflow_scripts.common.files import write_text
from workflow_scripts.common.runtime import step


def verify_archive(path: str | Path, archive: Archive, receipt: str | Path) -> None:
    """Check length and MD5 of the file at `path`, and write what was found as JSON."""
    verify(path, archive)
    found = {"archive": archive.name, "bytes": archive.bytes, "md5": archive.md5}
    write_text(receipt, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    with step(snakemake) as config:
        expected = Archive(snakemake.wildcards.archive, config["bytes"], config["md5"], "")
        verify_archive(snakemake.input.archive, expected, snakemake.output.receipt)
