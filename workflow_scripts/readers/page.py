"""The page of a reader study: one file that says nothing of its images but their pixels."""

import base64
import hashlib
import json
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

# One key per finding; R, S and P have a meaning of their own.
KEYS = "1234567890abcdefghijklmnoqtuvwxyz"
TEMPLATE, STYLE, SCRIPT = "page.html.j2", "style.css", "script.js"


def png(image: np.ndarray) -> bytes:
    """Return an image as an 8-bit PNG without any metadata.

    Nothing is compressed: all images have the same number of bytes, since how well an image can be
    compressed tells how noisy it is.

    Parameters
    ----------
    image : uint8 (height, width), or in colour (height, width, 3)
    """
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, "PNG", compress_level=0)
    return stream.getvalue()


def study_id(pngs: list[bytes], classes: list[str]) -> str:
    """Return 12 digits that name a study by what it shows, in its order, and what it asks."""
    digest = hashlib.sha256(json.dumps(classes).encode())
    for data in pngs:
        digest.update(data)
    return digest.hexdigest()[:12]


def page(
    resources: Path,
    study: str,
    items: Iterable[str],
    pngs: list[bytes],
    classes: list[str],
    phantom: bool,
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    resources : folder of TEMPLATE, STYLE and SCRIPT
    study : its id, under which answers are kept and sent in
    items, pngs : names and images, in the order in which they are shown
    classes : the findings to choose from
    phantom : whether to say that no patient is shown
    """
    style, script = (
        (Path(resources) / name).read_text(encoding="utf-8") for name in (STYLE, SCRIPT)
    )
    images = [
        [item, "data:image/png;base64," + base64.b64encode(data).decode()]
        for item, data in zip(items, pngs, strict=True)
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        style=Markup(style),
        script=Markup(script),
        style_hash=content_hash(style),
        script_hash=content_hash(script),
        study={"id": study, "images": images},
        findings=[(name, KEYS[n : n + 1]) for n, name in enumerate(classes)],
        phantom=phantom,
    )


def content_hash(text: str) -> str:
    """Return the hash by which a content security policy allows an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
