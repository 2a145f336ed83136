"""The configuration: what is wrong is said, with the key, and all of it at once."""

import copy
import math
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from workflow_scripts.common.configuration import load, schema
from workflow_scripts.common.errors import InputError

DEFAULT_TEXT = (Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8")
DEFAULT = yaml.safe_load(DEFAULT_TEXT)


def changed(**changes) -> dict:
    """The default configuration with values put at `a__b__c`; names with dots stand as they are."""
    config = copy.deepcopy(DEFAULT)
    for key, value in changes.items():
        *parents, last = key.split("__")
        section = config
        for name in parents:
            section = section[name]
        section[last] = value
    return config


def problems(config) -> list[str]:
    with pytest.raises(InputError) as error:
        load(config)
    return [line.strip() for line in str(error.value).splitlines()[1:]]


def reference(part: dict) -> dict:
    return (
        schema()["$defs"][part["$ref"].removeprefix("#/$defs/")] | part if "$ref" in part else part
    )


def keys(part: dict, path: tuple = ()):
    """Every key of the schema with its part; a mapping of free names continues as `*`."""
    part = reference(part)
    for name, sub in part.get("properties", {}).items():
        yield (*path, name), reference(sub)
        yield from keys(sub, (*path, name))
    if isinstance(part.get("additionalProperties"), dict):
        yield from keys(part["additionalProperties"], (*path, "*"))


def at(config: dict, path: tuple):
    """What stands at a path of `keys`, in the first of the named sections that has it."""
    value = config
    for name in path:
        if not isinstance(value, dict) or (name != "*" and name not in value) or not value:
            return ...
        value = next(iter(value.values())) if name == "*" else value[name]
    return value


# -- the schema and the default ----------------------------------------------------------------


def test_schema_is_a_schema():
    Draft202012Validator.check_schema(schema())


def test_default_is_valid():
    assert load(DEFAULT)["cohort"]["classes"] == DEFAULT["cohort"]["classes"]


def test_every_key_is_titled_and_described():
    assert not [path for path, part in keys(schema()) if not {"title", "description"} <= set(part)]


def test_every_key_of_the_schema_stands_in_the_default_or_its_comments():
    comments = " ".join(re.findall(r"#(.*)", DEFAULT_TEXT))
    absent = [
        path
        for path, _ in keys(schema())
        if at(DEFAULT, path) is ... and not re.search(rf"\b{re.escape(path[-1])}\b", comments)
    ]
    assert not absent


def test_defaults_of_the_schema_are_those_shown():
    leaves = [(path, part) for path, part in keys(schema()) if "properties" not in part]
    shown = [(path, part) for path, part in leaves if "default" in part]
    assert len(shown) > 40
    differing = {
        path: part["default"] for path, part in shown if at(DEFAULT, path) != part["default"]
    }
    # Named sections have no default entries: the default configuration shows an example of each.
    assert set(differing) == {("models",), ("samplers",), ("studies",)}


def test_every_choice_is_named_in_the_default_or_its_comments():
    for path, part in keys(schema()):
        for choice in part.get("enum", part.get("items", {}).get("enum", [])):
            assert str(choice) in DEFAULT_TEXT, (path, choice)


# -- filling in ------------------------------------------------------------------------------------


def test_least_configuration_gets_every_default():
    config = load({"dataset": {"name": "mine", "kind": "phantom"}, "tensors": {"size": 32}})
    assert config["dataset"]["phantom"] == DEFAULT["dataset"]["phantom"]
    assert config["split"] == DEFAULT["split"]
    assert config["models"] == config["samplers"] == config["studies"] == {}


def test_named_sections_get_defaults_too():
    study = {"model": "a", "sampler": "b", "reference": "r", "primary": {"arm": "s"}}
    study["arms"] = {"r": {"synthetic": 0}, "s": {"synthetic": 1}}
    config = load(
        {
            "dataset": {"name": "mine", "kind": "phantom"},
            "tensors": {"size": 32},
            "models": {"a": {"network": {"channels": [8]}, "training": {"steps": 200}}},
            "samplers": {"b": {"method": "ddim", "steps": 5, "per_class": 2}},
            "studies": {"c": study},
        }
    )
    assert config["models"]["a"]["diffusion"] == DEFAULT["models"]["recommended"]["diffusion"]
    assert config["models"]["a"]["network"]["patch_size"] == 2
    assert config["samplers"]["b"]["shards"] == 1
    assert config["studies"]["c"]["seeds"] == [0, 1, 2]
    assert config["studies"]["c"]["primary"] == {"arm": "s", "metric": "auroc"}


def test_input_is_left_alone_and_loading_again_changes_nothing():
    config = {"dataset": {"name": "mine", "kind": "phantom"}, "tensors": {"size": "32"}}
    before = copy.deepcopy(config)
    loaded = load(config)
    assert config == before
    assert load(loaded) == loaded
    loaded["cohort"]["classes"].append("x")
    assert "x" not in load(config)["cohort"]["classes"]


@pytest.mark.parametrize("written", ["1e-4", 1e-4, "0.0001"])
def test_numbers_that_yaml_reads_as_text_are_numbers(written):
    config = load(changed(models__recommended__training__learning_rate=written))
    assert config["models"]["recommended"]["training"]["learning_rate"] == 1e-4


def test_one_number_has_one_type():
    config = load(changed(tensors__size=64.0, models__recommended__diffusion__min_snr_gamma=5))
    assert type(config["tensors"]["size"]) is int
    assert type(config["models"]["recommended"]["diffusion"]["min_snr_gamma"]) is float


# -- unknown keys ----------------------------------------------------------------------------------


def neighbours(word: str) -> set[str]:
    """Every word one edit away: a letter left out, put in, changed, or two swapped."""
    letters = "abcdefghijklmnopqrstuvwxyz_"
    cuts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    return (
        {a + b[1:] for a, b in cuts if b}
        | {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
        | {a + c + b[1:] for a, b in cuts if b for c in letters}
        | {a + c + b for a, b in cuts for c in letters}
    ) - {word}


KEYS = sorted(path for path, _ in keys(schema()) if at(DEFAULT, path[:-1]) is not ...)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KEYS), st.data())
def test_a_typing_error_is_answered_with_the_key_that_was_meant(path, data):
    config = copy.deepcopy(DEFAULT)
    section, real = config, []
    for name in path[:-1]:
        name = next(iter(section)) if name == "*" else name
        section, real = section[name], [*real, name]
    typo = data.draw(st.sampled_from(sorted(neighbours(path[-1]))))
    siblings = {key[-1] for key in KEYS if key[:-1] == path[:-1]} - {path[-1]}
    # A word that is as near to another key may mean that one, and three letters mean anything.
    assume(len(path[-1]) > 3)
    assume(typo not in siblings and not siblings & neighbours(typo))
    section[typo] = section.pop(path[-1], None)
    right, wrong = ".".join([*real, path[-1]]), ".".join([*real, typo])
    assert f"{wrong}: unknown key; did you mean {right}?" in problems(config)


