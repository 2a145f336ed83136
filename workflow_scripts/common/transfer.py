"""Downloads that survive what networks do.

The bytes of a transfer collect in `<target>.partial`. Whatever interrupts it, the next attempt
and the next run continue from there by a Range request. The target gets its name once length and
digest are right.
"""

import email.utils
import hashlib
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
from tqdm import tqdm

from workflow_scripts.common.errors import InputError
from workflow_scripts.common.files import full_disk_named
from workflow_scripts.common.runtime import log, progress_interval

CHUNK = 1 << 16
BUSY = {408, 425, 429, 500, 502, 503, 504}
LONGEST_PAUSE = 300.0


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
    attempts : attempts in a row that may bring nothing before it gives up
    timeout : seconds without a byte after which an attempt counts as broken
    pause : seconds before the second attempt; doubled each time, up to five minutes

    Raises
    ------
    InputError
        If the server refuses, the disk is too full, or the file is not the one expected.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    failures = 0
    with tqdm(
        desc=target.name,
        total=size,
        initial=length(partial),
        unit="B",
        unit_scale=True,
        mininterval=progress_interval(),
    ) as bar:
        while size is None or length(partial) < size:
            before = length(partial)
            try:
                for count in received(url, partial, size, timeout):
                    bar.update(count)
                break
            except (Interrupted, requests.RequestException) as error:
                failures = 0 if length(partial) > before else failures + 1
                if failures == attempts:
                    raise InputError(
                        f"{url}: gave up after {attempts} attempts without a byte: {error}. What has "
                        f"arrived is kept in {partial}; run again to continue from there."
                    ) from None
                longest = min(pause * 2**failures, LONGEST_PAUSE)
                asked = error.pause if isinstance(error, Interrupted) else 0.0
                # Half of it at random, so that parallel downloads do not come back together.
                wait = max(asked, longest * random.uniform(0.5, 1.0))
                log.warning("%s: %s; continuing in %.1f s", url, error, wait)
                time.sleep(wait)
    verify(partial, digest, size, f"what came from {url}")
    with partial.open("rb") as stream:
        os.fsync(stream.fileno())
    partial.replace(target)
    validator_of(partial).unlink(missing_ok=True)


def verify(path: Path, digest: tuple[str, str], size: int | None, what: str) -> None:
    """Remove a finished transfer that is not what was expected, and say so."""
    algorithm, expected = digest
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, algorithm).hexdigest()
    if size is not None and length(path) != size:
        problem = f"has {length(path):,} bytes instead of {size:,}"
    elif found != expected.lower():
        problem = f"has the {algorithm.upper()} {found} instead of {expected.lower()}"
    else:
        return
    discard(path)
    raise InputError(
        f"{what} {problem}. It was removed. Run again; if that does not help, the file on the "
        "server is another one than the expected."
    )


def received(url: str, partial: Path, size: int | None, timeout: float) -> Iterator[int]:
    """Append to `partial` what it lacks, yielding how many bytes each write added."""
    scheme = urlsplit(url).scheme
    if scheme == "file":
        blocks = blocks_of_file(url, length(partial))
    elif scheme in ("http", "https"):
        blocks = blocks_of_response(url, partial, size, timeout)
    else:
        raise InputError(f"{url}: give a URL that begins with https, http or file")
    room_for(partial, size)
    for block in blocks:
        with full_disk_named(partial), partial.open("ab") as stream:
            stream.write(block)
        yield len(block)
        if size is not None and length(partial) > size:
            discard(partial)
            raise InputError(f"{url} sends more than the expected {size:,} bytes: another file")


def room_for(partial: Path, size: int | None) -> None:
    """Refuse to begin what the disk cannot hold."""
    needed = (size or 0) - length(partial)
    free = shutil.disk_usage(partial.parent).free
    if needed > free:
        raise InputError(
            f"{partial.parent}: the disk has {free / 1e9:.1f} GB free and the rest of "
            f"{partial.stem} needs {needed / 1e9:.1f} GB. Make room, or put the results elsewhere "
            "with --directory."
        )


def blocks_of_file(url: str, start: int) -> Iterator[bytes]:
    """Yield the bytes of a local file from `start` on."""
    with Path(url2pathname(urlsplit(url).path)).open("rb") as stream:
        stream.seek(start)
        while block := stream.read(CHUNK):
            yield block


def blocks_of_response(
    url: str, partial: Path, size: int | None, timeout: float
) -> Iterator[bytes]:
    """Yield the bytes that `partial` lacks, by a Range request where the server understands it."""
    have = length(partial)
    note = validator_of(partial)
    validator = note.read_text() if have and note.exists() else ""
    # Without "identity", a server may send the .gz unpacked.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
        status = response.status_code
        if status in BUSY:
            raise Interrupted(f"the server answers {status} {response.reason}", asked(response))
        if status == 416:
            discard(partial)
            if size is not None:
                raise InputError(
                    f"{url}: the server's file has {have:,} bytes or less, expected are {size:,}: "
                    "another file"
                )
            raise Interrupted(f"the server's file has less than the {have:,} bytes received so far")
        if status not in (200, 206):
            raise InputError(
                f"{url}: the server answers {status} {response.reason}. Check the URL, or fetch the "
                "file by hand and give its local path."
            )
        start, total = place(response)
        if size is not None and total is not None and total != size:
            raise InputError(
                f"{url}: the server's file has {total:,} bytes, expected are {size:,}: another file"
            )
        current = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if status == 200 and validator and current != validator:
            log.warning("%s: the server's file has changed; beginning anew", url)
            discard(partial)
            have = 0
        if start > have:
            raise Interrupted(f"the server sends from byte {start:,} instead of {have:,}")
        if not have and current and not current.startswith("W/"):
            note.write_text(current)
        # A server without Range sends all of it again: what is here already is passed over.
        surplus = have - start
        for block in response.iter_content(CHUNK):
            fresh = block[surplus:]
            surplus -= len(block) - len(fresh)
            if fresh:
                yield fresh
    # Without Content-Length, a broken connection looks like the end of the file.
    if size is not None and length(partial) < size:
        raise Interrupted(f"the server ended after {length(partial):,} of {size:,} bytes")


def place(response: requests.Response) -> tuple[int, int | None]:
    """Return at which byte a response begins and how long the whole file is, if it says so."""
    if response.status_code == 206:
        span, _, total = response.headers.get("Content-Range", "").partition("/")
        first = span.removeprefix("bytes ").partition("-")[0]
        if not first.isdigit():
            raise Interrupted("the server sends a part of the file without saying which")
        return int(first), int(total) if total.isdigit() else None
    total = response.headers.get("Content-Length", "")
    return 0, int(total) if total.isdigit() else None


def asked(response: requests.Response) -> float:
    """Return for how many seconds a busy server asks to be left alone, ten minutes at most."""
    text = response.headers.get("Retry-After", "")
    if text.isdigit():
        seconds = float(text)
    else:
        date = email.utils.parsedate_to_datetime(text) if "GMT" in text else None
        seconds = date.timestamp() - time.time() if date else 0.0
    return min(max(seconds, 0.0), 600.0)


def length(path: Path) -> int:
    """Return a file's length in bytes; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def validator_of(partial: Path) -> Path:
    """Return where the server's name for the version of a partial file (its ETag) is kept."""
    return partial.with_name(f"{partial.name}.version")


def discard(partial: Path) -> None:
    """Remove a partial file and its version."""
    partial.unlink(missing_ok=True)
    validator_of(partial).unlink(missing_ok=True)
