"""Parameter counts, padding, the published layouts and the attention that the report draws."""

import math

import pytest
import torch

from components.families.detr.network.attention import attend, point_embedding, sine_positions
from components.families.detr.network.detr import DETR
from components.families.detr.network.published import BODY, OURS
from components.families.detr.network.transformer import Memory
from components.networks.published import ClassNames
from components.networks.resnets.resnet import ResNet

SMALL = {"backbone": 18, "width": 8, "stages": 2, "hidden_dim": 16, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 2}
SMALL |= {"ffn_dim": 16, "num_queries": 5}


def small(decoder="plain", **options):
    torch.manual_seed(0)
    network = DETR(image_size=32, channels=3, num_classes=3, **SMALL | {"decoder": decoder} | options).eval()
    with torch.no_grad():  # the box head of the conditional decoder begins at 0
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return network


@pytest.mark.parametrize(
    ("options", "all_of_them", "trained"),
    [({}, 41_524_768, 41_302_368), ({"decoder": "conditional", "num_queries": 300}, 43_418_401, 43_196_001)],
)
def test_parameters_are_those_of_the_published_networks(options, all_of_them, trained):
    with torch.device("meta"):
        network = DETR(image_size=800, channels=3, num_classes=91, **options)
    assert sum(p.numel() for p in network.parameters()) == all_of_them
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == trained


@pytest.mark.parametrize("decoder", ["plain", "conditional"])
@pytest.mark.parametrize("levels", [1, 2])
def test_what_lies_in_the_padding_changes_nothing(decoder, levels):
    network = small(decoder, levels=levels, stages=3)
    mask = torch.zeros(2, 64, 64, dtype=torch.bool)
    mask[0], mask[1, :32] = True, True
    image = torch.randn(2, 3, 64, 64) * mask[:, None]
    memory, _ = network.encode(image, mask)
    padded = ~memory.mask[:, 0, 0]
    assert padded[1].any()
    assert not padded[0].any()
    with torch.no_grad():
        before = network(image, mask)
        network.backbone.register_forward_hook(lambda module, inputs, maps: [one + 9 * ~resized(mask, one) for one in maps])
        after = network(image, mask)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def resized(mask, one):
    step = mask.shape[1] // one.shape[2]
    return mask[:, None, ::step, ::step]


def test_positions_span_the_picture_whatever_is_padded():
    whole = sine_positions(torch.ones(1, 4, 6, dtype=torch.bool), 16).view(4, 6, 16)
    mask = torch.zeros(1, 8, 9, dtype=torch.bool)
    mask[:, :4, :6] = True
    torch.testing.assert_close(sine_positions(mask, 16).view(8, 9, 16)[:4, :6], whole)
    assert (whole[1:] != whole[:-1]).any(-1).all()
    assert (whole[:, :, :8] == whole[:, :1, :8]).all(), "y comes first"


@pytest.mark.parametrize("decoder", ["plain", "conditional"])
def test_the_drawn_attention_is_that_of_the_network(decoder):
    network, image = small(decoder), torch.randn(2, 3, 32, 32)
    encoder, attention = network.attention(image)
    assert (encoder.shape, attention.shape) == ((2, 16, 16), (2, 5, 16))
    for weights in (encoder, attention):
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:2]))
    q, k, v = torch.randn(3, 2, 7, 8)
    mask = torch.rand(2, 1, 7, 7) < 0.6
    mask |= torch.eye(7, dtype=torch.bool)
    fast, explicit = (attend(q, k, v, 2, mask=mask, weights=weights)[0] for weights in (False, True))
    torch.testing.assert_close(fast, explicit)


@pytest.mark.parametrize("decoder", ["plain", "conditional"])
def test_positions_decide_where_to_look_and_are_no_part_of_what_is_seen(decoder):
    """One token is all that there is to look at, so its position changes nothing; of two tokens it does."""
    network = small(decoder)
    for tokens in (1, 2):
        content, positions = torch.randn(2, 1, tokens, 16)
        memories = [Memory(content, factor * positions, None) for factor in (1.0, -5.0)]
        with torch.no_grad():
            encoded = [network.transformer.encoder(memory)[0].tokens for memory in memories]
            decoded = [network.transformer.decoder(network.queries(1), memory)[0] for memory in memories]
        for one, other in (encoded, decoded):
            assert torch.allclose(one, other, atol=1e-5) == (tokens == 1)


