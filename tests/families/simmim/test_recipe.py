"""SimMIM's recipe: the paper's constants, its weights in a classifier, the authors' layout, errors, and what is measured."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from workbench import run_settings

from components.core.artifact import Artifact
from components.core.batch import Split, ViewFacts
from components.core.config.run import ModelSettings, RunSettings
from components.families.classification.recipe import Classification
from components.families.simmim import evaluation
from components.families.simmim.networks import SimMIM
from components.families.simmim.recipe import SimMIMRecipe, TrainSettings, cells_of, make_optimizer
from components.families.simmim.served import Served
from components.networks.swin.swin import Swin
from components.stages.export.onnx_graph import CHECKED_BATCHES, largest_differences, paired_outputs, write_graph
from components.stages.start import initialise
from components.stages.train.checkpoint import serialise
from components.stages.train.settings import LoopSettings

FACTS = ViewFacts("v", 16, 1, {"label": ("a", "b")}, (0.1,), (0.5,), {"train": 9}, "")
SWIN = {"patch": 2, "width": 8, "depths": (2, 1), "heads": (2, 2), "window": 2}
NETWORKS = {"vit": {"patch": 4, "width": 8, "depth": 1, "heads": 2}, "swin": SWIN, "swin_v2": SWIN}
PAPER = {  # Xie et al. 2022, arXiv 2111.09886, section 4.1 and appendix A; configs/swin_base__100ep of the authors
    "batch_size": 2048,
    "learning_rate": 8e-4,  # BASE_LR 2e-4, times batch / 512
    "betas": (0.9, 0.999),
    "weight_decay": 0.05,
    "clip_norm": 5.0,
    "schedule": "cosine",
    "ema_decay": None,
    "mask_ratio": 0.6,
    "mask_cell": 32,
}


class Train(TrainSettings, LoopSettings):
    """The block as the run has it."""


def settings(network="swin", options=None, **train):
    block = {"steps": 4, "batch_size": 4, "mask_cell": 4} | train
    model = ModelSettings(network, NETWORKS.get(network, {}) | (options or {}))
    return RunSettings("r", "simmim", "v", model, Train(**block), None, evaluation.Settings(pictures=2))


def build(network="swin", facts=FACTS, **options):
    torch.manual_seed(1)
    recipe = SimMIMRecipe.build(settings(network, options), {"main": facts}, {})
    for parameter in recipe.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return recipe


def classifier(tmp_path, file, network="swin", size=16, **options):
    """(classifier started from ``file``, notes)."""
    (tmp_path / "weights.pt").write_bytes(serialise(file))
    facts = ViewFacts("w", size, 1, {"label": ("a", "b", "c")}, (0.2,), (0.4,), {"train": 9}, "")
    recipe = Classification.build(run_settings(network, NETWORKS[network] | options), {"main": facts}, {})
    starts = initialise(recipe, {"init": Artifact(tmp_path / "weights.pt", "")})
    return recipe.classifier.network, [line for start in starts for line in start.lines()]


def test_defaults_are_those_of_the_paper():
    assert {name: getattr(TrainSettings(), name) for name in PAPER} == PAPER


def test_tokens_positions_norms_and_biases_are_not_decayed():
    for network in NETWORKS:
        model = build(network).model
        groups = make_optimizer(model, TrainSettings()).param_groups
        decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
        layers = {name.rpartition(".")[0].rpartition(".")[2] for name, p in model.named_parameters() if id(p) in decayed}
        assert layers == {"proj", "qkv", "fc1", "fc2", "0"} | ({"reduction"} if network != "vit" else set())


@pytest.mark.parametrize("network", NETWORKS)
def test_the_trained_encoder_starts_a_classifier(tmp_path, network):
    recipe = build(network)
    found, notes = classifier(tmp_path, {"settings": {}, "state": recipe.state_dict()}, network)
    encoder = recipe.model.encoder.state_dict()
    assert {key for key in found.state_dict() if not key.startswith("head.")} == set(encoder)
    for key, tensor in encoder.items():
        assert torch.equal(found.state_dict()[key], tensor), key
    assert "init: head: the file has no head, this view 3: starts fresh" in notes
    assert "init: decoder: head and mask token of masked image modelling: left out" in notes


def test_another_window_and_resolution_follow_the_networks_own_rules(tmp_path):
    _, notes = classifier(tmp_path, {"state": build().state_dict()}, "swin", 32, window=4)
    assert any("3 tables interpolated" in note for note in notes)
    found, notes = classifier(tmp_path, {"state": build("vit").state_dict()}, "vit", 32)
    assert (found.pos_embed.shape[1], any("16 patches, this view 64: interpolated" in note for note in notes)) == (65, True)


def published(recipe):
    """The layout of the authors' files: key model, merging in the stage before it, flat tables, buffers, the optimizer."""
    state = {}
    for name, tensor in recipe.model.state_dict().items():
        key = {"mask_token": "encoder.mask_token"}.get(name, name).replace("layers.1.downsample", "layers.0.downsample")
        if name not in ("mean", "std"):
            state[key] = tensor.flatten(0, 1) if key.endswith("bias_table") else tensor
    state["encoder.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(4, 4, dtype=torch.int64)
    state["encoder.layers.0.blocks.1.attn_mask"] = torch.zeros(16, 4, 4)
    return {"model": state, "optimizer": {"state": {0: {"step": 1}}}, "epoch": 99, "max_accuracy": 0.0}


def test_a_published_file_starts_a_classifier_and_goes_on_with_masked_modelling(tmp_path):
    recipe = build()
    found, notes = classifier(tmp_path, published(recipe))
    for key, tensor in recipe.model.encoder.state_dict().items():
        assert torch.equal(found.state_dict()[key], tensor), key
    assert [note.split(":")[1].strip() for note in notes if "left out" in note and "no tensors" not in note] == [
        "decoder",
        "attn",
    ]
    other = SimMIM(Swin(image_size=16, channels=1, num_classes=1, **SWIN), 4, FACTS.mean, FACTS.std)
    assert other.load_published(published(recipe)["model"]).lines("fresh") == []
    for key, tensor in recipe.model.state_dict().items():
        assert torch.equal(other.state_dict()[key], tensor), key


def test_a_classifier_starts_masked_modelling_and_the_rest_starts_fresh():
    donor, recipe = Swin(image_size=16, channels=1, num_classes=5, **SWIN), build()
    token = recipe.model.mask_token.clone()
    fitted = recipe.model.load_published(donor.state_dict())
    assert torch.equal(recipe.model.encoder.layers[1].blocks[0].mlp.fc1.weight, donor.layers[1].blocks[0].mlp.fc1.weight)
    assert torch.equal(recipe.model.mask_token, token)
    assert [note.name for note in fitted.notes] == ["mask_token", "decoder.0.weight", "decoder.0.bias"]


def test_the_published_vit_is_refused_by_the_name_of_what_it_has_more(tmp_path):
    state = {f"encoder.{key}": tensor for key, tensor in build("vit").model.encoder.state_dict().items()}
    state |= {"encoder.rel_pos_bias.relative_position_bias_table": torch.zeros(52, 2), "decoder.0.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"link init .*: rel_pos_bias\.relative_position_bias_table: the file's ViT has"):
        classifier(tmp_path, {"model": state}, "vit")


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (settings("pp_lcnet"), r"^model\.name: 'pp_lcnet' has no patches .*: swin, swin_v2, vit"),
        (settings("vit", {"patch": 3}), r"^model\.patch: 3 does not divide"),
        (settings("vit", {"patch": 8}), r"^train\.mask_cell: 4 is no multiple of model\.patch, 8.*the next is 8"),
        (settings(mask_cell=6), r"^train\.mask_cell: 6 does not divide the image size 16 x 16"),
        (settings(options={"depths": (1,) * 5, "heads": (1,) * 5}), r"^model: a place of its last map is 32 x 32 pixels"),
        (settings(mask_cell=16), r"^train\.mask_ratio: 0\.6 masks 1 of 1 cells"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(run, message):
    with pytest.raises(ValueError, match=message):
        SimMIMRecipe.check(run, SimpleNamespace(image_size=16, channels=1), {})


@pytest.mark.parametrize("size", [(18, 16), (16, 18)])
def test_places_divide_both_sides_of_a_rectangle(size):
    network = SimpleNamespace(patch=4, stride=4)
    with pytest.raises(ValueError, match=rf"^model: a place of its last map is 4 x 4 .* {size[0]} x {size[1]}: "):
        cells_of(settings(), size, network)


def test_masks_differ_between_steps_and_images_and_repeat_in_the_validation():
    recipe, seen = build(), []
    rebuild = recipe.model.rebuild
    recipe.model.rebuild = lambda image, mask: (seen.append(mask), rebuild(image, mask))[1]
    batch = {"train": {"image": torch.randn(4, 1, 16, 16)}}
    for step in (0, 1, 1):
        recipe.training_step(batch, step)
    assert torch.equal(seen[1], seen[2])
    assert not torch.equal(seen[0], seen[1])
    assert len({mask.numpy().tobytes() for mask in seen[0]}) > 1
    for seed in (5, 5):
        torch.manual_seed(seed)
        recipe.validate(batch)
    assert torch.equal(seen[3], seen[4])


CELLS = {"rows": 2, "columns": 2, "side": 2, "masked": 3}


class Painter:
    """Served code that knows the images up to a shift of ``error`` in [-1, 1]; the shift is reported in units of ``std``."""

    grid, side = (2, 2), 2
    masked_pixels, predict, as_mask = Served.masked_pixels, Served.predict, Served.as_mask

    def __init__(self, error):
        self.error = error
        self.facts = {"cells": CELLS, "image_size": 4, "channels": 1, "mean": [0.25], "std": [0.5]}

    def features(self, pixels):
        return np.zeros((len(pixels), 3), np.float32)

    def rebuild(self, pixels, mask):
        return (evaluation.to_unit(pixels) + self.error).astype(np.float32)


def test_figures_are_in_standard_deviations_beside_predictions_without_a_network():
    pixels = np.random.default_rng(0).integers(40, 200, size=(5, 4, 4, 1), dtype=np.uint8)
    run = settings()
    facts = ViewFacts("v", 4, 1, {}, (0.25,), (0.5,), {"test": 5}, "")
    batches = [{"image": torch.from_numpy(part)} for part in (pixels[:3], pixels[3:])]
    report = evaluation.evaluate(Painter(0.1), {"main": Split(facts, batches)}, run, {})
    assert report.metrics["masked_l1"].value == pytest.approx(0.2, abs=1e-6)
    assert report.items["masked_l1"].shape == (5,)
    found = {row["prediction"]: row["masked_l1"] for row in report.tables["baselines"]}
    expected = {"mean of the training images": [], "mean of the image": [], "median of the image": []}
    for number, image in enumerate(pixels[..., 0] / 127.5 - 1):
        (mask,) = evaluation.masks(CELLS, 0, range(number, number + 1))
        masked = mask.reshape(2, 2).repeat(2, 0).repeat(2, 1)
        for name, value in zip(expected, (0.25, image.mean(), np.median(image)), strict=True):
            expected[name].append(np.abs(image - value)[masked].mean() / 0.5)
    assert found == pytest.approx({"network": 0.2} | {name: np.mean(values) for name, values in expected.items()}, abs=1e-6)
    assert report.metrics["share_of_median"].value == pytest.approx(found["network"] / found["median of the image"])
    assert report.pictures["original_masked_rebuilt"].shape[1] % 3 == 0


def test_masks_of_an_evaluation_depend_on_the_image_s_number_alone():
    whole = evaluation.masks(CELLS, 0, range(6))
    assert (whole.sum(1) == 3).all()
    assert np.array_equal(whole[4:], evaluation.masks(CELLS, 0, range(4, 6)))
    assert not np.array_equal(whole, evaluation.masks(CELLS, 1, range(6)))


def test_a_server_rebuilds_what_is_masked_and_leaves_the_rest():
    pixels = np.full((2, 4, 4, 1), 100, np.uint8)
    mask = np.array([[1, 0, 0, 0], [0, 0, 0, 1]])
    answer = Painter(0.4).predict({"image": pixels, "mask": mask})
    assert (answer["reconstruction"][0, :2, :2] == 151).all()
    assert (answer["reconstruction"] == 100).sum() == 2 * 12
    assert (Painter(0.4).predict({"image": pixels})["reconstruction"] == pixels).all()
    for wrong in (mask[:1], mask * 2, mask[:, :3], np.array([["a"] * 4] * 2)):
        with pytest.raises(ValueError, match="mask: 0 or 1 for each of 2 x 2 cells, row by row, of 2 images"):
            Painter(0).predict({"image": pixels, "mask": wrong})
    with pytest.raises(ValueError, match="keys 'image' and 'mask', found pixels"):
        Painter(0).predict({"pixels": pixels})


@pytest.mark.slow
@pytest.mark.parametrize("network", ["swin", "swin_v2"])
def test_graphs_of_swin_equal_torch(tmp_path, network):
    recipe = build(network).eval()
    for name, graph in recipe.exportable().graphs.items():
        path = tmp_path / f"{name}.onnx"
        batches = [{"image": torch.randn(count, 1, 16, 16)} for count in (2, *CHECKED_BATCHES)]
        write_graph(graph, batches[0], path)
        assert max(largest_differences(paired_outputs(graph, path, batches[1:], threads=1)).values()) <= graph.bound
