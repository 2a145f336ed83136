"""The page: a template filled in, every value escaped."""

from pathlib import Path

import jinja2
from markupsafe import Markup

from workflow_scripts.common import numbers, wording


def page(template: str | Path, style: str | Path, content: dict) -> str:
    """Fill in a Jinja template; names in `content` become its variables.

    Everything is escaped, whatever the template is called; only `style`, which is ours, is not.
    """
    template = Path(template)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for write in (
        numbers.count,
        numbers.fixed,
        numbers.signed,
        numbers.short,
        numbers.percent,
        numbers.things,
        numbers.setting,
        numbers.split_name,
        wording.sampler_words,
        wording.condition_words,
    ):
        environment.filters[write.__name__] = write
    environment.globals["span"] = numbers.span
    environment.globals["signed_span"] = numbers.signed_span
    environment.tests["known"] = numbers.known
    text = Path(style).read_text(encoding="utf-8")
    return environment.get_template(template.name).render(style=Markup(text), **content)
