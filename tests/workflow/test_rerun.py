"""What runs again after a change: all that it reaches, and nothing else."""

import ast
import copy
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.workflow.planning import TARGETS, World

LABELS = {"parse_labels"}
COHORT = {"filter_cohort"}
SPLIT = {"split_patients", "check_leaks", "join_metadata"}
PIXELS = {"resize_archive", "list_shards"}
MODEL = {"train_diffusion", "choose_average", "plot_training"}
SAMPLES = {"draw_samples", "list_sample_shards", "collect_samples", "plot_denoising"}
MEASURES = {
    "measure_distribution", "measure_diversity", "measure_condition", "measure_physics",
    "audit_copies",
}  # fmt: skip
# What shows measures, of one model or of all, and what shows everything.
SHOWN = {"collect_metrics", "compare_models", "export_model", "render_report"}
RESULT = {"summarise_study", "plot_study", "render_report"}
ARMS = {"compose_arm", "prove_separation", "train_arm"} | RESULT
FROM_SAMPLES = (
    {"train_on_synthetic", "extract_features", "make_reader_study"} | MEASURES | SHOWN | ARMS
)
FROM_MODEL = {"choose_average", "plot_training"} | SAMPLES | FROM_SAMPLES
FROM_IMAGES = (
    {"select_images", "train_domain_classifier", "draw_controls", "plan_arms"}
    | {"train_diffusion"}
    | FROM_MODEL
)
EVERYTHING = {"describe_phantom", "draw_phantom"} | LABELS | COHORT | SPLIT | PIXELS | FROM_IMAGES


# Changes. Each is made to a World.


def setting(*path: object, **keys: object) -> Callable[[World], None]:
    """Change keys of the configuration, at `path`."""

    def change(world: World) -> None:
        at = world.config
        for name in path:
            at = at.setdefault(name, {})
        assert any(at.get(name) != value for name, value in keys.items())
        at.update(keys)

    return change


def asked(*arguments: object, targets: tuple = TARGETS) -> Callable[[World], None]:
    """Call Snakemake otherwise."""

    def change(world: World) -> None:
        world.arguments, world.targets = list(arguments), targets

    return change


def code(name: str, text: str = "\n\nADDED = 1\n") -> Callable[[World], None]:
    """Append to a file of the checkout, which need not be there."""

    def change(world: World) -> None:
        with (world.checkout / name).open("a") as stream:
            stream.write(text)

    return change


def replaced(name: str, old: str, new: str) -> Callable[[World], None]:
    """Replace a text of a file of the checkout."""

    def change(world: World) -> None:
        text = (world.checkout / name).read_text()
        assert old in text
        (world.checkout / name).write_text(text.replace(old, new))

    return change


def artefact(pattern: str, edit: Callable[[Path], None]) -> Callable[[World], None]:
    """Do something to every file of the results that matches."""

    def change(world: World) -> None:
        found = [path for path in sorted(world.data.glob(pattern)) if path.is_file()]
        assert found, pattern
        for path in found:
            edit(path)

    return change


def both(*changes: Callable[[World], None]) -> Callable[[World], None]:
    """Make several changes."""

    def change(world: World) -> None:
        for one in changes:
            one(world)

    return change


def swap_two_numbers(world: World) -> None:
    """Let two keys of one section trade their values."""
    training = world.config["models"]["small"]["training"]
    training["steps"], training["batch_size"] = training["batch_size"], training["steps"]


