"""What keys of the configuration must be to each other, each rule with its reason."""

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import getitem
from typing import Any

import yaml

from workflow_scripts.common.files import stem
from workflow_scripts.common.findings import NO_FINDING, column_name, vocabulary

# Whether the schema finds nothing wrong at a key.
Sound = Callable[..., bool]
# What `autoguidance` calls the average of a model's own weights from early in its training.
EARLY = "early"
# Noise over signal that a model of process edm is drawn with (Karras et al. 2022, table 1).
EDM_RANGE = 0.002, 80.0
# Where process vp_sde begins: log SNR 15.
VP_SDE_LEAST = math.exp(-7.5)
# Views that phantom films have.
PHANTOM_VIEWS = ("AP", "PA")
# Width in pixels of the windows that SSIM compares (metrics/restoration.py).
SSIM_WINDOW = 11
# What a denoising study calls the patches that no method has touched.
NOISY = "noisy"
# What a sampler says that begins and ends where its process does.
WHOLE_RANGE = {"sigma_min": None, "sigma_max": None}
# Methods that draw nothing on their way: of the same start these have one right end.
DETERMINISTIC = ("ddim", "dpm++2m", "unipc", "heun")
# The least ᾱ of a schedule: its root is a number of 32 bits, and so is the root's inverse.
LEAST_SIGNAL = 1e-20


def data_set_rules(config: dict, sound: Sound) -> Iterator[str]:
    """The source of the images must be named, and read."""
    if not sound("dataset"):
        return
    dataset = config["dataset"]
    kind = dataset["kind"]
    if kind in ("folder", "dicom"):
        for name in ("images", "labels"):
            if dataset["folder"][name] is None:
                yield f"dataset.folder.{name}: missing; kind {kind} reads the images and labels there"
    if kind == "nifti":
        yield from volume_problems(dataset["nifti"])
    if kind in ("hdf5", "idx"):
        yield from file_problems(kind, dataset[kind])
    if sound("nih_dir") and config["nih_dir"] is not None and kind != "nih":
        yield (
            f"nih_dir: only kind nih reads it, and dataset.kind is {kind}; add "
            "--configfile presets/nih-local.yaml, or remove nih_dir"
        )
    if kind == "phantom":
        phantom = dataset["phantom"]
        if phantom["archives"] > phantom["patients"]:
            yield (
                f"dataset.phantom.archives: {phantom['archives']} archives cannot be filled by "
                f"{phantom['patients']} patients; give at most as many"
            )
        if sound("tensors") and config["tensors"]["size"] > phantom["size"]:
            yield (
                f"tensors.size: {config['tensors']['size']} would enlarge the phantoms, which are "
                f"drawn at {phantom['size']}; give less, or a larger dataset.phantom.size"
            )


def volume_problems(nifti: dict) -> Iterator[str]:
    """It must be known whose a file is, which of its contrasts it is, and what it shows."""
    where = "dataset.nifti"
    for name, why in (
        ("images", "the folder of the files"),
        ("files", "how a path names its subject"),
    ):
        if nifti[name] is None:
            yield f"{where}.{name}: missing; give {why}"
    try:
        groups = set(re.compile(nifti["files"] or "(?P<subject>)").groupindex)
    except re.error as error:
        yield f"{where}.files: no regular expression ({error})"
        return
    if unknown := sorted(groups - {"subject", "contrast", "finding"}):
        yield (
            f"{where}.files: the group {', '.join(unknown)} means nothing; groups are subject, "
            "contrast and finding, and (?:…) is none"
        )
    if "subject" not in groups:
        yield (
            f"{where}.files: the group subject is missing, as in (?P<subject>\\d+); without it the "
            "slices of one person would be in several splits"
        )
    if bool(nifti["contrasts"]) != ("contrast" in groups):
        yield (
            f"{where}.contrasts: {shown(nifti['contrasts'])} does not go with the groups of files "
            f"({', '.join(sorted(groups))}); name the contrasts to use, and have a group contrast in "
            "files, or neither"
        )
    mask, columns = nifti["mask"], nifti["columns"]
    if mask is not None and not nifti["contrasts"]:
        yield f"{where}.mask: a mask is told from images by the group contrast; give contrasts"
    if mask is not None and mask["contrast"] in nifti["contrasts"]:
        yield f"{where}.mask.contrast: {mask['contrast']} is among the contrasts; it marks, shows nothing"
    sources = {
        "mask": mask is not None,
        "the group finding of files": "finding" in groups,
        "columns.findings": columns["findings"] is not None,
    }
    if (named := [name for name, there in sources.items() if there]) != named[:1] or not named:
        yield (
            f"{where}: findings come from {' and '.join(named) or 'nowhere'}; give one of "
            f"{', '.join(sources)}"
        )
    asked = [name for name in ("findings", "age", "sex") if columns[name] is not None]
    if asked and nifti["labels"] is None:
        yield f"{where}.labels: missing; columns.{asked[0]} names a column of it"
    for name in ("range", "percentiles", "window"):
        if nifti[name] is not None and nifti[name][0] >= nifti[name][1]:
            yield f"{where}.{name}: {shown(nifti[name])} is empty; give [low, high]"


