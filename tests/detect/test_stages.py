"""The stages detect, ood and ood_table on a small classifier: what they write is what detectors and metrics say."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import torch
from detect.conftest import OOD
from safetensors.torch import load_file
from threadpoolctl import threadpool_info

from components.core.artifact import content_md5
from components.core.config.strict import resolve
from components.detectors import DETECTORS
from components.metrics.detection import detection_figures, threshold_at_tpr
from components.stages.detect import features
from components.stages.detect.figures import metrics
from components.stages.detect.fitting import load_fitted
from components.stages.detect.network import exact_arithmetic, load_recipe, network_of, trained_weights
from components.stages.views.view import open_view

OF_CLASSIFIERS = [name for name in DETECTORS if name != "mcm"]  # which is for classes that are known by their names


def answer(project, view, split):
    """(features, logits, labels, images) of a split, straight from the network."""
    workspace = project.workspace
    own = open_view(project.view("known"))
    settings, device = workspace.run("known"), torch.device("cpu")
    network = network_of(load_recipe(workspace, settings, own, trained_weights(workspace, "known"), device), settings, device)
    batch = next(open_view(project.view(view)).batches(split, 1000, ("label",)))
    values, logits = network.predict(batch["image"])
    return network, values, logits, batch


def npz(path):
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def rows(path):
    return list(csv.DictReader(path.open()))


def test_scores_are_those_of_detectors_that_are_fitted_by_hand(project, monkeypatch):
    monkeypatch.setattr(features, "CELLS", 200)  # so that the fits read several batches
    project.detect()
    project.outside("known_turned")
    found = npz(project.outputs / "ood/strange/turned/scores.npz")
    inside = npz(project.outputs / "ood/strange/inside/inside.npz")
    assert list(found) == list(inside) == OF_CLASSIFIERS
    network, *sample, _ = answer(project, "known", "train")
    for view, scores in (("turned", found), ("known", inside)):
        _, values, logits, batch = answer(project, view, "test")
        for name in OF_CLASSIFIERS:
            detector = resolve(DETECTORS, name, "")(**{"neighbours": 5} if name == "knn" else {})
            detector.fit([(*sample, answer(project, "known", "train")[3]["label"])], network.head)
            by_hand = (
                detector.score_images(network.logits, batch["image"]) if name == "odin" else detector.score(values, logits)
            )
            np.testing.assert_allclose(scores[name], by_hand.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)
    assert (inside["energy"] > found["energy"].max()).mean() > 0.5  # the other view is another one


def test_what_is_saved_comes_back(project):
    project.detect()
    folder = project.outputs / "detect/strange/fitted"
    detectors, batch_size = load_fitted(folder)
    assert (list(detectors), batch_size) == (OF_CLASSIFIERS, 256)
    assert detectors["knn"].neighbours == 5
    for name, detector in detectors.items():
        stored = load_file(folder / f"{name}.safetensors") if detector.state_names else {}
        assert (folder / f"{name}.safetensors").exists() == bool(detector.state_names)
        assert all(torch.equal(tensor, stored[key]) for key, tensor in detector.state().items())
        assert all(tensor.dtype == torch.float64 or name == "knn" for tensor in stored.values())


def test_the_served_detector_with_its_threshold_and_its_reference(project):
    project.detect()
    served = project.outputs / "detect/strange/served"
    facts = json.loads((served / "served.json").read_text())
    validation = npz(project.outputs / "ood/strange/inside/validation.npz")["vim"]
    assert facts == {
        "detector": "vim",
        "options": {},
        "threshold": threshold_at_tpr(validation, 0.95),
        "tpr": 0.95,
        "split": "validation",
    }
    assert (npz(served / "reference.npz")["ood_score"] == validation.astype(np.float32)).all()
    assert (served / "detector.safetensors").read_bytes() == (served.parent / "fitted/vim.safetensors").read_bytes()


def test_another_view_leaves_the_others_alone_and_needs_no_image_of_the_runs_own(project):
    project.detect()
    project.outside("known_turned")
    before = project.files()
    shutil.rmtree(project.view("known"))  # on another machine they need not be
    project.outside("known_noise")
    after = project.files()
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"ood/strange/noise/scores.npz", "ood/strange/noise/facts.json"}
    facts = json.loads(after["ood/strange/noise/facts.json"])
    assert facts == {"view": "noise", "kind": "far", "split": "all", "images": 180}  # three splits of 60


def test_the_table_says_what_the_metrics_say(project, capsys):
    chosen = ("msp", "vim", "gradnorm", "relative_mahalanobis", "energy")
    project.edit(detectors=chosen)
    project.everything()
    out, ood = project.outputs / "ood_table/strange", project.outputs / "ood/strange"
    found, facts = rows(out / "report/ood.csv"), json.loads((ood / "inside/facts.json").read_text())
    assert [(row["detector"], row["view"]) for row in found] == [
        (name, view) for name in DETECTORS if name in chosen for view in ("turned", "noise", "near", "far")
    ]
    inside = npz(ood / "inside/inside.npz")
    for row in found[::4]:
        outside = npz(ood / "turned/scores.npz")[row["detector"]]
        wanted = detection_figures(inside[row["detector"]], outside)
        assert {name: float(row[name]) for name in wanted} == wanted
        assert float(row["rejected"]) == np.mean(outside < facts["thresholds"][row["detector"]])
    written = json.loads((out / "metrics.json").read_text())
    assert written["vim"]["far_auroc"] == float(
        next(r["auroc"] for r in found if (r["detector"], r["view"]) == ("vim", "noise"))
    )
    compact = rows(out / "report/auroc.csv")
    assert list(compact[0]) == ["detector", "turned", "noise", "near", "far"]
    pictures = {"auroc.png", *(f"{kind}_{view}.png" for kind in ("histograms", "roc") for view in ("turned", "noise"))}
    assert {path.name for path in (out / "plots").iterdir()} == pictures
    of_vim = next(row for row in compact if row["detector"] == "vim")
    assert re.search(rf"^vim +{float(of_vim['turned']):.4f} ", capsys.readouterr().out, re.MULTILINE)


def test_two_views_of_a_kind_are_averaged_and_a_view_that_is_no_longer_meant_is_not_read(project):
    both = {name: entry | {"kind": "far"} for name, entry in OOD.items()}
    project.edit(detectors=["msp"], serve=None, ood=both)
    project.everything()
    (project.outputs / "ood/strange/left").mkdir()  # of an entry that was removed while nobody looked
    project.table()
    found = [row for row in rows(project.outputs / "ood_table/strange/report/ood.csv") if row["detector"] == "msp"]
    assert [row["view"] for row in found] == ["noise", "turned", "far"]
    assert float(found[2]["auroc"]) == np.mean([float(row["auroc"]) for row in found[:2]])
    assert int(found[2]["images"]) == 180 + 60
    figures = ("auroc", "fpr95_in_positive")
    written = json.loads((project.outputs / "ood_table/strange/metrics.json").read_text())["msp"]
    assert written == {f"far_{name}": float(found[2][name]) for name in figures}, "the mean, not one view's"


def test_metrics_are_those_of_the_means():
    def row(view, value):
        return {"detector": "msp", "view": view, "kind": "far", "auroc": value, "fpr95_in_positive": 1 - value}

    assert metrics([row("a", 0.5), row("b", 1.0), row("far", 0.75)]) == {
        "msp": {"far_auroc": 0.75, "far_fpr95_in_positive": 0.25}
    }


def test_two_folders_hold_the_same_bytes(project, tmp_path, monkeypatch):
    project.edit(detectors=["msp", "odin", "vim"], ood={"known_noise": OOD["known_noise"]})
    shutil.copytree(project.folder, tmp_path / "elsewhere" / "other")
    first = project.everything().files()
    other = type(project)(tmp_path / "elsewhere" / "other", monkeypatch)
    assert other.everything().files() == first
    project.detect()  # over what is there
    assert project.files() == first


def test_a_block_without_other_views_has_an_empty_table(project):
    project.edit(ood={}, detectors=["vim"])
    project.everything()
    assert json.loads((project.outputs / "ood_table/strange/metrics.json").read_text()) == {}
    assert (project.outputs / "ood_table/strange/report/ood.csv").read_text().startswith("detector,view,kind,images,auroc")


@pytest.mark.slow  # it fits and scores everything once more
def test_another_served_detector_changes_only_what_is_served(project):
    before = project.everything().files()
    project.edit(serve="energy")
    after = project.everything().files()
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert changed == {f"detect/strange/served/{name}" for name in ("served.json", "reference.npz", "detector.safetensors")}
    project.edit(serve=None)
    project.detect()
    assert json.loads((project.outputs / "detect/strange/served/served.json").read_text()) == {}


def test_a_second_view_fits_no_detector_again_and_a_removed_one_leaves_the_table_and_the_folder(project):
    project.edit(detectors=["msp"], serve=None, ood={"known_turned": OOD["known_turned"]})
    one = project.everything().files()
    project.edit(ood=OOD)
    project.outside("known_noise")
    project.table()
    two = project.files()
    fitted = {name: content for name, content in one.items() if not name.startswith("ood_table")}
    assert {name: two[name] for name in fitted} == fitted
    assert any(row["view"] == "noise" for row in rows(project.outputs / "ood_table/strange/report/ood.csv"))
    project.edit(ood={"known_turned": OOD["known_turned"]})
    project.table()
    assert project.files() == one


def test_the_fitted_detectors_point_at_the_weights_that_they_were_fitted_to(project):
    project.edit(detectors=["msp", "vim"])
    project.detect()
    one = project.files()["detect/strange/fitted/network"]
    weights = project.outputs / "train/known/weights.pt"
    assert json.loads(one) == {"path": "outputs/train/known/weights.pt", "md5": content_md5(weights)}
    state = torch.load(weights)
    torch.save({name: tensor * 1.01 if tensor.is_floating_point() else tensor for name, tensor in state.items()}, weights)
    with pytest.raises(
        ValueError, match=r"weights\.pt: not the weights that .* were fitted to; run `dvc repro detect@strange`"
    ):
        project.outside("known_noise")
    project.detect()
    assert project.files()["detect/strange/fitted/network"] != one, "new weights make the views of `ood` stale"
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"`dvc pull outputs/train/known/weights\.pt` brings it"):
        project.outside("known_noise")


def test_the_run_is_loaded_in_eval_mode_without_gradients(project):
    """Dropout and batch statistics would make other features each time."""
    workspace, weights = project.workspace, trained_weights(project.workspace, "known")
    recipe = load_recipe(workspace, workspace.run("known"), open_view(project.view("known")), weights, torch.device("cpu"))
    assert not any(module.training for module in recipe.modules())
    assert not any(parameter.requires_grad for parameter in recipe.parameters())
    network = network_of(recipe, workspace.run("known"), torch.device("cpu"))
    (batch,) = open_view(project.view("known")).batches("test", 100)
    features, logits = network.predict(batch["image"])
    torch.testing.assert_close(network.logits(batch["image"]), logits)
    torch.testing.assert_close(features @ network.head.weight.T + network.head.bias_or_zero(), logits)


def test_a_recipe_that_is_no_classifier_cannot_be_asked(project, monkeypatch):
    monkeypatch.setattr("components.families.classification.recipe.Classification.detects", False)
    with pytest.raises(ValueError, match=r"detect\.strange\.run: detection needs a classifier"):
        project.detect()


def keep(project, view, split, count):
    """Only the first ``count`` images of a split stay in the view."""
    folder = project.view(view)
    facts = json.loads((folder / "view.json").read_text())
    for column in ("image", "label"):
        path = folder / f"{split}.{column}.npy"
        np.save(path, np.load(path)[:count])
    facts["counts"][split] = count
    (folder / "view.json").write_text(json.dumps(facts))


def test_detectors_that_cannot_be_fitted_are_listed_and_the_others_go_on(project, capsys):
    keep(project, "known", "train", 12)
    project.edit(serve="knn", ood={"known_noise": OOD["known_noise"]})
    project.everything()
    assert "relative_mahalanobis: 12 images are fewer than the 16 dimensions" in capsys.readouterr().out
    left_out = {row["detector"] for row in rows(project.outputs / "ood_table/strange/report/unfitted.csv")}
    assert left_out == {"mahalanobis", "residual", "vim", "relative_mahalanobis"}
    in_table = {row["detector"] for row in rows(project.outputs / "ood_table/strange/report/ood.csv")}
    assert in_table == set(OF_CLASSIFIERS) - left_out
    project.edit(serve="vim")
    with pytest.raises(ValueError, match=r"detect\.strange\.serve: 'vim' cannot be fitted: vim: 12 images are fewer"):
        project.detect()


def test_thresholds_without_validation_images_come_from_the_test_images(project):
    keep(project, "known", "validation", 0)
    project.detect()
    facts = json.loads((project.outputs / "ood/strange/inside/facts.json").read_text())
    assert facts["validation_split"] == facts["inside_split"] == "test"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: keep(p, "turned", "test", 0),
            r"ood\.known_turned\.split: the split 'test' of view 'turned' is empty; it has train \(60",
        ),
        (
            lambda p: shrink(p, 4),
            r"ood\.known_turned\.view: view 'turned' has image_size 4 and channels 1; .* 'known' with image_size 8",
        ),
    ],
)
def test_another_view_that_does_not_fit_is_named(project, change, message):
    project.detect()
    change(project)
    with pytest.raises(ValueError, match=message):
        project.outside("known_turned")
    assert not (project.outputs / "ood/strange/turned").exists()


def shrink(project, pixels):
    facts = json.loads((project.view("turned") / "view.json").read_text())
    (project.view("turned") / "view.json").write_text(json.dumps(facts | {"image_size": pixels}))


def test_an_empty_view_and_an_own_view_without_the_split_are_named(project):
    project.detect()
    for split in ("train", "validation", "test"):
        keep(project, "noise", split, 0)
    with pytest.raises(ValueError, match=r"ood\.known_noise\.split: view 'noise' has no images"):
        project.outside("known_noise")
    keep(project, "known", "test", 0)
    with pytest.raises(ValueError, match=r"detect\.strange\.split: the split 'test' of view 'known' is empty"):
        project.detect()


def test_no_sum_depends_on_the_number_of_cores():
    """Measured: a product of NumPy's has other bits with one thread of BLAS than with two."""
    with exact_arithmetic(1):
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}
        assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("head.weight", r"runs\.known: head: the weights are not all finite"),
        ("norm.weight", r"view 'known', split train: the features of image 0 \(from 0\) are not finite"),
    ],
)
def test_a_network_that_has_diverged_is_no_network_to_detect_with(project, layer, message):
    path = project.outputs / "train/known/weights.pt"
    state = torch.load(path)
    (name,) = [key for key in state if key.endswith(f"network.{layer}")]
    state[name][0] = float("nan")
    torch.save(state, path)
    with pytest.raises(ValueError, match=message):
        project.detect()
    assert not (project.outputs / "detect/strange/fitted").exists()
