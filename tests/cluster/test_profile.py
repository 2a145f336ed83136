"""The profile for SLURM as it is shipped: what it must say, and how it plans a run of full size."""

import re
from collections import Counter

import pytest
import yaml

from tests.cluster.submitting import SHIPPED, SITE, planned, site_profile
from tests.workflow.running import ROOT, finished

RULES = {path.name: path.read_text() for path in sorted((ROOT / "rules").glob("*.smk"))}


@pytest.fixture(scope="module")
def profile() -> dict:
    """The profile with the site's lines uncommented."""
    return yaml.safe_load(SITE.sub(r"\1\2", SHIPPED.read_text()))


def test_it_says_what_a_cluster_needs_and_leaves_out_what_does_harm(profile):
    assert profile["slurm-status-command"] == "squeue"  # sacct hangs where nothing is accounted
    assert profile["retries"] >= 1
    assert not [name for name, text in RULES.items() if re.search(r"^\s+retries:", text, re.M)]
    assert not [key for key in profile if "array" in key]
    assert "USR1" not in SHIPPED.read_text()  # it would end Snakemake inside the job
    assert profile["set-resources"]["train_diffusion"]["slurm_extra"] == "'--signal=URG@120'"
    assert all("attempt" in str(profile["default-resources"][key]) for key in ("runtime", "mem_mb"))
    defined = re.findall(r"^\s*rule (\w+):", "".join(RULES.values()), re.M)
    assert set(profile["set-resources"]) <= set(defined)
    default = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())
    assert {key: profile[key] for key in default if key != "resources"} == {
        key: value for key, value in default.items() if key != "resources"
    }


def test_the_full_preset_is_planned_in_jobs_of_sensible_number_and_size(tmp_path):
    said = finished(
        tmp_path / "plan.log", tmp_path, "-n", "--configfile", ROOT / "presets/nih-256.yaml",
        where=("--workflow-profile", site_profile(tmp_path / "profile")),
    )  # fmt: skip
    light = set(
        re.findall(
            r"^ *rule (\w+):\n(?:(?! *rule ).*\n)*? +localrule: True", "".join(RULES.values()), re.M
        )
    )
    jobs = planned(said)
    queued = [job for job in jobs if job.rule not in light | {"all"}]
    number = Counter(job.rule for job in queued)
    assert number["resize_archive"] == 12
    assert number["draw_samples"] == 6 * 50  # of 1000 images each
    assert number["train_arm"] == 3 * 11 * 5
    assert set(number) & {rule for rule, count in number.items() if count > 12} == {
        "draw_samples",
        "train_arm",
        "prove_separation",
    }
    for job in queued:
        gpu = int(job.resources.get("gpu", 0))
        assert job.resources["slurm_partition"] == ("gpu" if gpu else "cpu"), job
        assert job.resources.get("gpu_model") == ("a100" if gpu else None), job
        assert int(job.resources["runtime"]) <= 1440
        assert int(job.resources["mem_mb"]) <= 32_000
