"""params.yaml at the border: every fault is one message with the path, the value and what is allowed, and exit 2."""

import copy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from torch import nn
from workbench import ROOT, add_own, run, toy_params, write_params

from components import __main__ as entry
from components.core.config.references import Link, Ood
from components.core.config.strict import SettingsError, collected, read_yaml, refuse
from components.core.settings import ModelSettings, Workspace
from components.stages.buildable import build_without_memory, check_convolutions
from components.stages.checks import check_detection, check_ood, check_run, run_faults
from components.stages.contents import check_contents


@pytest.fixture
def workspace(tmp_path):
    """A workspace of the classification recipe, and a function that changes one value of it."""
    base = toy_params()
    base["datasets"]["digits"]["path"] = str(ROOT / "components/stages/fetch/built_in.txt")
    base["links"] = {}
    base["runs"] = {
        "net": {
            "recipe": "classification",
            "view": "plain",
            "model": {"name": "vit", "patch": 4, "width": 32, "depth": 1, "heads": 2},
            "train": {
                "seed": 0,
                "threads": 1,
                "precision": "fp32",
                "steps": 5,
                "batch_size": 4,
                "optimizer": "adamw",
                "learning_rate": 1e-3,
            },
            "export": {},
            "evaluate": {},
            "promote": {},
        }
    }
    base["detect"] = {"strange": {"run": "net", "view": "plain"}}
    base["pipeline"] = {"runs": ["net"]}

    def changed(path, value):
        params = copy.deepcopy(base)
        block = params
        *parents, last = path.split(".") if path else [None]
        for part in parents:
            block = block[part]
        if last is not None:
            block[last] = value
        write_params(tmp_path, params)
        return Workspace(tmp_path)

    return changed


DETECT = {"strange": {"run": "net", "view": "plain"}}


def structure(workspace):
    """Its params.yaml; SettingsError for the faults of any block."""
    refuse(line for lines in workspace.params.faults.values() for line in lines)
    return workspace.params


def with_detection(**keys):
    return {"strange": DETECT["strange"] | keys}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"serve": "odin"}, r"detect\.strange\.serve: 'odin' is not allowed: it needs a gradient"),
        ({"serve": "vin"}, r"detect\.strange\.serve: unknown name 'vin'.*did you mean 'vim'"),
        ({"serve": "vim", "detectors": ["msp"]}, r"detect\.strange\.serve: 'vim' is not among detect\.strange\.detectors"),
        ({"detectors": ["msp", "vin"]}, r"detect\.strange\.detectors: unknown name 'vin'"),
        ({"options": {"knn": {"k": 5}}}, r"detect\.strange\.options\.knn\.k: unknown key \(value 5\)"),
        ({"options": {"knn": {"neighbours": 0}}}, r"detect\.strange\.options\.knn\.neighbours: 0 is not"),
        ({"tpr": 1.5}, r"detect\.strange\.tpr: 1\.5 is not allowed"),
    ],
)
def test_what_a_detector_cannot_do_is_said_before_anything_starts(workspace, keys, message):
    check_detection(workspace("detect", with_detection(serve="vim")), "strange")
    with pytest.raises(SettingsError, match=message):
        check_detection(workspace("detect", with_detection(**keys)), "strange")


def test_another_view_has_the_shape_of_the_runs_own(workspace):
    changed = workspace("views.turned.image_size", 16)
    changed.params.ood["odd"] = Ood(detect="strange", view="turned", kind="far")
    message = r"ood\.odd\.view: its images are 16 x 16 x 1, the run's view has 8 x 8 x 1; give the view the same shape"
    with pytest.raises(SettingsError, match=message):
        check_ood(changed, "odd")


