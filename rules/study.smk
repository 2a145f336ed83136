# Do synthetic radiographs help a classifier? One training per arm and seed, judged on real test images.

import re
from types import SimpleNamespace

STUDIES = config["studies"]


def study_samples(wildcards):
    """The synthetic images of an arm; an arm without any does not wait for the generator."""
    study = STUDIES[wildcards.study]
    if not study["arms"][wildcards.arm]["synthetic"]:
        return {}
    source = SimpleNamespace(model=study["model"], sampler=study["sampler"])
    return {
        "samples": SAMPLES.format(**vars(source)) + "/samples.parquet",
        "sample_shards": sample_shards(".npy")(source),
    }


def study_source(w):
    """What the ids of an arm's synthetic images begin with; nothing where it has none."""
    study = STUDIES[w.study]
    return (
        f"{study['model']}/{study['sampler']}/"
        if study["arms"][w.arm]["synthetic"]
        else None
    )


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
        f"{DATA}/study/{{study}}/arms.parquet",
    log:
        f"{DATA}/logs/plan_arms/{{study}}.log",
    priority: 1  # a plan that fails should do so before hours of training
    params:
        config=lambda w: canonical(
            study=w.study,
            arms=list(STUDIES[w.study]["arms"].items()),
            classes=CLASSES,
            sampler=STUDIES[w.study]["sampler"],
            per_class=config["samplers"][STUDIES[w.study]["sampler"]]["per_class"],
        ),
        code=fingerprint("study/plan_arms"),
    script:
        "../workflow_scripts/study/plan_arms.py"


rule train_arm:
    input:
        unpack(study_samples),
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
    output:
        f"{DATA}/study/{{study}}/predictions/{{arm}}_seed{{seed}}.parquet",
    log:
        f"{DATA}/logs/train_arm/{{study}}_{{arm}}_seed{{seed}}.log",
    threads: 2
    resources:
        gpu=GPUS,
        device=config["device"],
    params:
        config=lambda w: canonical(
            study=w.study,
            arm=w.arm,
            synthetic=STUDIES[w.study]["arms"][w.arm]["synthetic"],
            source=study_source(w),
            seed=int(w.seed),
            classes=CLASSES,
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
        f"{DATA}/study/{{study}}/summary.parquet",
    log:
        f"{DATA}/logs/summarise_study/{{study}}.log",
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
        summary=f"{DATA}/study/{{study}}/summary.parquet",
    output:
        report(
            f"{DATA}/study/{{study}}/forest.png",
            caption="../resources/report/captions/forest.rst",
            category="Study",
            labels={"study": "{study}", "figure": "difference to the reference"},
        ),
    log:
        f"{DATA}/logs/plot_study/{{study}}.log",
    params:
        config=lambda w: canonical(
            reference=STUDIES[w.study]["reference"],
            bootstrap=STUDIES[w.study]["bootstrap"],
            phantom=config["dataset"]["kind"] == "phantom",
        ),
        code=fingerprint("study/plot_study"),
    script:
        "../workflow_scripts/study/plot_study.py"
