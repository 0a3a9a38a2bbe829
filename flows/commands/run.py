"""``run``: preflight and plan in this process; a flow only if there is something to do."""

from __future__ import annotations

import argparse

from components.registry.record.published import published
from flows.commands.chosen import choice, chosen_runs
from flows.commands.starting import ready_flow
from flows.notify import check_addresses
from flows.plan import IsPublished, Plan, make_plan
from flows.preflight import CheckSettings, check_settings
from flows.project import Project
from flows.report import describe, metrics_rows, ood_tables, table, where_to_look

HELP = "run what is stale, publish the results"


def arguments(parser: argparse.ArgumentParser) -> None:
    """``python -m flows run``."""
    choice(parser)
    parser.add_argument("--dry-run", action="store_true", help="only show the plan")


def main(given: argparse.Namespace, is_published: IsPublished = published, check: CheckSettings = check_settings) -> int:
    """Run the pipeline. A test may pass its own answers for ``is_published`` and ``check``."""
    project, runs = chosen_runs(given)
    check_addresses(project.params)
    if given.dry_run:
        print(describe(make_plan(project, runs, given.force, is_published)))
        return 0
    with project.alone():
        plan = make_plan(project, runs, given.force, is_published)
        if plan.empty:
            tables = (describe(plan), table(metrics_rows(project, runs)), ood_tables(project, runs), where_to_look(project))
            print("\n".join(filter(None, tables)))
            return 0
        print(describe(plan), flush=True)
        check(project, plan)
        return start(project, plan, given.force)


def start(project: Project, plan: Plan, force: bool) -> int:
    """Run the flow under the user's Prefect server, or a temporary one; 0 if all of it completed."""
    pipeline = ready_flow(project, "pipeline")
    if pipeline is None:
        return 1
    state = pipeline(
        runs=list(plan.runs), study=project.study, force=force, project=str(project.root), checked=True, return_state=True
    )
    return 0 if state.is_completed() else 1
