"""Stage ``link``: write the pointer file (path, MD5) of one entry of ``links:``."""

import json

from components.core.artifact import content_md5
from components.core.files import write_atomically
from components.core.settings import Workspace
from components.core.strict import SettingsError


def run(workspace: Workspace, name: str) -> None:
    """Point at the artifact as it is now."""
    link = workspace.params.links[name]
    target = workspace.folder / link.artifact
    if not target.exists():
        raise SettingsError(f"links.{name}.from: {link.artifact} does not exist")
    pointer = workspace.links(link.run, link.stage)[link.role]
    pointer.parent.mkdir(parents=True, exist_ok=True)
    fields = {"path": link.artifact, "md5": content_md5(target)}
    write_atomically(pointer, (json.dumps(fields, sort_keys=True) + "\n").encode())
    print(f"{link.run} {link.stage}: {link.role} -> {link.artifact} {fields['md5']}")
