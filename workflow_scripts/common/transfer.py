"""Downloads that survive what networks do.

The bytes of a transfer collect in `<target>.partial`. Whatever interrupts it, the next attempt
and the next run continue from there by a Range request. The target gets its name once length and
digest are right. No message carries what an address may keep secret: a password, a token.
"""

import email.utils
import fcntl
import hashlib
import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

import requests
import urllib3
from tqdm import tqdm

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import full_disk_named
from workflow_scripts.common.privacy import plain
from workflow_scripts.common.runtime import log, progress_interval

CHUNK = 1 << 16
BUSY = {408, 425, 429, 500, 502, 503, 504}
LONGEST_PAUSE = 300.0
MOST_REDIRECTS = 10
LEAST_RATE = 1000  # bytes per second; the largest archive would take weeks


class Interrupted(Exception):
    """A transfer stopped for a reason that may pass; `pause` is what the server asks for."""

    def __init__(self, reason: str, pause: float = 0.0):
        super().__init__(reason)
        self.pause = pause


def download(
    url: str,
    target: str | Path,
    digest: tuple[str, str],
    size: int | None = None,
    *,
    attempts: int = 8,
    timeout: float = 60.0,
    pause: float = 1.0,
) -> None:
    """Fetch a file, continuing what an earlier run left behind, and verify it.

    Parameters
    ----------
    url : http, https or file
    target : where the file goes; nothing appears there before it is whole and verified
    digest : algorithm that hashlib knows, and the digest in hexadecimal
    size : length in bytes, where it is known
    attempts : attempts in a row that may bring next to nothing before it gives up
    timeout : seconds without a byte, or with next to none, after which an attempt counts as broken
    pause : seconds before the second attempt; doubled each time, up to five minutes

    Raises
    ------
    InputError
        If the server refuses, the disk is too full, or the file is not the one expected.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with sole_writer(target) as partial:
        if target.is_file() and digest_of(target, digest[0]) == digest[1].lower():
            return  # brought by another process
        bring(url, partial, size, attempts, timeout, pause)
        verify(partial, digest, size, f"what came from {plain(url)}")
        os.fsync(partial.stream.fileno())
        partial.path.replace(target)
        partial.version.unlink(missing_ok=True)


class Partial:
    """What has arrived of a file so far."""

    def __init__(self, path: Path, stream: BinaryIO):
        self.path = path
        self.stream = stream
        # What the server calls this version of the file (its ETag).
        self.version = path.with_name(f"{path.name}.version")

    @property
    def length(self) -> int:
        """Bytes that have arrived."""
        return os.fstat(self.stream.fileno()).st_size

    def append(self, block: bytes) -> None:
        left = memoryview(block)
        while left:
            left = left[self.stream.write(left) :]

    def discard(self) -> None:
        """Forget what has arrived."""
        os.ftruncate(self.stream.fileno(), 0)
        self.version.unlink(missing_ok=True)


@contextmanager
def sole_writer(target: Path) -> Iterator[Partial]:
    """Open what has arrived of `target` once no other process on this machine writes to it.

    One that outlives a Snakemake that was killed may, when the next run begins.
    """
    path = target.with_name(f"{target.name}.partial")
    told = False
    while True:
        with path.open("ab", buffering=0) as stream:
            if locked(stream):
                if not stands(stream, path):  # it was given its name, or refused
                    continue
                partial = Partial(path, stream)
                try:
                    yield partial
                finally:
                    if partial.length == 0 and stands(stream, path):
                        path.unlink()
                return
        if not told:
            log.info("another process downloads %s: waiting", target)
            told = True
        time.sleep(1.0)


def locked(stream: BinaryIO) -> bool:
    """Lock a file for this process, unless another has; where a disk knows no locks, as if it did."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def stands(stream: BinaryIO, path: Path) -> bool:
    """Whether an open file still is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def bring(
    url: str, partial: Partial, size: int | None, attempts: int, timeout: float, pause: float
) -> None:
    """Append what `partial` lacks, attempt after attempt; parameters as of `download`."""
    failures = 0
    with tqdm(
        desc=partial.path.stem,
        total=size,
        initial=partial.length,
        unit="B",
        unit_scale=True,
        mininterval=progress_interval(),
    ) as bar:
        while size is None or partial.length < size:
            before, begun = partial.length, time.monotonic()
            try:
                for count in received(url, partial, size, timeout):
                    bar.update(count)
                return
            except (
                Interrupted,
                requests.RequestException,
                urllib3.exceptions.HTTPError,
                ValueError,  # of what is no address
            ) as error:
                reason = plain(error)
                if isinstance(error, ValueError) or "CERTIFICATE_VERIFY_FAILED" in reason:
                    raise InputError(f"{plain(url)}: {reason}. Check the URL.") from None
                asked = error.pause if isinstance(error, Interrupted) else 0.0
            enough = LEAST_RATE * (time.monotonic() - begun)
            failures = 0 if partial.length - before > enough else failures + 1
            if failures == attempts:
                raise InputError(
                    f"{plain(url)}: gave up after {attempts} attempts that brought next to nothing: "
                    f"{reason}. What has arrived is kept in {partial.path}; run again to continue "
                    "from there."
                )
            longest = min(pause * 2**failures, LONGEST_PAUSE)
            # Half of it at random, so that parallel downloads do not come back together.
            wait = max(asked, longest * random.uniform(0.5, 1.0))
            log.warning("%s: %s; continuing in %.1f s", plain(url), reason, wait)
            time.sleep(wait)


def verify(partial: Partial, digest: tuple[str, str], size: int | None, what: str) -> None:
    """Discard a finished transfer that is not what was expected, and say so."""
    algorithm, expected = digest
    found = digest_of(partial.path, algorithm)
    if size is not None and partial.length != size:
        problem = f"has {partial.length:,} bytes instead of {size:,}"
    elif found != expected.lower():
        problem = f"has the {algorithm.upper()} {found} instead of {expected.lower()}"
    else:
        return
    partial.discard()
    raise InputError(
        f"{what} {problem}. It was removed. Run again; if that does not help, the file on the "
        "server is another one than the expected."
    )


def digest_of(path: Path, algorithm: str) -> str:
    """Return the digest of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def received(url: str, partial: Partial, size: int | None, timeout: float) -> Iterator[int]:
    """Append to `partial` what it lacks, yielding how many bytes each write added."""
    scheme = urlsplit(url).scheme
    if scheme == "file":
        blocks = blocks_of_file(url, partial.length)
    elif scheme in ("http", "https"):
        blocks = blocks_of_response(url, partial, size, timeout)
    else:
        raise InputError(f"{plain(url)}: give a URL that begins with https, http or file")
    room_for(partial, size)
    for block in blocks:
        with full_disk_named(partial.path):
            partial.append(block)
        yield len(block)
        if size is not None and partial.length > size:
            partial.discard()
            raise InputError(
                f"{plain(url)} sends more than the expected {size:,} bytes: another file"
            )


