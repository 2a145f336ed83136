"""A code fingerprint changes with what a step can reach, and with nothing else."""

import pytest

from workflow_scripts.common import fingerprint as module
from workflow_scripts.common.fingerprint import PACKAGE, ROOT, fingerprint, reachable

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

    def take():
        for function in (module.fingerprint, module.tree, module.imports, module.meaning, module.lock_hash):
            function.cache_clear()
        return module.fingerprint("stage/step")

    yield stage, take
    for function in (module.fingerprint, module.tree, module.imports, module.meaning, module.lock_hash):
        function.cache_clear()


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
        ("step.py", STEP),
    ],
)
def test_comments_formatting_documentation_and_strangers_do_not(project, file, text):
    stage, take = project
    before = take()
    (stage / file).write_text(text)
    assert take() == before


def test_an_import_inside_a_function_counts(project):
    stage, take = project
    (stage / "step.py").write_text("def f():\n    import workflow_scripts.stage.other\n")
    before = take()
    (stage / "other.py").write_text("X = 2\n")
    assert take() != before


def test_a_step_that_is_not_there_is_named(project):
    with pytest.raises(FileNotFoundError, match=r"no step at .*nothing\.py"):
        fingerprint("stage/nothing")


def test_what_draws_images_trains_no_model_anew():
    reached = reachable(ROOT / PACKAGE / "training" / "train_diffusion.py")
    engine = ROOT / PACKAGE / "diffusion"
    drawing = {engine / f"{name}.py" for name in ("sampler", "solvers", "noise", "grid", "model")}
    assert all(path.is_file() for path in drawing)
    assert engine / "process.py" in reached
    assert not drawing & reached
