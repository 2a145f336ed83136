# Decode every image once, whatever its label and split, and say where each one is.

SHARDS = [f"{TENSORS}/{archive}.npy" for archive in ARCHIVES]


rule resize_archive:
    input:
        unpack(archive_input),
    output:
        shard=f"{TENSORS}/{{archive}}.npy",
        index=f"{TENSORS}/{{archive}}.parquet",
        rejects=f"{TENSORS}/{{archive}}.rejects.parquet",
    log:
        f"{DATA}/logs/resize_archive/{SIZE}/{{archive}}.log",
    benchmark:
        f"{DATA}/benchmarks/resize_archive/{SIZE}/{{archive}}.tsv"
    threads: 1
    params:
        config=lambda w: canonical(
            archive=w.archive,
            kind=KIND,
            images=FOLDER["images"] if KIND in ("folder", "dicom") else None,
            size=SIZE,
            max_rejects=config["tensors"]["max_rejects"],
            state=archive_state(w),
        ),
        code=fingerprint("tensors/resize_archive"),
    script:
        "../workflow_scripts/tensors/resize_archive.py"


rule select_images:
    input:
        metadata=f"{DATA}/metadata.parquet",
        labels=f"{DATA}/labels.parquet",
        indices=[f"{TENSORS}/{archive}.parquet" for archive in ARCHIVES],
        rejects=[f"{TENSORS}/{archive}.rejects.parquet" for archive in ARCHIVES],
    output:
        images=f"{TENSORS}/images.parquet",
        unmatched=f"{TENSORS}/unmatched.parquet",
    log:
        f"{DATA}/logs/select_images.log",
    benchmark:
        f"{DATA}/benchmarks/select_images.tsv"
    threads: 1
    params:
        config=canonical(max_missing=config["tensors"]["max_missing"], classes=CLASSES),
        code=fingerprint("tensors/select_images"),
    script:
        "../workflow_scripts/tensors/select_images.py"
