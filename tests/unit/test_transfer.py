"""Downloads against a server on this machine that does what networks do."""

import errno
import fcntl
import hashlib
import multiprocessing
import random
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from workflow_scripts.acquire.download_archive import download_archive
from workflow_scripts.acquire.manifest import read_manifest
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

    def handle_error(self, request, client_address):
        """Say nothing of a client that breaks off."""

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
        if kind == "to":
            self.redirect(number)
            return
        start = 0
        wanted = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        same = condition in (None, server.etag) or "ignore-if-range" in kind
        if wanted and "ignore-range" not in kind and same:
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
        if kind == "encoded":
            self.send_header("Content-Encoding", "gzip")
        if kind == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif kind == "huge":
            self.send_header("Content-Length", str(10**18))
        elif kind != "unmeasured":
            self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        if kind == "trickle":
            self.trickle(server.content[start : start + int(number)])
            return
        if kind == "chunked":
            self.wfile.write(b"%x\r\n" % len(server.content) + server.content[: int(number)])
            return
        if number:
            length, _, for_ever = number.partition(" ")
            self.wfile.write(server.content[start : start + int(length)])
            self.wfile.flush()
            if kind == "stall":
                time.sleep(60 if for_ever else 0.6)
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(server.content[start:])

    def redirect(self, target):
        """Send on to another place; what is said beside it is without end."""
        self.send_response(302)
        self.send_header("Location", target)
        self.end_headers()
        with suppress(ConnectionError):
            while True:
                self.wfile.write(bytes(1 << 16))

    def trickle(self, content):
        """Send a few bytes now and then."""
        with suppress(ConnectionError):
            for start in range(0, len(content), 4):
                self.wfile.write(content[start : start + 4])
                time.sleep(0.02)


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


def test_a_trickle_is_left_and_continued(server, tmp_path, caplog):
    server.faults.append("trickle 200000")
    fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    first, second = server.starts()
    assert first is None and 0 < int(second.removeprefix("bytes=").rstrip("-")) < 300
    assert "the server sent" in caplog.text


def test_a_server_that_only_trickles_is_given_up(server, tmp_path):
    server.faults.extend(["trickle 200000"] * 10)
    with pytest.raises(InputError, match="gave up after 3 attempts that brought next to nothing"):
        fetch(server, tmp_path / "a")
    assert len(server.requests) == 3
    assert 0 < (tmp_path / "a.partial").stat().st_size < 1000


def test_a_broken_stream_of_chunks_is_continued(server, tmp_path):
    server.faults.append("chunked 300000")
    fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.starts() == [None, "bytes=300000-"]


def test_bytes_are_taken_as_they_are_whatever_the_server_calls_them(server, tmp_path):
    server.faults.extend(["encoded"] * 9)  # as some do with every .gz
    fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT and len(server.requests) == 1


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


@pytest.mark.parametrize("fault", ["", "ignore-if-range"])
def test_a_file_that_changed_on_the_server_begins_anew(server, tmp_path, fault):
    server.faults.append(fault)
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


@pytest.mark.parametrize("asked", ["soon GMT", "Wed, 99 Foo 2026 25:00:00 GMT", "²", "-3", "1e9"])
def test_a_server_that_does_not_say_when_is_asked_again(server, tmp_path, asked):
    server.faults.append(f"503 {asked}")
    fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


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


def test_a_file_of_unknown_length_that_the_disk_cannot_hold_is_refused(server, tmp_path):
    server.faults.append("huge")
    with pytest.raises(InputError, match="GB free"):
        fetch(server, tmp_path / "a", size=None)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_names_the_file_and_keeps_what_is_there(server, tmp_path, monkeypatch):
    whole = transfer.Partial.append

    def full(partial, block):
        if partial.length > 200_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(partial, block)

    monkeypatch.setattr(transfer.Partial, "append", full)
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


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://host/a", "begins with https, http or file"),
        ("images_001.tar.gz", "begins with https, http or file"),
        ("http:///a", "Check the URL"),
        ("http://[::1/a", "Check the URL"),
        ("http://a b/", "Check the URL"),
    ],
)
def test_what_is_no_address_is_refused_at_once(tmp_path, url, why, monkeypatch):
    monkeypatch.setattr(transfer.time, "sleep", lambda _: pytest.fail("tries again"))
    with pytest.raises(InputError, match=why):
        download(url, tmp_path / "a", MD5, 1)
    assert list(tmp_path.iterdir()) == []


