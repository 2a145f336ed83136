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


def use_tf32(allowed: bool) -> None:
    """Say whether a GPU may multiply float32 in TF32, whose 10 bits of mantissa are more than bf16's 7.

    It may what stays float32 beside bf16. Without bf16, float32 is to be float32; by default
    convolutions are not.
    """
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
