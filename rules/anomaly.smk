# Find what is not healthy: noise an image, denoise it as healthy, and see how far the two are apart.
# Regions, where it is known where findings are: drawn with a phantom's films, or NIH's boxes.

import re

ANOMALY = f"{DATA}/anomaly/{{anomaly}}"
SEARCHES = config["anomaly"]
REGION_FILES = f"{TENSORS}/regions"

if KIND == "phantom":
    REGION_SHARDS = [f"{REGION_FILES}/{archive}" for archive in ARCHIVES]
elif KIND == "nih":
    REGION_SHARDS = [f"{REGION_FILES}/boxes"]
else:
    REGION_SHARDS = []


def search(wildcards, *keys):
    """An entry of `anomaly`, or some keys of it."""
    entry = SEARCHES[wildcards.anomaly]
    return {key: entry[key] for key in keys} if keys else entry


def healing_model(wildcards):
    """What it takes to load the model that heals a kind of noise."""
    if wildcards.noise == "gaussian":
        return model_files(search(wildcards)["model"])
    folder = f"{DATA}/anomaly/{wildcards.anomaly}/model"
    return [path.replace(MODEL.format(model="m"), folder) for path in model_files("m")]


def versions(wildcards):
    """Each way to make an image healthy, as the scores name it: the noise and its level."""
    entry = search(wildcards)
    return [
        *((noise, level) for noise in entry["noises"] for level in entry["levels"]),
        ("autoencoder", 0.0),
    ]


def healed(wildcards):
    """The healthy versions of the images, a file for each of `versions`."""
    folder = ANOMALY.format(anomaly=wildcards.anomaly)
    return [
        (
            f"{folder}/healed/{noise}/{level}.npy"
            if level
            else f"{folder}/healed/{noise}.npy"
        )
        for noise, level in versions(wildcards)
    ]


wildcard_constraints:
    anomaly="|".join(map(re.escape, SEARCHES)),
    noise="gaussian|simplex",
    level="[0-9.e+-]+",


rule train_simplex:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
    output:
        model=f"{ANOMALY}/model/model.json",
        short=f"{ANOMALY}/model/ema/short.safetensors",
        long=f"{ANOMALY}/model/ema/long.safetensors",
        early=f"{ANOMALY}/model/ema/early.safetensors",
        unet=f"{ANOMALY}/model/unet/config.json",
        weights=f"{ANOMALY}/model/unet/diffusion_pytorch_model.safetensors",
        log=f"{ANOMALY}/model/training_log.parquet",
        average=f"{ANOMALY}/model/average.parquet",
        seen=f"{ANOMALY}/model/seen.parquet",
        progress=f"{ANOMALY}/model/progress.png",
    log:
        f"{DATA}/logs/train_simplex/{{anomaly}}.log",
    benchmark:
        f"{DATA}/benchmarks/train_simplex/{{anomaly}}.tsv"
    threads: lambda w: max(2, config["models"][search(w)["model"]]["gpus"])
    resources:
        cache=CACHE,
        gpu=lambda w: GPUS * config["models"][search(w)["model"]]["gpus"],
        device=config["device"],
        processes=lambda w: config["models"][search(w)["model"]]["gpus"],
        checkpoint_minutes=str(config["checkpoint"]["minutes"]),
        checkpoint_steps=config["checkpoint"]["steps"],
    params:
        config=lambda w: canonical(
            model=model_recipe(search(w)["model"]),
            classes=CLASSES,
            precision=config["precision"],
            **search(w, "healthy"),
        ),
        code=fingerprint("anomaly/train_simplex"),
    script:
        "../workflow_scripts/anomaly/train_simplex.py"


rule train_autoencoder:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
    output:
        weights=f"{ANOMALY}/autoencoder/weights.safetensors",
        log=f"{ANOMALY}/autoencoder/training_log.parquet",
        seen=f"{ANOMALY}/autoencoder/seen.parquet",
    log:
        f"{DATA}/logs/train_autoencoder/{{anomaly}}.log",
    benchmark:
        f"{DATA}/benchmarks/train_autoencoder/{{anomaly}}.tsv"
    threads: 2
    resources:
        cache=CACHE,
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(**search(w, "autoencoder", "healthy", "seed")),
        code=fingerprint("anomaly/train_autoencoder"),
    script:
        "../workflow_scripts/anomaly/train_autoencoder.py"


