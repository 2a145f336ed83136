"""Measure training: images per second and peak memory, ours and the peers' side by side.

    .venv/bin/python -m pip install --no-deps --target .venv/peers -r benchmarks/requirements.txt
    .venv/bin/python benchmarks/training_speed.py                          on the CPU, at 64²
    .venv/bin/python benchmarks/training_speed.py --device cuda --network nih-256 --size 256

Each contender (contenders.py) is loaded and warmed up in a process of its own. Then they take
turns: the one whose turn it is trains a block of steps while the others sleep at a pipe, round
after round, so that whatever else the machine does meets all alike. Every block begins with steps
that are not timed, in which data loaders that had time to read ahead lose their lead. A round gives
one ratio of ours to each peer; the table has the median of these ratios and where 80 % of them lie.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError
from multiprocessing.connection import Connection
from pathlib import Path

import contenders
import numpy as np
import pandas as pd
import torch
from common import RESULTS, ROOT, command, hardware, process_memory, table, versions, write_report
from ours import recommended_model
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from workflow_scripts.common.pixels import to_pixels

CONTENDERS = {
    "ours": "**ours**",
    "ours_fp32": "ours in fp32",
    "usual": "usual recipe: PNG files, DataLoader, Lightning",
    "lucidrains": "denoising-diffusion-pytorch, full resolution",
    "lucidrains_patches": "denoising-diffusion-pytorch, fed with patches",
    "monai": "MONAI DiffusionModelUNet",
}
OTHERS = [name for name in CONTENDERS if name != "ours"]
PEERS = ROOT / ".venv" / "peers"


class Turns:
    """The worker's end: called after each training step, it measures, and waits for its turn."""

    def __init__(self, pipe: Connection, device: str):
        self.pipe, self.device = pipe, device
        self.facts: dict = {}
        self.wait()

    def about(self, network: torch.nn.Module, precision: str, **facts: float) -> None:
        """Note what the contender trains, and what else it tells of itself."""
        self.facts = {"parameters": contenders.count(network), "precision": precision, **facts}

    def wait(self) -> None:
        """Sleep until the driver says how many steps to take untimed and timed, or to leave."""
        turn = self.pipe.recv()
        if turn is None:
            cuda = torch.cuda.max_memory_allocated() / 2**20 if self.device == "cuda" else None
            self.pipe.send(self.facts | {"memory": process_memory("VmHWM"), "cuda": cuda})
            raise SystemExit
        self.untimed, self.timed = turn
        self.step = 0

    def now(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def __call__(self) -> None:
        self.step += 1
        if self.step == self.untimed:
            self.start = self.now()
        if self.step == self.untimed + self.timed:
            self.pipe.send(self.now() - self.start)
            self.wait()


def work(name: str, job: contenders.Job, peers: str, pipe: Connection, log: Path) -> None:
    """Be one contender, in a process of its own; what its libraries print goes to `log`."""
    sys.path.append(peers)  # last: what the locked environment holds wins
    with log.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    multiprocessing.set_start_method("fork", force=True)  # as for whoever starts from a shell
    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    getattr(contenders, name)(job, Turns(pipe, job.device))


class Failed(Exception):
    """A contender cannot run here, for instance for want of memory on the GPU."""


class Contender:
    """The driver's end of one worker."""

    def __init__(self, name: str, job: contenders.Job, peers: Path):
        self.name, self.log = name, job.folder / f"{name}.log"
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=work, args=(name, job, str(peers), theirs, self.log))
        self.process.start()
        theirs.close()

    def ask(self, message: tuple[int, int] | None) -> float | dict:
        try:
            self.pipe.send(message)
            return self.pipe.recv()
        except (EOFError, BrokenPipeError):
            lines = self.log.read_text(errors="replace").splitlines()
            print("\n".join([f"{self.name} has failed:", *lines[-30:]]), file=sys.stderr)
            raise Failed(
                f"{CONTENDERS[self.name]}: {lines[-1] if lines else 'no message'}"
            ) from None


