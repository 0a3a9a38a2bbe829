"""Stage ``link``: write the pointer file (path, MD5) of one entry of ``links:``."""

from components.core.artifact import write_pointer
from components.core.config.strict import SettingsError
from components.core.settings import Workspace


def run(workspace: Workspace, name: str) -> None:
    """Write the pointer to the artifact with its current MD5."""
    link = workspace.params.links[name]
    if not (workspace.folder / link.artifact).exists():
        raise SettingsError(f"links.{name}.from: {link.artifact} does not exist")
    pointer = workspace.links(link.run, link.stage)[link.role]
    md5 = write_pointer(pointer, workspace.folder, link.artifact)
    print(f"{link.run} {link.stage}: {link.role} -> {link.artifact} {md5}")
