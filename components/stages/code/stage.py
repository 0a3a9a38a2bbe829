"""Stage ``code``: write the code digests of every stage and block to ``outputs/code/<stage>/<name>.json``.

Each other stage depends on its own digest file and on no code file: an edit invalidates only the stages that use the code, and
an edit of comments or layout none.

``outputs/code/links/<run>.json`` has the roles of a run's links by stage, ``outputs/code/scored/<detect>.json`` the entries of
``ood`` for a block ``detect.<detect>``, ``outputs/code/card/<run>.json`` what the report says of a run's data: dvc.yaml cannot
express them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from components.core import catalogue
from components.core.config.references import DETECTOR, FROZEN_ROLES
from components.core.config.strict import SettingsError
from components.core.settings import Workspace
from components.stages.code.closure import COMPONENTS, closure, file_of
from components.stages.code.digest import code_digest

MODULES = {
    "fetch": "components.stages.fetch.stage",
    "augment": "components.stages.augment.stage",
    "wire": "components.stages.link.wire",
    "link": "components.stages.link.stage",
    "train": "components.stages.train.stage",
    "detect": "components.stages.detect.stage",
    "export": "components.stages.export.stage",
    "evaluate": "components.stages.evaluate.stage",
    "ood": "components.stages.detect.outside",
    "ood_table": "components.stages.detect.table",
}
FAULT = "fault"  # key in the document of a block without a digest
LINKED = ("train", "export", "evaluate")  # stages that take links
LOOP = "components.stages.train.settings"  # a part of every run's block ``train``


def run(workspace: Workspace, name: str = "") -> None:
    """Write ``contents`` to an empty folder."""
    out = workspace.folder / "outputs" / "code"
    shutil.rmtree(out, ignore_errors=True)
    params = workspace.params
    unwritten = [line for run in params.runs for line in params.unwritten(run)]
    for line in dict.fromkeys([*(line for lines in params.faults.values() for line in lines), *unwritten]):
        print(f"warning: {line}")
    texts = contents(workspace)
    for file, text in texts.items():
        path = out / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(f"{len(texts)} digests of code")


def contents(workspace: Workspace, components: Path = COMPONENTS) -> dict[str, str]:
    """Return the files of this stage: "<stage>/<name>.json" -> text. ``components``: the folder of the code.

    A block that names something that is in no catalogue has no digest, but its fault: its stages fail with it, and no others.
    """
    documents: dict[str, object] = {}
    for stage, names in blocks(workspace).items():
        for name in names:
            try:
                documents[f"{stage}/{name}.json"] = digests_of(workspace, stage, name, components)
            except SettingsError as error:
                documents[f"{stage}/{name}.json"] = {FAULT: str(error)}
    documents |= {f"links/{run}.json": roles(workspace, run) for run in workspace.params.runs}
    documents |= {f"scored/{name}.json": scored(workspace, name) for name in workspace.params.detect}
    documents |= {f"card/{run}.json": card(workspace, run) for run in workspace.params.runs}
    return {file: json.dumps(content, indent=1, sort_keys=True) + "\n" for file, content in documents.items()}


def blocks(workspace: Workspace) -> dict[str, list[str]]:
    """Return stage -> the names of the blocks that it runs for."""
    params = workspace.params
    names = {stage: list(params.runs) for stage in ("wire", "train", "export", "evaluate")}
    names |= {stage: list(params.detect) for stage in ("detect", "ood_table")}
    return names | {
        "fetch": list(params.datasets),
        "augment": list(params.views),
        "link": list(params.links),
        "ood": list(params.ood),
    }


def digests_of(workspace: Workspace, stage: str, name: str, components: Path = COMPONENTS) -> dict[str, str]:
    """Return file -> digest of the code that the stage uses for this block; shipped files are hashed by their bytes."""
    start = [file for module in modules(workspace, stage, name) if (file := file_of(module, components))]
    digests = {f"components/{file}": code_digest(components / file) for file in closure(start, components)}
    if stage == "export":
        shipped = closure([f"families/{workspace.params.runs[name].recipe}/served.py"], components)
        digests |= {f"shipped: components/{file}": _bytes(components / file) for file in shipped}
    return digests


def modules(workspace: Workspace, stage: str, name: str) -> list[str]:
    """Return the root modules of the stage: its own, and those that it imports by names in params.yaml."""
    params, own = workspace.params, [MODULES[stage]]
    if stage == "fetch":
        key = f"datasets.{name}.source"
        return [*own, catalogue.module_of("source", str(params.datasets[name].get("source")), key)]
    if stage == "evaluate":
        return [*own, _evaluation(workspace, name)]
    if stage not in ("train", "detect", "ood", "export"):
        return own
    detection = params.ood[name].detect if stage == "ood" else name
    run = str(params.detect[detection]["run"]) if stage in ("detect", "ood") else name
    block, key = params.runs[run], f"runs.{run}"
    recipe = catalogue.module_of("recipe", block.recipe, f"{key}.recipe")
    network = catalogue.module_of("network", str(block.model.get("name")), f"{key}.model.name")
    return [*own, LOOP, recipe, network, *_frozen(workspace, stage, run), *_detectors(workspace, stage, run)]


def _frozen(workspace: Workspace, stage: str, run: str) -> list[str]:
    """Return the modules of frozen networks, a teacher's or backbones', which a training builds."""
    linked = [link for link in workspace.params.links.values() if (link.run, link.stage) == (run, stage)]
    frozen = [link for link in linked if link.role in FROZEN_ROLES and link.artifact.startswith("outputs/train/")]
    named = [(link.role, link.artifact.split("/")[2]) for link in frozen]
    models: list[tuple[str, Mapping[str, Any]]] = []
    models += [(role, workspace.params.runs[name].model) for role, name in named if name in workspace.params.runs]
    models += _of_files(workspace.params.runs[run].train) if stage == "train" else []
    return [catalogue.module_of("network", str(model.get("name")), f"runs.{run}: its {role}") for role, model in models]


def _of_files(train: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return (role, model) of the networks that a run names for published files; those of blocks with faults are left out."""
    vision = train.get("vision")
    files = vision.get("published") if isinstance(vision, Mapping) else None
    models = {role: file.get("model") for role, file in files.items()} if _of_mappings(files) else {}
    return [(role, model) for role, model in models.items() if isinstance(model, Mapping)]


