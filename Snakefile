# Synthorax: do synthetic chest radiographs help a classifier, and how sure are we?

from snakemake.utils import min_version

from workflow_scripts.common.fingerprint import ROOT

min_version("9.0")


# A configuration that names a data set stands alone; any other is laid over the default.
if "dataset" not in config:

    configfile: f"{ROOT}/config.yaml"


report: "resources/report/workflow.rst"


# Ahead of all others, which makes it the default; `default_target` would take the place of the default
# of a workflow that imports this one as well.
rule all:
    input:
        lambda _: rules.render_report.output.page,


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
include: "rules/anomaly.smk"
include: "rules/inpainting.smk"
include: "rules/superresolution.smk"
include: "rules/denoising.smk"
include: "rules/report.smk"
include: "rules/audit.smk"
include: "rules/crate.smk"


rule cohort:
    input:
        rules.join_metadata.output,
        rules.filter_cohort.output,
        rules.check_leaks.output,


rule tensors:
    input:
        rules.select_images.output,
        rules.list_shards.output,
        # What depends on the list does not miss a file of it; who asks for the target does.
        rules.list_shards.input,


rule train:
    input:
        expand(rules.choose_average.output, model=config["models"]),
        expand(rules.plot_training.output, model=config["models"]),


rule samples:
    input:
        of_pairs(rules.collect_samples.output),
        of_pairs(rules.plot_denoising.output),
        of_pairs(rules.list_sample_shards.output),
        lambda _: [path for pair in PAIRS for path in drawn(*pair)],


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


rule anomaly:
    input:
        expand(rules.summarise_anomaly.output, anomaly=config["anomaly"]),
        expand(rules.plot_anomaly.output, anomaly=config["anomaly"]),


rule inpainting:
    input:
        expand(rules.measure_inpainting.output, inpainting=INPAINTING),
        expand(rules.plot_inpainting.output, inpainting=INPAINTING),


rule superresolution:
    input:
        of_factors(rules.measure_superresolution.output),
        of_factors(rules.plot_superresolution.output),


rule denoising:
    input:
        [
            expand(pattern, denoising=config["denoising"])
            for pattern in (
                rules.export_patches.output,
                rules.score_denoising.output,
                rules.score_sweep.output,
                rules.measure_uncertainty.output,
                rules.plot_denoisers.output,
                rules.export_examples.output,
            )
        ],
        # What depends on the list does not miss a file of it; who asks for the target does.
        [
            expand(rules.cut_patches.output.shard, denoising=name, archive=ARCHIVES)
            for name in config["denoising"]
        ],


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
