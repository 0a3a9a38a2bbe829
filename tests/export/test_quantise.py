"""A quantised export: the same bytes in every process, as near to the float graph as it says, refused with its key."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from workbench import ROOT, environment, write_view

from components.core.config.strict import SettingsError
from components.core.recipe import Exportable, Graph
from components.families.classification.evaluation import Settings as EvaluateSettings
from components.families.classification.evaluation import evaluate
from components.families.classification.settings import ExportSettings
from components.serving.float_graph import FLOAT, float_export
from components.serving.loading import load_served
from components.stages.export import agreement
from components.stages.export.quantisable import check_quantisable
from components.stages.export.quantise import calibration_rows, kept_nodes, quantise
from components.stages.export.served_code import write_code
from components.stages.views.view import open_view

CLASSES, SIZE, IMAGES = ("a", "b", "c"), 8, 40


def float_graph(path, scale=1.0):
    """Image [N, 1, 8, 8] -> (logits [N, 3], features [N, 64]): convolution, HardSwish, two linear layers."""
    random = np.random.default_rng(0)
    shapes = {"kernel": (4, 1, 3, 3), "bias": (4,), "matrix": (256, 64), "head": (3, 64), "offset": (3,)}
    tensors = [
        numpy_helper.from_array((scale * random.normal(size=shape) / 4).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    tensors.append(numpy_helper.from_array(np.array([-1, 256], np.int64), "flat"))
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "bias"], ["wave"], name="stem", pads=[1] * 4),
        helper.make_node("HardSwish", ["wave"], ["bent"]),
        helper.make_node("Reshape", ["bent", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "matrix"], ["features"], name="body"),
        helper.make_node("Gemm", ["features", "head", "offset"], ["logits"], transB=1),
    ]
    value = {"image": ["N", 1, SIZE, SIZE], "logits": ["N", 3], "features": ["N", 64]}
    infos = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in value.items()}
    graph = helper.make_graph(nodes, "g", [infos["image"]], [infos["logits"], infos["features"]], tensors)
    # A note of a weight's shape, as torch's exporter writes it.
    graph.value_info.append(helper.make_tensor_value_info("head", TensorProto.FLOAT, [3, 64]))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, str(path))


def view_in(folder):
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (IMAGES, SIZE, SIZE, 1), dtype=np.uint8)
    return open_view(write_view(folder, images=images, labels=np.arange(IMAGES) % 3, classes=CLASSES))


def quantised(folder, view, seed=0, **settings):
    """An export folder whose graph is quantised, and its figures."""
    folder.mkdir()
    float_graph(folder / "model.onnx")
    exportable = Exportable({"model": Graph(None, None, ("logits", "features"))}, {}, {}, None)
    block = ExportSettings(**settings)
    quantise(exportable, block, view, folder, seed=seed, threads=1)
    return agreement.write(block, view, folder, threads=1)


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    return view_in(tmp_path_factory.mktemp("views") / "plain")


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from export.test_quantise import quantised, view_in
folder = Path(sys.argv[1])
for mode in ("static", "dynamic"):
    quantised(folder / mode, view_in(folder / "view"), quantise=mode)
"""


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(view, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    variables = environment(PYTHONHASHSEED="7", PYTHONPATH=str(ROOT))
    subprocess.run([sys.executable, "-c", PROGRAM, str(other)], cwd=ROOT, env=variables, check=True, capture_output=True)
    for mode in ("static", "dynamic"):
        quantised(tmp_path / mode, view, quantise=mode)
        assert (tmp_path / mode / "model.onnx").read_bytes() == (other / mode / "model.onnx").read_bytes()


def test_both_ways_agree_with_the_float_graph_and_give_the_same_bytes_again(view, tmp_path):
    for mode, kinds in (("static", {"int8", "uint8"}), ("dynamic", {"int8"})):
        figures = quantised(tmp_path / mode, view, quantise=mode)
        quantised(tmp_path / f"{mode} again", view, quantise=mode)
        assert (tmp_path / mode / "model.onnx").read_bytes() == (tmp_path / f"{mode} again" / "model.onnx").read_bytes()
        assert (figures["agreement"]["split"], figures["agreement"]["images"]) == ("validation", IMAGES)
        assert figures["agreement"]["same_class"] >= 0.95
        assert set(figures["agreement"]["accuracy"]) == {"float", "int8"}
        assert 0 < figures["agreement"]["largest_difference"]["logits"] < 0.5
        assert kinds <= set(figures["weights"])
        assert figures["weights"]["int8"] >= 256 * 64
        assert figures["bytes"]["int8"] < 0.6 * figures["bytes"]["float"]
        assert json.loads((tmp_path / mode / "quantised.json").read_text()) == figures


def test_agreement_is_measured_and_not_assumed(view, tmp_path):
    quantised(tmp_path / "x", view, quantise="dynamic")
    float_graph(tmp_path / "x" / "model.onnx", scale=-1.0)
    found = agreement.agreement(tmp_path / "x", view, threads=1)
    assert found["same_class"] < 0.9
    assert found["accuracy"]["float"] != found["accuracy"]["int8"]


def test_calibration_images_are_drawn_by_the_seed_and_their_number_decides_the_ranges(view, tmp_path):
    rows = [calibration_rows(100, 10, seed).tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]
    assert (sorted(set(rows[0])), len(rows[0])) == (rows[0], 10)
    assert calibration_rows(5, 10, 0).tolist() == [0, 1, 2, 3, 4]
    few, all_of_them, shared = (
        quantised(tmp_path / name, view, seed=seed, quantise="static", calibration_images=number)["agreement"]
        for name, number, seed in (("few", 1, 0), ("all", 40, 0), ("shared", 1, 1))
    )
    assert len({found["largest_difference"]["logits"] for found in (few, all_of_them, shared)}) == 3


def test_nodes_stay_in_float_by_kind_and_by_name(view, tmp_path):
    figures = quantised(tmp_path / "x", view, quantise="static", float_nodes=("MatMul", "stem"))
    model = onnx.load(str(tmp_path / "x" / "model.onnx"))
    names = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}
    assert {"kernel", "matrix"} <= names
    assert "head" not in names
    assert figures["settings"]["float_nodes"] == ["MatMul", "stem"]
    with pytest.raises(ValueError, match=r"export\.float_nodes: 'stam' matches none .* quantised: stem, body"):
        kept_nodes(model, ("Conv", "MatMul"), ("stam",))
    with pytest.raises(ValueError, match=r"export\.quantise: the graph has no Gemm or MatMul node to quantise, or"):
        kept_nodes(model, ("Gemm", "MatMul"), ("Gemm", "MatMul"))


