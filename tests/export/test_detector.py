"""A detector in the exported graph: torch's scores, rejections by its own threshold, and refused where they differ."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from components.core.config.strict import resolve
from components.core.recipe import Exportable, Graph
from components.detectors import DETECTORS
from components.detectors.shared.protocol import Head
from components.families.classification.served import Served
from components.stages.export.detector import Detecting, check_rejections, with_detector
from components.stages.export.onnx_graph import open_session, write_graph
from components.stages.export.stage import compare, write_graphs, write_rest

SERVABLE = sorted(set(DETECTORS) - {"odin"})
OPTIONS = {"knn": {"neighbours": 3}}
SIZE, CLASSES, FEATURES = 4, 3, 8


class Tiny(nn.Module):
    """image [N, 1, 4, 4] -> (logits [N, 3], features [N, 8])."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(SIZE * SIZE, FEATURES), nn.Linear(FEATURES, CLASSES)

    def forward(self, image):
        features = torch.tanh(self.body(image.flatten(1)))
        return self.head(features) * 4 + 5, features


def images(count, seed=1):
    pixels = torch.randint(0, 256, (count, 1, SIZE, SIZE), generator=torch.Generator().manual_seed(seed))
    return {"image": pixels / 127.5 - 1}


@pytest.fixture
def plain():
    return make_plain()


def make_plain():
    network = Tiny().eval()
    return Exportable(
        graphs={"model": Graph(network, lambda batch: {"image": batch["image"]}, ("logits", "features"))},
        facts={"image_size": SIZE, "channels": 1, "classes": ["a", "b", "c"]},
        signature={"inputs": [], "outputs": [{"name": "label", "dtype": "int64", "shape": [-1]}], "params": []},
        example=lambda batch: {"image": np.zeros((1, SIZE, SIZE, 1), np.uint8)},
    )


@torch.no_grad()
def serve(folder, exportable, name, rejected=0.5):
    """What the detect stage leaves for ``name``, with a threshold that rejects this share of its images; the detector."""
    network, image = exportable.graphs["model"].module, images(60)["image"]
    logits, features = network(image)
    options = OPTIONS.get(name, {})
    detector = resolve(DETECTORS, name, "")(**options)
    head = Head(network.head.weight * 4, network.head.bias * 4 + 5)
    detector.fit([(features, logits, logits.argmax(1))], head)
    scores = detector.score(features.double(), logits.double()).numpy()
    folder.mkdir()
    facts = {"detector": name, "options": options, "threshold": float(np.quantile(scores, rejected)), "tpr": 0.95}
    (folder / "served.json").write_text(json.dumps(facts | {"split": "validation"}))
    if detector.state():
        save_file(detector.state(), folder / "detector.safetensors")
    np.savez(folder / "reference.npz", ood_score=scores.astype(np.float32))
    return detector


def batches():
    return [images(size) for size in (2, 1, 7)]


class Every(nn.Module):
    """Scores and rejections of all graphs of one classifier, so that one export serves for all."""

    def __init__(self, modules):
        super().__init__()
        self.each = nn.ModuleList(modules)

    def forward(self, image):
        return tuple(output for module in self.each for output in module(image)[2:])


def test_the_graph_scores_as_each_detector_does_and_rejects_below_its_threshold(tmp_path, plain):
    detectors = {name: serve(tmp_path / name, plain, name) for name in SERVABLE}
    whole = {name: with_detector(plain, tmp_path / name) for name in SERVABLE}
    modules = [exportable.graphs["model"].module for exportable in whole.values()]
    outputs = tuple(f"{name}.{output}" for name in SERVABLE for output in ("score", "rejected"))
    write_graph(Graph(Every(modules), lambda batch: batch, outputs), images(2), tmp_path / "every.onnx")
    image = images(40, seed=2)["image"]
    found = dict(zip(outputs, open_session(tmp_path / "every.onnx", 1).run(outputs, {"image": image.numpy()}), strict=True))
    with torch.no_grad():
        logits, features = (part.double() for part in plain.graphs["model"].module(image))
    for name, detector in detectors.items():
        score, rejected = found[f"{name}.score"], found[f"{name}.rejected"]
        wanted = detector.score(features, logits).numpy()
        np.testing.assert_allclose(score, wanted, rtol=1e-4, atol=1e-4, err_msg=name)
        assert (score.dtype, rejected.dtype) == (np.float32, np.bool_)
        np.testing.assert_array_equal(rejected, score < whole[name].facts["detector"]["threshold"])
        assert 0 < rejected.sum() < 40, name


