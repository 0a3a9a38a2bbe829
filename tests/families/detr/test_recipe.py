"""What a user can get wrong, what the loop says of a network that diverges, and what the training counts."""

import dataclasses

import pytest
import torch
from families.tiny import Tiny

from components.core.config.strict import SettingsError
from components.core.step import NonFiniteLoss
from components.families.detr.boxes import Targets
from components.families.detr.network.detr import Predictions
from components.families.detr.recipe import DETRRecipe, divided
from components.stages.assemble import build_recipe


@pytest.fixture
def tiny(tmp_path):
    torch.set_num_threads(1)
    return Tiny("detr", tmp_path)


def test_pictures_with_more_objects_than_queries_are_refused_before_training(tiny):
    params = tiny.params()
    params["runs"]["tiny"]["model"] = params["runs"]["tiny"]["model"] | {"num_queries": 2}
    words = r"runs\.tiny: model\.num_queries: 2 is not allowed: a picture of view 'plain' has 3 boxes; at least 3 are needed"
    with pytest.raises(ValueError, match=words):
        build_recipe(tiny.parse(params), tiny.views, {})


def facts(tiny, **changes):
    return {"main": dataclasses.replace(tiny.views["main"].facts, **changes)}


def test_a_view_without_boxes_and_grey_pictures_for_imagenet_are_refused(tiny):
    with pytest.raises(ValueError, match="view 'plain' has no boxes"):
        DETRRecipe.build(tiny.settings(), facts(tiny, max_boxes=0), {})
    with pytest.raises(
        ValueError, match=r"train\.standardise: imagenet is of RGB images, .* 1 channel.*; view or half are of any"
    ):
        DETRRecipe.build(tiny.settings(), facts(tiny, channels=1), {})


def test_settings_of_denoising_need_its_embeddings(tiny):
    params = tiny.params()
    params["runs"]["tiny"]["model"] = params["runs"]["tiny"]["model"] | {"denoising": False}
    with pytest.raises(ValueError, match=r"train\.denoising_groups: 2 is not allowed without model\.denoising: true"):
        DETRRecipe.check(tiny.parse(params), None, {})
    params["runs"]["tiny"]["model"] = {"name": "resnet18"}
    with pytest.raises(ValueError, match=r"model\.name: 'resnet18' is not allowed: detr"):
        DETRRecipe.check(tiny.parse(params), None, {})


def test_the_loop_names_the_step_and_the_terms_of_a_network_that_diverges(tiny):
    def broken(recipe, step):
        if step == 2:
            with torch.no_grad():
                recipe.detector.network.class_embed.bias.fill_(torch.nan)

    with pytest.raises(NonFiniteLoss, match=r"step 2: not finite: class, auxiliary, denoising, gradient"):
        tiny.train(before=broken)


def test_a_batch_without_any_object_is_learnt_from(tiny):
    recipe = tiny.build()
    batch = tiny.batch(4)
    batch |= {"boxes": torch.zeros(4, 3, 4), "box_mask": torch.zeros(4, 3, dtype=torch.bool)}
    before = recipe.detector.network.class_embed.weight.clone()
    point = recipe.training_step({"train": batch}, 0)
    assert point["l1"] == point["giou"] == 0
    assert "denoising" not in point
    assert not torch.equal(recipe.detector.network.class_embed.weight, before)
    assert recipe.validate({"train": batch})["found"].tolist() == [1.0] * 4


def test_classes_that_the_training_never_showed_are_named_in_the_export(tiny):
    recipe = tiny.build()
    batch = tiny.batch(8)
    batch["box_label"] = torch.zeros_like(batch["box_label"])
    recipe.training_step({"train": batch}, 0)
    assert recipe.shown.tolist() == [int(batch["box_mask"].sum()), 0]
    assert recipe.eval().exportable().facts["unseen"] == ["square"]


def test_every_group_has_noise_of_its_own_and_the_same_at_every_call(tiny):
    recipe, batch = tiny.build(), tiny.batch(8)
    targets = Targets.of(batch)
    first, again, later = (recipe.noised(targets, step) for step in (0, 0, 1))
    most = targets.real.shape[1]
    assert torch.equal(first.boxes, again.boxes)
    assert not torch.equal(first.boxes, later.boxes)
    one, other = first.boxes[:, :most], first.boxes[:, most:]
    assert ((one - other).abs().amax(-1) > 0)[targets.real].all()


def test_denoising_queries_come_first():
    logits, boxes = torch.arange(5.0).view(1, 1, 5, 1), torch.arange(5.0).view(1, 1, 5, 1).repeat(1, 1, 1, 4)
    own, noised = divided(Predictions(logits, boxes), 3)
    assert (own.logits.flatten().tolist(), noised.logits.flatten().tolist()) == ([3, 4], [0, 1, 2])
    assert (own.boxes[0, 0, :, 0].tolist(), noised.boxes[0, 0, :, 0].tolist()) == ([3, 4], [0, 1, 2])
    whole, nothing = divided(Predictions(logits, boxes), 0)
    assert (whole.logits.shape[2], nothing.logits.shape[2]) == (5, 0)


def test_padding_is_the_mean_whatever_its_pixels_are(tiny):
    detector, image = tiny.build().detector, torch.rand(1, 3, 4, 4)
    mask = torch.arange(4).repeat(1, 4, 1) < 2
    found = detector.standardised(image, mask)
    assert not found[..., 2:].any()
    torch.testing.assert_close(found[..., :2], ((image - detector.mean) / detector.std)[..., :2])


def test_a_known_object_counts_as_found(tiny):
    recipe, batch = tiny.build().eval(), tiny.batch(4)
    predictions = recipe.predict(batch["image"], None)
    query = predictions.logits[-1, :, 0]
    batch["boxes"] = predictions.boxes[-1, :, :1].detach().repeat(1, 3, 1)
    batch["box_mask"] = torch.tensor([[True, False, False]]).repeat(4, 1)
    batch["box_label"] = query.argmax(-1, keepdim=True).repeat(1, 3)
    assert recipe.validate({"train": batch})["found"].tolist() == [1.0] * 4
    batch["box_label"] = 1 - batch["box_label"]
    assert recipe.validate({"train": batch})["found"].tolist() == [0.0] * 4


def test_a_wrong_value_names_its_key(tiny):
    with pytest.raises(SettingsError, match=r"runs\.tiny\.train\.box_noise: 2 is not allowed"):
        tiny.settings(box_noise=2)
