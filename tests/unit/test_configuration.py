"""The configuration: what is wrong is said, with the key, and all of it at once."""

import copy
import math
import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from workflow_scripts.common.configuration import load, schema
from workflow_scripts.common.configuration_rules import (
    EDM_RANGE,
    LEAST_SIGNAL,
    PHANTOM_VIEWS,
    noise_range,
)
from workflow_scripts.common.errors import InputError
from workflow_scripts.curate.parse_labels import VIEWS
from workflow_scripts.diffusion.process import EDM, make_process
from workflow_scripts.phantom.population import describe

ROOT = Path(__file__).parents[2]
DEFAULT_TEXT = (ROOT / "config.yaml").read_text(encoding="utf-8")
DEFAULT = yaml.safe_load(DEFAULT_TEXT)
# They follow models and tensors: what a test changes there is wrong for them too.
APPLICATIONS = ("inpainting", "superresolution")


def changed(**changes) -> dict:
    """The default configuration with values put at `a__b__c`; names with dots stand as they are.

    Without the applications but those that are changed.
    """
    config = copy.deepcopy(DEFAULT)
    for name in APPLICATIONS:
        if not any(key.startswith(f"{name}__") for key in changes):
            del config[name]
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


def brought(part: dict) -> dict:
    """The keys that each choice brings, by the key of the choice and the choice."""
    conditions = {
        next((key, choice["const"]) for key, choice in branch["if"]["properties"].items()): branch
        for branch in part.get("allOf", [])
    }
    return {choice: branch["then"]["properties"] for choice, branch in conditions.items()}


def keys(part: dict, path: tuple = ()):
    """Every key of the schema with its part; a mapping of free names continues as `*`."""
    part = reference(part)
    for known in (part.get("properties", {}), *brought(part).values()):
        for name, sub in known.items():
            yield (*path, name), reference(sub)
            yield from keys(sub, (*path, name))
    if isinstance(part.get("additionalProperties"), dict):
        yield from keys(part["additionalProperties"], (*path, "*"))


PROCESSES = brought(schema()["$defs"]["diffusion"])
METHODS = brought(schema()["$defs"]["sampler"])


def at(config: dict, path: tuple):
    """What stands at a path of `keys`, in the first of the named sections that has it."""
    if not path:
        return config
    if not isinstance(config, dict):
        return ...
    first, *rest = path
    sections = config.values() if first == "*" else [config[first]] if first in config else []
    return next((found for s in sections if (found := at(s, tuple(rest))) is not ...), ...)


def named(config: dict, path: tuple) -> tuple:
    """A path of `keys` with, in place of each `*`, the name of the first section that has the rest."""
    if not path:
        return ()
    first, *rest = path
    names = config if first == "*" else [first]
    name = next(name for name in names if at(config[name], tuple(rest)) is not ...)
    return (name, *named(config[name], tuple(rest)))


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
    shown = dict(part for part in keys(schema()) if "properties" not in part[1])
    # Where two processes have a key, that of ddpm stands in the configuration.
    shown |= {
        (*of, "diffusion", name): reference(part)
        for of in (("models", "*"), ("superresolution", "*"), ("denoising", "*", "methods", "*"))
        for name, part in PROCESSES["process", "ddpm"].items()
    }
    shown = {path: part["default"] for path, part in shown.items() if "default" in part}
    assert len(shown) > 60
    differing = {path for path, value in shown.items() if at(DEFAULT, path) not in (..., value)}
    # Named sections have no default entries: the default configuration shows an example of each,
    # and tunes three keys of its small model, whose defaults stand in the comments, and the networks
    # and trainings of its applications, with the weights of the losses that are given an image.
    tuned = {
        path
        for path in differing
        if path[0] != "models" and path[2:3] in (("network",), ("training",))
    }
    assert differing - tuned == {
        ("inpainting",),
        ("inpainting", "*", "sampler", "spacing"),
        ("denoising", "*", "methods", "*", "diffusion", "weighting"),
        ("superresolution", "*", "diffusion", "weighting"),
        ("superresolution",),
        ("models",),
        ("samplers",),
        ("studies",),
        ("denoising",),
        ("readers",),
        ("anomaly",),
        ("models", "*", "network", "dropout"),
        ("models", "*", "training", "learning_rate"),
        ("samplers", "*", "spacing"),
        ("denoising", "*", "patches", "per_image"),
    }
    # The models of superresolution show what is their own; the rest stands with the others.
    absent = {p for p in shown if at(DEFAULT, p) is ... and p[0] != "superresolution"}
    assert {path[-1] for path in absent} == {"churn", "p_mean", "p_std"}, "those of edm"


@pytest.mark.parametrize("choice", [("process", "vp_sde"), ("process", "edm"), ("method", "edm")])
def test_defaults_of_what_the_default_does_not_choose_stand_in_its_comments(choice):
    key, value = choice
    example = yaml.safe_load(re.search(rf"# .*({{{key}: {value}\b.*?}})", DEFAULT_TEXT)[1])
    part = {"process": PROCESSES, "method": METHODS}[key][choice]
    defaults = {name: reference(sub)["default"] for name, sub in part.items()}
    assert example == {key: value} | defaults


def test_every_choice_is_named_in_the_default_or_its_comments():
    for path, part in keys(schema()):
        for choice in part.get("enum", part.get("items", {}).get("enum", [])):
            assert str(choice) in DEFAULT_TEXT, (path, choice)


# -- filling in ------------------------------------------------------------------------------------


def test_least_configuration_gets_every_default():
    config = load({"dataset": {"name": "mine", "kind": "phantom"}, "tensors": {"size": 32}})
    assert config["dataset"]["phantom"] == DEFAULT["dataset"]["phantom"]
    assert config["split"] == DEFAULT["split"]
    assert config["models"] == config["samplers"] == config["studies"] == config["readers"] == {}
    assert config["anomaly"] == {}


def test_named_sections_get_defaults_too():
    study = {"model": "a", "sampler": "b", "reference": "r", "primary": {"arm": "s"}}
    study["arms"] = {"r": {}, "s": {"synthetic": 1}}
    config = load(
        {
            "dataset": {"name": "mine", "kind": "phantom"},
            "tensors": {"size": 32},
            "models": {"a": {"network": {"channels": [8]}, "training": {"steps": 200}}},
            "samplers": {"b": {"method": "ddim", "steps": 5, "per_class": 2}},
            "studies": {"c": study},
            "readers": {"d": {"model": "a", "sampler": "b", "per_class": 2}},
        }
    )
    assert config["models"]["a"]["diffusion"] == DEFAULT["models"]["recommended"]["diffusion"]
    assert config["models"]["a"]["network"]["patch_size"] == 2
    assert config["samplers"]["b"]["shards"] == 1
    assert config["studies"]["c"]["seeds"] == [0, 1, 2]
    assert config["studies"]["c"]["patients"] == 1
    assert config["studies"]["c"]["arms"]["r"] == DEFAULT["studies"]["augmentation"]["arms"]["real"]
    assert config["readers"]["d"] == DEFAULT["readers"]["blinded"] | {
        "model": "a",
        "sampler": "b",
        "per_class": 2,
    }
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


@pytest.mark.parametrize("process", ["ddpm", "vp_sde", "edm"])
def test_a_process_gets_its_own_keys_and_no_other(process):
    config = load(changed(models__recommended__diffusion={"process": process}))
    got = config["models"]["recommended"]["diffusion"]
    own = {name: reference(part)["default"] for name, part in PROCESSES["process", process].items()}
    assert got == {"process": process, "loss": "l2"} | own


def test_only_edm_has_churn():
    config = changed(samplers__edm={"method": "edm", "steps": 18, "per_class": 2})
    samplers = load(config)["samplers"]
    assert samplers["edm"]["churn"] == 40
    assert "churn" not in samplers["dpm20"]


