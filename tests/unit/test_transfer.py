"""Downloads against a server on this machine that does what networks do."""

import errno
import hashlib
import random
import socket
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from workflow_scripts.acquire.download_archive import download_archive
from workflow_scripts.common import transfer
from workflow_scripts.common.errors import InputError
from workflow_scripts.common.transfer import download

CONTENT = random.Random(1).randbytes(700_000)
MD5 = ("md5", hashlib.md5(CONTENT).hexdigest())


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `faults` says what goes wrong in the next requests."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag = '"first"'
        self.faults = deque()
        self.requests = []
        self.url = f"http://127.0.0.1:{self.server_port}/images_001.tar.gz"

    def starts(self) -> list[str | None]:
        """The Range header of every request so far."""
        return [headers.get("Range") for headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append(self.headers)
        fault = server.faults.popleft() if server.faults else ""
        kind, _, number = fault.partition(" ")
        if kind.isdigit():
            self.send_response(int(kind))
            if number:
                self.send_header("Retry-After", number)
            self.end_headers()
            return
        start = 0
        wanted = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        if wanted and "ignore-range" not in kind and condition in (None, server.etag):
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            if start >= len(server.content):
                self.send_response(416)
                self.end_headers()
                return
            self.send_response(206)
            total = len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        if server.etag:
            self.send_header("ETag", server.etag)
        if kind != "unmeasured":
            self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        if number:
            self.wfile.write(server.content[start : start + int(number)])
            self.wfile.flush()
            if kind == "stall":
                time.sleep(0.6)
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(server.content[start:])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(server, target, **options):
    options = {"size": len(CONTENT), "attempts": 3, "timeout": 0.3, "pause": 0.01} | options
    download(server.url, target, MD5, **options)


def test_a_file_arrives_whole_and_alone(server, tmp_path):
    fetch(server, tmp_path / "a.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]
    assert server.requests[0]["Accept-Encoding"] == "identity"


def test_dropped_connections_continue_where_they_broke(server, tmp_path):
    server.faults.extend(["drop 300000", "drop 200000"])
    fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    first, second, third = server.starts()
    assert first is None
    second, third = (int(text.removeprefix("bytes=").rstrip("-")) for text in (second, third))
    assert 0 < second <= 300_000 and second < third <= 500_000
    assert server.requests[1]["If-Range"] == server.etag


def test_more_breaks_than_attempts_do_not_matter_while_bytes_arrive(server, tmp_path):
    server.faults.extend(["drop 70000"] * 8)
    fetch(server, tmp_path / "a", attempts=2)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_stalled_connection_is_left_and_continued(server, tmp_path):
    server.faults.append("stall 200000")
    fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_an_early_end_without_content_length_is_continued(server, tmp_path):
    server.faults.extend(["unmeasured 300000", "unmeasured 200000"])
    fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.starts() == [None, "bytes=300000-", "bytes=500000-"]


def test_ends_without_content_length_count_as_attempts(server, tmp_path):
    (tmp_path / "a.partial").write_bytes(CONTENT[:1000])
    server.faults.extend(["unmeasured 0"] * 3)
    with pytest.raises(InputError, match=r"gave up after 3 attempts .*after 1,000 of 700,000"):
        fetch(server, tmp_path / "a")
    assert (tmp_path / "a.partial").stat().st_size == 1000


def test_a_shorter_file_without_content_length_is_not_asked_for_again_and_again(server, tmp_path):
    server.content = CONTENT[:-1]
    server.faults.append("unmeasured")
    with pytest.raises(InputError, match="699,999 bytes or less, expected are 700,000"):
        fetch(server, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_the_next_run_continues_what_this_one_left(server, tmp_path):
    server.faults.extend(["drop 400000", "503", "503", "503"])
    with pytest.raises(InputError, match="gave up after 3 attempts"):
        fetch(server, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    kept = (tmp_path / "a.partial").stat().st_size
    assert 0 < kept <= 400_000
    fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.starts()[-1] == f"bytes={kept}-"


@pytest.mark.parametrize("etag", ["", '"first"'])
def test_a_server_without_range_never_costs_what_is_there(server, tmp_path, etag):
    server.etag = etag
    server.faults.extend(["drop 400000", "ignore-range+drop 100000", "ignore-range"])
    fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    # The second answer broke off before what the first had brought: nothing of that was lost.
    assert server.starts()[1] is not None
    assert server.starts()[2] == server.starts()[1]


def test_a_file_that_changed_on_the_server_begins_anew(server, tmp_path):
    (tmp_path / "a.partial").write_bytes(b"x" * 300_000)
    (tmp_path / "a.partial.version").write_text('"older"')
    fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_busy_servers_are_asked_again_when_they_say(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    server.faults.extend(["503", "429 7", "500"])
    fetch(server, tmp_path / "a", attempts=5, pause=1.0)
    assert (tmp_path / "a").read_bytes() == CONTENT
    first, second, third = waits
    assert 1 <= first <= 2 and second == 7 and 4 <= third <= 8


@pytest.mark.parametrize("status", ["403", "404", "410"])
def test_refusals_are_not_retried(server, tmp_path, status):
    server.faults.append(status)
    with pytest.raises(InputError, match=f"answers {status}"):
        fetch(server, tmp_path / "a")
    assert len(server.requests) == 1


def test_wrong_bytes_are_removed_and_named(server, tmp_path):
    server.content = bytes(len(CONTENT))
    with pytest.raises(InputError, match=MD5[1]):
        fetch(server, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [-1, +1])
def test_a_file_of_another_length_is_refused_before_it_is_read(server, tmp_path, change):
    server.content = CONTENT[:change] if change < 0 else CONTENT + b"x"
    with pytest.raises(InputError, match=f"{len(CONTENT) + change:,} bytes, expected"):
        fetch(server, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_partial_file_longer_than_the_whole_is_not_trusted(server, tmp_path):
    (tmp_path / "a.partial").write_bytes(CONTENT + b"more")
    with pytest.raises(InputError, match="removed"):
        fetch(server, tmp_path / "a")
    fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_complete_partial_file_needs_no_server(tmp_path):
    (tmp_path / "a.partial").write_bytes(CONTENT)
    download("http://127.0.0.1:9/none", tmp_path / "a", MD5, len(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_server_that_is_not_there_is_named_after_the_last_attempt(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/none: gave up after 2 attempts"):
        download("http://127.0.0.1:9/none", tmp_path / "a", MD5, 10, attempts=2, pause=0.01)


def test_a_disk_too_small_is_refused_before_a_byte_is_asked_for(server, tmp_path, monkeypatch):
    (tmp_path / "a.partial").write_bytes(CONTENT[:100_000])
    usage = transfer.shutil.disk_usage(tmp_path)._replace(free=len(CONTENT) - 100_001)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="GB free"):
        fetch(server, tmp_path / "a")
    assert server.requests == []
    usage = usage._replace(free=usage.free + 1)
    fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_disk_that_fills_up_names_the_file_and_keeps_what_is_there(server, tmp_path, monkeypatch):
    whole = Path.open

    def full(path, mode="r", *arguments, **options):
        stream = whole(path, mode, *arguments, **options)
        if mode == "ab" and path.exists() and path.stat().st_size > 200_000:
            stream.close()
            raise OSError(errno.ENOSPC, "No space left on device")
        return stream

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left") as caught:
        fetch(server, tmp_path / "a")
    assert caught.value.filename == str(tmp_path / "a.partial")
    monkeypatch.undo()
    assert (tmp_path / "a.partial").read_bytes() == CONTENT[
        : (tmp_path / "a.partial").stat().st_size
    ]
    assert not (tmp_path / "a").exists()


def test_a_local_file_counts_as_a_source(tmp_path):
    (tmp_path / "source").write_bytes(CONTENT)
    (tmp_path / "a.partial").write_bytes(CONTENT[:1000])
    download((tmp_path / "source").as_uri(), tmp_path / "a", MD5, len(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_other_schemes_are_refused(tmp_path):
    with pytest.raises(InputError, match="begins with https, http or file"):
        download("ftp://host/a", tmp_path / "a", MD5, 1)


def test_an_archive_of_the_manifest_is_downloaded(server, tmp_path):
    manifest = tmp_path / "archives.tsv"
    header = "archive\turl\tbytes\tmd5\n"
    manifest.write_text(f"{header}images_001.tar.gz\t{server.url}\t{len(CONTENT)}\t{MD5[1]}\n")
    download_archive(manifest, "images_001", tmp_path / "out.tar.gz")
    assert (tmp_path / "out.tar.gz").read_bytes() == CONTENT


def test_an_archive_without_url_says_what_to_do(tmp_path):
    manifest = tmp_path / "archives.tsv"
    manifest.write_text(f"archive\tbytes\tmd5\nimages_001.tar.gz\t1\t{MD5[1]}\n")
    with pytest.raises(InputError, match="nih_dir"):
        download_archive(manifest, "images_001", tmp_path / "out.tar.gz")