def _of_mappings(block: Any) -> TypeGuard[Mapping[str, Mapping[str, Any]]]:
    return isinstance(block, Mapping) and all(isinstance(value, Mapping) for value in block.values())


def _detectors(workspace: Workspace, stage: str, run: str) -> list[str]:
    """Return the modules of all detectors for the stages that fit and score; for an export, of the linked one."""
    if stage in ("detect", "ood"):
        return [target.partition(":")[0] for target in catalogue.names("detector").values()]
    if stage == "export" and DETECTOR in workspace.links(run, "export"):
        name = workspace.detection_of(run)
        return [catalogue.module_of("detector", str(workspace.params.detect[str(name)]["serve"]), f"detect.{name}.serve")]
    return []


def roles(workspace: Workspace, run: str) -> dict[str, list[str]]:
    """Return stage -> the roles of the run's links."""
    return {stage: list(workspace.links(run, stage)) for stage in LINKED}


def scored(workspace: Workspace, detection: str) -> dict[str, dict[str, str]]:
    """Return the entries of ``ood`` for a block of ``detect``: view -> its settings."""
    return {view: entry.model_dump(by_alias=True) for view, entry in workspace.ood(detection).items()}


def card(workspace: Workspace, run: str) -> dict[str, object]:
    """Return what the run's report says of its data: the view's block, the dataset's source and licence."""
    view = workspace.params.views.get(workspace.params.runs[run].view, {})
    dataset = workspace.params.datasets.get(str(view.get("dataset")), {})
    return {"view": view, "source": dataset.get("source"), "licence": dataset.get("licence")}


def _evaluation(workspace: Workspace, run: str) -> str:
    return catalogue.evaluation_module(workspace.params.runs[run].recipe, f"runs.{run}.recipe")


def _bytes(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
