"""DINOv2 ViT-S/14 (Oquab et al. 2023) as torchvision's vision transformer.

The two differ in names, in LayerScale, which is folded into the layer before it, and in the grid of
positions, which is resampled from the 518 px of the training to 224 px.
"""

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE, PATCH, WIDTH = 224, 14, 384
# The published forward pass asks for a grid larger by this much, against rounding, and takes its
# scale from that.
OFFSET = 0.1
# LayerScale, and the linear layer whose output it multiplies.
SCALED = {"ls1": "attn.proj", "ls2": "mlp.fc2"}
RENAMED = {
    r"^cls_token$": "class_token",
    r"^pos_embed$": "encoder.pos_embedding",
    r"^patch_embed\.proj\.": "conv_proj.",
    r"^norm\.": "encoder.ln.",
    r"^blocks\.(\d+)\.": r"encoder.layers.encoder_layer_\1.",
    r"\.norm([12])\.": r".ln_\1.",
    r"\.attn\.qkv\.": ".self_attention.in_proj_",
    r"\.attn\.proj\.": ".self_attention.out_proj.",
    r"\.mlp\.fc1\.": ".mlp.0.",
    r"\.mlp\.fc2\.": ".mlp.3.",
}


def vision_transformer(state: dict[str, Tensor]) -> nn.Module:
    """Return the network of a published state dict: (n, 3, 224, 224) to class tokens (n, 384).

    Images are in [0, 1], normalised by ImageNet's mean and standard deviation.

    Raises
    ------
    RuntimeError, KeyError
        If an entry is missing, has another shape, or is of another network.
    """
    from torchvision.models import VisionTransformer  # takes longer to load than PyTorch

    network = VisionTransformer(
        image_size=SIZE,
        patch_size=PATCH,
        num_layers=12,
        num_heads=6,
        hidden_dim=WIDTH,
        mlp_dim=4 * WIDTH,
    )
    network.heads = nn.Identity()
    state = dict(state)
    state.pop("mask_token", None)  # stands for hidden patches in training alone
    state["pos_embed"] = resampled(state["pos_embed"])
    for name in [name for name in state if name.endswith(".gamma")]:
        block, scale, _ = name.rsplit(".", 2)
        gamma, layer = state.pop(name), f"{block}.{SCALED[scale]}"
        state[f"{layer}.weight"] = gamma[:, None] * state[f"{layer}.weight"]
        state[f"{layer}.bias"] = gamma * state[f"{layer}.bias"]
    network.load_state_dict({renamed(name): value for name, value in state.items()})
    return network


def renamed(name: str) -> str:
    """Return what torchvision calls an entry of the published state dict."""
    for pattern, replacement in RENAMED.items():
        name = re.sub(pattern, replacement, name)
    return name


def resampled(positions: Tensor) -> Tensor:
    """Return the embedding of the class token and of 16x16 places, of the published 37x37."""
    token, grid = positions[:, :1], positions[:, 1:]
    side = round(grid.shape[1] ** 0.5)
    scale = (SIZE // PATCH + OFFSET) / side
    image = grid.reshape(1, side, side, WIDTH).permute(0, 3, 1, 2)
    smaller = F.interpolate(image, scale_factor=scale, mode="bicubic")
    return torch.cat([token, smaller.flatten(2).transpose(1, 2)], dim=1)
