"""The tower of LIMoE, its settings, its constants, and what is exported, served and drawn."""

import numpy as np
import pytest
import torch
from families.tiny import Tiny, scattered

from components.core.config.strict import SettingsError
from components.core.settings import Workspace
from components.families.limoe.experts import Observed, counts_of, in_use, table
from components.families.limoe.export import ImageEncoder, decided, margins
from components.families.limoe.networks import LIMoE
from components.families.limoe.settings import ROUTERS, WEIGHTS, TrainSettings
from components.serving.loading import load_served
from components.stages.evaluate.score import score
from components.stages.export import stage

FACTS = {"image_size": 16, "channels": 1, "num_tokens": 20, "context": 5, "padding": 0, "sigmoid": False}
SIZES = {"patch": 4, "width": 8, "depth": 4, "heads": 2, "embed_dim": 6}
VMOE = "V-MoE: Riquelme et al. 2021, arXiv 2106.05974, and vmoe/nn/routing.py"
CONSTANTS = {
    "capacity_factor": (1.05, f"{VMOE}, appendix B: capacity ratio in training"),
    "groups": (1, "ours: the whole batch"),
    "router_noise": (1.0, f"{VMOE}: noise of deviation 1 / experts"),
    "importance": (0.005, f"{VMOE}, configs/vmoe_paper: 0.005 each"),
    "load": (0.005, f"{VMOE}, configs/vmoe_paper: 0.005 each"),
    "z_loss": (0.001, "ST-MoE: Zoph et al. 2022, arXiv 2202.08906, section 3.1: 0.001"),
    "image_experts": (None, "ours: half of the experts"),
    "text_experts": (None, "ours: a quarter of the experts"),
    "image_local_entropy": (0.0, "ours: patches outnumber words and need none; LIMoE's own weights were not at hand"),
    "text_local_entropy": (0.04, "ours"),
    "image_global_entropy": (0.04, "ours"),
    "text_global_entropy": (0.04, "ours"),
}


def limoe(end_token=19, seed=0, **options):
    torch.manual_seed(seed)
    return LIMoE(**FACTS | SIZES | {"end_token": end_token, "experts": 4} | options)


def test_the_constants_are_those_of_their_sources():
    assert {name: TrainSettings.model_fields[name].default for name in CONSTANTS} == {n: v for n, (v, _) in CONSTANTS.items()}
    assert set(CONSTANTS) == {*ROUTERS, *WEIGHTS}
    settings = TrainSettings()
    assert [settings.least(modality, 32) for modality in ("image", "text")] == [16, 8]
    assert [settings.least(modality, 4) for modality in ("image", "text")] == [2, 2]


def test_every_second_block_is_sparse_and_the_dense_counterpart_has_as_many_active_parameters():
    sparse, dense = limoe(), limoe(experts=1)
    assert [block.mlp.__class__.__name__ for block in sparse.blocks] == ["Sequential", "MixtureOfExperts"] * 2
    assert [block.mlp.__class__.__name__ for block in dense.blocks] == ["Sequential"] * 4
    assert [block.mlp.__class__.__name__ for block in limoe(every=4).blocks].count("MixtureOfExperts") == 1
    count = lambda network: sum(parameter.numel() for parameter in network.parameters())  # noqa: E731
    expert = count(dense.blocks[1].mlp)
    routers = sum(block.mlp.router.weight.numel() for block in sparse.blocks[1::2])
    assert count(sparse) - 2 * 3 * expert - routers == count(dense)


