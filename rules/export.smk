# Pack each model for others: a folder that diffusers loads, with a card.

from types import SimpleNamespace

from workflow_scripts.common.files import sha256_of
from workflow_scripts.report.references import references

EXPORT = f"{DATA}/export/{{model}}"
# The first is shown on the card; without any there is nothing to export.
SHOWN = next(iter(config["samplers"]), None)


rule export_model:
    input:
        facts=f"{MODEL}/model.json",
        unet=f"{MODEL}/unet/config.json",
        weights=f"{MODEL}/unet/diffusion_pytorch_model.safetensors",
        average=f"{MODEL}/average.parquet",
        log=f"{MODEL}/training_log.parquet",
        images=f"{TENSORS}/images.parquet",
        exclusions=f"{DATA}/exclusions.parquet",
        split=f"{DATA}/split_report.json",
        metrics=[
            f"{DATA}/evaluate/{{model}}/{sampler}/metrics.parquet"
            for sampler in config["samplers"]
        ],
        samples=f"{DATA}/samples/{{model}}/{SHOWN}/samples.parquet",
        shards=lambda w: sample_shards(".npy")(
            SimpleNamespace(model=w.model, sampler=SHOWN)
        ),
    output:
        card=report(
            f"{EXPORT}/README.md",
            caption="../resources/report/captions/card.rst",
            category="Models",
            labels={"model": "{model}", "figure": "model card"},
        ),
        facts=f"{EXPORT}/model.json",
        unet=f"{EXPORT}/unet/config.json",
        weights=f"{EXPORT}/unet/diffusion_pytorch_model.safetensors",
        scheduler=f"{EXPORT}/scheduler/scheduler_config.json",
        index=f"{EXPORT}/model_index.json",
        pipeline=f"{EXPORT}/pipeline.py",
        samples=f"{EXPORT}/samples.png",
    log:
        f"{DATA}/logs/export_model/{{model}}.log",
    params:
        config=lambda w: canonical(
            name=w.model,
            settings=model_recipe(w.model),
            samplers=list(config["samplers"].items()),
            dataset={key: config["dataset"][key] for key in ("name", "kind")},
            classes=CLASSES,
            references=references(
                config | {"models": {w.model: config["models"][w.model]}}
            ),
        ),
        code=fingerprint("export/export_model"),
        # By content: an edited template writes the card again, a moved checkout does not.
        template=sha256_of(f"{workflow.basedir}/resources/export/card.md.j2"),
    script:
        "../workflow_scripts/export/export_model.py"
