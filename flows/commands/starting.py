"""A flow that is to run in this process: under the user's Prefect server, or a temporary one."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from flows.environment import set_defaults
from flows.project import Project


def ready_flow(project: Project, name: str) -> Any | None:
    """The flow ``name`` of ``flows.<name>``, once a server answers; None where none comes up, which is said."""
    from flows.server import ServerFailed, start_server

    set_defaults()
    server = start_server(project)
    flow = getattr(importlib.import_module(f"flows.{name}"), name)  # Prefect is imported while the server starts
    try:
        server.wait_until_healthy()
    except ServerFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return None
    return flow