def test_a_pair_in_one_pass_equals_a_picture_and_a_text_alone_and_padding_does_not_matter():
    network = limoe().eval()
    image, tokens = torch.randn(3, 1, 16, 16), torch.tensor([[3, 4, 19, 0, 0], [5, 19, 0, 0, 0], [6, 7, 8, 9, 19]])
    first, second, routed = network(image, tokens)
    (seen,), _ = network.encode([network.image(image)])
    torch.testing.assert_close(first, torch.nn.functional.normalize(network.image.project(seen), dim=1))
    after = tokens.clone()
    after[:2, 3:] = 11
    torch.testing.assert_close(network(image, after)[1], second)
    assert routed[0].taken[:, 16:].sum(1).tolist() == [3, 2, 5]
    torch.testing.assert_close(second[1], network(image[:1], tokens[1:2])[1][0])
    other, later = image.clone(), tokens.clone()
    other[0, :, -4:, -4:], later[0, 1] = 3.0, 5
    changed = (network(other, later)[2][0].logits != routed[0].logits).any(-1)
    assert changed[0, [0, 16]].all(), "not causal: the first patch and the first word see later ones"
    assert not changed[1:].any()


def test_another_size_vocabulary_and_colour_are_adapted_and_another_number_of_experts_is_refused():
    first = limoe()
    second = limoe(seed=1, image_size=8, channels=3, num_tokens=30, context=4)
    assert sorted(line.split(":")[0] for line in second.load_published(first.state_dict()).lines()) == [
        "image.conv1.weight",
        "image.positional_embedding",
        "text.positional_embedding",
        "text.token_embedding",
    ]
    with pytest.raises(ValueError, match="do not fit LIMoE"):
        limoe(experts=5).load_published(first.state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"experts": -1}, "experts: -1 is not allowed: at least 2; 0 or 1"),
        ({"every": 5}, "every: 5 is not allowed: 1 to depth 4"),
        ({"every": 0}, "every: 0 is not allowed"),
        ({"every": 2, "experts": 0}, "every: 2 is not allowed: with experts 0 no block has a mixture"),
        ({"depth": 1}, "depth: 1 is not allowed: at least 2"),
        ({"heads": 3}, "heads: 3 does not divide width 8"),
        ({"patch": 5}, "patch: 5 does not divide the image size 16"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        limoe(**options)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    torch.set_num_threads(1)
    return Tiny("limoe", tmp_path_factory.mktemp("limoe"))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"text_experts": 5}, "train.text_experts: 5 is not allowed: the model has 4 experts"),
        ({"capacity_factor": 0}, "capacity_factor: 0"),
        ({"groups": 3}, "groups: 3 is not allowed: it does not divide the batch_size 8"),
        ({"router_noise": 0}, "load: 0.005 is not allowed without router_noise"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tiny, train, message):
    with pytest.raises((ValueError, SettingsError), match=message):
        tiny.build(**train)


def test_a_dense_network_takes_no_settings_of_routers(tiny):
    params = tiny.params()
    params["runs"]["tiny"]["model"] = params["runs"]["tiny"]["model"] | {"experts": 0}
    from components.stages.assemble import build_recipe

    with pytest.raises(ValueError, match=r"train.image_experts: not allowed: the model has no experts"):
        build_recipe(tiny.parse(params), tiny.views, {})
    for name in ("image_experts", "text_experts"):
        del params["runs"]["tiny"]["train"][name]
    recipe = build_recipe(tiny.parse(params), tiny.views, {})
    found = recipe.training_step({"train": tiny.batch(8)}, 0)
    assert sorted(found) == ["image_to_text", "loss", "scale"]
    assert set(recipe.exportable().graphs["image"].outputs) == {"embedding", "features"}


def test_curves_have_the_losses_of_the_routers_and_dropped_tokens_by_modality(tiny):
    found = tiny.build().training_step({"train": tiny.batch(8)}, 0)
    names = {"image_dropped", "text_dropped", "image_experts_in_use", "text_experts_in_use", "z_loss", "importance", "load"}
    assert names | {"text_local_entropy", "text_global_entropy", "image_global_entropy"} < set(found)
    assert 0 < found["image_dropped"] < 1


