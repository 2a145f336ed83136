# Train each model, draw each sampler's images from it.

MODEL = f"{DATA}/models/{{model}}"
SAMPLES = f"{DATA}/samples/{{model}}/{{sampler}}"
STRIDE = {
    name: range(sampler["shards"]) for name, sampler in config["samplers"].items()
}


def sample_shards(suffix):
    """Paths of every shard of one model and sampler, with a suffix: `.npy` or `.parquet`."""

    def paths(wildcards):
        folder = SAMPLES.format(model=wildcards.model, sampler=wildcards.sampler)
        return [
            f"{folder}/{slug(name)}/{slug(name)}_{shard:03d}{suffix}"
            for name in CLASSES
            for shard in STRIDE[wildcards.sampler]
        ]

    return paths


rule train_diffusion:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
    output:
        unet=f"{MODEL}/unet/config.json",
        weights=f"{MODEL}/unet/diffusion_pytorch_model.safetensors",
        log=f"{MODEL}/training_log.parquet",
    log:
        f"{DATA}/logs/train_diffusion/{{model}}.log",
    threads: 2
    resources:
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(
            model=config["models"][w.model],
            classes=len(CLASSES),
            precision=config["precision"],
        ),
        code=fingerprint("diffusion/train_diffusion"),
    script:
        "../workflow_scripts/diffusion/train_diffusion.py"


rule plot_training:
    input:
        log=rules.train_diffusion.output.log,
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
    output:
        curve=report(
            f"{MODEL}/loss_curve.png",
            caption="../resources/report/captions/loss_curve.rst",
            category="Models",
            labels={"model": "{model}", "figure": "loss"},
        ),
        strip=report(
            f"{MODEL}/forward_strip.png",
            caption="../resources/report/captions/forward_strip.rst",
            category="Models",
            labels={"model": "{model}", "figure": "forward process"},
        ),
    log:
        f"{DATA}/logs/plot_training/{{model}}.log",
    params:
        config=lambda w: canonical(
            diffusion=config["models"][w.model]["diffusion"],
            seed=config["models"][w.model]["training"]["seed"],
        ),
        code=fingerprint("diffusion/plot_training"),
    script:
        "../workflow_scripts/diffusion/plot_training.py"


rule draw_samples:
    input:
        unet=rules.train_diffusion.output.unet,
        weights=rules.train_diffusion.output.weights,
    output:
        pixels=f"{SAMPLES}/{{cls}}/{{cls}}_{{shard}}.npy",
        index=f"{SAMPLES}/{{cls}}/{{cls}}_{{shard}}.parquet",
    log:
        f"{DATA}/logs/draw_samples/{{model}}_{{sampler}}_{{cls}}_{{shard}}.log",
    threads: 2
    resources:
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
            diffusion=config["models"][w.model]["diffusion"],
            precision=config["precision"],
        ),
        code=fingerprint("diffusion/draw_samples"),
    script:
        "../workflow_scripts/diffusion/draw_samples.py"


rule collect_samples:
    input:
        indices=sample_shards(".parquet"),
        shards=sample_shards(".npy"),
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
        f"{DATA}/logs/collect_samples/{{model}}_{{sampler}}.log",
    params:
        code=fingerprint("diffusion/collect_samples"),
    script:
        "../workflow_scripts/diffusion/collect_samples.py"


rule plot_denoising:
    input:
        unet=rules.train_diffusion.output.unet,
        weights=rules.train_diffusion.output.weights,
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
        f"{DATA}/logs/plot_denoising/{{model}}_{{sampler}}.log",
    threads: 2
    resources:
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(
            sampler=config["samplers"][w.sampler],
            diffusion=config["models"][w.model]["diffusion"],
            classes=CLASSES,
            precision=config["precision"],
        ),
        code=fingerprint("diffusion/plot_denoising"),
    script:
        "../workflow_scripts/diffusion/plot_denoising.py"