def reorder_keys(world: World) -> None:
    """Write every mapping of the configuration backwards, but for arms: their order is shown."""

    def backwards(value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {
            key: value[key] if key == "arms" else backwards(value[key]) for key in reversed(value)
        }

    world.config = backwards(world.config)


def reorder_arms(world: World) -> None:
    """Write the arms of a study backwards."""
    study = world.config["studies"]["augmentation"]
    study["arms"] = dict(reversed(study["arms"].items()))


def touch_the_code(world: World) -> None:
    """Give every file of the checkout another time, as a checkout or a copy does."""
    for path in world.checkout.rglob("*"):
        os.utime(path)


def git(folder: Path, *arguments: str) -> None:
    """Run git, whatever its user's settings."""
    identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    subprocess.run(command, check=True, capture_output=True)


def visit_another_branch(world: World) -> None:
    """Commit, change every module on a branch, come back, and go on in a clone."""
    source = world.checkout
    git(source, "init", "-b", "main")
    git(source, "add", "--force", ".")
    git(source, "commit", "-m", "before")
    git(source, "checkout", "-b", "other")
    for path in source.glob("workflow_scripts/**/*.py"):
        path.write_text("OTHER = 1\n" + path.read_text())
    git(source, "commit", "-a", "-m", "other")
    git(source, "checkout", "main")
    git(world.folder, "clone", str(source), str(world.folder / "clone"))
    world.places["checkout"] = world.folder / "clone"


def rewrite_the_code(world: World) -> None:
    """Reformat every module, lose every comment, say other things in every docstring.

    The exported pipeline is no code of ours to run: it is copied as it stands.
    """
    for path in world.checkout.glob("workflow_scripts/**/*.py"):
        if path.name != "pipeline.py" and (text := path.read_text()):
            plain = ast.unparse(ast.parse(text))
            path.write_text("# A remark.\n" + plain.replace('"""', '"""Otherwise: ', 1) + "\n\n")


def touch(path: Path) -> None:
    """Give a file a later time."""
    later = path.stat().st_mtime + 3600
    os.utime(path, (later, later))


def copy_over(path: Path) -> None:
    """Put a copy in a file's place, made now."""
    other = path.with_name("copy")
    shutil.copyfile(path, other)
    other.replace(path)


def edit(path: Path) -> None:
    """Let a file hold other bytes."""
    with path.open("ab") as stream:
        stream.write(b" ")


def label_row(included: bool) -> Callable[[World], None]:
    """Give an image of the label table another age, and one outside the cohort another finding."""

    def change(world: World) -> None:
        path = next(world.data.glob("raw/*.csv"))
        table = pd.read_csv(path, dtype=str)
        name = "cohort" if included else "exclusions"
        image = pd.read_parquet(world.data / f"{name}.parquet")["image_id"].iloc[0]
        row = table["Image Index"] == image
        assert row.sum() == 1
        if included:
            table.loc[row, "Patient Age"] = "41"
        else:
            table.loc[row, "Finding Labels"] = "Hernia|Mass|Nodule"
        table.to_csv(path, index=False)

    return change


NOTHING: set[str] = set()
FROM_SPLIT = SPLIT | FROM_IMAGES
FROM_TRAINING = {"train_diffusion"} | FROM_MODEL
FROM_DRAWING = SAMPLES | FROM_SAMPLES
DRAWN = FROM_DRAWING - {"plot_denoising"}
JUDGING = {
    "extract_features", "measure_distribution", "measure_condition", "audit_copies",
    "train_on_synthetic",
} | SHOWN  # fmt: skip
INCEPTION = {"inception": {"path": "/elsewhere/inception.pt", "sha256": "0" * 64}}
ALEX = {"alex": {"path": "/elsewhere/alex.pt", "sha256": "0" * 64}}
STUDY = ("studies", "augmentation")
FINDINGS = ["No Finding", "Cardiomegaly", "Effusion"]

# What is changed: how, the rules that run again, and of some of them which jobs.
MATRIX: dict[str, tuple] = {
    "nothing": (lambda world: None, NOTHING),
    # The configuration, section by section.
    "phantom seed": (setting("dataset", "phantom", seed=15), EVERYTHING),
    "a class more": (setting("cohort", classes=[*FINDINGS, "Mass"]), COHORT | FROM_SPLIT),
    "multi-label cohort": (setting("cohort", labels="multi"), COHORT | FROM_SPLIT),
    "split seed": (setting("split", seed=5), FROM_SPLIT),
    "image size": (setting("tensors", size=32), PIXELS | FROM_IMAGES),
    "unreadable files tolerated": (setting("tensors", max_rejects=2), FROM_IMAGES),
    "schedule": (
        setting("models", "small", "diffusion", schedule="sigmoid"),
        FROM_TRAINING,
        # Nothing that a synthetic image does not enter.
        {
            "compose_arm": {
                "augmentation real+0.2",
                "augmentation pretrain",
                "augmentation rare",
                "low-data synthetic",
            },
            "train_arm": {
                "augmentation real+0.2 0",
                "augmentation real+0.2 1",
                "augmentation pretrain 0",
                "augmentation pretrain 1",
                "augmentation rare 0",
                "augmentation rare 1",
                "low-data synthetic 0",
            },
            "extract_features": {"pixels small/dpm4", "domain small/dpm4"},
        },
    ),
    "learning rate": (setting("models", "small", "training", learning_rate=0.002), FROM_TRAINING),
    "average": (setting("models", "small", "training", ema=[0.05, 0.2]), FROM_TRAINING),
    "two values swapped": (swap_two_numbers, FROM_TRAINING),
    "precision": (setting(precision="bf16"), FROM_TRAINING),
    "sampler steps": (setting("samplers", "dpm4", steps=5), FROM_DRAWING),
    "sampler seed": (setting("samplers", "dpm4", seed=3), FROM_DRAWING),
    "images per class": (setting("samplers", "dpm4", per_class=14), DRAWN | {"plan_arms"}),
    "jobs per class": (setting("samplers", "dpm4", shards=3), DRAWN),
    "classifier steps": (
        setting("classifier", steps=16),
        JUDGING | {"train_domain_classifier", "train_arm"} | RESULT,
        {
            "extract_features": {
                "domain real",
                "domain noise",
                "domain planted",
                "domain small/dpm4",
            },
            "measure_distribution": {"small dpm4 domain"},
        },
    ),
    "classifier seed": (setting("classifier", seed=4), JUDGING | {"train_domain_classifier"}),
    "an extractor more": (
        both(
            setting("evaluate", extractors=["pixels", "domain", "inception"]),
            setting(weights=INCEPTION),
        ),
        {"fetch_weights", "extract_features", "measure_distribution", "audit_copies"} | SHOWN,
        {
            "extract_features": {
                "inception real",
                "inception noise",
                "inception planted",
                "inception small/dpm4",
            },
            "measure_distribution": {"small dpm4 inception"},
        },
    ),
    "an extractor less": (setting("evaluate", extractors=["domain"]), SHOWN),
    "lpips": (
        both(setting("evaluate", lpips=["alex"]), setting(weights=ALEX)),
        {"fetch_weights", "measure_diversity"} | SHOWN,
    ),
    "neighbours": (setting("evaluate", neighbours=4), {"measure_distribution"} | SHOWN),
    "pairs": (setting("evaluate", pairs=10), {"measure_diversity"} | SHOWN),
    "evaluation seed": (
        setting("evaluate", seed=5),
        {"draw_controls", "extract_features"} | MEASURES | SHOWN,
        {
            "extract_features": {
                "pixels noise",
                "domain noise",
                "domain planted",
            }
        },
    ),
    "an arm more": (
        setting(*STUDY, "arms", noise={"synthetic": 0.1}),
        ARMS | {"plan_arms"},
        {
            "plan_arms": {"augmentation"},
            "compose_arm": {"augmentation noise"},
            "prove_separation": {"augmentation noise"},
            "train_arm": {"augmentation noise 0", "augmentation noise 1"},
            "summarise_study": {"augmentation"},
            "plot_study": {"augmentation"},
        },
    ),
    "a ratio": (
        setting(*STUDY, "arms", "rare", synthetic=0.1),
        ARMS | {"plan_arms"},
        {
            "compose_arm": {"augmentation rare"},
            "train_arm": {"augmentation rare 0", "augmentation rare 1"},
            "summarise_study": {"augmentation"},
        },
    ),
    "a seed more": (
        setting(*STUDY, seeds=[0, 1, 2]),
        {"train_arm"} | RESULT,
        {
            "train_arm": {
                "augmentation real 2",
                "augmentation real+0.2 2",
                "augmentation pretrain 2",
                "augmentation rare 2",
            }
        },
    ),
    "share of patients": (
        setting("studies", "low-data", patients=0.6),
        ARMS | {"plan_arms"},
        {
            "plan_arms": {"low-data"},
            "train_arm": {"low-data real 0", "low-data synthetic 0"},
            "plot_study": {"low-data"},
        },
    ),
    "without copies": (
        setting("studies", "low-data", without_copies=True),
        ARMS,
        {
            "compose_arm": {"low-data synthetic"},
            "prove_separation": {"low-data synthetic"},
            "train_arm": {"low-data synthetic 0"},
        },
    ),
    "resamples": (setting(*STUDY, bootstrap=300), RESULT, {"summarise_study": {"augmentation"}}),
    "order of arms": (reorder_arms, {"plan_arms"} | RESULT, {"plot_study": {"augmentation"}}),
    "a reader study's size": (
        setting("readers", "blinded", per_class=3),
        {"make_reader_study", "render_report"},
    ),
    "order of keys": (reorder_keys, NOTHING),
    # What jobs are given, and how they are started.
    "device": (setting(device="cpu"), NOTHING),
    "checkpoints": (setting(checkpoint={"minutes": 3, "steps": 7}), NOTHING),
    "processes of a training": (setting("models", "small", gpus=2), NOTHING),
    "threads and resources": (
        asked(
            "--set-threads",
            "train_diffusion=1",
            "draw_samples=1",
            "--set-resources",
            "train_diffusion:mem_mb=999",
            "draw_samples:runtime=9",
            "--resources",
            "gpu=4",
        ),
        NOTHING,
    ),
    # Code.
    "times of all code": (touch_the_code, NOTHING),
    "git there and back": (visit_another_branch, NOTHING),
    "comments, layout, documentation": (rewrite_the_code, NOTHING),
    "threads of a rule": (
        replaced("rules/training.smk", "    threads: 2\n", "    threads: 1  # for now\n"),
        NOTHING,
    ),
    "a line in a module of two stages": (
        code("workflow_scripts/metrics/copies.py"),
        {
            "draw_controls",
            "extract_features",
            "measure_distribution",
            "measure_physics",
            "audit_copies",
        }
        | SHOWN,
        {
            "extract_features": {
                "pixels noise",
                "domain noise",
                "domain planted",
            }
        },
    ),
    "a line in a nested import": (code("workflow_scripts/diffusion/schedule.py"), FROM_TRAINING),
    "a line that sampling reaches": (code("workflow_scripts/diffusion/solvers.py"), FROM_DRAWING),
    "a line in a step": (code("workflow_scripts/study/summarise_study.py"), RESULT),
    "a line in a package": (
        code("workflow_scripts/readers/__init__.py"),
        {"make_reader_study"},
    ),
    "a line that only records": (code("workflow_scripts/common/provenance.py"), NOTHING),
    "the environment": (code("envs/requirements.lock", "another==1.0\n"), EVERYTHING),
    "the report's template": (code("resources/report/page.html.j2", "<p>"), {"render_report"}),
    "the readers' page": (code("resources/readers/script.js", "0;"), {"make_reader_study"}),
    "the card's template": (code("resources/export/card.md.j2", "More."), {"export_model"}),
    "a comment in the exported pipeline": (
        code("workflow_scripts/export/pipeline.py", "# More.\n"),
        {"export_model"},
    ),
    "a finding's name": (
        replaced("resources/findings.tsv", "Hernia", "Herniation"),
        LABELS | COHORT | FROM_SPLIT,
    ),
    "a caption": (code("resources/report/captions/grid.rst", "More."), NOTHING),
    # Files.
    "times of all results": (artefact("**/*", touch), NOTHING),
    "a label of an image that takes part": (label_row(included=True), LABELS | COHORT | FROM_SPLIT),
    # Nobody knows before parse_labels has run; what to do, below.
    "a label of an image that does not": (label_row(included=False), LABELS | COHORT | FROM_SPLIT),
    "an archive touched": (artefact("raw/images_001.tar.gz", touch), NOTHING),
    "an archive copied over": (artefact("raw/images_001.tar.gz", copy_over), NOTHING),
    "another archive": (
        artefact("raw/images_001.tar.gz", edit),
        PIXELS | FROM_IMAGES,
        {"resize_archive": {"images_001"}},
    ),
    "an intermediate deleted": (artefact("cohort.parquet", Path.unlink), NOTHING),
    "a synthetic shard edited by hand": (
        artefact("samples/small/dpm4/effusion/effusion_000.npy", edit),
        FROM_SAMPLES | SAMPLES - {"draw_samples", "plot_denoising"},
    ),
    "an intermediate deleted and asked for": (
        both(artefact("cohort.parquet", Path.unlink), asked(targets=("cohort",))),
        COHORT | SPLIT,
    ),
    "an intermediate deleted that a change needs": (
        both(artefact("models/small/unet/*", Path.unlink), setting("samplers", "dpm4", steps=5)),
        FROM_DRAWING | {"choose_average"},
    ),
    # What reads pixels depends on the list of shards; who asks for the shards gets them back.
    "a shard deleted": (artefact("tensors/16/images_001.npy", Path.unlink), NOTHING),
    "a shard deleted and asked for": (
        both(artefact("tensors/16/images_001.npy", Path.unlink), asked(targets=("tensors",))),
        PIXELS | {"select_images"},
        {"resize_archive": {"images_001"}},
    ),
    "a shard edited by hand": (
        artefact("tensors/16/images_001.npy", edit),
        {"list_shards"} | FROM_IMAGES - {"select_images", "plan_arms"},
    ),
    "the report deleted": (artefact("report/index.html", Path.unlink), {"render_report"}),
    "logs, costs and records deleted": (
        both(
            artefact("logs/**/*", Path.unlink),
            artefact("benchmarks/**/*", Path.unlink),
            artefact("provenance/**/*", Path.unlink),
        ),
        NOTHING,
    ),
    "an artefact edited by hand": (
        artefact("evaluate/small/dpm4/metrics.parquet", edit),
        SHOWN - {"collect_metrics"},
    ),
    # Nothing is made from it; `snakemake audit` finds it.
    "the report edited by hand": (artefact("report/index.html", edit), NOTHING),
}


@pytest.mark.parametrize("what", MATRIX)
def test_a_change_reruns_all_that_it_reaches_and_nothing_else(world, what):
    change, rules, *jobs = MATRIX[what]
    change(world)
    plan = world.plan()
    assert plan.rules == rules
    for rule, expected in dict(*jobs).items():
        assert plan.jobs[rule] == expected


def test_run_stage_by_stage_what_comes_out_as_before_makes_nothing_anew(world):
    """Snakemake plans all that stands behind a job; of a stage that has run, it compares the bytes."""
    label_row(included=False)(world)
    world.targets, world.arguments = ("tensors",), ["--cores", "2"]
    said = world.ask("snakemake")
    assert "select_images" in said and "resize_archive" not in said
    world.targets, world.arguments = TARGETS, []
    assert world.plan().rules == {"render_report", "export_model"}


@pytest.fixture(scope="module")
def twins(phantom_run, root, phantom_config, forks, tmp_path_factory) -> World:
    """A run of two models and two samplers: the small run's files, which Snakemake takes for made."""
    folder = tmp_path_factory.mktemp("twins")
    config = yaml.safe_load(phantom_config.read_text())
    config["models"]["other"] = copy.deepcopy(config["models"]["small"])
    config["samplers"]["dpm9"] = copy.deepcopy(config["samplers"]["dpm4"])
    world = World(folder, phantom_run, root, config, forks)
    results = world.data.parent
    for path in [path for path in results.rglob("*") if path.is_file()]:
        for model, sampler in (("other", "dpm4"), ("small", "dpm9"), ("other", "dpm9")):
            name = str(path.relative_to(results)).replace("small", model).replace("dpm4", sampler)
            (results / name).parent.mkdir(parents=True, exist_ok=True)
            if not (results / name).exists():
                shutil.copyfile(path, results / name)
    world.arguments = ["--touch", "--forceall", "--cores", "1"]
    world.ask("snakemake")
    return world


@pytest.mark.parametrize(
    ("change", "name", "rules"),
    [
        (setting("models", "other", "training", learning_rate=0.002), "other", FROM_TRAINING),
        (setting("samplers", "dpm9", seed=3), "dpm9", FROM_DRAWING),
    ],
)
def test_one_of_two_models_or_samplers_leaves_the_other_alone(
    twins, root, forks, tmp_path, change, name, rules
):
    world = World(tmp_path, twins.places["run"], root, twins.config, forks)
    assert world.plan().jobs == {}
    change(world)
    plan = world.plan()
    # No study and no reader study looks at it.
    assert plan.rules == rules - ARMS - {"make_reader_study"} | {"render_report"}
    shared = {"export_model"} if name == "dpm9" else set()  # a card shows all samplers
    for rule, jobs in plan.jobs.items():
        assert rule in shared or all(name in re.split("[ /]", job) for job in jobs if job), rule


@pytest.fixture(scope="module")
def archives(phantom_run, root, forks, tmp_path_factory) -> World:
    """Tensors of an archive in a folder of the user's."""
    folder = tmp_path_factory.mktemp("archives")
    place = folder / "given" / "archives"
    place.mkdir(parents=True)
    raw = phantom_run / "results" / "phantom" / "raw"
    archive = place / "images_001.tar.gz"
    shutil.copyfile(raw / "images_001.tar.gz", archive)
    facts = (archive.name, "https://example.org/1", archive.stat().st_size)
    digest = hashlib.md5(archive.read_bytes()).hexdigest()
    text = "archive\turl\tbytes\tmd5\n" + "\t".join(map(str, (*facts, digest))) + "\n"
    (place / "manifest.tsv").write_text(text)
    nih = {"manifest": "archives/manifest.tsv", "labels": str(next(raw.glob("*.csv")))}
    config = {
        "dataset": {"name": "given", "kind": "nih", "nih": nih},
        "nih_dir": "archives",
        "cohort": {"classes": FINDINGS},
        "tensors": {"size": 16},
    }
    world = World(folder, place.parent, root, config, forks)
    world.targets, world.arguments = ("results/given/tensors/16/images_001.npy",), ["--cores", "2"]
    world.ask("snakemake")
    return world


def given(name: str, edit: Callable[[Path], None]) -> Callable[[World], None]:
    """Do something to a file of the folder of archives."""
    return lambda world: edit(world.own("run") / "archives" / name)


def rewrite(old: str, new: str) -> Callable[[Path], None]:
    """Replace a text of a file."""

    def change(path: Path) -> None:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        (given("images_001.tar.gz", touch), NOTHING),
        (given("images_001.tar.gz", copy_over), NOTHING),
        (given("images_001.tar.gz", edit), {"verify_archive", "resize_archive"}),
        (given("manifest.tsv", rewrite("example.org/1", "example.org/2")), NOTHING),
        (given("manifest.tsv", touch), NOTHING),
    ],
    ids=["touched", "copied over", "another", "another address", "manifest touched"],
)
def test_an_archive_of_the_user_counts_by_its_content(
    archives, root, forks, tmp_path, change, rules
):
    world = World(tmp_path, archives.places["run"], root, archives.config, forks)
    world.targets = archives.targets
    change(world)
    assert world.plan().rules == rules
