"""Transient errors, which are worth a retry (network, locks, a restarting server), and redaction of secrets in messages."""

from __future__ import annotations

import errno
import re
import socket
import urllib.error

EXIT = 75  # EX_TEMPFAIL of sysexits.h: by it a stage tells the flow that a retry may succeed
STATUS = (408, 425, 429, 500, 502, 503, 504)  # of HTTP
ERRNO = {
    errno.EAGAIN,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EINTR,
    errno.ENETDOWN,
    errno.ENETRESET,
    errno.ENETUNREACH,
    errno.ENOLCK,
    errno.EPIPE,
    errno.ESTALE,  # a network drive that was mounted again
    errno.ETIMEDOUT,
}
LOST_WORKER = "DataLoader worker (pid"  # how torch says that one was killed, mostly for its memory
SQLITE_HELD = {5, 6}  # SQLITE_BUSY, SQLITE_LOCKED (https://www.sqlite.org/rescode.html)

HIDDEN = "***"
_USER = re.compile(r"(://[^/\s:@]*):[^/\s]*@")  # ://user:password@host; the password may hold an @, never a /
_QUERY = re.compile(r"([?&;](?:[\w-]*(?:password|passwd|pwd|secret|token|key)[\w-]*)=)[^&;\s'\"]+", re.IGNORECASE)


class Unavailable(OSError):
    """A server does not answer. A subclass may set ``transient`` to False: it refuses, and will again."""

    transient = True


def is_transient(error: BaseException | None) -> bool:
    """Whether ``error``, or its cause, may not occur again at a retry.

    A full disk, a missing file, 404, a wrong checksum and errors in code or settings do.
    """
    while error is not None:
        known = _is_transient(error)
        if known is not None:
            return known
        error = error.__cause__
    return False


def _is_transient(error: BaseException) -> bool | None:
    """None if only its cause can tell."""
    if isinstance(error, Unavailable):
        return error.transient
    if isinstance(error, urllib.error.HTTPError):
        return error.code in STATUS
    if isinstance(error, urllib.error.URLError):
        return isinstance(error.reason, BaseException) and is_transient(error.reason)
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    if isinstance(error, TimeoutError | ConnectionError) or (isinstance(error, OSError) and error.errno in ERRNO):
        return True
    lost = isinstance(error, RuntimeError) and str(error).startswith(LOST_WORKER)
    code = getattr(error, "sqlite_errorcode", None)
    held = isinstance(code, int) and code & 0xFF in SQLITE_HELD  # the low byte: extended codes say more
    return True if lost or held else None


def redacted(text: str) -> str:
    """``text`` with the passwords of the addresses in it replaced by ``***``."""
    return _QUERY.sub(rf"\1{HIDDEN}", _USER.sub(rf"\1:{HIDDEN}@", text))
