# Can people tell? A page for readers, and the scores of what they send back.

import re
from pathlib import Path

from workflow_scripts.common.files import sha256_of

READERS = config["readers"]


def reader_samples(wildcards):
    """The synthetic images of a reader study."""
    study = READERS[wildcards.readers]
    source = {"model": study["model"], "sampler": study["sampler"]}
    return {
        "samples": SAMPLES.format(**source) + "/samples.parquet",
        "sample_shards": expand(SAMPLE_SHARDS, **source),
    }


def responses(wildcards):
    """The files that readers sent back; none where no folder is named."""
    folder = READERS[wildcards.readers]["responses"]
    return sorted(map(str, Path(folder).glob("*.csv"))) if folder else []


wildcard_constraints:
    readers="|".join(map(re.escape, READERS)),


rule make_reader_study:
    input:
        unpack(reader_samples),
        images=f"{TENSORS}/images.parquet",
        shards=SHARDS,
    output:
        page=f"{DATA}/readers/{{readers}}/reader_study.html",
        key=f"{DATA}/readers/{{readers}}/key.parquet",
    log:
        f"{DATA}/logs/make_reader_study/{{readers}}.log",
    benchmark:
        f"{DATA}/benchmarks/make_reader_study/{{readers}}.tsv"
    localrule: True
    params:
        config=lambda w: canonical(
            classes=CLASSES,
            per_class=READERS[w.readers]["per_class"],
            seed=READERS[w.readers]["seed"],
            phantom=config["dataset"]["kind"] == "phantom",
        ),
        code=fingerprint("readers/make_reader_study"),
        # By content: an edited template makes another page, a moved checkout does not.
        template=[
            sha256_of(ROOT / "resources" / "readers" / name)
            for name in ("page.html.j2", "style.css", "script.js")
        ],
    script:
        "../workflow_scripts/readers/make_reader_study.py"


rule score_readers:
    input:
        key=rules.make_reader_study.output.key,
        responses=responses,
    output:
        scores=f"{DATA}/readers/{{readers}}/scores.parquet",
        figure=report(
            f"{DATA}/readers/{{readers}}/scores.png",
            caption="../resources/report/captions/readers.rst",
            category="Readers",
            labels={"study": "{readers}", "figure": "scores of readers"},
        ),
    log:
        f"{DATA}/logs/score_readers/{{readers}}.log",
    benchmark:
        f"{DATA}/benchmarks/score_readers/{{readers}}.tsv"
    localrule: True
    params:
        config=lambda w: canonical(
            folder=READERS[w.readers]["responses"],
            classes=CLASSES,
            seed=READERS[w.readers]["seed"],
            phantom=config["dataset"]["kind"] == "phantom",
        ),
        code=fingerprint("readers/score_readers"),
    script:
        "../workflow_scripts/readers/score_readers.py"