# -- to another place ------------------------------------------------------------------------------


def test_redirections_are_followed_and_the_rest_is_still_asked_for(server, tmp_path):
    server.faults.extend(["drop 300000", "to /elsewhere", f"to {server.url}", ""])
    fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    first, *others = server.starts()
    assert first is None and len(set(others)) == 1 and len(others) == 3
    assert [headers["If-Range"] for headers in server.requests[1:]] == [server.etag] * 3


def test_a_redirection_in_a_circle_is_refused_at_once(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer.time, "sleep", lambda _: pytest.fail("tries again"))
    server.faults.extend(["to /again"] * 100)
    with pytest.raises(InputError, match=r"sent us on 10 times and does so again\. Check"):
        fetch(server, tmp_path / "a")
    assert len(server.requests) == 11
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://host/a", "data:,x", "javascript:x"]
)
def test_a_redirection_off_the_web_is_refused_at_once(server, tmp_path, target):
    server.faults.append(f"to {target}")
    with pytest.raises(InputError, match=f"from http to {target.partition(':')[0]}, where nothing"):
        fetch(server, tmp_path / "a")
    assert len(server.requests) == 1 and list(tmp_path.iterdir()) == []


@pytest.fixture
def safe_server(server, tmp_path_factory, monkeypatch):
    """The server behind TLS, with a certificate that is known; `server.plain_url` is without."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", certificate, "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    safe = Server()
    safe.socket = context.wrap_socket(safe.socket, server_side=True)
    safe.plain_url, safe.url = server.url, safe.url.replace("http:", "https:")
    thread = threading.Thread(target=safe.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield safe
    safe.shutdown()
    thread.join()
    safe.server_close()


def test_a_redirection_to_what_others_can_read_is_refused(safe_server, server, tmp_path):
    safe_server.faults.append(f"to {safe_server.url}")
    fetch(safe_server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    server.faults.append(f"to {safe_server.url}")
    fetch(server, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == CONTENT
    safe_server.faults.append(f"to {safe_server.plain_url}")
    asked = len(server.requests)
    with pytest.raises(InputError, match="from https to http, where nothing is fetched from"):
        fetch(safe_server, tmp_path / "c")
    assert len(server.requests) == asked


def test_a_server_that_is_not_who_it_says_is_refused_at_once(safe_server, tmp_path, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.setattr(transfer.time, "sleep", lambda _: pytest.fail("tries again"))
    with pytest.raises(InputError, match="certificate verify failed"):
        fetch(safe_server, tmp_path / "a")


# -- what nobody may read --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        ["404"],
        ["503"] * 3,
        ["drop 10"] * 30,
        ["to /again?signed=s3cret"] * 20,
        ["to ftp://me:s3cret@h/"],
    ],
    ids=lambda faults: faults[0].split()[0] + faults[0].split(":")[0][-1],
)
def test_no_message_carries_a_password_or_a_token(server, tmp_path, caplog, faults):
    server.faults.extend(faults)
    server.content = b"x" * 700_000
    server.url = server.url.replace("//", "//me:s3cret@") + "?token=s3cret&x=1"
    with pytest.raises(InputError) as caught:
        fetch(server, tmp_path / "a")
    assert "127.0.0.1" in str(caught.value)
    assert "s3cret" not in str(caught.value) + caplog.text
    # And yet they are sent.
    assert server.requests[0]["Authorization"].startswith("Basic ")


def test_a_server_that_is_not_there_is_named_without_its_token(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/none\?…: gave up") as caught:
        download(
            "http://me:s3cret@127.0.0.1:9/none?token=s3cret",
            tmp_path / "a", MD5, 10, attempts=2, pause=0.01,
        )  # fmt: skip
    assert "s3cret" not in str(caught.value) + caplog.text


# -- two at once -----------------------------------------------------------------------------------


def test_two_processes_that_want_one_file_fetch_it_once(server, tmp_path):
    fork = multiprocessing.get_context("fork")
    server.faults.append("stall 300000")  # long enough for the second to come

    def fetch_and_say(pipe):
        fetch(server, tmp_path / "a", timeout=5.0)
        pipe.send((tmp_path / "a").read_bytes() == CONTENT)

    pipes, processes = [], []
    for _ in range(2):
        here, there = fork.Pipe()
        processes.append(fork.Process(target=fetch_and_say, args=(there,)))
        processes[-1].start()
        pipes.append(here)
    assert [pipe.poll(30) and pipe.recv() for pipe in pipes] == [True, True]
    for process in processes:
        process.join()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert server.starts()[0] is None and len(server.starts()) == 2  # one broke off, one continued


def test_who_waits_for_one_that_is_killed_goes_on_where_it_was(server, tmp_path):
    fork = multiprocessing.get_context("fork")
    server.faults.append("stall 300000 for ever")
    other = fork.Process(target=fetch, args=(server, tmp_path / "a"), kwargs={"timeout": 60.0})
    other.start()
    partial = tmp_path / "a.partial"
    end = time.monotonic() + 20
    while not (partial.exists() and partial.stat().st_size == 300_000) and time.monotonic() < end:
        time.sleep(0.01)
    threading.Timer(0.3, other.kill).start()
    fetch(server, tmp_path / "a")
    assert other.exitcode is None or other.exitcode < 0
    other.join()
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.starts() == [None, "bytes=300000-"]


def test_who_waits_for_one_that_is_refused_begins_anew(server, tmp_path, caplog):
    caplog.set_level("INFO")
    with (tmp_path / "a.partial").open("ab") as other:
        other.write(b"another file")
        fcntl.flock(other, fcntl.LOCK_EX)
        thread = threading.Thread(target=fetch, args=(server, tmp_path / "a"))
        thread.start()
        end = time.monotonic() + 20
        while "another process downloads" not in caplog.text and time.monotonic() < end:
            time.sleep(0.01)
        (tmp_path / "a.partial").unlink()
    thread.join()
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_what_another_process_removes_at_that_moment_is_not_written_to(
    server, tmp_path, monkeypatch
):
    whole, partial = transfer.locked, tmp_path / "a.partial"
    partial.write_bytes(b"another file")

    def removed(stream):
        monkeypatch.setattr(transfer, "locked", whole)
        partial.unlink()
        return whole(stream)

    monkeypatch.setattr(transfer, "locked", removed)
    fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_disk_without_locks_is_no_hindrance(server, tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(transfer.fcntl, "flock", no_locks)
    fetch(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_an_archive_of_the_manifest_is_downloaded(server, tmp_path):
    manifest = tmp_path / "archives.tsv"
    header = "archive\turl\tbytes\tmd5\n"
    manifest.write_text(f"{header}images_001.tar.gz\t{server.url}\t{len(CONTENT)}\t{MD5[1]}\n")
    archive = read_manifest(manifest)["images_001"]
    download_archive(archive, manifest, tmp_path / "out.tar.gz")
    assert (tmp_path / "out.tar.gz").read_bytes() == CONTENT


def test_an_archive_without_url_says_what_to_do(tmp_path):
    manifest = tmp_path / "archives.tsv"
    manifest.write_text(f"archive\tbytes\tmd5\nimages_001.tar.gz\t1\t{MD5[1]}\n")
    with pytest.raises(InputError, match="nih_dir"):
        download_archive(read_manifest(manifest)["images_001"], manifest, tmp_path / "out.tar.gz")
