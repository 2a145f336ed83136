# Decode every image once, whatever its label and split, and say where each one is.

# Stands for the pixels of all archives, in every rule that reads them.
SHARDS = [f"{TENSORS}/shards.parquet"]


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
    resources:
        # Files of a folder are known by name, length and time, not by their bytes: too little to share.
        cache=0 if KIND in ("folder", "dicom", "nifti") else CACHE,
        # No parameter: to tolerate another file decodes nothing again.
        max_rejects=config["tensors"]["max_rejects"],
    params:
        config=lambda w: canonical(
            archive=w.archive,
            source=SOURCE,
            size=SIZE,
            bits=config["tensors"]["bits"],
            state=archive_state(w),
        ),
        code=fingerprint("tensors/resize_archive"),
    script:
        "../workflow_scripts/tensors/resize_archive.py"


# The one rule that the shards themselves are inputs of: Snakemake reads every input as often as a job
# has outputs, to compare it by content later. What depends on the table depends on their content.
rule list_shards:
    input:
        expand(rules.resize_archive.output.shard, archive=ARCHIVES),
    output:
        SHARDS,
    log:
        f"{DATA}/logs/list_shards/{SIZE}.log",
    benchmark:
        f"{DATA}/benchmarks/list_shards/{SIZE}.tsv"
    threads: 1
    params:
        config=canonical(),
        code=fingerprint("tensors/list_shards"),
    script:
        "../workflow_scripts/tensors/list_shards.py"


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
        f"{DATA}/logs/select_images/{SIZE}.log",
    benchmark:
        f"{DATA}/benchmarks/select_images/{SIZE}.tsv"
    localrule: True
    threads: 1
    params:
        config=canonical(
            max_missing=config["tensors"]["max_missing"],
            max_rejects=config["tensors"]["max_rejects"],
            classes=CLASSES,
        ),
        code=fingerprint("tensors/select_images"),
    script:
        "../workflow_scripts/tensors/select_images.py"


if KIND == "nih":

    rule draw_boxes:
        input:
            boxes=rules.extract_boxes.output.boxes,
            indices=[f"{TENSORS}/{archive}.parquet" for archive in ARCHIVES],
        output:
            masks=f"{TENSORS}/regions/boxes.npy",
            index=f"{TENSORS}/regions/boxes.parquet",
        log:
            f"{DATA}/logs/draw_boxes/{SIZE}.log",
        benchmark:
            f"{DATA}/benchmarks/draw_boxes/{SIZE}.tsv"
        localrule: True
        threads: 1
        params:
            config=canonical(size=SIZE),
            code=fingerprint("tensors/draw_boxes"),
        script:
            "../workflow_scripts/tensors/draw_boxes.py"
