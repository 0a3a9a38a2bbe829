"""``python -m components STAGE NAME``: run one stage of the graph for one block of params.yaml, in the working folder.

``python -m components publish RUN`` publishes the results of a run to MLflow; ``python -m components check`` validates
params.yaml and prints the settings of all stages, ``check RUN`` validates what one run needs. Exit codes: 2 user error, 75
transient error.

This is the only entry of the stages. It only adds observation: no result depends on it, and it is part of no code digest.
"""

from __future__ import annotations

import importlib
import sys

from components.interpreter import use_project_interpreter

use_project_interpreter("components")

from components.command import block_name, run_command  # noqa: E402
from components.core.config.cron import check_schedules  # noqa: E402
from components.core.config.strict import SettingsError, refuse  # noqa: E402
from components.core.inputs.code import Code  # noqa: E402
from components.core.inputs.declared import repository  # noqa: E402
from components.core.inputs.recording import recorded_inputs  # noqa: E402
from components.core.outputs import OUTPUTS, require_inside  # noqa: E402
from components.core.settings import PARAMS, ROOT, Workspace  # noqa: E402
from components.stages.checked import faults, require_sound  # noqa: E402
from components.stages.code.closure import COMPONENTS  # noqa: E402
from components.stages.code.current import edited_files  # noqa: E402
from components.stages.code.stage import MODULES  # noqa: E402
from components.versions import check_versions  # noqa: E402

CODE = "components.stages.code.stage"
USAGE = f"python -m components STAGE NAME; stages: code, {', '.join(MODULES)}; or: publish RUN, check [RUN ...]"


def main() -> None:
    """Parse the command line and run."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["check"]:
        check(arguments[1:])
        return
    stage, name = (*arguments, "")[:2]
    alone = stage == "code"  # the one stage without a block
    if stage not in (*MODULES, "code", "publish") or len(arguments) > 2 or (bool(name) == alone and not alone):
        raise ValueError(f"usage: {USAGE}")
    run_stage(Workspace(), stage, "" if alone else block_name(name))


def run_stage(workspace: Workspace, stage: str, name: str) -> None:
    """Run the stage, record its inputs, and report to the tracking server."""
    check_versions(ROOT)
    if stage == "publish":
        from components.registry.publishing import publish_run

        publish_run(workspace, name, strict=True)
        return
    require_inside(workspace.folder / OUTPUTS, repository(workspace.folder))
    if not (workspace.folder / "dvc.yaml").is_file():  # run by hand, outside a DVC workspace
        importlib.import_module(MODULES.get(stage, CODE)).run(workspace, name)
        return
    if stage == "ood_table":
        from components.stages.detect.places import clear

        clear(workspace, name)  # part of its inputs, so before they are recorded
    code = Code(COMPONENTS, lambda texts: edited_files(workspace, stage, name, texts)) if name else None
    with recorded_inputs(workspace, f"{stage}@{name}" if name else stage, code) as inputs:
        require_sound(workspace, stage, name)
        module = importlib.import_module(MODULES.get(stage, CODE))
        if stage == "train":
            from components.registry.tracking import live_curves

            module.run(workspace, name, observe=live_curves, inputs=inputs.digest)
            return
        module.run(workspace, name)
        if stage in ("evaluate", "ood_table"):
            from components.registry.publishing import publish_run

            inputs.require_unchanged()
            run = workspace.detection(name).run if stage == "ood_table" else name
            publish_run(workspace, run, strict=False, detection=stage == "ood_table")


def check(runs: list[str]) -> None:
    """Check the runs, or print every block as the stages will read it; exit with code 2 and all faults if there are any."""
    try:
        check_schedules(Workspace().params.schedules)
        if runs:
            refuse(faults(Workspace(), runs))
            return
        from components.stages.describe import describe

        print(describe(Workspace()))
    except SettingsError as error:
        lines = str(error).splitlines()
        print(*(f"{PARAMS}: {line}" if line[:1].strip() else line for line in lines), sep="\n", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    run_command(main)
