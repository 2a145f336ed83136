"""The whole chain through Snakemake: it ends, and it gives the same bytes."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from workflow_scripts.common.files import sha256_of

CLASSES = ["no_finding", "cardiomegaly", "effusion"]


def files(folder: Path, *patterns: str) -> dict[str, str]:
    """Return the hash of each artefact below results/ that matches, by its path."""
    root = folder / "results"
    found = sorted({path for pattern in patterns for path in root.glob(pattern)})
    # The records of the jobs hold times.
    names = {str(path.relative_to(root)): path for path in found}
    return {n: sha256_of(path) for n, path in names.items() if "/provenance/" not in n}


def rules_to_run(output: str) -> set[str]:
    """Return the rules that a dry run would run."""
    return set(re.findall(r"^(?:local)?rule (\w+):", output, flags=re.MULTILINE)) - {"all"}


def test_the_chain_ends_in_a_report_that_stands_alone(phantom_run):
    page = (phantom_run / "results/phantom/report/index.html").read_text()
    assert "PHANTOM" in page.upper()
    assert not re.findall(r"<(?:img|script|link)[^>]+(?:src|href)=[\"']?(?!data:)[^\"'#]", page)


def test_every_artefact_of_the_map_is_there(phantom_run):
    data = phantom_run / "results/phantom"
    expected = [
        "labels.parquet", "cohort.parquet", "exclusions.parquet", "metadata.parquet",
        "split_report.json", "splits/train.csv", "splits/val.csv", "splits/test.csv",
        "tensors/16/images.parquet", "tensors/16/images_001.npy", "tensors/16/images_002.parquet",
        "models/small/unet/config.json", "models/small/unet/diffusion_pytorch_model.safetensors",
        "models/small/model.json", "models/small/average.parquet", "models/small/progress.png",
        "models/small/ema/short.safetensors", "models/small/ema/long.safetensors",
        "models/small/ema/early.safetensors",
        "models/small/training_log.parquet", "models/small/loss_curve.png",
        "models/small/forward_strip.png", "samples/small/dpm4/samples.parquet",
        "samples/small/dpm4/denoising_strip.png", "models/small/seen.parquet",
        "classifier/16/domain_seen.parquet", "features/16/domain/real.npy",
        "features/16/domain/real.classes.npy", "features/16/controls/planted.parquet",
        "evaluate/small/dpm4/metrics.parquet", "evaluate/small/dpm4/copies.parquet",
        "evaluate/small/dpm4/closest.png", "evaluate/small/dpm4/physics.png",
        "study/augmentation/summary.parquet", "study/augmentation/subgroups.parquet",
        "study/augmentation/forest.png", "study/augmentation/ratios.png",
        "study/augmentation/calibration.png", "study/augmentation/separation/real.json",
        "readers/blinded/reader_study.html", "readers/blinded/key.parquet",
        "evaluate/comparison.parquet", "evaluate/comparison.png",
        "export/small/README.md", "export/small/model_index.json", "export/small/pipeline.py",
        "export/small/unet/diffusion_pytorch_model.safetensors",
        "export/small/scheduler/scheduler_config.json", "export/small/samples.png",
    ]  # fmt: skip
    expected += [f"samples/small/dpm4/{name}/{name}_001.npy" for name in CLASSES]
    assert [name for name in expected if not (data / name).is_file()] == []
    assert not list(data.rglob("*.partial*")), "a half-written file was left behind"


def test_the_splits_share_no_patient_and_add_up(phantom_run):
    data = phantom_run / "results/phantom"
    splits = {s: pd.read_csv(data / f"splits/{s}.csv", dtype=str) for s in ("train", "val", "test")}
    patients = [set(split["patient_id"]) for split in splits.values()]
    assert not (patients[0] & patients[1] or patients[0] & patients[2] or patients[1] & patients[2])
    cohort = pd.read_parquet(data / "cohort.parquet")
    labels = pd.read_parquet(data / "labels.parquet")
    exclusions = pd.read_parquet(data / "exclusions.parquet")
    assert sum(map(len, splits.values())) == len(cohort)
    assert set(cohort["image_id"]) | set(exclusions["image_id"]) == set(labels["image_id"])
    assert len(cohort) + len(exclusions) == len(labels)


def test_what_is_measured_anew_in_another_folder_has_the_same_bytes(
    snakemake, phantom_run, phantom_config, tmp_path
):
    """Of tables, tensors, weights, samples and predictions, test_failures.py says as much."""
    shutil.copytree(phantom_run, tmp_path, dirs_exist_ok=True)
    for name in ("features", "evaluate", "classifier"):
        shutil.rmtree(tmp_path / "results/phantom" / name)
    snakemake(tmp_path, "evaluate", "--configfile", phantom_config)
    patterns = [
        "**/*.parquet",  # the measures as well
        "**/*.csv",
        "**/*.npy",
        "**/*.safetensors",
        "**/*.json",
        "**/*.tar.gz",
    ]
    again = files(tmp_path, *patterns)
    assert len(again) > 30
    before = files(phantom_run, *patterns)
    assert {name for name, digest in again.items() if before[name] != digest} == set()


@pytest.fixture
def dry_run(forks, root, tmp_path):
    """Return what a dry run says, and whether it ends well."""

    def run(*arguments):
        status, said = forks.run(
            root, "snakemake", "-n", "--snakefile", root / "Snakefile", "--workflow-profile",
            root / "profiles" / "default", "--directory", tmp_path, *arguments,
        )  # fmt: skip
        return status == 0, said

    return run


def test_each_target_plans_only_its_stages(dry_run, phantom_config):
    def plan(target):
        planned, said = dry_run(target, "--configfile", phantom_config)
        assert planned, said
        return rules_to_run(said)

    cohort = plan("cohort")
    assert "filter_cohort" in cohort
    assert "draw_phantom" not in cohort, "the cohort needs the label table alone, no archive"
    assert "resize_archive" not in cohort
    assert "resize_archive" in plan("tensors")
    assert "train_diffusion" not in plan("tensors")
    assert "draw_samples" not in plan("train")
    assert "collect_metrics" not in plan("samples")
    assert "train_arm" not in plan("evaluate")
    assert "train_arm" in plan("study")
    assert "render_report" in plan("report")
    assert "compare_models" in plan("comparison")
    assert "train_arm" not in plan("comparison")
    assert "export_model" in plan("export")
    assert plan("readers") >= {"draw_samples", "make_reader_study"}
    assert "train_arm" not in plan("readers")


def test_snakemakes_own_report_builds(snakemake, phantom_run, phantom_config, tmp_path):
    page = tmp_path / "report.html"
    snakemake(phantom_run, "--configfile", phantom_config, "--report", page)
    text = page.read_text()
    for figure in (
        "loss_curve",
        "forward_strip",
        "denoising_strip",
        "grid",
        "confusion",
        "physics",
        "forest",
    ):
        assert f"{figure}.png" in text
    assert "index.html" in text


def test_a_model_that_only_guides_is_trained_and_not_drawn(snakemake, phantom_config, tmp_path):
    other = {"network": {"channels": [16]}, "conditions": ["finding", "view", "sex", "age"]}
    done = snakemake(
        tmp_path, "all", "samples", "evaluate", "comparison", "export", "-n",
        "--configfile", phantom_config,
        "--config", "models=" + json.dumps({"worse": other | {"training": {"steps": 200}}}),
        "samplers=" + json.dumps({"dpm4": {"autoguidance": "worse"}}),
    )  # fmt: skip
    plan = re.findall(r"^    output: (.*)", done.stdout + done.stderr, flags=re.MULTILINE)
    of_worse = {name for name in ", ".join(plan).split(", ") if "/worse/" in name}
    assert "results/phantom/models/worse/model.json" in of_worse
    assert all(name.startswith("results/phantom/models/worse/") for name in of_worse)
    assert any(
        name.startswith("results/phantom/export/small/") for name in ", ".join(plan).split(", ")
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('tensors={"siez": 32}', "siez"),
        ('device="gpu"', "device"),
        ('split={"fractions": {"train": 0.9, "val": 0.2, "test": 0.1}}', "fractions"),
    ],
)
def test_a_configuration_error_comes_before_any_job_without_traceback(
    snakemake, phantom_config, tmp_path, settings, message
):
    done = snakemake(tmp_path, "--configfile", phantom_config, "--config", settings, check=False)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert message in output
    assert "Traceback" not in output
    assert not (tmp_path / "results").exists()


PRESETS = [
    "nih-256", "nih-128", "nih-256-baseline", "nih-local", "baseline", "schedules", "mnist", "pcam",
    "brain-mri",
]  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_plans_the_whole_chain(dry_run, root, tmp_path, preset):
    arguments = ["--configfile", root / f"presets/{preset}.yaml"]
    local = preset == "nih-local"
    if local:
        planned, said = dry_run(*arguments)
        assert not planned
        assert "data/nih/images_001.tar.gz" in said
        for number in range(1, 13):
            archive = tmp_path / f"data/nih/images_{number:03d}.tar.gz"
            archive.parent.mkdir(parents=True, exist_ok=True)
            archive.touch()
    ended, said = dry_run("all", "comparison", "export", *arguments)
    assert ended, said
    planned = rules_to_run(said)
    assert planned >= {
        "split_patients",
        "train_diffusion",
        "choose_average",
        "draw_samples",
        "compare_models",
        "export_model",
        "render_report",
    }
    assert ("train_arm" in planned) == (preset != "schedules")
    downloads = (preset.startswith("nih") and not local) or preset in ("mnist", "pcam")
    assert ("download_archive" in planned) == downloads
    assert ("unpack_file" in planned) == (preset == "pcam")
    assert ("list_images" in planned) == (preset in ("mnist", "pcam", "brain-mri"))
    assert ("verify_archive" in planned) == local
    assert ("draw_phantom" in planned) == (preset in ("baseline", "schedules"))


def test_no_preset_is_left_out(root):
    assert sorted(path.stem for path in (root / "presets").glob("*.yaml")) == sorted(PRESETS)
