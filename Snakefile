# Synthorax: do synthetic chest radiographs help a classifier, and how sure are we?

from snakemake.utils import min_version

min_version("9.0")


# A configuration that names a data set stands alone; any other is laid over the default.
if "dataset" not in config:

    configfile: f"{workflow.basedir}/config.yaml"


report: "resources/report/workflow.rst"


include: "rules/common.smk"
include: "rules/acquire.smk"
include: "rules/curate.smk"
include: "rules/tensors.smk"
include: "rules/training.smk"
include: "rules/sampling.smk"
include: "rules/export.smk"
include: "rules/classifier.smk"
include: "rules/features.smk"
include: "rules/evaluate.smk"
include: "rules/study.smk"
include: "rules/readers.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        rules.render_report.output.page,


rule cohort:
    input:
        rules.join_metadata.output,
        rules.filter_cohort.output,
        rules.check_leaks.output,


rule tensors:
    input:
        rules.select_images.output,


rule train:
    input:
        expand(rules.choose_average.output, model=config["models"]),
        expand(rules.plot_training.output, model=config["models"]),


rule samples:
    input:
        of_pairs(rules.collect_samples.output),
        of_pairs(rules.plot_denoising.output),


rule evaluate:
    input:
        of_pairs(rules.collect_metrics.output),
        of_pairs(
            [
                rules.measure_condition.output.figure,
                rules.measure_physics.output.figure,
            ]
        ),
        of_pairs([rules.audit_copies.output.copies, rules.audit_copies.output.figure]),


rule comparison:
    input:
        rules.compare_models.output,


rule study:
    input:
        expand(rules.summarise_study.output, study=config["studies"]),
        expand(rules.plot_study.output, study=config["studies"]),


# Of folds that have run: each is a run of its own.
rule cross_validation:
    input:
        pooled_folds,


rule readers:
    input:
        expand(rules.make_reader_study.output, readers=READERS),
        # A study is scored once answers may have come back.
        expand(
            rules.score_readers.output,
            readers=[name for name, study in READERS.items() if study["responses"]],
        ),


rule export:
    input:
        # A model that only guides has no images to show on a card.
        expand(
            rules.export_model.output,
            model=list(filter(samplers_of, config["models"])) or config["models"],
        ),


rule report:
    input:
        rules.render_report.output,