def test_a_key_in_the_wrong_place_is_told_its_place():
    assert problems(changed(timesteps=100)) == [
        "timesteps: unknown key here; it belongs to models.<name>.diffusion"
    ]


def test_a_key_like_no_other_is_told_what_there_is():
    (message,) = problems(changed(tensors__zebra=1))
    assert message == "tensors.zebra: unknown key; known here: size, max_rejects, max_missing"


# -- wrong values ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("device", "gpu", "device: 'gpu' is not allowed; give one of auto, cuda, cpu"),
        ("tensors__size", 4, "tensors.size: 4 is not allowed; give a whole number, at least 8"),
        ("tensors__size", "big", "tensors.size: 'big' is not allowed; give a whole number"),
        ("tensors__size", 64.5, "tensors.size: 64.5 is not allowed; give a whole number"),
        ("tensors__size", True, "tensors.size: true is not allowed; give a whole number"),
        ("tensors__max_missing", -1, "tensors.max_missing: -1 is not allowed; give a whole number, at least 0 or null"),
        ("classifier__weight_decay", math.nan, "classifier.weight_decay: .nan is not allowed; give a number"),
        ("evaluate__lpips", ["vgg"], "evaluate.lpips[0]: 'vgg' is not allowed; give one of alex, squeeze"),
        ("evaluate__extractors", ["domain"] * 2, "evaluate.extractors: domain stands in the list more than once"),
        ("dataset__name", "../up", "dataset.name: '../up' is not allowed; give lower-case letters"),
        ("cohort__classes", ["No Finding"], "cohort.classes: [No Finding] is not allowed; give a list"),
        ("cohort__classes", ["No Finding", "a/b"], "cohort.classes[1]: 'a/b' is not allowed; give letters"),
        ("cohort", None, "cohort: null is not allowed; give a mapping of keys to values; nothing stands under"),
        ("models__recommended__diffusion__min_snr_gamma", 0, "models.recommended.diffusion.min_snr_gamma: 0.0 is not allowed; give a number, above 0"),
        ("models__recommended__network__channels", [32, 20], "models.recommended.network.channels[1]: 20 is not allowed; give a whole number, at least 8, a multiple of 8"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_shown_with_its_key_and_what_is_allowed(key, value, expected):
    (message,) = problems(changed(**{key: value}))
    assert message.startswith(expected)


@pytest.mark.parametrize("word", ["no", "Off", "true"])
def test_a_class_that_yaml_reads_as_a_truth_value(word):
    config = changed(cohort=yaml.safe_load(f"classes: [No Finding, {word}]"))
    (message,) = problems(config)
    assert message.startswith("cohort.classes[1]:")
    assert message.endswith("put the word in quotes")


def test_a_missing_key_is_named_once_with_its_meaning():
    assert problems({"dataset": {"name": "a", "kind": "phantom"}, "tensors": {}}) == [
        "tensors.size: missing; give a whole number, at least 8, at most 1024 "
        "(Width and height in pixels after reduction)"
    ]
    assert len(problems(changed(samplers__b={}))) == 3


@pytest.mark.parametrize("section", ["models", "samplers", "studies"])
@pytest.mark.parametrize("name", ["Big", "a/b", "..", "", "a b", 3])
def test_names_that_become_paths(section, name):
    config = copy.deepcopy(DEFAULT)
    config[section][name] = next(iter(config[section].values()))
    messages = problems(config)
    assert any(m.startswith(f"{section}: the name") and "becomes a path" in m for m in messages)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dataset__name": "mine\n"}, r"dataset\.name: .*\bgive lower-case letters"),
        ({"models__a\n": DEFAULT["models"]["recommended"]}, "models: the name .* becomes a path"),
        ({"cohort__classes": ["No Finding", "Mass\n"]}, r"cohort\.classes\[1\]: .*\bgive letters"),
        ({"weights__xrv": {"path": "a", "sha256": "0" * 64 + "\n"}}, r"weights\.xrv\.sha256: "),
    ],
)
def test_a_line_break_at_the_end_is_refused(changes, expected):
    with pytest.raises(InputError, match=f"(?s){expected}"):
        load(changed(**changes))


