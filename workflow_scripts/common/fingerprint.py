"""A hash of the code that a step can reach, so that an edit reruns exactly what it changes.

Snakemake compares a script's own text but not the modules that it imports. A rule therefore
carries this fingerprint as a parameter. It is taken over the syntax tree without docstrings:
comments, formatting and documentation never rerun anything.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = "workflow_scripts"
ROOT = Path(__file__).resolve().parents[2]
# They write down and keep what a step made, and shape none of it: an edit there remakes nothing.
ONLOOKERS = {f"{PACKAGE}/common/{name}.py" for name in ("provenance", "cache")}


@cache
def fingerprint(step: str) -> str:
    """Return a step's name and the hash of its code: `training/train_diffusion 3f2a…`.

    Covers the step, every project module that it imports, directly or not, and the lock file of
    the environment.

    Parameters
    ----------
    step : its file under `workflow_scripts`, without suffix
    """
    digest = hashlib.sha256(lock_hash().encode())
    for path, found in modules(step).items():
        digest.update(f"{path} {found}\n".encode())
    return f"{step} {digest.hexdigest()[:16]}"


def modules(step: str) -> dict[str, str]:
    """Return the hash of what each module says that a step can reach, by its path in the project."""
    start = ROOT / PACKAGE / f"{step}.py"
    if not start.is_file():
        raise FileNotFoundError(f"no step at {start}")
    paths = {path.relative_to(ROOT).as_posix(): path for path in reachable(start)}
    return {name: meaning(paths[name]) for name in sorted(paths)}


def reachable(start: Path) -> set[Path]:
    """Return `start` and every project module reachable from it through imports."""
    found, waiting = set(), [start]
    while waiting:
        path = waiting.pop()
        if path not in found and path.relative_to(ROOT).as_posix() not in ONLOOKERS:
            found.add(path)
            waiting.extend(imports(path))
    return found


@cache
def tree(path: Path) -> ast.Module:
    """Parse a module, and leave out its docstrings."""
    module = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return module


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
    return hashlib.sha256(ast.dump(tree(path)).encode()).hexdigest()


@cache
def lock_hash() -> str:
    """Return the SHA-256 of the environment's lock file."""
    return hashlib.sha256((ROOT / "envs" / "requirements.lock").read_bytes()).hexdigest()
