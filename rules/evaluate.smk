# How far synthetic images are from real ones, in several feature spaces, each beside its floor.

from types import SimpleNamespace

EVALUATE = f"{DATA}/evaluate"


def weights_of(extractor):
    """The file that an extractor or LPIPS backbone loads."""
    if extractor == "domain":
        return f"{DATA}/classifier/{SIZE}/domain.safetensors"
    return f"results/weights/{extractor}.pt"


def image_set(wildcards):
    """The images behind a file of features: all real ones, or those of one model and sampler."""
    if wildcards.images == "real":
        return {"index": f"{TENSORS}/images.parquet", "shards": SHARDS}
    model, sampler = wildcards.images.split("/")
    return {
        "index": f"{DATA}/samples/{model}/{sampler}/samples.parquet",
        "shards": sample_shards(".npy")(SimpleNamespace(model=model, sampler=sampler)),
    }


def compared_metrics(wildcards):
    """The measures of all models and samplers."""
    if not PAIRS:
        kind = "sampler" if config["models"] else "model"
        raise WorkflowError(f"a comparison needs a {kind}: add one under {kind}s")
    return of_pairs(f"{EVALUATE}/{{model}}/{{sampler}}/metrics.parquet")


# Distances in the configured spaces; the domain classifier also says what it sees.
SPACES = sorted({*config["evaluate"]["extractors"], "domain"})


rule fetch_weights:
    output:
        "results/weights/{weights}.pt",
    log:
        "results/weights/{weights}.log",
    wildcard_constraints:
        weights="[a-z]+",
    params:
        config=lambda w: canonical(
            name=w.weights, source=config["weights"].get(w.weights)
        ),
        code=fingerprint("evaluate/fetch_weights"),
    script:
        "../workflow_scripts/evaluate/fetch_weights.py"


rule extract_features:
    input:
        unpack(image_set),
        weights=lambda w: weights_of(w.extractor),
    output:
        f"{EVALUATE}/features/{SIZE}/{{extractor}}/{{images}}.npy",
    log:
        f"{DATA}/logs/extract_features/{{extractor}}/{{images}}.log",
    wildcard_constraints:
        extractor="[a-z0-9]+",
        images="real|[^/]+/[^/]+",
    threads: 2
    resources:
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(extractor=w.extractor, images=w.images),
        code=fingerprint("evaluate/extract_features"),
    script:
        "../workflow_scripts/evaluate/extract_features.py"


rule measure_samples:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
        samples=f"{DATA}/samples/{{model}}/{{sampler}}/samples.parquet",
        sample_shards=sample_shards(".npy"),
        weights=[weights_of(name) for name in SPACES],
        real=[f"{EVALUATE}/features/{SIZE}/{name}/real.npy" for name in SPACES],
        features=[
            f"{EVALUATE}/features/{SIZE}/{name}/{{model}}/{{sampler}}.npy"
            for name in SPACES
        ],
        lpips=[weights_of(name) for name in config["evaluate"]["lpips"]],
    output:
        metrics=f"{EVALUATE}/{{model}}/{{sampler}}/metrics.parquet",
        confusion=f"{EVALUATE}/{{model}}/{{sampler}}/confusion.parquet",
        figure=report(
            f"{EVALUATE}/{{model}}/{{sampler}}/confusion.png",
            caption="../resources/report/captions/confusion.rst",
            category="Evaluation",
            labels={
                "model": "{model}",
                "sampler": "{sampler}",
                "figure": "class asked against class seen",
            },
        ),
    log:
        f"{DATA}/logs/measure_samples/{{model}}_{{sampler}}.log",
    threads: 2
    params:
        config=lambda w: canonical(
            model=w.model,
            sampler=w.sampler,
            spaces=SPACES,
            classes=CLASSES,
            **config["evaluate"],
        ),
        code=fingerprint("evaluate/measure_samples"),
    script:
        "../workflow_scripts/evaluate/measure_samples.py"


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
        f"{DATA}/logs/compare_models/compare_models.log",
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
