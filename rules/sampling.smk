# Draw each sampler's images from each model.

SAMPLES = f"{DATA}/samples/{{model}}/{{sampler}}"
STRIDE = {
    name: range(sampler["shards"]) for name, sampler in config["samplers"].items()
}


# Stands for the pixels of one model and sampler, as SHARDS does for the real ones.
SAMPLE_SHARDS = [f"{SAMPLES}/shards.parquet"]


def drawn(model, sampler, suffix=".npy"):
    """Files of every shard of one model and sampler; with `.parquet`, their tables."""
    folder = SAMPLES.format(model=model, sampler=sampler)
    return [
        f"{folder}/{name}/{name}_{shard:03d}{suffix}"
        for name in SLUGS
        for shard in STRIDE[sampler]
    ]


def model_files(model):
    """What it takes to load a model."""
    folder = MODEL.format(model=model)
    return [
        f"{folder}/{name}"
        for name in (
            "model.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
        )
    ]


def guide_files(wildcards):
    """What it takes to load the worse model of autoguidance, beside the model's own files."""
    guide = config["samplers"][wildcards.sampler]["autoguidance"]
    if guide is None:
        return []
    if guide == "early":
        return MODEL.format(model=wildcards.model) + "/ema/early.safetensors"
    return model_files(guide)


rule draw_samples:
    input:
        model=lambda w: model_files(w.model),
        guide=guide_files,
    output:
        pixels=f"{SAMPLES}/{{cls}}/{{cls}}_{{shard}}.npy",
        index=f"{SAMPLES}/{{cls}}/{{cls}}_{{shard}}.parquet",
    log:
        f"{DATA}/logs/draw_samples/{{model}}/{{sampler}}/{{cls}}_{{shard}}.log",
    benchmark:
        f"{DATA}/benchmarks/draw_samples/{{model}}/{{sampler}}/{{cls}}_{{shard}}.tsv"
    threads: 2
    resources:
        cache=CACHE,
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(
            model_name=w.model,
            sampler_name=w.sampler,
            class_id=SLUGS.index(w.cls),
            class_name=CLASSES[SLUGS.index(w.cls)],
            shard=int(w.shard),
            sampler=config["samplers"][w.sampler],
            precision=config["precision"],
        ),
        code=fingerprint("sampling/draw_samples"),
    script:
        "../workflow_scripts/sampling/draw_samples.py"


rule list_sample_shards:
    input:
        lambda w: drawn(w.model, w.sampler),
    output:
        SAMPLE_SHARDS,
    log:
        f"{DATA}/logs/list_sample_shards/{{model}}/{{sampler}}.log",
    benchmark:
        f"{DATA}/benchmarks/list_sample_shards/{{model}}/{{sampler}}.tsv"
    params:
        config=canonical(),
        code=fingerprint("sampling/list_sample_shards"),
    script:
        "../workflow_scripts/sampling/list_sample_shards.py"


rule collect_samples:
    input:
        indices=lambda w: drawn(w.model, w.sampler, ".parquet"),
        shards=SAMPLE_SHARDS,
    output:
        samples=f"{SAMPLES}/samples.parquet",
        grids=[
            report(
                f"{SAMPLES}/{cls}/grid.png",
                caption="../resources/report/captions/grid.rst",
                category="Samples",
                labels={"model": "{model}", "sampler": "{sampler}", "figure": name},
            )
            for cls, name in zip(SLUGS, CLASSES)
        ],
    log:
        f"{DATA}/logs/collect_samples/{{model}}/{{sampler}}.log",
    benchmark:
        f"{DATA}/benchmarks/collect_samples/{{model}}/{{sampler}}.tsv"
    localrule: True
    params:
        code=fingerprint("sampling/collect_samples"),
    script:
        "../workflow_scripts/sampling/collect_samples.py"


rule plot_denoising:
    input:
        model=lambda w: model_files(w.model),
        guide=guide_files,
    output:
        strip=report(
            f"{SAMPLES}/denoising_strip.png",
            caption="../resources/report/captions/denoising_strip.rst",
            category="Samples",
            labels={
                "model": "{model}",
                "sampler": "{sampler}",
                "figure": "from noise to image",
            },
        ),
    log:
        f"{DATA}/logs/plot_denoising/{{model}}/{{sampler}}.log",
    benchmark:
        f"{DATA}/benchmarks/plot_denoising/{{model}}/{{sampler}}.tsv"
    threads: 2
    resources:
        gpu=GPUS,
        device=config["device"],
    params:
        # How many images are drawn in how many jobs does not matter to the first of each class.
        config=lambda w: canonical(
            sampler={
                key: value
                for key, value in config["samplers"][w.sampler].items()
                if key not in ("per_class", "shards")
            },
            classes=CLASSES,
            precision=config["precision"],
        ),
        code=fingerprint("sampling/plot_denoising"),
    script:
        "../workflow_scripts/sampling/plot_denoising.py"
