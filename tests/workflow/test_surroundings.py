"""The same bytes wherever it runs: language, time zone, folder names, cores, home, and no terminal."""

import os
import sys
from pathlib import Path

import pytest

from tests.workflow.running import artefacts, differing, finished, litter

pytestmark = pytest.mark.trial

ODD = '„Röntgen ✓ 胸“ it\'s "so"'


def test_an_odd_folder_on_one_core_of_an_odd_machine_gives_the_same_bytes(
    phantom_run, phantom_config, tmp_path
):
    folder, temporary = tmp_path / ODD, tmp_path / "temporary files"
    if Path("/dev/shm").is_dir() and os.access("/dev/shm", os.W_OK):
        temporary.symlink_to("/dev/shm")  # another file system than that of the results
    else:
        temporary.mkdir()
    odd = {
        "PATH": os.environ["PATH"],
        # Where Python takes the language at its word, that is ASCII.
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "TZ": "Pacific/Kiritimati",  # where it is tomorrow
        "HOME": "/dev/null",
        "TMPDIR": str(temporary),
    }
    one_core = (
        sys.executable,
        "-c",
        "import os, sys; os.close(0); os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
        "os.execvp(sys.argv[1], sys.argv[1:])",
    )
    finished(
        tmp_path / "log",
        folder,
        "cohort",
        "tensors",
        "train",
        "--cores",
        "1",
        "--configfile",
        phantom_config,
        before=one_core,
        environment=odd,
    )
    made = artefacts(folder)
    assert {"phantom/cohort.parquet", "phantom/tensors/16/images.parquet"} <= set(made)
    assert "phantom/models/small/unet/diffusion_pytorch_model.safetensors" in made
    # One core adds numbers up in another order than two.
    differ = {name for name in differing(folder, phantom_run) if "/models/" not in name}
    assert differ == set()
    assert litter(folder) == []
