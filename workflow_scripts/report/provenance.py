"""Which code and which libraries made the page."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

LIBRARIES = (
    "snakemake",
    "torch",
    "torchvision",
    "diffusers",
    "numpy",
    "pandas",
    "scikit-learn",
    "torchmetrics",
    "pillow",
)


def commit(repository: Path) -> str | None:
    """Return the commit that is checked out, with "+" if tracked files differ from it.

    None where the code is not in a git repository, or git is not installed.
    """
    try:
        answers = [
            subprocess.run(
                ["git", "-C", str(repository), *arguments],
                capture_output=True,
                text=True,
                check=True,
                timeout=20,
            ).stdout.strip()
            for arguments in (
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
                ["rev-parse", "--show-prefix"],
            )
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    head, changes, prefix = answers
    if prefix:  # unpacked inside somebody else's repository, whose commit says nothing of us
        return None
    return head + ("+" if changes else "")


def versions() -> list[tuple[str, str]]:
    """Return the names and versions of Python and of the libraries that shape results."""
    found = [("Python", python_version())]
    for name in LIBRARIES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