def file_problems(kind: str, settings: dict) -> Iterator[str]:
    """Files must be named, each apart, and come from somewhere."""
    where = f"dataset.{kind}"
    if not settings["files"]:
        yield f"{where}.files: missing; name the files of the images, as config.yaml shows"
    if settings["manifest"] is None and settings["folder"] is None:
        yield f"{where}.folder: missing; give the folder of the files, or a manifest to download them"
    before: dict[str, str] = {}
    for number, entry in enumerate(settings["files"]):
        name = stem(entry["images"])
        if name in before:
            yield (
                f"{where}.files[{number}].images: {entry['images']} would give its images the names of "
                f"those of {before[name]}, since they are called by the file; rename one"
            )
        before.setdefault(name, entry["images"])
        if settings.get("own_subjects") and entry.get("subjects"):
            yield (
                f"{where}.own_subjects: true says that there are no subjects, and files[{number}].subjects "
                f"names them in {entry['subjects']}; remove one"
            )
    window = settings.get("window")
    if window is not None and window[0] >= window[1]:
        yield f"{where}.window: {shown(window)} is empty; give [low, high]"


def tensor_rules(config: dict, sound: Sound) -> Iterator[str]:
    """Images must be kept with as many channels as the data set gives them."""
    if not sound("dataset") or not sound("tensors", "channels"):
        return
    kind, channels = config["dataset"]["kind"], config["tensors"]["channels"]
    allowed = {"folder": (1, 3), "nifti": (len(config["dataset"]["nifti"]["contrasts"]) or 1,)}
    if kind != "hdf5" and channels not in (fitting := allowed.get(kind, (1,))):
        yield (
            f"tensors.channels: {channels}, and images of kind {kind} have "
            f"{' or '.join(map(str, fitting))}; give {fitting[-1]}"
        )


def size_rules(config: dict, sound: Sound) -> Iterator[str]:
    """Images are compared in windows, by SSIM and at scales of it, for which there must be room."""
    if not sound("tensors", "size") or config["tensors"]["size"] >= SSIM_WINDOW:
        return
    drawn = ["samplers"] if any(entries(config, sound, "models")) else []
    for section in ("inpainting", "superresolution", *drawn):
        for _, where, _ in entries(config, sound, section):
            yield (
                f"tensors.size: {config['tensors']['size']} is smaller than the windows in which "
                f"images of {where} are compared by SSIM; give {SSIM_WINDOW} at least"
            )
            return  # one says enough


def class_rules(config: dict, sound: Sound) -> Iterator[str]:
    """Classes become columns and paths, so each must be known and no two may be the same there."""
    if not sound("cohort", "classes"):
        return
    nih = sound("dataset", "kind") and config["dataset"]["kind"] in ("nih", "phantom")
    seen: dict[str, str] = {}
    for number, name in enumerate(config["cohort"]["classes"]):
        column = column_name(name)
        if column in seen:
            same = "it" if seen[column] == name else f"the same as {shown(seen[column])}, which"
            yield f"cohort.classes[{number}]: {shown(name)}: {same} stands in the list already"
        elif nih and name not in vocabulary().values():
            yield f"cohort.classes[{number}]: unknown finding {shown(name)}; {likely(name)}"
        seen.setdefault(column, name)


def likely(name: str) -> str:
    """Say which finding an unknown one may have meant."""
    names = vocabulary().values()
    lower = {finding.lower(): finding for finding in names}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return f"did you mean {lower[near[0]]}?" if near else f"give one of {', '.join(names)}"


def split_rules(config: dict, sound: Sound) -> Iterator[str]:
    """The split must use up the cohort, and have its lists if it follows lists."""
    if not sound("split"):
        return
    split = config["split"]
    total = sum(split["fractions"].values())
    if not math.isclose(total, 1, abs_tol=1e-6):
        yield (
            f"split.fractions: train, val and test sum to {total:g}; they are shares of the whole "
            "cohort and must sum to 1"
        )
    if split["method"] == "official":
        for name in ("train_val_list", "test_list"):
            if split[name] is None and not states_splits(config, sound):
                yield (
                    f"split.{name}: missing; method official takes the image ids from it, unless each of "
                    "the data set's `files` states a split, train and test among them"
                )
    if split["method"] != "folds" and split["fold"]:
        yield (
            f"split.fold: {split['fold']} has no effect, since split.method is {split['method']}; "
            "set split.method to folds, or remove fold"
        )
    elif split["fold"] >= split["folds"]:
        yield (
            f"split.fold: {split['fold']} is none of the {split['folds']} folds, which count from "
            f"0; give 0 to {split['folds'] - 1}, or more split.folds"
        )


def states_splits(config: dict, sound: Sound) -> bool:
    """Whether all files of images of the data set say which split they are for, some train, some test."""
    if not sound("dataset") or config["dataset"]["kind"] not in ("hdf5", "idx"):
        return False
    stated = {entry["split"] for entry in config["dataset"][config["dataset"]["kind"]]["files"]}
    return {"train", "test"} <= stated and None not in stated


