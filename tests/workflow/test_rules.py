"""Every rule carries what its product depends on, and says where its log and its costs are."""

import ast
import copy
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.workflow.planning import TARGETS
from workflow_scripts.acquire.manifest import read_files, read_manifest
from workflow_scripts.common.fingerprint import PACKAGE, ROOT, fingerprint, modules

# What arrives is pinned by its MD5: nobody wants 42 GB again for an edited line.
WITHOUT_CODE = {"download_archive"}
# No artefacts: they always run when they are asked for.
ALWAYS = {"audit", "crate"}
PINNED = {"path": "/elsewhere/weights.pt", "sha256": "0" * 64}


def of_kind(kind: str, folder: Path) -> tuple[dict, tuple[str, ...]]:
    """Return what a kind of data set adds to the small configuration, and the targets to ask for."""
    (folder / "images").mkdir()
    (folder / "images" / "images_001.tar.gz").touch()
    (folder / "images" / "one.png").touch()
    (folder / "table.csv").touch()
    labels, images = str(folder / "table.csv"), str(folder / "images")
    columns = {name: name for name in ("image", "patient", "findings", "age", "sex", "view")}
    local = {"folder": {"images": images, "labels": labels, "parts": 2, "columns": columns}}
    if kind == "phantom":
        folds = ["fold-0", "fold-1", "fold-2"]
        for fold in folds:
            study = folder / "results" / fold / "study" / "augmentation" / "predictions"
            study.mkdir(parents=True)
            (folder / "results" / fold / "split_report.json").touch()
            for arm in ("real", "real+0.2", "pretrain", "rare"):
                for seed in (0, 1):
                    (study / f"{arm}_seed{seed}.parquet").touch()
        pooled = {"cross_validation": {"study": "augmentation", "datasets": folds}}
        own = ROOT / "tests" / "workflow"
        tried = yaml.safe_load((own / "restoring.yaml").read_text())
        tried["denoising"] = yaml.safe_load((own / "denoising.yaml").read_text())["denoising"]
        return pooled | tried, (*TARGETS, "anomaly", *tried, "cross_validation", "audit", "crate")
    (folder / "files.tsv").write_text(
        f"file\tbytes\tmd5\turl\nx.h5.gz\t\t{'0' * 32}\thttps://a.org/x\nx.csv\t9\t{'1' * 32}\t\n"
    )
    for name in ("i.gz", "j", "l"):
        (folder / "images" / name).touch()
    nifti = {"images": images, "labels": labels, "files": r"(?P<subject>.*)\.nii"}
    nifti["columns"] = {"findings": "findings", "age": "age"}
    hdf5 = {"manifest": str(folder / "files.tsv")}
    hdf5["files"] = [{"images": "x.h5", "subjects": "x.csv", "split": "val"}]
    files = [{"images": image, "labels": "l", "split": split} for image, split in
             (("i", "test"), ("j", "train"))]  # fmt: skip
    idx = {"folder": images, "files": files}
    official = {"split": {"method": "official"}}
    given = {
        "nifti": {"dataset": {"kind": "nifti", "nifti": nifti}},
        "hdf5": {
            "dataset": {"kind": "hdf5", "hdf5": hdf5},
            "split": official["split"] | {"train_val_list": labels, "test_list": labels},
        },
        "idx": {"dataset": {"kind": "idx", "idx": idx}} | official,
        "nih": {"dataset": {"kind": "nih"}},
        "nih in a folder": {
            "dataset": {"kind": "nih", "nih": {"archives": ["images_001"], "labels": labels}},
            "nih_dir": images,
        },
        "folder": {"dataset": {"kind": "folder", **local}},
        "dicom": {"dataset": {"kind": "dicom", **local}},
    }[kind]
    return given, (*TARGETS, "anomaly")


@pytest.fixture(scope="module")
def plans(forks, root, phantom_config, tmp_path_factory) -> dict[str, dict]:
    """The rules and jobs of a run that uses everything, by the kind of its data set."""
    found = {}
    kinds = ("phantom", "nih", "nih in a folder", "folder", "dicom", "nifti", "hdf5", "idx")
    for kind in kinds:
        folder = tmp_path_factory.mktemp("kind")
        config = yaml.safe_load(phantom_config.read_text())
        config["evaluate"] |= {"extractors": ["pixels", "domain", "xrv"], "lpips": ["alex"]}
        config["weights"] = {"xrv": PINNED, "alex": PINNED}
        config["studies"]["low-data"]["without_copies"] = True
        (folder / "answers").mkdir()
        (folder / "answers" / "reader.csv").touch()
        config["readers"]["blinded"]["responses"] = str(folder / "answers")
        given, targets = of_kind(kind, folder)
        config |= {key: value for key, value in given.items() if key != "dataset"}
        config["dataset"] |= given.get("dataset", {})
        if kind in ("nifti", "hdf5", "idx"):  # say nothing of the view
            config["models"]["small"]["conditions"] = ["finding"]
            del config["samplers"]["dpm4"]["condition"]
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        status, said = forks.run(
            root, "tests.workflow.jobs", "--snakefile", root / "Snakefile", "--directory", folder,
            *targets, "--configfile", folder / "config.yaml",
        )  # fmt: skip
        assert status == 0, said[-6000:]
        found[kind] = json.loads(re.search(r"^JOBS (.*)", said, re.M)[1])
    return found


