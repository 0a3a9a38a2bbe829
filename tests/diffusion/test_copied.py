"""The folder works as a copy under another name, with torch alone: so it can stand beside the code that serves a model."""

import ast
import importlib
import shutil
import sys
from pathlib import Path

import torch

import components.diffusion

FOLDER = Path(components.diffusion.__file__).parent


def test_a_copy_samples_as_the_original(tmp_path, monkeypatch) -> None:
    shutil.copytree(FOLDER, tmp_path / "copied_diffusion", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(str(tmp_path))
    drawn = []
    for package in ("components.diffusion", "copied_diffusion"):
        parts = {name: importlib.import_module(f"{package}.{name}") for name in ("schedules", "times", "samplers")}
        schedule = parts["schedules"].make_schedule("cosine", 50)
        times, x = parts["times"].time_grid(schedule, 5), torch.ones(1, 1, 2, 2)
        drawn.append(
            parts["samplers"].SAMPLERS["ancestral"](lambda x, t: 0.5 * x, x, schedule, times, torch.Generator().manual_seed(0))
        )
    assert torch.equal(*drawn)
    for name in [name for name in sys.modules if name.split(".")[0] == "copied_diffusion"]:
        del sys.modules[name]


def test_no_file_imports_anything_but_torch_and_its_neighbours() -> None:
    standard = sys.stdlib_module_names | {"torch"}
    for file in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= standard, file.name
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1 or (node.module or "").split(".")[0] in standard, file.name
