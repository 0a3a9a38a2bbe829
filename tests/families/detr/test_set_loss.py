"""Boxes, matching and losses against independent computations."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from components.families.detr import losses
from components.families.detr.boxes import Targets, corners, overlaps
from components.families.detr.losses import set_loss
from components.families.detr.matching import assign, cost, match
from components.families.detr.network.detr import Predictions
from components.families.detr.settings import CONDITIONAL, PLAIN


def clipped(subject, box):
    """A convex polygon cut by the four half-planes of a box (Sutherland & Hodgman 1974)."""
    for axis, sign, limit in ((0, 1, box[0]), (1, 1, box[1]), (0, -1, box[2]), (1, -1, box[3])):
        result = []
        for one, other in zip(subject, subject[1:] + subject[:1], strict=True):
            inside = [sign * (point[axis] - limit) >= 0 for point in (one, other)]
            if inside[0]:
                result.append(one)
            if inside[0] != inside[1]:
                t = (limit - one[axis]) / (other[axis] - one[axis])
                result.append((one[0] + t * (other[0] - one[0]), one[1] + t * (other[1] - one[1])))
        subject = result
    return subject


def polygon(box):
    return [(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])]


def shoelace(points):
    shifted = points[1:] + points[:1]
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, shifted, strict=True))) / 2


def test_generalised_iou_is_that_of_the_polygons():
    boxes = corners(torch.rand(40, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.1)
    iou, generalised = overlaps(boxes[:20], boxes[20:])
    for index in range(20):
        one, other = boxes[index].tolist(), boxes[20 + index].tolist()
        shared = shoelace(clipped(polygon(one), other))
        union = shoelace(polygon(one)) + shoelace(polygon(other)) - shared
        around = [min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])]
        outside = shoelace(polygon(around)) - union
        assert iou[index].item() == pytest.approx(shared / union, abs=1e-12)
        assert generalised[index].item() == pytest.approx(shared / union - outside / shoelace(polygon(around)), abs=1e-12)


@pytest.mark.parametrize("count", range(1, 7))
def test_the_matching_is_the_best_of_all(count):
    costs = np.random.default_rng(count).normal(size=(7, count))
    found = assign(costs)
    least = min(sum(costs[row, column] for column, row in enumerate(rows)) for rows in itertools.permutations(range(7), count))
    assert len(set(found.tolist())) == count
    assert costs[found, np.arange(count)].sum() == pytest.approx(least, abs=1e-12)


def example(counts, *, queries=6, classes=3, layers=2, focal=False):
    generator = torch.Generator().manual_seed(sum(counts))
    size = (layers, len(counts), queries)
    logits = torch.randn(*size, classes + (not focal), generator=generator, dtype=torch.float64)
    boxes = torch.rand(*size, 4, generator=generator, dtype=torch.float64) * 0.4 + 0.3
    most = max(1, *counts)
    real = torch.arange(most) < torch.tensor(counts)[:, None]
    true = (torch.rand(len(counts), most, 4, generator=generator, dtype=torch.float64) * 0.4 + 0.3) * real[..., None]
    label = torch.randint(0, classes, (len(counts), most), generator=generator) * real
    return Predictions(logits.requires_grad_(), boxes.requires_grad_()), Targets(true, label, real)


@pytest.mark.parametrize("weights", [PLAIN, CONDITIONAL], ids=["plain", "conditional"])
def test_the_set_loss_is_the_sum_over_hand_made_pairs(weights):
    predictions, targets = example([3, 0, 2], focal=weights.focal)
    found = set_loss(predictions, targets, weights)
    expected = [one_layer(logits, boxes, targets, weights) for logits, boxes in zip(*predictions, strict=True)]
    assert [found[name].item() for name in ("class", "l1", "giou")] == pytest.approx(expected[-1], abs=1e-12)
    assert found["auxiliary"].item() == pytest.approx(sum(expected[0]), abs=1e-12)


def one_layer(logits, boxes, targets, weights):
    """[class, L1, GIoU] of one layer, image by image, the pairing by brute force."""
    total, by_class, weight, distance, giou = targets.real.sum().item(), 0.0, 0.0, 0.0, 0.0
    for image in range(len(logits)):
        count = int(targets.real[image].sum())
        true, label = targets.boxes[image, :count], targets.label[image, :count]
        p = logits[image].sigmoid() if weights.focal else logits[image].softmax(-1)
        generalised = overlaps(corners(boxes[image])[:, None], corners(true)[None])[1]
        l1 = torch.cdist(boxes[image], true, p=1)
        price = -p[:, label]
        if weights.focal:
            positive, negative = 0.25 * (1 - p) ** 2 * -(p + 1e-8).log(), 0.75 * p**2 * -(1 - p + 1e-8).log()
            price = (positive - negative)[:, label]
        costs = weights.cost_class * price + 5 * l1 - 2 * generalised
        rows = min(
            itertools.permutations(range(len(p)), count), key=lambda rows: sum(costs[q, n].item() for n, q in enumerate(rows))
        )
        distance += sum(l1[q, n].item() for n, q in enumerate(rows))
        giou += sum(1 - generalised[q, n].item() for n, q in enumerate(rows))
        for query in range(len(p)):
            own = label[rows.index(query)].item() if query in rows else None
            if weights.focal:
                for k in range(p.shape[1]):
                    q = p[query, k].item()
                    by_class += 0.25 * (1 - q) ** 2 * -math.log(q) if k == own else 0.75 * q**2 * -math.log(1 - q)
            else:
                w = 0.1 if own is None else 1.0
                by_class += w * -math.log(p[query, p.shape[1] - 1 if own is None else own].item())
                weight += w
    by_class = 2 * by_class / total if weights.focal else by_class / weight
    return [by_class, 5 * distance / total, 2 * giou / total]


@pytest.mark.parametrize("weights", [PLAIN, CONDITIONAL], ids=["plain", "conditional"])
def test_without_any_object_the_classes_alone_are_learnt(weights):
    predictions, targets = example([0, 0], focal=weights.focal)
    losses = set_loss(predictions, targets, weights)
    assert losses["l1"] == losses["giou"] == 0
    sum(losses.values()).backward()
    assert predictions.logits.grad.abs().sum() > 0
    assert predictions.boxes.grad.abs().sum() == 0


def test_a_box_without_width_has_a_finite_loss():
    predictions, targets = example([2])
    with torch.no_grad():
        targets.boxes[0, 0, 2] = 0.0
        predictions.boxes[:, 0, :, 2:] = 0.0
    total = sum(set_loss(predictions, targets, PLAIN).values())
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(predictions.boxes.grad).all()


def test_a_network_that_has_diverged_is_matched_anyhow_and_its_loss_is_not_finite():
    predictions, targets = example([2, 1])
    logits = predictions.logits.detach().clone()
    logits[:, 0, 0] = math.nan
    assert match(logits[0], predictions.boxes[0], targets, PLAIN).shape == (2, 2)
    assert not torch.isfinite(set_loss(Predictions(logits, predictions.boxes), targets, PLAIN)["class"])


def test_a_class_is_worth_a_match_only_where_it_is_likely():
    logits, boxes = torch.zeros(1, 2, 4), torch.full((1, 2, 4), 0.5)
    logits[0, 1, 2] = 4.0
    targets = Targets(torch.full((1, 1, 4), 0.5), torch.tensor([[2]]), torch.ones(1, 1, dtype=torch.bool))
    assert match(logits, boxes, targets, PLAIN).tolist() == [[1]]
    price = cost(logits, boxes, targets, PLAIN)[0, :, 0]
    assert (price[0] - price[1]).item() == pytest.approx((logits[0, 1].softmax(-1)[2] - 0.25).item())
    assert F.softmax(logits, -1)[0, 0, 2] == 0.25


def test_losses_are_shares_of_the_boxes_of_all_processes(monkeypatch):
    """An update averages over processes, so each divides by the mean number of boxes; Adam and clipping hide a wrong factor."""
    monkeypatch.setattr(losses, "processes", lambda: (0, 2))
    monkeypatch.setattr(losses, "gather", lambda mine: torch.cat([mine, torch.tensor([[5.0, 0.0]])]))
    assert losses.share(torch.tensor([3.0, 0.0])).tolist() == [4, 1]
    assert losses.share(torch.tensor([3.0, 0.5]), least=0.0).tolist() == [4, 0.25]
