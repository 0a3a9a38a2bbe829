"""A session writes nothing outside its folder: ONNX Runtime's reports to its maker are off."""

import subprocess
import sys

import pytest

from tests.workbench import ROOT, environment

# Whether ONNX Runtime leaves files with its reports on depends on the machine; what it is told at its import does not.
PROGRAM = """
import os, sys
from pathlib import Path

class Told:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print("told", os.environ.get("ORT_DISABLE_TELEMETRY"))

sys.meta_path.insert(0, Told())
import numpy as np
from onnx import TensorProto, helper, save
value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"])
graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "g", [value("a")], [value("b")])
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "g.onnx")
if sys.argv[1] == "quantiser":
    import components.stages.export.quantise
    raise SystemExit
if sys.argv[1] == "ours":
    from components.serving.session import open_session
    from components.stages.export.onnx_graph import open_session as open_exported
    sessions = [open_session("g.onnx"), open_exported(Path("g.onnx"), 1)]
else:
    import onnxruntime
    sessions = [onnxruntime.InferenceSession("g.onnx")]
for session in sessions:
    session.run(None, {"a": np.ones(2, np.float32)})
"""


QUANTISER = pytest.param("quantiser", "1", marks=pytest.mark.slow)


@pytest.mark.parametrize(("which", "told"), [("ours", "1"), QUANTISER, ("bare", "None")])
def test_onnx_runtime_is_told_to_send_no_reports_and_leaves_no_file(tmp_path, which, told):
    home, folder = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    extra = {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "PYTHONPATH": str(ROOT)}
    variables = {name: value for name, value in environment(**extra).items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", PROGRAM, which]
    done = subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True, text=True)
    assert f"told {told}" in done.stdout.splitlines()
    if which != "bare":
        assert [path.name for path in home.rglob("*") if path.is_file() and not path.name.endswith(".pyc")] == []
