# Denoise patches in every way, and judge the ways.

import itertools

DENOISING = f"{DATA}/denoising/{{denoising}}"
PATCHES = f"{DENOISING}/patches"
DENOISER = f"{DENOISING}/models/{{method}}"


def denoising_of(study, *sections):
    """Sections of a denoising study's configuration; without any, all of it."""
    settings = config["denoising"][study]
    return {name: settings[name] for name in sections} if sections else settings


def methods_of(study, *kinds):
    """The methods of a denoising study that are of some kinds."""
    found = denoising_of(study)["methods"]
    return [name for name, method in found.items() if method["kind"] in kinds]


ALL_KINDS = ("nlm", "regression", "diffusion")


def denoiser_recipe(wildcards):
    """What trains a method's network: as `models` has it, and the noisy image that it is given."""
    study = denoising_of(wildcards.denoising)
    method = study["methods"][wildcards.method]
    regression = method["kind"] == "regression"
    guided = not regression and method["strategy"] == "guided"
    dropout = study["training"]["label_dropout"] if guided else 0.0
    recipe = {
        "network": study["network"],
        "diffusion": (
            {"process": "regression", "loss": method["loss"]}
            if regression
            else method["diffusion"]
        ),
        "training": study["training"] | {"label_dropout": dropout},
    }
    if not regression and method["strategy"] == "matched":
        return recipe | {"conditions": []}
    noise = study["noise"]
    given = {
        "kind": "noise",
        "noise": noise["kind"],
        "variances": sorted(noise["variances"]),
    }
    return recipe | {"conditions": ["noise"], "given": given}


def denoiser_sampler(study, method):
    """How a method's answers are drawn."""
    settings = denoising_of(study)
    method = settings["methods"][method]
    if method["kind"] != "diffusion":
        return None
    return settings["sampler"] | method["sampler"] | {"guidance": method["guidance"]}


def network_files(wildcards):
    """What it takes to let a method's network denoise; without a method that which is swept."""
    study = wildcards.denoising
    method = wildcards.get("method") or denoising_of(study)["sweep"]["method"]
    folder = DENOISER.format(denoising=study, method=method)
    return [
        f"{folder}/{name}"
        for name in (
            "model.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
        )
    ]


def restored_of(*kinds):
    """For a rule's input: what each method of some kinds made of the test patches."""

    def files(wildcards):
        by_nlm = methods_of(wildcards.denoising, "nlm")
        return [
            (
                f"{DENOISING}/nlm/{{method}}.h5"
                if method in by_nlm
                else f"{DENOISING}/restored/{{method}}.h5"
            ).format(denoising=wildcards.denoising, method=method)
            for method in methods_of(wildcards.denoising, *kinds)
        ]

    return files


def tested(study, *sections):
    """What a step is told that looks at the test patches of a denoising study."""
    images = denoising_of(study)["images"]
    return {
        "images": images["test"],
        "seed": images["seed"],
        **denoising_of(study, "noise", *sections),
    }


def swept(study, *sections):
    """What a step is told that looks at the patches of a sweep: the first of those that tune."""
    found = denoising_of(study)
    return {
        "images": found["sweep"]["images"],
        "seed": found["images"]["seed"],
        **denoising_of(study, "noise", *sections),
    }


def sweep_cases(study):
    """The samplers and numbers of steps of a sweep."""
    sweep = denoising_of(study)["sweep"]
    return list(itertools.product(sweep["samplers"], sorted(sweep["steps"])))


rule cut_patches:
    input:
        unpack(archive_input),
    output:
        shard=f"{PATCHES}/{{archive}}.npy",
        index=f"{PATCHES}/{{archive}}.parquet",
        cut=f"{PATCHES}/{{archive}}.images.parquet",
    log:
        f"{DATA}/logs/cut_patches/{{denoising}}/{{archive}}.log",
    benchmark:
        f"{DATA}/benchmarks/cut_patches/{{denoising}}/{{archive}}.tsv"
    threads: 1
    resources:
        max_rejects=config["tensors"]["max_rejects"],
    params:
        config=lambda w: canonical(
            archive=w.archive,
            source=SOURCE,
            bits=config["tensors"]["bits"],
            state=archive_state(w),
            **denoising_of(w.denoising, "patches"),
        ),
        code=fingerprint("denoising/patches/cut_patches"),
    script:
        "../workflow_scripts/denoising/patches/cut_patches.py"


