# A diffusion model, trained for each factor, enlarges reduced test images again.

import re

SUPERRESOLUTION = config["superresolution"]
ENLARGED = f"{DATA}/superresolution/{{superresolution}}/x{{factor}}"


def superresolution_of(w, *names):
    """Some settings of a super-resolution, by name."""
    return {name: SUPERRESOLUTION[w.superresolution][name] for name in names}


def of_factors(pattern):
    """Paths for each factor of each super-resolution."""
    return [
        path
        for name, settings in SUPERRESOLUTION.items()
        for path in expand(pattern, superresolution=name, factor=settings["factors"])
    ]


wildcard_constraints:
    superresolution="|".join(map(re.escape, SUPERRESOLUTION)),
    factor=r"\d+",


rule train_superresolution:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
    output:
        model=f"{ENLARGED}/model.json",
        short=f"{ENLARGED}/ema/short.safetensors",
        long=f"{ENLARGED}/ema/long.safetensors",
        early=f"{ENLARGED}/ema/early.safetensors",
        log=f"{ENLARGED}/training_log.parquet",
        seen=f"{ENLARGED}/seen.parquet",
        progress=f"{ENLARGED}/progress.png",
    log:
        f"{DATA}/logs/train_superresolution/{{superresolution}}/x{{factor}}.log",
    benchmark:
        f"{DATA}/benchmarks/train_superresolution/{{superresolution}}/x{{factor}}.tsv"
    threads: lambda w: max(2, SUPERRESOLUTION[w.superresolution]["gpus"])
    resources:
        cache=CACHE,
        gpu=lambda w: GPUS * SUPERRESOLUTION[w.superresolution]["gpus"],
        device=config["device"],
        processes=lambda w: SUPERRESOLUTION[w.superresolution]["gpus"],
        checkpoint_minutes=str(config["checkpoint"]["minutes"]),  # numbers are rounded
        checkpoint_steps=config["checkpoint"]["steps"],
    params:
        config=lambda w: canonical(
            model={
                "conditions": [],  # the small image is all that it is told
                "given": {"kind": "reduction", "factor": int(w.factor)},
                **superresolution_of(w, "network", "diffusion", "training"),
            },
            classes=CLASSES,
            precision=config["precision"],
        ),
        code=fingerprint("superresolution/train_superresolution"),
    script:
        "../workflow_scripts/superresolution/train_superresolution.py"


rule choose_superresolution:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
        model=rules.train_superresolution.output.model,
        short=rules.train_superresolution.output.short,
        long=rules.train_superresolution.output.long,
    output:
        unet=f"{ENLARGED}/unet/config.json",
        weights=f"{ENLARGED}/unet/diffusion_pytorch_model.safetensors",
        average=f"{ENLARGED}/average.parquet",
    log:
        f"{DATA}/logs/choose_superresolution/{{superresolution}}/x{{factor}}.log",
    benchmark:
        f"{DATA}/benchmarks/choose_superresolution/{{superresolution}}/x{{factor}}.tsv"
    threads: 2
    resources:
        cache=CACHE,
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(
            ema=SUPERRESOLUTION[w.superresolution]["training"]["ema"],
            precision=config["precision"],
        ),
        code=fingerprint("superresolution/choose_superresolution"),
    script:
        "../workflow_scripts/superresolution/choose_superresolution.py"


rule enlarge_images:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
        model=rules.train_superresolution.output.model,
        unet=rules.choose_superresolution.output.unet,
        weights=rules.choose_superresolution.output.weights,
    output:
        table=f"{ENLARGED}/images.parquet",
        reduced=f"{ENLARGED}/reduced.npy",
        bicubic=f"{ENLARGED}/bicubic.npy",
        sample=f"{ENLARGED}/sample.npy",
        mean=f"{ENLARGED}/mean.npy",
    log:
        f"{DATA}/logs/enlarge_images/{{superresolution}}/x{{factor}}.log",
    benchmark:
        f"{DATA}/benchmarks/enlarge_images/{{superresolution}}/x{{factor}}.tsv"
    threads: 2
    resources:
        cache=CACHE,
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(
            **superresolution_of(w, "images", "sampler", "samples", "seed"),
            precision=config["precision"],
        ),
        code=fingerprint("superresolution/enlarge_images"),
    script:
        "../workflow_scripts/superresolution/enlarge_images.py"


ENLARGEMENTS = {
    "table": rules.enlarge_images.output.table,
    "shards": SHARDS,
    "bicubic": rules.enlarge_images.output.bicubic,
    "sample": rules.enlarge_images.output.sample,
    "mean": rules.enlarge_images.output.mean,
}


rule measure_superresolution:
    input:
        **ENLARGEMENTS,
        lpips=[weights_of(name) for name in RESTORATION_LPIPS],
    output:
        restoration=f"{ENLARGED}/restoration.parquet",
        summary=f"{ENLARGED}/summary.parquet",
    log:
        f"{DATA}/logs/measure_superresolution/{{superresolution}}/x{{factor}}.log",
    benchmark:
        f"{DATA}/benchmarks/measure_superresolution/{{superresolution}}/x{{factor}}.tsv"
    params:
        config=lambda w: canonical(
            factor=int(w.factor),
            lpips=RESTORATION_LPIPS,
            **superresolution_of(w, "samples", "bootstrap", "seed"),
        ),
        code=fingerprint("superresolution/measure_superresolution"),
    script:
        "../workflow_scripts/superresolution/measure_superresolution.py"


rule plot_superresolution:
    input:
        **ENLARGEMENTS,
        reduced=rules.enlarge_images.output.reduced,
        log=rules.train_superresolution.output.log,
    output:
        panel=report(
            f"{ENLARGED}/panel.png",
            caption="../resources/report/captions/superresolution.rst",
            category="Applications",
            labels={
                "name": "{superresolution}",
                "figure": "super-resolution x{factor}",
            },
        ),
        curve=f"{ENLARGED}/loss_curve.png",
    log:
        f"{DATA}/logs/plot_superresolution/{{superresolution}}/x{{factor}}.log",
    benchmark:
        f"{DATA}/benchmarks/plot_superresolution/{{superresolution}}/x{{factor}}.tsv"
    localrule: True
    params:
        config=lambda w: canonical(
            factor=int(w.factor),
            phantom=config["dataset"]["kind"] == "phantom",
            **superresolution_of(w, "samples"),
        ),
        code=fingerprint("superresolution/plot_superresolution"),
    script:
        "../workflow_scripts/superresolution/plot_superresolution.py"