@pytest.fixture(scope="module")
def jobs(plans) -> list[dict]:
    """The jobs of all kinds."""
    return [job for plan in plans.values() for job in plan["jobs"]]


def faults(jobs: list[dict]) -> Iterator[str]:
    """Yield what is wrong with how the jobs of a plan say what their products depend on."""
    for job in jobs:
        rule, params = job["rule"], job["params"]
        step = job["step"].removeprefix(f"{PACKAGE}/")
        if step.rpartition("/")[2] != rule:
            yield f"{rule}: runs {step}"
        if params.get("code") != (None if rule in WITHOUT_CODE else fingerprint(step)):
            yield f"{rule}: has the fingerprint {params.get('code')}"
        text = params.get("config", "{}")
        if text != json.dumps(json.loads(text), sort_keys=True):
            yield f"{rule}: its configuration is not canonical"
        # Snakemake leaves out paths and objects, and tells a dict's order from another.
        plain = [value if isinstance(value, list) else [value] for value in params.values()]
        if set(job["kinds"].values()) - {"str", "list"} or not all(
            isinstance(item, str) for items in plain for item in items
        ):
            yield f"{rule}: a parameter is neither text nor a list of texts"
        if set(job["flags"]) - {"report"} or job["retries"]:
            yield f"{rule}: {job['flags']}, {job['retries']} retries"
        for caption in map(Path, job["captions"]):
            named = set(re.findall(r"wildcards\.(\w+)", caption.read_text()))
            if strange := named - set(job["wildcards"]):
                yield f"{rule}: {caption.name} tells of {', '.join(sorted(strange))}"
        log = job["log"][0] if len(job["log"]) == 1 else ""
        if not re.fullmatch(rf"results/[^/]+/logs/{rule}(/.+)?\.log", log):
            yield f"{rule}: logs to {job['log']}"
        costs = log.replace("/logs/", "/benchmarks/").removesuffix(".log") + ".tsv"
        if job["benchmark"] != (None if rule in ALWAYS else costs):
            yield f"{rule}: its costs are in {job['benchmark']}"
    for log, number in Counter(log for job in jobs for log in job["log"]).items():
        if number > 1:
            yield f"{log} is shared"
    carried = Counter((job["rule"], *job["input"], json.dumps(job["params"])) for job in jobs)
    for (rule, *_), number in carried.items():
        if number > 1:
            yield f"{rule}: {number} jobs read the same and carry the same"


def test_every_rule_and_every_step_is_looked_at(plans, jobs):
    assert {job["rule"] for job in jobs} == {name for p in plans.values() for name in p["rules"]}
    modules = [path.relative_to(ROOT) for path in (ROOT / PACKAGE).rglob("*.py")]
    steps = {path for path in modules if "with step(" in (ROOT / path).read_text()}
    assert {job["step"] for job in jobs} == {str(path.with_suffix("")) for path in steps}


def test_every_job_carries_what_its_product_depends_on(plans):
    assert {kind: list(faults(plan["jobs"])) for kind, plan in plans.items()} == {
        kind: [] for kind in plans
    }


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        ({"step": f"{PACKAGE}/study/compose_arm"}, "train_arm: runs study/compose_arm"),
        ({"params": {"code": fingerprint("study/compose_arm")}}, "train_arm: has the fingerprint"),
        ({"params": {"code": None}}, "train_arm: has the fingerprint None"),
        ({"params": {"config": '{"b": 1, "a": 2}'}}, "is not canonical"),
        ({"params": {"seed": [1]}}, "neither text nor a list of texts"),
        ({"kinds": {"path": "PosixPath"}}, "neither text nor a list of texts"),
        ({"flags": ["ancient"]}, "ancient"),
        ({"flags": ["directory"]}, "directory"),
        ({"retries": 2}, "2 retries"),
        (
            {"captions": [ROOT / "resources/report/captions/progress.rst"], "wildcards": []},
            "progress.rst tells of model",
        ),
        ({"log": []}, "logs to []"),
        ({"log": ["results/phantom/logs/arm.log"]}, "logs to"),
        ({"benchmark": None}, "its costs are in None"),
        ({"log": ["{other}"]}, "is shared"),
        ({"input": ["{other}"], "params": ["{other}"]}, "2 jobs read the same and carry the same"),
    ],
)
def test_a_planted_fault_is_found(plans, plant, found):
    one, other = [job for job in plans["phantom"]["jobs"] if job["rule"] == "train_arm"][:2]
    planted = copy.deepcopy(one)
    for name, value in plant.items():
        if value == ["{other}"]:
            planted[name] = other[name]
        elif isinstance(value, dict):
            planted[name] |= value
        else:
            planted[name] = value
    assert any(found in fault for fault in faults([planted, other]))
    assert list(faults([one, other])) == []


