"""What a run passes on tells nothing of the machine, of folders or of secrets; and runs nothing."""

import getpass
import hashlib
import http.server
import platform
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import yaml
from PIL import Image
from PIL.PngImagePlugin import PngInfo

WEIGHTS = b"weights"


def contents(path: Path):
    """Yield what a file says: its bytes, and what of it is compressed."""
    yield path.read_bytes()
    if path.suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
        yield repr(table.schema.metadata).encode()
        yield table.to_pandas().to_csv().encode()
    if path.suffix in (".png", ".webp"):
        with Image.open(path) as image:
            yield repr(image.info).encode()


def told(folder: Path, words: list[str]) -> list[tuple[str, str]]:
    """Return which artefacts below a folder hold which words; logs are for their owner alone."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert files
    return [
        (path.relative_to(folder).as_posix(), word)
        for path in files
        if "logs" not in path.relative_to(folder).parts
        for word in words
        if any(word.encode() in content for content in contents(path))
    ]


def test_the_search_finds_what_is_compressed(tmp_path):
    frame = pd.DataFrame({"image_id": ["a", *["m s3cret"] * 50, "z"]})
    frame.to_parquet(tmp_path / "a.parquet", compression="gzip")
    text = PngInfo()
    text.add_text("Comment", "s3cret " * 50, zip=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "b.png", pnginfo=text)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_text("s3cret")
    for path in tmp_path.glob("*.p*"):
        assert b"s3cret" not in path.read_bytes()
    assert [name for name, _ in told(tmp_path, ["s3cret"])] == ["a.parquet", "b.png"]


def test_no_artefact_tells_where_and_by_whom_it_was_made(phantom_run, root):
    words = [str(phantom_run), f"/{getpass.getuser()}/"]
    # A short one may stand by chance in what is compressed.
    words += [word for word in (str(root), str(Path.home()), platform.node()) if len(word) > 8]
    assert told(phantom_run / "results", words) == []


@pytest.fixture
def address(tmp_path):
    """A server that gives WEIGHTS to whoever has the password and the token."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            allowed = self.path.endswith("?token=s3cret") and self.headers["Authorization"]
            self.send_response(200 if allowed else 403)
            self.send_header("Content-Length", str(len(WEIGHTS)))
            self.end_headers()
            self.wfile.write(WEIGHTS)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://alice-s3cret:s3cret@127.0.0.1:{server.server_port}/w.pt?token=s3cret"
        server.shutdown()


def test_folders_and_tokens_of_the_configuration_stay_where_they_are(
    snakemake, address, tmp_path, monkeypatch
):
    home = tmp_path / "home" / "alice-s3cret"
    names = ['"><img src=x onerror=alert(1)>.png', "sub 'dir'/{{ 7 * 7 }}.png"]
    for name in names:
        (home / "films" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((20, 20), np.uint8)).save(home / "films" / name)
    patients = ["<b>alice</b>", "'; DROP TABLE"]
    findings = ["Effusion|<script>alert(1)</script>", "No Finding"]
    table = pd.DataFrame({"image": names, "patient_id": patients, "findings": findings})
    table.to_csv(home / "labels.csv", index=False)
    (home / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(home / "tmp"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    config = {
        "dataset": {
            "name": "films",
            "kind": "folder",
            "folder": {"images": str(home / "films"), "labels": str(home / "labels.csv")},
        },
        "cohort": {"classes": ["No Finding", "Effusion"]},
        "tensors": {"size": 16},
        "weights": {"alex": {"url": address, "sha256": hashlib.sha256(WEIGHTS).hexdigest()}},
    }
    (home / "run.yaml").write_text(yaml.safe_dump(config))
    snakemake(
        home / "work",
        "results/films/labels.parquet",
        "results/films/tensors/16/part_001.npy",
        "results/weights/alex.pt",
        "--configfile",
        home / "run.yaml",
    )
    made = home / "work" / "results"
    assert (made / "weights" / "alex.pt").read_bytes() == WEIGHTS
    assert told(made, ["s3cret", str(tmp_path)]) == []
    # Nor is a token in a log; a folder may be.
    for path in made.rglob("*.log"):
        assert "token=s3cret" not in path.read_text() and ":s3cret@" not in path.read_text()
    records = list(made.rglob("provenance/**/*.json"))
    assert len(records) == 4
    assert any("127.0.0.1" in path.read_text() for path in records)
    # What the data call themselves is kept as it is, and escaped where it is shown.
    assert set(pd.read_parquet(made / "films" / "labels.parquet")["patient_id"]) == set(patients)
    assert sorted(pd.read_parquet(made / "films/tensors/16/part_001.parquet")["image_id"]) == names


def test_a_configuration_runs_no_code(snakemake, tmp_path):
    (tmp_path / "run.yaml").write_text(
        f"device: !!python/object/apply:os.mkdir ['{tmp_path / 'mark'}']\n"
    )
    done = snakemake(tmp_path, "--dry-run", "--configfile", tmp_path / "run.yaml", check=False)
    assert done.returncode and not (tmp_path / "mark").exists()
    assert "not valid JSON or YAML" in done.stdout