def test_a_point_has_the_position_of_the_pixel_that_it_is_in():
    """(1, 1) is the last pixel, 2 pi; the sines of y come before those of x, of frequencies 10,000^(-2 i / 8)."""
    whole = sine_positions(torch.ones(1, 4, 5, dtype=torch.bool), 16).view(4, 5, 16)
    torch.testing.assert_close(point_embedding(torch.tensor([1.0, 1.0]), 8), whole[3, 4], rtol=0, atol=1e-4)
    torch.testing.assert_close(point_embedding(torch.tensor([0.4, 0.75]), 8), whole[2, 1], rtol=0, atol=1e-4)
    phases = [2 * math.pi * 0.75 / 10_000 ** (2 * index / 8) for index in range(4)]
    expected = [value for phase in phases for value in (math.sin(phase), math.cos(phase))]
    torch.testing.assert_close(point_embedding(torch.tensor([0.4, 0.75]), 8)[:8], torch.tensor(expected))
    sides = point_embedding(torch.tensor([0.4, 0.75, 0.2, 0.3]), 8)
    torch.testing.assert_close(sides[16:24], point_embedding(torch.tensor([0.0, 0.2]), 8)[:8])


def test_a_conditional_box_begins_at_its_reference_point():
    """Meng et al. 2021, eq. 2: sigmoid(offset + the point before its sigmoid); sides have no such point."""
    torch.manual_seed(0)
    network = DETR(image_size=32, channels=3, num_classes=3, **SMALL | {"decoder": "conditional"}).eval()
    with torch.no_grad():
        boxes = network(torch.randn(2, 3, 32, 32)).boxes
        points = network.transformer.decoder.ref_point_head(network.query_embed.weight).sigmoid()
    torch.testing.assert_close(boxes[..., :2], points.expand(2, 2, -1, -1), rtol=0, atol=1e-5)
    torch.testing.assert_close(boxes[..., 2:], torch.full_like(boxes[..., 2:], 0.5))


def test_the_content_scales_the_spatial_query_from_the_second_layer_on():
    """Meng et al. 2021, eq. 6, and the authors' code: lambda is 1 in the first layer."""
    network, image = small("conditional"), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        before = network(image).logits
        for parameter in network.transformer.decoder.query_scale.parameters():
            parameter.mul_(3.0)
        after = network(image).logits
    assert torch.equal(before[0], after[0])
    assert (before[1] - after[1]).abs().max() > 1e-4


def published(network):
    """Its weights under the names of the published files, with the counters that old files have."""
    state = {name.replace(OURS, BODY, 1) if name.startswith(OURS) else name: t for name, t in network.state_dict().items()}
    return state | {f"{BODY}bn1.num_batches_tracked": torch.tensor(3)}


@pytest.mark.parametrize("decoder", ["plain", "conditional"])
def test_the_published_layout_is_read(decoder):
    source, target = small(decoder), small(decoder, denoising=True)
    fitted = target.load_published(published(source), ClassNames(None, ("a", "b", "c")))
    notes = fitted.lines("fresh")
    assert [note.split(":")[0] for note in notes] == ["label_embed", "anchor_embed"]
    target.label_embed.weight.data.zero_()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(target(image).logits, source(image).logits)


def test_other_classes_start_fresh_and_the_first_of_more_queries_are_taken():
    source, target = small(num_queries=9), small()
    state = published(source)
    state["class_embed.weight"], state["class_embed.bias"] = torch.zeros(92, 16), torch.zeros(92)
    before = target.class_embed.weight.clone()
    fitted = target.load_published(state)
    assert torch.equal(target.class_embed.weight, before)
    assert torch.equal(target.query_embed.weight, source.query_embed.weight[:5])
    assert any("91 classes, this view 3" in line for line in fitted.lines("fresh"))
    assert any("9 queries, the first 5" in line for line in fitted.lines("adapted"))


def test_a_file_of_the_other_decoder_is_refused():
    with pytest.raises(ValueError, match=r"the file has DETR's conditional decoder; model\.decoder: conditional reads it"):
        small().load_published(published(small("conditional")))


def test_the_backbone_reads_torchvision_s_resnet():
    torch.manual_seed(1)
    classifier = ResNet(image_size=32, channels=3, num_classes=10, variant=18).eval()
    state = {name.replace("head.", "fc."): tensor for name, tensor in classifier.state_dict().items()}
    network = small(width=64, norm="frozen", stages=4)
    fitted = network.backbone.load_published(state)
    assert fitted.lines("left_out") == ["fc: no classifier here: left out"]
    with torch.no_grad():
        image = torch.randn(1, 3, 64, 64)
        expected = classifier.features(image)
        torch.testing.assert_close(network.backbone(image)[-1].mean((2, 3)), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_queries": 0}, "num_queries: 0 is not allowed: at least 1"),
        ({"hidden_dim": 18}, r"hidden_dim: 18 is not allowed: a multiple of 4 and of num_heads, 2"),
        ({"levels": 3}, "levels: 3 is not allowed: 1 to stages, 2"),
        ({"width": 12}, "width: 12 is not allowed: a multiple of 8"),
    ],
)
def test_impossible_sizes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)
