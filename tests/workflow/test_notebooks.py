"""The notebooks: text, calls and plots, which run from a plain checkout."""

import ast
import base64
import io
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell
from PIL import Image

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# What a reader may set, at its smallest.
SMALL = {
    "PATIENTS": 90,
    "SIZE": 16,
    "CHANNELS": [8, 16],
    "BATCH_SIZE": 8,
    "LEVELS": 4,
    "SAMPLES": 256,
}
STEPS = {"1_diffusion_basics": [8, 16], "2_training": 20, "3_conditional_generation": 20}
LOGIC = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.While,
    ast.Try,
    ast.With,
    ast.If,
)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def settings(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The one cell that is for readers to change."""
    (cell,) = [cell for cell in notebook.cells if cell.metadata.get("tags") == ["parameters"]]
    return cell


def source(cell: nbformat.NotebookNode) -> ast.Module:
    return ast.parse(re.sub(r"^%matplotlib inline$", "", cell.source, flags=re.MULTILINE))


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == list(STEPS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_are_kept_without_what_a_run_leaves(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in code(notebook):
        assert cell.outputs == [] and cell.execution_count is None, cell.id
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_hold_calls_and_plots_and_no_logic(path):
    notebook = read(path)
    for cell in code(notebook):
        for node in ast.walk(source(cell)):
            assert not isinstance(node, LOGIC), f"{cell.id}, line {node.lineno}: of its own"
            if isinstance(node, ast.For):
                called = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
                names = {call.func.attr for call in called if isinstance(call.func, ast.Attribute)}
                assert names & {"plot", "hist", "imshow", "axhline"}, (
                    f"{cell.id}: loops for no plot"
                )
    for node in source(settings(notebook)).body:
        assert isinstance(node, ast.Assign)
        ast.literal_eval(node.value)


@pytest.fixture
def isolated(tmp_path, monkeypatch) -> Path:
    """Nothing of the user's Jupyter is read, and nothing is left there."""
    for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"):
        monkeypatch.setenv(f"JUPYTER_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "path"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    return scratch


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_run_on_small_settings_and_draw_every_plot(path, isolated):
    notebook, before = read(path), sorted(FOLDER.iterdir())
    cell = settings(notebook)
    known = {node.targets[0].id for node in source(cell).body}
    chosen = {name: value for name, value in SMALL.items() if name in known}
    chosen["STEPS"] = STEPS[path.stem]
    assert set(chosen) <= known
    smaller = [f"{name} = {value!r}" for name, value in chosen.items()]
    notebook.cells.insert(notebook.cells.index(cell) + 1, new_code_cell("\n".join(smaller)))
    notebook.cells.append(new_code_cell("sys.executable"))
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute()  # raises what a cell raises

    *cells, last = code(notebook)
    assert ast.literal_eval(last.outputs[0].data["text/plain"]) == sys.executable
    plots = 0
    for cell in cells:
        texts = [output.text for output in cell.outputs if output.output_type == "stream"]
        assert not re.search(r"Warning|Error|Traceback", "".join(texts)), cell.id
        pictures = [
            output.data["image/png"]
            for output in cell.outputs
            if "data" in output and "image/png" in output.data
        ]
        if re.search(r"plt\.subplots\(|^Image\(", cell.source, flags=re.MULTILINE):
            assert len(pictures) == 1, cell.id
            pixels = Image.open(io.BytesIO(base64.b64decode(pictures[0]))).convert("L")
            assert np.asarray(pixels).std() > 5, f"{cell.id} draws nothing"
            plots += 1
    assert plots >= 8
    assert sorted(FOLDER.iterdir()) == before
    assert not list(isolated.glob("**/model.json")), "a notebook leaves its scratch folder behind"
