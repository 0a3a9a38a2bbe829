"""A published version put to the test: what does not load, or answers otherwise than it promised, is unfit."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from components.core.files import write_json
from components.registry import model_registry as registry
from components.registry.promotion.trial import Unfit, load_and_answer, must_be_outs
from components.registry.tracking import connect, publish
from components.serving import golden
from components.serving.loading import load_served

SERVED = """
import numpy as np
class Served:
    def __init__(self, folder):
        {init}
    def predict(self, inputs, params=None):
        {predict}
"""
GOOD = "return {'label': np.zeros(2, int), 'probability': np.ones(2, np.float32), 'class_name': np.array(['a', 'b'])}"


@pytest.fixture
def shipped(home):
    """The export folder as the registry holds it, to be broken."""
    publish(home.workspace, "small")
    return registry.export_folder(connect(), "study.small", 1)


def serve(folder, init: str = "pass", predict: str = GOOD) -> None:
    (folder / "served.py").write_text(SERVED.format(init=init, predict=predict))


def record_golden(export, label: int) -> None:
    """Golden outputs of a black picture, its label raised by ``label``."""
    file = io.BytesIO()
    Image.new("L", (9, 9)).save(file, "PNG")
    entry = golden.record(export, load_served(export), 0, name="cat/0.png", data=file.getvalue(), suffix=".png", inputs={})
    assert entry["margin"] > golden.MARGIN
    entry["outputs"] |= {"label": label + entry["outputs"]["label"]}
    write_json(export / "golden.json", {"decoder": golden.decoder(), "pictures": [entry]})


def test_each_fault_is_said_in_a_line(home, shipped):
    """One publication for all faults, since it takes a second."""
    client, name = connect(), "study.small"
    assert load_and_answer(client, name, 1) == shipped
    must_be_outs(client, home.workspace, "small", 1)
    record_golden(shipped, label=0)
    load_and_answer(client, name, 1)
    record_golden(shipped, label=1)
    with pytest.raises(Unfit, match=r"^version 1: golden picture cat/0\.png: label is [012], expected [123]$"):
        load_and_answer(client, name, 1)
    (shipped / "golden.json").unlink()
    faults = {
        "version 1 does not load: no\\ngraph": {"init": "raise RuntimeError('no\\ngraph')"},
        "version 1 does not answer its example: out of range": {"predict": "raise ValueError('out of range')"},
        "version 1 answers with label instead of label, probability, class_name": {
            "predict": "return {'label': np.zeros(2, int)}"
        },
        "version 1 answers label as float64, its signature says int64": {"predict": GOOD.replace("zeros(2, int)", "zeros(2)")},
        "version 1 answers label of shape [3], its signature says [-1]": {
            "predict": GOOD.replace("zeros(2, int)", "zeros(3, int)")
        },
        "version 1 answers probability with numbers that are not finite": {
            "predict": GOOD.replace("np.ones(2, np.float32)", "np.full(2, np.nan, np.float32)")
        },
    }
    for words, code in faults.items():
        serve(shipped, **code)
        with pytest.raises(Unfit) as found:
            load_and_answer(client, name, 1)
        assert str(found.value) == words.replace("\\n", " ")
    serve(shipped)
    load_and_answer(client, name, 1)
    with pytest.raises(Unfit, match=r"version 1 does not ship what outputs/export/small holds"):
        must_be_outs(client, home.workspace, "small", 1)
    np.savez(shipped / "example.npz", image=np.zeros((2, 5, 5, 1), np.uint8))
    with pytest.raises(Unfit, match=r"version 1 does not answer its example: .*shape"):
        load_and_answer(client, name, 1)
    np.savez(shipped / "example.npz", image=np.array([object()]))  # a pickle
    with pytest.raises(Unfit, match=r"version 1 has no readable example: .*allow_pickle=False"):
        load_and_answer(client, name, 1)
    shutil.rmtree(shipped)
    with pytest.raises(Unfit, match="version 1 does not load: "):
        load_and_answer(client, name, 1)


def test_a_server_that_is_away_is_no_fault_of_the_version(home, shipped, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(OSError, match=r"http://127\.0\.0\.1:9 is not available"):
        load_and_answer(connect(), "study.small", 1)
