"""Make a data folder a Workflow Run RO-Crate: a run that can be archived, cited and understood alone."""

import hashlib
import shutil
from pathlib import Path

import yaml

from workflow_scripts.common.files import sha256_of, write_text
from workflow_scripts.common.fingerprint import ROOT
from workflow_scripts.common.numbers import things
from workflow_scripts.common.provenance import CRATE, commit, without_folders
from workflow_scripts.common.references import references
from workflow_scripts.common.runtime import log, step
from workflow_scripts.crate.contents import Map
from workflow_scripts.crate.metadata import CONFIGURATION, WORKFLOW, Crate
from workflow_scripts.crate.run import run_behind

# What it takes to run the workflow again, and to cite it. Presets and the profiles of clusters stay
# behind: they are no part of the run, and may name people, accounts and folders.
CODE = (
    "Snakefile",
    "rules/*.smk",
    "workflow_scripts/**/*.py",
    "resources/**/*",
    "profiles/default/config.yaml",
    "envs/*",
    "Makefile",
    "README.md",
    "results/README.md",
    "LICENSE",
    "CITATION.cff",
)


def crate(data: str, wanted: list[str], config: dict, threads: int = 1) -> None:
    """Write the crate's metadata into the data folder, and the workflow beside it.

    Nothing is written unless the run is whole (crate_run.py).

    Parameters
    ----------
    data : the data folder
    wanted : paths of what the run was for
    config : the whole configuration
    threads : that hash files
    """
    folder = Path(data)
    run = run_behind(wanted, data, threads)
    config = without_folders(config)
    (folder / CRATE).unlink(missing_ok=True)  # of what was there before
    code = copy_code(folder)
    write_text(folder / CONFIGURATION, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    text = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    write_text(folder / "README.md", text)
    version = commit(ROOT) or hashed(folder, code)
    metadata = Crate(folder, run, config, sorted([*code, CONFIGURATION]), Map(text), version)
    write_text(folder / CRATE, metadata.text(references(config)))
    log.info("%s: %s, %s", folder, things(len(run.jobs), "job"), things(len(run.made), "file"))


def copy_code(folder: Path) -> list[str]:
    """Copy the workflow into a data folder and return the paths of its files there, sorted."""
    here = (folder / WORKFLOW).resolve() == ROOT  # run from a crate, of which it is the workflow
    if not here and (folder / WORKFLOW).exists():
        shutil.rmtree(folder / WORKFLOW)
    copied = []
    for path in (path for pattern in CODE for path in ROOT.glob(pattern)):
        to = WORKFLOW / path.relative_to(ROOT)
        if path.is_file() and not any(part.startswith((".", "__py")) for part in to.parts):
            if not here:
                (folder / to).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / to)
            copied.append(str(to))
    return sorted(copied)


def hashed(folder: Path, paths: list[str]) -> str:
    """Return a name for the code where there is no commit: the start of a SHA-256 over all of it."""
    lines = "".join(f"{path} {sha256_of(folder / path)}\n" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


if __name__ == "__main__":
    with step(snakemake) as config:
        crate(snakemake.params.data, list(snakemake.input), config, snakemake.threads)
