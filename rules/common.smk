# Configuration, names and the two parameters that every rule carries.

import json
import os

from snakemake.exceptions import WorkflowError

from workflow_scripts.common.configuration import load
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.fingerprint import ROOT
from workflow_scripts.common.fingerprint import fingerprint as code_of
from workflow_scripts.common.parent import PROCESS

try:
    config = load(config)
except InputError as error:
    raise WorkflowError(str(error)) from None

if not os.access(".snakemake" if os.path.isdir(".snakemake") else ".", os.W_OK):
    raise WorkflowError(
        f"{os.getcwd()} cannot be written, and even a dry run writes there. Give a folder that can "
        "with --directory."
    )

DATA = f"results/{config['dataset']['name']}"
SIZE = config["tensors"]["size"]
TENSORS = f"{DATA}/tensors/{SIZE}"
CLASSES = config["cohort"]["classes"]
# GPUs that a job asks for. The device is a resource, no parameter: whoever moves to another machine
# keeps the models of the first. On the CPU a job asks for none, so that only cores bound how many jobs run.
GPUS = 0 if config["device"] == "cpu" else 1
# Whether expensive products are taken from the cache between workflows and put there. A cluster's
# jobs are not told of --cache, but they see the environment.
if workflow.is_main_process and not workflow.enable_cache:
    os.environ.pop("SNAKEMAKE_OUTPUT_CACHE", None)
CACHE = int("SNAKEMAKE_OUTPUT_CACHE" in os.environ)
os.environ[PROCESS] = str(os.getpid())  # for its steps, which end with it
if workflow.enable_cache and workflow.workflow_settings.cache:
    raise WorkflowError(
        "--cache: name no rules after it. Synthorax keeps what its expensive rules make in a cache "
        "of its own, in the folder that SNAKEMAKE_OUTPUT_CACHE names."
    )


def model_gpus(wildcards):
    """GPUs that train a model together; on the CPU, where processes do, none."""
    return GPUS * config["models"][wildcards.model]["gpus"]


def model_recipe(name):
    """What makes a model: its settings without `gpus`, a resource as the device is."""
    return {k: v for k, v in config["models"][name].items() if k != "gpus"}


def fingerprint(step):
    """The parameter `code` of a rule that runs a step.

    Found per job: a job on a cluster, a Snakemake of its own, then reads no other step's code.
    """
    return lambda wildcards: code_of(step)


def canonical(**sections):
    """One string for a rule's whole configuration: Snakemake compares strings reliably."""
    return json.dumps(sections, sort_keys=True)


def slug(class_name):
    """A class as it stands in a path."""
    return class_name.lower().replace(" ", "_")


SLUGS = [slug(name) for name in CLASSES]
# What is drawn: each model in each way, but no model as its own guide: led away from itself it
# would be unguided, at twice the cost.
PAIRS = [
    (model, sampler)
    for model in config["models"]
    for sampler, settings in config["samplers"].items()
    if settings["autoguidance"] != model
]


def samplers_of(model):
    """The samplers that are applied to a model."""
    return [sampler for name, sampler in PAIRS if name == model]


def of_pairs(pattern):
    """Paths that name a model and a sampler, for each of PAIRS."""
    return [
        path
        for model, sampler in PAIRS
        for path in expand(pattern, model=model, sampler=sampler)
    ]


wildcard_constraints:
    model="[^/]+",
    sampler="[^/]+",
    cls="[^/]+",
    shard="[0-9]+",
