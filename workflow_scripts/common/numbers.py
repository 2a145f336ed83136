"""Numbers as they are printed: a true minus sign, thousands apart, a dash for what is unknown."""

import math

UNKNOWN = "–"
MINUS = "−"
DECIMALS = 3


def known(value: float | None) -> bool:
    """Whether there is a number to print."""
    return value is not None and math.isfinite(value)


def count(value: float) -> str:
    """Return 72140 as "72,140"."""
    return f"{int(value):,}"


def fixed(value: float | None, digits: int = DECIMALS) -> str:
    """Return a number with that many decimals."""
    return f"{value:.{digits}f}".replace("-", MINUS) if known(value) else UNKNOWN


def signed(value: float | None, digits: int = DECIMALS) -> str:
    """Return a difference with its sign; what rounds to zero has none."""
    if not known(value):
        return UNKNOWN
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def short(value: float | None) -> str:
    """Return a number of unknown magnitude with three significant digits and no exponent."""
    if not known(value):
        return UNKNOWN
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return fixed(value, min(digits, 6))


def percent(value: float | None) -> str:
    """Return a share as whole percent, kept on one line; what rounds to zero has no sign."""
    if not known(value):
        return UNKNOWN
    whole = round(100 * value)
    return f"{whole}\u00a0%".replace("-", MINUS)


def span(low: float | None, high: float | None, write=fixed) -> str:
    """Return an interval, for example "0.830 to 0.890"."""
    return f"{write(low)} to {write(high)}" if known(low) and known(high) else UNKNOWN


def signed_span(low: float | None, high: float | None, digits: int = DECIMALS) -> str:
    """Return an interval of a difference, for example "−0.012 to +0.020".

    An end that is not 0 is not printed as 0: both get more decimals, up to six.
    """
    while digits < 6 and any(end and known(end) and not round(end, digits) for end in (low, high)):
        digits += 1
    return span(low, high, lambda end: signed(end, digits))


def setting(value: object) -> str:
    """Return a value of the configuration as a person would say it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(setting, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def split_name(split: str) -> str:
    """Return a split's name in full."""
    return {"train": "training", "val": "validation"}.get(split, split)


def things(number: int, noun: str) -> str:
    """Return "1 image", "2 images" or "2 patches"."""
    plural = "es" if noun.endswith("ch") else "s"
    return f"{count(number)} {noun}{'' if number == 1 else plural}"
