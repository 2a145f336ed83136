"""Unpack a file that was downloaded compressed with gzip."""

import gzip
import zlib
from pathlib import Path

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import full_disk_named, whole_file
from workflow_scripts.common.runtime import step

LARGEST_RATIO = 200  # of what a file of images or labels unpacks to
ALWAYS = 1 << 27  # bytes that may come out whatever went in
BLOCK = 1 << 20


def unpack_file(packed: str | Path, target: str | Path) -> None:
    """Write what a gzip file holds, its checksum verified, or nothing.

    Raises
    ------
    InputError
        If the file is damaged or cut short, or unpacks to far more than images do.
    """
    limit = ALWAYS + LARGEST_RATIO * Path(packed).stat().st_size
    size = 0
    with whole_file(target) as partial, gzip.open(packed) as source, partial.open("wb") as stream:
        try:
            while block := source.read(BLOCK):
                size += len(block)
                if size > limit:
                    raise InputError(
                        f"{packed} unpacks to more than {limit:,} bytes: a decompression bomb. Fetch "
                        "it from a source that you trust."
                    )
                with full_disk_named(target):
                    stream.write(block)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"{packed}: damaged or cut short ({error}). Remove it and fetch it again."
            ) from None


if __name__ == "__main__":
    with step(snakemake):
        unpack_file(snakemake.input[0], snakemake.output[0])