def test_detection_needs_a_classifier(workspace):
    changed = workspace("detect", DETECT)
    changed.params.runs["net"] = changed.params.runs["net"].model_copy(update={"recipe": "pixelcnn"})
    with pytest.raises(SettingsError, match=r"detect\.strange\.run: detection needs a classifier, and a pixelcnn run is none"):
        check_detection(changed, "strange")


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"strange": {"run": "nett", "view": "plain"}}, r"detect\.strange\.run: unknown name 'nett'.*did you mean 'net'"),
        (with_detection(view="turned"), r"detect\.strange\.view: 'turned' is not allowed: .*; of 'net' it is 'plain'"),
        (
            DETECT | {"b": DETECT["strange"]},
            r"detect\.b\.run: run 'net' has detect\.strange already; .* one such block at most",
        ),
    ],
)
def test_a_block_of_detect_is_the_only_one_of_its_run_and_of_the_runs_view(workspace, blocks, message):
    with pytest.raises(SettingsError, match=message):
        structure(workspace("detect", blocks))


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ({}, None),
        ({"from": "outputs/detect/strange"}, "'.*' is not allowed: a detector is outputs/detect/<name>/served"),
        ({"from": "outputs/detect/odd/served"}, "unknown name 'odd'; allowed: mute, strange"),
        ({"from": "outputs/detect/mute/served", "run": "other"}, r"'.*' holds no detector; name one in detect\.mute\.serve"),
        ({"run": "other"}, "'.*' is not allowed: its detectors are fitted to run 'net' and say nothing of 'other'"),
        ({"stage": "evaluate"}, "'.*' is not allowed: it is for the role 'detector' at stage export alone"),
        ({"role": "judge"}, "'.*' is not allowed: it is for the role 'detector' at stage export alone"),
    ],
)
def test_a_served_detector_reaches_the_export_of_its_own_run_as_a_link(workspace, link, fault):
    folder = workspace("", None).folder
    raw = read_yaml(folder / "params.yaml")
    raw["runs"]["other"] = raw["runs"]["net"]
    raw["detect"] = with_detection(serve="vim") | {"mute": {"run": "other", "view": "plain"}}
    served = {"run": "net", "stage": "export", "role": "detector", "from": "outputs/detect/strange/served"}
    raw["links"] = {"served": served | link}
    write_params(folder, raw)
    found = Workspace(folder)
    if fault is None:
        check_run(found, "net")
        return
    with pytest.raises(SettingsError, match=rf"links\.served\.from: {fault}"):
        structure(found)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("runs.net.detect", {}, r"^runs\.net\.detect: moved; it is a block of its own now, `detect: "),
        ("runs.net.export.detector", "vim", r"^runs\.net\.export\.detector: moved; name it in `detect\.<name>\.serve`"),
        ("ood", {"a": {"run": "net", "view": "v", "kind": "far", "detect": "x"}}, r"^ood\.a\.run: moved; .* `detect: <name>`"),
    ],
)
def test_a_setting_that_has_moved_says_where_to(workspace, path, value, message):
    changed = workspace(path, value)
    with pytest.raises(SettingsError, match=message):
        refuse([*collected(lambda: structure(changed)), *run_faults(changed, ["net"])])


@pytest.mark.parametrize(
    ("recipe", "export", "message"),
    [
        ("classification", {"quantise": "static", "float_nodes": ["Conv", "head*"]}, None),
        ("classification", {"quantise": "int4"}, r"runs\.net\.export\.quantise: 'int4' .*static.*dynamic"),
        ("classification", {"quantise": "static", "calibration_images": 0}, r"runs\.net\.export\.calibration_images: 0 "),
        ("noisy_classifier", {"quantise": "static"}, r"runs\.net\.export\.quantise: unknown"),
    ],
)
def test_an_export_is_quantised_where_the_recipe_has_one_graph_of_images(workspace, recipe, export, message):
    changed = workspace("runs.net.export", export)
    changed.params.runs["net"] = changed.params.runs["net"].model_copy(update={"recipe": recipe})
    if message is None:
        assert changed.run("net").export.quantise == "static"
        check_run(changed, "net")
        return
    with pytest.raises(SettingsError, match=message):
        _ = changed.run("net").export


def test_a_detector_and_int8_are_refused_together_and_so_is_static_without_a_validation_split(workspace):
    changed = workspace("runs.net.export", {"quantise": "static"})
    served = {"run": "net", "stage": "export", "role": "detector", "from": "outputs/detect/d/served"}
    changed.params.links["served"] = Link(**served)
    with pytest.raises(SettingsError, match=r"runs\.net\.export\.quantise: static is not allowed with a link of role detector"):
        check_run(changed, "net")


