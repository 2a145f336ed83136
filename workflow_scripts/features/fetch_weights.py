"""Bring weights that cannot be shipped: from a local file, or from their address."""

import shutil
from pathlib import Path

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import sha256_of, whole_file
from workflow_scripts.common.published import PUBLISHED
from workflow_scripts.common.runtime import log, step
from workflow_scripts.common.transfer import download


def fetch_weights(name: str, source: dict | None, output: Path, attempts: int = 4) -> None:
    """Copy or download one weights file and verify it.

    Parameters
    ----------
    name : the extractor or LPIPS backbone that needs it
    source : its entry under `weights:`: `sha256`, and `path` (wins) or `url`; None: there is none
    output : where it goes
    attempts : attempts in a row that may bring nothing before a download gives up

    Raises
    ------
    InputError
        If there is no entry, the file cannot be had, or it is another one.
    """
    if source is None:
        raise InputError(f"the configuration has no weights.{name}. {advice(name)}")
    if source["sha256"] != PUBLISHED[name].sha256:
        log.warning(
            "weights.%s.sha256 is not that of the published file: what is measured with it will not "
            "carry a published name",
            name,
        )
    if path := source.get("path"):
        copy(name, Path(path).expanduser(), source["sha256"], output)
        return
    try:
        download(source["url"], output, ("sha256", source["sha256"]), attempts=attempts)
    except (InputError, FileNotFoundError) as error:
        raise InputError(f"weights.{name}: {error} {advice(name)}") from None


def copy(name: str, path: Path, sha256: str, output: Path) -> None:
    """Copy a local file if it is the one that its SHA-256 says."""
    if not path.is_file():
        raise InputError(f"weights.{name}.path: there is no file {path}. {advice(name)}")
    found = sha256_of(path)
    if found != sha256:
        raise InputError(
            f"weights.{name}: {path} has the SHA-256 {found} instead of {sha256}. Either the file is "
            f"damaged or another one, or weights.{name}.sha256 is wrong."
        )
    with whole_file(output) as partial:
        shutil.copyfile(path, partial)


def advice(name: str) -> str:
    """Say how to go on without a network."""
    published = PUBLISHED[name]
    return (
        f"On a machine with a network get {published.url}, put it anywhere on this machine, and "
        f"write under `weights:`\n  {name}: {{path: /where/it/is, sha256: {published.sha256}}}"
    )


if __name__ == "__main__":
    with step(snakemake) as config:
        fetch_weights(config["name"], config["source"], Path(snakemake.output[0]))