def model_rules(config: dict, sound: Sound) -> Iterator[str]:
    """A model must fit the images, its own levels, its GPUs and what the chain asks of it."""
    for name, where, model in entries(config, sound, "models"):
        if name == EARLY:
            yield (
                f"{where}: the name is taken: autoguidance {EARLY} is each model's own average "
                "from early in its training; give the model another name"
            )
        yield from network_problems(config, sound, where, model["network"])
        if "finding" not in model["conditions"]:
            yield (
                f"{where}.conditions: finding is missing; images are drawn class by class, so a "
                "model must be told the class: add finding"
            )
        yield from training_problems(where, model["training"], model["gpus"])


def network_problems(
    config: dict,
    sound: Sound,
    where: str,
    network: dict,
    key: tuple[str, ...] = ("tensors", "size"),
) -> Iterator[str]:
    """A network must fit the images, whose size stands at `key`, and attend at levels that it has."""
    levels = len(network["channels"])
    factor = network["patch_size"] * 2 ** (levels - 1)
    if sound(*key) and (size := reduce(getitem, key, config)) % factor:
        yield (
            f"{'.'.join(key)}: {size} is not divisible by {factor}, which is "
            f"patch_size {network['patch_size']} times 2 for each of the {levels - 1} "
            f"halvings of {where}; give a multiple of {factor}, or fewer channels"
        )
    for level in network["attention_levels"]:
        if level >= levels:
            yield (
                f"{where}.network.attention_levels: {level} is no index into the {levels} "
                f"channels; give 0 to {levels - 1}"
            )


def training_problems(where: str, training: dict, gpus: int) -> Iterator[str]:
    """A training must have steps to decay in, and a batch that its GPUs can share."""
    if training["warmup_steps"] >= training["steps"]:
        yield (
            f"{where}.training.warmup_steps: {training['warmup_steps']} leaves nothing of the "
            f"{training['steps']} steps for the decay; give less"
        )
    if training["batch_size"] % gpus:
        yield (
            f"{where}.training.batch_size: {training['batch_size']} images cannot be dealt "
            f"evenly to {gpus} GPUs; give a multiple of {gpus}, or other gpus"
        )
    short, long = training["ema"]
    if short >= long:
        yield (
            f"{where}.training.ema: {shown(training['ema'])} is not in order; give two "
            "different widths, the shorter average first"
        )


def column_rules(config: dict, sound: Sound) -> Iterator[str]:
    """What a model is told of an image must stand in the label table."""
    if not sound("dataset") or config["dataset"]["kind"] in ("phantom", "nih"):
        return
    kind = config["dataset"]["kind"]
    section = "folder" if kind == "dicom" else kind
    columns = config["dataset"][section].get("columns", {})
    for _, where, model in entries(config, sound, "models"):
        for attribute in model["conditions"]:
            if attribute == "finding" or columns.get(attribute) is not None:
                continue
            if attribute in columns:
                yield (
                    f"dataset.{section}.columns.{attribute}: missing; {where}.conditions names "
                    f"{attribute}: name the column that holds it, or remove it from the conditions"
                )
            else:
                yield (
                    f"{where}.conditions: data of kind {kind} say nothing of {attribute}; remove it"
                )


def process_rules(config: dict, sound: Sound) -> Iterator[str]:
    """Objective and schedule of a model must be defined together."""
    for _, where, model in entries(config, sound, "models"):
        yield from diffusion_problems(f"{where}.diffusion", model["diffusion"])


def diffusion_problems(where: str, diffusion: dict) -> Iterator[str]:
    """Objective and schedule must be defined together."""
    if diffusion["loss"] != "l2" and diffusion.get("weighting") == "min_snr":
        yield (
            f"{where}.weighting: min_snr is derived for squared errors and means nothing for "
            f"loss {diffusion['loss']}; set weighting to none, or loss to l2"
        )
    if diffusion["process"] != "ddpm":
        return
    if diffusion["zero_terminal_snr"] and diffusion["prediction"] == "epsilon":
        yield (
            f"{where}: zero_terminal_snr with prediction epsilon is undefined: the last step "
            "holds nothing but noise, so x0 cannot be computed from the predicted noise; set "
            "prediction to v or sample, or zero_terminal_snr to false"
        )
    betas, timesteps = diffusion["betas"], diffusion["timesteps"]
    if diffusion["schedule"] != "betas":
        if betas is not None:
            yield (
                f"{where}.betas: schedule {diffusion['schedule']} computes its own; remove "
                "betas, or set schedule to betas"
            )
    elif betas is None:
        yield f"{where}.betas: missing; schedule betas reads {timesteps} numbers from it"
    elif len(betas) != timesteps:
        yield (
            f"{where}.betas: {len(betas)} numbers for {timesteps} timesteps; give one for each, "
            "or set timesteps to how many there are"
        )
    elif (signal := math.prod(1 - beta for beta in betas)) < LEAST_SIGNAL:
        yield (
            f"{where}.betas: they leave {signal:.0e} of the signal at the last time step (the "
            f"product of all 1 - beta), too little to compute with; give smaller ones, that "
            f"leave {LEAST_SIGNAL:g} at least"
        )


