"""The workflow on a real SLURM, with the shipped profile: what jobs get, and what they survive."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from tests.cluster.slurm import GPUS, Slurm, until
from tests.cluster.submitting import (
    at_first,
    megabytes,
    minutes,
    planned,
    rule_of,
    site_profile,
)
from tests.workflow.running import Run, artefacts, differing, litter

# What runs beside Snakemake: it takes seconds, or fetches from the network.
LIGHT = {
    "describe_phantom", "parse_labels", "filter_cohort", "split_patients", "check_leaks",
    "join_metadata", "select_images", "plot_training", "collect_samples", "export_model",
    "collect_metrics", "compare_models", "plan_arms", "compose_arm", "plot_study",
    "make_reader_study", "render_report",
}  # fmt: skip
# What goes to the queue.
HEAVY = {
    "draw_phantom", "resize_archive", "list_shards", "train_diffusion", "choose_average",
    "draw_samples", "list_sample_shards", "plot_denoising", "train_domain_classifier",
    "train_on_synthetic", "draw_controls", "extract_features", "measure_distribution",
    "measure_diversity", "measure_condition", "measure_physics", "audit_copies",
    "prove_separation", "train_arm", "summarise_study",
}  # fmt: skip
PATIENCE = 900.0  # seconds for what takes three minutes on a machine of its own
TARGETS = ("all", "comparison", "export", "readers")


@pytest.fixture(scope="module")
def reduced(phantom_config, tmp_path_factory) -> Path:
    """The small configuration with fewer of the trainings that a study is made of."""
    config = yaml.safe_load(phantom_config.read_text())
    study = config["studies"].pop("augmentation")
    study["arms"] = {arm: study["arms"][arm] for arm in ("real", "real+0.2")}
    config["studies"] = {"augmentation": study | {"seeds": [0]}}
    config["evaluate"]["extractors"] = ["domain"]
    path = tmp_path_factory.mktemp("reduced") / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def whole(submit, reduced, tmp_path_factory) -> tuple[Run, Path]:
    """A run of everything, just started; it goes on beside other tests."""
    folder = tmp_path_factory.mktemp("on a cluster") / "a röntgen run"
    profile = site_profile(folder.with_name("profile"))
    return submit(folder, profile, *TARGETS, "--configfile", reduced), folder


@pytest.fixture(scope="module")
def failing(submit, phantom_run, phantom_config, tmp_path_factory) -> tuple[Run, Path]:
    """A run, just started, in which an archive cannot be read."""
    folder = shutil.copytree(phantom_run, tmp_path_factory.mktemp("failing") / "run")
    (folder / "results/phantom/raw/images_001.tar.gz").write_text("no archive")
    profile = site_profile(folder.with_name("profile"), retries=1)
    target = "results/phantom/tensors/16/images_001.npy"
    return submit(folder, profile, target, "--configfile", phantom_config), folder


def end(run: Run) -> int:
    """Wait for the end of a run and return its exit status."""
    return run.process.wait(PATIENCE)


def await_in(run: Run, what: str, condition: Callable[[], object], pause: float = 0.2) -> None:
    """Wait until a condition is true; fails if the run ends before."""

    def met() -> bool:
        if not (found := condition()) and run.process.poll() is not None:
            pytest.fail(f"the run has ended before {what}:\n{run.output[-6000:]}")
        return bool(found)

    until(what, met, PATIENCE, pause)


def own_jobs(slurm: Slurm, run: Run) -> list[dict[str, str]]:
    """Return the jobs that one Snakemake has submitted."""
    return slurm.jobs(JobName=name) if (name := run_id(run)) else []


def run_id(run: Run) -> str:
    """Return what a Snakemake calls its jobs; nothing before it has said so."""
    return "".join(run.output.partition("SLURM run ID: ")[2].split()[:1])


def slurm_log(folder: Path, job: dict[str, str]) -> str:
    """Return the log of a job that failed."""
    (path,) = (folder / ".snakemake/slurm_logs").rglob(f"{job['JobId']}.log")
    return path.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_ends_snakemake_leaves_no_job_in_the_queue(
    slurm, submit, phantom_run, phantom_config, tmp_path, number
):
    folder = shutil.copytree(phantom_run, tmp_path / "cancelled")
    run = submit(
        folder, site_profile(tmp_path / "profile"), "samples",
        "--configfile", phantom_config, "--config", 'samplers={"dpm4": {"seed": 9}}',
    )  # fmt: skip

    def states() -> set[str]:
        return {job["JobState"] for job in own_jobs(slurm, run)}

    await_in(run, "jobs run and wait", lambda: {"RUNNING", "PENDING"} <= states())
    run.signal(number)
    assert end(run) != 0
    if number == signal.SIGKILL:  # as the README says
        slurm.call("scancel", "--name", run_id(run))
    until("no job is left", lambda: not states() & {"RUNNING", "PENDING", "COMPLETING"}, PATIENCE)
    assert "CANCELLED" in states()


class Training:
    """The one training that a run submits, for a test to hold and to harm."""

    def __init__(self, slurm: Slurm, run: Run, folder: Path) -> None:
        self.slurm, self.run = slurm, run
        self.folder = folder / "results/phantom/models/small/checkpoints"
        self.scripts = folder / ".snakemake" / "scripts"
        self.met = 0  # when the last state was written that is known

    @property
    def job(self) -> dict[str, str]:
        """The latest job."""
        return own_jobs(self.slurm, self.run)[-1]

    def last_state(self) -> int:
        return max((path.stat().st_mtime_ns for path in self.folder.glob("[!.]*.pt")), default=0)

    def process(self) -> psutil.Process | None:
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or [""]
            if Path(command[-1]).parent == self.scripts:
                return process
        return None

    def hold(self) -> psutil.Process:
        """Wait until it has saved a new state, and stop its clock there."""
        await_in(self.run, "a state is saved", lambda: self.last_state() > self.met, pause=0.01)
        process = self.process()
        if process is None:
            pytest.fail(f"the training has ended before it was held:\n{self.run.output[-6000:]}")
        process.suspend()
        return process

    def ends(self, *states: str) -> None:
        """Wait until the job is in one of the states."""
        job = self.job["JobId"]
        await_in(self.run, f"{states}", lambda: self.slurm.job(job)["JobState"] in states)
        await_in(self.run, "its process has ended", lambda: self.process() is None)
        self.met = self.last_state()

    def update(self, **changes: object) -> None:
        self.slurm.call(
            "scontrol", "update", f"JobId={self.job['JobId']}",
            *[f"{name}={value}" for name, value in changes.items()],
        )  # fmt: skip


def test_a_training_that_nothing_spares_gives_the_same_model(
    slurm, submit, snakemake, phantom_run, phantom_config, tmp_path, whole, failing
):
    settings = (
        "--configfile", phantom_config, "--config", "device=cpu", 'checkpoint={"steps": 10}',
        'models={"small": {"training": {"steps": 300}}}',
    )  # fmt: skip
    target = "results/phantom/models/small/model.json"
    folder = shutil.copytree(phantom_run, tmp_path / "run")
    profile = site_profile(
        tmp_path / "profile",
        retries=3,
        train_diffusion={"slurm_partition": "spare", "gres": "room:1"},
    )
    run = submit(folder, profile, target, *settings)
    training = Training(slurm, run, folder)
    limits, logs = [], []

    # Warned ahead of its limit, it saves its state and leaves; another attempt follows.
    training.hold()  # SLURM sends SIGCONT ahead of other signals
    limits.append(minutes(training.job["TimeLimit"]))
    warned = training.job
    training.update(EndTime="now+100")
    training.ends("FAILED")
    assert "stopped by SIGURG" in slurm_log(folder, warned)

    # Preempted, then put back by hand: SLURM runs the same job again.
    training.hold()
    second = training.job
    assert second["JobId"] != warned["JobId"]
    limits.append(minutes(second["TimeLimit"]))
    slurm.call("sbatch", "--partition=urgent", "--gres=room:1", "--output=/dev/null", "--wrap=true")
    training.ends("PENDING")
    training.update(StartTime="now")  # SLURM would hold it for two minutes
    training.hold()
    slurm.call("scontrol", "requeue", second["JobId"])
    training.ends("PENDING")
    assert training.job["Restarts"] == "2"
    training.update(StartTime="now")

    # Killed.
    training.hold().kill()
    training.ends("FAILED")
    assert training.job["JobId"] == second["JobId"]

    # Out of time.
    training.hold()
    limits.append(minutes(training.job["TimeLimit"]))
    training.update(EndTime="now")
    training.ends("TIMEOUT")

    training.hold().resume()
    limits.append(minutes(training.job["TimeLimit"]))
    assert end(run) == 0, run.output[-6000:]
    logs = [slurm_log(folder, job) for job in own_jobs(slurm, run)[:-1]]
    assert ["going on from step" in log for log in logs] == [False, True, True]
    first = limits[0]
    assert limits == [first, min(1440, 2 * first), min(1440, 3 * first), min(1440, 4 * first)]
    assert all("gpu" not in job["JOB_GRES"] for job in own_jobs(slurm, run))

    reference = shutil.copytree(phantom_run, tmp_path / "reference")
    snakemake(reference, target, *settings)
    made = artefacts(folder, "phantom/models/small/*.*", "phantom/models/small/ema/*")
    assert len(made) > 5
    assert made == artefacts(reference, "phantom/models/small/*.*", "phantom/models/small/ema/*")


def test_a_job_that_fails_runs_once_per_attempt_and_gets_more_each_time(slurm, failing):
    run, folder = failing
    assert end(run) != 0
    first, second = own_jobs(slurm, run)
    assert first["JobState"] == second["JobState"] == "FAILED"
    assert minutes(second["TimeLimit"]) == 2 * minutes(first["TimeLimit"])
    for job in (first, second):
        assert slurm_log(folder, job).count("damaged or cut short") == 1


def test_the_whole_chain_gives_the_bytes_of_a_local_run(
    slurm, snakemake, phantom_run, reduced, whole, tmp_path
):
    run, folder = whole
    assert end(run) == 0, run.output[-6000:]
    # What the reduced configuration shares with the full one has been made locally already.
    local = shutil.copytree(phantom_run, tmp_path / "local")
    snakemake(local, *TARGETS, "--configfile", reduced)
    assert len(artefacts(folder)) > 80
    assert differing(folder, local) == {}
    assert litter(folder) == []
    done = snakemake(folder, *TARGETS, "-n", "--configfile", reduced)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_every_job_got_what_its_rule_and_the_profile_say_and_gpus_of_its_own(slurm, whole):
    run, folder = whole
    assert end(run) == 0
    records = (folder / "results/phantom/provenance").rglob("*.json")
    assert {json.loads(path.read_text())["rule"] for path in records} == LIGHT | HEAVY
    jobs = own_jobs(slurm, run)
    assert {rule_of(job) for job in jobs} == HEAVY
    assert len({job["Comment"] for job in jobs}) == len(jobs), "a job was submitted twice"
    assert {job["Restarts"] for job in jobs} == {"0"}
    profile = yaml.safe_load((folder.with_name("profile") / "config.yaml").read_text())
    rules = {job.rule: job for job in planned(run.output)}
    for job in jobs:
        rule = rules[rule_of(job)]
        asked = profile["default-resources"] | profile["set-resources"].get(rule.rule, {})
        gpu = rule.resources.get("gpu", "0") != "0"
        assert job["Partition"] == asked["slurm_partition"] == ("gpu" if gpu else "cpu")
        assert minutes(job["TimeLimit"]) == at_first(asked["runtime"])
        assert megabytes(job["MinMemoryNode"]) == at_first(asked["mem_mb"])
        assert int(job["NumCPUs"]) == rule.threads
        assert job.get("TresPerJob") == ("gres:gpu:a100:1" if gpu else None)

    devices = slurm.devices()
    on_gpus = [job for job in jobs if "TresPerJob" in job]
    assert all(devices[job["JobId"]] == "" for job in jobs if job not in on_gpus)
    together = [
        [
            devices[other["JobId"]]
            for other in on_gpus
            if other["StartTime"] <= job["StartTime"] < other["EndTime"]
        ]
        for job in on_gpus
    ]
    assert max(map(len, together)) == GPUS
    for held in together:
        assert sorted(held) == sorted(set(held) & {str(number) for number in range(GPUS)})