rule list_patch_shards:
    input:
        lambda w: expand(rules.cut_patches.output.shard, archive=ARCHIVES, **w),
    output:
        f"{PATCHES}/shards.parquet",
    log:
        f"{DATA}/logs/list_patch_shards/{{denoising}}.log",
    benchmark:
        f"{DATA}/benchmarks/list_patch_shards/{{denoising}}.tsv"
    threads: 1
    params:
        config=canonical(),
        code=fingerprint("denoising/patches/list_patch_shards"),
    script:
        "../workflow_scripts/denoising/patches/list_patch_shards.py"


rule list_patches:
    input:
        metadata=f"{DATA}/metadata.parquet",
        indices=lambda w: expand(rules.cut_patches.output.index, archive=ARCHIVES, **w),
        cuts=lambda w: expand(rules.cut_patches.output.cut, archive=ARCHIVES, **w),
    output:
        images=f"{DENOISING}/images.parquet",
        patches=f"{DENOISING}/patches.parquet",
        report=f"{DENOISING}/patches.json",
    log:
        f"{DATA}/logs/list_patches/{{denoising}}.log",
    benchmark:
        f"{DATA}/benchmarks/list_patches/{{denoising}}.tsv"
    localrule: True
    threads: 1
    params:
        config=canonical(),
        code=fingerprint("denoising/patches/list_patches"),
    script:
        "../workflow_scripts/denoising/patches/list_patches.py"


rule export_patches:
    input:
        images=rules.list_patches.output.images,
        patches=rules.list_patches.output.patches,
        shards=rules.list_patch_shards.output,
    output:
        exported=f"{DENOISING}/patches.h5",
    log:
        f"{DATA}/logs/export_patches/{{denoising}}.log",
    benchmark:
        f"{DATA}/benchmarks/export_patches/{{denoising}}.tsv"
    threads: 1
    params:
        config=lambda w: canonical(**denoising_of(w.denoising, "noise")),
        code=fingerprint("denoising/export_patches"),
    script:
        "../workflow_scripts/denoising/export_patches.py"


rule tune_nlm:
    input:
        images=rules.list_patches.output.images,
        shards=rules.list_patch_shards.output,
    output:
        tuning=f"{DENOISING}/nlm/{{method}}.parquet",
    log:
        f"{DATA}/logs/tune_nlm/{{denoising}}/{{method}}.log",
    benchmark:
        f"{DATA}/benchmarks/tune_nlm/{{denoising}}/{{method}}.tsv"
    threads: 1
    params:
        config=lambda w: canonical(
            method=denoising_of(w.denoising)["methods"][w.method],
            noise=denoising_of(w.denoising)["noise"],
            images=denoising_of(w.denoising)["images"]["validation"],
            seed=denoising_of(w.denoising)["images"]["seed"],
            score=denoising_of(w.denoising)["score"],
        ),
        code=fingerprint("denoising/tune_nlm"),
    script:
        "../workflow_scripts/denoising/tune_nlm.py"


rule apply_nlm:
    input:
        images=rules.list_patches.output.images,
        shards=rules.list_patch_shards.output,
        tuning=rules.tune_nlm.output.tuning,
    output:
        restored=f"{DENOISING}/nlm/{{method}}.h5",
    log:
        f"{DATA}/logs/apply_nlm/{{denoising}}/{{method}}.log",
    benchmark:
        f"{DATA}/benchmarks/apply_nlm/{{denoising}}/{{method}}.tsv"
    threads: 1
    params:
        config=lambda w: canonical(
            method=denoising_of(w.denoising)["methods"][w.method],
            **tested(w.denoising),
        ),
        code=fingerprint("denoising/apply_nlm"),
    script:
        "../workflow_scripts/denoising/apply_nlm.py"