def sampler_rules(config: dict, sound: Sound) -> Iterator[str]:
    """A sampler's keys must fit each other."""
    for _, where, sampler in entries(config, sound, "samplers"):
        if sampler["shards"] > sampler["per_class"]:
            yield (
                f"{where}.shards: {sampler['shards']} jobs for {sampler['per_class']} images per "
                "class leave some with nothing to do; give at most as many"
            )
        least, most = sampler["sigma_min"], sampler["sigma_max"]
        if None not in (least, most) and least >= most:
            yield (
                f"{where}.sigma_min: {least:g} is not below sigma_max {most:g}; a sampler goes from "
                "much noise to little"
            )
        interval = sampler["guidance_interval"]
        if interval is not None and interval[0] >= interval[1]:
            yield f"{where}.guidance_interval: {shown(interval)} is empty; give [low, high]"
        if sampler["guidance"] == 1:
            for key in ("guidance_interval", "guided", "autoguidance"):
                if sampler[key] is not None:
                    yield (
                        f"{where}.{key}: {shown(sampler[key])} has no effect, since guidance 1 is "
                        f"the conditional model alone; set another guidance, or {key} to null"
                    )
        if sampler["autoguidance"] is not None and sampler["guided"] is not None:
            yield (
                f"{where}.guided: autoguidance hides no conditions; remove guided, or autoguidance"
            )
        names = [str(name) for name in mapping(config["models"])]
        if sampler["autoguidance"] not in (None, EARLY, *names):
            yield (
                f"{where}.autoguidance: {shown(sampler['autoguidance'])} is not among the models "
                f"({', '.join(names) or 'none'}); name one of them, or write {EARLY}"
            )
        elif [sampler["autoguidance"]] == names:
            yield (
                f"{where}.autoguidance: {names[0]} is the only model, and leading a model away "
                f"from itself leads nowhere; name another model, or write {EARLY}"
            )
        yield from findings_problems(config, sound, where, sampler["condition"])
        view = sampler["condition"].get("view")
        phantom = sound("dataset", "kind") and config["dataset"]["kind"] == "phantom"
        if phantom and view not in (None, *PHANTOM_VIEWS):
            yield (
                f"{where}.condition.view: no phantom film is {view}, so that no model learns it; "
                f"give {' or '.join(PHANTOM_VIEWS)}"
            )


def findings_problems(config: dict, sound: Sound, where: str, condition: dict) -> Iterator[str]:
    """Further findings can be asked for where images with several were learned."""
    if "findings" not in condition or not sound("cohort"):
        return
    where, cohort = f"{where}.condition.findings", config["cohort"]
    if cohort["labels"] == "single":
        yield (
            f"{where}: cohort.labels is single, so that no model saw an image with two findings; "
            "set cohort.labels to multi, or remove findings"
        )
    known = [name for name in cohort["classes"] if column_name(name) != NO_FINDING]
    for finding in condition["findings"]:
        if finding not in known:
            yield (
                f"{where}: {shown(finding)} is no finding of cohort.classes that can stand beside "
                f"another ({', '.join(known)})"
            )


def pair_rules(config: dict, sound: Sound) -> Iterator[str]:
    """A sampler must fit every model, since each is applied to each but its own guide."""
    conditions = {name: model["conditions"] for name, _, model in entries(config, sound, "models")}
    for _, where, sampler in entries(config, sound, "samplers"):
        guide = sampler["autoguidance"]
        for name, of, model in entries(config, sound, "models"):
            if name == guide:
                continue
            yield from level_problems(where, sampler, of, model["diffusion"])
            if (
                guide is None
                and sampler["guidance"] != 1
                and not model["training"]["label_dropout"]
            ):
                yield (
                    f"{where}.guidance: {sampler['guidance']:g} needs the unconditional model, "
                    f"which {of} never learns with label_dropout 0; set guidance to 1, or "
                    "label_dropout to 0.1"
                )
            known = conditions.get(guide, model["conditions"])
            if known != model["conditions"]:
                yield (
                    f"{where}.autoguidance: {of} and models.{guide} must be told the same of an "
                    f"image; their conditions are {', '.join(model['conditions'])} and "
                    f"{', '.join(known)}: set them alike"
                )
            asked = {"guided": sampler["guided"] or [], "condition": sampler["condition"]}
            for key, attributes in asked.items():
                for attribute in attributes:
                    if attribute not in ["findings", *model["conditions"]]:
                        yield (
                            f"{where}.{key}: {of} knows no {attribute}; add {attribute} to "
                            f"{of}.conditions, or remove it here"
                        )


