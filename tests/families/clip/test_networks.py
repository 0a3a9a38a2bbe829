"""CLIP's towers: sizes as published, pooling, the causal mask, published layouts, and what does not fit."""

import pytest
import torch
from torch import nn
from workbench import run_settings

from components.core.artifact import Artifact
from components.core.batch import ViewFacts
from components.families.classification.recipe import Classification
from components.families.clip.networks import CLIP, VARIANTS
from components.networks.clip.clip_vit import ClipViT
from components.networks.clip.modified_resnet import Bottleneck, ClipResNet
from components.networks.clip.text_transformer import TextTransformer
from components.stages.start import initialise
from components.stages.train.checkpoint import serialise

SIZES = {"embed_dim": 8, "width": 8, "text_width": 8, "text_depth": 2, "text_heads": 2}
VIT = SIZES | {"patch": 4, "depth": 1, "heads": 2}
RESNET = SIZES | {"tower": "modified_resnet", "blocks": (1, 2, 1, 1)}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def clip(seed=0, **options):
    facts = {"image_size": 32, "channels": 3, "num_tokens": 20, "context": 6, "end_token": 19, "padding": 0, "sigmoid": False}
    torch.manual_seed(seed)
    return CLIP(**facts | VIT | options) if "tower" not in options else CLIP(**facts | options)


@pytest.mark.parametrize(
    ("variant", "whole", "visual"),
    [("RN50", 102_007_137, 38_316_896), ("ViT-B/32", 151_277_313, 87_849_216), ("ViT-B/16", 149_620_737, 86_192_640)],
)
def test_numbers_of_parameters_are_as_published(variant, whole, visual):
    facts = {"image_size": 224, "channels": 3, "num_tokens": 49408, "context": 77, "end_token": 49407, "padding": 0}
    with torch.device("meta"):
        network = CLIP(**facts, sigmoid=False, variant=variant)
    assert sum(p.numel() for p in network.parameters()) == whole
    assert sum(p.numel() for p in network.visual.parameters()) == visual


def test_the_start_has_the_published_deviations():
    """openai/CLIP, model.py, initialize_parameters: by the text tower's width, and its depth at the ends of branches."""
    torch.manual_seed(0)
    tower = TextTransformer(num_tokens=300, context=64, embed_dim=96, width=96, depth=8, heads=2)
    expected = {
        "token_embedding.weight": 0.02,
        "positional_embedding": 0.01,
        "text_projection": 96**-0.5,
        "transformer.resblocks.3.attn.in_proj_weight": 96**-0.5,
        "transformer.resblocks.3.attn.out_proj.weight": 96**-0.5 * 16**-0.5,
        "transformer.resblocks.3.mlp.c_fc.weight": 192**-0.5,
        "transformer.resblocks.3.mlp.c_proj.weight": 96**-0.5 * 16**-0.5,
    }
    state = tower.state_dict()
    assert {name: float(state[name].std()) for name in expected} == pytest.approx(expected, rel=0.05)
    assert not any(state[f"transformer.resblocks.3.{name}.bias"].any() for name in ("attn.out_proj", "ln_1"))
    network = clip(**RESNET)
    norms = [module.bn3.weight for module in network.visual.modules() if isinstance(module, Bottleneck)]
    assert len(norms) == 5
    assert not any(weight.any() for weight in norms)
    assert network.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    siglip = clip(sigmoid=True)
    assert (siglip.logit_scale.exp().item(), siglip.logit_bias.item()) == (pytest.approx(10), -10)


@pytest.mark.parametrize("end", [19, None])
def test_a_text_is_read_at_its_end_and_what_follows_does_not_matter(end):
    network = clip(end_token=end).eval()
    tokens = torch.tensor([[3, 4, 19, 0, 0, 0], [3, 19, 0, 0, 0, 0], [5, 6, 7, 8, 9, 19]])
    first = network.embed_text(tokens)
    assert network.text.end_of(tokens).tolist() == [2, 1, 5]
    if end is not None:
        after = tokens.clone()
        after[0, 4], after[1, 2] = 7, 19  # a second end does not count
        assert torch.equal(network.embed_text(after), first)
    before = tokens.clone()
    before[0, 0] = 5
    assert not torch.allclose(network.embed_text(before)[0], first[0])
    torch.testing.assert_close(first.norm(dim=1), torch.ones(3))


def test_without_an_end_token_padding_alone_is_a_text_that_is_read_at_its_start():
    assert clip(end_token=None).text.end_of(torch.zeros(1, 6, dtype=torch.int64)).tolist() == [0]


def test_dropped_patches_do_not_matter_and_the_class_token_stays():
    network = clip().eval()
    image, kept = torch.randn(2, 3, 32, 32), torch.tensor([[0, 9, 63], [1, 2, 3]])
    changed = image.clone()
    changed[0, :, 0:4, 4:8] = 5.0  # patch 1: not kept of the first image, kept of the second
    changed[1, :, 0:4, 0:4] = 5.0  # patch 0
    assert torch.equal(network.embed_image(image, kept), network.embed_image(changed, kept))
    changed[0, :, 4:8, 4:8] = 5.0  # patch 9
    differ = (network.embed_image(image, kept) != network.embed_image(changed, kept)).any(1)
    assert differ.tolist() == [True, False]
    torch.testing.assert_close(network.embed_image(image, torch.arange(64).expand(2, -1)), network.embed_image(image))