rule train_denoiser:
    input:
        images=rules.list_patches.output.images,
        shards=rules.list_patch_shards.output,
    output:
        model=f"{DENOISER}/model.json",
        short=f"{DENOISER}/ema/short.safetensors",
        long=f"{DENOISER}/ema/long.safetensors",
        early=f"{DENOISER}/ema/early.safetensors",
        log=f"{DENOISER}/training_log.parquet",
        seen=f"{DENOISER}/seen.parquet",
        unet=f"{DENOISER}/unet/config.json",
        weights=f"{DENOISER}/unet/diffusion_pytorch_model.safetensors",
        average=f"{DENOISER}/average.parquet",
        progress=report(
            f"{DENOISER}/progress.png",
            caption="../resources/report/captions/denoising_progress.rst",
            category="Denoising",
            labels={
                "study": "{denoising}",
                "method": "{method}",
                "figure": "images on the way",
            },
        ),
    log:
        f"{DATA}/logs/train_denoiser/{{denoising}}/{{method}}.log",
    benchmark:
        f"{DATA}/benchmarks/train_denoiser/{{denoising}}/{{method}}.tsv"
    threads: 2
    resources:
        cache=CACHE,
        gpu=GPUS,
        device=config["device"],
        processes=1,
        checkpoint_minutes=str(config["checkpoint"]["minutes"]),  # numbers are rounded
        checkpoint_steps=config["checkpoint"]["steps"],
    params:
        config=lambda w: canonical(
            model=denoiser_recipe(w),
            classes=CLASSES,
            precision=config["precision"],
        ),
        code=fingerprint("denoising/train_denoiser"),
    script:
        "../workflow_scripts/denoising/train_denoiser.py"


rule denoise:
    input:
        images=rules.list_patches.output.images,
        shards=rules.list_patch_shards.output,
        model=network_files,
    output:
        restored=f"{DENOISING}/restored/{{method}}.h5",
    log:
        f"{DATA}/logs/denoise/{{denoising}}/{{method}}.log",
    benchmark:
        f"{DATA}/benchmarks/denoise/{{denoising}}/{{method}}.tsv"
    threads: 2
    resources:
        cache=CACHE,
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(
            sampler=denoiser_sampler(w.denoising, w.method),
            split="test",
            precision=config["precision"],
            **tested(w.denoising),
        ),
        code=fingerprint("denoising/denoise"),
    script:
        "../workflow_scripts/denoising/denoise.py"


rule sweep_steps:
    input:
        images=rules.list_patches.output.images,
        shards=rules.list_patch_shards.output,
        model=network_files,
    output:
        restored=f"{DENOISING}/sweep/{{sampler}}_{{steps}}.h5",
    log:
        f"{DATA}/logs/sweep_steps/{{denoising}}/{{sampler}}_{{steps}}.log",
    benchmark:
        f"{DATA}/benchmarks/sweep_steps/{{denoising}}/{{sampler}}_{{steps}}.tsv"
    threads: 2
    resources:
        cache=CACHE,
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(
            sampler=denoiser_sampler(
                w.denoising, denoising_of(w.denoising)["sweep"]["method"]
            )
            | {
                "method": w.sampler,
                "steps": int(w.steps),
                "samples": denoising_of(w.denoising)["sweep"]["samples"],
            },
            split="val",
            precision=config["precision"],
            **swept(w.denoising),
        ),
        code=fingerprint("denoising/sweep_steps"),
    script:
        "../workflow_scripts/denoising/sweep_steps.py"


rule score_sweep:
    input:
        images=rules.list_patches.output.images,
        shards=rules.list_patch_shards.output,
        restored=lambda w: [
            rules.sweep_steps.output.restored.format(
                denoising=w.denoising, sampler=sampler, steps=steps
            )
            for sampler, steps in sweep_cases(w.denoising)
        ],
    output:
        rows=f"{DENOISING}/sweep_rows.parquet",
        sweep=f"{DENOISING}/sweep.parquet",
    log:
        f"{DATA}/logs/score_sweep/{{denoising}}.log",
    benchmark:
        f"{DATA}/benchmarks/score_sweep/{{denoising}}.tsv"
    threads: 1
    params:
        config=lambda w: canonical(
            cases=sweep_cases(w.denoising), **swept(w.denoising, "score", "bootstrap")
        ),
        code=fingerprint("denoising/score_sweep"),
    script:
        "../workflow_scripts/denoising/score_sweep.py"