def test_the_parity_check_leaves_out_rows_that_rounding_decides(tiny):
    recipe = scattered(tiny.build()).eval()
    encoder, rows = ImageEncoder(recipe.limoe, recipe.mean, recipe.std), tiny.batch(6)["image"]
    assert torch.equal(decided({"image": rows}, encoder)["image"], rows)
    router = recipe.limoe.blocks[1].mlp.router.weight
    with torch.no_grad():
        router[1:] = router[0]  # all experts alike: no row is clear, and all stay
    assert torch.equal(decided({"image": rows}, encoder)["image"], rows)
    (_, (layer,)) = encoder.encode(rows)
    assert margins(layer).max() < 1e-6
    logits = torch.tensor([[[1.0, 0.0], [2.0, 1.99999]], [[1.0, 0.0], [0.0, 3.0]]])
    two = layer._replace(logits=logits, taken=torch.ones(2, 2, dtype=torch.bool))
    encoder.encode = lambda rows: ([], [two])
    assert torch.equal(decided({"image": rows[:2]}, encoder)["image"], rows[[1, 1]])


@pytest.fixture(scope="module")
def served(tiny, runtime):
    params = tiny.params()
    params["views"]["plain"] |= {"image_size": 16}
    params["runs"]["tiny"]["evaluate"] = {"routed_images": 10, "maps": 2, "tiles": 3}
    tiny.save(scattered(tiny.build()))
    tiny.parse(params)
    stage.run(Workspace(tiny.folder), "tiny")
    return load_served(tiny.folder / "outputs" / "export" / "tiny")


def test_an_answer_depends_on_no_other_image_and_experts_are_told(served, tiny):
    (batch,) = tiny.views["main"].batches("test", 100, pixels=True)
    pixels = batch["image"].numpy()
    many, (experts, gates) = served.embed_image(pixels), served.experts_of_image(pixels)
    for number in (1, 7):
        np.testing.assert_allclose(served.embed_image(pixels[:number]), many[:number], atol=1e-5)
        assert np.array_equal(served.experts_of_image(pixels[:number])[0], experts[:number])
    assert (experts.shape, gates.shape, served.facts["grid"]) == ((24, 1, 16), (24, 1, 16), [4, 4])
    recipe, (whole,) = scattered(tiny.build()).eval(), tiny.views["main"].batches("test", 100)
    with torch.no_grad():
        encoder = ImageEncoder(recipe.limoe, recipe.mean, recipe.std)
        _, (layer,) = encoder.encode(whole["image"])
        np.testing.assert_allclose(many, encoder(whole["image"])[0], atol=1e-5)
    assert np.array_equal(experts[:, 0], layer.expert)
    assert len(np.unique(experts)) > 1
    words, _, tokens = served.experts_of_text(["no 3", "the"])
    assert ((words[:, 0] == -1) == (tokens == 0)).all()
    assert served.predict({"image": pixels[:2]})["probabilities"].shape == (2, 3)
    with pytest.raises(ValueError, match="give at least one image"):
        served.experts_of_image(pixels[:0])


def test_the_report_has_the_experts_of_patches_and_words(served, tiny):
    report = score(Workspace(tiny.folder), "tiny", tiny.folder / "outputs" / "export" / "tiny")
    assert {"experts_in_use.image", "experts_in_use.text"} <= set(report.metrics)
    rows = report.tables["experts"]
    assert len(rows) == 4
    assert sum(row["share_of_patches"] for row in rows) == pytest.approx(1, abs=1e-3)
    assert report.pictures["experts"].dtype == report.pictures["expert_maps"].dtype == np.uint8


def test_shares_and_words_of_an_expert_by_hand():
    patches = np.array([[[0, 0, 1, 2]], [[0, 0, 0, 0]]])
    words = np.array([[[1, 1, -1]], [[1, 0, 1]]])
    observed = Observed(np.zeros((2, 2, 2, 1), np.uint8), patches, np.ones((2, 1, 4)), words, [["a", "b", ""], ["a", "c", "a"]])
    assert counts_of(words, 3).tolist() == [[1, 4, 0]]
    assert in_use(np.array([[[0, 1]], [[2, 3]]]), 4).tolist() == pytest.approx([4.0])
    assert in_use(np.zeros((2, 1, 3), int), 4).tolist() == pytest.approx([1.0])
    rows = table(observed, 3)
    assert [(row["patches"], row["words"], row["most_seen"]) for row in rows] == [(6, 1, "c 1"), (1, 4, "a 3, b 1"), (1, 0, "")]