def test_an_average_forgets_the_random_start_unless_the_start_is_linked(workspace):
    changed = workspace("runs.net.train.ema_decay", 0.99)
    steps = changed.run("net").train.steps
    with pytest.raises(SettingsError, match=rf"ema_decay: 0\.99 .* after {steps} steps .* at most 0\.\d+"):
        check_run(changed, "net")
    changed.params.links["mine"] = Link(**{"run": "net", "stage": "train", "role": "init", "from": "start.npz"})
    np.savez(changed.folder / "start.npz", weight=np.zeros(1))
    check_run(changed, "net")


def test_a_convolution_that_torch_cannot_train_safely_is_refused():
    fault = r"^runs\.net\.model: 1 is a 1 x 1 convolution of 15 channels with a stride, .* at least 16 channels"
    with pytest.raises(SettingsError, match=fault):
        check_convolutions(nn.Sequential(nn.Conv2d(3, 15, 1), nn.Conv2d(15, 30, 1, 2)), "runs.net.model")
    check_convolutions(nn.Sequential(nn.Conv2d(3, 15, 1), nn.Conv2d(16, 30, 1, 2)), "runs.net.model")
    view = SimpleNamespace(image_size=64, channels=1)
    for width in (1, 15, 16):
        build_without_memory(ModelSettings("resnet18", {"width": width}), view, "runs.net.model")


