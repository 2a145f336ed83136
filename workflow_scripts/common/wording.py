"""What feature spaces, pixels and samplers are called wherever a person reads of them."""

from workflow_scripts.common.numbers import setting, things

SPACES = {
    "domain": "our own classifier",
    "inception": "Inception",
    "xrv": "a chest X-ray network",
    "pixels": "pixels",
    "dinov2": "DINOv2",
    "synthetic_trained": "a classifier trained on synthetic images",
    "alex": "AlexNet",
    "squeeze": "SqueezeNet",
}


def space_name(extractor: str) -> str:
    """Return what the features of an extractor are called."""
    return SPACES.get(extractor, extractor)


def pixel_words(channels: int, bits: int) -> str:
    """Return what the values of an image are: "grey, 8 bit", "colour, 8 bit"."""
    kind = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    return f"{kind}, {bits} bit"


def reduced_words(channels: int, bits: int) -> str:
    """Return what is said of a measure that knows 8-bit grey alone, after a comma; or nothing."""
    kind = {1: "", 3: "of the luminance"}.get(channels, "of the mean of the channels")
    depth = "at 8 bit" if bits > 8 else ""
    words = " ".join(filter(None, [kind, depth]))
    return f", {words}" if words else ""


def sampler_words(sampler: dict) -> str:
    """Return how a sampler works, in a line; what is as the process has it is not said.

    Parameters
    ----------
    sampler : configuration section
    """
    words = [sampler["method"], things(sampler["steps"], "step")]
    if "churn" in sampler:
        words.append(f"churn {setting(sampler['churn'])}")
    if sampler["spacing"] != "auto":
        words.append(f"spacing {sampler['spacing']}")
    low, high = sampler["sigma_min"], sampler["sigma_max"]
    if low is not None or high is not None:
        ends = (("from", low), ("to", high))
        known = " ".join(f"{word} {setting(end)}" for word, end in ends if end is not None)
        words.append(f"σ/α {known}")
    return ", ".join([*words, guidance_words(sampler)])


def guidance_words(sampler: dict) -> str:
    """Return how much a sampler is guided, in what and where."""
    if sampler["guidance"] == 1:
        return "no guidance"
    words = f"guidance {setting(sampler['guidance'])}"
    if sampler["guided"]:
        words += f" of {' and '.join(sampler['guided'])}"
    if sampler["autoguidance"]:
        words += f" by a worse model ({sampler['autoguidance']})"
    if sampler["guidance_interval"]:
        low, high = map(setting, sampler["guidance_interval"])
        words += f" where σ/α is above {low} and at most {high}"
    return words


def condition_words(sampler: dict) -> str:
    """Return what a sampler asks for beside the class: "view AP, age 60", or nothing."""
    return ", ".join(f"{name} {setting(value)}" for name, value in sampler["condition"].items())
