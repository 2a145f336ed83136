"""The configuration: defaults filled in, everything wrong with it said at once.

`resources/config.schema.yaml` holds what one key alone may be; what keys must be to each other
stands here, each rule with its reason.
"""

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.findings import column_name, vocabulary

RESOURCES = Path(__file__).resolve().parents[2] / "resources"

Key = tuple[str | int, ...]
Sound = Callable[..., bool]


def load(config: Mapping) -> dict:
    """Return a validated copy of `config` with every default filled in.

    Numbers take the type that the schema gives them, so that 5 and 5.0, or `1e-4`, which YAML
    reads as text, are the same configuration.

    Raises
    ------
    InputError
        With all problems, one per line: an unknown key with the nearest known one, a wrong value
        with what is allowed, and keys that do not fit together with the reason.
    """
    config = completed(config, schema())
    found = list(schema_problems(config))

    def sound(*key: str | int) -> bool:
        """Whether the schema finds nothing wrong at, above or below a key."""
        return not any(bad[: len(key)] == key[: len(bad)] for bad, _ in found)

    messages = [message for _, message in found]
    for rule in RULES:
        messages.extend(rule(config, sound))
    if messages:
        count = "a problem" if len(messages) == 1 else f"{len(messages)} problems"
        lines = "".join(f"\n  {message}" for message in messages)
        raise InputError(f"the configuration has {count}:{lines}")
    return config


@cache
def schema() -> dict:
    """Return the JSON Schema of the configuration."""
    return yaml.safe_load((RESOURCES / "config.schema.yaml").read_text(encoding="utf-8"))


def resolved(part: Mapping) -> dict:
    """Return a part of the schema with its reference, if it has one, merged below it."""
    if "$ref" not in part:
        return dict(part)
    target = schema()["$defs"][part["$ref"].removeprefix("#/$defs/")]
    return resolved(target) | {name: value for name, value in part.items() if name != "$ref"}


def completed(value: Any, part: Mapping) -> Any:
    """Return a copy of `value` with the defaults of its schema and with numbers in its types."""
    part = resolved(part)
    if isinstance(value, Mapping):
        known, other = part.get("properties", {}), part.get("additionalProperties") or {}
        defaults = {name: sub["default"] for name, sub in known.items() if "default" in sub}
        return {
            name: completed(item, known.get(name, other))
            for name, item in (defaults | dict(value)).items()
        }
    if isinstance(value, list | tuple):
        return [completed(item, part.get("items", {})) for item in value]
    kinds = types(part)
    if "string" not in kinds and isinstance(value, str) and {"integer", "number"} & set(kinds):
        value = number_from(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        if "integer" in kinds and value == int(value):
            return int(value)
        if "number" in kinds:
            return float(value)
    return value


def number_from(text: str) -> float | str:
    """Return the number that a text writes, or the text."""
    try:
        return float(text)
    except ValueError:
        return text


def types(part: Mapping) -> list[str]:
    """Return the JSON types that a part of the schema allows."""
    kind = part.get("type", [])
    return [kind] if isinstance(kind, str) else list(kind)


# -- one key alone ---------------------------------------------------------------------------------


def schema_problems(config: dict) -> Iterator[tuple[Key, str]]:
    """Yield the key and the message of everything that breaks the schema, in order of keys."""
    checker = Draft202012Validator.TYPE_CHECKER.redefine("number", is_finite_number)
    validator = validators.extend(Draft202012Validator, type_checker=checker)(schema())
    errors = validator.iter_errors(config)
    ordered = sorted(errors, key=lambda error: [str(part) for part in error.absolute_path])
    # The library reports a missing key once per required key: keep the first of what is the same.
    yield from dict.fromkeys(problem for error in ordered for problem in explained(error))


def is_finite_number(checker: Any, value: Any) -> bool:
    """Whether a value is a number that comparisons make sense of."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def explained(error: ValidationError) -> Iterator[tuple[Key, str]]:
    """Yield the key and the message of one error, or of each of its keys."""
    key, value, part = tuple(error.absolute_path), error.instance, error.schema
    match error.validator:
        case "additionalProperties":
            known = list(part.get("properties", {}))
            for name in value:
                if name not in known:
                    yield (*key, name), f"{dotted(*key, name)}: unknown key{hint(key, name, known)}"
        case "required":
            for name in error.validator_value:
                if name not in value:
                    sub = resolved(part["properties"][name])
                    yield (
                        (*key, name),
                        f"{dotted(*key, name)}: missing; give {allowed(sub)} "
                        f"({sub['description'].rstrip('.')})",
                    )
        case "pattern" | "type" if not isinstance(value, Mapping) and "propertyNames" in map(
            str, error.absolute_schema_path
        ):
            message = f"the name {shown(value)} is not allowed; a name is {allowed(part)}"
            yield (*key, value), f"{dotted(*key)}: {message}"
        case "uniqueItems":
            twice = sorted({str(item) for item in value if value.count(item) > 1})
            yield key, f"{dotted(*key)}: {', '.join(twice)} stands in the list more than once"
        case _:
            yield (
                key,
                f"{dotted(*key)}: {shown(value)} is not allowed; give {allowed(resolved(part))}"
                f"{trap(value, part)}",
            )


def dotted(*key: str | int) -> str:
    """Return a key as people write it: models.small.network.channels[1]."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return text.removeprefix(".") or "the configuration"


def shown(value: Any) -> str:
    """Return a value as YAML writes it, cut short."""
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True)
    text = text.removesuffix("\n").removesuffix("\n...")
    if isinstance(value, str) and text == value:
        text = f"'{value}'"
    return text if len(text) <= 80 else f"{text[:77]}..."


