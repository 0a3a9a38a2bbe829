"""Secrets cut out of what is shown or written: passwords in addresses, such as that of a tracking server."""

from __future__ import annotations

import re

HIDDEN = "***"
_USER = re.compile(r"(://[^/\s:@]*):[^/\s]*@")  # ://user:password@host; the password may hold an @, never a /
_QUERY = re.compile(r"([?&;](?:[\w-]*(?:password|passwd|pwd|secret|token|key)[\w-]*)=)[^&;\s'\"]+", re.IGNORECASE)


def redacted(text: str) -> str:
    """``text`` with the passwords of the addresses in it replaced by ``***``."""
    return _QUERY.sub(rf"\1{HIDDEN}", _USER.sub(rf"\1:{HIDDEN}@", text))