def draw_images(job: contenders.Job, count: int) -> None:
    """Write soft shapes with noise, as files for the peers and as the workflow's store for us."""
    random = np.random.default_rng(0)
    coarse = torch.from_numpy(random.uniform(-0.8, 0.8, (count, 1, 6, 6)).astype(np.float32))
    soft = torch.nn.functional.interpolate(coarse, (job.size, job.size), mode="bicubic")
    images = to_pixels(soft + 0.02 * torch.from_numpy(random.standard_normal(soft.shape)))
    classes = np.arange(count) % len(contenders.CLASSES)
    names = np.array(contenders.CLASSES)[classes]
    index = {"shard": "images", "row": np.arange(count), "class_id": classes, "findings": names}
    np.save(job.folder / "images.npy", images)
    pd.DataFrame(index).to_parquet(job.folder / "images.parquet")
    half = job.size // 2
    for kind in ("grey", "patches"):
        (job.folder / kind).mkdir()
    for number, image in enumerate(images):
        name = f"{classes[number]}_{number:05d}.png"
        Image.fromarray(image).save(job.folder / "grey" / name)
        patches = image.reshape(half, 2, half, 2).transpose(0, 2, 1, 3).reshape(half, half, 4)
        Image.fromarray(patches, "RGBA").save(job.folder / "patches" / name)


def compete(job: contenders.Job, names: list[str], peers: Path, given: argparse.Namespace):
    """Train all contenders in turns.

    Returns
    -------
    seconds : per contender that runs, of its timed blocks, float64 (rounds,)
    facts : per contender: parameters, precision, memory and cuda in MB
    failures : of the others, in words
    """
    started, running, failures = [], [], []
    try:
        for name in names:
            print(f"warming up {name}", file=sys.stderr)
            started.append(Contender(name, job, peers))
            try:
                started[-1].ask((given.warm_up, 1))
                running.append(started[-1])
            except Failed as failure:
                failures.append(str(failure))
        seconds = np.empty((given.rounds, len(running)))
        for number in range(given.rounds):
            # Each round begins with another, so that none always follows the same.
            for place in np.roll(np.arange(len(running)), -number):
                seconds[number, place] = running[place].ask((given.untimed, given.block))
            rates = [f"{job.batch_size * given.block / s:.1f}" for s in seconds[number]]
            print(f"round {number + 1} of {given.rounds}, images/s: {rates}", file=sys.stderr)
        facts = {contender.name: contender.ask(None) for contender in running}
        return dict(zip(facts, seconds.T, strict=True)), facts, failures
    finally:
        for contender in started:
            contender.process.join(10)
            contender.process.kill()


def row(name: str, rates: np.ndarray, ratios: np.ndarray, facts: dict) -> list[str]:
    """Return a contender's line; `ratios` are ours to it, one per round."""
    low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9])
    line = [CONTENDERS[name], f"{facts['parameters'] / 1e6:.2f}", facts["precision"]]
    line += [f"{np.median(rates):.1f}"]
    line += ["1" if name == "ours" else f"**{middle:.2f}** ({low:.2f} to {high:.2f})"]
    line += [f"{facts['memory']:.0f}"]
    return line + ([f"{facts['cuda']:.0f}"] if facts["cuda"] is not None else [])


def model_flops(job: contenders.Job) -> int:
    """Count the floating-point operations of one image's forward and backward pass."""
    network = job.network()
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        x, c = torch.empty(1, 1, job.size, job.size), torch.zeros(1, network.width)
        network(x, torch.zeros(1), c).sum().backward()
    return counter.get_total_flops()


