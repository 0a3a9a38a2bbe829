"""Which failures can pass by themselves: the network, a lock, a server that starts again. Only these are worth another try."""

from __future__ import annotations

import errno
import socket
import urllib.error

EXIT = 75  # EX_TEMPFAIL of sysexits.h: with it a stage tells the flow that another try may succeed
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


class Unavailable(OSError):
    """A server does not answer just now. A subclass may say that it is not for now but for good."""

    passing = True


def is_passing(error: BaseException | None) -> bool:
    """Whether ``error``, or what it was raised from, may be gone next time.

    A full disk, a missing file, 404, a wrong checksum and whatever is wrong in the code or the settings stay.
    """
    while error is not None:
        known = _passes(error)
        if known is not None:
            return known
        error = error.__cause__
    return False


def _passes(error: BaseException) -> bool | None:
    """None where this error does not tell by itself."""
    if isinstance(error, Unavailable):
        return error.passing
    if isinstance(error, urllib.error.HTTPError):
        return error.code in STATUS
    if isinstance(error, urllib.error.URLError):
        return isinstance(error.reason, BaseException) and is_passing(error.reason)
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    if isinstance(error, TimeoutError | ConnectionError) or (isinstance(error, OSError) and error.errno in ERRNO):
        return True
    lost = isinstance(error, RuntimeError) and str(error).startswith(LOST_WORKER)
    code = getattr(error, "sqlite_errorcode", None)
    held = isinstance(code, int) and code & 0xFF in SQLITE_HELD  # the low byte: extended codes say more
    return True if lost or held else None