def level_problems(where: str, sampler: dict, of: str, diffusion: dict) -> Iterator[str]:
    """Noise levels must be the process's own; trailing ones are time steps, some and enough."""
    steps, spacing, process = sampler["steps"], sampler["spacing"], diffusion["process"]
    if process == "edm" and spacing == "trailing":
        yield (
            f"{where}.spacing: trailing counts time steps, and {of} has none (process edm); give "
            "auto, karras or log_snr"
        )
    least, most = EDM_RANGE
    for key in ("sigma_min", "sigma_max") if process == "edm" else ():
        end, other = (least, most) if key == "sigma_min" else (most, least)
        level = sampler[key]
        if level is not None and not (least <= level <= most and level != other):
            yield (
                f"{where}.{key}: {level:g} is outside the noise levels of {of}, {least:g} to "
                f"{most:g} (process edm); give one within them, or null for {end:g}"
            )
    if spacing == "auto" and sampler["method"] in ("heun", "edm"):
        spacing = "karras"
    if process == "ddpm" and spacing in ("auto", "trailing") and steps > diffusion["timesteps"]:
        yield (
            f"{where}.steps: {steps} steps visit some of the {diffusion['timesteps']} timesteps of "
            f"{of} twice; give at most {diffusion['timesteps']}, or spacing karras or log_snr"
        )


def weights_rules(config: dict, sound: Sound) -> Iterator[str]:
    """Weights must come from somewhere, and what needs weights must have them."""
    for name in mapping(config["weights"]):
        if sound("weights", name) and not {"url", "path"} & set(config["weights"][name]):
            yield f"weights.{name}: missing; give a url or a path beside the sha256"
    if not sound("evaluate"):
        return
    own = ("pixels", "domain")  # without weights, and with weights that are trained here
    needed = [name for name in config["evaluate"]["extractors"] if name not in own]
    for key, names in (("extractors", needed), ("lpips", config["evaluate"]["lpips"])):
        for name in names:
            if name not in mapping(config["weights"]):
                yield (
                    f"weights.{name}: missing; evaluate.{key} names {name}. Write under weights: "
                    f"{name}: {{path: <file> or url: <address>, sha256: <64 hexadecimal digits>}}"
                )


def study_rules(config: dict, sound: Sound) -> Iterator[str]:
    """A study must name images that are drawn and labelled truly, and compare with real ones."""
    for _, where, study in entries(config, sound, "studies"):
        yield from source_problems(config, sound, where, study)
        for name, arm in study["arms"].items():
            yield from arm_problems(config, sound, f"{where}.arms.{name}", arm)
        arm = study["arms"].get(study["reference"])
        if arm is None:
            yield (
                f"{where}.reference: {shown(study['reference'])} is not among the arms "
                f"({', '.join(study['arms'])})"
            )
        elif arm["synthetic"] or not arm["real"]:
            yield (
                f"{where}.reference: the arm {study['reference']} has real {shown(arm['real'])} and "
                f"synthetic {arm['synthetic']:g}; the arm that others are compared with trains on "
                "real images alone: it must have true and 0"
            )
        if sound("cohort", "classes"):
            count = len(config["cohort"]["classes"])
            if study["bootstrap"] < 40 * count - 1:
                yield (
                    f"{where}.bootstrap: {study['bootstrap']} resamples give no p-value below "
                    f"{2 / (study['bootstrap'] + 1):.2g}, so that after Holm's correction no class "
                    f"of {count} could be significant at 0.05; give at least {40 * count - 1}"
                )
        compared = [arm for arm in study["arms"] if arm != study["reference"]]
        if study["primary"]["arm"] not in compared:
            yield (
                f"{where}.primary.arm: {shown(study['primary']['arm'])} is not among the arms that "
                f"are compared with the reference ({', '.join(compared)})"
            )


def arm_problems(config: dict, sound: Sound, where: str, arm: dict) -> Iterator[str]:
    """An arm must train on something, in an order that it has the images for, and see each class."""
    if not arm["real"] and not arm["synthetic"]:
        yield (
            f"{where}: real false and synthetic 0 leave nothing to train on; set real to true, or "
            "synthetic above 0"
        )
    elif arm["order"] == "pretrain" and not (arm["real"] and arm["synthetic"]):
        yield (
            f"{where}.order: pretrain goes from synthetic images to real ones and needs both; set "
            "real to true and synthetic above 0, or order to mixed"
        )
    elif arm["order"] == "pretrain" and arm["classes"] != "all":
        yield (
            f"{where}.order: pretrain with synthetic images of {shown(arm['classes'])} would show "
            "no other class in the first half of the steps; set classes to all, or order to mixed"
        )
    if arm["classes"] == "all":
        return
    if bool(arm["synthetic"]) != bool(arm["classes"]):
        yield (
            f"{where}.classes: {shown(arm['classes'])} does not go with synthetic "
            f"{arm['synthetic']:g}, since it says which classes get the synthetic images; set "
            "classes to all, or synthetic "
            f"{'above' if arm['classes'] else 'to'} 0"
        )
    if not sound("cohort", "classes"):
        return
    known = config["cohort"]["classes"]
    for name in arm["classes"]:
        if name not in known:
            yield (
                f"{where}.classes: {shown(name)} is not among cohort.classes ({', '.join(known)})"
            )
    unseen = [name for name in known if name not in arm["classes"]]
    if arm["classes"] and arm["synthetic"] and not arm["real"] and unseen:
        yield (
            f"{where}.classes: without real images the classifier would never see "
            f"{', '.join(unseen)}; set real to true, or classes to all"
        )


