"""Files that are either whole or absent."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What helps against a damaged or edited artefact: Snakemake makes anew what is not there.
REMAKE = "Remove the file and run again to have it made anew."


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` if the block succeeds.

    The temporary file stands in the same folder (so that the rename is atomic) and keeps the
    suffix of `path` (so that writers that look at it still work). It is flushed to disk before
    the rename, and removed if the block fails.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        with full_disk_named(path):
            yield partial
            with partial.open("rb") as stream:
                os.fsync(stream.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def full_disk_named(path: str | Path) -> Iterator[None]:
    """Put `path` into the error of a full disk, which otherwise does not say what was written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            error.filename = str(path)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write `text` in UTF-8 so that `path` is never half-written."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in lower-case hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
