"""What stands in a data folder: the records, the bytes that were read, and the tables."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd

from workflow_scripts.audit.formats import schema_of
from workflow_scripts.audit.raw_table import read_raw_table
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.provenance import CRATE
from workflow_scripts.common.store import open_array
from workflow_scripts.common.tables import read_table
from workflow_scripts.trail.hashing import Hashed, Hashes, hash_files
from workflow_scripts.trail.records import File, Record, makers, read_record, record_paths

# What the workflow writes beside its artefacts.
BESIDE = {"provenance", "logs", "benchmarks", "audit"}
PACKED = {"workflow", "README.md"}  # what makes an archive of the folder: rule crate
CHECKPOINTS = "checkpoints"  # of trainings under way


class Evidence:
    """Everything that claims are tried on; each file is read once.

    Parameters
    ----------
    data : the data folder, relative to the working directory: `results/<dataset>`
    elsewhere : files outside the working directory that jobs read, of which records hold the name
        alone
    threads : files that are read at a time
    """

    def __init__(self, data: Path, elsewhere: Iterable[str] = (), threads: int = 1) -> None:
        self.data = data
        self.records, self.unreadable = records_of(data)
        self.makers = makers(self.records)
        self.elsewhere: dict[str, list[str]] = {}
        for path in elsewhere:
            self.elsewhere.setdefault(Path(path).name, []).append(path)
        self.standing = [path for path in files_below(data) if not beside(path, data)]
        self.packed = packed(data)
        self.hashes: Hashes = hash_files(
            {file.path for record in self.records for file in record.outputs}
            | {path for record in self.records for path in self.inputs_from_outside(record)}
            | set(self.packed),
            threads,
        )
        self.tables: dict[str, pd.DataFrame] = {}

    def inputs_from_outside(self, record: Record) -> Iterable[str]:
        """Yield where the inputs may lie that no job of this data folder made."""
        for file in record.inputs:
            if file.elsewhere:
                yield from self.elsewhere.get(Path(file.path).name, [])
            elif file.path not in self.makers:
                yield file.path

    @cached_property
    def neighbours(self) -> dict[str, Record]:
        """Return who made files of other folders of results that were read: weights, other data sets."""
        outside = {path for record in self.records for path in self.inputs_from_outside(record)}
        results = self.data.parent
        inside = [Path(path) for path in outside if Path(path).is_relative_to(results)]
        folders = {results / path.relative_to(results).parts[0] for path in inside}
        return {
            path: record
            for folder in sorted(folders)
            for path, record in makers(records_of(folder)[0]).items()
        }

    @cached_property
    def by_rule(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {}
        for record in self.records:
            found.setdefault(record.rule, []).append(record)
        return found

    def of(self, rule: str) -> list[Record]:
        """Return the records of a rule's jobs."""
        return self.by_rule.get(rule, [])

    def maker(self, path: str) -> Record:
        """Return the record of the job that made a file; an `InputError` if there is none."""
        try:
            return self.makers[path]
        except KeyError:
            raise InputError(f"{path}: no record says who made it") from None

    def hashed(self, path: str) -> Hashed:
        """Return the bytes and hashes of a file; an `InputError` if it is gone."""
        try:
            return self.hashes.files[path]
        except KeyError:
            raise InputError(f"{path}: there is no such file") from None

    def images_in(self, path: str) -> list[bytes]:
        """Return the hash of each image of a shard."""
        images = self.hashed(path).images
        if images is None:
            raise InputError(f"{path}: this is no shard of images")
        return images

    def shown(self, table: pd.DataFrame, shards: dict[str, str]) -> Iterator[tuple[Any, bytes]]:
        """Yield each row of a table with the hash of its image, but of images of one value alone.

        Rows that a shard does not have are passed over: the counts tell of them.

        Parameters
        ----------
        table : columns `shard` and `row`
        shards : paths by the names of the files
        """
        for image in table.itertuples():
            path = shards[image.shard]
            images = self.images_in(path)
            if image.row < len(images) and image.row not in self.hashed(path).blank:
                yield image, images[image.row]

    def table(self, path: str) -> pd.DataFrame:
        """Return a table that one of the jobs made, checked against its schema; do not change it."""
        if path not in self.tables:
            maker = self.maker(path)
            self.hashed(path)
            name = next(file.name for file in maker.outputs if file.path == path)
            schema = schema_of(maker.rule, name)
            if schema is None:
                raise InputError(f"{path}: no schema is declared for it")
            self.tables[path] = read_table(path, schema)
        return self.tables[path]

    def array(self, path: str) -> np.ndarray:
        """Return an array, memory-mapped."""
        self.hashed(path)
        return open_array(path)

    def shards(self, record: Record, name: str) -> list[File]:
        """Return the shards that a job was given under a name: those that a table SHARDS stands for."""
        return [file for path in record.input(name) for file in self.maker(path).inputs]

    def images_of(self, record: Record) -> pd.DataFrame:
        """Return the image table (IMAGES) that a job was given."""
        return self.table(record.input("images")[0])

    def raw_table(self, record: Record) -> tuple[str, pd.DataFrame]:
        """Return the path of the label table as handed out that a job parsed, and its rows."""
        file = next(file for file in record.inputs if file.name == "table")
        for path in self.places(file):
            if Path(path).is_file():
                return file.path, read_raw_table(path, record.config)
        raise InputError(f"{file.path}: the label table is not there any more")

    def data_files(self, record: Record) -> dict[str, str]:
        """Return where the files of a data set are that a job read, by their names in its DATA_FILES.

        Of several that are called so, it is the one with the bytes that were read.
        """
        table = record.input("data")[0]
        paths = [path for one in self.maker(table).inputs for path in self.places(one)]
        found = {}
        for file in self.table(table).itertuples():
            alike = [path for path in paths if Path(path).name == Path(file.file).name]
            known = [
                path for path in alike if path in self.hashes.files
                and self.hashes.files[path].sha256 == file.sha256
            ]  # fmt: skip
            if not known:
                raise InputError(f"{file.file}: it is not there any more as it was read")
            found[file.file] = known[0]
        return found

    def places(self, file: File) -> list[str]:
        """Return where a file may lie."""
        return self.elsewhere.get(Path(file.path).name, []) if file.elsewhere else [file.path]

    @cached_property
    def owners(self) -> pd.Series:
        """Return whose each image is, by its id: as the label table was handed out, if it is there.

        Where it is not, a claim of its own says so, and the parsed labels speak for it.
        """
        parsed = self.of("parse_labels")
        if not parsed:
            raise InputError(f"{self.data}: no record says how the labels were made")
        try:
            table = self.raw_table(parsed[0])[1]
        except InputError:
            table = self.table(parsed[0].output("labels")[0])
        return table.drop_duplicates("image_id").set_index("image_id")["patient_id"]

    def held_out(self, images: pd.DataFrame) -> set[str]:
        """Return the patients of validation and test images, by any table that names them."""
        others = images[images["split"] != "train"]
        return {*others["patient_id"], *others["image_id"].map(self.owners).dropna()}

    def not_for_training(self, seen: pd.DataFrame, images: pd.DataFrame) -> list[str]:
        """Return the ids of `seen` that no training may have been given.

        They are of another split, of nobody known, or of a patient with an image in another split.

        Parameters
        ----------
        seen : columns `image_id`, `patient_id`
        images : IMAGES, all splits
        """
        others = self.held_out(images)
        ids = seen["image_id"]
        bad = ids.map(images.set_index("image_id")["split"]) != "train"
        bad |= ids.map(self.owners).isin(others) | seen["patient_id"].isin(others)
        return list(ids[bad])


