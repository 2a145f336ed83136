# Classifiers that judge: one trained on the real training split, one on synthetic images alone.


rule train_domain_classifier:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
    output:
        weights=f"{DATA}/classifier/{SIZE}/domain.safetensors",
        log=f"{DATA}/classifier/{SIZE}/domain_log.parquet",
        seen=f"{DATA}/classifier/{SIZE}/domain_seen.parquet",
    log:
        f"{DATA}/logs/train_domain_classifier/{SIZE}.log",
    benchmark:
        f"{DATA}/benchmarks/train_domain_classifier/{SIZE}.tsv"
    threads: 2
    resources:
        cache=CACHE,
        gpu=GPUS,
        device=config["device"],
    params:
        config=canonical(classifier=config["classifier"], classes=CLASSES),
        code=fingerprint("classifier/train_domain_classifier"),
    script:
        "../workflow_scripts/classifier/train_domain_classifier.py"


rule train_on_synthetic:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
        samples=f"{DATA}/samples/{{model}}/{{sampler}}/samples.parquet",
        sample_shards=SAMPLE_SHARDS,
    output:
        f"{DATA}/evaluate/{{model}}/{{sampler}}/synthetic_trained.npy",
    log:
        f"{DATA}/logs/train_on_synthetic/{{model}}/{{sampler}}.log",
    benchmark:
        f"{DATA}/benchmarks/train_on_synthetic/{{model}}/{{sampler}}.tsv"
    threads: 2
    resources:
        cache=CACHE,
        gpu=GPUS,
        device=config["device"],
    params:
        config=canonical(classifier=config["classifier"], classes=CLASSES),
        code=fingerprint("classifier/train_on_synthetic"),
    script:
        "../workflow_scripts/classifier/train_on_synthetic.py"
