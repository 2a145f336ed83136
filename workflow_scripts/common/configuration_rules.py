"""What keys of the configuration must be to each other, each rule with its reason."""

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from workflow_scripts.common.findings import column_name, vocabulary

# Whether the schema finds nothing wrong at a key.
Sound = Callable[..., bool]


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
            if split[name] is None:
                yield f"split.{name}: missing; method official takes the image ids from it"


def model_rules(config: dict, sound: Sound) -> Iterator[str]:
    """A model must fit the images, its own levels, and the mathematics of its schedule."""
    for name in mapping(config["models"]):
        if not sound("models", name):
            continue
        model, where = config["models"][name], f"models.{name}"
        network, diffusion, training = model["network"], model["diffusion"], model["training"]
        levels = len(network["channels"])
        factor = network["patch_size"] * 2 ** (levels - 1)
        if sound("tensors", "size") and config["tensors"]["size"] % factor:
            yield (
                f"tensors.size: {config['tensors']['size']} is not divisible by {factor}, which is "
                f"patch_size {network['patch_size']} times 2 for each of the {levels - 1} "
                f"halvings of {where}; give a multiple of {factor}, or fewer channels"
            )
        for level in network["attention_levels"]:
            if level >= levels:
                yield (
                    f"{where}.network.attention_levels: {level} is no index into the {levels} "
                    f"channels; give 0 to {levels - 1}"
                )
        if diffusion["zero_terminal_snr"] and diffusion["prediction"] == "epsilon":
            yield (
                f"{where}.diffusion: zero_terminal_snr with prediction epsilon is undefined: the "
                "last step holds nothing but noise, so x0 cannot be computed from the predicted "
                "noise; set prediction to v or sample, or zero_terminal_snr to false"
            )
        if training["warmup_steps"] >= training["steps"]:
            yield (
                f"{where}.training.warmup_steps: {training['warmup_steps']} leaves nothing of the "
                f"{training['steps']} steps for the decay; give less"
            )


def sampler_rules(config: dict, sound: Sound) -> Iterator[str]:
    """A sampler must fit every model, since each is applied to each."""
    for name in mapping(config["samplers"]):
        if not sound("samplers", name):
            continue
        sampler, where = config["samplers"][name], f"samplers.{name}"
        if sampler["shards"] > sampler["per_class"]:
            yield (
                f"{where}.shards: {sampler['shards']} jobs for {sampler['per_class']} images per "
                "class leave some with nothing to do; give at most as many"
            )
        for of in mapping(config["models"]):
            if not sound("models", of):
                continue
            model = config["models"][of]
            if sampler["steps"] > model["diffusion"]["timesteps"]:
                yield (
                    f"{where}.steps: {sampler['steps']} steps visit some of the "
                    f"{model['diffusion']['timesteps']} timesteps of models.{of} twice; give at "
                    f"most {model['diffusion']['timesteps']}"
                )
            if sampler["guidance"] != 1 and model["training"]["label_dropout"] == 0:
                yield (
                    f"{where}.guidance: {sampler['guidance']:g} needs the unconditional model, "
                    f"which models.{of} never learns with label_dropout 0; set guidance to 1, or "
                    "label_dropout to 0.1"
                )


def weights_rules(config: dict, sound: Sound) -> Iterator[str]:
    """Weights must come from somewhere, and what needs weights must have them."""
    for name in mapping(config["weights"]):
        if sound("weights", name) and not {"url", "path"} & set(config["weights"][name]):
            yield f"weights.{name}: missing; give a url or a path beside the sha256"
    if not sound("evaluate"):
        return
    needed = [name for name in config["evaluate"]["extractors"] if name != "domain"]
    for key, names in (("extractors", needed), ("lpips", config["evaluate"]["lpips"])):
        for name in names:
            if name not in mapping(config["weights"]):
                yield (
                    f"weights.{name}: missing; evaluate.{key} names {name}. Write under weights: "
                    f"{name}: {{path: <file> or url: <address>, sha256: <64 hexadecimal digits>}}"
                )


def study_rules(config: dict, sound: Sound) -> Iterator[str]:
    """A study must name what exists, and compare with real images alone."""
    for name in mapping(config["studies"]):
        if not sound("studies", name):
            continue
        study, where = config["studies"][name], f"studies.{name}"
        for key in ("model", "sampler"):
            known = list(mapping(config[f"{key}s"]))
            if study[key] not in known:
                listed = ", ".join(map(str, known)) or "none"
                yield f"{where}.{key}: {shown(study[key])} is not among the {key}s ({listed})"
        arm = study["arms"].get(study["reference"])
        if arm is None:
            yield (
                f"{where}.reference: {shown(study['reference'])} is not among the arms "
                f"({', '.join(study['arms'])})"
            )
        elif arm["synthetic"] != 0:
            yield (
                f"{where}.reference: the arm {study['reference']} has synthetic "
                f"{arm['synthetic']:g}; the arm that others are compared with must have 0"
            )
        compared = [arm for arm in study["arms"] if arm != study["reference"]]
        if study["primary"]["arm"] not in compared:
            yield (
                f"{where}.primary.arm: {shown(study['primary']['arm'])} is not among the arms that "
                f"are compared with the reference ({', '.join(compared)})"
            )


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
    class_rules,
    split_rules,
    model_rules,
    sampler_rules,
    weights_rules,
    study_rules,
)
