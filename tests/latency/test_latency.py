"""Exports measured together take turns; sizes are counted by hand; other work on the machine is reported."""

import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from components.core.files import write_arrays
from components.registry.latency import table, timing
from components.registry.latency.measure import Latency, measure_together, summarise
from components.registry.latency.size import Size, counts_of, size_of
from components.serving.float_graph import FLOAT

SERVED = """
import json, time
class Served:
    def __init__(self, folder):
        self.rest = json.loads((folder / "facts.json").read_text())["rest"]
    def predict(self, inputs, params=None):
        assert inputs["image"].shape == (1, 2)
        time.sleep(self.rest)
"""


def export(folder, rest):
    folder.mkdir()
    (folder / "served.py").write_text(SERVED)
    (folder / "facts.json").write_text(json.dumps({"rest": rest}))
    write_arrays(folder / "example.npz", {"image": np.zeros((3, 2), np.uint8)})
    return folder


def test_exports_take_turns_and_a_slow_one_is_called_less_often():
    now, order, costs = [0.0], [], {"quick": 0.001, "slow": 1.0}

    def call(name):
        order.append(name)
        now[0] += costs[name]

    times = timing.take_turns([lambda: call("quick"), lambda: call("slow")], clock=lambda: now[0])
    assert order[:12] == ["quick"] * 6 + ["slow"] * 6
    assert order[12:18] == ["slow"] * 6
    assert [len(found) for found in times] == [400, 10]
    assert times[1] == pytest.approx([1.0] * 10)


def test_two_exports_in_processes_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    folders = {name: export(tmp_path / name, rest) for name, rest in (("a", 0.002), ("b", 0.02))}
    found = measure_together(folders, processes=1)
    assert 2 <= found["a"].median_ms < found["b"].median_ms
    assert found["b"].median_ms >= 20
    assert not found["a"].quiet  # it slept


def test_a_process_that_fails_says_why(tmp_path):
    folder = export(tmp_path / "a", 0)
    (folder / "served.py").write_text("raise ImportError('no such thing')")
    with pytest.raises(RuntimeError, match=r"the measurement failed: .*no such thing"):
        measure_together({"a": folder}, processes=1)


def test_figures_are_medians_over_processes():
    found = summarise([[0.001] * 9 + [0.1], [0.003] * 10, [0.002] * 10], cpu_share=0.4)
    assert (found.median_ms, found.low_ms, found.high_ms, found.calls) == (2.0, 1.0, 3.0, 30)
    assert found.p99_ms == pytest.approx(3.0)
    shown = table.text({"x": table.Cost(found, Size(1.5, 1000, None))})
    assert "had 40% of a core" in shown
    quiet = Latency(1.0, 1.0, 1.0, 1.0, 5, cpu_share=0.99)
    assert "warning" not in table.text({"x": table.Cost(quiet, Size(1.5, 1000, 5))})


def small_graph(path):
    """8 x 8 pixels: a strided convolution, a grouped one, a linear layer; the batch is dynamic."""
    shapes = {"a": (4, 1, 3, 3), "b": (4, 1, 3, 3), "w": (64, 5), "a0": (4,), "b0": (4,), "w0": (5,)}
    tensors = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["image", "a", "a0"], ["first"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Conv", ["first", "b", "b0"], ["second"], pads=[1] * 4, group=4),
        helper.make_node("Flatten", ["second"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "w0"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5])
    save(helper.make_model(helper.make_graph(nodes, "small", [image], [logits], tensors)), str(path))


def test_sizes_are_those_counted_by_hand(tmp_path):
    small_graph(tmp_path / "model.onnx")
    weights = (9 * 4 + 4) + (9 * 4 + 4) + (64 * 5 + 5)
    products = 16 * 4 * 9 + 16 * 4 * 9 + 64 * 5
    assert counts_of(tmp_path / "model.onnx") == (weights, products)
    size = (tmp_path / "model.onnx").stat().st_size
    assert size_of(tmp_path) == Size(round(size / 1e6, 4), weights, products)
    (tmp_path / FLOAT).write_bytes((tmp_path / "model.onnx").read_bytes())
    (tmp_path / "linked/judge").mkdir(parents=True)
    (tmp_path / "linked/judge/model.onnx").write_bytes(b"x" * 10_000)
    found = size_of(tmp_path)
    assert found == Size(round((size + 10_000) / 1e6, 4), weights, products), "the float graph is not served, a judge is"
