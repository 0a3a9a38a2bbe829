"""The code itself: nothing unpickles, evaluates text or goes through a shell; nothing of params.yaml stands in a command."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from components.registry.record.serving_entry import ENTRY

ROOT = Path(__file__).resolve().parents[2]
UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "skops"}
FORBIDDEN = {"eval", "exec", "compile", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
FORBIDDEN |= {
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "pandas.read_pickle",
    "torch.jit.load",
    "torch.package.PackageImporter",
}
# A call of these is harmless only with this argument.
NEEDS = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False), "numpy.load": ("allow_pickle", False)}


def sources() -> list[Path]:
    return sorted(path for folder in ("components", "flows") for path in (ROOT / folder).rglob("*.py"))


def _makes_plain_values(call: ast.Call) -> bool:
    """Whether ruamel's loader makes no objects of a file's choosing: ``safe`` and, by default, the round trip's ``rt``."""
    kinds = [word.value for word in call.keywords if word.arg == "typ"] + call.args[:1]
    return all(isinstance(kind, ast.Constant) and kind.value in ("safe", "rt") for kind in kinds)


def faults(text: str) -> list[str]:
    """What in the source must not be there."""
    return [f"line {node.lineno}: {fault}" for node in ast.walk(ast.parse(text)) for fault in _faults_of(node)]  # type: ignore[attr-defined]


def _faults_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        yield from (f"imports {module}" for module in modules if module.split(".")[0] in UNPICKLERS)
    if isinstance(node, ast.ImportFrom) and node.module in ("torch", "numpy"):
        yield from ("imports load by its bare name" for alias in node.names if alias.name == "load")
    if not isinstance(node, ast.Call):
        return
    called = ast.unparse(node.func)
    given = {word.arg: word.value for word in node.keywords}
    if called in FORBIDDEN:
        yield f"calls {called}"
    if called in NEEDS:
        name, value = NEEDS[called]
        if not (isinstance(given.get(name), ast.Constant) and given[name].value is value):
            yield f"calls {called} without {name}={value}"
    shell = given.get("shell")
    if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
        yield f"calls {called} with a shell"
    if called.endswith("YAML") and not _makes_plain_values(node):
        yield "reads YAML that may make any object"


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "from torch import load",
        "np.load(path)",
        "subprocess.run(f'rm {x}', shell=True)",
        "os.system('x')",
        "eval(text)",
        "YAML(typ='unsafe').load(x)".replace("unsafe", "full"),
    ],
)
def test_each_fault_is_found(text: str) -> None:
    assert faults(text)


def test_no_source_has_one() -> None:
    assert len(sources()) > 80
    assert {str(path.relative_to(ROOT)): found for path in sources() if (found := faults(path.read_text()))} == {}
    assert faults(ENTRY) == []  # the script that a registered model carries


def test_of_params_yaml_only_the_root_stands_in_a_command() -> None:
    stages = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        command = stage.get("do", stage)["cmd"]
        assert command.count("${") == 1, name
        own = " code" if name == "code" else f' {name} "$DVC_STAGE"'
        assert command == f"exec env PYTHONPATH='${{root}}' python -m components{own}", name
    assert "${root}/components" in stages["code"]["deps"]  # DVC stops there if it does not exist, before any other stage
