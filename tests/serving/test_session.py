"""A session writes nothing outside its folder: ONNX Runtime's reports to its maker are off."""

import subprocess
import sys
from pathlib import Path

from tests.workbench import ROOT, environment

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from onnx import TensorProto, helper, save
value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"])
graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "g", [value("a")], [value("b")])
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "g.onnx")
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


def files_in_home(home: Path, which: str) -> list[str]:
    """Run the program in a fresh home, and return the files that it left there."""
    home.mkdir()
    folder = home.with_name(f"{which}-work")
    folder.mkdir()
    extra = {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "PYTHONPATH": str(ROOT)}
    variables = {name: value for name, value in environment(**extra).items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", PROGRAM, which], cwd=folder, env=variables, check=True)
    return [path.name for path in home.rglob("*") if path.is_file() and not path.name.endswith(".pyc")]


def test_no_file_of_telemetry_appears_in_a_fresh_home(tmp_path):
    assert files_in_home(tmp_path / "home", "ours") == []
    assert files_in_home(tmp_path / "other", "bare") != []  # else this test would notice nothing
