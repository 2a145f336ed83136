"""The same bytes wherever it runs: language, time zone, folder names, cores, home, and no terminal."""

import os
import re
import shutil
import sys
from pathlib import Path

from tests.workflow.running import artefacts, differing, finished, litter

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
        # Nowhere to write; Snakemake itself wants a folder for its cache.
        "HOME": "/dev/null",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TMPDIR": str(temporary),
    }
    one_core = (
        sys.executable,
        "-c",
        "import os, sys; os.close(0); os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
        "os.execvp(sys.argv[1], sys.argv[1:])",
    )

    def run(folder: Path, *arguments: str) -> None:
        finished(
            tmp_path / "log", folder, *arguments, "--cores", "1", "--configfile", phantom_config,
            before=one_core, environment=odd,
        )  # fmt: skip

    run(folder, "cohort", "tensors", "train")
    made = artefacts(folder)
    assert {"phantom/cohort.parquet", "phantom/tensors/16/images.parquet"} <= set(made)
    assert "phantom/models/small/unet/diffusion_pytorch_model.safetensors" in made
    # One core adds numbers up in another order than two.
    differ = {name for name in differing(folder, phantom_run) if "/models/" not in name}
    assert differ == set()
    assert litter(folder) == []
    # What is drawn and written for people, of the same numbers; costs are others.
    copy = shutil.copytree(phantom_run, tmp_path / f"{ODD} again")
    pages = ["report/index.html", "readers/blinded/reader_study.html"]

    def texts(run: Path) -> list[str]:
        read = [(run / "results/phantom" / name).read_text(encoding="utf-8") for name in pages]
        return [re.sub(r'<section id="cost">.*?</section>', "", text, flags=re.S) for text in read]

    shown = ("render_report", "make_reader_study", "plot_study", "compare_models", "export_model")
    run(copy, "all", "comparison", "export", "readers", "--forcerun", *shown)
    assert texts(copy) == texts(phantom_run)
    assert differing(copy, phantom_run) == {}