def test_a_set_has_one_order_and_a_list_its_own():
    config = changed(
        models__recommended__conditions=["age", "finding", "view"],
        samplers__dpm20__guided=["age", "finding"],
        cohort__classes=["Effusion", "No Finding", "Atelectasis"],
    )
    loaded = load(config)
    assert loaded["models"]["recommended"]["conditions"] == ["finding", "view", "age"]
    assert loaded["samplers"]["dpm20"]["guided"] == ["finding", "age"]
    assert loaded["cohort"]["classes"] == ["Effusion", "No Finding", "Atelectasis"]


def test_views_are_those_that_a_label_table_may_state():
    views = schema()["$defs"]["sampler"]["properties"]["condition"]["properties"]["view"]["enum"]
    assert set(views) == VIEWS


def test_noise_levels_of_edm_are_those_of_the_process():
    assert EDM.sigma_range == EDM_RANGE


def test_views_of_phantoms_are_those_drawn():
    assert set(describe(patients=40, archives=1, seed=1)["view"]) == set(PHANTOM_VIEWS)


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
@pytest.mark.parametrize("betas", [[1e-12] * 25, [1 - LEAST_SIGNAL ** (1 / 25) * 1.001] * 25])
def test_a_schedule_of_the_least_and_the_most_noise_that_is_allowed_has_levels(
    betas, zero_terminal_snr
):
    settings = {"process": "ddpm", "timesteps": 25, "schedule": "betas", "betas": betas}
    config = load(
        changed(
            models__recommended__diffusion=settings | {"zero_terminal_snr": zero_terminal_snr},
            anomaly={},
        )
    )
    process = make_process(config["models"]["recommended"]["diffusion"], 64, 1.0)
    ratios = [process.level(float(t)).ratio for t in range(25)]
    assert ratios[0] > 0
    assert all(before < now for before, now in pairwise(ratios))
    assert math.isinf(ratios[-1]) == zero_terminal_snr


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


KEYS = sorted(path for path, _ in keys(schema()) if at(DEFAULT, path) is not ...)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KEYS), st.data())
def test_a_typing_error_is_answered_with_the_key_that_was_meant(path, data):
    config = copy.deepcopy(DEFAULT)
    section, (*real, last) = config, named(DEFAULT, path)
    for name in real:
        section = section[name]
    typo = data.draw(st.sampled_from(sorted(neighbours(path[-1]))))
    siblings = {key[-1] for key in KEYS if key[:-1] == path[:-1]} - {path[-1]}
    # A word two edits from another key may mean that one, and three letters mean anything.
    assume(len(path[-1]) > 3)
    assume(typo not in siblings and not siblings & neighbours(typo))
    assume(not any(neighbours(typo) & neighbours(key) for key in siblings))
    section[typo] = section.pop(last, None)
    right, wrong = ".".join([*real, last]), ".".join([*real, typo])
    assert f"{wrong}: unknown key; did you mean {right}?" in problems(config)


def test_a_key_in_the_wrong_place_is_told_its_place():
    (message,) = problems(changed(timesteps=100))
    assert message.startswith("timesteps: unknown key here; it belongs to models.<name>.diffusion")


