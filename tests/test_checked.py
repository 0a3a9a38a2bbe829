"""The same checks before a flow and in a stage, once per state of params.yaml and code."""

import copy
import sys

import pytest
from models import fake_timm
from workbench import ROOT, toy_params, write_params

from components.core import settings
from components.core.config.strict import SettingsError
from components.core.settings import Workspace
from components.families.classification.recipe import Classification
from components.stages import checked
from components.stages.checks import check_recipe
from components.stages.code import stage as code
from components.stages.code.current import edited_files


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A classifier "net" of a folder with two classes, a second run "other", and a function that edits params.yaml."""
    monkeypatch.setattr(settings, "WORK", tmp_path / ".work")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("oak", "rose"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.png").touch()
    base = toy_params()
    split = {"by": "image", "validation": 0.1, "test": 0.2}
    run = {"recipe": "classification", "view": "mine", "model": {"name": "resnet18", "width": 8}, "train": {"steps": 5}}
    base |= {"links": {}, "pipeline": {"runs": ["net"]}}
    base["datasets"] = {"photos": {"source": "folder", "path": "photos"}}
    base["views"] = {"mine": {"dataset": "photos", "image_size": 16, "channels": 3, "split": split}}
    base["runs"] = {name: run | {"export": {}, "evaluate": {}} for name in ("net", "other")}

    def changed(edit=lambda params: None):
        params = copy.deepcopy(base)
        edit(params)
        write_params(tmp_path, params)
        return Workspace(tmp_path)

    return changed


def test_a_run_with_defaults_is_sound_and_its_stage_does_not_check_it_again(workspace, monkeypatch):
    assert checked.faults(workspace(), ["net"]) == []
    train = workspace().run("net").train
    assert (train.seed, train.threads, train.precision, train.optimizer) == (0, 1, "auto", "adamw")
    monkeypatch.setattr(checked.subprocess, "run", lambda *_, **__: pytest.fail("checked again"))
    checked.require_sound(workspace(), "train", "net")
    with pytest.raises(BaseException, match="checked again"):
        checked.require_sound(workspace(lambda params: params.update(seed=1)), "train", "net")


def test_a_network_of_timm_is_checked_at_224_px_and_its_weights_do_not_compete_with_a_link(workspace, monkeypatch):
    fake_timm.install(monkeypatch)
    (workspace().folder / "start.pt").touch()

    def with_timm(params, **model):
        params["views"]["mine"]["image_size"] = 224
        params["runs"]["net"]["model"] = {"name": "timm", "variant": "tiny_conv"} | model
        params["links"]["start"] = {"run": "net", "stage": "train", "role": "init", "from": "start.pt"}

    def check(**model):
        settings = workspace(lambda params: with_timm(params, **model))
        try:
            check_recipe(settings, settings.run("net"), Classification)
        except SettingsError as error:
            return str(error)
        return ""

    assert check() == ""
    assert check(variant="tiny_konv").startswith("runs.net.model.variant: timm has no 'tiny_konv'; the nearest are tiny_conv")
    fault = "runs.net.model.pretrained: true is not allowed: links.start brings other weights; keep one of them"
    assert check(pretrained=True) == fault
    monkeypatch.setitem(sys.modules, "timm", None)
    assert check().startswith("runs.net.model.name: timm needs its package, which is not installed")


def test_every_fault_of_every_block_is_told_at_once_and_only_of_the_chosen_runs(workspace):
    def breaks(params):
        params["views"]["mine"]["imagesize"] = 3
        params["runs"]["net"]["train"] |= {"ema_decay": 0.999, "clip_norm": -1}
        params["runs"]["net"]["model"]["wide"] = 3
        params["runs"]["net"]["promote"] = {"metrics": "accuracy"}
        params["links"]["dead"] = {"run": "net", "stage": "train", "role": "init", "from": "gone.pt"}
        params["links"]["odd"] = {"run": "net", "stage": "trian", "role": "init", "from": "gone.pt"}
        params["runs"]["other"]["recipe"] = "clasification"

    broken = workspace(breaks)
    lines = checked.faults(broken, ["net"])
    told = [line.partition(": ")[0] for line in lines]
    assert told == [
        "links.odd.stage",
        "runs.net.model.wide",
        "runs.net.train.clip_norm",
        "runs.net.promote.metrics",
        "links.dead.from",
        "views.mine.imagesize",
    ]
    assert [line.partition(";")[0] for line in checked.faults(broken, ["other"])] == [
        "runs.other.recipe: unknown name 'clasification'",
        "views.mine.imagesize: unknown key (value 3)",
    ]


def test_a_stage_under_bare_dvc_checks_its_run(workspace):
    """A moving average that still held its random start was trained and published."""
    broken = workspace(lambda params: params["runs"]["net"]["train"].update(ema_decay=0.999))
    with pytest.raises(SettingsError, match=r"runs\.net\.train\.ema_decay: 0\.999 is not allowed: after 5 steps 9\d%|100%"):
        checked.require_sound(broken, "train", "net")
    with pytest.raises(SettingsError, match=r"runs\.net\.export: missing; DVC needs the key: write \{\}"):
        checked.require_sound(workspace(lambda params: params["runs"]["net"].pop("export")), "train", "net")


def test_what_is_known_of_a_folder_is_checked_before_it_is_fetched(workspace, tmp_path):
    assert checked.faults(workspace(), ["net"]) == []
    unsplit = workspace(lambda params: params["views"]["mine"].update(split={"validation": 0.1}))
    assert checked.faults(unsplit, ["net"]) == [
        "runs.net.evaluate.split: 'test' is not in view 'mine', which has train, validation;"
        " views.mine.split: {test: 0.2} divides it"
    ]
    (tmp_path / "photos" / "rose" / "1.png").unlink()
    (tmp_path / "photos" / "rose").rmdir()
    (line,) = checked.faults(workspace(), ["net"])  # its settings are sound
    assert line.startswith("datasets.photos.path: one class alone, 'oak'")


def test_a_block_without_a_digest_fails_by_itself(workspace):
    broken = workspace(lambda params: params["runs"]["other"].update(recipe="clasification"))
    code.run(broken)
    assert (broken.folder / "outputs/code/train/net.json").is_file()
    with pytest.raises(SettingsError, match=r"runs\.other\.recipe: unknown name 'clasification'"):
        edited_files(broken, "train", "other", {})
