# Train each model, and choose how long the average of its weights is.

MODEL = f"{DATA}/models/{{model}}"


rule train_diffusion:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
    output:
        model=f"{MODEL}/model.json",
        short=f"{MODEL}/ema/short.safetensors",
        long=f"{MODEL}/ema/long.safetensors",
        early=f"{MODEL}/ema/early.safetensors",
        log=f"{MODEL}/training_log.parquet",
        seen=f"{MODEL}/seen.parquet",
        progress=report(
            f"{MODEL}/progress.png",
            caption="../resources/report/captions/progress.rst",
            category="Models",
            labels={"model": "{model}", "figure": "images on the way"},
        ),
    log:
        f"{DATA}/logs/train_diffusion/{{model}}.log",
    benchmark:
        f"{DATA}/benchmarks/train_diffusion/{{model}}.tsv"
    threads: lambda w: max(2, config["models"][w.model]["gpus"])
    resources:
        cache=CACHE,
        gpu=model_gpus,
        device=config["device"],
        processes=lambda w: config["models"][w.model]["gpus"],
        checkpoint_minutes=str(config["checkpoint"]["minutes"]),  # numbers are rounded
        checkpoint_steps=config["checkpoint"]["steps"],
    params:
        config=lambda w: canonical(
            model=model_recipe(w.model),
            classes=CLASSES,
            precision=config["precision"],
        ),
        code=fingerprint("training/train_diffusion"),
    script:
        "../workflow_scripts/training/train_diffusion.py"


rule choose_average:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
        model=rules.train_diffusion.output.model,
        short=rules.train_diffusion.output.short,
        long=rules.train_diffusion.output.long,
    output:
        unet=f"{MODEL}/unet/config.json",
        weights=f"{MODEL}/unet/diffusion_pytorch_model.safetensors",
        average=f"{MODEL}/average.parquet",
    log:
        f"{DATA}/logs/choose_average/{{model}}.log",
    benchmark:
        f"{DATA}/benchmarks/choose_average/{{model}}.tsv"
    threads: 2
    resources:
        cache=CACHE,
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(
            ema=config["models"][w.model]["training"]["ema"],
            precision=config["precision"],
        ),
        code=fingerprint("training/choose_average"),
    script:
        "../workflow_scripts/training/choose_average.py"


rule plot_training:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
        model=rules.train_diffusion.output.model,
        log=rules.train_diffusion.output.log,
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
    benchmark:
        f"{DATA}/benchmarks/plot_training/{{model}}.tsv"
    localrule: True
    params:
        config=lambda w: canonical(seed=config["models"][w.model]["training"]["seed"]),
        code=fingerprint("training/plot_training"),
    script:
        "../workflow_scripts/training/plot_training.py"
