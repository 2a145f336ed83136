# From the label table to the images that take part, each in one split.

from workflow_scripts.common.findings import vocabulary

OFFICIAL = config["split"]["method"] == "official"
# What each way to split goes by, beside the lists that `official` takes as inputs.
HOW_SPLIT = {
    name: config["split"][name]
    for name in (
        ("method", "folds", "fold", "seed")
        if config["split"]["method"] == "folds"
        else ("method", "fractions", "seed")
    )
}
# The lists of `official`: the user's, before those that list_images writes, whose list for validation
# goes with its own for training.
GIVEN_LISTS = {
    name: config["split"][name]
    for name in ("train_val_list", "val_list", "test_list")
    if OFFICIAL and config["split"][name] is not None
}
SPLIT_LISTS = {
    name: path
    for name, path in STATED_SPLITS.items()
    if name != "val_list" or "train_val_list" not in GIVEN_LISTS
} | GIVEN_LISTS
SPLIT_FILES = {name: f"{DATA}/splits/{name}.csv" for name in ("train", "val", "test")}


def label_layout():
    """Where the label table keeps what. Nothing to say of NIH's own."""
    if KIND in ("nih", "phantom"):
        return {}
    if KIND in ("folder", "dicom"):
        columns = dict(FOLDER["columns"])
        ours = {"image_id": columns.pop("image"), "patient_id": columns.pop("patient")}
        return {
            "columns": ours | columns,
            "aliases": FOLDER["aliases"],
            "classes": CLASSES,
        }
    # The table that list_images writes; of age and sex it says what there is to say.
    known = DATASET[KIND].get("columns", {})
    names = ["image_id", "patient_id", "findings"]
    names += [name for name in ("age", "sex") if known.get(name)]
    return {
        "columns": {name: name for name in names},
        "aliases": DATASET[KIND].get("aliases", {}),
        "classes": CLASSES,
    }


rule parse_labels:
    input:
        table=LABEL_TABLE,
    output:
        labels=f"{DATA}/labels.parquet",
        issues=f"{DATA}/label_issues.parquet",
    log:
        f"{DATA}/logs/parse_labels.log",
    benchmark:
        f"{DATA}/benchmarks/parse_labels.tsv"
    localrule: True
    threads: 1
    params:
        config=canonical(**label_layout()),
        code=fingerprint("curate/parse_labels"),
        vocabulary=canonical(findings=vocabulary()),
    script:
        "../workflow_scripts/curate/parse_labels.py"


rule filter_cohort:
    input:
        labels=rules.parse_labels.output.labels,
    output:
        cohort=f"{DATA}/cohort.parquet",
        exclusions=f"{DATA}/exclusions.parquet",
    log:
        f"{DATA}/logs/filter_cohort.log",
    benchmark:
        f"{DATA}/benchmarks/filter_cohort.tsv"
    localrule: True
    threads: 1
    params:
        config=canonical(classes=CLASSES, labels=config["cohort"]["labels"]),
        code=fingerprint("curate/filter_cohort"),
        vocabulary=canonical(findings=vocabulary()),
    script:
        "../workflow_scripts/curate/filter_cohort.py"


rule split_patients:
    input:
        **SPLIT_LISTS,
        cohort=rules.filter_cohort.output.cohort,
    output:
        **SPLIT_FILES,
    log:
        f"{DATA}/logs/split_patients.log",
    benchmark:
        f"{DATA}/benchmarks/split_patients.tsv"
    localrule: True
    threads: 1
    params:
        config=canonical(**HOW_SPLIT),
        code=fingerprint("curate/split_patients"),
    script:
        "../workflow_scripts/curate/split_patients.py"


rule check_leaks:
    input:
        **SPLIT_FILES,
        labels=rules.parse_labels.output.labels,
        cohort=rules.filter_cohort.output.cohort,
    output:
        report=report(
            f"{DATA}/split_report.json",
            caption="../resources/report/captions/split.rst",
            category="Cohort",
            labels={"table": "images and patients by class and split"},
        ),
    log:
        f"{DATA}/logs/check_leaks.log",
    benchmark:
        f"{DATA}/benchmarks/check_leaks.tsv"
    localrule: True
    threads: 1
    params:
        config=canonical(**HOW_SPLIT),
        code=fingerprint("curate/check_leaks"),
    script:
        "../workflow_scripts/curate/check_leaks.py"


rule join_metadata:
    input:
        **SPLIT_FILES,
        cohort=rules.filter_cohort.output.cohort,
        report=rules.check_leaks.output.report,  # nothing goes past a leak
    output:
        metadata=f"{DATA}/metadata.parquet",
    log:
        f"{DATA}/logs/join_metadata.log",
    benchmark:
        f"{DATA}/benchmarks/join_metadata.tsv"
    localrule: True
    threads: 1
    params:
        config=canonical(),
        code=fingerprint("curate/join_metadata"),
    script:
        "../workflow_scripts/curate/join_metadata.py"
