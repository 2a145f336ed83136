# Configuration, names and the two parameters that every rule carries.

import json

from workflow_scripts.common.configuration import load
from workflow_scripts.common.fingerprint import fingerprint

config = load(config)

DATA = f"results/{config['dataset']['name']}"
SIZE = config["tensors"]["size"]
TENSORS = f"{DATA}/tensors/{SIZE}"
CLASSES = config["cohort"]["classes"]


def canonical(**sections):
    """One string for a rule's whole configuration: Snakemake compares strings reliably."""
    return json.dumps(sections, sort_keys=True)


def slug(class_name):
    """A class as it stands in a path."""
    return class_name.lower().replace(" ", "_")
