"""Planted attacks: code in files from elsewhere, names as markup, secrets in what is passed on."""

import ast
import io
import json
import os
import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from test_export import PROCESSES, configuration, write_artefacts

from workflow_scripts.acquire.folder import listing
from workflow_scripts.classifier import weights as classifier
from workflow_scripts.common.configuration import load
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.privacy import without_folders
from workflow_scripts.common.runtime import step
from workflow_scripts.common.store import open_array, open_shard
from workflow_scripts.diffusion.model import load_model, reweighted
from workflow_scripts.evaluate.rows import rows_for
from workflow_scripts.export.export_model import export_model
from workflow_scripts.features.extractors import EXTRACTORS
from workflow_scripts.formats.archives import archive_images
from workflow_scripts.metrics.diversity import lpips_network
from workflow_scripts.report.sections import shown_configuration
from workflow_scripts.training.checkpoint import Checkpoint

CPU = torch.device("cpu")
MARKUP = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'; DROP", "{{ 7 * 7 }}"]

# -- what the code may call ------------------------------------------------------------------------

FORBIDDEN_MODULES = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal",
    "torch.hub", "torch.package", "torch.jit", "zipfile",
}  # fmt: skip
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pd.read_pickle",
    "tar.extractall", "tar.extract", "shutil.unpack_archive", "torch.hub.load", "torch.jit.load",
    "np.fromregex", "pd.read_hdf",
}  # fmt: skip


