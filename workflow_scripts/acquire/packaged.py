"""Tables of NIH ChestX-ray14 that torchxrayvision's package carries."""

import gzip
import shutil
from importlib.util import find_spec
from pathlib import Path

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import whole_file


def unpack(name: str, output: str | Path, otherwise: str = "") -> None:
    """Write the table `name` as the package holds it.

    Parameters
    ----------
    otherwise : what to do instead of mending the package, ", or …"

    Raises
    ------
    InputError
        If the package does not hold it.
    """
    # Found, not imported: an import would load PyTorch for nothing.
    package = find_spec("torchxrayvision")
    name = f"{name}.gz"
    source = Path(package.origin).parent / "data" / name if package and package.origin else None
    if source is None or not source.is_file():
        raise InputError(f"torchxrayvision does not hold {name} here; run `make setup`{otherwise}")
    with gzip.open(source) as stream, whole_file(output) as partial, partial.open("wb") as table:
        shutil.copyfileobj(stream, table)