def openai_layout(network):
    """The tensors by OpenAI's names, with the constants of its files."""
    state = {name.removeprefix("text."): tensor.clone() for name, tensor in network.state_dict().items()}
    return state | {"input_resolution": torch.tensor(32), "context_length": torch.tensor(6), "vocab_size": torch.tensor(20)}


@pytest.mark.parametrize("sizes", [{}, RESNET], ids=["vit", "resnet"])
@pytest.mark.parametrize("layout", [openai_layout, lambda network: network.state_dict()], ids=["openai", "open_clip"])
def test_published_layouts_load_as_they_are(sizes, layout):
    first, second = clip(**sizes), clip(seed=1, **sizes)
    fitted = second.load_published(layout(first))
    assert (fitted.lines(), fitted.taken) == ([], len(first.state_dict()))
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())


def test_another_context_vocabulary_size_and_colour_are_adapted_and_said():
    first = clip()
    second = clip(seed=1, image_size=16, channels=1, num_tokens=30, context=4)
    fitted = second.load_published(openai_layout(first))
    assert sorted(fitted.lines()) == [
        "text.positional_embedding: the file has 6 text positions, this view 4: the first are taken",
        "text.token_embedding: the file has 20 tokens, this view 30: starts fresh",
        "visual.conv1.weight: the file is for RGB, this view is grey: channels summed",
        "visual.positional_embedding: the file has 64 patches, this view 16: interpolated",
    ]
    assert torch.equal(second.text.positional_embedding, first.text.positional_embedding[:4])
    longer = clip(context=11)
    longer.load_published(openai_layout(first))
    torch.testing.assert_close(longer.text.positional_embedding[::2], first.text.positional_embedding)


def test_a_timm_tower_and_another_size_are_refused():
    with pytest.raises(ValueError, match=r"visual\.trunk\.x: a tower of timm"):
        clip().load_published({"visual.trunk.x": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"12 left over: visual\.transformer\.resblocks\.1\."):
        clip().load_published(openai_layout(clip(depth=2)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"variant": "RN50", "patch": 32}, "patch: 32 is not allowed: the tower modified_resnet has none"),
        ({"variant": "ViT-B/32", "width": 64}, "width: 64 is not allowed: variant ViT-B/32 has 768"),
        ({**VIT, "patch": 5}, "patch: 5 does not divide"),
        ({**VIT, "heads": 3}, "heads: 3 does not divide width 8"),
        ({**VIT, "text_heads": 3}, "text_heads: 3 does not divide"),
        ({**RESNET, "image_size": 40}, "multiples of 32"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_by_name(options, words):
    facts = {"image_size": 32, "channels": 3, "num_tokens": 20, "context": 6, "end_token": 19, "padding": 0, "sigmoid": False}
    with pytest.raises(ValueError, match=words):
        CLIP(**facts | options)
    assert set(VARIANTS) == {"ViT-B/32", "ViT-B/16", "ViT-L/14", "RN50", "RN101"}


@pytest.mark.parametrize(
    ("classifier", "sizes", "options"),
    [
        (ClipViT, {}, {"patch": 4, "width": 8, "depth": 1, "heads": 2}),
        (ClipResNet, RESNET, {"blocks": (1, 2, 1, 1), "width": 8, "embed_dim": 8}),
    ],
)
def test_a_classifier_starts_from_the_image_tower_of_a_run(classifier, sizes, options):
    """The names are those of a CLIP run's weights.pt; the features are the tower's."""
    source = clip(**sizes).eval()
    network = classifier(image_size=32, channels=3, num_classes=4, **options).eval()
    fitted = network.load_published({f"clip.{name}": tensor for name, tensor in source.state_dict().items()})
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(network.features(image), source.visual.features(image))
    said = fitted.lines()
    assert "head: the file has no head, this view 4: starts fresh" in said
    assert any(line.startswith("text: ") for line in said)
    assert (len([line for line in said if line.startswith("proj: ")]) == 1) == (classifier is ClipViT)
    assert isinstance(network.head, nn.Linear)


def test_a_classification_run_starts_from_a_clip_run_s_weights(tmp_path):
    """By a link of role init to its folder; the head's classes are the view's."""
    facts = ViewFacts("v", 32, 3, {"label": ("a", "b", "c")}, (0.0,) * 3, (1.0,) * 3, {"train": 9}, "")
    settings = run_settings("clip_vit", {"patch": 4, "width": 8, "depth": 1, "heads": 2})
    recipe, source = Classification.build(settings, {"main": facts}, {}), clip()
    state = {f"clip.{name}": tensor for name, tensor in source.state_dict().items()}
    (tmp_path / "weights.pt").write_bytes(serialise({"settings": {"view": {"classes": {"label": ["x", "y"]}}}, "state": state}))
    (start,) = initialise(recipe, {"init": Artifact(tmp_path, "0" * 32)})
    assert start.fitted.taken == len(source.visual.state_dict()) - 1, "all but the projection"
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(recipe.eval().classifier.network.features(image), source.eval().visual.features(image))
