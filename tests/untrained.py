"""Models as training leaves them, with random weights."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from workflow_scripts.diffusion.conditions import Conditions
from workflow_scripts.diffusion.network import network_of

NETWORK = {
    "patch_size": 2,
    "channels": [8, 16],
    "layers_per_block": 1,
    "attention_levels": [1],
    "dropout": 0.1,
}
VP = {"loss": "l2", "resolution_shift": False, "weighting": "none", "min_snr_gamma": 5}
DDPM = {
    "process": "ddpm",
    "timesteps": 1000,
    "schedule": "cosine",
    "betas": None,
    "zero_terminal_snr": True,
    "prediction": "v",
} | VP
VP_SDE = {"process": "vp_sde", "prediction": "epsilon"} | VP
EDM = {"process": "edm", "loss": "l2", "p_mean": -1.2, "p_std": 1.2}
CONDITIONS = {
    "finding": ["No Finding", "Effusion", "Pneumonia"],
    "view": ["AP", "PA"],
    "sex": ["F", "M"],
    "age": [0, 20, 40, 60, 80],
}


def untrained(
    folder: Path,
    diffusion: dict = DDPM,
    conditions: dict = CONDITIONS,
    image_size: int = 16,
    seed: int = 0,
    channels: int = 1,
    bits: int = 8,
    given: dict | None = None,
) -> Path:
    """Write the files of a model, and return its folder.

    Its weights are all random, also those that begin as zero, so that all matter.
    """
    known = Conditions(conditions)
    facts = {
        "image_size": image_size,
        "channels": channels,
        "bits": bits,
        "given": given,
        "network": NETWORK,
        "diffusion": diffusion,
        "sigma_data": 0.5,
        "conditions": known.values,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = network_of(facts, known)
        early = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        for parameter in network.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    network.unet.save_pretrained(folder / "unet")
    (folder / "ema").mkdir()
    save_file(early, folder / "ema" / "early.safetensors")
    facts |= {"parameters": sum(part.numel() for part in network.parameters()), "macs": 1}
    (folder / "model.json").write_text(json.dumps(facts))
    return folder
