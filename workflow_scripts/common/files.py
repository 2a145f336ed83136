"""Files that are either whole or absent."""

import errno
import fcntl
import glob
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

# What helps against a damaged or edited artefact: Snakemake makes anew what is not there.
REMAKE = "Remove the file and run again to have it made anew."
FULL = (errno.ENOSPC, errno.EDQUOT)
BLOCK = 1 << 16  # bytes; more than a writer that failed on a full disk leaves free


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` if the block succeeds.

    The temporary file stands in the same folder (so that the rename is atomic) and keeps the
    suffix of `path` (so that writers that look at it still work). It is flushed to disk before
    the rename, and removed if the block fails; of a process that was killed it stays until `path`
    is written the next time.

    Raises
    ------
    OSError
        With `path` as its `filename` if the disk is full, whatever the block made of that.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        with full_disk_named(path), partial.open("ab") as stream:
            lock(stream)
            try:
                yield partial
            except Exception:
                # NumPy, torch and others do not say that the disk is full; the disk does.
                stream.write(bytes(BLOCK))
                stream.flush()
                raise
            with partial.open("rb") as written:  # another file if the block replaced it
                os.fsync(written.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_abandoned(path: Path) -> None:
    """Remove the temporary files of `path` that no living process has locked."""
    for partial in path.parent.glob(f".{glob.escape(path.stem)}.*.partial{path.suffix}"):
        with suppress(OSError), partial.open("ab") as stream:
            if lock(stream):
                partial.unlink()


def lock(stream: IO) -> bool:
    """Lock an open file unless somebody has, until it is closed or the process dies.

    Where the file system knows no locks, none is taken.
    """
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def full_disk_named(path: str | Path) -> Iterator[None]:
    """Put `path` into the error of a full disk, which otherwise does not say what was written."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write `text` in UTF-8 so that `path` is never half-written."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in lower-case hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stem(path: str | Path) -> str:
    """Return a file's name without its folder, .gz and suffix."""
    return Path(Path(path).name.removesuffix(".gz")).stem