def everything(workspace):
    structure(workspace)
    for name in workspace.params.datasets:
        workspace.dataset(name)
    for name in workspace.params.views:
        workspace.view(name)
    for name in workspace.params.runs:
        workspace.run(name).parsed()
        workspace.gates(name)
    for name in workspace.params.detect:
        workspace.detection(name)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("runs.net.train.warmupp", 3, r"runs\.net\.train\.warmupp: unknown key \(value 3\); allowed: .*did you mean 'warmup'"),
        ("runs.net.train.learning_rate", -1.0, r"runs\.net\.train\.learning_rate: -1\.0 is not allowed: .*greater than 0"),
        ("runs.net.train.steps", "100", r"runs\.net\.train\.steps: '100' is not allowed: a whole number is expected"),
        ("runs.net.train.precision", "fp16", r"runs\.net\.train\.precision: 'fp16' is not allowed: .*'fp32', 'bf16' or 'auto'"),
        (
            "runs.net.recipe",
            "clasification",
            r"runs\.net\.recipe: unknown name 'clasification'; allowed: .*did you mean 'classification'",
        ),
        ("runs.net.view", "plane", r"runs\.net\.view: unknown name 'plane'; allowed: plain, turned"),
        ("runs.net.model.name", "vitt", r"runs\.net\.model\.name: unknown name 'vitt'; allowed: .*did you mean 'vit'"),
        ("runs.net.model.pach", 4, r"runs\.net\.model\.pach: unknown key \(value 4\); allowed: .*did you mean 'patch'"),
        ("runs.net.model.patch", 4.5, r"runs\.net\.model\.patch: 4\.5 is not allowed"),
        ("runs.net.promote", {"metrics": "accuracy"}, r"runs\.net\.promote\.metrics: unknown key .*did you mean 'metric'"),
        ("runs.net.evaluate", None, r"runs\.net\.evaluate: null is not allowed: a block of keys is expected"),
        ("views.plain.imagesize", 8, r"views\.plain\.imagesize: unknown key \(value 8\); allowed: .*did you mean 'image_size'"),
        (
            "views.plain.size",
            8,
            r"views\.plain\.size: a key of this name is not allowed: DVC's run cache passes over it; .*image_size",
        ),
        (
            "runs.net.evaluate",
            {"nfiles": 1},
            r"runs\.net\.evaluate\.nfiles: a key of this name is not allowed: DVC's run cache",
        ),
        (
            "views.plain.augment",
            [{"RandomCrop": {"size": [4, 4]}}],
            r"views\.plain\.augment\.0\.RandomCrop\.size: a key of this name",
        ),
        ("views.plain.dataset", "digit", r"views\.plain\.dataset: unknown name 'digit'.*did you mean 'digits'"),
        ("datasets.digits.source", "digitz", r"datasets\.digits\.source: unknown name 'digitz'.*did you mean 'digits'"),
        ("datasets.digits.path", "~/photos", r"'~/photos' is not allowed: DVC knows no ~; write '/"),
        ("datasets.digits.path", "nowhere", r"datasets\.digits\.path: 'nowhere' does not exist"),
        ("pipeline.runs", ["nett"], r"pipeline\.runs\.0: unknown name 'nett'.*did you mean 'net'"),
        ("datasets.Big-Name", {}, r"datasets\.Big-Name: 'Big-Name' is not allowed: a name starts with a letter a-z"),
        ("seed", -1, r"seed: -1 is not allowed"),
        (
            "links",
            {"a": {"run": "net", "stage": "train", "role": "init", "from": "outputs/train/nett"}},
            r"links\.a\.from: unknown name 'nett'",
        ),
        (
            "ood",
            {"a": {"detect": "strange", "view": "turnd", "kind": "far"}},
            r"ood\.a\.view: unknown name 'turnd'.*'turned'",
        ),
        (
            "ood",
            {name: {"detect": "strange", "view": "turned", "kind": "far"} for name in ("a", "b")},
            r"ood\.b: the view 'turned' of detect\.strange is taken by ood\.a",
        ),
        (
            "ood",
            {"a": {"detect": "strange", "view": "plain", "kind": "near"}},
            r"ood\.a\.view: 'plain' is what run 'net' is trained on",
        ),
        ("ood", {"a": {"detect": "odd", "view": "plain", "kind": "far"}}, r"ood\.a\.detect: unknown name 'odd'; .*strange"),
        ("sed", 1, r"sed: unknown key.*did you mean 'seed'"),
    ],
)
def test_a_fault_names_path_value_and_choices(workspace, path, value, message):
    with pytest.raises(SettingsError, match=message) as caught:
        everything(workspace(path, value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "views.plain",
            {"dataset": "digits", "image_size": 8},
            "views.plain.channels: missing; 1 or 3 (1: grey, 3: RGB) is expected",
        ),
        ("views.plain.channels", 2, "views.plain.channels: 2 is not allowed: 1 or 3 is expected"),
        ("views.plain.split", {"test": 1.5}, "views.plain.split.test: 1.5 is not allowed: it must be less than 1.0"),
        (
            "views.plain.split",
            {"test": "half"},
            "views.plain.split.test: 'half' is not allowed: a number is expected or a list is expected, [a, b]",
        ),
        ("views.plain.augment", {}, "views.plain.augment: {} is not allowed: a list is expected, [a, b]"),
        ("runs.net.train.warmup", 7, "runs.net.train.warmup: 7 is not allowed: at most steps, 5"),
        ("runs.net.model", {"width": 3}, "runs.net.model.name: missing; the network is one of acvae_vc, clip, clip_resnet, "),
        ("detect.strange.tpr", None, "detect.strange.tpr: null is not allowed: a number is expected"),
        ("servers", {"mlflow_port": 0}, "servers.mlflow_port: 0 is not allowed: it must be at least 1"),
        ("datasets", None, "datasets: null is not allowed: a block of keys is expected; {} for none"),
    ],
)
def test_a_fault_is_told_without_a_word_of_python(workspace, path, value, message):
    from flows.settings import servers

    changed = workspace(path, value)
    (line,) = collected(lambda: everything(changed), lambda: servers(changed.params))
    assert line == message or (message.endswith(", ") and line.startswith(message))
    assert not any(word in line for word in ("typing", "<class", "NoneType", "dict", "Literal", "input", "None"))


def test_every_fault_of_the_file_is_told_at_once(workspace):
    changed = workspace("", None)
    raw = read_yaml(changed.folder / "params.yaml")
    del raw["root"]
    raw |= {"seed": "x", "sed": 1, "pipeline": {"retries": -1}}
    write_params(changed.folder, raw)
    lines = collected(lambda: Workspace(changed.folder).params)
    assert [line.partition(": ")[0] for line in lines] == ["root", "seed", "pipeline.retries", "sed"]


def test_the_unchanged_file_is_valid_and_frozen(workspace):
    settings = workspace("", None).run("net")
    assert settings.train.learning_rate == 1e-3
    with pytest.raises(Exception, match="frozen"):
        settings.train.steps = 7


