# How far synthetic images are from real ones: each family of measures beside its floor and ceiling.

EVALUATE = f"{DATA}/evaluate"
PAIR = f"{EVALUATE}/{{model}}/{{sampler}}"
JUDGED = config["evaluate"]["extractors"]
# Copies are looked for in every configured space beside pixels, which take no features.
SEARCHED = [name for name in JUDGED if name != "pixels"]
PAIR_IMAGES = {
    "images": f"{TENSORS}/images.parquet",
    "samples": f"{DATA}/samples/{{model}}/{{sampler}}/samples.parquet",
}
PAIR_PIXELS = PAIR_IMAGES | {
    "shards": SHARDS,
    "sample_shards": SAMPLE_SHARDS,
}


def evaluate_setting(*names):
    """Some of the section `evaluate`, by name."""
    return {name: config["evaluate"][name] for name in names}


def compared_metrics(wildcards):
    """The measures of all models and samplers."""
    if not PAIRS:
        kind = "sampler" if config["models"] else "model"
        raise WorkflowError(f"a comparison needs a {kind}: add one under {kind}s")
    return of_pairs(f"{EVALUATE}/{{model}}/{{sampler}}/metrics.parquet")


rule measure_distribution:
    input:
        **PAIR_IMAGES,
        weights=lambda w: weights_of(w.extractor),
        real=f"{FEATURES}/{{extractor}}/real.npy",
        features=f"{FEATURES}/{{extractor}}/{{model}}/{{sampler}}.npy",
        noise=f"{FEATURES}/{{extractor}}/noise.npy",
        real_classes=f"{FEATURES}/{{extractor}}/real.classes.npy",
        sample_classes=f"{FEATURES}/{{extractor}}/{{model}}/{{sampler}}.classes.npy",
        noise_classes=f"{FEATURES}/{{extractor}}/noise.classes.npy",
    output:
        metrics=f"{PAIR}/parts/distribution_{{extractor}}.parquet",
    log:
        f"{DATA}/logs/measure_distribution/{{model}}/{{sampler}}/{{extractor}}.log",
    benchmark:
        f"{DATA}/benchmarks/measure_distribution/{{model}}/{{sampler}}/{{extractor}}.tsv"
    wildcard_constraints:
        extractor="[a-z0-9]+",
    threads: 2
    params:
        config=lambda w: canonical(
            extractor=w.extractor,
            classes=CLASSES,
            **evaluate_setting("neighbours", "seed"),
        ),
        code=fingerprint("evaluate/measure_distribution"),
    script:
        "../workflow_scripts/evaluate/measure_distribution.py"


rule measure_diversity:
    input:
        **PAIR_PIXELS,
        lpips=[weights_of(name) for name in config["evaluate"]["lpips"]],
    output:
        metrics=f"{PAIR}/parts/diversity.parquet",
    log:
        f"{DATA}/logs/measure_diversity/{{model}}/{{sampler}}.log",
    benchmark:
        f"{DATA}/benchmarks/measure_diversity/{{model}}/{{sampler}}.tsv"
    threads: 2
    params:
        config=canonical(classes=CLASSES, **evaluate_setting("lpips", "pairs", "seed")),
        code=fingerprint("evaluate/measure_diversity"),
    script:
        "../workflow_scripts/evaluate/measure_diversity.py"


rule measure_condition:
    input:
        # Pixels only where anatomy is measured.
        **(
            PAIR_PIXELS | {"truth": f"{RAW}/truth.parquet"}
            if KIND == "phantom"
            else PAIR_IMAGES
        ),
        classes_real=f"{FEATURES}/domain/real.classes.npy",
        classes_samples=f"{FEATURES}/domain/{{model}}/{{sampler}}.classes.npy",
        synthetic_trained=f"{PAIR}/synthetic_trained.npy",
        weights=weights_of("domain"),
    output:
        metrics=f"{PAIR}/parts/condition.parquet",
        confusion=f"{PAIR}/confusion.parquet",
        figure=report(
            f"{PAIR}/confusion.png",
            caption="../resources/report/captions/confusion.rst",
            category="Evaluation",
            labels={
                "model": "{model}",
                "sampler": "{sampler}",
                "figure": "class asked against class seen",
            },
        ),
    log:
        f"{DATA}/logs/measure_condition/{{model}}/{{sampler}}.log",
    benchmark:
        f"{DATA}/benchmarks/measure_condition/{{model}}/{{sampler}}.tsv"
    threads: 2
    params:
        config=canonical(classes=CLASSES, **evaluate_setting("seed")),
        code=fingerprint("evaluate/measure_condition"),
    script:
        "../workflow_scripts/evaluate/measure_condition.py"