def test_all_problems_come_together():
    config = changed(device="gpu", split__fractions={"train": 0.5, "val": 0.1, "test": 0.1})
    config["deviec"] = "cpu"
    config["studies"]["augmentation"]["reference"] = "none"
    found = [message.split(":")[0] for message in problems(config)]
    assert found == ["deviec", "device", "split.fractions", "studies.augmentation.reference"]


# -- keys together ---------------------------------------------------------------------------------

SHA = "0" * 64
RULES = {
    "fractions sum to 1": (
        {"split__fractions": {"train": 0.8, "val": 0.1, "test": 0.2}},
        r"split\.fractions: .* sum to 1\.1;",
    ),
    "official needs its lists": (
        {"split__method": "official", "split__test_list": "test_list.txt"},
        r"split\.train_val_list: missing; method official",
    ),
    "folder needs images": (
        {"dataset__kind": "folder", "dataset__folder": {"labels": "a.csv"}},
        r"dataset\.folder\.images: missing; kind folder",
    ),
    "dicom needs labels": (
        {"dataset__kind": "dicom", "dataset__folder": {"images": "a"}},
        r"dataset\.folder\.labels: missing; kind dicom",
    ),
    "nih_dir without nih": ({"nih_dir": "/data"}, r"nih_dir: only kind nih .* is phantom;"),
    "more archives than patients": (
        {"dataset__phantom__patients": 3, "dataset__phantom__archives": 4},
        r"dataset\.phantom\.archives: 4 archives .* 3 patients",
    ),
    "enlarged phantoms": ({"tensors__size": 256}, r"tensors\.size: 256 would enlarge"),
    "unknown class": (
        {"cohort__classes": ["No Finding", "Effusions"]},
        r"cohort\.classes\[1\]: unknown finding 'Effusions'; did you mean Effusion\?",
    ),
    "NIH's spelling": (
        {"cohort__classes": ["No Finding", "Pleural_Thickening"]},
        r"did you mean Pleural Thickening\?",
    ),
    "class twice": (
        {"cohort__classes": ["No Finding", "No Finding"]},
        r"cohort\.classes\[1\]: 'No Finding': it stands in the list already",
    ),
    "classes with one path": (
        {"cohort__classes": ["No Finding", "no_finding"]},
        r"cohort\.classes\[1\]: 'no_finding': the same as 'No Finding'",
    ),
    "size and levels": (
        {"tensors__size": 68},
        r"tensors\.size: 68 is not divisible by 8, .* models\.recommended",
    ),
    "attention level": (
        {"models__recommended__network__attention_levels": [2, 3]},
        r"models\.recommended\.network\.attention_levels: 3 is no index into the 3 channels",
    ),
    "epsilon with zero terminal SNR": (
        {"models__recommended__diffusion__prediction": "epsilon"},
        r"models\.recommended\.diffusion: .* undefined: the last step holds nothing but noise",
    ),
    "warm-up": (
        {"models__recommended__training__steps": 100},
        r"models\.recommended\.training\.warmup_steps: 100 leaves nothing of the 100",
    ),
    "sampler steps": (
        {"models__recommended__diffusion__timesteps": 50, "samplers__dpm20__steps": 51},
        r"samplers\.dpm20\.steps: 51 .* the 50 timesteps of models\.recommended",
    ),
    "guidance without the null class": (
        {"models__recommended__training__label_dropout": 0},
        r"samplers\.dpm20\.guidance: 2 needs the unconditional model",
    ),
    "more shards than images": (
        {"samplers__dpm20__per_class": 20, "samplers__dpm20__shards": 21},
        r"samplers\.dpm20\.shards: 21 jobs for 20 images",
    ),
    "extractor without weights": (
        {"evaluate__extractors": ["domain", "inception"]},
        r"weights\.inception: missing; evaluate\.extractors names inception\. Write .*sha256",
    ),
    "lpips without weights": (
        {"evaluate__lpips": ["squeeze"], "weights": {"alex": {"path": "a", "sha256": SHA}}},
        r"weights\.squeeze: missing; evaluate\.lpips names squeeze",
    ),
    "weights from nowhere": (
        {"weights": {"xrv": {"sha256": SHA}}},
        r"weights\.xrv: missing; give a url or a path",
    ),
    "study without its model": (
        {"studies__augmentation__model": "other"},
        r"studies\.augmentation\.model: 'other' is not among the models \(recommended\)",
    ),
    "study without its sampler": (
        {"studies__augmentation__sampler": "other"},
        r"studies\.augmentation\.sampler: 'other' is not among the samplers \(dpm20\)",
    ),
    "reference that is no arm": (
        {"studies__augmentation__reference": "x"},
        r"studies\.augmentation\.reference: 'x' is not among the arms \(real, real\+0\.25",
    ),
    "primary arm that is no arm": (
        {"studies__augmentation__primary__arm": "x"},
        r"studies\.augmentation\.primary\.arm: 'x' is not among the arms",
    ),
    "primary arm that is the reference": (
        {"studies__augmentation__primary__arm": "real"},
        r"studies\.augmentation\.primary\.arm: 'real' is not among the arms",
    ),
    "reference with synthetic images": (
        {"studies__augmentation__reference": "real+0.25"},
        r"studies\.augmentation\.reference: the arm real\+0\.25 has synthetic 0\.25;",
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_keys_that_do_not_fit_together(rule):
    changes, expected = RULES[rule]
    (message,) = problems(changed(**changes))
    assert re.search(expected, message), message


@pytest.mark.parametrize(
    "changes",
    [
        {"split__method": "official", "split__test_list": "a", "split__train_val_list": "b"},
        {"dataset__kind": "folder", "dataset__folder": {"images": "a", "labels": "b"},
         "cohort__classes": ["No Finding", "Tuberculosis"]},
        {"dataset__kind": "nih", "nih_dir": "/data", "tensors__size": 256},
        {"models__recommended__diffusion": {"prediction": "epsilon", "zero_terminal_snr": False}},
        {"models__recommended__training__label_dropout": 0, "samplers__dpm20__guidance": 1},
        {"evaluate__lpips": ["alex"], "weights": {"alex": {"url": "https://a/b", "sha256": SHA}}},
        {"samplers__dpm20__steps": 1000},
    ],
)  # fmt: skip
def test_keys_that_fit_together(changes):
    load(changed(**changes))


# -- anything at all -------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 3), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(KEYS), ANYTHING)
def test_any_value_is_taken_or_refused(path, value):
    config = copy.deepcopy(DEFAULT)
    section = config
    for name in path[:-1]:
        section = section[next(iter(section)) if name == "*" else name]
    section[path[-1]] = value
    try:
        loaded = load(config)
    except InputError as error:
        assert len(str(error).splitlines()) > 1
    else:
        assert load(loaded) == loaded