def hint(key: Key, name: Any, known: list[str]) -> str:
    """Say which known key an unknown one may have meant."""
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {dotted(*key, near[0])}?"
    elsewhere = [path for path in key_paths() if path[-1] == name]
    if elsewhere:
        return f" here; it belongs to {' or '.join(dotted(*path[:-1]) for path in elsewhere)}"
    return f"; known here: {', '.join(known)}"


@cache
def key_paths() -> list[Key]:
    """Return every key of the schema, with <name> where the user chooses the name."""

    def walk(part: Mapping, key: Key) -> Iterator[Key]:
        part = resolved(part)
        for name, sub in part.get("properties", {}).items():
            yield (*key, name)
            yield from walk(sub, (*key, name))
        if isinstance(part.get("additionalProperties"), Mapping):
            yield from walk(part["additionalProperties"], (*key, "<name>"))

    return list(walk(schema(), ()))


def allowed(part: Mapping) -> str:
    """Say in words what a part of the schema allows."""
    if "enum" in part:
        return f"one of {', '.join(map(str, part['enum']))}"
    words = {
        "integer": "a whole number",
        "number": "a number",
        "string": "text",
        "boolean": "true or false",
        "array": "a list",
        "object": "a mapping of keys to values",
        "null": "null",
    }
    first, *rest = types(part) or ["string"]
    text = words[first]
    if "pattern" in part:
        text = part["description"]
    if "items" in part:
        text += f" of {allowed(resolved(part['items']))} each"
    least = part.get("minItems") or part.get("minProperties")
    limits = [
        f"{least} or more" if least else None,
        f"{part['maxItems']} at most" if "maxItems" in part else None,
        "not empty" if "minLength" in part else None,
        f"at least {part['minimum']}" if "minimum" in part else None,
        f"above {part['exclusiveMinimum']}" if "exclusiveMinimum" in part else None,
        f"at most {part['maximum']}" if "maximum" in part else None,
        f"below {part['exclusiveMaximum']}" if "exclusiveMaximum" in part else None,
        f"a multiple of {part['multipleOf']}" if "multipleOf" in part else None,
    ]
    text = ", ".join([text, *filter(None, limits)])
    return text + "".join(f" or {words[kind]}" for kind in rest)


def trap(value: Any, part: Mapping) -> str:
    """Explain the values that YAML reads otherwise than they look."""
    if "string" in types(resolved(part)):
        if isinstance(value, bool):
            return "; YAML reads yes, no, on and off as true or false: put the word in quotes"
        if isinstance(value, int | float):
            return "; put it in quotes to make it text"
    if value is None and "object" in types(resolved(part)):
        return "; nothing stands under the key: remove it, or write {}"
    return ""


# -- keys together ---------------------------------------------------------------------------------


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
                listed = ", ".join(known) or "none"
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