def room_for(partial: Partial, size: int | None) -> None:
    """Refuse to begin what the disk cannot hold."""
    needed = (size or 0) - partial.length
    folder = partial.path.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: the disk has {free / 1e9:.1f} GB free and the rest of "
            f"{partial.path.stem} needs {needed / 1e9:.1f} GB. Make room, or put the results "
            "elsewhere with --directory."
        )


def blocks_of_file(url: str, start: int) -> Iterator[bytes]:
    """Yield the bytes of a local file from `start` on."""
    with Path(url2pathname(urlsplit(url).path)).open("rb") as stream:
        stream.seek(start)
        while block := stream.read(CHUNK):
            yield block


def blocks_of_response(
    url: str, partial: Partial, size: int | None, timeout: float
) -> Iterator[bytes]:
    """Yield the bytes that `partial` lacks, by a Range request where the server understands it."""
    have = partial.length
    validator = partial.version.read_text("utf-8") if have and partial.version.exists() else ""
    # Without "identity", a server may send the .gz unpacked.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    with Session() as session, answer(session, url, headers, timeout) as response:
        status = response.status_code
        if status in BUSY:
            raise Interrupted(f"the server answers {status} {response.reason}", asked(response))
        if status == 416:
            partial.discard()
            if size is not None:
                raise InputError(
                    f"{plain(url)}: the server's file has {have:,} bytes or less, expected are "
                    f"{size:,}: another file"
                )
            raise Interrupted(f"the server's file has less than the {have:,} bytes received so far")
        if status not in (200, 206):
            raise InputError(
                f"{plain(url)}: the server answers {status} {response.reason}. Check the URL, or "
                "fetch the file by hand and give its local path."
            )
        start, total = place(response)
        if size is not None and total is not None and total != size:
            raise InputError(
                f"{plain(url)}: the server's file has {total:,} bytes, expected are {size:,}: "
                "another file"
            )
        room_for(partial, total)
        current = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if validator and current and current != validator:
            log.warning("%s: the server's file has changed; beginning anew", plain(url))
            partial.discard()
            have = 0
        if start > have:
            raise Interrupted(f"the server sends from byte {start:,} instead of {have:,}")
        if not have and current and not current.startswith("W/"):
            partial.version.write_text(current, "utf-8")
        # A server without Range sends all of it again: what is here already is passed over.
        surplus = have - start
        since, brought = time.monotonic(), 0
        # As it comes: a server that sends a byte now and then never fills a larger block.
        while block := response.raw.read1(CHUNK, decode_content=False):
            fresh = block[surplus:]
            surplus -= len(block) - len(fresh)
            if fresh:
                yield fresh
            brought += len(block)
            elapsed = time.monotonic() - since
            if elapsed > timeout:
                if brought < LEAST_RATE * elapsed:
                    raise Interrupted(f"the server sent {brought:,} bytes in {elapsed:.0f} s")
                since, brought = time.monotonic(), 0
    # Without Content-Length, a broken connection looks like the end of the file.
    if size is not None and partial.length < size:
        raise Interrupted(f"the server ended after {partial.length:,} of {size:,} bytes")


