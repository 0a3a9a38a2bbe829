"""``python -m components.registry.latency RUN[:VERSION] ...``: latency and size of exports, measured together.

A run alone is its export in outputs/export; a version, by number or alias, comes from the model registry.
"""

import argparse
from pathlib import Path

from components.command import run_command
from components.core.config.strict import SettingsError, must_exist
from components.core.files import write_json
from components.core.settings import Workspace
from components.registry.latency.measure import PROCESSES
from components.registry.latency.table import costs, document, text


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(prog="python -m components.registry.latency", description=__doc__)
    parser.add_argument("runs", metavar="RUN[:VERSION]", nargs="+")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = costs({name: export_of(Workspace(), name) for name in args.runs}, args.processes)
    print(text(found))
    if args.json:
        write_json(args.json, document(found))


def export_of(workspace: Workspace, name: str) -> Path:
    """Return the export folder of ``RUN`` in outputs/, or of ``RUN:VERSION`` in the registry; SettingsError without one."""
    run, _, version = name.partition(":")
    must_exist(run, workspace.params.every_run(), "RUN")
    if version:
        return _registered(workspace, run, version)
    folder = workspace.folder / "outputs" / "export" / run
    if not (folder / "served.py").is_file():
        raise SettingsError(f"RUN: outputs/export/{run} is not here; `python -m flows run --runs {run}` makes it")
    return folder


def _registered(workspace: Workspace, run: str, version: str) -> Path:
    from components.registry import model_registry as registry
    from components.registry.record.origin import find_version
    from components.registry.tracking import connect, reachable

    name = workspace.registered_name(run)
    with reachable():
        client = connect()
        return registry.export_folder(client, name, int(find_version(client, name, version).version))


if __name__ == "__main__":
    run_command(main)
