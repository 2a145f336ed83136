"""Which floating-point format to compute in."""

import torch


def wants_bf16(precision: str, device: torch.device) -> bool:
    """Decide `auto`: bf16 where the hardware multiplies in it, for elsewhere it is slower.

    Parameters
    ----------
    precision : "auto", "fp32" or "bf16"
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def use_tf32() -> None:
    """Let a GPU multiply what stays float32 beside bf16 in TF32, which has more digits than bf16."""
    torch.set_float32_matmul_precision("high")
