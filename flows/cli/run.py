"""``run`` and ``plan``: check and plan in this process; start a flow only if there is something to do."""

from __future__ import annotations

import argparse

from components.registry.record.published import published
from flows.cli.arguments import add_runs, chosen_runs, other_runs, ready_flow
from flows.dvc import merge_driver
from flows.pipeline.plan import IsPublished, PipelinePlan, make_plan
from flows.pipeline.preflight import CheckSettings, check_settings
from flows.pipeline.report import describe, metrics_rows, ood_tables, table, where_to_look
from flows.project import Project
from flows.services.notify import check_addresses


def run_arguments(parser: argparse.ArgumentParser) -> None:
    add_runs(parser)
    parser.add_argument("--dry-run", action="store_true", help="only show the plan")


plan_arguments = add_runs


def plan(args: argparse.Namespace, is_published: IsPublished = published, check: CheckSettings = check_settings) -> int:
    """Show what run would do and why. It makes the same checks as run."""
    project, runs = chosen_runs(args)
    todo = make_plan(project, runs, args.force, is_published)
    check(project, todo)
    print(*filter(None, (describe(todo), other_runs(args, project, runs))), sep="\n")
    return 0


def run(args: argparse.Namespace, is_published: IsPublished = published, check: CheckSettings = check_settings) -> int:
    """Run the stale stages of the selected runs, and publish the results."""
    # A test may pass its own answers for `is_published` and `check`.
    project, runs = chosen_runs(args)
    check_addresses(project.params)
    if args.dry_run:
        return plan(args, is_published, check)
    merge_driver.install(project.root)
    from flows.upkeep.processes import repair_locks

    with project.alone():
        for line in repair_locks(project):
            print(line, flush=True)
        todo = make_plan(project, runs, args.force, is_published)
        if todo.empty:
            tables = (describe(todo), other_runs(args, project, runs), table(metrics_rows(project, runs)))
            print("\n".join(filter(None, (*tables, ood_tables(project, runs), where_to_look(project)))))
            return 0
        check(project, todo)
        print(*filter(None, (describe(todo), other_runs(args, project, runs))), sep="\n", flush=True)
        return _start(project, todo, args.force)


def _start(project: Project, todo: PipelinePlan, force: bool) -> int:
    """Run the flow with the user's Prefect server or a temporary one; return 0 if everything completed."""
    pipeline = ready_flow(project, "flows.pipeline.flow", "pipeline")
    if pipeline is None:
        return 1
    state = pipeline(
        runs=list(todo.runs), study=project.study, force=force, project=str(project.root), checked=True, return_state=True
    )
    return 0 if state.is_completed() else 1
