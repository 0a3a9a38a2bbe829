"""A registered model whose graph holds a detector: MLflow returns score and rejection, loaded and over HTTP."""

import asyncio
import json

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from components.families.classification.served import Served
from components.registry import model_registry as registry
from components.registry.promotion.trial import load_and_answer
from components.registry.tracking import connect, publish

IMAGE = np.random.default_rng(5).integers(0, 256, (6, 4, 4, 1), dtype=np.uint8)


def add_detector(folder):
    """The largest logit as the export's ood_score, 1.5 as its threshold."""
    model = onnx.load(folder / "model.onnx")
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1.5), "threshold"))
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", ["logits"], ["ood_score"], axes=[1], keepdims=0),
            helper.make_node("Less", ["ood_score", "threshold"], ["is_ood"]),
        ]
    )
    types = {"ood_score": TensorProto.FLOAT, "is_ood": TensorProto.BOOL}
    model.graph.output.extend(helper.make_tensor_value_info(name, dtype, ["N"]) for name, dtype in types.items())
    onnx.save(model, folder / "model.onnx")
    facts, signature = (json.loads((folder / f"{name}.json").read_text()) for name in ("facts", "signature"))
    facts["detector"] = {"name": "max_logit", "threshold": 1.5, "tpr": 0.95}
    dtypes = {"ood_score": "float32", "is_ood": "bool"}
    signature["outputs"] += [{"name": name, "dtype": dtype, "shape": [-1]} for name, dtype in dtypes.items()]
    (folder / "facts.json").write_text(json.dumps(facts))
    (folder / "signature.json").write_text(json.dumps(signature))
    np.savez(folder / "reference.npz", ood_score=np.linspace(1, 9, 20, dtype=np.float32))


@pytest.fixture
def export(home):
    folder = home.folder / "outputs/export/small"
    add_detector(folder)
    publish(home.workspace, "small")
    return folder


async def ask(app):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://model") as client:
        return await client.post("/invocations", json={"inputs": {"image": IMAGE.tolist()}})


def test_loaded_and_over_http_it_answers_as_the_export(export):
    wanted = Served(export).predict({"image": IMAGE})
    assert set(wanted["is_ood"].tolist()) == {True, False}
    loaded = registry.load(connect(), "study.small", 1)
    found = loaded.predict({"image": IMAGE})
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)
    outputs = {entry.name: entry.type for entry in loaded.metadata.signature.outputs.inputs}
    assert (outputs["ood_score"], outputs["is_ood"]) == (np.dtype("float32"), np.dtype("bool"))
    reply = asyncio.run(ask(registry.scoring_app(connect(), "study.small", 1)))
    assert reply.status_code == 200, reply.text
    predictions = reply.json()["predictions"]
    assert predictions["is_ood"] == wanted["is_ood"].tolist()
    np.testing.assert_array_equal(np.float32(predictions["ood_score"]), wanted["ood_score"])


def test_it_passes_its_trial_and_ships_the_reference(export):
    folder = load_and_answer(connect(), "study.small", 1)
    np.testing.assert_array_equal(np.load(folder / "reference.npz")["ood_score"], np.linspace(1, 9, 20, dtype=np.float32))
