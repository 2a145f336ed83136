"""The manifest: which files make up a data set, and how to know that one is whole."""

import csv
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.fingerprint import ROOT

SUFFIX = ".tar.gz"


class Archive(NamedTuple):
    """One row of the manifest: length in bytes if it is known, MD5, and where to fetch it."""

    name: str
    bytes: int | None
    md5: str
    url: str


# Files of other names would take the place of what the workflow writes beside them, some of them once
# they are unpacked.
FILE_NAME = re.compile(
    r"(?!part_|labels\.csv)(?!.*\.(parquet|txt|json)\.gz)"
    r"[A-Za-z0-9][A-Za-z0-9._-]*\.(h5|hdf5|csv|gz)|[a-z0-9-]+-ubyte"
)


def read_manifest(path: str | Path, wanted: Sequence[str] | None = None) -> dict[str, Archive]:
    """Read a table of archives (tab-separated: archive, bytes, md5 and, to download, url).

    Parameters
    ----------
    path : relative to the working directory or, if there is no such file, to the repository
    wanted : names of the archives to keep, with or without `.tar.gz`; None keeps all

    Returns
    -------
    The archives in the order of the table, by their name without `.tar.gz`.
    """
    path, rows = read_rows(path, "archive", "dataset.nih.manifest")
    archives: dict[str, Archive] = {}
    for line, row in rows:
        archive = parsed(row, f"{path}, line {line}")
        if archive.name in archives:
            raise InputError(f"{path}, line {line}: {archive.name}{SUFFIX} stands there twice")
        archives[archive.name] = archive
    if wanted is None:
        return archives
    names = [name.removesuffix(SUFFIX) for name in wanted]
    unknown = [name for name in names if name not in archives]
    if unknown:
        raise InputError(
            f"dataset.nih.archives: {', '.join(unknown)} not in {path}; it lists {', '.join(archives)}"
        )
    return {name: archive for name, archive in archives.items() if name in names}


def read_files(path: str | Path) -> dict[str, Archive]:
    """Read a table of files (tab-separated: file, bytes, which may be empty, md5, url), by their names."""
    path, rows = read_rows(path, "file", "manifest of the data set")
    files: dict[str, Archive] = {}
    for line, row in rows:
        where, name = f"{path}, line {line}", row["file"] or ""
        if not FILE_NAME.fullmatch(name):
            raise InputError(f"{where}: file {name!r}; give a name like train_x.h5.gz")
        if name in files:
            raise InputError(f"{where}: {name} stands there twice")
        size = length(row, where, name) if row["bytes"] else None
        files[name] = Archive(name, size, digest(row, where, name), row.get("url") or "")
    return files


def read_rows(
    path: str | Path, first: str, key: str
) -> tuple[Path, list[tuple[int, dict[str, str]]]]:
    """Return where a manifest is and its rows with their lines; `first` is the column of names."""
    path = Path(path) if Path(path).exists() else ROOT / path
    if not path.is_file():
        raise InputError(f"{key}: there is no file {path}")
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        reader = csv.DictReader(stream, delimiter="\t")
        absent = [name for name in (first, "bytes", "md5") if name not in (reader.fieldnames or [])]
        if absent:
            raise InputError(f"{path}: the table lacks the column {' and '.join(absent)}")
        return path, [(reader.line_num, row) for row in reader]


def parsed(row: dict[str, str], where: str) -> Archive:
    """Check one row. A name becomes a path, so it may hold nothing that a path would read."""
    name = row["archive"] or ""
    if not re.fullmatch(r"[A-Za-z0-9_-]+\.tar\.gz", name) or name in (
        "images.tar.gz",
        "unmatched.tar.gz",
    ):
        raise InputError(f"{where}: archive {name!r}; give a name like images_001{SUFFIX}")
    size, md5 = length(row, where, name), digest(row, where, name)
    return Archive(name.removesuffix(SUFFIX), size, md5, row.get("url") or "")


def length(row: dict[str, str], where: str, name: str) -> int:
    """Return the length that a row says, in bytes."""
    size = row["bytes"] or ""
    if not size.isdigit():
        raise InputError(f"{where}: bytes {size!r}; give the length of {name} in bytes")
    return int(size)


def digest(row: dict[str, str], where: str, name: str) -> str:
    """Return the MD5 that a row says, in lower-case hexadecimal."""
    md5 = row["md5"] or ""
    if not re.fullmatch(r"[0-9a-fA-F]{32}", md5):
        raise InputError(f"{where}: md5 {md5!r}; give the 32 hexadecimal digits of {name}")
    return md5.lower()


def verify(path: str | Path, archive: Archive) -> None:
    """Raise an `InputError` unless the file at `path` has the MD5 of the manifest, and its length.

    A manifest of files may leave the length out.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such archive; the manifest lists it")
    size = path.stat().st_size
    if archive.bytes is not None and size != archive.bytes:
        problem = f"{size:,} bytes, expected {archive.bytes:,}"
        problem += " (cut short?)" if size < archive.bytes else ""
        raise InputError(f"{path}: {problem}. Fetch it again, or correct the manifest.")
    with path.open("rb") as stream:
        md5 = hashlib.file_digest(stream, "md5").hexdigest()
    if md5 != archive.md5:
        raise InputError(
            f"{path}: MD5 {md5}, expected {archive.md5}. Fetch it again, or correct the manifest."
        )
