"""Transient errors (network, locks, a restarting server) and redaction of secrets in messages."""

from __future__ import annotations

import errno
import re
import socket
import urllib.error

EXIT = 75  # EX_TEMPFAIL of sysexits.h: the exit code of a stage that may succeed at a retry
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
# Errors of name resolution. A machine without a network is told, as for a wrong name, that the name is unknown.
UNRESOLVED = {getattr(socket, name) for name in ("EAI_AGAIN", "EAI_FAIL", "EAI_NONAME", "EAI_NODATA") if hasattr(socket, name)}
LOST_WORKER = "DataLoader worker (pid"  # torch's message for a killed worker, mostly out of memory
SQLITE_HELD = {5, 6}  # SQLITE_BUSY, SQLITE_LOCKED (https://www.sqlite.org/rescode.html)

HIDDEN = "***"
_USER = re.compile(r"(://[^/\s:@]*):[^/\s]*@")  # ://user:password@host; the password may hold an @, never a /
_QUERY = re.compile(r"([?&;](?:[\w-]*(?:password|passwd|pwd|secret|token|key)[\w-]*)=)[^&;\s'\"]+", re.IGNORECASE)


class Unavailable(OSError):
    """A server does not respond. A subclass may set ``transient`` to False for a permanent refusal."""

    transient = True


def is_transient(error: BaseException | None) -> bool:
    """Return whether a retry may succeed after ``error``, judged by the error itself or by its cause.

    Permanent: a full disk, a missing file, 404, a wrong checksum, errors in code or settings.
    """
    while error is not None:
        known = _is_transient(error)
        if known is not None:
            return known
        error = error.__cause__
    return False


def _is_transient(error: BaseException) -> bool | None:
    """Classify the error without its cause; None if it is unknown."""
    if isinstance(error, Unavailable):
        return error.transient
    if isinstance(error, urllib.error.HTTPError):
        return error.code in STATUS
    if isinstance(error, urllib.error.URLError):
        return isinstance(error.reason, BaseException) and is_transient(error.reason)
    if isinstance(error, socket.gaierror):
        return error.errno in UNRESOLVED
    if isinstance(error, TimeoutError | ConnectionError) or (isinstance(error, OSError) and error.errno in ERRNO):
        return True
    lost = isinstance(error, RuntimeError) and str(error).startswith(LOST_WORKER)
    code = getattr(error, "sqlite_errorcode", None)
    held = isinstance(code, int) and code & 0xFF in SQLITE_HELD  # the low byte: extended codes say more
    return True if lost or held else None


def redacted(text: str) -> str:
    """Replace passwords and tokens in URLs of ``text`` by ``***``."""
    return _QUERY.sub(rf"\1{HIDDEN}", _USER.sub(rf"\1:{HIDDEN}@", text))
