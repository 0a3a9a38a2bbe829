"""A published version put to the test: what does not load, or answers otherwise than it promised, is unfit."""

import io
import shutil
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from promotion.conftest import DATA, NAME

from components.core.files import write_json
from components.core.recipe import Metric, Report
from components.registry import model_registry as registry
from components.registry.promotion import trial
from components.registry.promotion.scores import read_scores
from components.registry.promotion.trial import Unfit, load_and_answer, must_be_outs, score_version
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
    pictures = [entry, entry | {"name": "dog/1.png"}]
    write_json(export / "golden.json", {"decoder": golden.decoder(), "pictures": pictures})


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
        f"version 1 does not answer its example: {'a' * 150} ... {'z' * 150}": {
            "predict": "raise ValueError('a' * 290 + 'z' * 290)"
        },
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


@pytest.mark.parametrize("signature", [None, SimpleNamespace(inputs=None, outputs=1), SimpleNamespace(inputs=1, outputs=None)])
def test_a_version_without_a_whole_signature_is_unfit(monkeypatch, tmp_path, signature):
    model = SimpleNamespace(metadata=SimpleNamespace(signature=signature))
    monkeypatch.setattr(trial, "_load", lambda client, name, number: (model, tmp_path))
    with pytest.raises(Unfit, match="version 3 has no signature"):
        load_and_answer(None, NAME, 3)


@pytest.mark.parametrize(("shape", "fits"), [((2, 5, 4), True), ((2, 0, 4), True), ((2, 5, 3), False), ((1, 5, 4), False)])
def test_a_free_size_of_the_signature_allows_any_and_another_only_its_own(shape, fits):
    specs = [SimpleNamespace(name="boxes", type="float32", shape=(-1, -1, 4))]
    answer = {"boxes": np.zeros(shape, np.float32)}
    if fits:
        trial._check_answer("it", answer, specs, 2)
    else:
        with pytest.raises(Unfit, match=r"it answers boxes of shape .*, its signature says \[-1, -1, 4\]"):
            trial._check_answer("it", answer, specs, 2)


@pytest.fixture
def scored(quick_office, monkeypatch):
    """A version that loads. ``scored.report`` is its evaluation, ``scored.keys`` are those of the data, before and after."""
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], np.float32)
    metrics = {"accuracy": Metric(0.75, "max"), "loss": Metric(0.5, "min")}
    items = {"accuracy": np.array([1.0, 1.0, 0.0])}
    report = Report(metrics, items=items, groups=np.array([0, 1, 0]), group_names=("zero", "one"), probabilities=probabilities)
    state = SimpleNamespace(office=quick_office, number=quick_office.add("0c"), report=lambda: report, keys=[DATA, DATA])
    export = quick_office.home.folder / "outputs" / "export" / "small"
    monkeypatch.setattr(trial, "load_and_answer", lambda *version: export)
    monkeypatch.setattr(trial, "data_key", lambda workspace, run: state.keys.pop(0))
    monkeypatch.setattr(trial, "score", lambda workspace, run, folder: state.report())
    monkeypatch.setattr(trial, "measure_latency", lambda served, example: {"latency_p50_ms": float(len(example["image"]))})
    return state


def test_scores_are_those_of_the_evaluation_and_are_kept(scored):
    office = scored.office
    found = score_version(office.client, office.workspace, "small", scored.number)
    assert (found.version, found.model, found.data) == (1, office.tags(1)[registry.KEY], DATA)
    assert found.metrics == {"accuracy": 0.75, "loss": 0.5}
    assert found.better == {"accuracy": "max", "loss": "min"}
    with np.load(office.home.folder / "outputs/export/small/example.npz", allow_pickle=False) as example:
        assert found.latency == {"latency_p50_ms": len(example["image"])}, "timed on its own example"
    assert (found.group_names, found.classes) == (("zero", "one"), ("zero", "one", "two"))
    assert found.predicted.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(found.probability, np.float32([0.9, 0.8, 0.6]))
    kept = read_scores(NAME, 1, DATA, found.model)
    for name, value in asdict(found).items():
        np.testing.assert_equal(getattr(kept, name), value, name)


def test_scores_of_a_model_without_probabilities_predict_nothing(scored):
    scored.report = lambda: Report({"psnr": Metric(21.5, "max")})
    found = score_version(scored.office.client, scored.office.workspace, "small", scored.number)
    assert found.predicted is found.probability is None
    assert found.metrics == {"psnr": 21.5}


def test_data_that_change_while_a_version_is_scored_leave_no_scores(scored):
    scored.keys = [DATA, "e" * 32]
    with pytest.raises(ValueError, match="data or code changed while version 1 was scored; try again"):
        score_version(scored.office.client, scored.office.workspace, "small", scored.number)
    key = scored.office.tags(1)[registry.KEY]
    assert read_scores(NAME, 1, DATA, key) is read_scores(NAME, 1, "e" * 32, key) is None


def test_a_version_that_cannot_be_scored_is_unfit_and_a_broken_disk_is_not_its_fault(scored):
    def fails(error):
        def report():
            raise error

        return report

    scored.report = fails(RuntimeError("no such class"))
    with pytest.raises(Unfit, match="version 1 cannot be scored on today's data: no such class"):
        score_version(scored.office.client, scored.office.workspace, "small", scored.number)
    scored.report, scored.keys = fails(OSError("disk")), [DATA, DATA]
    with pytest.raises(OSError, match="disk"):
        score_version(scored.office.client, scored.office.workspace, "small", scored.number)
