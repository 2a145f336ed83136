# One page that shows what ran, on what, and what came out.

from workflow_scripts.common.files import sha256_of

# Lists of files stand in the sorted order of the names; render_report relies on it.
REPORT_MODELS = sorted(config["models"])
REPORT_PAIRS = sorted(PAIRS)
REPORT_STUDIES = sorted(config["studies"])
PAGE = [
    f"{workflow.basedir}/resources/report/{name}"
    for name in ("page.html.j2", "style.css")
]


rule render_report:
    input:
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
            f"{DATA}/samples/{m}/{s}/{name}/{name}_{number:03d}.npy"
            for m, s in REPORT_PAIRS
            for name in map(slug, CLASSES)
            for number in range(config["samplers"][s]["shards"])
        ],
        denoising_strip=[
            f"{DATA}/samples/{m}/{s}/denoising_strip.png" for m, s in REPORT_PAIRS
        ],
        metrics=[f"{DATA}/evaluate/{m}/{s}/metrics.parquet" for m, s in REPORT_PAIRS],
        confusion_figure=[
            f"{DATA}/evaluate/{m}/{s}/confusion.png" for m, s in REPORT_PAIRS
        ],
        summary=[f"{DATA}/study/{study}/summary.parquet" for study in REPORT_STUDIES],
        forest=[f"{DATA}/study/{study}/forest.png" for study in REPORT_STUDIES],
    output:
        page=report(
            f"{DATA}/report/index.html",
            caption="../resources/report/captions/index.rst",
            category="Report",
            labels={"page": "the whole run"},
        ),
    log:
        f"{DATA}/logs/render_report.log",
    params:
        # Without what jobs are given: another device, or more of them, makes no other page.
        config=canonical(
            **{
                key: value
                for key, value in config.items()
                if key not in ("device", "checkpoint", "models")
            },
            models={name: model_recipe(name) for name in config["models"]},
        ),
        code=fingerprint("report/render_report"),
        # By content: an edited template draws the page again, a moved checkout does not.
        template=[sha256_of(path) for path in PAGE],
    script:
        "../workflow_scripts/report/render_report.py"
