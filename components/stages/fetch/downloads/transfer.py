"""Download a file over http or https, with resume and retries."""

from __future__ import annotations

import http.client
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from components.core.errors import STATUS

MAX_ATTEMPTS = 5
FIRST_WAIT = 1.0  # seconds before the first retry; exponential backoff
TIMEOUT = 30.0  # seconds without a response or a byte
CHUNK = 1 << 18
SCHEMES = ("http", "https")


class NotThere(OSError):
    """The server responds but does not provide the file; a retry does not help."""


def transfer(url: str, part: Path) -> None:
    """Download ``url`` to ``part``, resuming after the bytes that ``part`` already has.

    Retries with exponential backoff after a timeout, an interrupted transfer or a 5xx response. Raises NotThere for a response
    such as 404, OSError for any other failure; ``part`` then remains for the next call.
    """
    if urlsplit(url).scheme not in SCHEMES:
        raise ValueError(f"{url}: only {' and '.join(SCHEMES)} addresses are allowed")
    for attempt in range(MAX_ATTEMPTS):
        try:
            return _receive(url, part)
        except (OSError, http.client.HTTPException) as error:
            if not _is_transient(error) or attempt == MAX_ATTEMPTS - 1:
                raise _describe(url, error) from error
        time.sleep(FIRST_WAIT * 2**attempt)
    raise AssertionError("unreachable")


def _receive(url: str, part: Path) -> None:
    """Make one request; append on 206, start over on 200. ConnectionResetError for an incomplete body."""
    offset = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "darkroom"} | ({"Range": f"bytes={offset}-"} if offset else {})
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    try:
        response = _opener().open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        if error.headers.get("Content-Range") == f"bytes */{offset}":
            return  # nothing is missing
        part.unlink()
        raise ConnectionResetError(f"the server refuses to go on at byte {offset}") from None
    with response:
        if not _continues(response, offset):
            offset = 0
        _save(response, part, offset)


def _continues(response: http.client.HTTPResponse, offset: int) -> bool:
    """Return whether the response begins at byte ``offset``; a server without Range support sends everything, with 200."""
    return response.status == 206 and (response.headers.get("Content-Range") or "").startswith(f"bytes {offset}-")


def _save(response: http.client.HTTPResponse, part: Path, offset: int) -> None:
    if response.status == 206 and offset == 0:
        part.unlink(missing_ok=True)
        raise ConnectionResetError("the server sent another part than asked for")
    length = response.headers.get("Content-Length")
    total = offset + int(length) if length and length.isdigit() else None
    name = Path(urlsplit(response.url).path).name
    seconds = 0.5 if sys.stderr.isatty() else 10.0  # every refresh is a line in a log
    bar = tqdm(desc=name, initial=offset, total=total, unit="B", unit_scale=True, mininterval=seconds)
    with part.open("ab" if offset else "wb") as file, bar:
        while chunk := response.read1(CHUNK):  # read() would lose received data at a timeout
            file.write(chunk)
            bar.update(len(chunk))
            offset += len(chunk)
    if total is not None and offset < total:  # http.client does not report a short body
        raise ConnectionResetError(f"the transfer broke at byte {offset} of {total}")


def _opener() -> urllib.request.OpenerDirector:
    """Build an opener for http and https only, also after redirects: urlopen's default follows them to ftp."""
    opener = urllib.request.OpenerDirector()
    handlers = (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    )
    for handler in handlers:
        opener.add_handler(handler())
    return opener


def _is_transient(error: Exception) -> bool:
    """Return True for timeouts, resets and busy servers; False for refused connections, unknown hosts and 404."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in STATUS
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    broken = (TimeoutError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError, http.client.IncompleteRead)
    return isinstance(cause, broken)


def _describe(url: str, error: Exception) -> OSError:
    if isinstance(error, urllib.error.HTTPError):
        gone = error.code < 500 and error.code not in STATUS
        return (NotThere if gone else OSError)(f"{url}: the server answers {error.code} {error.reason}")
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return OSError(f"{url}: {reason or type(error).__name__}")
