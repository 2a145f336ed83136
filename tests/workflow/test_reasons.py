"""Why something would run again, in words: what was planted is what is said."""

import base64

import pytest

from tests.workflow.test_rerun import (
    artefact,
    asked,
    both,
    code,
    edit,
    reorder_arms,
    replaced,
    setting,
    touch_the_code,
)

STUDY = ("studies", "augmentation")
FROM_SAMPLES = (
    "collect_samples [model small, sampler dpm4]",
    "train_arm (7 jobs)",
    "measure_distribution (2 jobs)",
)


def interrupted(world):
    """Leave the mark that Snakemake leaves while a job runs."""
    path = world.data / "report" / "index.html"
    relative = str(path.relative_to(world.places["run"]))
    mark = world.places["run"] / ".snakemake" / "incomplete"
    mark.mkdir(exist_ok=True)
    (mark / base64.urlsafe_b64encode(relative.encode()).decode()).write_text("{}")


# What is changed, lines that must be said, and rules that follow.
PLANTED = {
    "a key of a model": (
        setting("models", "small", "training", warmup_steps=4),
        [
            "train_diffusion [model small]: model.training.warmup_steps was 5, is 4",
            "export_model [model small]: settings.training.warmup_steps was 5, is 4",
            "render_report: models.small.training.warmup_steps was 5, is 4",
        ],
        ["choose_average [model small]", *FROM_SAMPLES],
    ),
    "a key of a sampler": (
        setting("samplers", "dpm4", steps=5),
        [
            "draw_samples (6 jobs), plot_denoising [model small, sampler dpm4]: sampler.steps was 4, is 5"
        ],
        FROM_SAMPLES,
    ),
    "two keys at once": (
        both(
            setting("samplers", "dpm4", steps=5),
            setting("evaluate", pairs=10, neighbours=4),
        ),
        [
            "measure_diversity [model small, sampler dpm4]: pairs was 20, is 10",
            "measure_distribution (2 jobs): neighbours was 3, is 4",
        ],
        FROM_SAMPLES[:2],
    ),
    "an arm more": (
        setting(*STUDY, "arms", noise={"synthetic": 0.1}),
        [
            "plan_arms [study augmentation], plot_study [study augmentation]: arms.noise is new: "
            '{"augmentation": true, "classes": "all", "order": "mixed", …',
            "    inputs results/phantom/study/augmentation/predictions/noise_seed0.parquet and "
            "results/phantom/study/augmentation/predictions/noise_seed1.parquet are new",
            "compose_arm [study augmentation, arm noise], prove_separation [study augmentation, arm "
            "noise], train_arm (2 jobs): never ran",
        ],
        [],
    ),
    "the order of arms": (
        reorder_arms,
        [
            "plan_arms [study augmentation], plot_study [study augmentation]: "
            "arms stand in another order"
        ],
        ["render_report"],
    ),
    "the cohort": (
        setting("cohort", labels="multi"),
        [
            "filter_cohort: labels was single, is multi",
            "render_report: cohort.labels was single, is multi",
        ],
        ["split_patients", "select_images", "train_diffusion [model small]"],
    ),
    "a module": (
        code("workflow_scripts/diffusion/solvers.py"),
        [
            "draw_samples (6 jobs), plot_denoising [model small, sampler dpm4]: "
            "code: workflow_scripts/diffusion/solvers.py changed"
        ],
        FROM_SAMPLES,
    ),
    "a new import": (
        both(
            code("workflow_scripts/study/extra.py"),
            code("workflow_scripts/study/plot_study.py", "\nimport workflow_scripts.study.extra\n"),
        ),
        [
            "plot_study (2 jobs): code: workflow_scripts/study/plot_study.py changed",
            "    code: workflow_scripts/study/extra.py is new",
        ],
        ["render_report"],
    ),
    "a template": (
        code("resources/report/page.html.j2", "<p>"),
        ["render_report: a template or style of its page changed"],
        [],
    ),
    "findings": (
        replaced("resources/findings.tsv", "Hernia", "Herniation"),
        ["parse_labels, filter_cohort: resources/findings.tsv changed"],
        ["split_patients"],
    ),
    "an archive": (
        artefact("raw/images_001.tar.gz", edit),
        [
            "resize_archive [archive images_001]: input results/phantom/raw/images_001.tar.gz "
            "has other content"
        ],
        ["select_images"],
    ),
    "a lost report": (
        artefact("report/index.html", lambda path: path.unlink()),
        ["render_report: output results/phantom/report/index.html is missing"],
        [],
    ),
    "a feature space more": (
        both(
            setting("evaluate", extractors=["pixels", "domain", "inception"]),
            setting(weights={"inception": {"path": "/elsewhere/i.pt", "sha256": "0" * 64}}),
        ),
        [
            "fetch_weights [weights inception], extract_features (4 jobs), measure_distribution "
            "[model small, sampler dpm4, extractor inception]: never ran",
            'audit_copies [model small, sampler dpm4]: extractors was ["domain"], is ["domain", '
            '"inception"]',
            "    inputs results/weights/inception.pt, results/phantom/features/16/inception/real.npy, "
            "results/phantom/features/16/inception/small/dpm4.npy and results/phantom/features/16/"
            "inception/planted.npy are new",
            "collect_metrics [model small, sampler dpm4]: input results/phantom/evaluate/small/dpm4/"
            "parts/distribution_inception.parquet is new",
        ],
        [],
    ),
    "force": (
        asked("--forcerun", "plot_study"),
        ["plot_study (2 jobs): it was asked for by force"],
        ["render_report"],
    ),
    "a job that was cut short": (
        interrupted,
        ["render_report: was interrupted the last time"],
        [],
    ),
    "no record": (
        both(
            artefact("provenance/**/*", lambda path: path.unlink()),
            setting("evaluate", pairs=10),
        ),
        [
            "measure_diversity [model small, sampler dpm4], render_report: a folder in its "
            "configuration changed, or what no record tells of it"
        ],
        ["collect_metrics [model small, sampler dpm4]"],
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_it_says_what_was_changed_and_what_follows(world, what):
    change, expected, following = PLANTED[what]
    change(world)
    said = world.why()
    assert [line for line in expected if line not in said] == [], "\n".join(said)
    last = said[-1].partition("and what follows from them: ")[2]
    assert [name for name in following if name not in last] == [], last


def test_everything_for_one_reason_is_one_line(world):
    code("envs/requirements.lock", "another==1.0\n")(world)
    first, *rest = world.why()
    assert first == f"{sum(map(len, world.plan().jobs.values()))} jobs would run."
    (line,) = rest
    assert line.endswith(": environment: envs/requirements.lock changed")
    assert "draw_samples (6 jobs)" in line


def test_nothing_is_said_to_run_where_nothing_runs(world):
    touch_the_code(world)
    assert world.why() == [
        "Nothing would run: all that was asked for is there, and made by what stands here."
    ]


def test_an_error_of_the_configuration_is_shown_and_nothing_else(world):
    setting("tensors", size=7)(world)
    with pytest.raises(AssertionError, match=r"tensors\.size: 7 is not allowed") as caught:
        world.why()
    assert "would run" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_it_changes_nothing(world):
    setting("samplers", "dpm4", steps=5)(world)
    before = {path: path.stat().st_mtime_ns for path in world.data.rglob("*")}
    assert world.why()[0].endswith("would run.")
    assert {path: path.stat().st_mtime_ns for path in world.data.rglob("*")} == before
