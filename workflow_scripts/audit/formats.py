"""Which schema each table has, by the rule that makes it and what the rule calls it."""

import pandera.pandas as pa

from workflow_scripts.common import schemas

SCHEMAS: dict[tuple[str, str | None], pa.DataFrameSchema] = {
    ("describe_phantom", "truth"): schemas.PHANTOM_TRUTH,
    ("draw_regions", "index"): schemas.REGIONS,
    ("draw_boxes", "index"): schemas.REGIONS,
    ("list_files", "files"): schemas.FILES,
    ("hash_files", None): schemas.DATA_FILES,
    ("list_images", "listing"): schemas.LISTING,
    ("list_images", "dropped"): schemas.DROPPED,
    ("parse_labels", "labels"): schemas.LABELS,
    ("parse_labels", "issues"): schemas.LABEL_ISSUES,
    ("filter_cohort", "cohort"): schemas.COHORT,
    ("filter_cohort", "exclusions"): schemas.EXCLUSIONS,
    **{("split_patients", name): schemas.SPLIT for name in schemas.SPLITS},
    ("join_metadata", "metadata"): schemas.METADATA,
    ("resize_archive", "index"): schemas.SHARD_INDEX,
    ("resize_archive", "rejects"): schemas.REJECTS,
    ("list_shards", None): schemas.SHARDS,
    ("list_sample_shards", None): schemas.SHARDS,
    ("select_images", "images"): schemas.IMAGES,
    ("select_images", "unmatched"): schemas.UNMATCHED,
    ("train_diffusion", "log"): schemas.TRAINING_LOG,
    ("train_diffusion", "seen"): schemas.SEEN,
    ("choose_average", "average"): schemas.AVERAGES,
    ("draw_samples", "index"): schemas.SAMPLES,
    ("collect_samples", "samples"): schemas.SAMPLES,
    ("train_domain_classifier", "log"): schemas.CLASSIFIER_LOG,
    ("train_domain_classifier", "seen"): schemas.SEEN,
    ("draw_controls", "noise_index"): schemas.CONTROLS,
    ("draw_controls", "planted_index"): schemas.CONTROLS,
    ("measure_distribution", "metrics"): schemas.METRICS,
    ("measure_diversity", "metrics"): schemas.METRICS,
    ("measure_condition", "metrics"): schemas.METRICS,
    ("measure_condition", "confusion"): schemas.CONFUSION,
    ("measure_physics", "metrics"): schemas.METRICS,
    ("audit_copies", "metrics"): schemas.METRICS,
    ("audit_copies", "copies"): schemas.COPIES,
    ("collect_metrics", "metrics"): schemas.METRICS,
    ("compare_models", "table"): schemas.COMPARISON,
    ("plan_arms", None): schemas.ARMS,
    ("compose_arm", "arm"): schemas.ARM_IMAGES,
    ("train_arm", None): schemas.PREDICTIONS,
    ("summarise_study", "summary"): schemas.SUMMARY,
    ("summarise_study", "subgroups"): schemas.SUBGROUPS,
    ("summarise_study", "calibration"): schemas.CALIBRATION,
    ("pool_folds", "summary"): schemas.POOLED_SUMMARY,
    ("cut_patches", "index"): schemas.PATCH_INDEX,
    ("cut_patches", "cut"): schemas.CUT_IMAGES,
    ("list_patch_shards", None): schemas.SHARDS,
    ("list_patches", "images"): schemas.IMAGES,
    ("list_patches", "patches"): schemas.PATCH_INDEX,
    ("tune_nlm", "tuning"): schemas.NLM_TUNING,
    ("train_denoiser", "log"): schemas.TRAINING_LOG,
    ("train_denoiser", "seen"): schemas.SEEN,
    ("train_denoiser", "average"): schemas.AVERAGES,
    ("score_sweep", "rows"): schemas.RESTORATION,
    ("score_sweep", "sweep"): schemas.SWEEP,
    ("score_denoising", "rows"): schemas.RESTORATION,
    ("score_denoising", "summary"): schemas.RESTORATION_SUMMARY,
    ("measure_uncertainty", "table"): schemas.UNCERTAINTY,
    ("measure_uncertainty", "spread"): schemas.SPREAD,
    ("make_reader_study", "key"): schemas.READER_KEY,
    ("score_readers", "scores"): schemas.READER_SCORES,
    ("train_simplex", "log"): schemas.TRAINING_LOG,
    ("train_simplex", "average"): schemas.AVERAGES,
    ("train_simplex", "seen"): schemas.SEEN,
    ("train_autoencoder", "log"): schemas.AUTOENCODER_LOG,
    ("train_autoencoder", "seen"): schemas.SEEN,
    ("score_images", "scores"): schemas.ANOMALY_SCORES,
    ("summarise_anomaly", "summary"): schemas.ANOMALY_SUMMARY,
    ("draw_masks", "table"): schemas.MASKS,
    ("measure_inpainting", "restoration"): schemas.RESTORATION,
    ("measure_inpainting", "summary"): schemas.RESTORATION_SUMMARY,
    ("train_superresolution", "log"): schemas.TRAINING_LOG,
    ("train_superresolution", "seen"): schemas.SEEN,
    ("choose_superresolution", "average"): schemas.AVERAGES,
    ("enlarge_images", "table"): schemas.IMAGES,
    ("measure_superresolution", "restoration"): schemas.RESTORATION,
    ("measure_superresolution", "summary"): schemas.RESTORATION_SUMMARY,
}
# As others hand it out: it has no schema of ours.
HANDED_OUT = {
    ("describe_phantom", "table"),
    ("extract_label_table", "table"),
    ("list_images", "labels"),
    ("download_archive", "archive"),
    ("unpack_file", None),
    ("extract_boxes", "boxes"),
}


def schema_of(rule: str, name: str | None) -> pa.DataFrameSchema | None:
    """Return the schema of a rule's table; None where none is declared."""
    return SCHEMAS.get((rule, name))


def is_table(rule: str, name: str | None, path: str) -> bool:
    """Whether a rule's output is a table that needs a schema."""
    return path.endswith((".parquet", ".csv")) and (rule, name) not in HANDED_OUT
