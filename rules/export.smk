# Pack each model for others: a folder that diffusers loads, with a card.

from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.references import references

EXPORT = f"{DATA}/export/{{model}}"


def shown_sampler(model):
    """The sampler whose images the card shows."""
    if not samplers_of(model):
        raise WorkflowError(
            f"models.{model}: its card shows and measures images, so that an export needs a sampler: "
            "add one under samplers"
        )
    return samplers_of(model)[0]


rule export_model:
    input:
        facts=f"{MODEL}/model.json",
        unet=f"{MODEL}/unet/config.json",
        weights=f"{MODEL}/unet/diffusion_pytorch_model.safetensors",
        average=f"{MODEL}/average.parquet",
        log=f"{MODEL}/training_log.parquet",
        images=f"{TENSORS}/images.parquet",
        exclusions=f"{DATA}/exclusions.parquet",
        unmatched=f"{TENSORS}/unmatched.parquet",
        split=f"{DATA}/split_report.json",
        metrics=lambda w: [
            f"{DATA}/evaluate/{w.model}/{sampler}/metrics.parquet"
            for sampler in samplers_of(w.model)
        ],
        samples=lambda w: f"{DATA}/samples/{w.model}/{shown_sampler(w.model)}/samples.parquet",
        shards=lambda w: expand(
            SAMPLE_SHARDS, model=w.model, sampler=shown_sampler(w.model)
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
    benchmark:
        f"{DATA}/benchmarks/export_model/{{model}}.tsv"
    localrule: True
    params:
        config=lambda w: canonical(
            name=w.model,
            settings=model_recipe(w.model),
            samplers=[
                (name, config["samplers"][name]) for name in samplers_of(w.model)
            ],
            dataset={key: config["dataset"][key] for key in ("name", "kind")},
            classes=CLASSES,
            references=references(
                config
                | {
                    "models": {w.model: config["models"][w.model]},
                    "samplers": {
                        name: config["samplers"][name] for name in samplers_of(w.model)
                    },
                }
            ),
        ),
        code=fingerprint("export/export_model"),
        # By content: an edited template writes the card again, a moved checkout does not.
        # The pipeline, which is copied as it stands, takes its comments with it.
        files=[
            sha256_of(ROOT / path)
            for path in (
                "resources/export/card.md.j2",
                "workflow_scripts/export/pipeline.py",
            )
        ],
    script:
        "../workflow_scripts/export/export_model.py"
