# Do synthetic radiographs help a classifier? One training per arm and seed, judged on real test images.

import re
from types import SimpleNamespace

STUDIES = config["studies"]
STUDY = f"{DATA}/study/{{study}}"


def arm_of(w):
    """An arm's settings."""
    return STUDIES[w.study]["arms"][w.arm]


def drawn_by(w):
    """The model and the sampler of an arm's synthetic images; None where it takes none."""
    study = STUDIES[w.study]
    if not arm_of(w)["synthetic"]:
        return None
    return SimpleNamespace(model=study["model"], sampler=study["sampler"])


def arm_samples(w):
    """The synthetic images of an arm; an arm without any does not wait for the generator."""
    source = drawn_by(w)
    return (
        {"samples": SAMPLES.format(**vars(source)) + "/samples.parquet"}
        if source
        else {}
    )


def arm_copies(w):
    """Which of them the audit takes for copies, where the study leaves those out."""
    source = drawn_by(w)
    if source is None or not STUDIES[w.study]["without_copies"]:
        return {}
    return {"copies": f"{DATA}/evaluate/{source.model}/{source.sampler}/copies.parquet"}


def arm_makers(w):
    """The records of what was seen by those that made an arm's synthetic images, or chose among them."""
    source = drawn_by(w)
    if source is None:
        return {}
    guide = config["samplers"][source.sampler]["autoguidance"]
    makers = {"generator": source.model, "guide": guide}
    seen = {
        role: MODEL.format(model=model) + "/seen.parquet"
        for role, model in makers.items()
        if model not in (None, "early")  # the early average saw what its model saw
    }
    # No arm waits for a classifier, or is trained again for it, that has no part in its images.
    if arm_copies(w) and "domain" in SEARCHED:
        seen["classifier"] = rules.train_domain_classifier.output.seen
    return seen


def arm_shards(w):
    """The pixels of an arm's synthetic images."""
    source = drawn_by(w)
    return expand(SAMPLE_SHARDS, **vars(source)) if source else []


def patients_of(w):
    """Which training patients the arms of a study may use: a share, by a seed common to studies."""
    return {"patients": STUDIES[w.study]["patients"], "seed": config["split"]["seed"]}


def study_predictions(wildcards):
    study = STUDIES[wildcards.study]
    return expand(
        f"{DATA}/study/{wildcards.study}/predictions/{{arm}}_seed{{seed}}.parquet",
        arm=study["arms"],
        seed=study["seeds"],
    )


wildcard_constraints:
    study="|".join(map(re.escape, STUDIES)),
    arm="|".join(
        map(re.escape, sorted({arm for s in STUDIES.values() for arm in s["arms"]}))
    ),
    seed=r"\d+",


rule plan_arms:
    input:
        images=f"{TENSORS}/images.parquet",
    output:
        f"{STUDY}/arms.parquet",
    log:
        f"{DATA}/logs/plan_arms/{{study}}.log",
    benchmark:
        f"{DATA}/benchmarks/plan_arms/{{study}}.tsv"
    priority: 1  # a plan that fails should do so before hours of training
    localrule: True
    params:
        config=lambda w: canonical(
            study=w.study,
            arms=list(STUDIES[w.study]["arms"].items()),
            classes=CLASSES,
            sampler=STUDIES[w.study]["sampler"],
            per_class=config["samplers"][STUDIES[w.study]["sampler"]]["per_class"],
            **patients_of(w),
        ),
        code=fingerprint("study/plan_arms"),
    script:
        "../workflow_scripts/study/plan_arms.py"


rule compose_arm:
    input:
        unpack(arm_samples),
        unpack(arm_copies),
        images=f"{TENSORS}/images.parquet",
    output:
        arm=f"{STUDY}/arms/{{arm}}.parquet",
        removed=f"{STUDY}/arms/{{arm}}.json",
    log:
        f"{DATA}/logs/compose_arm/{{study}}/{{arm}}.log",
    benchmark:
        f"{DATA}/benchmarks/compose_arm/{{study}}/{{arm}}.tsv"
    localrule: True
    params:
        config=lambda w: canonical(
            study=w.study,
            arm=w.arm,
            settings={key: arm_of(w)[key] for key in ("real", "synthetic", "classes")},
            classes=CLASSES,
            **patients_of(w),
        ),
        code=fingerprint("study/compose_arm"),
    script:
        "../workflow_scripts/study/compose_arm.py"


rule prove_separation:
    input:
        unpack(arm_samples),
        unpack(arm_makers),
        images=f"{TENSORS}/images.parquet",
        arm=rules.compose_arm.output.arm,
        arm_shards=arm_shards,
    output:
        f"{STUDY}/separation/{{arm}}.json",
    log:
        f"{DATA}/logs/prove_separation/{{study}}/{{arm}}.log",
    benchmark:
        f"{DATA}/benchmarks/prove_separation/{{study}}/{{arm}}.tsv"
    params:
        config=lambda w: canonical(
            study=w.study,
            arm=w.arm,
            source="/".join(vars(drawn_by(w)).values()) if drawn_by(w) else None,
            patients=STUDIES[w.study]["patients"],
            spaces=["pixels", *SEARCHED] if arm_copies(w) else [],
        ),
        code=fingerprint("study/prove_separation"),
    script:
        "../workflow_scripts/study/prove_separation.py"