def test_a_key_like_no_other_is_told_what_there_is():
    (message,) = problems(changed(tensors__zebra=1))
    assert (
        message
        == "tensors.zebra: unknown key; known here: size, channels, bits, max_rejects, max_missing"
    )


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("models__recommended__diffusion", {"process": "edm", "timesteps": 100},
         "models.recommended.diffusion.timesteps: unknown key for process edm; it belongs to process ddpm: remove it, or set process to ddpm"),
        ("models__recommended__diffusion", {"process": "edm", "prediction": "v"},
         "models.recommended.diffusion.prediction: unknown key for process edm; it belongs to process ddpm or vp_sde: remove it, or set process to ddpm"),
        ("models__recommended__diffusion", {"p_mean": -1},
         "models.recommended.diffusion.p_mean: unknown key for process ddpm; it belongs to process edm: remove it, or set process to edm"),
        ("models__recommended__diffusion", {"process": "vp_sde", "prediction": "sample"},
         "models.recommended.diffusion.prediction: 'sample' is not allowed; give one of epsilon, v"),
        ("models__recommended__diffusion", {"process": "vp_sde", "schedul": "cosine"},
         "models.recommended.diffusion.schedul: unknown key; known here: process, loss, resolution_shift, prediction, weighting, min_snr_gamma"),
        # Which keys were meant, nobody knows: they are not complained about.
        ("models__recommended__diffusion", {"process": "edn", "p_mean": -1, "timesteps": 100},
         "models.recommended.diffusion.process: 'edn' is not allowed; give one of ddpm, vp_sde, edm"),
        # A wrong value of a branch does not make its keys unknown.
        ("models__recommended__diffusion", {"timesteps": 5, "prediction": "epsilon"},
         "models.recommended.diffusion.timesteps: 5 is not allowed; give a whole number, at least 25, at most 10000"),
        ("samplers__dpm20__churn", 10,
         "samplers.dpm20.churn: unknown key for method dpm++2m; it belongs to method edm: remove it, or set method to edm"),
        ("churn", 10, "churn: unknown key here; it belongs to samplers.<name>"),
    ],
)  # fmt: skip
def test_a_key_of_another_choice_is_told_whose_it_is(key, value, expected):
    assert problems(changed(**{key: value})) == [expected]


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
        ("evaluate__lpips_pairs", 5, "evaluate.lpips_pairs: unknown key; did you mean evaluate.pairs?"),
        ("evaluate__neighbours", 0, "evaluate.neighbours: 0 is not allowed; give a whole number, at least 1"),
        ("studies__augmentation__patients", 0, "studies.augmentation.patients: 0.0 is not allowed; give a number, above 0, at most 1"),
        ("studies__augmentation__arms__real__classes", "rare", "studies.augmentation.arms.real.classes: 'rare' is not allowed; give all, for synthetic images of every class or a list"),
        ("studies__augmentation__arms__real__order", "first", "studies.augmentation.arms.real.order: 'first' is not allowed; give one of mixed, pretrain"),
        ("studies__augmentation__arms__real__synthetic", -1, "studies.augmentation.arms.real.synthetic: -1.0 is not allowed; give a number, at least 0"),
        ("studies__augmentation__arms__real__augment", True, "studies.augmentation.arms.real.augment: unknown key; did you mean studies.augmentation.arms.real.augmentation?"),
        ("readers__blinded__responses", "", "readers.blinded.responses: '' is not allowed; give text, not empty or null"),
        ("evaluate__lpips", ["vgg"], "evaluate.lpips[0]: 'vgg' is not allowed; give one of alex, squeeze"),
        ("evaluate__extractors", ["domain"] * 2, "evaluate.extractors: domain stands in the list more than once"),
        ("dataset__name", "../up", "dataset.name: '../up' is not allowed; give lower-case letters"),
        ("cohort__classes", ["No Finding"], "cohort.classes: [No Finding] is not allowed; give a list"),
        ("cohort__classes", ["No Finding", "a/b"], "cohort.classes[1]: 'a/b' is not allowed; give letters"),
        ("cohort", None, "cohort: null is not allowed; give a mapping of keys to values; nothing stands under"),
        ("models__recommended__diffusion__min_snr_gamma", 0, "models.recommended.diffusion.min_snr_gamma: 0.0 is not allowed; give a number, above 0"),
        ("models__recommended__conditions", [], "models.recommended.conditions: [] is not allowed; give a list, 1 or more, each one of finding, view, sex, age"),
        ("models__recommended__conditions", ["finding", "race"], "models.recommended.conditions[1]: 'race' is not allowed; give one of finding, view, sex, age"),
        ("models__recommended__conditions", ["finding", "finding"], "models.recommended.conditions: finding stands in the list more than once"),
        ("models__recommended__gpus", 0, "models.recommended.gpus: 0 is not allowed; give a whole number, at least 1"),
        ("models__recommended__training__ema", [0.1], "models.recommended.training.ema: [0.1] is not allowed; give a list, exactly 2, each a number, above 0, below 0.2886"),
        ("models__recommended__training__ema", [0.1, 0.29], "models.recommended.training.ema[1]: 0.29 is not allowed"),
        ("models__recommended__diffusion__betas", [0.1, 1], "models.recommended.diffusion.betas[1]: 1.0 is not allowed; give a number, at least 1e-12, below 1"),
        ("models__recommended__diffusion__betas", [0.0, 0.1], "models.recommended.diffusion.betas[0]: 0.0 is not allowed; give a number, at least 1e-12, below 1"),
        ("samplers__dpm20__sigma_min", 0, "samplers.dpm20.sigma_min: 0.0 is not allowed; give a number, above 0 or null"),
        ("samplers__dpm20__guidance_interval", [-1, 2], "samplers.dpm20.guidance_interval[0]: -1.0 is not allowed; give a number, at least 0"),
        ("samplers__dpm20__condition", {"age": 121}, "samplers.dpm20.condition.age: 121.0 is not allowed; give a number, at least 0, at most 120"),
        ("samplers__dpm20__condition", {"sex": "female"}, "samplers.dpm20.condition.sex: 'female' is not allowed; give one of F, M"),
        ("samplers__dpm20__condition", {"view": "ap"}, "samplers.dpm20.condition.view: 'ap' is not allowed; give one of AP, PA"),
        ("samplers__dpm20__condition", {"veiw": "AP"}, "samplers.dpm20.condition.veiw: unknown key; did you mean samplers.dpm20.condition.view?"),
        ("checkpoint__minutes", 0, "checkpoint.minutes: 0.0 is not allowed; give a number, above 0"),
        ("checkpoint__steps", 0, "checkpoint.steps: 0 is not allowed; give a whole number, at least 1 or null"),
        ("split__folds", 2, "split.folds: 2 is not allowed; give a whole number, at least 3, at most 1000"),
        ("cross_validation", [], "cross_validation: [] is not allowed; give a mapping of keys to values or null"),
        ("cross_validation", {"study": "augmentation", "datasets": ["a", "b"]}, "cross_validation.datasets: [a, b] is not allowed; give a list, 3 or more"),
        ("cross_validation", {"study": "augmentation", "datasets": ["a", "b", "b"]}, "cross_validation.datasets: b stands in the list more than once"),
        ("cohort__labels", "multiple", "cohort.labels: 'multiple' is not allowed; give one of single, multi"),
        ("models__recommended__network__channels", [32, 20], "models.recommended.network.channels[1]: 20 is not allowed; give a whole number, at least 8, a multiple of 8"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_shown_with_its_key_and_what_is_allowed(key, value, expected):
    (message,) = problems(changed(**{key: value}))
    assert message.startswith(expected)


@pytest.mark.parametrize("written", ["{0: No Finding, 1: Mass}", "{'0': No Finding, '1': Mass}"])
def test_values_of_labels_are_numbers_or_texts(written):
    settings = HDF5 | {"findings": yaml.safe_load(written)}
    found = load(changed(**of_kind("hdf5", settings)))["dataset"]["hdf5"]["findings"]
    assert found == {"0": "No Finding", "1": "Mass"}


def test_an_entry_of_files_is_checked_key_by_key():
    settings = HDF5 | {"files": [{"image": "a.h5"}, {"images": "b.h5", "split": "valid"}]}
    assert problems(changed(**of_kind("hdf5", settings))) == [
        "dataset.hdf5.files[0].image: unknown key; did you mean dataset.hdf5.files[0].images?",
        "dataset.hdf5.files[0].images: missing; give text, not empty (The file of the images, "
        "below the folder or in the manifest)",
        "dataset.hdf5.files[1].split: 'valid' is not allowed; give one of train, val, test, null",
    ]


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


@pytest.mark.parametrize("section", ["models", "samplers", "studies", "readers", "anomaly"])
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

NIFTI = {"images": "a", "files": r"(?P<subject>\d+)_(?P<finding>\w+)\.nii"}
BRATS = {
    "images": "a",
    "files": r"(?P<subject>\d+)_(?P<contrast>\w+)\.nii",
    "contrasts": ["t1", "t2"],
    "mask": {"contrast": "seg", "finding": "Effusion"},
}
FILE = {"images": "x.h5", "split": "train"}
TEST_FILE = {"images": "y.h5", "split": "test"}
HDF5 = {"folder": "a", "files": [FILE]}
IDX = {"folder": "a", "files": [{"images": "i", "labels": "l"}]}


def of_kind(kind, settings, **changes):
    """What makes a data set of a kind of the default."""
    return {"dataset__kind": kind, f"dataset__{kind}": settings} | changes


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
    "films of one channel have no colours": (
        {"tensors__channels": 3},
        r"tensors\.channels: 3, and images of kind phantom have 1; give 1",
    ),
    "a folder of files has colours or none": (
        {
            "dataset__kind": "folder",
            "dataset__folder": {"images": "a", "labels": "b"},
            "tensors__channels": 2,
        },
        r"tensors\.channels: 2, and images of kind folder have 1 or 3; give 3",
    ),
    "volumes of as many channels as contrasts": (
        of_kind("nifti", BRATS, tensors__channels=3),
        r"tensors\.channels: 3, and images of kind nifti have 2; give 2",
    ),
    "digits of one channel": (
        of_kind("idx", IDX, tensors__channels=3),
        r"tensors\.channels: 3, and images of kind idx have 1; give 1",
    ),
    "volumes without a folder": (
        of_kind("nifti", NIFTI | {"images": None}),
        r"dataset\.nifti\.images: missing; give the folder",
    ),
    "volumes of nobody known": (
        of_kind("nifti", {"images": "a", "labels": "b", "columns": {"findings": "x"}}),
        r"dataset\.nifti\.files: missing; give how a path names its subject",
    ),
    "no expression": (
        of_kind("nifti", NIFTI | {"files": "(?P<subject>"}),
        r"dataset\.nifti\.files: no regular expression \(",
    ),
    "an expression without a subject": (
        of_kind("nifti", NIFTI | {"files": r"(?P<finding>\w+)"}),
        r"dataset\.nifti\.files: the group subject is missing, .* in several splits",
    ),
    "a group that means nothing": (
        of_kind("nifti", NIFTI | {"files": NIFTI["files"] + "(?P<gz>.gz)?"}),
        r"dataset\.nifti\.files: the group gz means nothing",
    ),
    "contrasts that nothing tells apart": (
        of_kind("nifti", NIFTI | {"contrasts": ["t1"]}),
        r"dataset\.nifti\.contrasts: \[t1\] does not go with the groups of files \(finding, subject\)",
    ),
    "contrasts that nobody named": (
        of_kind(
            "nifti",
            BRATS | {"contrasts": [], "mask": None, "labels": "b", "columns": {"findings": "x"}},
        ),
        r"dataset\.nifti\.contrasts: \[\] does not go with the groups",
    ),
    "a mask that is an image": (
        of_kind(
            "nifti",
            BRATS | {"mask": {"contrast": "t1", "finding": "Effusion"}},
            tensors__channels=2,
        ),
        r"dataset\.nifti\.mask\.contrast: t1 is among the contrasts",
    ),
    "findings from nowhere": (
        of_kind("nifti", BRATS | {"mask": None}, tensors__channels=2),
        r"dataset\.nifti: findings come from nowhere; give one of mask, the group finding of files, columns",
    ),
    "findings from two places": (
        of_kind("nifti", NIFTI | {"labels": "b", "columns": {"findings": "x"}}),
        r"findings come from the group finding of files and columns\.findings; give one of",
    ),
    "columns of no table": (
        of_kind("nifti", NIFTI | {"columns": {"age": "AGE"}}),
        r"dataset\.nifti\.labels: missing; columns\.age names a column of it",
    ),
    "no slices": (
        of_kind("nifti", NIFTI | {"range": [0.5, 0.5]}),
        r"dataset\.nifti\.range: \[0\.5, 0\.5\] is empty",
    ),
    "a window upside down": (
        of_kind("nifti", NIFTI | {"window": [100, -100]}),
        r"dataset\.nifti\.window: \[100\.0, -100\.0\] is empty",
    ),
    "files from nowhere": (
        of_kind("hdf5", HDF5 | {"folder": None}),
        r"dataset\.hdf5\.folder: missing; give the folder of the files, or a manifest",
    ),
    "no files": (of_kind("hdf5", HDF5 | {"files": []}), r"dataset\.hdf5\.files: missing"),
    "images of one name": (
        of_kind("hdf5", HDF5 | {"files": [FILE, {"images": "b/x.hdf5"}]}),
        r"dataset\.hdf5\.files\[1\]\.images: b/x\.hdf5 would give .* those of x\.h5",
    ),
    "subjects that there are none of": (
        of_kind("hdf5", HDF5 | {"own_subjects": True, "files": [FILE | {"subjects": "s.csv"}]}),
        r"dataset\.hdf5\.own_subjects: true says that there are no subjects, and files\[0\]\.subjects",
    ),
    "a window of nothing": (
        of_kind("hdf5", HDF5 | {"window": [1, 1]}),
        r"dataset\.hdf5\.window: \[1\.0, 1\.0\] is empty",
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
    "warm-up": (
        {"models__recommended__training__steps": 100},
        r"models\.recommended\.training\.warmup_steps: 100 leaves nothing of the 100",
    ),
    "more shards than images": (
        {"samplers__dpm20__per_class": 20, "samplers__dpm20__shards": 21},
        r"samplers\.dpm20\.shards: 21 jobs for 20 images",
    ),
    "extractor without weights": (
        {"evaluate__extractors": ["domain", "inception"]},
        r"weights\.inception: missing; evaluate\.extractors names inception\. Write .*sha256",
    ),
    "dinov2 without weights": (
        {"evaluate__extractors": ["pixels", "domain", "dinov2"]},
        r"weights\.dinov2: missing; evaluate\.extractors names dinov2\.",
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
        r"studies\.augmentation\.reference: the arm real\+0\.25 has real true and synthetic 0\.25;",
    ),
    "reference without real images": (
        {"studies__augmentation__reference": "synthetic"},
        r"studies\.augmentation\.reference: the arm synthetic has real false and synthetic 0\.5;",
    ),
    "readers without their model": (
        {"readers__blinded__model": "other"},
        r"readers\.blinded\.model: 'other' is not among the models \(recommended\)",
    ),
    "readers without their sampler": (
        {"readers__blinded__sampler": "other"},
        r"readers\.blinded\.sampler: 'other' is not among the samplers \(dpm20\)",
    ),
    "search without its model": (
        {"anomaly__pathology__model": "other"},
        r"anomaly\.pathology\.model: 'other' is not among the models \(recommended\)",
    ),
    "application without an entry in the report": (
        {"inpainting": {}, "report__applications": ["anomaly", "inpainting"]},
        r"report\.applications\[0\]: inpainting has no entry to show; add one to the section",
    ),
    "healthy class that is no class": (
        {"anomaly__pathology__healthy": "Normal"},
        r"anomaly\.pathology\.healthy: 'Normal' is not among cohort\.classes \(No Finding, ",
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
        of_kind("nifti", BRATS, tensors__channels=2, tensors__bits=16),
        of_kind("hdf5", HDF5 | {"files": [FILE, TEST_FILE]}, tensors__channels=5, split__method="official"),
        of_kind("idx", IDX, cohort__classes=["0", "1"], anomaly={}),
        {"evaluate__lpips": ["alex"], "weights": {"alex": {"url": "https://a/b", "sha256": SHA}}},
        {"samplers__dpm20__steps": 1000},
        {"report__applications": ["anomaly"], "inpainting": {}},
        {"evaluate__extractors": ["pixels", "domain"]},
        {"evaluate__extractors": ["dinov2"], "weights": {"dinov2": {"path": "a", "sha256": SHA}}},
    ],
)  # fmt: skip
def test_keys_that_fit_together(changes):
    load(changed(**changes))


# -- models and samplers: each refusal beside its nearest neighbour that is allowed -----------------

MODEL, SAMPLER = "models__recommended", "samplers__dpm20"
ARM = "studies__augmentation__arms__arm"
INPAINTING, ENLARGING, DENOISING = (
    "inpainting__films",
    "superresolution__films",
    "denoising__films",
)
PAIRS = {
    "healing by a guidance that was not learned": (
        {
            f"{MODEL}__training__label_dropout": 0,
            f"{SAMPLER}__guidance": 1,
        },
        r"anomaly\.pathology\.guidance: 4 needs .* models\.recommended never learns",
        {"anomaly__pathology__guidance": 1},
    ),
    "healing beyond the noise of the betas": (
        {
            f"{MODEL}__diffusion": {
                "schedule": "betas", "timesteps": 25, "betas": [0.1] * 25, "zero_terminal_snr": False
            },
            "anomaly__pathology__levels": [1, 4],
        },
        r"anomaly\.pathology\.levels: 4 is more noise .* models\.recommended end at, 3\.6;",
        {"anomaly__pathology__levels": [1, 3.5]},
    ),
    "healing below the noise of the betas": (
        {
            f"{MODEL}__diffusion": {"schedule": "betas", "timesteps": 25, "betas": [0.1] * 25},
        },
        r"anomaly\.pathology\.levels: 0\.25 is no more noise .*recommended begins at, 0\.333; give more",
        {"anomaly__pathology__levels": [1, 4]},
    ),
    "healing below the noise of the model, which is shifted": (
        {
            f"{MODEL}__diffusion": {"schedule": "sigmoid", "resolution_shift": True},
            "anomaly__pathology__levels": [0.13, 1],
            "tensors__size": 512,
            "dataset__phantom__size": 512,
        },
        r"anomaly\.pathology\.levels: 0\.13 is no more noise .*recommended begins at, 0\.139; give more",
        {f"{MODEL}__diffusion": {"schedule": "cosine", "resolution_shift": True}},
    ),
    "images that cannot be halved": (
        {
            "tensors__size": 63,
            f"{MODEL}__network": {"patch_size": 1, "channels": [32]},
        },
        r"tensors\.size: 63 cannot be halved, as the autoencoder of anomaly\.pathology",
        {"tensors__size": 62},
    ),
    "epsilon with zero terminal SNR": (
        {f"{MODEL}__diffusion__prediction": "epsilon"},
        r"models\.recommended\.diffusion: .* undefined: the last step holds nothing but noise",
        {f"{MODEL}__diffusion__zero_terminal_snr": False},
    ),
    "schedule betas without betas": (
        {f"{MODEL}__diffusion__schedule": "betas", f"{MODEL}__diffusion__timesteps": 25, "anomaly": {}},
        r"models\.recommended\.diffusion\.betas: missing; schedule betas reads 25 numbers",
        {f"{MODEL}__diffusion__betas": [0.1] * 25},
    ),
    "betas of another length": (
        {f"{MODEL}__diffusion__schedule": "betas", f"{MODEL}__diffusion__betas": [0.1] * 25,
         "anomaly": {}},
        r"models\.recommended\.diffusion\.betas: 25 numbers for 1000 timesteps; .* set timesteps",
        {f"{MODEL}__diffusion__timesteps": 25},
    ),
    "betas that leave nothing": (
        {f"{MODEL}__diffusion": {"schedule": "betas", "timesteps": 25, "betas": [0.9] * 25},
         "anomaly": {}},
        r"models\.recommended\.diffusion\.betas: they leave 1e-25 of the signal .* leave 1e-20",
        {f"{MODEL}__diffusion": {"schedule": "betas", "timesteps": 25, "betas": [0.8] * 25}},
    ),
    "betas of a named schedule": (
        {f"{MODEL}__diffusion__betas": [0.01] * 1000},
        r"models\.recommended\.diffusion\.betas: schedule cosine computes its own",
        {f"{MODEL}__diffusion__schedule": "betas"},
    ),
    "min-SNR of absolute errors": (
        {f"{MODEL}__diffusion__loss": "l1", f"{MODEL}__diffusion__weighting": "min_snr"},
        r"models\.recommended\.diffusion\.weighting: min_snr is derived for squared errors .* l1",
        {f"{MODEL}__diffusion__weighting": "none"},
    ),
    "min-SNR of Huber's errors": (
        {f"{MODEL}__diffusion": {"process": "vp_sde", "loss": "huber", "weighting": "min_snr"}},
        r"models\.recommended\.diffusion\.weighting: min_snr .* huber",
        {f"{MODEL}__diffusion": {"process": "edm", "loss": "huber"}},
    ),
    "batch and GPUs": (
        {f"{MODEL}__gpus": 3},
        r"models\.recommended\.training\.batch_size: 32 images .* 3 GPUs; give a multiple of 3",
        {f"{MODEL}__training__batch_size": 33},
    ),
    "averages out of order": (
        {f"{MODEL}__training__ema": [0.1, 0.05]},
        r"models\.recommended\.training\.ema: \[0\.1, 0\.05\] is not in order",
        {f"{MODEL}__training__ema": [0.05, 0.2885]},
    ),
    "one average twice": (
        {f"{MODEL}__training__ema": [0.1, 0.1]},
        r"models\.recommended\.training\.ema: .* two different widths",
        {f"{MODEL}__training__ema": [0.1, 0.11]},
    ),
    "no finding": (
        {f"{MODEL}__conditions": ["view"]},
        r"models\.recommended\.conditions: finding is missing; images are drawn class by class",
        {f"{MODEL}__conditions": ["view", "finding"]},
    ),
    "a model called early": (
        {"models__early": DEFAULT["models"]["recommended"]},
        r"models\.early: the name is taken: autoguidance early",
        {"models": {"recommended": DEFAULT["models"]["recommended"], "earl": DEFAULT["models"]["recommended"]}},
    ),
    "a condition without its column": (
        {"dataset__kind": "folder", "dataset__folder": {"images": "a", "labels": "b"},
         f"{MODEL}__conditions": ["finding", "age"]},
        r"dataset\.folder\.columns\.age: missing; models\.recommended\.conditions names age",
        {"dataset__folder": {"images": "a", "labels": "b", "columns": {"age": "years"}}},
    ),
    "the same of volumes": (
        of_kind("nifti", NIFTI) | {f"{MODEL}__conditions": ["finding", "age"]},
        r"dataset\.nifti\.columns\.age: missing; models\.recommended\.conditions names age",
        {"dataset__nifti": NIFTI | {"labels": "b", "columns": {"age": "years"}}},
    ),
    "a condition that no file states": (
        of_kind("hdf5", HDF5) | {f"{MODEL}__conditions": ["finding", "sex"]},
        r"models\.recommended\.conditions: data of kind hdf5 say nothing of sex; remove it",
        {f"{MODEL}__conditions": ["finding"]},
    ),
    "official splits without a test file": (
        of_kind("hdf5", HDF5) | {"split__method": "official", "split__train_val_list": "t"},
        r"split\.test_list: missing; method official .* train and test among them",
        {"dataset__hdf5": HDF5 | {"files": [FILE, TEST_FILE]}},
    ),
    "official splits that not all files state": (
        of_kind("hdf5", HDF5 | {"files": [FILE, {"images": "y.h5"}]})
        | {"split__method": "official", "split__test_list": "t"},
        r"split\.train_val_list: missing; method official",
        {"dataset__hdf5": HDF5 | {"files": [FILE, {"images": "y.h5", "split": "test"}]}},
    ),
    "the same of DICOM": (
        {"dataset__kind": "dicom", "dataset__folder": {"images": "a", "labels": "b"},
         f"{MODEL}__conditions": ["finding", "view"]},
        r"dataset\.folder\.columns\.view: missing",
        {"dataset__kind": "phantom"},
    ),
    "more steps than time steps": (
        {f"{MODEL}__diffusion__timesteps": 50, f"{SAMPLER}__steps": 51, f"{SAMPLER}__spacing": "auto"},
        r"samplers\.dpm20\.steps: 51 .* the 50 timesteps of models\.recommended",
        {f"{SAMPLER}__spacing": "karras"},
    ),
    "as many steps as time steps": (
        {f"{MODEL}__diffusion__timesteps": 50, f"{SAMPLER}__steps": 51, f"{SAMPLER}__spacing": "trailing"},
        r"samplers\.dpm20\.steps: 51",
        {f"{SAMPLER}__steps": 50},
    ),
    "more steps than time steps, by Heun's method": (
        {f"{MODEL}__diffusion__timesteps": 50, f"{SAMPLER}__steps": 51, f"{SAMPLER}__spacing": "trailing"},
        r"samplers\.dpm20\.steps: 51",
        {f"{SAMPLER}__method": "heun", f"{SAMPLER}__spacing": "auto"},
    ),
    "less noise than EDM has": (
        {f"{MODEL}__diffusion": {"process": "edm"}, f"{SAMPLER}__sigma_min": 0.001},
        r"samplers\.dpm20\.sigma_min: 0\.001 is outside .* models\.recommended, 0\.002 to 80 .* null for 0\.002",
        {f"{SAMPLER}__sigma_min": 0.002},
    ),
    "no noise but the most": (
        {f"{MODEL}__diffusion": {"process": "edm"}, f"{SAMPLER}__sigma_min": 80},
        r"samplers\.dpm20\.sigma_min: 80 is outside",
        {f"{SAMPLER}__sigma_min": 79},
    ),
    "more noise than EDM has": (
        {f"{MODEL}__diffusion": {"process": "edm"}, f"{SAMPLER}__sigma_max": 81},
        r"samplers\.dpm20\.sigma_max: 81 is outside .* null for 80",
        {f"{SAMPLER}__sigma_max": 80},
    ),
    "the same of another process": (
        {f"{MODEL}__diffusion": {"process": "edm"}, f"{SAMPLER}__sigma_max": 0.002},
        r"samplers\.dpm20\.sigma_max: 0\.002 is outside",
        {f"{MODEL}__diffusion": {"process": "vp_sde"}},
    ),
    "a view that no phantom has": (
        {f"{MODEL}__conditions": ["finding", "view"], f"{SAMPLER}__condition": {"view": "LATERAL"}},
        r"samplers\.dpm20\.condition\.view: no phantom film is LATERAL, .* give AP or PA",
        {"dataset__kind": "nih"},
    ),
    "the same view of a phantom": (
        {f"{MODEL}__conditions": ["finding", "view"], f"{SAMPLER}__condition": {"view": "LL"}},
        r"samplers\.dpm20\.condition\.view: no phantom film is LL",
        {f"{SAMPLER}__condition": {"view": "PA"}},
    ),
    "a study of films with further findings": (
        {f"{SAMPLER}__condition": {"findings": ["Cardiomegaly"]}, "cohort__labels": "multi",
         "readers": {}},
        r"studies\.augmentation\.sampler: the images of dpm20 show further findings .* its class alone",
        {"studies": {}},
    ),
    "readers of films with further findings": (
        {f"{SAMPLER}__condition": {"findings": ["Cardiomegaly"]}, "cohort__labels": "multi",
         "studies": {}},
        r"readers\.blinded\.sampler: the images of dpm20 show further findings",
        {"readers": {}},
    ),
    "readers of more than is drawn": (
        {f"{SAMPLER}__per_class": 9, "studies": {}},
        r"readers\.blinded\.per_class: 10 synthetic .* more than the 9 that samplers\.dpm20 draws",
        {"readers__blinded__per_class": 9},
    ),
    "a fold beyond the last": (
        {"split__method": "folds", "split__folds": 3, "split__fold": 3},
        r"split\.fold: 3 is none of the 3 folds, which count from 0; give 0 to 2",
        {"split__fold": 2},
    ),
    "a fold of a split without folds": (
        {"split__fold": 1},
        r"split\.fold: 1 has no effect, since split\.method is stratified; set split\.method to folds",
        {"split__method": "folds"},
    ),
    "cross-validation of no study": (
        {"cross_validation": {"study": "other", "datasets": ["a", "b", "c"]}},
        r"cross_validation\.study: 'other' is not among the studies \(augmentation\)",
        {"cross_validation__study": "augmentation"},
    ),
    "cross-validation that would split a fold anew": (
        {"cross_validation": {"study": "augmentation", "datasets": ["a", "b", "phantom"]}},
        r"cross_validation\.datasets: phantom is .* its split\.method is stratified; give dataset\.name",
        {"dataset__name": "other"},
    ),
    "an arm of nothing": (
        {ARM: {"real": False}},
        r"arms\.arm: real false and synthetic 0 leave nothing to train on",
        {ARM: {"real": False, "synthetic": 0.1}},
    ),
    "pre-training without synthetic images": (
        {ARM: {"order": "pretrain"}},
        r"arms\.arm\.order: pretrain goes from synthetic images to real ones and needs both",
        {ARM: {"order": "pretrain", "synthetic": 0.1}},
    ),
    "pre-training without real images": (
        {ARM: {"order": "pretrain", "synthetic": 0.1, "real": False}},
        r"arms\.arm\.order: pretrain .* or order to mixed",
        {ARM: {"order": "mixed", "synthetic": 0.1, "real": False}},
    ),
    "pre-training on some classes": (
        {ARM: {"order": "pretrain", "synthetic": 0.1, "classes": ["Effusion"]}},
        r"arms\.arm\.order: pretrain .* of \[Effusion\] would show no other class .* to mixed",
        {ARM: {"order": "mixed", "synthetic": 0.1, "classes": ["Effusion"]}},
    ),
    "too few resamples for Holm": (
        {"studies__augmentation__bootstrap": 238},
        r"augmentation\.bootstrap: 238 resamples .* no class of 6 .* give at least 239",
        {"studies__augmentation__bootstrap": 239},
    ),
    "classes of no synthetic images": (
        {ARM: {"classes": ["Effusion"]}},
        r"arms\.arm\.classes: \[Effusion\] does not go with synthetic 0, .* or synthetic above 0",
        {ARM: {"classes": ["Effusion"], "synthetic": 0.1}},
    ),
    "synthetic images of no class": (
        {ARM: {"classes": [], "synthetic": 0.1}},
        r"arms\.arm\.classes: \[\] does not go with synthetic 0\.1, .* classes to all",
        {ARM: {"classes": "all", "synthetic": 0.1}},
    ),
    "a class that is none": (
        {ARM: {"classes": ["Mass"], "synthetic": 0.1}},
        r"arms\.arm\.classes: 'Mass' is not among cohort\.classes \(No Finding, ",
        {ARM: {"classes": ["Pneumonia"], "synthetic": 0.1}},
    ),
    "classes that a classifier never sees": (
        {ARM: {"classes": ["Pneumonia"], "synthetic": 0.1, "real": False}},
        r"arms\.arm\.classes: without real images .* never see No Finding, Atelectasis, .*to all",
        {ARM: {"classes": DEFAULT["cohort"]["classes"], "synthetic": 0.1, "real": False}},
    ),
    "a study of a model that guides": (
        {"models__small": DEFAULT["models"]["recommended"], f"{SAMPLER}__autoguidance": "small",
         "studies__augmentation__model": "small"},
        r"studies\.augmentation\.model: small is the guide of the sampler dpm20",
        {"studies__augmentation__model": "recommended"},
    ),
    "trailing steps without an end of time": (
        {f"{MODEL}__diffusion": {"process": "edm"}, f"{SAMPLER}__spacing": "trailing"},
        r"samplers\.dpm20\.spacing: trailing .* models\.recommended has none \(process edm\)",
        {f"{MODEL}__diffusion": {"process": "vp_sde"}},
    ),
    "noise upside down": (
        {f"{SAMPLER}__sigma_min": 1, f"{SAMPLER}__sigma_max": 1},
        r"samplers\.dpm20\.sigma_min: 1 is not below sigma_max 1",
        {f"{SAMPLER}__sigma_max": 1.5},
    ),
    "empty interval": (
        {f"{SAMPLER}__guidance_interval": [2, 2]},
        r"samplers\.dpm20\.guidance_interval: \[2\.0, 2\.0\] is empty",
        {f"{SAMPLER}__guidance_interval": [0, 2]},
    ),
    "guidance without the null": (
        {f"{MODEL}__training__label_dropout": 0, "anomaly": {}},
        r"samplers\.dpm20\.guidance: 2 needs the unconditional model, which models\.recommended",
        {f"{SAMPLER}__guidance": 1},
    ),
    "guidance 0 without the null": (
        {f"{MODEL}__training__label_dropout": 0, f"{SAMPLER}__guidance": 0, "anomaly": {}},
        r"samplers\.dpm20\.guidance: 0 needs the unconditional model",
        {f"{SAMPLER}__guidance": 1.5, f"{SAMPLER}__autoguidance": "early"},
    ),
    "autoguidance without guidance": (
        {f"{SAMPLER}__guidance": 1, f"{SAMPLER}__autoguidance": "early"},
        r"samplers\.dpm20\.autoguidance: 'early' has no effect, since guidance 1",
        {f"{SAMPLER}__guidance": 1.1},
    ),
    "guided without guidance": (
        {f"{SAMPLER}__guidance": 1, f"{SAMPLER}__guided": ["finding"]},
        r"samplers\.dpm20\.guided: \[finding\] has no effect",
        {f"{SAMPLER}__guided": None},
    ),
    "interval without guidance": (
        {f"{SAMPLER}__guidance": 1, f"{SAMPLER}__guidance_interval": [0.1, 2]},
        r"samplers\.dpm20\.guidance_interval: .* has no effect",
        {f"{SAMPLER}__guidance": 1.1},
    ),
    "guided by a model that hides nothing": (
        {f"{SAMPLER}__guided": ["finding"], f"{SAMPLER}__autoguidance": "early"},
        r"samplers\.dpm20\.guided: autoguidance hides no conditions",
        {f"{SAMPLER}__autoguidance": None},
    ),
    "an unknown guide": (
        {"models__small": DEFAULT["models"]["recommended"], f"{SAMPLER}__autoguidance": "smal"},
        r"samplers\.dpm20\.autoguidance: 'smal' is not among the models \(recommended, small\)",
        {f"{SAMPLER}__autoguidance": "small"},
    ),
    "a model that guides itself": (
        {f"{SAMPLER}__autoguidance": "recommended", "studies": {}, "readers": {}},
        r"samplers\.dpm20\.autoguidance: recommended is the only model",
        {"models__small": DEFAULT["models"]["recommended"]},
    ),
    "a guide that is told less": (
        {"models__small": DEFAULT["models"]["recommended"], f"{SAMPLER}__autoguidance": "small",
         f"{MODEL}__conditions": ["finding", "age"]},
        r"autoguidance: models\.recommended and models\.small .* finding, age and finding:",
        {"models__small": DEFAULT["models"]["recommended"] | {"conditions": ["age", "finding"]}},
    ),
    "guided by what is not known": (
        {f"{SAMPLER}__guided": ["view", "finding"]},
        r"samplers\.dpm20\.guided: models\.recommended knows no view; add view",
        {f"{MODEL}__conditions": ["finding", "view"]},
    ),
    "asked for what is not known": (
        {f"{SAMPLER}__condition": {"view": "AP", "sex": "F"}, f"{MODEL}__conditions": ["finding", "sex"]},
        r"samplers\.dpm20\.condition: models\.recommended knows no view; add view",
        {f"{SAMPLER}__condition": {"sex": "F"}},
    ),
    "further findings of a single-label cohort": (
        {f"{SAMPLER}__condition": {"findings": ["Cardiomegaly"]}, "studies": {}, "readers": {}},
        r"samplers\.dpm20\.condition\.findings: cohort\.labels is single",
        {"cohort__labels": "multi"},
    ),
    "further findings that are no class": (
        {f"{SAMPLER}__condition": {"findings": ["Mass"]}, "cohort__labels": "multi", "studies": {}, "readers": {}},
        r"samplers\.dpm20\.condition\.findings: 'Mass' is no finding of cohort\.classes .*\(Atelectasis, ",
        {f"{SAMPLER}__condition": {"findings": ["Effusion", "Atelectasis"]}},
    ),
    "no finding beside a finding": (
        {f"{SAMPLER}__condition": {"findings": ["No Finding"]}, "cohort__labels": "multi", "studies": {}, "readers": {}},
        r"samplers\.dpm20\.condition\.findings: 'No Finding' is no finding",
        {f"{SAMPLER}__condition": {"findings": ["Effusion"]}},
    ),
    "inpainting by no model": (
        {f"{INPAINTING}__model": "other"},
        r"inpainting\.films\.model: 'other' is not among the models \(recommended\)",
        {f"{INPAINTING}__model": "recommended"},
    ),
    "masks from nowhere": (
        {f"{INPAINTING}__masks__kinds": ["box", "files"]},
        r"inpainting\.films\.masks\.folder: missing; kind files reads the masks there",
        {f"{INPAINTING}__masks__folder": "masks"},
    ),
    "masks that nobody asked for": (
        {f"{INPAINTING}__masks__folder": "masks"},
        r"inpainting\.films\.masks\.folder: nothing is read from it, since kinds has no files",
        {f"{INPAINTING}__masks__kinds": ["files"]},
    ),
    "a way back that is longer than the way": (
        {f"{INPAINTING}__sampler__jump_length": 50},
        r"inpainting\.films\.sampler\.jump_length: 50 levels back .* the 50 steps .* or resamples 1",
        {f"{INPAINTING}__sampler__resamples": 1},
    ),
    "inpainting guided by a model that never hid its conditions": (
        {f"{INPAINTING}__sampler__guidance": 2, f"{MODEL}__training__label_dropout": 0,
         "samplers": {}, "studies": {}, "readers": {}, "anomaly": {}},
        r"inpainting\.films\.sampler\.guidance: 2 needs the unconditional model, which models\.recommended",
        {f"{INPAINTING}__sampler__guidance": 1},
    ),
    "inpainting in more steps than time steps": (
        {f"{INPAINTING}__sampler__steps": 51, f"{MODEL}__diffusion__timesteps": 50,
         f"{INPAINTING}__sampler__spacing": "auto"},
        r"inpainting\.films\.sampler\.steps: 51 steps visit some of the 50 timesteps",
        {f"{INPAINTING}__sampler__steps": 50},
    ),
    "images too small to compare": (
        {f"{INPAINTING}__images": 3, "tensors__size": 8},
        r"tensors\.size: 8 is smaller than the windows in which .*inpainting\.films .* give 11 at least",
        {"tensors__size": 16},
    ),
    "samples too small to compare": (
        {"tensors__size": 8},
        r"tensors\.size: 8 is smaller than the windows in which .*samplers\.dpm20 .* give 11 at least",
        {"tensors__size": 16},
    ),
    "a factor that does not divide the images": (
        {f"{ENLARGING}__factors": [2, 3]},
        r"superresolution\.films\.factors: 3 does not divide tensors\.size 64; give factors that do",
        {f"{ENLARGING}__factors": [2, 8]},
    ),
    "an enlarging network of too many levels": (
        {f"{ENLARGING}__network__channels": [8] * 7},
        r"tensors\.size: 64 is not divisible by 128, .* of superresolution\.films; give a multiple",
        {f"{ENLARGING}__network__channels": [8] * 6},
    ),
    "an enlarging model of undefined objective": (
        {f"{ENLARGING}__diffusion__prediction": "epsilon"},
        r"superresolution\.films\.diffusion: zero_terminal_snr with prediction epsilon is undefined",
        {f"{ENLARGING}__diffusion__zero_terminal_snr": False},
    ),
    "an enlarging model that is never warm": (
        {f"{ENLARGING}__training__warmup_steps": 600},
        r"superresolution\.films\.training\.warmup_steps: 600 leaves nothing of the 600 steps",
        {f"{ENLARGING}__training__warmup_steps": 599},
    ),
    "enlarging in steps that an endless time has not": (
        {f"{ENLARGING}__diffusion": {"process": "edm"}, f"{ENLARGING}__sampler__spacing": "trailing"},
        r"superresolution\.films\.sampler\.spacing: trailing counts time steps",
        {f"{ENLARGING}__sampler__spacing": "auto"},
    ),
    "a denoising network of too many levels": (
        {f"{DENOISING}__patches__size": 63, f"{DENOISING}__network__channels": [8, 16, 32]},
        r"denoising\.films\.patches\.size: 63 is not divisible by \d+, .* of denoising\.films; give a",
        {f"{DENOISING}__patches__size": 64},
    ),
    "patches too small to compare": (
        {f"{DENOISING}__patches__size": 8},
        r"denoising\.films\.patches\.size: 8 is less than the window of SSIM; give 11 or more",
        {f"{DENOISING}__patches__size": 16},
    ),
    "patches that no phantom holds": (
        {f"{DENOISING}__patches__size": 256},
        r"denoising\.films\.patches\.size: no patch of 256 fits .* drawn at 192; give less",
        {"dataset__phantom__size": 256},
    ),
    "a denoising training that is never warm": (
        {f"{DENOISING}__training__steps": 50, f"{DENOISING}__training__warmup_steps": 50},
        r"denoising\.films\.training\.warmup_steps: 50 leaves nothing of the 50 steps",
        {f"{DENOISING}__training__warmup_steps": 49},
    ),
    "a method that is called as what none has touched": (
        {f"{DENOISING}__methods__noisy": {"kind": "nlm"}},
        r"denoising\.films\.methods\.noisy: the name is taken",
        {f"{DENOISING}__methods__noisy": {"kind": "nlm"}, "denoising": {}},
    ),
    "a reference that is no method": (
        {f"{DENOISING}__reference": "bm3d"},
        r"denoising\.films\.reference: 'bm3d' is not among the methods \(nlm, unet, ",
        {f"{DENOISING}__reference": "unet"},
    ),
    "a reference that draws its answers": (
        {f"{DENOISING}__reference": "ddpm"},
        r"denoising\.films\.reference: ddpm draws several answers, .* name a method of kind nlm or",
        {f"{DENOISING}__reference": "unet"},
    ),
    "variances of one name": (
        {f"{DENOISING}__noise__variances": [0.01, 0.010000001]},
        r"denoising\.films\.noise\.variances: \[0\.01, 0\.010000001\] are too near .* six digits",
        {f"{DENOISING}__noise__variances": [0.01, 0.0100001]},
    ),
    "steps of a method that takes none": (
        {f"{DENOISING}__sweep__method": "unet"},
        r"denoising\.films\.sweep\.method: 'unet' is not among the methods of kind diffusion \(ddpm, ",
        {f"{DENOISING}__sweep__method": "guided"},
    ),
    "guidance by 1": (
        {f"{DENOISING}__methods__guided__guidance": 1},
        r"denoising\.films\.methods\.guided\.guidance: 1 is no guidance; give the strategy guided another",
        {f"{DENOISING}__methods__guided__strategy": "concatenation"},
    ),
    "guidance by a denoiser that always saw the noisy image": (
        {f"{DENOISING}__training__label_dropout": 0},
        r"denoising\.films\.methods\.guided\.strategy: guided needs a network that has learned without",
        {f"{DENOISING}__training__label_dropout": 0.2},
    ),
    "guidance of a method that knows none": (
        {f"{DENOISING}__methods__ddpm__guidance": 2},
        r"denoising\.films\.methods\.ddpm\.guidance: 2 has no effect with strategy concatenation; remove",
        {f"{DENOISING}__methods__ddpm__strategy": "guided"},
    ),
    "answers that are all the same": (
        {f"{DENOISING}__methods__matched__sampler": {"method": "ddim"}},
        r"denoising\.films\.methods\.matched\.sampler: ddim goes the same way .* \{method: ddpm\}",
        {f"{DENOISING}__methods__matched__sampler": {"method": "dpm++2m_sde"}},
    ),
    "a sweep over answers that are all the same": (
        {f"{DENOISING}__sweep__method": "matched"},
        r"denoising\.films\.sweep: ddim goes the same way .*methods\.matched \(strategy matched\) would be one;",
        {f"{DENOISING}__sweep__samplers": ["ddpm", "dpm++2m_sde"]},
    ),
    "a match of less noise than there is": (
        {f"{DENOISING}__noise__variances": [1e-6, 0.01]},
        r"denoising\.films\.methods\.matched\.strategy: matched begins .* 0\.002 to 0\.2 times its signal",
        {f"{DENOISING}__noise__variances": [1e-4, 0.01]},
    ),
    "a match at the nearest time step": (
        {f"{DENOISING}__methods__matched__sampler": {"spacing": "trailing"}},
        r"denoising\.films\.methods\.matched\.sampler\.spacing: trailing begins at a time step",
        {f"{DENOISING}__methods__matched__sampler": {"spacing": "karras"}},
    ),
    "a denoiser of undefined objective": (
        {f"{DENOISING}__methods__ddpm__diffusion__prediction": "epsilon"},
        r"denoising\.films\.methods\.ddpm\.diffusion: zero_terminal_snr with prediction epsilon is",
        {f"{DENOISING}__methods__ddpm__diffusion__zero_terminal_snr": False},
    ),
    "answers in more steps than time steps": (
        {f"{DENOISING}__sampler__steps": 60, f"{DENOISING}__methods__ddpm__diffusion__timesteps": 50},
        r"denoising\.films\.methods\.ddpm\.sampler\.steps: 60 steps visit some of the 50 timesteps",
        {f"{DENOISING}__sampler__steps": 50},
    ),
    "answers of an endless time in its steps": (
        {f"{DENOISING}__methods__ddpm__diffusion": {"process": "edm"}, f"{DENOISING}__sampler__spacing": "trailing",
         f"{DENOISING}__sweep__method": "guided", f"{DENOISING}__methods__matched__sampler": {"spacing": "karras"}},
        r"denoising\.films\.methods\.ddpm\.sampler\.spacing: trailing counts time steps",
        {f"{DENOISING}__methods__ddpm__sampler": {"spacing": "karras"}},
    ),
    "a sweep over more steps than time steps": (
        {f"{DENOISING}__sweep__steps": [2, 60], f"{DENOISING}__methods__ddpm__diffusion__timesteps": 50},
        r"denoising\.films\.sweep\.steps: 60 steps visit some of the 50 timesteps of .*methods\.ddpm",
        {f"{DENOISING}__sweep__steps": [2, 50]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", PAIRS)
def test_models_and_samplers_that_do_not_fit_and_those_that_do(rule):
    changes, expected, mended = PAIRS[rule]
    (message,) = problems(changed(**changes))
    assert re.search(expected, message), message
    load(changed(**(changes | mended)))


@pytest.mark.parametrize("alone", ["nlm", "unet", "ddpm"])
def test_a_denoising_study_compares_its_reference_with_something(alone):
    config = changed(denoising__films__reference=alone, denoising__films__sweep__method="ddpm")
    methods = config["denoising"]["films"]["methods"]
    config["denoising"]["films"]["methods"] = {alone: methods[alone]}
    assert problems(config)


@pytest.mark.parametrize(
    ("timesteps", "size", "shift"), [(25, 64, False), (1000, 64, True), (1000, 512, True)]
)
@pytest.mark.parametrize("schedule", ["linear", "cosine", "sigmoid", "betas", "vp_sde", "edm"])
def test_the_range_of_noise_is_that_of_the_process(schedule, timesteps, size, shift):
    diffusion = {"process": "ddpm", "schedule": schedule, "betas": [0.02] * timesteps}
    if schedule in ("vp_sde", "edm"):
        diffusion = {"process": schedule, "p_mean": 0, "p_std": 1}
    diffusion |= {"timesteps": timesteps, "resolution_shift": shift, "zero_terminal_snr": False}
    diffusion |= {"loss": "l2", "prediction": "v", "weighting": "none"}
    least, most = make_process(diffusion, size, 0.5).sigma_range
    assert noise_range(diffusion, size)[0] == pytest.approx(least)
    if schedule == "betas":
        assert noise_range(diffusion, size)[1] == pytest.approx(most)


def test_a_sampler_is_held_against_every_model():
    other = copy.deepcopy(DEFAULT["models"]["recommended"])
    other["training"]["label_dropout"] = 0
    other["diffusion"] = {"process": "edm"}
    config = changed(models__other=other, samplers__dpm20__spacing="trailing")
    config["samplers"]["dpm20"]["condition"] = {"age": 60}
    found = problems(config)
    assert [message.split(":")[0] for message in found] == [
        "samplers.dpm20.condition",
        "samplers.dpm20.spacing",
        "samplers.dpm20.guidance",
        "samplers.dpm20.condition",
    ]
    assert ["models.other" in message for message in found] == [False, True, True, True]


@pytest.mark.parametrize("path", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_preset_loads(path):
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "dataset" not in config:
        sections = DEFAULT | config
        for name, section in config.items():
            sections[name] = DEFAULT[name] | section
        config = sections
    assert load(config)["models"]


def test_the_schedule_study_changes_nothing_but_the_diffusion():
    config = load(yaml.safe_load((ROOT / "presets" / "schedules.yaml").read_text("utf-8")))
    models = config["models"].values()
    for part in ("network", "training", "conditions"):
        assert all(model[part] == next(iter(models))[part] for model in models)
    recipes = [model["diffusion"] for model in models]
    assert all(recipes.count(recipe) == 1 for recipe in recipes)
    assert load(DEFAULT)["models"]["recommended"]["diffusion"] in recipes
    samplers = list(config["samplers"].values())
    assert all(sampler | {"steps": 0} == samplers[0] | {"steps": 0} for sampler in samplers)


# -- anything at all -------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=5),
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
    section, (*parents, last) = config, named(DEFAULT, path)
    for name in parents:
        section = section[name]
    section[last] = value
    try:
        loaded = load(config)
    except InputError as error:
        assert len(str(error).splitlines()) > 1
    else:
        assert load(loaded) == loaded