class Session(requests.Session):
    """Follows no redirection: requests reads what one says, which may be without end."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def answer(
    session: Session, url: str, headers: dict[str, str], timeout: float
) -> requests.Response:
    """Return a server's answer; it may send us on to another, over the web and not less safely."""
    for _ in range(MOST_REDIRECTS + 1):
        response = session.get(url, headers=headers, stream=True, timeout=timeout)
        target = super(Session, session).get_redirect_target(response)
        if target is None:
            return response
        response.close()
        before, url = url, urljoin(url, target)
        schemes = urlsplit(before).scheme, urlsplit(url).scheme
        if schemes not in (("http", "http"), ("http", "https"), ("https", "https")):
            raise InputError(
                f"{plain(before)}: the server sends us on to {plain(url)}, from {schemes[0]} to "
                f"{schemes[1]}, where nothing is fetched from. Check the URL, or fetch the file by "
                "hand and give its local path."
            )
    raise InputError(
        f"{plain(url)}: the server has sent us on {MOST_REDIRECTS} times and does so again. Check "
        "the URL, or fetch the file by hand and give its local path."
    )


def place(response: requests.Response) -> tuple[int, int | None]:
    """Return at which byte a response begins and how long the whole file is, if it says so."""
    if response.status_code == 206:
        span, _, total = response.headers.get("Content-Range", "").partition("/")
        first = span.removeprefix("bytes ").partition("-")[0]
        if not first.isdecimal():
            raise Interrupted("the server sends a part of the file without saying which")
        return int(first), int(total) if total.isdecimal() else None
    total = response.headers.get("Content-Length", "")
    return 0, int(total) if total.isdecimal() else None


def asked(response: requests.Response) -> float:
    """Return for how many seconds a busy server asks to be left alone, ten minutes at most."""
    text = response.headers.get("Retry-After", "")
    seconds = 0.0
    if text.isdecimal():
        seconds = float(text)
    elif "GMT" in text:
        with suppress(ValueError):
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    return min(max(seconds, 0.0), 600.0)
