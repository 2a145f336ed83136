"""What others may read of paths, addresses and settings: no folder of this machine, no secret."""

import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit


def shown(path: str) -> str:
    """Return a path relative to the run; of a file elsewhere its name alone."""
    here = Path.cwd()
    place = Path(os.path.normpath(here / path))
    inside = place.is_relative_to(here) and not path.startswith("~")
    return str(place.relative_to(here)) if inside else f"…/{place.name}"


def plain(text: object) -> str:
    """Return an address, or an error that names one, without password and token."""
    return re.sub(r"(?<=//)[^/\s]*@", "", re.sub(r"\?\S+", "?…", str(text)))


def without_folders(value: Any) -> Any:
    """Return a configuration with paths out of the run as `shown`, and addresses `plain`."""
    if isinstance(value, dict):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_folders(item) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith("file:"):
        return f"file://…/{PurePosixPath(urlsplit(value).path).name}"
    if "://" in value:
        return plain(value.partition("#")[0])
    if PureWindowsPath(value).is_absolute():
        return f"…/{PureWindowsPath(value).name}"
    return shown(value) if value.startswith(("/", "~")) or ".." in value.split("/") else value
