"""The whole monitor against a registry: the champion's own code and reference, images prepared as it was trained."""

import json
import subprocess
import sys

import numpy as np
import pytest
from monitor.conftest import MIDDLE, SIZE, put
from PIL import Image

from components.registry import model_registry as registry
from components.registry.monitor.__main__ import monitor
from components.registry.monitor.champion import find_champion, preparation
from components.registry.monitor.drift import Rule
from components.registry.monitor.report import home as monitor_home
from components.registry.tracking import connect, publish
from components.serving.preparation import Preparation

RULE = Rule(least=50, alarm=0.01, psi=0.1)
NAME = "study.small"

SERVED = """
import json
from pathlib import Path
import numpy as np

class Served:
    def __init__(self, folder):
        self.threshold = json.loads((Path(folder) / "facts.json").read_text())["detector"]["threshold"]
    def predict(self, inputs, params=None):
        score = inputs["image"].mean((1, 2, 3)).astype(np.float32)
        n = len(score)
        answer = {"label": np.zeros(n, np.int64), "probability": np.ones(n, np.float32), "class_name": np.full(n, "grey")}
        return answer | {"ood_score": score, "is_ood": score < np.float32(self.threshold)}
"""

DECODE = """
    facts = {"preparation": None}
    def decode(self, data):
        return np.full((1, 1, 1), len(data), np.uint8)
"""

LOCK = f"""\
schema: '2.0'
stages:
  augment@digits:
    cmd: augment
    params:
      params.yaml:
        seed: 0
        views.digits: {{dataset: digits, image_size: {SIZE}, channels: 1, fit: pad, pad_value: 255, a_key_of_old: 1}}
    outs:
    - path: outputs/views/digits
      hash: md5
      md5: 01.dir
  train@small:
    cmd: train
    deps:
    - path: outputs/views/digits
      hash: md5
      md5: 01.dir
    params:
      params.yaml:
        runs.small.view: digits
    outs:
    - path: outputs/train/small/weights.pt
      hash: md5
      md5: 0b
  export@small:
    cmd: export
    deps:
    - path: outputs/train/small/weights.pt
      hash: md5
      md5: 0b
    outs:
    - path: outputs/export/small
      hash: md5
      md5: 0c.dir
"""


@pytest.fixture
def office(home):
    """The export has a detector; today's view is another than the one that the version was trained on."""
    export = home.folder / "outputs" / "export" / "small"
    reference = np.random.default_rng(3).normal(MIDDLE, 16, 300).astype(np.float32)
    detector = {"name": "fake", "threshold": float(np.sort(reference)[15]), "tpr": 0.95}
    (export / "served.py").write_text(SERVED)
    (export / "facts.json").write_text(
        json.dumps({"image_size": SIZE, "channels": 1, "classes": ["grey"], "detector": detector})
    )
    np.savez(export / "reference.npz", ood_score=reference)
    params = (home.folder / "params.yaml").read_text()
    today = f"views: {{digits: {{dataset: digits, image_size: {SIZE}, channels: 1}}}}"
    home.write("params.yaml", params.replace("views: {digits: {dataset: digits}}", today))
    home.write("dvc.lock", LOCK)
    return home


def promote(home) -> None:
    registry.set_alias(connect(), NAME, "champion", publish(home.workspace, "small").version)