def cross_validation_rules(config: dict, sound: Sound) -> Iterator[str]:
    """Folds must be of a known study, and none be made again with another split."""
    if not sound("cross_validation") or config["cross_validation"] is None:
        return
    study, datasets = (config["cross_validation"][key] for key in ("study", "datasets"))
    known = list(mapping(config["studies"]))
    if study not in known:
        listed = ", ".join(map(str, known)) or "none"
        yield f"cross_validation.study: {shown(study)} is not among the studies ({listed})"
    if not sound("dataset") or not sound("split"):
        return
    name, method = config["dataset"]["name"], config["split"]["method"]
    if name in datasets and method != "folds":
        yield (
            f"cross_validation.datasets: {name} is the data set of this configuration, which would "
            f"be split anew: its split.method is {method}; give dataset.name another name, or set "
            "split as in that fold's run"
        )


def denoising_rules(config: dict, sound: Sound) -> Iterator[str]:
    """A denoising study must have methods that fit each other, and what compares them."""
    for name, where, study in entries(config, sound, "denoising"):
        methods = study["methods"]
        size = ("denoising", name, "patches", "size")
        yield from network_problems(config, sound, where, study["network"], size)
        yield from training_problems(where, study["training"], 1)
        if study["patches"]["size"] < SSIM_WINDOW:
            yield (
                f"{where}.patches.size: {study['patches']['size']} is less than the window of SSIM; "
                f"give {SSIM_WINDOW} or more"
            )
        phantom = sound("dataset") and config["dataset"]["kind"] == "phantom"
        if phantom and study["patches"]["size"] > config["dataset"]["phantom"]["size"]:
            yield (
                f"{where}.patches.size: no patch of {study['patches']['size']} fits into the "
                f"phantoms, which are drawn at {config['dataset']['phantom']['size']}; give less, or "
                "a larger dataset.phantom.size"
            )
        if NOISY in methods:
            yield f"{where}.methods.{NOISY}: the name is taken by the noisy patches themselves"
        if study["reference"] not in methods:
            yield (
                f"{where}.reference: {shown(study['reference'])} is not among the methods "
                f"({', '.join(methods)})"
            )
        drawing = [name for name, method in methods.items() if method["kind"] == "diffusion"]
        if study["reference"] in drawing:
            yield (
                f"{where}.reference: {study['reference']} draws several answers, of which one, or their "
                "mean, would have to stand for it; name a method of kind nlm or regression"
            )
        names = [f"{variance:g}" for variance in study["noise"]["variances"]]
        if len(set(names)) < len(names):
            yield (
                f"{where}.noise.variances: {shown(study['noise']['variances'])} are too near each other "
                "to be told apart by six digits; give others"
            )
        if study["sweep"]["method"] not in drawing:
            yield (
                f"{where}.sweep.method: {shown(study['sweep']['method'])} is not among the methods of "
                f"kind diffusion ({', '.join(drawing) or 'none'}); name one of them"
            )
        else:
            yield from sweep_problems(where, study)
        for name in drawing:
            yield from denoiser_problems(f"{where}.methods.{name}", methods[name], study)


def sweep_problems(where: str, study: dict) -> Iterator[str]:
    """A diffusion model must have the steps that it is swept over, and draw answers that differ."""
    name = study["sweep"]["method"]
    method = study["methods"][name]
    for way in study["sweep"]["samplers"]:
        asked = {"method": way, "steps": max(study["sweep"]["steps"])}
        found = list(
            answer_problems(f"{where}.sweep", f"{where}.methods.{name}", method, study, asked)
        )
        if found:  # of one sampler: the others have the same
            yield from found
            return


def denoiser_problems(where: str, method: dict, study: dict) -> Iterator[str]:
    """A diffusion model must be trained for how it is asked, and draw answers that differ."""
    strategy, guidance = method["strategy"], method["guidance"]
    yield from diffusion_problems(f"{where}.diffusion", method["diffusion"])
    yield from answer_problems(f"{where}.sampler", where, method, study, {})
    if strategy == "matched":
        # Noise of σ on [0, 1] is one of 2 σ on [-1, 1].
        least, most = noise_range(method["diffusion"], study["patches"]["size"])
        weakest, strongest = (2 * f(study["noise"]["variances"]) ** 0.5 for f in (min, max))
        if not least < weakest <= strongest <= most:
            yield (
                f"{where}.strategy: matched begins at the noise of each image, {weakest:.3g} to "
                f"{strongest:.3g} times its signal, and the process has {least:.3g} to {most:.3g}; "
                "give other noise.variances, or another diffusion"
            )
    if strategy == "guided" and guidance == 1:
        yield (
            f"{where}.guidance: 1 is no guidance; give the strategy guided another weight, such as "
            "1.5, or set strategy to concatenation"
        )
    elif strategy == "guided" and not study["training"]["label_dropout"]:
        yield (
            f"{where}.strategy: guided needs a network that has learned without the noisy image; set "
            "training.label_dropout of the study to 0.1"
        )
    elif strategy != "guided" and guidance != 1:
        yield (
            f"{where}.guidance: {guidance:g} has no effect with strategy {strategy}; remove it, or set "
            "strategy to guided"
        )


