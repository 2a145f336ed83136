"""Weights from a local path or an address: verified, or refused with what to do."""

import hashlib
import http.server
import threading

import numpy as np
import pytest
import torch
from shaped_weights import NAMED, WIDTH, write

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.published import FORMULAS, PUBLISHED, Weights, name_of
from workflow_scripts.features.extractors import EXTRACTORS
from workflow_scripts.features.fetch_weights import fetch_weights

CONTENT = b"weights of a network" * 500
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def local(tmp_path):
    path = tmp_path / "elsewhere" / "inception.pt"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def address(local):
    """The folder of the local file, served on the loopback interface."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=local.parent)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_local_path_is_copied_and_wins(local, tmp_path):
    source = {"path": str(local), "url": "http://127.0.0.1:1/nothing", "sha256": SHA256}
    fetch_weights("inception", source, tmp_path / "out.pt")
    assert (tmp_path / "out.pt").read_bytes() == CONTENT


def test_an_address_is_fetched(address, tmp_path):
    source = {"url": f"{address}/inception.pt", "sha256": SHA256}
    fetch_weights("inception", source, tmp_path / "out.pt")
    assert (tmp_path / "out.pt").read_bytes() == CONTENT


@pytest.mark.parametrize("name", sorted(set(EXTRACTORS) & set(PUBLISHED)))
def test_what_was_fetched_is_what_an_extractor_loads(
    name, local, address, tmp_path, caplog, monkeypatch
):
    sha256 = sha256_of(write(name, local.parent))
    fetch_weights(name, {"url": f"{address}/{name}.pt", "sha256": sha256}, tmp_path / "out.pt")
    assert "will not carry a published name" in caplog.text
    if name == "inception":  # no other is opened
        monkeypatch.setitem(PUBLISHED, name, Weights("https://a/inception.pt", sha256))
    films = np.random.default_rng(0).integers(0, 256, (2, 32, 32), dtype=np.uint8)
    features, classes = EXTRACTORS[name](tmp_path / "out.pt", torch.device("cpu"))(films)
    assert features.shape == (2, WIDTH[name])
    assert classes.shape == (2, NAMED[name])
    monkeypatch.undo()
    for metric, formula in FORMULAS.items():
        assert name_of(metric, name, sha256_of(tmp_path / "out.pt")) == formula


@pytest.mark.parametrize("kind", ["path", "url"])
def test_another_file_is_refused_and_not_left_behind(kind, local, address, tmp_path):
    where = str(local) if kind == "path" else f"{address}/inception.pt"
    with pytest.raises(InputError, match=SHA256):
        fetch_weights("inception", {kind: where, "sha256": "0" * 64}, tmp_path / "out.pt")
    assert not (tmp_path / "out.pt").exists()


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize(
    "source",
    [
        None,
        {"path": "/no/such/file.pt", "sha256": SHA256},
        {"url": "http://127.0.0.1:1/file.pt", "sha256": SHA256},  # nobody listens there
        {"url": "file:///no/such/file.pt", "sha256": SHA256},
    ],
    ids=["absent", "path", "offline", "file"],
)
def test_without_the_file_the_message_says_what_to_put_where(name, source, tmp_path):
    with pytest.raises(InputError) as caught:
        fetch_weights(name, source, tmp_path / "out.pt", attempts=1)
    for part in (f"weights.{name}", PUBLISHED[name].url, PUBLISHED[name].sha256, "path:"):
        assert part in str(caught.value)
    assert not (tmp_path / "out.pt").exists()


def test_only_the_published_weights_carry_the_published_name():
    published = PUBLISHED["inception"].sha256
    assert name_of("frechet_distance", "inception", published) == "FID"
    assert name_of("kernel_distance", "inception", published) == "KID"
    for extractor, sha256 in [("inception", SHA256), ("domain", published), ("xrv", None)]:
        assert "FID" not in name_of("frechet_distance", extractor, sha256)
        assert "KID" not in name_of("kernel_distance", extractor, sha256)
    assert "LPIPS" in name_of("lpips_diversity", "alex", PUBLISHED["alex"].sha256)
    assert "LPIPS" not in name_of("lpips_diversity", "alex", PUBLISHED["squeeze"].sha256)