rule train_arm:
    input:
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
        arm=rules.compose_arm.output.arm,
        arm_shards=arm_shards,
        # A guard, no ingredient: made again of the same files it is the same, and trains nothing.
        proof=rules.prove_separation.output[0],
    output:
        f"{STUDY}/predictions/{{arm}}_seed{{seed}}.parquet",
    log:
        f"{DATA}/logs/train_arm/{{study}}/{{arm}}_seed{{seed}}.log",
    benchmark:
        f"{DATA}/benchmarks/train_arm/{{study}}/{{arm}}_seed{{seed}}.tsv"
    threads: 2
    resources:
        cache=CACHE,
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(
            study=w.study,
            arm=w.arm,
            seed=int(w.seed),
            classes=CLASSES,
            **{key: arm_of(w)[key] for key in ("order", "augmentation", "sampling")},
            # The domain classifier's seed is not the study's.
            classifier={k: v for k, v in config["classifier"].items() if k != "seed"},
        ),
        code=fingerprint("study/train_arm"),
    script:
        "../workflow_scripts/study/train_arm.py"


rule summarise_study:
    input:
        # Not an input of `train_arm`, where a new arm would retrain every other.
        plan=rules.plan_arms.output,
        predictions=study_predictions,
    output:
        summary=f"{STUDY}/summary.parquet",
        subgroups=f"{STUDY}/subgroups.parquet",
        calibration=f"{STUDY}/calibration.parquet",
    log:
        f"{DATA}/logs/summarise_study/{{study}}.log",
    benchmark:
        f"{DATA}/benchmarks/summarise_study/{{study}}.tsv"
    params:
        config=lambda w: canonical(
            arms=list(STUDIES[w.study]["arms"]),
            classes=CLASSES,
            **{
                key: STUDIES[w.study][key]
                for key in ("reference", "primary", "seeds", "bootstrap")
            },
        ),
        code=fingerprint("study/summarise_study"),
    script:
        "../workflow_scripts/study/summarise_study.py"


rule plot_study:
    input:
        summary=rules.summarise_study.output.summary,
        calibration=rules.summarise_study.output.calibration,
    output:
        forest=report(
            f"{STUDY}/forest.png",
            caption="../resources/report/captions/forest.rst",
            category="Study",
            labels={"study": "{study}", "figure": "difference to the reference"},
        ),
        ratios=report(
            f"{STUDY}/ratios.png",
            caption="../resources/report/captions/ratios.rst",
            category="Study",
            labels={"study": "{study}", "figure": "gain against synthetic images"},
        ),
        calibration=report(
            f"{STUDY}/calibration.png",
            caption="../resources/report/captions/calibration.rst",
            category="Study",
            labels={"study": "{study}", "figure": "calibration"},
        ),
    log:
        f"{DATA}/logs/plot_study/{{study}}.log",
    benchmark:
        f"{DATA}/benchmarks/plot_study/{{study}}.tsv"
    localrule: True
    params:
        # As pairs: sorted keys would lose the order of the arms.
        config=lambda w: canonical(
            arms=list(STUDIES[w.study]["arms"].items()),
            reference=STUDIES[w.study]["reference"],
            bootstrap=STUDIES[w.study]["bootstrap"],
            phantom=config["dataset"]["kind"] == "phantom",
        ),
        code=fingerprint("study/plot_study"),
    script:
        "../workflow_scripts/study/plot_study.py"


CROSS = config["cross_validation"]
POOLED = f"{DATA}/cross_validation/{{study}}"


def of_folds(pattern):
    """Files of the runs that are the folds; those runs made them, this one does not."""

    def paths(wildcards):
        study = STUDIES[wildcards.study]
        return [
            path
            for dataset in CROSS["datasets"]
            for path in expand(
                f"results/{dataset}/{pattern}",
                study=wildcards.study,
                arm=study["arms"],
                seed=study["seeds"],
            )
        ]

    return paths


def pooled_folds(_):
    """What the target `cross_validation` asks for."""
    if CROSS is None:
        raise WorkflowError(
            "cross_validation: missing; name the study and the data sets of its finished folds: "
            "{study: <name>, datasets: [<name of each fold's data set>, ...]}"
        )
    return expand(rules.pool_folds.output, study=CROSS["study"])


rule pool_folds:
    input:
        split_reports=of_folds("split_report.json"),
        predictions=of_folds("study/{study}/predictions/{arm}_seed{seed}.parquet"),
    output:
        summary=f"{POOLED}/summary.parquet",
        forest=report(
            f"{POOLED}/forest.png",
            caption="../resources/report/captions/cross_validation.rst",
            category="Study",
            labels={
                "study": "{study}",
                "figure": "difference to the reference, all folds",
            },
        ),
    log:
        f"{DATA}/logs/pool_folds/{{study}}.log",
    benchmark:
        f"{DATA}/benchmarks/pool_folds/{{study}}.tsv"
    params:
        config=lambda w: canonical(
            datasets=CROSS["datasets"],
            arms=list(STUDIES[w.study]["arms"]),
            classes=CLASSES,
            phantom=config["dataset"]["kind"] == "phantom",
            **{
                key: STUDIES[w.study][key]
                for key in ("reference", "primary", "seeds", "bootstrap")
            },
        ),
        code=fingerprint("study/pool_folds"),
    script:
        "../workflow_scripts/study/pool_folds.py"
