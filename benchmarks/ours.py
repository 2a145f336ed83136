"""The workflow's own training, with its parts in reach of a benchmark."""

from collections.abc import Callable
from pathlib import Path

import torch
from common import ROOT

from workflow_scripts.common.configuration import load
from workflow_scripts.common.precision import wants_bf16
from workflow_scripts.common.seeds import seed_for
from workflow_scripts.diffusion.conditions import Conditions
from workflow_scripts.diffusion.network import build_network
from workflow_scripts.diffusion.process import make_process
from workflow_scripts.training.batches import Batch, Batches, Split
from workflow_scripts.training.checkpoint import Checkpoint
from workflow_scripts.training.loop import train
from workflow_scripts.training.parallel import make_fabric
from workflow_scripts.training.train_diffusion import describe


def recommended_model(preset: str) -> dict:
    """Return the recommended model of a preset, or of config.yaml ("config"), with all defaults."""
    import yaml

    path = ROOT / ("config.yaml" if preset == "config" else f"presets/{preset}.yaml")
    models = load(yaml.safe_load(path.read_text()))["models"]
    return next(model for name, model in models.items() if "recommended" in name)


class Paced:
    """Batches that call `between(step)` before they give the batch of a step."""

    def __init__(self, batches: Batches, between: Callable[[int], object]):
        self.batches, self.between = batches, between

    def __getitem__(self, step: int) -> Batch:
        self.between(step)
        return self.batches[step]


class Ours:
    """One training: built as the step train_diffusion builds it, run by the same loop.

    Parameters
    ----------
    split : images to train on
    model : configuration section of the model
    classes : names of the findings
    device : "cpu" or "cuda"
    precision : configuration entry: auto, fp32 or bf16
    """

    def __init__(
        self, split: Split, model: dict, classes: list[str], device: str, precision: str = "auto"
    ):
        self.settings = model["training"]
        self.facts = describe(split, model, classes)
        where = torch.device(device, 0) if device == "cuda" else torch.device(device)
        self.bf16 = wants_bf16(precision, where)
        self.fabric = make_fabric([where], self.bf16)
        conditions = Conditions(self.facts["conditions"])
        size = self.facts["image_size"]
        torch.manual_seed(seed_for(self.settings["seed"], "weights"))
        self.network = build_network(
            model["network"], size, conditions.width, len(conditions.attributes)
        )
        self.process = make_process(model["diffusion"], size, self.facts["sigma_data"], where)
        self.batches = Batches(split, conditions, self.settings, where)

    def train(
        self,
        steps: int,
        folder: Path,
        between: Callable[[int], object] = lambda step: None,
        observe: Callable[..., object] = lambda *_: None,
    ) -> dict:
        """Train for `steps` and return the last state; the loop spends no time on validation.

        Parameters
        ----------
        folder : for the one checkpoint, at the end
        between : called with the number of steps done before each step
        observe : as of the loop's `train`
        """
        return train(
            self.fabric,
            self.network,
            self.process,
            Paced(self.batches, between),
            self.settings | {"steps": steps},
            Checkpoint(folder, "benchmark", minutes=float("inf")),
            validate=lambda network: 0.0,
            observe=observe,
        )