def matmul_rate(size: int = 8192, repeats: int = 50) -> float:
    """Measure the card's bf16 matrix products, in floating-point operations per second."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(6):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(repeats):
            a @ b
        torch.cuda.synchronize()
        best = max(best, 2 * size**3 * repeats / (time.perf_counter() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--size", type=int, default=64, help="pixels (64)")
    parser.add_argument("--network", default="config", help="preset to take it from (config.yaml)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--contenders", nargs="+", choices=OTHERS, default=OTHERS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--block", type=int, default=10, help="timed steps of a turn (10)")
    parser.add_argument("--untimed", type=int, help="steps before these (what loaders read ahead)")
    parser.add_argument("--warm-up", type=int, default=10, help="steps after loading (10)")
    parser.add_argument("--images", type=int, default=4096, help="images in the data set (4096)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--loaders", type=int, default=2, help="processes of peers' loaders (2)")
    parser.add_argument("--peers", type=Path, default=PEERS, help="folder of the peers' packages")
    parser.add_argument("--output", type=Path, help="default: training_<device>_<size>.md")
    given = parser.parse_args()

    # Loaders read two batches ahead for each of their processes, one per core in lucidrains' Trainer.
    given.untimed = given.untimed or 2 * max(given.loaders, os.cpu_count()) + 2
    # OpenMP's threads wait as they do by default: they spin for some milliseconds after a parallel
    # region, then sleep at their pipe. Made to sleep at once, all contenders are slower.
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    if given.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    sys.path.append(str(given.peers))
    try:
        installed = versions(
            "torch", "diffusers", "lightning", "denoising-diffusion-pytorch", "monai"
        )
    except PackageNotFoundError as error:
        parser.error(f"{given.peers} does not hold {error.name}; install the peers as above")
    names = ["ours", *given.contenders]
    model = recommended_model(given.network)
    model["training"]["batch_size"] = given.batch_size
    with tempfile.TemporaryDirectory() as folder:
        job = contenders.Job(
            folder=Path(folder),
            size=given.size,
            batch_size=given.batch_size,
            model=model,
            loaders=given.loaders,
            threads=given.threads,
            device=given.device,
        )
        draw_images(job, given.images)
        seconds, facts, failures = compete(job, names, given.peers.resolve(), given)
    if "ours" not in seconds:
        raise SystemExit(1)
    rates = {name: given.batch_size * given.block / spent for name, spent in seconds.items()}
    header = ["training", "million parameters", "precision", "images/s", "ours is faster by"]
    header += ["peak memory, MB"] + (["peak on the GPU, MB"] if given.device == "cuda" else [])
    rows = [row(name, rate, rates["ours"] / rate, facts[name]) for name, rate in rates.items()]
    making = facts["ours"]["batch_seconds"]
    share = making * given.block / np.median(seconds["ours"])
    remarks = [
        f"`{command()}`: {given.size}² in batches of {given.batch_size}; {given.rounds} rounds of "
        f"{given.block} timed steps after {given.untimed} untimed ones. Images/s is the median; in "
        "brackets is where 80 % of the rounds lie. Memory is that of the training process, without "
        "its loader processes.",
        f"{hardware(given.device)}; {given.threads} threads, {given.loaders} loader processes for "
        f"each peer. {installed}.",
        table(header, rows),
        f"Making a batch of ours (images read, noise and conditions drawn) takes "
        f"{making * 1e3:.2f} ms, **{share:.1%}** of its step.",
    ]
    remarks += [f"Did not run: {failure}." for failure in failures]
    if given.device == "cuda":
        achieved, possible = np.median(rates["ours"]) * model_flops(job), matmul_rate()
        remarks.append(
            f"Ours computes {achieved / 1e12:.0f} TFLOP/s of network, forward and backward; bf16 "
            f"products of 8192² matrices reach {possible / 1e12:.0f} TFLOP/s on this card: "
            f"**{achieved / possible:.0%}**."
        )
    output = given.output or RESULTS / f"training_{given.device}_{given.size}.md"
    write_report(output, f"Training speed: {given.device.upper()}, {given.size}²", *remarks)


if __name__ == "__main__":
    main()
