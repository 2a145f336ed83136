# The features of every image set, in every feature space, taken once.

import re

FEATURES = f"{DATA}/features/{SIZE}"
CONTROLS = f"{FEATURES}/controls"
# What features are taken of: all real images, both controls, and each pair's samples.
IMAGE_SETS = [
    "real",
    "noise",
    "planted",
    *(f"{model}/{sampler}" for model, sampler in PAIRS),
]


def weights_of(extractor):
    """The file that an extractor or LPIPS backbone loads; [] where it needs none."""
    if extractor == "pixels":
        return []
    if extractor == "domain":
        return f"{DATA}/classifier/{SIZE}/domain.safetensors"
    return f"results/weights/{extractor}.pt"


# The LPIPS backbone that judges restored images, if any: the first of those configured.
RESTORATION_LPIPS = config["evaluate"]["lpips"][:1]


def image_set(wildcards):
    """The images behind a file of features."""
    name = wildcards.images
    if name == "real":
        return {"index": f"{TENSORS}/images.parquet", "shards": SHARDS}
    if name in ("noise", "planted"):
        return {
            "index": f"{CONTROLS}/{name}.parquet",
            "shards": [f"{CONTROLS}/{name}.npy"],
        }
    model, sampler = name.split("/")
    return {
        "index": f"{DATA}/samples/{model}/{sampler}/samples.parquet",
        "shards": expand(SAMPLE_SHARDS, model=model, sampler=sampler),
    }


rule fetch_weights:
    output:
        "results/weights/{weights}.pt",
    log:
        "results/weights/logs/fetch_weights/{weights}.log",
    benchmark:
        "results/weights/benchmarks/fetch_weights/{weights}.tsv"
    wildcard_constraints:
        weights="[a-z0-9]+",
    localrule: True
    params:
        config=lambda w: canonical(
            name=w.weights, source=config["weights"].get(w.weights)
        ),
        code=fingerprint("features/fetch_weights"),
    script:
        "../workflow_scripts/features/fetch_weights.py"


rule draw_controls:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
    output:
        noise=f"{CONTROLS}/noise.npy",
        noise_index=f"{CONTROLS}/noise.parquet",
        planted=f"{CONTROLS}/planted.npy",
        planted_index=f"{CONTROLS}/planted.parquet",
    log:
        f"{DATA}/logs/draw_controls/{SIZE}.log",
    benchmark:
        f"{DATA}/benchmarks/draw_controls/{SIZE}.tsv"
    params:
        config=canonical(seed=config["evaluate"]["seed"]),
        code=fingerprint("features/draw_controls"),
    script:
        "../workflow_scripts/features/draw_controls.py"


rule extract_features:
    input:
        unpack(image_set),
        weights=lambda w: weights_of(w.extractor),
    output:
        features=f"{FEATURES}/{{extractor}}/{{images}}.npy",
        classes=f"{FEATURES}/{{extractor}}/{{images}}.classes.npy",
    log:
        f"{DATA}/logs/extract_features/{SIZE}/{{extractor}}/{{images}}.log",
    benchmark:
        f"{DATA}/benchmarks/extract_features/{SIZE}/{{extractor}}/{{images}}.tsv"
    wildcard_constraints:
        extractor="(?!controls)[a-z0-9]+",
        images="|".join(map(re.escape, IMAGE_SETS)),
    threads: 2
    resources:
        cache=CACHE,
        # Means of pixels are no work for a GPU.
        gpu=lambda w: 0 if w.extractor == "pixels" else GPUS,
        device=lambda w: "cpu" if w.extractor == "pixels" else config["device"],
    params:
        config=lambda w: canonical(extractor=w.extractor),
        code=fingerprint("features/extract_features"),
    script:
        "../workflow_scripts/features/extract_features.py"
