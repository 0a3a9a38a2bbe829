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
