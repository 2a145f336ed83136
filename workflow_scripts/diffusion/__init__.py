"""The diffusion engine. Three lines draw images:

from workflow_scripts.diffusion import draw, load_model
model = load_model("results/phantom/models/recommended")
images = draw(model, finding="Effusion", view="AP", sex="F", age=60, count=16, seed=1)
"""

from importlib import import_module

HOMES = {"Model": "model", "load_model": "model", "sample": "sampler", "draw": "sampler"}
__all__ = list(HOMES)


def __getattr__(name: str):
    # Only when asked for: a step that needs a schedule depends on no sampler, nor waits for one.
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