def offences(source: str) -> list[str]:
    """Return what in a module could run code, or write files, that came with data."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            # The name of an error does no harm.
            if {node.module, *names} & FORBIDDEN_MODULES and names != {"pickle.UnpicklingError"}:
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            bad = (
                called in FORBIDDEN_CALLS
                or (called.startswith("yaml.") and "load" in called and called != "yaml.safe_load")
                or (called == "torch.load" and given.get("weights_only") != "True")
                or (
                    called == "np.load"
                    and (len(node.args) > 2 or "True" in given.get("allow_pickle", ""))
                )
                or (called.startswith("subprocess") and "shell" in given)
                or given.get("trust_remote_code", "False") != "False"
                or (called == "jinja2.Environment" and given.get("autoescape") != "True")
                or (
                    called == "Markup"
                    and not re.fullmatch(
                        r"Markup\((style|script|text|style\.read_text\(.*\))\)", ast.unparse(node)
                    )
                )
            )
            if bad:
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import torch.hub",
        "from torch import jit",
        "import joblib",
        "torch.load(path)",
        "torch.load(path, weights_only=trusted)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, None, True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.unsafe_load(text)",
        "tar.extractall(folder)",
        "subprocess.run(command, shell=True)",
        "eval(text)",
        "DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)",
        "jinja2.Environment(loader=loader)",
        "Markup(row['image_id'])",
    ],
)
def test_the_search_finds_what_it_is_for(source):
    assert offences(source)


def test_no_module_runs_what_comes_with_data(root):
    found = {
        (path.relative_to(root).as_posix(), offence)
        for path in sorted((root / "workflow_scripts").rglob("*.py"))
        for offence in offences(path.read_text(encoding="utf-8"))
    }
    allowed = {
        # Of a pickle that is known by its SHA-256.
        ("workflow_scripts/features/extractors.py", "weights_only=not known"),
        # Markdown.
        ("workflow_scripts/export/card.py", "autoescape=False"),
    }
    assert len(found) == len(allowed)
    for (path, offence), (place, words) in zip(sorted(found), sorted(allowed), strict=True):
        assert path == place and words in offence
    rules = "\n".join(path.read_text("utf-8") for path in (root / "rules").glob("*.smk"))
    assert not re.search(r"pickle|eval\(|exec\(|yaml\.load|os\.system", rules)
    for path in (root / "resources").rglob("*.j2"):
        assert not re.search(r"\|\s*safe|autoescape", path.read_text("utf-8")), path


# -- files from elsewhere --------------------------------------------------------------------------


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def bare_pickle(path: Path, harm: Harmful) -> None:
    path.write_bytes(pickle.dumps({"key": harm, "state_dict": harm}, protocol=2))


def torch_file(path: Path, harm: Harmful) -> None:
    torch.save({"key": harm, "features.0.weight": harm}, path)


def old_torch_file(path: Path, harm: Harmful) -> None:
    torch.save({"key": harm}, path, _use_new_zipfile_serialization=False)


def array_of_objects(path: Path, harm: Harmful) -> None:
    with path.open("wb") as stream:
        np.save(stream, np.array([harm, harm], dtype=object), allow_pickle=True)


HARMFUL = [bare_pickle, torch_file, old_torch_file, array_of_objects]


def network_of(path: Path) -> None:
    """Load a model whose weights are the file."""
    (path.parent / "unet").mkdir()
    path.rename(path.parent / "unet" / "diffusion_pytorch_model.safetensors")
    (path.parent / "unet" / "config.json").write_text("{}")
    load_model(path.parent, CPU)


READERS = {
    "checkpoint": lambda path: Checkpoint(path.parent, path.stem).load(),
    "shard": open_shard,
    "array": open_array,
    "features": lambda path: rows_for(path, 2),
    "classifier": lambda path: classifier.load(path, CPU),
    "model": network_of,
    "guide": lambda path: reweighted({}, None, path),
    "lpips": lambda path: lpips_network("squeeze", path),
    **{name: lambda path, kind=kind: kind(path, CPU) for name, kind in EXTRACTORS.items()},
}
del READERS["pixels"]  # reads nothing


@pytest.mark.parametrize("write", HARMFUL)
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_runs_what_a_file_says_and_each_names_the_file(reader, write, tmp_path):
    path, mark = tmp_path / "harmful.pt", tmp_path / "mark"
    write(path, Harmful(mark))
    with pytest.raises(InputError) as caught:
        READERS[reader](path)
    assert not mark.exists()
    assert str(tmp_path) in str(caught.value)


PNG = b"\x89PNG\r\n\x1a\n"
NOT_UTF8 = b"r\xf6ntgen.png".decode("utf-8", "surrogateescape")


def test_a_name_in_another_encoding_is_a_name_in_an_archive(tmp_path):
    with tarfile.open(
        tmp_path / "a.tar.gz", "w:gz", format=tarfile.GNU_FORMAT, errors="surrogateescape"
    ) as tar:
        member = tarfile.TarInfo(NOT_UTF8)
        member.size = len(PNG)
        tar.addfile(member, io.BytesIO(PNG))
    (found,) = archive_images(tmp_path / "a.tar.gz")
    assert found == ("r\\xf6ntgen.png", "r\\xf6ntgen.png", PNG)


@pytest.mark.parametrize("name", [NOT_UTF8, "a\nb.png", "a\x1b[2Jb.png"])
def test_a_name_that_is_no_plain_text_is_refused_in_a_folder(tmp_path, name):
    (tmp_path / name).write_bytes(PNG)
    with pytest.raises(InputError, match=r"no plain text: '.*png'\. Rename it") as caught:
        listing(tmp_path, "folder")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "name", ["Röntgen ä\N{COMBINING DIAERESIS}.png", "a\N{NO-BREAK SPACE}b.png", "胸部.png"]
)
def test_a_name_in_any_language_is_taken_in_a_folder(tmp_path, name):
    (tmp_path / name).write_bytes(PNG)
    assert [file.image_id for file in listing(tmp_path, "folder")] == [name]


@pytest.mark.parametrize("write", HARMFUL)
def test_these_files_do_harm_where_they_are_trusted(write, tmp_path):
    path, mark = tmp_path / "harmful.pt", tmp_path / "mark"
    write(path, Harmful(mark))
    if write is array_of_objects:
        np.load(path, allow_pickle=True)
    elif write is bare_pickle:
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert mark.is_dir()


# -- names as markup -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MARKUP)
@pytest.mark.parametrize("place", ["class", "dataset", "model", "arm", "reader study"])
def test_the_configuration_takes_no_name_that_is_markup(root, name, place):
    config = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))
    match place:
        case "class":
            config["cohort"]["classes"][1] = name
        case "dataset":
            config["dataset"]["name"] = name
        case "model":
            config["models"][name] = config["models"]["recommended"]
        case "arm":
            config["studies"]["augmentation"]["arms"][name] = {"synthetic": 0.5}
        case "reader study":
            config["readers"][name] = config["readers"]["blinded"]
    with pytest.raises(InputError, match="is not allowed"):
        load(config)


def test_the_card_says_nothing_that_a_table_says_of_one_image(tmp_path):
    """Ids come from the data: they may be markup, and they are of patients."""
    numbers = range(180)
    diffusion = next(iter(PROCESSES.values()))
    given = write_artefacts(
        tmp_path / "in",
        diffusion,
        image_id=[f"{number}{MARKUP[number % 4]}.png" for number in numbers],
        patient_id=[f"alice-{number // 3}{MARKUP[number % 4]}" for number in numbers],
    )
    export_model(given, tmp_path / "out", configuration(diffusion, kind="folder"))
    for path in (tmp_path / "out").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert b"alice" not in content, path
        assert not any(text.encode() in content for text in MARKUP), path
        assert str(tmp_path).encode() not in content, path


# -- secrets and folders ---------------------------------------------------------------------------

SECRETS = {
    "nih_dir": "/home/alice-s3cret/films",
    "labels": "~alice-s3cret/labels.csv",
    "images": "../../alice-s3cret/films",
    "windows": "C:\\Users\\alice-s3cret\\films",
    "url": "https://alice-s3cret:s3cret@host.org:8443/weights.pt?token=s3cret&x=1",
    "odd": "https://alice:s3@cret@host.org/weights.pt?sig=a'b)s3cret",
    "signed": "https://host.org/weights.pt#s3cret",
    "local": "file:///home/alice-s3cret/weights.pt",
    "several": [{"path": "/home/alice-s3cret/a.pt"}],
}


def test_a_configuration_is_passed_on_without_folders_passwords_and_tokens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert without_folders(SECRETS) == {
        "nih_dir": "…/films",
        "labels": "…/labels.csv",
        "images": "…/films",
        "windows": "…/films",
        "url": "https://host.org:8443/weights.pt?…",
        "odd": "https://host.org/weights.pt?…",
        "signed": "https://host.org/weights.pt",
        "local": "file://…/weights.pt",
        "several": [{"path": "…/a.pt"}],
    }
    kept = {
        "inside": "films/a.png", "class": "A/B ratio?", "number": 3, "none": None, "on": True,
        "manifest": "resources/nih_archives.tsv", "arm": "real+0.25", "sampler": "dpm++2m",
        "absolute": str(tmp_path / "films"),
    }  # fmt: skip
    assert without_folders(kept) == kept | {"absolute": "films"}


def test_no_secret_stands_in_a_record(job, tmp_path):
    frame = job(
        params={"config": json.dumps(SECRETS)},
        resources={
            "tmpdir": "/scratch/alice-s3cret",
            "slurm_account": "alice-s3cret",
            "reservation": "alice-s3cret",
            "slurm_extra": "'--mail-user=alice-s3cret@host.org'",
            "gpu": 1,
        },
    )
    with step(frame):
        pass
    (path,) = (tmp_path / "provenance").rglob("*.json")
    text = path.read_text(encoding="utf-8")
    assert "s3cret" not in text and str(tmp_path) not in text
    assert json.loads(text)["resources"]["gpu"] == 1


def test_no_secret_stands_in_the_configuration_of_the_report(root):
    config = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))
    config["dataset"] |= {
        "kind": "folder",
        "folder": {"images": "/alice-s3cret/x", "labels": "~alice-s3cret/y"},
    }
    config["weights"] = {"xrv": {"url": SECRETS["url"], "sha256": "0" * 64}}
    config["readers"]["blinded"]["responses"] = "../alice-s3cret/answers"
    shown = shown_configuration(load(config))
    assert "s3cret" not in json.dumps(shown)
    assert shown["weights"]["xrv"]["url"] == "https://host.org:8443/weights.pt?…"
