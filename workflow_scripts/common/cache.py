"""The cache between workflows: what expensive steps made, kept by what they made it from.

Switched on as Snakemake's own, `--cache` with a folder in SNAKEMAKE_OUTPUT_CACHE, for the rules that
have the resource `cache`. Snakemake's own entries may be written by anybody, are never checked, and
know neither the configuration nor the code; a folder that can only be read ends its jobs.
"""

import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from workflow_scripts.common.files import FULL, sha256_of, whole_file
from workflow_scripts.common.store import unaltered

log = logging.getLogger("synthorax")  # common/runtime.py gives it its handlers
FOLDER = "SNAKEMAKE_OUTPUT_CACHE"
RECORD = "record.json"


class Entry:
    """The place in the cache of what one job makes: a folder with its outputs and their record."""

    def __init__(self, identity: dict, inputs: list[str], outputs: list[str]) -> None:
        """
        Parameters
        ----------
        identity : what the outputs depend on: step, code, configuration, wildcards, and the inputs
            with their SHA-256; their paths do not count
        inputs, outputs : paths of the job's files
        """
        self.step, self.inputs = identity["step"], inputs
        read = [(file["name"], file["sha256"]) for file in identity["inputs"]]
        kinds = [Path(path).suffix for path in outputs]
        text = json.dumps([identity | {"inputs": read}, kinds], sort_keys=True)
        self.key = hashlib.sha256(text.encode()).hexdigest()
        self.folder = Path(os.environ[FOLDER], self.key[:2], self.key)
        # By number: a job's outputs may have the same name in several folders.
        self.files = {
            path: self.folder / f"{number}{kind}"
            for number, (path, kind) in enumerate(zip(outputs, kinds, strict=True))
        }

    def check_pixels(self) -> None:
        """Demand that the shards are those of the table SHARDS that stands for them as an input.

        Raises
        ------
        InputError
            If one is not: what is made from it would be kept under the name of what the table says.
        """
        for path in self.inputs:
            if Path(path).name == "shards.parquet":
                unaltered(path)

    def fetch(self) -> dict | None:
        """Copy the outputs from the cache and return the record of who made them; None if it has none.

        An entry whose bytes are not those of its record is not used, and removed where that is allowed.
        """
        try:
            if not self.folder.is_dir():
                return None
            record = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
            started, wanted = record["started"], [file["sha256"] for file in record["outputs"]]
            if record["step"] != self.step or not isinstance(started, str):
                raise ValueError(f"{RECORD} is of another job")
            for (path, kept), digest in zip(self.files.items(), wanted, strict=True):
                with whole_file(path) as partial:
                    shutil.copyfile(kept, partial)
                    if sha256_of(partial) != digest:
                        raise ValueError(f"{kept.name} holds other bytes than were put there")
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("%s is damaged (%s): not used, made anew", self.folder, error)
            shutil.rmtree(self.folder, ignore_errors=True)
            return None
        except OSError as error:
            if error.errno in FULL:
                raise
            log.warning("the cache cannot be read: %s", error)
            return None
        log.info("taken from the cache: entry %s, made %s", self.key[:12], started)
        return record

    def store(self, record: dict) -> None:
        """Keep the outputs and their record, for nobody to change.

        Who may read an entry, and who may add others beside it, is as in the cache's own folder, but
        that nobody adds who is neither its owner nor of its group. A cache that cannot be written, or
        is full, is no reason for a job to fail.
        """
        partial = None
        try:
            root = self.folder.parents[1]
            root.mkdir(mode=0o755, exist_ok=True)
            mode = stat.S_IMODE(root.stat().st_mode) & ~stat.S_IWOTH
            with suppress(FileExistsError):
                self.folder.parent.mkdir()
                self.folder.parent.chmod(mode)  # whatever the umask
            partial = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix="."))
            for path, kept in self.files.items():
                shutil.copyfile(path, partial / kept.name)
            (partial / RECORD).write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
            for file in partial.iterdir():
                file.chmod(0o444)
            partial.chmod(mode & ~stat.S_IWGRP)
            if not self.folder.exists():  # another job may have made the same meanwhile
                partial.rename(self.folder)
        except OSError as error:
            log.warning("not kept in the cache: %s", error)
        finally:
            if partial is not None:
                shutil.rmtree(partial, ignore_errors=True)
