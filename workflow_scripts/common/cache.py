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
import tempfile
from pathlib import Path

from workflow_scripts.common.files import sha256_of, whole_file

log = logging.getLogger("synthorax")  # common/runtime.py gives it its handlers
FOLDER = "SNAKEMAKE_OUTPUT_CACHE"
RECORD = "record.json"


class Entry:
    """The place in the cache of what one job makes: a folder with its outputs and their record."""

    def __init__(self, identity: dict, outputs: list[str]) -> None:
        """
        Parameters
        ----------
        identity : what the outputs depend on: step, code, configuration, wildcards, and the inputs
            with their SHA-256; their paths do not count
        outputs : paths of the job's files
        """
        inputs = [(file["name"], file["sha256"]) for file in identity["inputs"]]
        kinds = [Path(path).suffix for path in outputs]
        text = json.dumps([identity | {"inputs": inputs}, kinds], sort_keys=True)
        self.key = hashlib.sha256(text.encode()).hexdigest()
        self.folder = Path(os.environ[FOLDER], self.key[:2], self.key)
        # By number: a job's outputs may have the same name in several folders.
        self.files = {
            path: self.folder / f"{number}{kind}"
            for number, (path, kind) in enumerate(zip(outputs, kinds, strict=True))
        }

    def fetch(self) -> dict | None:
        """Copy the outputs from the cache and return the record of who made them; None if it has none.

        An entry whose bytes are not those of its record is not used, and removed where that is allowed.
        """
        if not self.folder.is_dir():
            return None
        try:
            record = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
            wanted = [file["sha256"] for file in record["outputs"]]
            for kept, digest in zip(self.files.values(), wanted, strict=True):
                if sha256_of(kept) != digest:
                    raise ValueError(f"{kept.name} holds other bytes than were put there")
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is damaged (%s): not used, made anew", self.folder, error)
            shutil.rmtree(self.folder, ignore_errors=True)
            return None
        for path, kept in self.files.items():
            with whole_file(path) as partial:
                shutil.copyfile(kept, partial)
        log.info("taken from the cache: entry %s, made %s", self.key[:12], record["started"])
        return record

    def store(self, record: dict) -> None:
        """Keep the outputs and their record, for all to read and for nobody to change.

        A cache that cannot be written, or is full, is no reason for a job to fail.
        """
        partial = None
        try:
            for folder in (self.folder.parent.parent, self.folder.parent):
                folder.mkdir(mode=0o755, exist_ok=True)
            partial = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix="."))
            for path, kept in self.files.items():
                shutil.copyfile(path, partial / kept.name)
            (partial / RECORD).write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
            for file in partial.iterdir():
                file.chmod(0o444)
            partial.chmod(0o755)
            if not self.folder.exists():  # another job may have made the same meanwhile
                partial.rename(self.folder)
        except OSError as error:
            log.warning("not kept in the cache: %s", error)
        finally:
            if partial is not None:
                shutil.rmtree(partial, ignore_errors=True)
