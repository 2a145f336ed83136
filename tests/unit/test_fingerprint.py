"""A code fingerprint changes with what a step can reach, and with nothing else."""

import ast

import pytest

from workflow_scripts.common import fingerprint as module
from workflow_scripts.common.fingerprint import PACKAGE, ROOT, fingerprint, modules, reachable

STEP = '"""Step."""\nfrom workflow_scripts.stage.helper import double\n\nprint(double(2))\n'
HELPER = (
    "from workflow_scripts.stage import constants\n\ndef double(x):\n    return constants.TWO * x\n"
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    stage = tmp_path / "workflow_scripts" / "stage"
    stage.mkdir(parents=True)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "requirements.lock").write_text("numpy==1\n")
    for package in (stage, stage.parent):
        (package / "__init__.py").write_text("")
    (stage / "step.py").write_text(STEP)
    (stage / "helper.py").write_text(HELPER)
    (stage / "constants.py").write_text("TWO = 2\n")
    (stage / "other.py").write_text("X = 1\n")
    monkeypatch.setattr(module, "ROOT", tmp_path)

    def take(step="stage/step"):
        forget()
        return fingerprint(step)

    yield stage, take
    forget()


def forget():
    """Read every file anew."""
    for name in ("fingerprint", "tree", "imports", "meaning", "lock_hash"):
        getattr(module, name).cache_clear()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("step.py", STEP.replace("double(2)", "double(3)")),
        ("helper.py", HELPER.replace("* x", "* x + 0")),
        ("constants.py", "TWO = 3\n"),
        ("__init__.py", "import os\n"),
        ("../../envs/requirements.lock", "numpy==2\n"),
    ],
)
def test_a_change_within_reach_changes_it(project, file, text):
    stage, take = project
    before = take()
    (stage / file).write_text(text)
    assert take() != before


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("step.py", STEP.replace('"""Step."""', '"""Another word."""\n# and a comment')),
        ("helper.py", HELPER.replace("    return", "    # doubled\n\n    return")),
        ("other.py", "X = 2\n"),
        (
            "helper.py",
            HELPER.replace("(x)", "(x,)").replace("import constants", "import (constants)"),
        ),
        ("step.py", STEP),
    ],
)
def test_comments_formatting_documentation_and_strangers_do_not(project, file, text):
    stage, take = project
    before = take()
    (stage / file).write_text(text)
    assert take() == before


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    import workflow_scripts.stage.other\n",
        "def f():\n    from workflow_scripts.stage.other import X\n",
        "if 1 > 2:\n    from workflow_scripts.stage import other as something\n",
        "import os, workflow_scripts.stage.other as o\n",
        "try:\n    from workflow_scripts.stage.other import *\nexcept ImportError:\n    pass\n",
    ],
)
def test_an_import_counts_wherever_and_however_it_is_written(project, text):
    stage, take = project
    (stage / "step.py").write_text(text)
    before = take()
    (stage / "other.py").write_text("X = 2\n")
    assert take() != before


def test_an_import_of_an_import_counts_and_a_circle_ends(project):
    stage, take = project
    (stage / "constants.py").write_text("import workflow_scripts.stage.other\nTWO = 2\n")
    (stage / "other.py").write_text("import workflow_scripts.stage.helper\nX = 1\n")
    before = take()
    (stage / "other.py").write_text("import workflow_scripts.stage.helper\nX = 2\n")
    assert take() != before


def test_it_names_the_step_so_that_no_two_steps_share_one(project):
    stage, take = project
    (stage / "twin.py").write_text(STEP)
    assert take().startswith("stage/step ")
    assert take("stage/twin").split(" ")[1] != take().split(" ")[1]


def test_the_modules_behind_it_tell_which_one_changed(project):
    stage, take = project
    take()
    before = modules("stage/step")
    assert sorted(before) == [
        "workflow_scripts/__init__.py",
        "workflow_scripts/stage/__init__.py",
        "workflow_scripts/stage/constants.py",
        "workflow_scripts/stage/helper.py",
        "workflow_scripts/stage/step.py",
    ]
    (stage / "constants.py").write_text("TWO = 3\n")
    forget()
    after = modules("stage/step")
    assert {name for name in after if after[name] != before[name]} == {
        "workflow_scripts/stage/constants.py"
    }


def test_a_step_that_is_not_there_is_named(project):
    with pytest.raises(FileNotFoundError, match=r"no step at .*nothing\.py"):
        fingerprint("stage/nothing")


def test_no_module_of_ours_means_something_else_when_it_is_laid_out_otherwise(tmp_path):
    for number, path in enumerate(sorted((ROOT / PACKAGE).rglob("*.py"))):
        other = tmp_path / f"{number}.py"
        other.write_text("# A remark.\n" + ast.unparse(ast.parse(path.read_text())))
        assert module.meaning(other) == module.meaning(path), path


def test_what_records_or_keeps_a_product_does_not_make_it_anew():
    reached = modules("training/train_diffusion")
    assert f"{PACKAGE}/common/runtime.py" in reached
    for name in ("provenance", "cache"):
        assert (ROOT / PACKAGE / "common" / f"{name}.py").is_file()
        assert f"{PACKAGE}/common/{name}.py" not in reached


def test_what_draws_images_trains_no_model_anew():
    reached = reachable(ROOT / PACKAGE / "training" / "train_diffusion.py")
    engine = ROOT / PACKAGE / "diffusion"
    drawing = {engine / f"{name}.py" for name in ("sampler", "solvers", "grid", "model")}
    assert all(path.is_file() for path in drawing)
    assert engine / "process.py" in reached
    assert not drawing & reached