def test_a_stated_list_for_validation_goes_with_the_stated_one_for_training(plans):
    lists = {
        kind: [path for path in job["input"] if path.endswith((".txt", "table.csv"))]
        for kind in ("hdf5", "idx")
        for job in plans[kind]["jobs"]
        if job["rule"] == "split_patients"
    }
    assert [Path(path).name for path in lists["hdf5"]] == ["table.csv"] * 2
    assert {Path(path).name for path in lists["idx"]} == {"train_val_list.txt", "test_list.txt"}


# What a fingerprint cannot see.


def sources() -> dict[str, str]:
    """Return the text of every module of ours, by its path, without comments."""
    paths = sorted((ROOT / PACKAGE).rglob("*.py"))
    return {
        path.relative_to(ROOT / PACKAGE).as_posix(): ast.unparse(ast.parse(path.read_text()))
        for path in paths
    }


def asked_of_snakemake(source: str) -> set[str]:
    """Return what a step takes of Snakemake's object."""
    return {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "snakemake"
    }


def hidden_imports(source: str) -> set[str]:
    """Return the imports of a module that a fingerprint does not follow."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        line = ast.unparse(node).partition("\n")[0]
        if isinstance(node, ast.ImportFrom) and node.level:
            found.add(line)
        if isinstance(node, ast.Import | ast.ImportFrom) and re.search(
            r"import_module|runpy", line
        ):
            found.add(line)
        if isinstance(node, ast.Import) and "importlib" in line.split():
            found.add(line)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("exec", "eval", "__import__"):
            found.add(line)
        # Names that the engine finds when they are asked for.
        if isinstance(node, ast.ImportFrom) and node.module == f"{PACKAGE}.diffusion":
            home = ROOT / PACKAGE / "diffusion"
            if any(not (home / f"{alias.name}.py").is_file() for alias in node.names):
                found.add(line)
    return found


def test_no_script_reads_the_global_configuration():
    given = {"input", "output", "params", "wildcards", "threads", "resources", "log", "rule"}
    taken = {name: asked_of_snakemake(text) for name, text in sources().items()}
    assert given - {"threads"} <= set.union(*taken.values())
    del taken["trail/why.py"]  # asks Snakemake itself
    assert {name: found - given for name, found in taken.items() if found - given} == {}
    assert asked_of_snakemake("f(snakemake.config['seed'])") == {"config"}


def test_every_import_is_one_that_a_fingerprint_follows():
    hidden = {name: found for name, text in sources().items() if (found := hidden_imports(text))}
    assert hidden == {"diffusion/__init__.py": {"from importlib import import_module"}}


@pytest.mark.parametrize(
    "source",
    [
        "from . import schedule",
        "from .schedule import cosine",
        "def f():\n    import importlib",
        "from importlib import import_module as get",
        "import runpy",
        "exec('import os')",
        "x = __import__('os')",
        f"from {PACKAGE}.diffusion import draw",
    ],
)
def test_a_planted_hidden_import_is_found(source):
    assert hidden_imports(source)


def test_a_step_that_reads_a_file_of_the_repository_has_it_among_its_parameters(jobs):
    """By content; one that reads the list of findings, which many modules stand beside, as well."""
    reading = {
        f"{PACKAGE}/{name}"
        for name, text in sources().items()
        if re.search(r"'resources'|import .*\b(vocabulary|titles)\b", text)
        and name != "common/findings.py"
    }
    for job in jobs:
        if job["rule"] in ALWAYS:
            continue
        read = reading & set(modules(job["step"].removeprefix(f"{PACKAGE}/")))
        more = set(job["params"]) - {"config", "code", "archive"}
        assert bool(read) == bool(more), (job["rule"], read, more)


def test_every_archive_is_small_enough_to_be_compared_by_content(root):
    units = {"MB": 1e6, "GB": 1e9, "TB": 1e12}
    files = [*read_manifest("resources/nih_archives.tsv").values()]
    files += read_files("resources/pcam_files.tsv").values()
    largest = max(file.bytes or 0 for file in files)
    for name in ("default", "slurm"):
        profile = yaml.safe_load((root / "profiles" / name / "config.yaml").read_text())
        number, unit = re.fullmatch(r"(\d+)(\w+)", profile["max-checksum-file-size"]).groups()
        assert int(number) * units[unit] > 10 * largest
        assert "code" not in profile["rerun-triggers"]
        assert {"input", "mtime", "params"} <= set(profile["rerun-triggers"])
