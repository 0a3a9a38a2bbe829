"""What ``up`` left behind when its supervisor was killed."""

from __future__ import annotations

from collections.abc import Iterator

from components.core.files import is_gone
from flows.doctor.finding import Finding
from flows.project import Project
from flows.running import held, read_state, state_file


def servers(project: Project) -> Iterator[Finding]:
    """A note of servers whose supervisor is gone, or that cannot be read."""
    if not state_file().is_file() or held():  # a living supervisor writes a spoilt note anew
        return
    state = read_state()
    if state is None:
        yield Finding("note of the servers cannot be read", str(state_file()), "removes it", state_file().unlink)
    elif is_gone(state.supervisor):
        where = f"{state_file()}: supervisor {state.supervisor} is gone"
        yield Finding("servers that are not up are said to be", where, "removes the note", state_file().unlink)
