"""Another workflow imports this one as a module, with its own configuration, paths and rules."""

import json
import re
import subprocess
import sys

import pytest
import yaml

from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.store import listed

SNAKEFILE = """
configfile: "settings.yaml"

module synthorax:
    snakefile: "{root}/Snakefile"
    config: config["chest"]

use rule * from synthorax as chest_*

module again:
    snakefile: "{root}/Snakefile"
    config: config["children"]
    prefix: "paediatric"

use rule * from again as children_*

rule everything:
    default_target: True
    input:
        "classes.txt",
        "pixels.txt",

rule count_classes:
    input:
        rules.chest_filter_cohort.output.cohort,
    output:
        "classes.txt",
    run:
        import pandas

        counts = pandas.read_parquet(input[0])["class_name"].value_counts()
        counts.sort_index().to_csv(output[0], sep=" ", header=False)

rule weigh_pixels:
    input:
        rules.children_list_shards.output,
    output:
        "pixels.txt",
    shell:
        "wc -c {{input}} > {{output}}"
"""


@pytest.fixture(scope="module")
def importer(root, phantom_config, tmp_path_factory):
    """The folder of a workflow that imports this one twice, and a call of it as its user would."""
    folder = tmp_path_factory.mktemp("importer")
    chest = yaml.safe_load(phantom_config.read_text())
    children = {key: chest[key] for key in ("dataset", "cohort", "split", "tensors")}
    phantom = {"patients": 60, "archives": 1, "size": 64, "seed": 3}
    children["dataset"] = {"name": "children", "kind": "phantom", "phantom": phantom}
    (folder / "settings.yaml").write_text(yaml.safe_dump({"chest": chest, "children": children}))
    (folder / "Snakefile").write_text(SNAKEFILE.format(root=root))

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
            cwd=folder,
            text=True,
            capture_output=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr[-6000:]
        return done.stdout + done.stderr

    return folder, call


def test_it_runs_its_own_target_and_what_that_needs_of_ours(importer, phantom_run):
    folder, call = importer
    call()
    counts = dict(line.rsplit(" ", 1) for line in (folder / "classes.txt").read_text().splitlines())
    assert counts.keys() == {'"No Finding"', "Cardiomegaly", "Effusion"}
    ours = phantom_run / "results" / "phantom"
    theirs = folder / "results" / "phantom"
    for name in ("labels.parquet", "cohort.parquet", "exclusions.parquet"):
        assert sha256_of(theirs / name) == sha256_of(ours / name), name
    assert not (theirs / "tensors").exists(), "nobody asked for pixels"
    assert not (folder / "results" / "children").exists(), (
        "the second module has a place of its own"
    )
    children = folder / "paediatric" / "results" / "children"
    shards = children / "tensors" / "16" / "shards.parquet"
    assert listed([shards]) == [shards.with_name("images_001.npy")]
    record = json.loads((children / "provenance" / "list_shards" / "16.json").read_text())
    assert record["rule"] == "list_shards", "by our name, whatever theirs is"
    assert record["inputs"][0]["path"] == "paediatric/results/children/tensors/16/images_001.npy"
    assert "claims hold" in call("children_audit")
    call("--report", "report.html")
    assert "Synthorax asks" in (folder / "report.html").read_text()
    assert "Nothing to be done" in call("--dry-run")


def test_every_rule_of_ours_can_be_asked_for_under_its_new_name_and_keeps_to_its_place(importer):
    _, call = importer
    plan = call(
        "chest_all", "chest_readers", "chest_export", "children_all", "--dry-run", "--forceall"
    )
    jobs = re.findall(r"^(?:local)?rule (\w+):\n((?: {4}.*\n)*)", plan, re.M)
    rules = {rule for rule, _ in jobs}
    assert rules >= {"chest_draw_samples", "chest_train_arm", "chest_render_report"}
    assert rules >= {"chest_make_reader_study", "chest_export_model", "children_render_report"}
    assert "children_train_diffusion" not in rules, "its configuration names no model"
    for rule, lines in jobs:
        place = "results/phantom/" if rule.startswith("chest_") else "paediatric/results/children/"
        written = re.findall(r"^ {4}(?:output|log|benchmark): (.*)", lines, re.M)
        for path in ", ".join(written).split(", ") if written else []:
            assert path.startswith(place), f"{rule}: {path}"
