"""The folder needs torch alone and its neighbours, so that it can be copied under any name."""

import ast
import sys
from pathlib import Path

import components.adversarial

FOLDER = Path(components.adversarial.__file__).parent


def test_no_file_imports_anything_but_torch_and_its_neighbours() -> None:
    standard = sys.stdlib_module_names | {"torch"}
    for file in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= standard, file.name
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1 or (node.module or "").split(".")[0] in standard, file.name
