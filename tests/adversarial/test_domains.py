"""Heads of domains, the label vector of several data sets, classification losses; StarGAN v2's terms and their fall."""

import math

import pytest
import torch
from torch import Tensor, nn

from components.adversarial.domains import known_labels, label_vector, of_domain
from components.adversarial.losses import category_loss, cycle_consistency, diversity, linear_decay, style_reconstruction

SETS = (2, 3)  # labels of two data sets


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tail", [(), (4,)])
def test_each_image_gets_its_domain_s_head_and_the_gradient_goes_there_alone(tail) -> None:
    outputs, domain = noise(5, 3, *tail).requires_grad_(), torch.tensor([2, 0, 1, 1, 2])
    chosen = of_domain(outputs, domain)
    assert torch.equal(chosen, torch.stack([outputs[n, k] for n, k in enumerate(domain.tolist())]))
    chosen.sum().backward()
    reached = outputs.grad.flatten(2).sum(2) if tail else outputs.grad
    assert torch.equal(reached > 0, nn.functional.one_hot(domain, 3).bool())


def test_a_label_vector_knows_its_own_set_and_says_which() -> None:
    """Choi et al. 2018, eq. 7."""
    attributes, category = torch.tensor([[1, 1], [0, 1]]), torch.tensor([[0, 0, 1.0]])
    assert label_vector(attributes, 0, SETS).tolist() == [[1, 1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 1, 0]]
    assert label_vector(category, 1, SETS).tolist() == [[0, 0, 0, 0, 1, 0, 1]]
    assert label_vector(attributes, 0, (2,)).tolist() == [[1, 1], [0, 1]]
    with pytest.raises(ValueError, match="labels: 2 a row, but data set 1 has 3"):
        label_vector(attributes, 1, SETS)


def test_unknown_labels_get_no_gradient() -> None:
    logits = torch.zeros(2, 5, requires_grad=True)
    category_loss(known_labels(logits, 1, SETS), torch.tensor([0, 2])).backward()
    assert (logits.grad != 0).tolist() == [[False, False, True, True, True]] * 2
    assert known_labels(torch.tensor([[1, 2, 3, 4, 5]]), 0, SETS).tolist() == [[1, 2]]


def test_the_classification_loss_is_its_formula() -> None:
    logits = torch.tensor([[0.0, 2.0], [1.0, -1.0]])
    wanted = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))) / 2
    assert category_loss(logits, torch.tensor([1, 1])).item() == pytest.approx(wanted, rel=1e-6)


def test_style_s_terms_are_mean_absolute_differences() -> None:
    a, b = torch.tensor([[1.0, -2.0], [0.0, 4.0]]), torch.tensor([[0.0, 2.0], [0.0, 1.0]])
    assert [term(a, b).item() for term in (style_reconstruction, diversity, cycle_consistency)] == [2.0, 2.0, 2.0]


def test_the_weight_of_diversity_falls_to_0_and_stays_there() -> None:
    assert [linear_decay(2.0, step, 100) for step in (0, 50, 75, 100, 1000)] == [2.0, 1.0, 0.5, 0.0, 0.0]