def answer_problems(where: str, of: str, method: dict, study: dict, asked: dict) -> Iterator[str]:
    """Answers must be drawn at noise levels that there are, and differ from one another."""
    sampler = WHOLE_RANGE | study["sampler"] | method["sampler"] | asked
    if method["strategy"] != "matched":
        yield from level_problems(where, sampler, of, method["diffusion"])
        return
    if sampler["spacing"] == "trailing":
        yield (
            f"{where}.spacing: trailing begins at a time step, and {of} begins at the noise of each "
            "image (strategy matched); give auto, karras or log_snr"
        )
    if sampler["method"] in DETERMINISTIC:
        yield (
            f"{where}: {sampler['method']} goes the same way from the same noisy image each time, so "
            f"that the answers of {of} (strategy matched) would be one; give it a sampler that draws: "
            "{method: ddpm}"
        )


def reader_rules(config: dict, sound: Sound) -> Iterator[str]:
    """A reader study must name images that are drawn, labelled truly, and enough."""
    for _, where, study in entries(config, sound, "readers"):
        yield from source_problems(config, sound, where, study)
        sampler = sampler_of(config, sound, study)
        if sampler is not None and study["per_class"] > sampler["per_class"]:
            yield (
                f"{where}.per_class: {study['per_class']} synthetic images of each class are more "
                f"than the {sampler['per_class']} that samplers.{study['sampler']} draws; give at "
                "most as many, or raise its per_class"
            )


def anomaly_rules(config: dict, sound: Sound) -> Iterator[str]:
    """Health must be a class beside others, and the model must know what it looks like at each level."""
    models = {name: model for name, _, model in entries(config, sound, "models")}
    for _, where, search in entries(config, sound, "anomaly"):
        known = list(mapping(config["models"]))
        if search["model"] not in known:
            listed = ", ".join(map(str, known)) or "none"
            yield f"{where}.model: {shown(search['model'])} is not among the models ({listed})"
        if sound("cohort", "classes") and search["healthy"] not in config["cohort"]["classes"]:
            yield (
                f"{where}.healthy: {shown(search['healthy'])} is not among cohort.classes "
                f"({', '.join(config['cohort']['classes'])})"
            )
        if sound("tensors", "size") and config["tensors"]["size"] % 2:
            yield (
                f"tensors.size: {config['tensors']['size']} cannot be halved, as the autoencoder of "
                f"{where} does; give an even number"
            )
        model = models.get(search["model"])
        if model is None:
            continue
        if search["guidance"] != 1 and not model["training"]["label_dropout"]:
            yield (
                f"{where}.guidance: {search['guidance']:g} needs the unconditional model, which "
                f"models.{search['model']} never learns with label_dropout 0; set guidance to 1, or "
                "label_dropout to 0.1"
            )
        diffusion = model["diffusion"]
        if not sound("tensors", "size") or any(diffusion_problems("", diffusion)):
            continue  # no process yet whose noise could be asked for
        least, most = noise_range(diffusion, config["tensors"]["size"])
        if min(search["levels"]) <= least:
            yield (
                f"{where}.levels: {min(search['levels']):g} is no more noise over signal than "
                f"models.{search['model']} begins at, {least:.3g}; give more"
            )
        if max(search["levels"]) > most:
            yield (
                f"{where}.levels: {max(search['levels']):g} is more noise over signal than the betas of "
                f"models.{search['model']} end at, {most:.3g}; give less"
            )


def noise_range(diffusion: dict, size: int) -> tuple[float, float]:
    """Return the least noise over signal, σ/α, of a process, and the most if its betas say so, else infinity.

    As the diffusion engine has it, without the engine.

    Parameters
    ----------
    diffusion : of a model
    size : of its images
    """
    shift = size / 64 if diffusion.get("resolution_shift") else 1.0
    if diffusion["process"] == "edm":
        return EDM_RANGE[0], math.inf
    if diffusion["process"] == "vp_sde":
        return VP_SDE_LEAST * shift, math.inf
    end, t = 0.0, 1 / diffusion["timesteps"]
    match diffusion["schedule"]:
        case "linear":
            signal = 1 - 0.1 * t
        case "cosine":
            first, zero = (math.cos((u + 0.008) / 1.008 * math.pi / 2) for u in (t, 0))
            signal = (first / zero) ** 2
        case "sigmoid":
            first, zero, one = (1 / (1 + math.exp(3 - 6 * u)) for u in (t, 0, 1))
            signal = (one - first) / (one - zero)
        case "betas":
            signal = 1 - diffusion["betas"][0]
            if not diffusion["zero_terminal_snr"]:
                end = math.prod(1 - beta for beta in diffusion["betas"])
    return (
        math.sqrt(1 / signal - 1) * shift,
        math.sqrt(1 / end - 1) * shift if end else math.inf,
    )


