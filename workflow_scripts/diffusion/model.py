"""A trained model: its network, its process, and the conditions that it knows."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import REMAKE
from workflow_scripts.diffusion.conditions import Conditions
from workflow_scripts.diffusion.degradation import Degradation, make_degradation
from workflow_scripts.diffusion.network import Network, beside, given_channels, network_of
from workflow_scripts.diffusion.process import Level, Process, make_process

# The two files of a folder in diffusers' layout.
CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"


@dataclass
class Model:
    """What is needed to ask for images.

    Attributes
    ----------
    facts : contents of model.json, which training writes
    """

    network: Network
    process: Process
    conditions: Conditions
    facts: dict

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return next(self.network.parameters()).device

    @property
    def image_size(self) -> int:
        """Height and width of images in pixels."""
        return self.facts["image_size"]

    @property
    def channels(self) -> int:
        """Channels of images."""
        return self.facts["channels"]

    @property
    def bits(self) -> int:
        """Depth of the images that it learned from: 8 or 16."""
        return self.facts["bits"]

    @property
    def degradation(self) -> Degradation | None:
        """What the image that the model is given has gone through; None: it is given none."""
        return make_degradation(self.facts["given"])

    def denoise(self, x: Tensor, level: Level, c: Tensor, given: Tensor | None = None) -> Tensor:
        """Return the expected x_0 of images at a level: see `Process.denoise`.

        Parameters
        ----------
        given : the degraded images, shaped as x, where the network is given them
        """
        return self.process.denoise(beside(self.network, given), x, level, c, given)


def load_model(
    folder: str | Path, device: torch.device | str = "cpu", weights: str | Path | None = None
) -> Model:
    """Load a trained model, ready to evaluate.

    Parameters
    ----------
    folder : of model.json and unet/, as training and export leave them
    device : where to compute
    weights : other weights than those of unet/: a file of ema/

    Raises
    ------
    InputError
        If a file is missing, damaged, or does not fit the others.
    """
    folder, device = Path(folder), torch.device(device)
    path = folder / "model.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        size, conditions = facts["image_size"], Conditions(facts["conditions"])
        process = make_process(facts["diffusion"], size, facts["sigma_data"], device)
        channels, given = facts["channels"], given_channels(facts)
        make_degradation(facts["given"])
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing, so {folder} holds no model. Name the folder of a trained or "
            "exported model, such as results/phantom/models/recommended."
        ) from None
    except (ValueError, TypeError, LookupError, AttributeError, InputError) as error:
        raise InputError(f"{path} does not describe a model ({error!r}). {REMAKE}") from None
    if weights is None:
        network = load_network(folder / "unet", device, channels)
    else:
        network = reweighted(facts, conditions, Path(weights)).to(device)
    found = (network.image_size, network.width, network.given)
    if found != (size, conditions.width, given):
        raise InputError(
            f"{path} describes images of {size} pixels, {conditions.width} columns of conditions "
            f"and {given} channels of a given image, but the network beside it takes {found[0]}, "
            f"{found[1]} and {found[2]}: they are of different models. {REMAKE}"
        )
    if device.type == "cuda":
        network.to(memory_format=torch.channels_last)
    return Model(network, process, conditions, facts)


def load_network(
    folder: str | Path, device: torch.device | str = "cpu", channels: int = 1
) -> Network:
    """Load a trained network, ready to evaluate, from a folder in diffusers' layout.

    Parameters
    ----------
    channels : of the images that it says something about

    Raises
    ------
    InputError
        If the folder holds no network, a damaged one, or one that `build_network` did not make.
    """
    folder = Path(folder)
    try:
        unet = UNet2DModel.from_config(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        unet.load_state_dict(load_file(folder / WEIGHTS))
        network = Network(unet, channels)
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{folder} holds no model that can be loaded ({reason}). {REMAKE}"
        ) from None
    return network.to(device).eval().requires_grad_(False)


def reweighted(facts: dict, conditions: Conditions, weights: Path) -> Network:
    """Return the network that `facts` describes with the weights of a safetensors file."""
    try:
        # Without storage: the weights follow, and no random number is drawn.
        with torch.device("meta"):
            network = network_of(facts, conditions)
        network.load_state_dict(load_file(weights), assign=True)
    except (OSError, LookupError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{weights} holds no weights of this model ({reason}). {REMAKE}") from None
    return network.eval().requires_grad_(False)


def load_guide(
    folder: str | Path, autoguidance: str | None, device: torch.device | str = "cpu"
) -> Model | None:
    """Load the worse model that autoguidance leads away from, if any (Karras et al. 2024).

    Parameters
    ----------
    folder : of the model that is guided
    autoguidance : configuration entry of a sampler: None, `early` for an average of the model's
        own weights from the beginning of its training, or the name of the model's neighbour
    """
    folder = Path(folder)
    if autoguidance is None:
        return None
    if autoguidance == "early":
        return load_model(folder, device, weights=folder / "ema" / "early.safetensors")
    return load_model(folder.parent / autoguidance, device)
