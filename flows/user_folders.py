"""The folders where data come in, looked at before DVC does: it opens whatever lies there, and waits for ever for a pipe."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from components.core.settings import Workspace
from components.core.strict import SettingsError


def check_user_folders(workspace: Workspace) -> None:
    """SettingsError naming what DVC could not read to its end in a dataset's ``path``: pipes, sockets, devices, broken links,
    names that are no UTF-8.
    """
    for name, block in workspace.params.datasets.items():
        path = block.get("path")
        if isinstance(path, str):
            for fault in _faults(str(workspace.folder / path)):
                raise SettingsError(f"datasets.{name}.path: {fault}")


def _faults(path: str) -> Iterator[str]:
    """What is wrong with ``path`` or below it. A missing path is DVC's to tell. Like DVC, it follows no link to a folder."""
    folders = [path]
    if os.path.lexists(path) and not os.path.isdir(path):
        yield from _fault(path)
        return
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif not entry.is_file(follow_symlinks=False):
                yield from _fault(entry.path)
            if not entry.name.isascii() and _is_no_utf8(entry.name):
                yield f"{entry.path!a}: the name is not UTF-8"


def _fault(path: str) -> Iterator[str]:
    try:
        kind = os.stat(path).st_mode
    except OSError as error:  # a link to nowhere, or to itself
        yield f"{path!r}: a link that leads nowhere ({error.strerror})"
        return
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        yield f"{path!r}: neither a file nor a folder, but a pipe, a socket or a device"


def _is_no_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # surrogates, which stand for bytes that are none
        return True
    return False
