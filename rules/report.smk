# One page that shows what ran, on what, and what came out.

from workflow_scripts.common.files import sha256_of

# Lists of files stand in the sorted order of the names; render_report relies on it.
REPORT_MODELS = sorted(config["models"])
REPORT_PAIRS = sorted(PAIRS)
REPORT_STUDIES = sorted(config["studies"])
# Reader studies whose answers have come back.
REPORT_READERS = sorted(
    name for name, study in config["readers"].items() if study["responses"]
)
# What the page shows of each entry of the applications that it shows.
APPLICATION_FILES = {
    "denoising": [
        "summary.parquet",
        "uncertainty.parquet",
        "examples.png",
        "methods.png",
        "steps.png",
        "uncertainty.png",
    ],
    "inpainting": ["summary.parquet", "panel.png"],
    "superresolution": ["summary.parquet", "panel.png"],
    "anomaly": ["summary.parquet", "examples.png", "sweep.png", "findings.png"],
}
PAGE = [ROOT / "resources" / "report" / name for name in ("page.html.j2", "style.css")]


def of_studies(name):
    """A file of every study."""
    return [f"{DATA}/study/{study}/{name}" for study in REPORT_STUDIES]


def of_arms(folder):
    """A file of every arm of every study."""
    return [
        f"{DATA}/study/{study}/{folder}/{arm}.json"
        for study in REPORT_STUDIES
        for arm in sorted(config["studies"][study]["arms"])
    ]


def of_application(name):
    """What the page shows of an application; nothing where the configuration does not ask for it."""
    if name not in config["report"]["applications"]:
        return []
    return [
        f"{DATA}/{name}/{entry}/{folder}{file}"
        for entry in sorted(config[name])
        # A super-resolution has a model, and files, for each factor.
        for folder in [f"x{n}/" for n in config[name][entry].get("factors", [])] or [""]
        for file in APPLICATION_FILES[name]
    ]


rule render_report:
    input:
        **{name: of_application(name) for name in APPLICATION_FILES},
        labels=f"{DATA}/labels.parquet",
        label_issues=f"{DATA}/label_issues.parquet",
        cohort=f"{DATA}/cohort.parquet",
        exclusions=f"{DATA}/exclusions.parquet",
        images=f"{TENSORS}/images.parquet",
        unmatched=f"{TENSORS}/unmatched.parquet",
        rejects=[f"{TENSORS}/{archive}.rejects.parquet" for archive in ARCHIVES],
        shards=SHARDS,
        training_log=[
            f"{DATA}/models/{model}/training_log.parquet" for model in REPORT_MODELS
        ],
        loss_curve=[f"{DATA}/models/{model}/loss_curve.png" for model in REPORT_MODELS],
        forward_strip=[
            f"{DATA}/models/{model}/forward_strip.png" for model in REPORT_MODELS
        ],
        samples=[f"{DATA}/samples/{m}/{s}/samples.parquet" for m, s in REPORT_PAIRS],
        sample_shards=[
            f"{DATA}/samples/{m}/{s}/shards.parquet" for m, s in REPORT_PAIRS
        ],
        denoising_strip=[
            f"{DATA}/samples/{m}/{s}/denoising_strip.png" for m, s in REPORT_PAIRS
        ],
        metrics=[f"{DATA}/evaluate/{m}/{s}/metrics.parquet" for m, s in REPORT_PAIRS],
        confusion=[f"{DATA}/evaluate/{m}/{s}/confusion.png" for m, s in REPORT_PAIRS],
        physics=[f"{DATA}/evaluate/{m}/{s}/physics.png" for m, s in REPORT_PAIRS],
        closest=[f"{DATA}/evaluate/{m}/{s}/closest.png" for m, s in REPORT_PAIRS],
        summary=of_studies("summary.parquet"),
        subgroups=of_studies("subgroups.parquet"),
        forest=of_studies("forest.png"),
        ratios=of_studies("ratios.png"),
        calibration=of_studies("calibration.png"),
        removed=of_arms("arms"),
        separation=of_arms("separation"),
        scores=[f"{DATA}/readers/{name}/scores.parquet" for name in REPORT_READERS],
        scores_figure=[f"{DATA}/readers/{name}/scores.png" for name in REPORT_READERS],
    output:
        page=report(
            f"{DATA}/report/index.html",
            caption="../resources/report/captions/index.rst",
            category="Report",
            labels={"page": "the whole run"},
        ),
    log:
        f"{DATA}/logs/render_report.log",
    benchmark:
        f"{DATA}/benchmarks/render_report.tsv"
    localrule: True
    params:
        # Without what jobs are given, and without what reaches the page through its inputs alone:
        # another device, more of them, or another nih_dir make no other page. Other folders do: the
        # page shows the last part of their names.
        config=canonical(
            **{
                key: value
                for key, value in config.items()
                if key not in ("device", "checkpoint", "nih_dir", "models", "readers")
                and key not in APPLICATION_FILES
            },
            **{
                name: {
                    entry: {k: v for k, v in settings.items() if k != "gpus"}
                    for entry, settings in config[name].items()
                }
                for name in config["report"]["applications"]
            },
            models={name: model_recipe(name) for name in config["models"]},
            readers={
                name: {k: v for k, v in study.items() if k != "responses"}
                for name, study in config["readers"].items()
            },
        ),
        code=fingerprint("report/render_report"),
        # By content: an edited template draws the page again, a moved checkout does not.
        template=[sha256_of(path) for path in PAGE],
    script:
        "../workflow_scripts/report/render_report.py"