def test_new_images_come_before_the_registered_champion(office, tmp_path):
    with pytest.raises(ValueError, match=r"study.small has no champion yet: `python -m flows promote small`"):
        find_champion(office.workspace, "small")
    promote(office)
    champion = find_champion(office.workspace, "small")
    assert (champion.name, champion.version, champion.detector, len(champion.reference)) == (NAME, 1, "fake", 300)
    assert champion.prepared_by == "view digits, as in its lineage"
    assert (champion.preparation.fit, champion.preparation.pad_value) == ("pad", 255)
    put(tmp_path / "same", 80)
    Image.new("L", (SIZE, SIZE // 2), 0).save(tmp_path / "same" / "wide.png")  # half of it is padded with white: 127.5
    found = monitor(champion, tmp_path / "same", RULE)
    report = json.loads((monitor_home(NAME) / "reports" / "1" / "report.json").read_text())
    assert (found["report"], report["drift"], report["images"]) == (1, False, 81)
    assert "./wide.png,127.5,False,grey,1.000000\n" in (monitor_home(NAME) / "reports" / "1" / "table.csv").read_text()
    put(tmp_path / "darker", 60, middle=MIDDLE - 20, seed=1)
    monitor(champion, tmp_path / "darker", RULE)
    folder = monitor_home(NAME) / "reports" / "2"
    report = json.loads((folder / "report.json").read_text())
    assert report["drift"]
    assert report["p"] < 1e-6
    assert report["psi"] > 1 > 5 * report["psi_expected"]
    assert report["rejected"] > 0.2 > 3 * report["rejected_expected"]
    assert len(report["strangest"]) == 36
    with Image.open(folder / "strangest.png") as sheet, Image.open(folder / "histogram.png") as histogram:
        assert sheet.width > 900
        assert histogram.size == (800, 450)
    again = preparation(office.workspace, "small", None, {})
    assert again[1] == "view digits as it is today: the version has no lineage"
    assert again[0].fit == "crop"


def test_an_export_that_says_how_pictures_are_prepared_is_believed(office):
    export = office.folder / "outputs" / "export" / "small"
    facts = json.loads((export / "facts.json").read_text())
    own = Preparation((SIZE, SIZE), (SIZE, SIZE), 1, background="#102030")
    (export / "facts.json").write_text(json.dumps(facts | {"preparation": own.to_json()}))
    (export / "served.py").write_text(SERVED + DECODE)
    promote(office)
    champion = find_champion(office.workspace, "small")
    assert (champion.preparation, champion.prepared_by) == (own, "the export")
    assert champion.decode(b"a picture").tolist() == [[[9]]]


def test_a_champion_without_detector_says_how_to_get_one(home):
    promote(home)
    told = r"study.small: its champion, version 1, ships no detector of strange images; give the run a block of `detect`"
    with pytest.raises(ValueError, match=told):
        find_champion(home.workspace, "small")


FINDS = """
import json
from pathlib import Path
import numpy as np

class Served:
    def __init__(self, folder):
        self.facts = json.loads((Path(folder) / "facts.json").read_text())
    def decode(self, data):
        from PIL import Image
        import io
        return np.asarray(Image.open(io.BytesIO(data)))[:, :, None]
    def size_of(self, data):
        return (3, 4)
    def predict(self, inputs, params=None):
        assert inputs["size"].tolist() == [[3, 4]] * len(inputs["image"])
        best = (inputs["image"].mean((1, 2, 3)) / 255).astype(np.float32)
        scores = np.stack([best, best / 2], 1)
        names = np.array([["car", "ship"]] * len(best))
        return {"boxes": np.zeros((len(best), 2, 4)), "scores": scores, "class_names": names, "confidence": best}
"""


@pytest.fixture
def finder(home):
    """An export that finds objects, and its evaluation: the best score of a picture is its mean grey value."""
    export = home.folder / "outputs" / "export" / "small"
    (export / "served.py").write_text(FINDS)
    prepared = Preparation((SIZE, SIZE), (SIZE, SIZE), 1).to_json()
    (export / "facts.json").write_text(json.dumps({"image_size": SIZE, "channels": 1, "preparation": prepared}))
    names = ("boxes", "scores", "class_names", "confidence")
    signature = json.loads((export / "signature.json").read_text())
    signature["outputs"] = [{"name": name, "dtype": "float32", "shape": [-1]} for name in names]
    (export / "signature.json").write_text(json.dumps(signature))
    scores = np.random.default_rng(3).normal(MIDDLE, 16, 300) / 255
    rows = "".join(f"{row},{score:.6f}\n" for row, score in enumerate(np.sort(scores)))
    home.write("outputs/evaluate/small/report/confidence.csv", f"picture,confidence\n{rows}")
    home.write("dvc.lock", LOCK)
    return home


def test_a_detector_of_objects_is_watched_by_the_best_score_of_a_picture(finder, tmp_path):
    promote(finder)
    (finder.folder / "outputs/evaluate/small/report/confidence.csv").unlink()  # the registry has it
    champion = find_champion(finder.workspace, "small")
    assert (champion.detector, len(champion.reference)) == ("confidence", 300)
    assert (champion.reference < champion.threshold).mean() == pytest.approx(0.05, abs=0.005)
    put(tmp_path / "same", 80)
    assert monitor(champion, tmp_path / "same", RULE)["report"] == 1
    report = json.loads((monitor_home(NAME) / "reports" / "1" / "report.json").read_text())
    assert (report["drift"], report["images"]) == (False, 80)
    table = (monitor_home(NAME) / "reports" / "1" / "table.csv").read_text()
    assert ",car,0." in table
    assert 0 < table.count(",True,car,") == round(80 * report["rejected"]) < 20
    put(tmp_path / "darker", 60, middle=MIDDLE - 20, seed=1)
    monitor(champion, tmp_path / "darker", RULE)
    report = json.loads((monitor_home(NAME) / "reports" / "2" / "report.json").read_text())
    assert report["drift"]
    assert report["rejected"] > 0.2 > 3 * report["rejected_expected"]


def test_a_detector_whose_evaluation_was_recorded_without_scores_says_how_to_get_them(finder):
    table = finder.folder / "outputs/evaluate/small/report/confidence.csv"
    text = table.read_text()
    table.unlink()
    promote(finder)
    with pytest.raises(ValueError, match=r"study.small: there are no scores .* version 1 .*; `python -m flows run --runs"):
        find_champion(finder.workspace, "small")
    table.write_text(text)  # evaluated again: the same export, so these are its scores
    assert len(find_champion(finder.workspace, "small").reference) == 300
    finder.write("dvc.lock", LOCK.replace("0c.dir", "0d.dir"))  # of another export
    with pytest.raises(ValueError, match="there are no scores"):
        find_champion(finder.workspace, "small")


@pytest.mark.slow
def test_the_command(office, environment, tmp_path):
    promote(office)
    put(tmp_path / "in", 60)
    command = [sys.executable, "-m", "components.registry.monitor", "small", "--folder", str(tmp_path / "in")]
    command += ["--least", "50", "--alarm", "0.01", "--psi", "0.1"]
    done = subprocess.run(command, cwd=office.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "study.small version 1 (fake): 60 of 60 images scored, 0 seen before, 0 broken; report 1"
    assert second.startswith("no drift in 60 images: ")
    command[command.index(str(tmp_path / "in"))] = str(tmp_path / "nowhere")
    done = subprocess.run(command, cwd=office.folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        2,
        f"error: {tmp_path}/nowhere: neither a folder of images nor a text file that lists one path a line",
    )
