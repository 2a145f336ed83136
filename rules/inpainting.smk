# A trained model fills in what is hidden of test images.

import re
from pathlib import Path

INPAINTING = config["inpainting"]
INPAINTED = f"{DATA}/inpainting/{{inpainting}}"


def inpainting_of(w, *names):
    """Some settings of an inpainting, by name."""
    return {name: INPAINTING[w.inpainting][name] for name in names}


def mask_files(w):
    """The files of a folder of masks; none where all masks are drawn."""
    masks = INPAINTING[w.inpainting]["masks"]
    if "files" not in masks["kinds"]:
        return []
    found = sorted(map(str, Path(masks["folder"]).rglob("*.png")))
    if not found:
        raise WorkflowError(
            f"inpainting.{w.inpainting}.masks.folder: {masks['folder']} holds no PNG file"
        )
    return found


wildcard_constraints:
    inpainting="|".join(map(re.escape, INPAINTING)),


rule draw_masks:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
        files=mask_files,
    output:
        masks=f"{INPAINTED}/masks.npy",
        table=f"{INPAINTED}/masks.parquet",
    log:
        f"{DATA}/logs/draw_masks/{{inpainting}}.log",
    benchmark:
        f"{DATA}/benchmarks/draw_masks/{{inpainting}}.tsv"
    localrule: True
    params:
        config=lambda w: canonical(**inpainting_of(w, "images", "masks", "seed")),
        code=fingerprint("inpainting/draw_masks"),
    script:
        "../workflow_scripts/inpainting/draw_masks.py"


HIDDEN = {
    "table": rules.draw_masks.output.table,
    "masks": rules.draw_masks.output.masks,
    "shards": SHARDS,
}


rule fill_biharmonic:
    input:
        **HIDDEN,
    output:
        f"{INPAINTED}/biharmonic.npy",
    log:
        f"{DATA}/logs/fill_biharmonic/{{inpainting}}.log",
    benchmark:
        f"{DATA}/benchmarks/fill_biharmonic/{{inpainting}}.tsv"
    params:
        config=canonical(),
        code=fingerprint("inpainting/fill_biharmonic"),
    script:
        "../workflow_scripts/inpainting/fill_biharmonic.py"


rule inpaint_images:
    input:
        **HIDDEN,
        model=lambda w: model_files(INPAINTING[w.inpainting]["model"]),
    output:
        sample=f"{INPAINTED}/sample.npy",
        mean=f"{INPAINTED}/mean.npy",
    log:
        f"{DATA}/logs/inpaint_images/{{inpainting}}.log",
    benchmark:
        f"{DATA}/benchmarks/inpaint_images/{{inpainting}}.tsv"
    threads: 2
    resources:
        cache=CACHE,
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(
            **inpainting_of(w, "sampler", "samples", "seed"),
            precision=config["precision"],
        ),
        code=fingerprint("inpainting/inpaint_images"),
    script:
        "../workflow_scripts/inpainting/inpaint_images.py"


ANSWERS = {
    "biharmonic": rules.fill_biharmonic.output[0],
    "sample": rules.inpaint_images.output.sample,
    "mean": rules.inpaint_images.output.mean,
}


rule measure_inpainting:
    input:
        **HIDDEN,
        **ANSWERS,
        lpips=[weights_of(name) for name in RESTORATION_LPIPS],
    output:
        restoration=f"{INPAINTED}/restoration.parquet",
        summary=f"{INPAINTED}/summary.parquet",
    log:
        f"{DATA}/logs/measure_inpainting/{{inpainting}}.log",
    benchmark:
        f"{DATA}/benchmarks/measure_inpainting/{{inpainting}}.tsv"
    params:
        config=lambda w: canonical(
            **inpainting_of(w, "samples", "bootstrap", "seed"),
            lpips=RESTORATION_LPIPS,
        ),
        code=fingerprint("inpainting/measure_inpainting"),
    script:
        "../workflow_scripts/inpainting/measure_inpainting.py"


rule plot_inpainting:
    input:
        **HIDDEN,
        **ANSWERS,
    output:
        report(
            f"{INPAINTED}/panel.png",
            caption="../resources/report/captions/inpainting.rst",
            category="Applications",
            labels={"name": "{inpainting}", "figure": "inpainting"},
        ),
    log:
        f"{DATA}/logs/plot_inpainting/{{inpainting}}.log",
    benchmark:
        f"{DATA}/benchmarks/plot_inpainting/{{inpainting}}.tsv"
    localrule: True
    params:
        config=lambda w: canonical(
            **inpainting_of(w, "samples", "model"),
            phantom=config["dataset"]["kind"] == "phantom",
        ),
        code=fingerprint("inpainting/plot_inpainting"),
    script:
        "../workflow_scripts/inpainting/plot_inpainting.py"