def test_numbers_are_read_as_dvc_reads_them(tmp_path, workspace):
    """YAML 1.1 takes 1e-3 for text and `no` for false; 1.2, and DVC, do not."""
    text = (workspace("", None).folder / "params.yaml").read_text().replace("0.001", "1e-3")
    assert "1e-3" in text
    (tmp_path / "params.yaml").write_text(text)
    assert Workspace(tmp_path).run("net").train.learning_rate == 1e-3


def test_broken_yaml_is_one_line(tmp_path):
    (tmp_path / "params.yaml").write_text("runs: [1, 2\nseed: {")
    with pytest.raises(SettingsError, match="not readable as YAML") as caught:
        _ = Workspace(tmp_path).params
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("artifact", "judged_view", "fault"),
    [
        ("outputs/export/net", "large", None),
        (
            "outputs/train/net",
            "large",
            "'outputs/train/net' is not allowed: a judge is the export of a run of classification or",
        ),
        ("outputs/export/translator", "large", "'outputs/export/translator' is not allowed: a judge is the export of a run"),
        ("outputs/export/net", "plain", "its images are 8 x 8 x 1, the run's view has 16 x 16 x 1"),
    ],
)
def test_a_judge_is_a_classifier_of_images_of_the_same_shape(workspace, artifact, judged_view, fault):
    changed = workspace("", None)
    raw = read_yaml(changed.folder / "params.yaml")
    raw["views"]["large"] = raw["views"]["plain"] | {"image_size": 16, "domain": "label"}
    raw["runs"]["net"]["view"] = raw["detect"]["strange"]["view"] = judged_view
    train = {"seed": 0, "threads": 1, "precision": "fp32", "steps": 5, "batch_size": 10, "learning_rate": 1e-3}
    model = {"name": "stargan", "width": 4, "blocks": 1, "discriminator_width": 4}
    raw["runs"]["translator"] = raw["runs"]["net"] | {"recipe": "stargan", "view": "large", "model": model, "train": train}
    raw["links"] = {"judge": {"run": "translator", "stage": "evaluate", "role": "domains", "from": artifact}}
    write_params(changed.folder, raw)
    if fault is None:
        check_run(Workspace(changed.folder), "translator")
        return
    with pytest.raises(SettingsError, match=rf"links\.judge\.from: {fault}"):
        check_run(Workspace(changed.folder), "translator")


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("batch_norm", "reestimated", r"runs\.net\.train\.batch_norm: reestimated is not allowed: vit has no batch norm"),
        ("select", "bset", r"runs\.net\.train\.select: 'bset' is not allowed"),
        ("batch_size", 0, r"runs\.net\.train\.batch_size: 0 is not allowed"),
    ],
)
def test_settings_of_a_training_that_its_network_does_not_take_are_refused_before_anything_starts(
    workspace, setting, value, message
):
    with pytest.raises(SettingsError, match=message):
        check_run(workspace(f"runs.net.train.{setting}", value), "net")
    check_run(workspace("runs.net.train.batch_size", "auto"), "net")


def test_a_curve_needs_a_validation_split_which_is_known_before_anything_starts(tmp_path):
    for name in ("rose", "tulip"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "pictures" / name / "1.png")
    params = add_own(toy_params())
    params["views"]["mine"]["split"].pop("validation")
    block = params["runs"]["own"]["train"]
    for train, refused in (({"validate_every": 0}, False), ({}, False), ({"patience": 2}, True), ({"validate_every": 2}, True)):
        params["runs"]["own"]["train"] = {**block, **train}
        write_params(tmp_path, params)
        faults = collected(lambda: check_contents(Workspace(tmp_path), "own"))
        assert bool(faults) == refused
    assert faults == [
        "runs.own.train: the validation curve reads a split that is not in view 'mine', which has test, train; "
        "views.mine.split: {validation: 0.2} divides it"
    ]


