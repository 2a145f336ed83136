# The classifier that judges: trained on the real training split.


rule train_domain_classifier:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
    output:
        weights=f"{DATA}/classifier/{SIZE}/domain.safetensors",
        log=f"{DATA}/classifier/{SIZE}/domain_log.parquet",
    log:
        f"{DATA}/logs/train_domain_classifier/domain.log",
    threads: 2
    resources:
        gpu=GPUS,
        device=config["device"],
    params:
        config=canonical(classifier=config["classifier"], classes=CLASSES),
        code=fingerprint("classifier/train_domain_classifier"),
    script:
        "../workflow_scripts/classifier/train_domain_classifier.py"
