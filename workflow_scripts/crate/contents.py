"""What every kind of file is, as results/README.md says it."""

import re
from pathlib import Path, PurePosixPath

HEAD = "| path below `results/<dataset>/` |"
PLACEHOLDER = re.compile(r"<[a-z]+>|…")
FORMATS = {
    ".parquet": "application/vnd.apache.parquet",
    ".npy": "application/x-npy",
    ".safetensors": "application/x-safetensors",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".html": "text/html",
    ".md": "text/markdown",
    ".png": "image/png",
    ".h5": "application/x-hdf5",
    ".gz": "application/gzip",
    ".py": "text/x-python",
}


class Map:
    """The table of results/README.md, to be asked what a file is."""

    def __init__(self, text: str) -> None:
        rows = text[text.index(HEAD) :].split("\n\n")[0].splitlines()[2:]
        self.kinds = []
        for row in rows:
            paths, what, _ = row.strip("| ").split(" | ")
            for pattern in patterns(re.findall(r"`([^`]+)`", paths)):
                literal = sum(map(len, PLACEHOLDER.split(pattern)))
                self.kinds.append((literal, compiled(pattern), re.sub(r"[`*]", "", what)))
        # Of several kinds that a file may be, that which says most of its path.
        self.kinds.sort(key=lambda kind: -kind[0])

    def description(self, path: str) -> str | None:
        """Return what a file is, by its path below the data folder; None of a file that is not named."""
        named = (what for _, pattern, what in self.kinds if pattern.fullmatch(path))
        return next(named, None)


def patterns(names: list[str]) -> list[str]:
    """Return the paths of a row, whose first alone stands in full: `a/b.parquet`, `c.parquet`, `.png`."""
    first = PurePosixPath(names[0])
    folder = names[0].removesuffix(first.name)
    found = [names[0]]
    for name in names[1:]:
        if "/" in name.rstrip("/"):
            found.append(name)
        elif name.startswith("."):
            found.append(str(first.with_suffix(name)))
        else:
            ending = "" if "." in name or name.endswith("/") else first.suffix
            found.append(f"{folder}{name}{ending}")
    return found


def compiled(pattern: str) -> re.Pattern:
    """Return the expression for a path with <placeholders>; a folder stands for all in it."""
    parts = map(re.escape, PLACEHOLDER.split(pattern))
    return re.compile(".+".join(parts) + (".+" if pattern.endswith("/") else ""))


def encoding(path: str) -> str:
    """Return the media type of a file, by the end of its name."""
    return FORMATS.get(Path(path).suffix, "text/plain")
