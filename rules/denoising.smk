# Denoise patches in every way, and judge the ways.

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


def of_methods(pattern, *kinds):
    """For a rule's input: a file of each method of some kinds, of the study of its wildcards."""
    return lambda w: [
        pattern.format(denoising=w.denoising, method=method)
        for method in methods_of(w.denoising, *kinds)
    ]


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


def denoiser_files(wildcards):
    """What it takes to let a method denoise."""
    study = wildcards.denoising
    method = wildcards.get("method") or denoising_of(study)["sweep"]["method"]
    if method in methods_of(study, "nlm"):
        return [
            f"{DENOISING}/nlm/{{method}}.parquet".format(denoising=study, method=method)
        ]
    folder = DENOISER.format(denoising=study, method=method)
    return [
        f"{folder}/{name}"
        for name in (
            "model.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
        )
    ]


def judging(study):
    """What every judge of a denoising study is told."""
    settings = denoising_of(study)
    return {
        "noise": settings["noise"],
        "images": settings["images"]["test"],
        "seed": settings["images"]["seed"],
        "score": settings["score"],
        "bootstrap": settings["bootstrap"],
    }


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
            data_range=denoising_of(w.denoising)["score"]["data_range"],
        ),
        code=fingerprint("denoising/tune_nlm"),
    script:
        "../workflow_scripts/denoising/tune_nlm.py"


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
        source=denoiser_files,
    output:
        restored=f"{DENOISING}/restored/{{method}}.h5",
    log:
        f"{DATA}/logs/denoise/{{denoising}}/{{method}}.log",
    benchmark:
        f"{DATA}/benchmarks/denoise/{{denoising}}/{{method}}.tsv"
    threads: lambda w: 1 if w.method in methods_of(w.denoising, "nlm") else 2
    resources:
        cache=CACHE,
        # Non-local means is no work for a GPU.
        gpu=lambda w: 0 if w.method in methods_of(w.denoising, "nlm") else GPUS,
        device=lambda w: (
            "cpu" if w.method in methods_of(w.denoising, "nlm") else config["device"]
        ),
    params:
        config=lambda w: canonical(
            method=denoising_of(w.denoising)["methods"][w.method],
            sampler=denoiser_sampler(w.denoising, w.method),
            noise=denoising_of(w.denoising)["noise"],
            images=denoising_of(w.denoising)["images"]["test"],
            seed=denoising_of(w.denoising)["images"]["seed"],
            precision=config["precision"],
        ),
        code=fingerprint("denoising/denoise"),
    script:
        "../workflow_scripts/denoising/denoise.py"


rule sweep_steps:
    input:
        images=rules.list_patches.output.images,
        shards=rules.list_patch_shards.output,
        source=denoiser_files,
    output:
        rows=f"{DENOISING}/sweep_rows.parquet",
        sweep=f"{DENOISING}/sweep.parquet",
    log:
        f"{DATA}/logs/sweep_steps/{{denoising}}.log",
    benchmark:
        f"{DATA}/benchmarks/sweep_steps/{{denoising}}.tsv"
    threads: 2
    resources:
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(
            method=denoising_of(w.denoising)["methods"][
                denoising_of(w.denoising)["sweep"]["method"]
            ],
            sampler=denoiser_sampler(
                w.denoising, denoising_of(w.denoising)["sweep"]["method"]
            ),
            sweep=denoising_of(w.denoising)["sweep"],
            precision=config["precision"],
            **judging(w.denoising),
        ),
        code=fingerprint("denoising/sweep_steps"),
    script:
        "../workflow_scripts/denoising/sweep_steps.py"


rule score_denoising:
    input:
        images=rules.list_patches.output.images,
        shards=rules.list_patch_shards.output,
        restored=of_methods(rules.denoise.output.restored, *ALL_KINDS),
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
            reference=denoising_of(w.denoising)["reference"],
            **judging(w.denoising),
        ),
        code=fingerprint("denoising/score_denoising"),
    script:
        "../workflow_scripts/denoising/score_denoising.py"


rule measure_uncertainty:
    input:
        images=rules.list_patches.output.images,
        shards=rules.list_patch_shards.output,
        restored=of_methods(rules.denoise.output.restored, "diffusion"),
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
            methods=methods_of(w.denoising, "diffusion"), **judging(w.denoising)
        ),
        code=fingerprint("denoising/measure_uncertainty"),
    script:
        "../workflow_scripts/denoising/measure_uncertainty.py"


rule plot_denoisers:
    input:
        images=rules.list_patches.output.images,
        shards=rules.list_patch_shards.output,
        restored=of_methods(rules.denoise.output.restored, *ALL_KINDS),
        summary=rules.score_denoising.output.summary,
        sweep=rules.sweep_steps.output.sweep,
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
            sweep=denoising_of(w.denoising)["sweep"],
            **judging(w.denoising),
        ),
        code=fingerprint("denoising/figures/plot_denoisers"),
    script:
        "../workflow_scripts/denoising/figures/plot_denoisers.py"


rule export_examples:
    input:
        images=rules.list_patches.output.images,
        shards=rules.list_patch_shards.output,
        restored=of_methods(rules.denoise.output.restored, *ALL_KINDS),
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
            methods=methods_of(w.denoising, *ALL_KINDS), **judging(w.denoising)
        ),
        code=fingerprint("denoising/export_examples"),
    script:
        "../workflow_scripts/denoising/export_examples.py"


wildcard_constraints:
    denoising="|".join(map(re.escape, config["denoising"])),