def test_facts_signature_and_bounds_tell_of_the_detector_and_lose_nothing(tmp_path, plain):
    serve(tmp_path / "served", plain, "gradnorm")
    whole = with_detector(plain, tmp_path / "served")
    threshold = json.loads((tmp_path / "served/served.json").read_text())["threshold"]
    assert whole.facts == plain.facts | {
        "detector": {"name": "gradnorm", "threshold": float(np.float32(threshold)), "tpr": 0.95}
    }
    assert [(entry["name"], entry["dtype"]) for entry in whole.signature["outputs"]] == [
        ("label", "int64"),
        ("ood_score", "float32"),
        ("is_ood", "bool"),
    ]
    largest = np.abs(np.load(tmp_path / "served/reference.npz")["ood_score"]).max()
    assert largest > 1
    graph = whole.graphs["model"]
    assert (graph.bound, graph.bounds) == (1e-4, {"ood_score": pytest.approx(1e-4 * largest)})
    assert [entry["name"] for entry in plain.signature["outputs"]] == ["label"]


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Two export folders of the same classifier with ViM, and the parity that was found."""
    places, found = [tmp_path_factory.mktemp(name) for name in ("one", "a_much_longer_name")], []
    for place in places:
        exportable = make_plain()
        serve(place / "served", exportable, "vim")
        whole = with_detector(exportable, place / "served")
        found.append(write_graphs(whole, batches(), place, threads=1))
        write_rest(whole, batches()[0], place)
    return places, found[0]


def test_parity_holds_the_score_beside_the_graph(exports):
    _, parity = exports
    assert list(parity) == ["model", "ood_score"]
    assert all(0 <= entry["max_abs_difference"] <= entry["bound"] for entry in parity.values())
    assert all(entry["batches"] == [1, 7] for entry in parity.values())


def test_the_served_code_gives_score_and_rejection_also_of_no_image(exports):
    served, pixels = Served(exports[0][0]), np.random.default_rng(0).integers(0, 256, (9, SIZE, SIZE, 1), dtype=np.uint8)
    for count in (9, 1, 0):
        answer, scores = served.predict({"image": pixels[:count]}), served.scores(pixels[:count])
        assert list(answer) == ["label", "probability", "class_name", "ood_score", "is_ood"]
        assert list(scores) == ["logits", "features", "ood_score", "is_ood"]
        assert [answer[key].dtype for key in ("ood_score", "is_ood")] == [np.float32, np.bool_]
        assert all(len(array) == count for array in (*answer.values(), *scores.values()))
        np.testing.assert_array_equal(answer["is_ood"], answer["ood_score"] < served.facts["detector"]["threshold"])
        np.testing.assert_array_equal(answer["ood_score"], scores["ood_score"])


def test_the_same_bytes_from_another_folder(exports):
    first, second = exports[0]
    names = sorted(path.name for path in first.iterdir() if path.is_file())
    assert names == ["example.npz", "facts.json", "model.onnx", "signature.json"]
    assert {name for name in names if (first / name).read_bytes() != (second / name).read_bytes()} == set()


def test_a_block_that_serves_no_detector_is_refused(tmp_path, plain):
    (tmp_path / "served.json").write_text("{}\n")
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match=r"served\.json: no detector is served; name one in detect.*dvc repro detect"):
            with_detector(plain, folder)


def test_a_score_over_its_bound_is_refused_and_does_not_loosen_the_others(plain):
    graph = dataclasses.replace(plain.graphs["model"], outputs=("logits", "ood_score"), bounds={"ood_score": 0.5})

    def both(logits, score):
        return {"logits": np.float32([logits]), "ood_score": np.float32([score])}

    parity = compare("model", graph, [(both(0, 0), both(5e-5, 0.25))])
    assert {name: entry["max_abs_difference"] for name, entry in parity.items()} == pytest.approx(
        {"model": 5e-5, "ood_score": 0.25}
    )
    with pytest.raises(ValueError, match=r"differs from torch by 0.75 in ood_score, the bound is 0.5: nothing is exported"):
        compare("model", graph, [(both(0, 0), both(0, 0.75))])
    with pytest.raises(ValueError, match=r"differs from torch by 0.25 in logits, the bound is 0.0001"):
        compare("model", graph, [(both(0, 0), both(0.25, 0))])
    with pytest.raises(ValueError, match=r"differs from torch by inf in ood_score"):
        compare("model", graph, [(both(0, 0), both(0, np.nan))])


def test_the_bound_of_large_values_is_a_share_of_them(plain):
    graph = dataclasses.replace(plain.graphs["model"], outputs=("logits",))

    def pair(value, difference):
        return {"logits": np.float32([value, 0])}, {"logits": np.float32([value, difference])}

    assert compare("model", graph, [pair(5, 4e-4), pair(1, 0)])["model"]["bound"] == 5e-4
    with pytest.raises(ValueError, match=r"by 0\.0006 in logits, the bound is 0\.0005"):
        compare("model", graph, [pair(5, 6e-4)])


def test_scores_that_bound_nothing_and_odin_are_refused(tmp_path, plain):
    serve(tmp_path / "served", plain, "energy")
    np.savez(tmp_path / "served/reference.npz", ood_score=np.array([1.0, np.nan], np.float32))
    with pytest.raises(ValueError, match="not finite; choose another detector"):
        with_detector(plain, tmp_path / "served")
    facts = json.loads((tmp_path / "served/served.json").read_text())
    (tmp_path / "served/served.json").write_text(json.dumps(facts | {"detector": "odin"}))
    with pytest.raises(ValueError, match=r"served\.json: odin needs a gradient"):
        with_detector(plain, tmp_path / "served")


def answer(scores, rejected):
    return {"ood_score": np.float32(scores), "is_ood": np.array(rejected)}


def test_a_rejection_may_differ_from_torch_at_the_threshold_alone(plain):
    module = Detecting(plain.graphs["model"].module, nn.Identity(), threshold=2.0)
    graph = dataclasses.replace(plain.graphs["model"], module=module, bounds={"ood_score": 1e-3})
    ours = answer([1.9999, 3.0], [True, False])
    check_rejections("model", graph, [(answer([2.0001, 3.0], [False, False]), ours)])
    with pytest.raises(ValueError, match="differs from torch away from the threshold"):
        check_rejections("model", graph, [(answer([2.1, 3.0], [False, False]), ours)])
    with pytest.raises(ValueError, match="is not ood_score < 2: nothing is exported"):
        check_rejections("model", graph, [(ours, answer([1.9999, 3.0], [False, False]))])


def test_an_image_without_a_score_is_rejected(plain):
    class Nothing(nn.Module):
        def forward(self, features, logits):
            return logits.amax(1) * torch.nan

    module = Detecting(plain.graphs["model"].module, Nothing(), threshold=-1e30)
    assert module(images(2)["image"])[3].tolist() == [True, True]