rule score_denoising:
    input:
        images=rules.list_patches.output.images,
        shards=rules.list_patch_shards.output,
        restored=restored_of(*ALL_KINDS),
    output:
        rows=f"{DENOISING}/restoration.parquet",
        summary=f"{DENOISING}/summary.parquet",
    log:
        f"{DATA}/logs/score_denoising/{{denoising}}.log",
    benchmark:
        f"{DATA}/benchmarks/score_denoising/{{denoising}}.tsv"
    threads: 1
    params:
        config=lambda w: canonical(
            methods=methods_of(w.denoising, *ALL_KINDS),
            **tested(w.denoising, "reference", "score", "bootstrap"),
        ),
        code=fingerprint("denoising/score_denoising"),
    script:
        "../workflow_scripts/denoising/score_denoising.py"


rule measure_uncertainty:
    input:
        images=rules.list_patches.output.images,
        shards=rules.list_patch_shards.output,
        restored=restored_of("diffusion"),
    output:
        table=f"{DENOISING}/uncertainty.parquet",
        spread=f"{DENOISING}/spread.parquet",
        figure=report(
            f"{DENOISING}/uncertainty.png",
            caption="../resources/report/captions/denoising_uncertainty.rst",
            category="Denoising",
            labels={"study": "{denoising}", "figure": "uncertainty"},
        ),
    log:
        f"{DATA}/logs/measure_uncertainty/{{denoising}}.log",
    benchmark:
        f"{DATA}/benchmarks/measure_uncertainty/{{denoising}}.tsv"
    threads: 1
    params:
        config=lambda w: canonical(
            methods=methods_of(w.denoising, "diffusion"),
            **tested(w.denoising, "score", "bootstrap"),
        ),
        code=fingerprint("denoising/measure_uncertainty"),
    script:
        "../workflow_scripts/denoising/measure_uncertainty.py"


rule plot_denoisers:
    input:
        images=rules.list_patches.output.images,
        shards=rules.list_patch_shards.output,
        restored=restored_of(*ALL_KINDS),
        summary=rules.score_denoising.output.summary,
        sweep=rules.score_sweep.output.sweep,
    output:
        methods=report(
            f"{DENOISING}/methods.png",
            caption="../resources/report/captions/denoising_methods.rst",
            category="Denoising",
            labels={"study": "{denoising}", "figure": "methods by noise level"},
        ),
        steps=report(
            f"{DENOISING}/steps.png",
            caption="../resources/report/captions/denoising_steps.rst",
            category="Denoising",
            labels={"study": "{denoising}", "figure": "quality against steps"},
        ),
        examples=report(
            f"{DENOISING}/examples.png",
            caption="../resources/report/captions/denoising_examples.rst",
            category="Denoising",
            labels={"study": "{denoising}", "figure": "examples"},
        ),
    log:
        f"{DATA}/logs/plot_denoisers/{{denoising}}.log",
    benchmark:
        f"{DATA}/benchmarks/plot_denoisers/{{denoising}}.tsv"
    localrule: True
    threads: 1
    params:
        config=lambda w: canonical(
            methods=methods_of(w.denoising, *ALL_KINDS),
            swept=denoising_of(w.denoising)["sweep"]["method"],
            **tested(w.denoising, "score"),
        ),
        code=fingerprint("denoising/figures/plot_denoisers"),
    script:
        "../workflow_scripts/denoising/figures/plot_denoisers.py"


rule export_examples:
    input:
        images=rules.list_patches.output.images,
        shards=rules.list_patch_shards.output,
        restored=restored_of(*ALL_KINDS),
    output:
        tiff=f"{DENOISING}/examples.tiff",
        png=f"{DENOISING}/examples_sheet.png",
    log:
        f"{DATA}/logs/export_examples/{{denoising}}.log",
    benchmark:
        f"{DATA}/benchmarks/export_examples/{{denoising}}.tsv"
    localrule: True
    threads: 1
    params:
        config=lambda w: canonical(
            methods=methods_of(w.denoising, *ALL_KINDS), **tested(w.denoising)
        ),
        code=fingerprint("denoising/export_examples"),
    script:
        "../workflow_scripts/denoising/export_examples.py"


wildcard_constraints:
    denoising="|".join(map(re.escape, config["denoising"])),
