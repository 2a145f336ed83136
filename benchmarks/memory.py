"""Measure whether training holds its memory: ten thousand steps of a tiny network, sampled on the way.

    .venv/bin/python benchmarks/memory.py

Resident memory (and what PyTorch holds on a GPU) is noted every 250 steps of the workflow's own
loop, its log and its checkpoint among them. The first fifth, in which caches fill, is left out; the
slope of the rest (Theil & Sen, which a single jump does not move) says how much a run of that length
gains. The exit status is 1 if that is more than 1 MB.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import RESULTS, command, hardware, process_memory, table, versions, write_report
from ours import Ours, recommended_model
from scipy.stats import theilslopes

from workflow_scripts.common.store import ImageStore
from workflow_scripts.training.batches import Split

TOLERATED = 1.0  # MB over the whole run
TINY = {"patch_size": 2, "channels": [8, 16], "layers_per_block": 1, "attention_levels": []}


def tiny_training(folder: Path, device: str) -> Ours:
    """Return the training of a tiny network on 256 images of noise, 16²."""
    random = np.random.default_rng(0)
    np.save(folder / "images.npy", random.integers(0, 256, (256, 16, 16), dtype=np.uint8))
    rows = np.arange(256)
    findings = np.array(["No Finding", "Effusion"])[rows % 2]
    index = pd.DataFrame(
        {"shard": "images", "row": rows, "class_id": rows % 2, "findings": findings}
    )
    model = recommended_model("config")
    model["network"] = TINY | {"dropout": 0.1}
    model["training"]["batch_size"] = 8
    split = Split(index, ImageStore(index, [folder / "images.npy"]))
    return Ours(split, model, ["No Finding", "Effusion"], device)


def growth(steps: np.ndarray, megabytes: np.ndarray) -> tuple[float, float, float]:
    """Return how many MB a run of the last step's length gains, with its 95 % interval."""
    kept = steps >= steps[-1] / 5
    slope, _, low, high = theilslopes(megabytes[kept], steps[kept])
    return tuple(float(value * steps[-1]) for value in (slope, low, high))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=250, help="steps between two looks (250)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--output", type=Path, help="default: memory_<device>.md")
    given = parser.parse_args()

    seen = []

    def look(step: int) -> None:
        if step % given.every == 0:
            held = torch.cuda.memory_allocated() / 2**20 if given.device == "cuda" else 0.0
            seen.append((step, process_memory("VmRSS"), held))

    with tempfile.TemporaryDirectory() as folder:
        training = tiny_training(Path(folder), given.device)
        training.train(given.steps, Path(folder), between=look)
        look(given.steps)
    steps, resident, held = np.array(seen).T
    kinds = {"resident": resident} | ({"GPU, allocated": held} if given.device == "cuda" else {})
    rows, flat = [], True
    for name, values in kinds.items():
        gain, low, high = growth(steps, values)
        grows = gain > TOLERATED
        flat &= not grows
        start = values[steps >= steps[-1] / 5][0]
        rows.append(
            [name, f"{start:.1f}", f"{values[-1]:.1f}", f"{gain:+.3f} ({low:+.3f} to {high:+.3f})"]
        )
        rows[-1].append("**grows**" if grows else "flat")
    header = [
        "memory",
        "after a fifth, MB",
        "at the end, MB",
        f"gained in {given.steps:,} steps, MB",
    ]
    write_report(
        given.output or RESULTS / f"memory_{given.device}.md",
        f"Memory over {given.steps:,} training steps",
        f"`{command()}`: a network of {training.facts['parameters']:,} parameters, batches of 8, "
        f"16²; memory noted every {given.every} steps. {hardware(given.device)}. {versions('torch')}.",
        table([*header, f"verdict, at {TOLERATED:g} MB"], rows),
    )
    raise SystemExit(not flat)


if __name__ == "__main__":
    main()
