"""A hash of the code that a step can reach, so that an edit reruns exactly what it changes.

Snakemake compares a script's own text but not the modules that it imports. A rule therefore
carries this fingerprint as a parameter. It is taken over the syntax tree without docstrings:
comments, formatting and documentation never rerun anything.
"""

import ast
import copy
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = "workflow_scripts"
ROOT = Path(__file__).resolve().parents[2]


def fingerprint(step: str) -> str:
    """Return the fingerprint of a step, named as its file under `workflow_scripts` without suffix.

    Covers the step, every project module that it imports, directly or not, and the lock file of
    the environment.
    """
    start = ROOT / PACKAGE / f"{step}.py"
    if not start.is_file():
        raise FileNotFoundError(f"no step at {start}")
    digest = hashlib.sha256(lock_hash().encode())
    for path in sorted(reachable(start)):
        digest.update(f"{path.relative_to(ROOT).as_posix()} {meaning(path)}\n".encode())
    return digest.hexdigest()[:16]


def reachable(start: Path) -> set[Path]:
    """Return `start` and every project module reachable from it through imports."""
    found, waiting = set(), [start]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(imports(path))
    return found


@cache
def tree(path: Path) -> ast.Module:
    """Parse a module."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def imports(path: Path) -> tuple[Path, ...]:
    """Return the files of the project modules that a module imports, anywhere in its text."""
    names = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    files = []
    for name in names:
        parts = name.split(".")
        if parts[0] == PACKAGE:
            # A package's __init__ runs on import of anything inside it.
            for depth in range(1, len(parts) + 1):
                stem = ROOT.joinpath(*parts[:depth])
                files.extend(
                    f for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.is_file()
                )
    return tuple(sorted(set(files)))


@cache
def meaning(path: Path) -> str:
    """Return a hash of a module's syntax tree without docstrings and positions."""
    module = copy.deepcopy(tree(path))
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return hashlib.sha256(ast.dump(module).encode()).hexdigest()


@cache
def lock_hash() -> str:
    """Return the SHA-256 of the environment's lock file."""
    return hashlib.sha256((ROOT / "envs" / "requirements.lock").read_bytes()).hexdigest()
