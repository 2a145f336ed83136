"""The configuration: defaults filled in, everything wrong with it said at once.

`resources/config.schema.yaml` holds what one key alone may be; what keys must be to each other
stands in `configuration_rules.py`, each rule with its reason.
"""

import difflib
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators

from workflow_scripts.common.configuration_rules import RULES, shown
from workflow_scripts.common.errors import InputError

RESOURCES = Path(__file__).resolve().parents[2] / "resources"
MOST = sys.float_info.max  # beyond it are integers that are no floats, and infinity

Key = tuple[str | int, ...]


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


def branches(part: Mapping) -> Iterator[tuple[str, str, dict]]:
    """Yield each choice that brings keys of its own: (process, edm, {p_mean: …, p_std: …})."""
    for branch in part.get("allOf", []):
        ((key, choice),) = branch["if"]["properties"].items()
        yield key, choice["const"], branch["then"]["properties"]


def fitted(part: Mapping, value: Mapping) -> dict:
    """Return a part of the schema with the keys that the choices of `value` bring.

    Where a choice is none of those allowed, nobody knows which keys were meant: it brings all.
    """
    part = resolved(part)
    known = dict(part.get("properties", {}))
    for key, choice, brought in branches(part):
        chosen = value.get(key, known[key].get("default"))
        if chosen == choice or chosen not in known[key]["enum"]:
            known |= brought
    return part | {"properties": known}


def completed(value: Any, part: Mapping) -> Any:
    """Return a copy of `value` with the defaults of its schema, numbers in their types, and lists
    that stand for sets in the schema's order."""
    part = resolved(part)
    if isinstance(value, Mapping):
        known, other = fitted(part, value)["properties"], part.get("additionalProperties") or {}
        known = {name: resolved(sub) for name, sub in known.items()}
        if "integer" in types(part.get("propertyNames", {})):  # YAML reads 1 as a number
            value = {
                str(int(name)) if isinstance(name, int) else name: value[name] for name in value
            }
        defaults = {name: sub["default"] for name, sub in known.items() if "default" in sub}
        return {
            name: completed(item, known.get(name, other))
            for name, item in (defaults | dict(value)).items()
        }
    if isinstance(value, list | tuple):
        of = part.get("items", {})
        items, choices = [completed(item, of) for item in value], of.get("enum", [])
        if part.get("uniqueItems") and all(item in choices for item in items):
            items.sort(key=choices.index)
        return items
    kinds = types(part)
    if "string" not in kinds and isinstance(value, str) and {"integer", "number"} & set(kinds):
        value = number_from(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST:
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
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST


def explained(error: ValidationError) -> Iterator[tuple[Key, str]]:
    """Yield the key and the message of one error, or of each of its keys."""
    key, value, part = tuple(error.absolute_path), error.instance, error.schema
    match error.validator:
        case "additionalProperties" | "unevaluatedProperties":
            known = fitted(part, value)["properties"]
            for name in value:
                if name not in known:
                    message = f"unknown key{hint(key, name, value, part)}"
                    yield (*key, name), f"{dotted(*key, name)}: {message}"
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


def hint(key: Key, name: Any, value: Mapping, part: Mapping) -> str:
    """Say which known key an unknown one of `value` may have meant, or where it belongs."""
    owners = {choice: by for by, choice, brought in branches(part) if name in brought}
    if owners:
        first, by = next(iter(owners.items()))
        return (
            f" for {by} {value[by]}; it belongs to {by} {' or '.join(owners)}: remove it, or set "
            f"{by} to {first}"
        )
    known = list(fitted(part, value)["properties"])
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
        for known in [part.get("properties", {}), *(brought for *_, brought in branches(part))]:
            for name, sub in known.items():
                yield (*key, name)
                yield from walk(sub, (*key, name))
        if isinstance(part.get("additionalProperties"), Mapping):
            yield from walk(part["additionalProperties"], (*key, "<name>"))

    return list(dict.fromkeys(walk(schema(), ())))


def allowed(part: Mapping) -> str:
    """Say in words what a part of the schema allows."""
    if "enum" in part:
        return f"one of {', '.join('null' if one is None else str(one) for one in part['enum'])}"
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
    least, most = part.get("minItems") or part.get("minProperties"), part.get("maxItems")
    limits = [
        f"exactly {least}" if least and least == most else None,
        f"{least} or more" if least and least != most else None,
        f"{most} at most" if most and least != most else None,
        "not empty" if "minLength" in part else None,
        f"at least {part['minimum']}" if "minimum" in part else None,
        f"above {part['exclusiveMinimum']}" if "exclusiveMinimum" in part else None,
        f"at most {part['maximum']}" if "maximum" in part else None,
        f"below {part['exclusiveMaximum']}" if "exclusiveMaximum" in part else None,
        f"a multiple of {part['multipleOf']}" if "multipleOf" in part else None,
    ]
    text = ", ".join([text, *filter(None, limits)])
    if "items" in part:
        text += f", each {allowed(resolved(part['items']))}"
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
