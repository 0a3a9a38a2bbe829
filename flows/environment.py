"""The environment of a command and of all that it starts: proxies, DVC's files. What the user has set stays."""

from __future__ import annotations

import os
import sys
from configparser import ConfigParser, Error
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from components import environment
from components.core import settings
from components.core.errors import redacted

SITE = "DVC_SITE_CACHE_DIR"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PROXIES = ("ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy")


def prepare(root: Path) -> None:
    """Prepare this process and its children, before DVC or Prefect is imported. ``root``: of the clone."""
    environment.prepare()
    ask_loopback_directly()
    for line in leave_out_socks():
        print(f"warning: {line}", file=sys.stderr)
    keep_dvc_files(root)


def ask_loopback_directly() -> None:
    """Exclude loopback addresses from the environment's proxy, which could not reach them."""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = os.environ.get(name, "").split(",")
        os.environ[name] = ",".join(filter(None, dict.fromkeys([*hosts, *LOOPBACK])))


def leave_out_socks() -> list[str]:
    """Remove SOCKS proxies that httpx cannot use without the package socksio; return a line for each.

    Prefect's client (httpx) fails with such a proxy in the environment even for addresses that NO_PROXY excludes.
    """
    if find_spec("socksio"):
        return []
    names = [name for name in PROXIES if urlsplit(os.environ.get(name, "")).scheme.startswith("socks")]
    lines = [f"{name}={redacted(os.environ[name])} is not used: a SOCKS proxy needs the package socksio" for name in names]
    for name in names:
        del os.environ[name]
    return lines


def keep_dvc_files(root: Path) -> None:
    """Let DVC keep its hashes and indexes in the state folder instead of /var/tmp/dvc, unless the user has chosen a place."""
    if not os.environ.get(SITE) and not _chosen_place(root):
        os.environ[SITE] = str(settings.WORK / "dvc")


def _chosen_place(root: Path) -> bool:
    """Whether one of DVC's configuration files sets ``core.site_cache_dir``."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    folders = [
        root / ".dvc",
        Path(os.environ.get("DVC_GLOBAL_CONFIG_DIR") or home / "dvc"),
        Path(os.environ.get("DVC_SYSTEM_CONFIG_DIR") or "/etc/xdg/dvc"),
    ]
    config = ConfigParser(interpolation=None)
    with suppress(Error, OSError, UnicodeDecodeError):
        config.read([folder / name for folder in folders for name in ("config", "config.local")], encoding="utf-8")
    return config.has_option("core", "site_cache_dir")
