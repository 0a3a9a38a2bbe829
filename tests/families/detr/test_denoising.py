"""Denoising groups: who sees whom, how far the noise goes, and what the loss is."""

import torch

from components.families.detr.boxes import Targets
from components.families.detr.denoising import add_noise, denoising_loss, visible
from components.families.detr.network.detr import DETR, Predictions
from components.families.detr.settings import CONDITIONAL, PLAIN

GROUPS, MOST, QUERIES, CLASSES = 2, 3, 4, 5


def targets():
    real = torch.tensor([[True, True, False], [True, False, False]])
    boxes = torch.tensor([0.5, 0.4, 0.2, 0.3]).expand(2, 3, 4) * real[..., None]
    return Targets(boxes.clone(), torch.tensor([[1, 2, 0], [4, 0, 0]]), real)


def noised(uniform, *, label_noise=0.2, box_noise=0.4):
    shape = {"num_classes": CLASSES, "num_queries": QUERIES}
    return add_noise(targets(), uniform, **shape, label_noise=label_noise, box_noise=box_noise)


def test_a_query_sees_its_group_and_the_object_queries_alone():
    seen = visible(targets().real, GROUPS, QUERIES)[:, 0]
    for image, real in enumerate(targets().real):
        for row in range(GROUPS * MOST + QUERIES):
            for column in range(GROUPS * MOST + QUERIES):
                groups = [None if place >= GROUPS * MOST else place // MOST for place in (row, column)]
                there = column >= GROUPS * MOST or bool(real[column % MOST])
                allowed = groups[1] is None or (groups[0] == groups[1])
                assert seen[image, row, column] == (row == column or (allowed and there)), (image, row, column)


def test_in_the_network_the_truth_reaches_no_object_query_and_no_other_group():
    torch.manual_seed(0)
    sizes = {"backbone": 18, "width": 8, "stages": 2, "hidden_dim": 16, "num_heads": 2, "encoder_layers": 1}
    sizes |= {"decoder_layers": 2, "ffn_dim": 16, "num_queries": QUERIES, "denoising": True, "norm": "group"}
    for decoder in ("plain", "conditional"):
        network = DETR(image_size=32, channels=3, num_classes=CLASSES, decoder=decoder, **sizes).eval()
        image, one = torch.randn(2, 3, 32, 32), noised(torch.rand(2, GROUPS, MOST, 6))
        first = torch.arange(GROUPS * MOST) < MOST
        other = one._replace(
            label=torch.where(first, (one.label + 1) % CLASSES, one.label),
            boxes=torch.where(first[:, None], 0.5 * one.boxes + 0.1, one.boxes),
        )
        with torch.no_grad():
            before, after, without = (network(image, None, given).logits[-1] for given in (one, other, None))
        real = targets().real
        assert (before[:, :MOST] - after[:, :MOST])[real].abs().amax(-1).min() > 1e-6
        torch.testing.assert_close(before[:, MOST:], after[:, MOST:], rtol=0, atol=1e-5)
        torch.testing.assert_close(before[:, GROUPS * MOST :], without, rtol=0, atol=1e-5)


def test_noise_keeps_to_its_bounds_and_reaches_them():
    low, high = (noised(torch.full((2, GROUPS, MOST, 6), value)) for value in (0.0, 1 - 1e-7))
    torch.testing.assert_close(low.boxes[0, 0], torch.tensor([0.5 - 0.04, 0.4 - 0.06, 0.12, 0.18]))
    torch.testing.assert_close(high.boxes[0, 0], torch.tensor([0.5 + 0.04, 0.4 + 0.06, 0.28, 0.42]))
    assert low.label[0, :2].tolist() == [0, 0], "0 < 0.2: drawn anew, as class 0"
    assert high.label[0, :2].tolist() == [1, 2]
    drawn = noised(torch.rand(2, 400, MOST, 6, generator=torch.Generator().manual_seed(0)), label_noise=0.5)
    changed = (drawn.label.view(2, 400, MOST)[0, :, 0] != 1).float().mean()
    assert abs(changed - 0.5 * (1 - 1 / CLASSES)) < 0.08, "a class that is drawn anew may be the same"
    assert drawn.boxes.min() >= 0
    assert drawn.boxes.max() <= 1


def test_the_loss_is_that_of_the_true_boxes_over_groups():
    for weights in (PLAIN, CONDITIONAL):
        wide = CLASSES + (not weights.focal)
        logits, boxes = torch.zeros(1, 2, GROUPS * MOST, wide), targets().boxes.repeat(1, GROUPS, 1)[None]
        loss = denoising_loss(Predictions(logits, boxes), targets(), GROUPS, weights)
        each = (
            torch.tensor(2.0).log() * (0.25 * 0.25 + (CLASSES - 1) * 0.75 * 0.25) if weights.focal else torch.tensor(6.0).log()
        )
        torch.testing.assert_close(loss, each)
        moved = denoising_loss(Predictions(logits, boxes + 0.01), targets(), GROUPS, weights)
        assert moved > loss + 5 * 0.039