rule measure_physics:
    input:
        **PAIR_PIXELS,
        noise=f"{CONTROLS}/noise.npy",
        noise_index=f"{CONTROLS}/noise.parquet",
    output:
        metrics=f"{PAIR}/parts/physics.parquet",
        figure=report(
            f"{PAIR}/physics.png",
            caption="../resources/report/captions/physics.rst",
            category="Evaluation",
            labels={
                "model": "{model}",
                "sampler": "{sampler}",
                "figure": "grey levels, spectrum and sharpness",
            },
        ),
    log:
        f"{DATA}/logs/measure_physics/{{model}}/{{sampler}}.log",
    benchmark:
        f"{DATA}/benchmarks/measure_physics/{{model}}/{{sampler}}.tsv"
    threads: 2
    params:
        config=canonical(classes=CLASSES, **evaluate_setting("seed")),
        code=fingerprint("evaluate/measure_physics"),
    script:
        "../workflow_scripts/evaluate/measure_physics.py"


rule audit_copies:
    input:
        **PAIR_PIXELS,
        planted=f"{CONTROLS}/planted.npy",
        planted_index=f"{CONTROLS}/planted.parquet",
        weights=[weights_of(name) for name in SEARCHED],
        real=[f"{FEATURES}/{name}/real.npy" for name in SEARCHED],
        features=[f"{FEATURES}/{name}/{{model}}/{{sampler}}.npy" for name in SEARCHED],
        planted_features=[f"{FEATURES}/{name}/planted.npy" for name in SEARCHED],
    output:
        metrics=f"{PAIR}/parts/copies.parquet",
        copies=f"{PAIR}/copies.parquet",
        figure=report(
            f"{PAIR}/closest.png",
            caption="../resources/report/captions/closest.rst",
            category="Evaluation",
            labels={
                "model": "{model}",
                "sampler": "{sampler}",
                "figure": "closest training images",
            },
        ),
    log:
        f"{DATA}/logs/audit_copies/{{model}}/{{sampler}}.log",
    benchmark:
        f"{DATA}/benchmarks/audit_copies/{{model}}/{{sampler}}.tsv"
    threads: 2
    params:
        config=canonical(
            extractors=SEARCHED,
            classes=CLASSES,
            **evaluate_setting("seed"),
        ),
        code=fingerprint("evaluate/audit_copies"),
    script:
        "../workflow_scripts/evaluate/audit_copies.py"


rule collect_metrics:
    input:
        [f"{PAIR}/parts/distribution_{name}.parquet" for name in JUDGED],
        [
            f"{PAIR}/parts/{family}.parquet"
            for family in ("diversity", "condition", "physics", "copies")
        ],
    output:
        metrics=f"{PAIR}/metrics.parquet",
    log:
        f"{DATA}/logs/collect_metrics/{{model}}/{{sampler}}.log",
    benchmark:
        f"{DATA}/benchmarks/collect_metrics/{{model}}/{{sampler}}.tsv"
    localrule: True
    params:
        config=canonical(),
        code=fingerprint("evaluate/collect_metrics"),
    script:
        "../workflow_scripts/evaluate/collect_metrics.py"


rule compare_models:
    input:
        facts=[f"{DATA}/models/{model}/model.json" for model in config["models"]],
        logs=[
            f"{DATA}/models/{model}/training_log.parquet" for model in config["models"]
        ],
        metrics=compared_metrics,
    output:
        table=f"{EVALUATE}/comparison.parquet",
        figure=report(
            f"{EVALUATE}/comparison.png",
            caption="../resources/report/captions/comparison.rst",
            category="Evaluation",
            labels={"figure": "quality against compute"},
        ),
    log:
        f"{DATA}/logs/compare_models.log",
    benchmark:
        f"{DATA}/benchmarks/compare_models.tsv"
    localrule: True
    params:
        # As pairs: sorted keys would lose the order of the inputs.
        config=canonical(
            models=list(config["models"]),
            samplers=list(config["samplers"].items()),
            phantom=config["dataset"]["kind"] == "phantom",
        ),
        code=fingerprint("evaluate/compare_models"),
    script:
        "../workflow_scripts/evaluate/compare_models.py"