def test_a_rectangular_view_is_for_those_who_take_it(workspace):
    changed = workspace("views.plain.image_size", [8, 16])
    check_run(changed, "net")
    raw = read_yaml(changed.folder / "params.yaml")
    raw["runs"]["net"]["model"] = {"name": "unet_classifier"}
    write_params(changed.folder, raw)
    with pytest.raises(SettingsError, match=r"views\.plain\.image_size: \[8, 16\] is not allowed: UNetClassifier takes square"):
        check_run(Workspace(changed.folder), "net")
    train = {"seed": 0, "threads": 1, "precision": "fp32", "steps": 5, "batch_size": 10, "learning_rate": 1e-3}
    model = {"name": "stargan", "width": 4, "blocks": 1, "discriminator_width": 4}
    raw["runs"]["net"] |= {"recipe": "stargan", "model": model, "train": train}
    write_params(changed.folder, raw)
    with pytest.raises(
        SettingsError, match=r"views\.plain\.image_size: \[8, 16\] is not allowed: StarGAN\w* takes square images"
    ):
        check_run(Workspace(changed.folder), "net")


def test_a_role_is_taken_once(workspace):
    link = {"run": "net", "stage": "train", "role": "init", "from": "weights.pt"}
    with pytest.raises(SettingsError, match=r"links\.b: the role 'init' of run 'net' is taken by links\.a"):
        structure(workspace("links", {"a": link, "b": link}))


def test_the_command_prints_resolved_runs_or_exits_2(tmp_path, workspace, monkeypatch, capsys):
    workspace("", None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["components", "check"])
    entry.main()
    printed = capsys.readouterr().out
    assert "runs.net: recipe=classification view=plain" in printed
    assert "warmup=0" in printed, "defaults are shown too"
    workspace("runs.net.train.lerning_rate", 1)
    failed = run("python", "-m", "components", "check", cwd=tmp_path, check=False, PYTHONPATH=str(ROOT))
    assert failed.returncode == 2
    assert failed.stderr.startswith("params.yaml: runs.net.train.lerning_rate: unknown key (value 1)")
    assert "Traceback" not in failed.stderr


def test_the_shipped_params_and_every_study_are_valid():
    for params in [ROOT / "params.yaml", *sorted((ROOT / "experiments").glob("*/params.yaml"))]:
        everything(Workspace(params.parent))


@pytest.mark.parametrize(
    ("link", "message"),
    [
        (
            {"stage": "train", "role": "main", "from": "outputs/views/plain"},
            r"links\.a\.role: 'main' is not allowed: the pipeline uses",
        ),
        (
            {"stage": "train", "role": "inti", "from": "w.pt"},
            r"links\.a\.role: 'inti' .*takes init, teacher and views at stage train",
        ),
        (
            {"stage": "evaluate", "role": "init", "from": "w.pt"},
            r"links\.a\.role: 'init' .*takes views alone at stage evaluate",
        ),
        ({"stage": "train", "role": "init", "from": "none.pt"}, r"links\.a\.from: 'none\.pt' does not exist"),
        ({"stage": "train", "role": "init", "from": "outputs/export/net"}, r"links\.a\.from: .*'outputs/train/net' does"),
        ({"stage": "train", "role": "init", "from": "w.pt"}, r"links\.a\.from: .*w\.pt: an empty file"),
    ],
)
def test_a_link_that_would_be_ignored_or_fail_late_is_refused(workspace, link, message):
    found = workspace("links", {"a": {"run": "net", **link}})
    (found.folder / "w.pt").touch()
    with pytest.raises(SettingsError, match=message):
        refuse(run_faults(found, ["net"]))


def test_a_key_that_dvcs_run_cache_passes_over_is_the_reason_for_refusing_it():
    """If DVC mends this, the two names may be used again."""
    from dvc.stage.cache import _get_cache_hash

    entry = {"cmd": "c", "params": {"params.yaml": {"views.a": {"image_size": 16, "size": 16}}}}
    changed = {"cmd": "c", "params": {"params.yaml": {"views.a": {"image_size": 16, "size": 24}}}}
    other = {"cmd": "c", "params": {"params.yaml": {"views.a": {"image_size": 24, "size": 16}}}}
    assert _get_cache_hash(entry) == _get_cache_hash(changed)
    assert _get_cache_hash(entry) != _get_cache_hash(other)


def test_the_root_leads_to_the_code():
    with pytest.raises(SettingsError, match=r"root: '\.' is not allowed: the code lies in '\.\./\.\.'"):
        Workspace(ROOT / "experiments/mnist")._check_root(".")
