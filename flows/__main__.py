"""``python -m flows <command>``: the commands of the pipeline. Prefect, MLflow and torch are imported only when there is work.

Exit codes: 0 done; 1 a stage failed, the others went on; 2 nothing was started, since a setting or an argument is wrong;
3 nothing was started, since another pipeline run is at work in the workspace; 130, 143 stopped by a signal.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from components.record.published import published
from components.settings import ROOT
from components.strict import SettingsError
from flows.environment import set_defaults
from flows.plan import IsPublished, Plan, make_plan
from flows.preflight import CheckSettings, broken_studies, check_settings, check_versions
from flows.project import AnotherRun, Project
from flows.report import describe, metrics_rows, table, where_to_look


def main(words: list[str], is_published: IsPublished = published, check: CheckSettings = check_settings) -> int:
    """Run the command; its exit code. A test may pass its own answers for ``is_published`` and ``check``."""
    arguments = parser().parse_args(words)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return run(arguments, is_published, check)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except AnotherRun as other:
        print(f"{other}; nothing was started", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line. A further command is one more subparser."""
    found = argparse.ArgumentParser(prog="python -m flows", description="Data sets into trained, measured, published models.")
    commands = found.add_subparsers(dest="command", required=True, metavar="command")
    what = {"run": "run what is stale, publish the results", "plan": "show what run would do, and why"}
    for name, text in what.items():
        command = commands.add_parser(name, help=text, description=text)
        chosen = command.add_mutually_exclusive_group()
        chosen.add_argument("--runs", metavar="A,B", default="", help="these runs of params.yaml (default: its pipeline.runs)")
        chosen.add_argument("--all", action="store_true", help="every run of params.yaml")
        command.add_argument("--study", metavar="NAME", help="work in experiments/NAME instead of the root")
        command.add_argument("--force", action="store_true", help="train, export and evaluate the runs though nothing changed")
        command.add_argument("--dry-run", action="store_true", default=name == "plan", help="only show the plan")
        command.add_argument("--project", metavar="FOLDER", type=Path, default=ROOT, help="another clone (default: this one)")
    return found


def run(arguments: argparse.Namespace, is_published: IsPublished, check: CheckSettings) -> int:
    """``run`` and ``plan``: preflight and plan in this process; a flow only if there is something to do."""
    project = Project(arguments.project.resolve(), arguments.study)
    chosen = project.choose(tuple(filter(None, arguments.runs.split(","))), arguments.all)
    check_versions(project.root)
    for line in broken_studies(project.root):
        print(f"warning: {line}", file=sys.stderr)
    if arguments.dry_run:
        print(describe(make_plan(project, chosen, arguments.force, is_published)))
        return 0
    with project.alone():
        plan = make_plan(project, chosen, arguments.force, is_published)
        if plan.empty:
            print(describe(plan), table(metrics_rows(project, chosen)), where_to_look(project), sep="\n")
            return 0
        print(describe(plan), flush=True)
        check(project, plan)
        return start(project, plan, arguments.force)


def start(project: Project, plan: Plan, force: bool) -> int:
    """Run the flow under the user's Prefect server, or a temporary one; 0 if all of it completed."""
    from flows.server import ServerFailed, start_server

    set_defaults()
    server = start_server(project)
    from flows.pipeline import pipeline  # Prefect is imported while the server starts

    try:
        server.wait_until_healthy()
    except ServerFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    state = pipeline(
        runs=list(plan.runs), study=project.study, force=force, project=str(project.root), checked=True, return_state=True
    )
    return 0 if state.is_completed() else 1


def _terminate(number: int, frame: object) -> None:
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