def test_images(images: pd.DataFrame) -> pd.DataFrame:
    """Return the images that classifiers are judged on: of the test split, of a single finding."""
    return images[(images["split"] == "test") & single_finding(images)]


def single_finding(images: pd.DataFrame) -> pd.Series:
    """Return which images show the finding that is their class, and no other: bool."""
    shown = zip(images["findings"].str.split("|"), images["class_name"], strict=True)
    return pd.Series([found == [name] for found, name in shown], images.index, dtype=bool)


def records_of(data: Path) -> tuple[list[Record], dict[str, str]]:
    """Return the records that can be read, and of the others what is wrong, by path."""
    records, unreadable = [], {}
    for path in record_paths(data):
        try:
            records.append(read_record(path))
        except (InputError, OSError) as error:
            unreadable[str(path)] = str(error)
    return records, unreadable


def packed(data: Path) -> dict[str, str | None]:
    """Return the SHA-256 of each file that the crate of a data folder names; none without a crate."""
    try:
        entities = json.loads((data / CRATE).read_text(encoding="utf-8"))["@graph"]
        files = [
            one for one in entities if "File" in one["@type"] and not one["@id"].startswith("#")
        ]
        return {str(data / unquote(one["@id"])): one.get("sha256") for one in files}
    except FileNotFoundError:
        return {}
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, OSError):
        return {str(data / CRATE): None}  # it names nothing, and is not what it should be


def files_below(folder: Path) -> list[str]:
    """Return the paths of all files below a folder, sorted; links to folders are not followed."""
    return sorted(str(Path(place, name)) for place, _, names in os.walk(folder) for name in names)


def beside(path: str, data: Path) -> bool:
    """Whether a file is something that the workflow writes beside its artefacts."""
    first, *rest = Path(path).relative_to(data).parts
    return first in BESIDE or CHECKPOINTS in rest


def twice(values: Iterable[str]) -> list[str]:
    """Return what comes more than once."""
    return [value for value, number in Counter(values).items() if number > 1]


def whole_images(patches: pd.DataFrame) -> pd.DataFrame:
    """Return rows of patches, `<image>@<top>,<left>`, under the names of the images that they are of."""
    return patches.assign(image_id=patches["image_id"].str.rsplit("@", n=1).str[0])
