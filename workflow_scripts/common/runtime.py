"""What surrounds a step: its log, its configuration, its errors, its progress."""

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from workflow_scripts.common.cache import Entry
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.parent import end_with_snakemake
from workflow_scripts.common.provenance import Record

T = TypeVar("T")
log = logging.getLogger("synthorax")
# What a job is given rather than what its product depends on: resources of the rule, which make no
# other product when they change, handed to the step with its configuration.
RESOURCES = ("device", "processes", "checkpoint_minutes", "checkpoint_steps", "max_rejects")


@contextmanager
def step(snakemake: Any) -> Iterator[dict | None]:
    """Run a step's body: yield its configuration, log to the rule's file and to the terminal.

    The configuration is that of the rule's params and those of RESOURCES that the rule has. A record
    of the job is written when it has succeeded (provenance.py). Of a rule that has the resource
    `cache`, what it makes may be in the cache between workflows: None is yielded then, and there is
    nothing left to do; otherwise what it made is put there.

    An `InputError` or a full disk ends the step with a message; anything else is a defect of
    ours and keeps its traceback.
    """
    end_with_snakemake()
    logging.raiseExceptions = (
        False  # of a log on a full disk: what is wrong is said on the terminal
    )
    log.setLevel(logging.INFO)
    log.handlers.clear()
    log.addHandler(logging.StreamHandler(sys.stderr))
    if snakemake.log:
        Path(snakemake.log[0]).parent.mkdir(parents=True, exist_ok=True)
        kept = {"mode": "w", "encoding": "utf-8", "errors": "backslashreplace"}
        log.addHandler(logging.FileHandler(snakemake.log[0], **kept))
    where = f"{snakemake.rule}{dict(snakemake.wildcards) or ''}"
    for handler in log.handlers:
        handler.setFormatter(logging.Formatter(f"{where}: %(message)s"))
    try:
        config = json.loads(snakemake.params.get("config", "{}"))
        given = {name: snakemake.resources.get(name) for name in RESOURCES}
        config |= {name: value for name, value in given.items() if value is not None}
        if snakemake.resources.get("gpu") == 0 and "device" in config:
            config["device"] = without_gpu(config["device"])
        record = Record(snakemake)
        entry = None
        if snakemake.resources.get("cache"):
            entry = Entry(record.identity, list(snakemake.input), list(snakemake.output))
        found = entry and entry.fetch()
        if entry and not found:
            entry.check_pixels()
        yield None if found else config
        written = record.write(cached=found)
        if entry and not found:
            entry.store(written)
    except InputError as error:
        log.error("%s", error)
        sys.exit(1)
    except Exception as error:
        if advice := remedy(error):
            log.error("%s", advice)
        elif isinstance(error, OSError):
            log.exception("failed")
        else:
            log.exception(
                "failed; this is a defect of Synthorax, not of your data: please report it"
            )
        sys.exit(1)


def without_gpu(device: str) -> str:
    """Return the device of a job for which the run leaves no GPU, as with `--resources gpu=0`."""
    if device == "cuda":
        raise InputError(
            "the configuration says `device: cuda`, but this run allows no GPU: give --resources "
            "gpu=1, or set `device: auto` to use the CPU."
        )
    if device == "auto":
        log.info("this run allows no GPU")
    return "cpu"


def remedy(error: Exception) -> str | None:
    """Return what to say where the system refused a file, as on a full disk, or memory; else None."""
    if isinstance(error, OSError) and error.errno is not None and error.filename:
        return f"{error.filename}: {error.strerror}. Mend that and run again."
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # PyTorch's
        return (
            f"memory ran out ({str(error).partition('. ')[0] or 'of this machine'}). Lower the batch "
            "size of what was running, or give the job more memory or another device."
        )
    return None


def progress_interval() -> float:
    """Return seconds between updates: often on a terminal, seldom in a batch job's log."""
    return 1.0 if sys.stderr.isatty() else 30.0


def progress(
    items: Iterable[T], what: str, total: int | None = None, unit: str = "image"
) -> Iterable[T]:
    """Iterate over `items` with a progress line on standard error."""
    return tqdm(
        items, desc=what, total=total, unit=f" {unit}", mininterval=progress_interval(), delay=2.0
    )