def inpainting_rules(config: dict, sound: Sound) -> Iterator[str]:
    """What fills in must be a model that can do what is asked, and masks must come from somewhere."""
    models = {name: model for name, _, model in entries(config, sound, "models")}
    for _, where, entry in entries(config, sound, "inpainting"):
        masks, sampler = entry["masks"], entry["sampler"]
        if entry["model"] not in mapping(config["models"]):
            listed = ", ".join(map(str, mapping(config["models"]))) or "none"
            yield f"{where}.model: {shown(entry['model'])} is not among the models ({listed})"
        if "files" in masks["kinds"] and masks["folder"] is None:
            yield f"{where}.masks.folder: missing; kind files reads the masks there"
        if "files" not in masks["kinds"] and masks["folder"] is not None:
            yield (
                f"{where}.masks.folder: nothing is read from it, since kinds has no files; add "
                "files, or remove folder"
            )
        if sampler["resamples"] > 1 and sampler["jump_length"] >= sampler["steps"]:
            yield (
                f"{where}.sampler.jump_length: {sampler['jump_length']} levels back are more than "
                f"the {sampler['steps']} steps have; give less, or resamples 1"
            )
        model = models.get(entry["model"])
        if model is None:
            continue
        of = f"models.{entry['model']}"
        asked = sampler | dict.fromkeys(("sigma_min", "sigma_max")) | {"method": "ddpm"}
        yield from level_problems(f"{where}.sampler", asked, of, model["diffusion"])
        if sampler["guidance"] != 1 and not model["training"]["label_dropout"]:
            yield (
                f"{where}.sampler.guidance: {sampler['guidance']:g} needs the unconditional model, "
                f"which {of} never learns with label_dropout 0; set guidance to 1, or label_dropout "
                "to 0.1"
            )


def superresolution_rules(config: dict, sound: Sound) -> Iterator[str]:
    """What enlarges must be trainable, and its factors divide the images."""
    for _, where, entry in entries(config, sound, "superresolution"):
        yield from network_problems(config, sound, where, entry["network"])
        yield from training_problems(where, entry["training"], entry["gpus"])
        yield from diffusion_problems(f"{where}.diffusion", entry["diffusion"])
        everywhere = {"sigma_min": None, "sigma_max": None}
        yield from level_problems(
            f"{where}.sampler", entry["sampler"] | everywhere, where, entry["diffusion"]
        )
        for factor in entry["factors"]:
            if sound("tensors", "size") and config["tensors"]["size"] % factor:
                yield (
                    f"{where}.factors: {factor} does not divide tensors.size "
                    f"{config['tensors']['size']}; give factors that do"
                )


def report_rules(config: dict, sound: Sound) -> Iterator[str]:
    """An application in the report must have something to show."""
    if not sound("report"):
        return
    for number, name in enumerate(config["report"]["applications"]):
        if sound(name) and not config[name]:
            yield (
                f"report.applications[{number}]: {name} has no entry to show; add one to the section "
                f"{name}, or take it from the list"
            )


def sampler_of(config: dict, sound: Sound, study: dict) -> dict | None:
    """Return the sampler that a study names, if there is a sound one of that name."""
    samplers = {name: sampler for name, _, sampler in entries(config, sound, "samplers")}
    return samplers.get(study["sampler"])


def source_problems(config: dict, sound: Sound, where: str, study: dict) -> Iterator[str]:
    """Whoever takes synthetic images must name what draws them, each of its class alone."""
    for key in ("model", "sampler"):
        known = list(mapping(config[f"{key}s"]))
        if study[key] not in known:
            listed = ", ".join(map(str, known)) or "none"
            yield f"{where}.{key}: {shown(study[key])} is not among the {key}s ({listed})"
    sampler = sampler_of(config, sound, study)
    if sampler is not None and "findings" in sampler["condition"]:
        yield (
            f"{where}.sampler: the images of {study['sampler']} show further findings "
            "(condition.findings), and a study labels each with its class alone; name a sampler "
            "without them"
        )
    if sampler is not None and sampler["autoguidance"] == study["model"]:
        yield (
            f"{where}.model: {study['model']} is the guide of the sampler {study['sampler']}, "
            "which is applied to the other models alone; name another model or sampler"
        )


def entries(config: dict, sound: Sound, section: str) -> Iterator[tuple[str, str, dict]]:
    """Yield name, key and settings of each entry of a section that the schema finds sound."""
    for name, settings in mapping(config[section]).items():
        if sound(section, name):
            yield name, f"{section}.{name}", settings


def shown(value: Any) -> str:
    """Return a value as YAML writes it, cut short."""
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True)
    text = text.removesuffix("\n").removesuffix("\n...")
    if isinstance(value, str) and text == value:
        text = f"'{value}'"
    return text if len(text) <= 80 else f"{text[:77]}..."


def mapping(value: Any) -> Mapping:
    """Return `value` if it is a mapping; the schema has complained already if it is not."""
    return value if isinstance(value, Mapping) else {}


RULES = (
    data_set_rules,
    tensor_rules,
    size_rules,
    class_rules,
    split_rules,
    model_rules,
    column_rules,
    process_rules,
    sampler_rules,
    pair_rules,
    weights_rules,
    study_rules,
    cross_validation_rules,
    denoising_rules,
    reader_rules,
    anomaly_rules,
    inpainting_rules,
    superresolution_rules,
    report_rules,
)