rule heal_images:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
        model=healing_model,
    output:
        healed=f"{ANOMALY}/healed/{{noise}}/{{level}}.npy",
    log:
        f"{DATA}/logs/heal_images/{{anomaly}}/{{noise}}/{{level}}.log",
    benchmark:
        f"{DATA}/benchmarks/heal_images/{{anomaly}}/{{noise}}/{{level}}.tsv"
    threads: 2
    resources:
        cache=CACHE,
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(
            level=float(w.level),
            precision=config["precision"],
            **search(w, "healthy", "steps", "guidance", "per_class", "seed"),
        ),
        code=fingerprint("anomaly/heal_images"),
    script:
        "../workflow_scripts/anomaly/heal_images.py"


rule reconstruct_images:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
        weights=rules.train_autoencoder.output.weights,
    output:
        healed=f"{ANOMALY}/healed/autoencoder.npy",
    log:
        f"{DATA}/logs/reconstruct_images/{{anomaly}}.log",
    benchmark:
        f"{DATA}/benchmarks/reconstruct_images/{{anomaly}}.tsv"
    threads: 2
    resources:
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(**search(w, "autoencoder", "per_class", "seed")),
        code=fingerprint("anomaly/reconstruct_images"),
    script:
        "../workflow_scripts/anomaly/reconstruct_images.py"


rule score_images:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
        healed=healed,
        regions=[f"{shard}.parquet" for shard in REGION_SHARDS],
        masks=[f"{shard}.npy" for shard in REGION_SHARDS],
    output:
        scores=f"{ANOMALY}/scores.parquet",
    log:
        f"{DATA}/logs/score_images/{{anomaly}}.log",
    benchmark:
        f"{DATA}/benchmarks/score_images/{{anomaly}}.tsv"
    params:
        config=lambda w: canonical(
            versions=versions(w), **search(w, "per_class", "seed")
        ),
        code=fingerprint("anomaly/score_images"),
    script:
        "../workflow_scripts/anomaly/score_images.py"


rule summarise_anomaly:
    input:
        scores=rules.score_images.output.scores,
    output:
        summary=f"{ANOMALY}/summary.parquet",
    log:
        f"{DATA}/logs/summarise_anomaly/{{anomaly}}.log",
    benchmark:
        f"{DATA}/benchmarks/summarise_anomaly/{{anomaly}}.tsv"
    localrule: True
    params:
        config=lambda w: canonical(
            classes=CLASSES, **search(w, "healthy", "bootstrap", "seed")
        ),
        code=fingerprint("anomaly/summarise_anomaly"),
    script:
        "../workflow_scripts/anomaly/summarise_anomaly.py"


rule plot_anomaly:
    input:
        summary=rules.summarise_anomaly.output.summary,
        scores=rules.score_images.output.scores,
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
        healed=healed,
        regions=rules.score_images.input.regions,
        masks=rules.score_images.input.masks,
    output:
        sweep=report(
            f"{ANOMALY}/sweep.png",
            caption="../resources/report/captions/anomaly_sweep.rst",
            category="Anomaly",
            labels={"search": "{anomaly}", "figure": "AUROC against noise"},
        ),
        findings=report(
            f"{ANOMALY}/findings.png",
            caption="../resources/report/captions/anomaly_findings.rst",
            category="Anomaly",
            labels={"search": "{anomaly}", "figure": "findings"},
        ),
        examples=report(
            f"{ANOMALY}/examples.png",
            caption="../resources/report/captions/anomaly_examples.rst",
            category="Anomaly",
            labels={"search": "{anomaly}", "figure": "examples"},
        ),
    log:
        f"{DATA}/logs/plot_anomaly/{{anomaly}}.log",
    benchmark:
        f"{DATA}/benchmarks/plot_anomaly/{{anomaly}}.tsv"
    localrule: True
    params:
        config=lambda w: canonical(
            versions=versions(w),
            classes=CLASSES,
            phantom=KIND == "phantom",
            **search(w, "healthy", "per_class", "seed"),
        ),
        code=fingerprint("anomaly/plot_anomaly"),
    script:
        "../workflow_scripts/anomaly/plot_anomaly.py"
