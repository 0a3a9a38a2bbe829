"""Show every block of params.yaml as the stages will read it: ``python -m components check``."""

from __future__ import annotations

from components.core.config.needs import KINDS
from components.core.config.strict import Strict, refuse
from components.core.settings import Workspace
from components.stages.checks import block_faults


def describe(workspace: Workspace) -> str:
    """Format every parsed block as YAML-like text. SettingsError lists the faults of all blocks."""
    params = workspace.params
    blocks = [f"{kind}.{name}" for kind in KINDS for name in getattr(params, kind)]
    refuse([*(line for lines in params.faults.values() for line in lines), *block_faults(workspace, blocks)])
    lines = [f"datasets.{name}: {_flat(workspace.dataset(name))}" for name in params.datasets]
    lines += [f"views.{name}: {_flat(workspace.view(name))}" for name in params.views]
    for name in params.runs:
        lines += _run(workspace, name)
    lines += [f"detect.{name}: {_flat(workspace.detection(name))}" for name in params.detect]
    return "\n".join([*lines, *(f"ood.{name}: {_flat(entry)}" for name, entry in params.ood.items())])


def _run(workspace: Workspace, name: str) -> list[str]:
    run = workspace.run(name)
    blocks = {"train": run.train, "export": run.export, "evaluate": run.evaluate, "promote": workspace.gates(name)}
    return [
        f"runs.{name}: recipe={run.recipe} view={run.view}",
        f"  model: name={run.model.name} " + " ".join(f"{key}={value}" for key, value in run.model.options.items()),
        *(f"  {block}: {_flat(settings)}" for block, settings in blocks.items()),
    ]


def _flat(settings: Strict) -> str:
    return " ".join(f"{key}={value}" for key, value in settings.model_dump().items())