def test_the_report_has_both_graphs_on_the_same_images(view, tmp_path):
    folder = tmp_path / "x"
    quantised(folder, view, quantise="static")
    facts = {"image_size": SIZE, "channels": 1, "classes": list(CLASSES)}
    (folder / "facts.json").write_text(json.dumps(facts))
    write_code("classification", folder)
    served = load_served(folder)
    settings = SimpleNamespace(evaluate=EvaluateSettings())

    def splits():
        from components.core.batch import Split

        orders = {"main": np.arange(IMAGES), "again": np.arange(IMAGES)[::-1].copy()}
        return {role: Split(view.facts, view.batches("test", 16, pixels=True, rows=rows)) for role, rows in orders.items()}

    report = evaluate(served, splits(), settings, {})
    with float_export(folder) as other:
        plain = evaluate(load_served(other), splits(), settings, {})
    rows = {row["figure"]: row for row in report.tables["int8_against_float"]}
    for name in ("accuracy", "negative_log_likelihood", "calibration_error"):
        assert rows[name]["float"] == pytest.approx(plain.metrics[name].value, abs=1e-12)
        assert rows[name]["int8"] == report.metrics[name].value
    assert report.metrics["float.accuracy"].value == plain.metrics["accuracy"].value
    assert rows["negative_log_likelihood"]["int8"] != rows["negative_log_likelihood"]["float"]
    assert rows["graph (MB)"]["float"] == (folder / FLOAT).stat().st_size / 1e6
    assert "int8_against_float" not in plain.tables
    assert "float.accuracy" not in plain.metrics


@pytest.mark.parametrize(
    ("block", "links", "splits", "fault"),
    [
        (
            {"quantise": "static"},
            ["detector"],
            ["validation"],
            r"^runs\.x\.export\.quantise: static is not allowed with",
        ),
        ({"quantise": "static"}, [], ["train", "test"], r"^runs\.x\.export\.quantise: static is calibrated on validation"),
    ],
)
def test_what_cannot_be_quantised_is_refused_with_its_key(block, links, splits, fault):
    with pytest.raises(SettingsError, match=fault):
        check_quantisable(ExportSettings(**block), links, splits, "runs.x.export")
    check_quantisable(ExportSettings(), ["detector"], [], "runs.x.export")
    check_quantisable(ExportSettings(quantise="dynamic"), [], ["train"], "runs.x.export")
