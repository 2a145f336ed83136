"""Where the files of HDF5 and IDX data are: in a folder of the user, or to be downloaded."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.acquire.manifest import Archive, read_files
from workflow_scripts.common.errors import InputError

SIDES = ("images", "labels", "subjects")


def data_files(
    kind: str, settings: Mapping[str, Any]
) -> tuple[list[dict[str, str | None]], dict[str, Archive]]:
    """Return the files of each entry of `files`, and what has to be downloaded for them.

    A file may be compressed where it is, and is then named with .gz; but of kind hdf5 what is downloaded
    is named as it is once unpacked.

    Parameters
    ----------
    kind : hdf5 or idx
    settings : the configuration's section of it

    Returns
    -------
    `images`, `labels`, `subjects` (None where every image is its own) and `split` of each entry, as
    names below the folder; and of the manifest's files those that are wanted, by their names.

    Raises
    ------
    InputError
        If a file is neither in the folder nor in the manifest.
    """
    manifest = {} if settings["folder"] is not None else read_files(settings["manifest"])
    wanted: dict[str, Archive] = {}

    def found(name: str) -> str:
        names = (name, f"{name}.gz")
        if settings["folder"] is not None:
            there = [one for one in names if Path(settings["folder"], one).is_file()]
        else:
            there = [one for one in names if one in manifest]
        if not there:
            place = settings["folder"] or settings["manifest"]
            raise InputError(
                f"dataset.{kind}.files: there is no {name} and no {name}.gz in {place}. Put it there, "
                "or name another file."
            )
        if there[0] in manifest:
            wanted[there[0]] = manifest[there[0]]
        if kind == "hdf5" and there[0] != name:
            if settings["folder"] is None:
                return name
            if not name.lower().endswith(".csv"):
                raise InputError(
                    f"{settings['folder']}/{there[0]} is compressed, and rows of an HDF5 file are read "
                    "here and there: unpack it first (gunzip)."
                )
        return there[0]

    entries = []
    for entry in settings["files"]:
        names = {side: entry.get(side) or entry["images"] for side in SIDES}
        if settings.get("own_subjects", True):  # of IDX always
            names["subjects"] = None
        entries.append({side: name and found(name) for side, name in names.items()})
        entries[-1]["split"] = entry["split"]
    return entries, wanted


def names_of(entry: Mapping[str, str | None]) -> list[str]:
    """Return the names of the files of an entry."""
    return [name for side in SIDES if (name := entry[side]) is not None]


def unpacked(entries: Iterable[Mapping[str, str | None]], manifest: Iterable[str]) -> list[str]:
    """Return the names of the files that come compressed and are used unpacked."""
    names = {name for entry in entries for name in names_of(entry)}
    return sorted(name for name in names if f"{name}.gz" in set(manifest) and name not in manifest)
