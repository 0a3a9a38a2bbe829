"""Re-estimated batch-norm statistics are those of the averaged weights, whatever interrupts the training."""

import pytest
import torch
from toy.recipe import Toy
from train.test_validation import NETWORKS, train, view
from workbench import run_settings

from components.core.batch import to_unit_range
from components.stages.assemble import build_recipe
from components.stages.train import batch_norm, loop
from components.stages.train.checkpoint import Checkpoints
from components.stages.train.processes import digest
from components.stages.train.stage import check_curve
from components.stages.train.validation import check_validation

__all__ = ["view"]
torch.set_num_threads(1)


def test_the_rows_are_a_seeded_draw_of_at_most_fifty_batches(view):
    view.facts.counts["train"] = 1000
    first, again, other = (batch_norm.chosen_rows(view, seed, 7) for seed in (0, 0, 1))
    assert (len(first), len({*first.tolist()})) == (350, 350)
    assert first.tolist() == again.tolist() != other.tolist()
    assert sorted(batch_norm.chosen_rows(view, 0, 2000)) == [*range(1000)], "all, in one batch"


def test_statistics_are_the_means_over_training_images_of_the_averaged_weights(view):
    copied, _ = train(view)
    recipe, _ = train(view, batch_norm="reestimated")
    assert all(torch.equal(a, b) for a, b in zip(copied.parameters(), recipe.parameters(), strict=True))
    network = recipe.classifier.network
    inputs, layer = [], next(module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d))
    layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    images, rows = view.split("train").images, batch_norm.chosen_rows(view, 0, 10)
    assert (len(rows), len({*rows})) == (20, 20), "whole batches of different images"
    with torch.no_grad():
        for part in (rows[:10], rows[10:]):
            recipe.eval().classifier(to_unit_range(torch.from_numpy(images[part])))
    mean = torch.stack([given.mean((0, 2, 3)) for given in inputs]).mean(0)
    variance = torch.stack([given.var((0, 2, 3)) for given in inputs]).mean(0)
    torch.testing.assert_close(layer.running_mean, mean, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(layer.running_var, variance, rtol=1e-4, atol=1e-6)
    assert layer.momentum == 0.1
    theirs = next(module for module in copied.classifier.network.modules() if isinstance(module, torch.nn.BatchNorm2d))
    assert not torch.allclose(layer.running_mean, theirs.running_mean, rtol=1e-3, atol=1e-5)


def test_killed_and_resumed_ends_in_the_same_statistics(view, tmp_path, monkeypatch):
    whole, _ = train(view, batch_norm="reestimated", select="best", validate_every=4)
    update, died = loop.TrainingState.update, []

    def dies(self, batches, step, precision):
        if step == 7 and not died:
            died.append(step)
            raise KeyboardInterrupt
        update(self, batches, step, precision)

    monkeypatch.setattr(loop.TrainingState, "update", dies)
    options = {"folder": tmp_path / "checkpoints", "batch_norm": "reestimated", "select": "best", "validate_every": 4}
    with pytest.raises(KeyboardInterrupt):
        train(view, **options)
    assert Checkpoints(tmp_path / "checkpoints").latest()[0] == 5
    assert digest(train(view, **options)[0].state_dict()) == digest(whole.state_dict())


def test_networks_without_batch_norm_are_refused(view):
    settings = run_settings("vit", NETWORKS["vit"], batch_norm="reestimated")
    recipe = build_recipe(settings, {"main": view}, {})
    with pytest.raises(ValueError, match=r"runs\.test\.train\.batch_norm: reestimated is not allowed: vit has no batch norm"):
        check_curve(settings, recipe, view.facts)
    with pytest.raises(ValueError, match=r"runs\.r\.train\.batch_norm: reestimated is not allowed: Toy has no forward pass"):
        check_validation(Toy, settings.train, "runs.r.train")
