"""Compare the code with a stage's digest, at the start of every stage and on the texts that it will import.

Only the files in the digest are compared: if their import statements are unchanged, so is the set of files. Digests are cached
by text (``.work/digests.json``): a hundred syntax trees take most of a second.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from components.core import settings
from components.core.config.strict import SettingsError
from components.core.files import write_atomically
from components.core.settings import Workspace
from components.stages.code import digest
from components.stages.code.closure import COMPONENTS, file_of
from components.stages.code.stage import FAULT, modules

SHIPPED = "shipped: "
KNOWN = 5000  # size of the cache


def edited_files(
    workspace: Workspace, stage: str, name: str, texts: Mapping[str, bytes], components: Path = COMPONENTS
) -> list[str]:
    """Return the files whose code differs from ``outputs/code/<stage>/<name>.json``; ``texts``: absolute path -> bytes."""
    path = workspace.folder / "outputs" / "code" / stage / f"{name}.json"
    recorded: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    if FAULT in recorded:
        raise SettingsError(recorded[FAULT])
    known = _Known()
    edited = [
        file
        for file, expected in recorded.items()
        if known.digest(file, texts.get(str(components.parent / file.removeprefix(SHIPPED)))) != expected
    ]
    known.save()
    needed = {f"components/{file}" for module in modules(workspace, stage, name) if (file := file_of(module, components))}
    return [*edited, *sorted(needed - set(recorded))]  # a run whose recipe changed since


class _Known:
    """Cache: SHA-256 of a text -> digest of its code, valid for one version of ``digest.py``."""

    def __init__(self) -> None:
        self.path = settings.WORK / "digests.json"
        self.version = hashlib.sha256(Path(digest.__file__).read_bytes()).hexdigest()
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            self.before: dict[str, str] = content["digests"] if content["version"] == self.version else {}
        except (OSError, ValueError, KeyError, TypeError):
            self.before = {}
        self.new: dict[str, str] = {}

    def digest(self, file: str, text: bytes | None) -> str | None:
        """Return the digest of a file; None if it is missing or cannot be parsed."""
        if text is None:
            return None
        hashed = hashlib.sha256(text).hexdigest()
        if file.startswith(SHIPPED):
            return hashed
        if hashed not in self.before and hashed not in self.new:
            try:
                self.new[hashed] = digest.text_digest(text.decode(), file)
            except (SyntaxError, ValueError):
                return None
        return self.new.get(hashed) or self.before[hashed]

    def save(self) -> None:
        """Save the newest entries. If two processes write at once, one's additions are lost and computed again."""
        if self.new:
            digests = dict(list({**self.before, **self.new}.items())[-KNOWN:])
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps({"version": self.version, "digests": digests}).encode())
