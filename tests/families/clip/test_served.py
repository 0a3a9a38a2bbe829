"""An exported CLIP: vectors, probabilities of any classes, prompt ensembles, HTTP, and an evaluation by its files alone."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
from families.tiny import Tiny, scattered
from PIL import Image
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from components.core.settings import Workspace
from components.registry.model_registry import read_signature
from components.registry.predict.classify import predictions
from components.registry.scoring.pictures import Predict
from components.registry.scoring.texts import Embed
from components.serving.loading import load_served
from components.stages.evaluate.score import score
from components.stages.export import stage


@pytest.fixture(scope="module")
def tiny(runtime, tmp_path_factory):
    """The tiny run, exported."""
    torch.set_num_threads(1)
    tiny = Tiny("clip", tmp_path_factory.mktemp("clip"))
    params = tiny.params()
    params["views"]["plain"] |= {"image_size": 16}
    params["runs"]["tiny"]["export"] = {"templates": ["a {}", "the {}."], "names": {"b": "bee"}}
    tiny.save(scattered(tiny.build()))
    tiny.parse(params)
    stage.run(Workspace(tiny.folder), "tiny")
    return tiny


@pytest.fixture(scope="module")
def folder(tiny):
    return tiny.folder / "outputs" / "export" / "tiny"


@pytest.fixture(scope="module")
def served(folder):
    return load_served(folder)


@pytest.fixture(scope="module")
def pixels(tiny):
    (batch,) = tiny.views["main"].batches("test", 100, pixels=True)
    return batch["image"].numpy()


def test_vectors_are_of_length_one_and_do_not_depend_on_the_batch(served, pixels):
    many = served.embed_image(np.concatenate([pixels] * 4))
    assert (many.shape, many.dtype) == ((96, 8), np.float32)
    np.testing.assert_allclose(np.linalg.norm(many, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(many[70], served.embed_image(pixels[22:23])[0], atol=1e-5)
    texts = served.embed_text([f"no {index}" for index in range(3)])
    np.testing.assert_allclose(texts[2], served.embed_text(["no 2"])[0], atol=1e-5)
    assert served.embed_image(pixels[:0]).shape == served.embed_text([]).shape == (0, 8)
    assert served.image_features(pixels[:2]).shape == (2, 8)


def test_the_network_s_own_vectors_are_served(served, tiny, pixels):
    recipe, batch = scattered(tiny.build()).eval(), tiny.batch(4)
    with torch.no_grad():
        image = recipe.clip.embed_image((batch["image"] - recipe.mean) / recipe.std)
        text = recipe.clip.embed_text(batch["tokens"])
    np.testing.assert_allclose(served.embed_image(pixels[:4]), image, atol=1e-5)
    np.testing.assert_allclose(served.embed_text([f"no {index}" for index in range(4)]), text, atol=1e-5)
    assert served.scale == pytest.approx(recipe.clip.logit_scale.exp().item())


def test_a_class_is_the_mean_of_its_prompts_on_the_sphere(served, pixels):
    names, templates = ["x", "bee"], ["a {}", "{}!"]
    answer = served.predict({"image": pixels[:3]}, {"class_names": names, "templates": templates})
    rows = []
    for name in names:
        mean = served.embed_text([f"a {name}", f"{name}!"]).mean(0)
        rows.append(mean / np.linalg.norm(mean))
    logits = served.scale * served.embed_image(pixels[:3]) @ np.array(rows).T
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=1e-4)
    assert answer["class_name"].tolist() == [names[index] for index in expected.argmax(1)]
    np.testing.assert_allclose(answer["probability"], expected.max(1), rtol=1e-4)


def test_without_class_names_the_export_s_classes_are_told_apart(served, folder, pixels):
    assert served.classes.tolist() == ["a", "bee", "c"]
    answer, empty = (served.predict({"image": pixels[:3]}, params) for params in (None, {"class_names": [], "templates": []}))
    given = served.predict({"image": pixels[:3]}, {"class_names": ["a", "bee", "c"], "templates": ["a {}", "the {}."]})
    for name in answer:
        assert np.array_equal(answer[name], empty[name])
        assert np.array_equal(answer[name], given[name])
    signature = json.loads((folder / "signature.json").read_text())
    assert list(answer) == [entry["name"] for entry in signature["outputs"]]
    assert [param.name for param in read_signature(folder / "signature.json").params] == ["class_names", "templates"]
    (row,) = predictions(served, ["x.png"], pixels[:1])
    assert (row.label, row.top[0][0]) == (answer["class_name"][0], answer["class_name"][0])


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"classes": ["a"]}, "params: classes is not known; allowed: class_names, templates"),
        ({"class_names": ["a", " "]}, "class_names: texts that are not empty are expected, found ' '"),
        ({"class_names": "a, b"}, "class_names: a list of texts is expected"),
        ({"class_names": [1]}, "class_names: texts"),
        ({"templates": ["a photo"]}, "templates: 'a photo' must have {} once"),
    ],
)
def test_bad_requests_are_refused_in_words(served, pixels, params, words):
    with pytest.raises(ValueError, match=words):
        served.predict({"image": pixels[:1]}, params)


def test_a_model_of_captions_alone_answers_with_the_vector(served, folder, pixels, tmp_path):
    shutil.copytree(folder, tmp_path / "export")
    facts = json.loads((folder / "facts.json").read_text()) | {"classes": []}
    (tmp_path / "export" / "facts.json").write_text(json.dumps(facts))
    captions = load_served(tmp_path / "export")
    answer = captions.predict({"image": pixels[:2]})
    assert (answer["label"].tolist(), answer["class_name"].tolist(), answer["probability"].tolist()) == (
        [-1, -1],
        ["", ""],
        [0, 0],
    )
    assert answer["probabilities"].shape == (2, 0)
    assert {name: array.dtype.kind for name, array in answer.items()} == {
        name: array.dtype.kind for name, array in served.predict({"image": pixels[:2]}).items()
    }
    np.testing.assert_array_equal(answer["embedding"], served.predict({"image": pixels[:2]})["embedding"])
    asked = {"class_names": ["a", "bee"], "templates": ["a {}"]}
    named = [model.predict({"image": pixels[:2]}, asked)["probability"] for model in (captions, served)]
    np.testing.assert_array_equal(*named)


def test_texts_that_are_too_long_are_cut_and_told(served):
    assert served.cut(["12345678", "123456789"]).tolist() == [False, True]
    assert np.array_equal(served.embed_text(["123456789"]), served.embed_text(["12345678"]))


def test_over_http_classes_are_fields_and_texts_become_vectors(served, folder, pixels):
    signature = json.loads((folder / "signature.json").read_text())
    routes = {"/predict": Predict(served, signature).answer, "/embed": Embed(served).answer}
    file = io.BytesIO()
    Image.fromarray(pixels[0, :, :, 0]).save(file, "PNG")
    with TestClient(Starlette(routes=[Route(path, answer, methods=["POST"]) for path, answer in routes.items()])) as server:
        expected = served.predict({"image": served.decode(file.getvalue())[None]}, {"class_names": ["x", "a y"]})
        for text in ("x, a y", '["x", "a y"]'):
            sent = {"files": [("image", ("a.png", file.getvalue()))], "data": {"class_names": text}}
            (row,) = server.post("/predict", **sent).json()["predictions"]
            assert row["class_name"] == expected["class_name"][0]
            np.testing.assert_allclose(row["probabilities"], expected["probabilities"][0], rtol=1e-6)
            np.testing.assert_allclose(row["embedding"], expected["embedding"][0], rtol=1e-6)
        reply = server.post("/embed", json={"texts": ["x", "much too long"]}).json()
        assert reply["cut"] == [False, True]
        np.testing.assert_allclose(reply["embeddings"], served.embed_text(["x", "much too long"]), rtol=1e-6)
        for body in ({"texts": []}, {"texts": "x"}, {"text": ["x"]}, {"texts": [" "]}):
            assert server.post("/embed", json=body).status_code == 400
        refused = server.post("/predict", files=[("image", ("a.png", file.getvalue()))], data={"class_names": "a,,b"})
        assert (refused.status_code, "texts that are not empty" in refused.json()["error"]) == (400, True)


def test_the_evaluation_reads_all_captions_and_columns_of_the_view(tiny, folder):
    report = score(Workspace(tiny.folder), "tiny", folder)
    (captions,) = report.tables["captions"]
    assert captions == {"images": 24, "captions": 48, "distinct": 16, "duplicates": 32, "cut": 0}
    names = [f"{way}.recall_at_{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)]
    assert set(names) <= set(report.metrics)
    assert report.items["image_to_text.recall_at_5"].mean() == report.metrics["image_to_text.recall_at_5"].value
    (row,) = report.tables["linear_probe"]
    assert (row["accuracy"], row["train_images"]) == (report.metrics["linear_probe.label.accuracy"].value, 24)
    assert report.items["zero_shot.label.accuracy"].mean() == report.metrics["zero_shot.label.accuracy"].value
    assert (report.group_names, len(report.groups), report.probabilities.shape) == (("a", "b", "c"), 24, (24, 3))
    assert report.pictures["captions"].shape[2] == 3
