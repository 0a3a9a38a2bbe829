"""Whether a server answers over HTTP."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request


def answers(url: str, seconds: float = 5.0) -> bool:
    """Whether a GET of ``url`` is answered with 200 in that time."""
    return _status(url, seconds) == http.HTTPStatus.OK


def listens(url: str, seconds: float = 5.0) -> bool:
    """Whether it is answered at all in that time, be it that a password is wanted."""
    return _status(url, seconds) is not None


def _status(url: str, seconds: float) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=seconds) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException, ValueError):
        return None
