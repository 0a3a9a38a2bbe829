"""What every family promises, whatever it learns: the runs of tiny.yaml, each put through the same tests."""

import subprocess
import sys

import pytest
import torch
from families.recipe_types import RECIPE_TYPES
from families.tiny import STEPS, TINY, Tiny, copied, scattered
from workbench import ROOT, environment

from components.core import catalogue
from components.core.artifact import Artifact
from components.core.config.strict import SettingsError
from components.core.settings import Workspace
from components.families import RECIPES
from components.stages.assemble import trained_recipe
from components.stages.export.onnx_graph import CHECKED_BATCHES, largest_differences, paired_outputs, write_graph
from components.stages.start import initialise
from components.stages.train.checkpoint import serialise
from components.stages.train.processes import digest
from components.stages.train.schedule import learning_rate_scale
from components.stages.train.settings import LoopSettings

# A graph takes seconds to make: one of one network and one of two are made here, those of all families in the slow tests.
EXPORTED = [
    family if family in ("classification", "stylegan2") else pytest.param(family, marks=pytest.mark.slow) for family in TINY
]
ACTS = [(family, setting) for family, entry in TINY.items() for setting in entry["acts"]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """family -> its tiny run."""
    torch.set_num_threads(1)
    return {family: Tiny(family, tmp_path_factory.mktemp(family)) for family in TINY}


@pytest.fixture(params=TINY)
def tiny(runs, request):
    return runs[request.param]


@pytest.fixture(scope="module")
def trained(runs):
    """(family, steps) -> (final weights' digest, curves) of the entry as it is, trained once."""
    found = {}

    def of(family, steps=STEPS):
        if (family, steps) not in found:
            recipe, curves = runs[family].train(steps=steps)
            found[family, steps] = digest(recipe.state_dict()), curves
        return found[family, steps]

    return of


def test_every_family_of_the_catalogue_is_here_and_among_those_that_mypy_checks():
    assert list(TINY) == list(RECIPES)
    assert {name: catalogue.load("recipe", name, "recipe") for name in RECIPES} == RECIPE_TYPES
    assert [name for name, recipe in RECIPE_TYPES.items() if recipe.detects] == ["classification"]


def test_every_trainable_weight_belongs_to_exactly_one_optimizer(tiny):
    recipe = tiny.build()
    held = [id(p) for optimizer in recipe.optimizers.values() for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in recipe.parameters() if p.requires_grad)


def test_every_trainable_weight_is_trained(tiny):
    recipe = scattered(tiny.build(ema_decay=None))
    before = copied({name: parameter for name, parameter in recipe.named_parameters() if parameter.requires_grad})
    tiny.train(recipe, ema_decay=None, steps=2)
    assert [name for name, old in before.items() if torch.equal(recipe.get_parameter(name), old)] == []


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny):
    first, again, other = (digest(tiny.build(seed=seed).state_dict()) for seed in (0, 0, 1))
    assert first == again != other


class Killed(BaseException):
    """Stands for SIGKILL within one process: nothing may catch it and save."""


def test_killed_and_resumed_equals_undisturbed_bit_for_bit(tiny, trained, tmp_path):
    seen = []

    def dies_at_step_3(recipe, step):
        seen.append(step)
        if seen == [0, 1, 2, 3]:
            raise Killed

    with pytest.raises(Killed):
        tiny.train(before=dies_at_step_3, checkpoints=tmp_path)
    resumed, curves = tiny.train(before=dies_at_step_3, checkpoints=tmp_path)
    assert seen == [0, 1, 2, 3, 2, 3]
    assert (digest(resumed.state_dict()), curves) == trained(tiny.family)


def test_every_optimizer_follows_the_schedule_and_noise_and_mode_are_those_of_training(tiny, trained):
    recipe = tiny.build()
    rates = {name: [group["lr"] for group in optimizer.param_groups] for name, optimizer in recipe.optimizers.items()}
    seen, noise, now = {name: [] for name in recipe.optimizers}, [], []
    for name, optimizer in recipe.optimizers.items():
        optimizer.register_step_pre_hook(
            lambda optimizer, *_, name=name: seen[name].append((now[-1], [group["lr"] for group in optimizer.param_groups]))
        )

    def note(recipe, step):
        now.append(step)
        noise.append(torch.get_rng_state().numpy().tobytes())
        assert all(module.training for module in recipe.modules())

    recipe, _ = tiny.train(recipe, before=note)
    assert digest(recipe.state_dict()) == trained(tiny.family)[0], "watching changes nothing"
    for name, updates in seen.items():
        assert updates
        for step, found in updates:
            scale = learning_rate_scale(step, steps=STEPS, warmup=1, schedule="linear")
            assert found == pytest.approx([rate * scale for rate in rates[name]], rel=1e-12)
    assert len(set(noise)) == STEPS
    flat, _ = tiny.train(schedule="constant", warmup=0)
    assert digest(flat.state_dict()) != trained(tiny.family)[0]


CURVES = {"classification", "clip", "limoe", "pixelcnn", "diffusion", "noisy_classifier", "simmim", "detr"}


def test_validation_figures_are_one_number_per_image_and_depend_on_torch_s_seed_alone(tiny):
    recipe = scattered(tiny.build())
    assert (tiny.family in CURVES) == hasattr(recipe, "validate") == hasattr(recipe, "validation")
    if tiny.family not in CURVES:
        return
    recipe.eval()
    (role,) = recipe.streams()
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        with torch.no_grad():
            found.append(recipe.validate({role: tiny.batch(7)}))
    assert list(found[0]) == [name for name in recipe.validation if name != "top5_accuracy"]  # of more than 5 classes
    for name, figure in found[0].items():
        assert (figure.shape, bool(torch.isfinite(figure).all())) == ((7,), True)
        assert torch.equal(figure, found[1][name])
    drawn = tiny.family in ("diffusion", "noisy_classifier", "simmim")
    assert drawn == any(not torch.equal(found[0][name], found[2][name]) for name in found[0])


def test_the_saved_weights_are_the_moving_average_computed_by_hand(tiny):
    recipe, seen = tiny.build(), []

    def note(recipe, step):
        seen.append({name: copied(network.state_dict()) for name, network in recipe.averaged.items()})

    live, _ = tiny.train(ema_decay=None)  # the last update's weights, which nobody sees before they are averaged
    recipe, _ = tiny.train(recipe, before=note)
    seen.append({name: copied(network.state_dict()) for name, network in live.averaged.items()})
    for name, network in recipe.averaged.items():
        expected = seen[0][name]
        weights = dict(network.named_parameters())
        for step in range(STEPS):
            after = seen[step + 1][name]
            expected = {key: 0.5 * expected[key] + 0.5 * after[key] if key in weights else after[key] for key in after}
        for key, tensor in network.state_dict().items():
            torch.testing.assert_close(tensor, expected[key], rtol=1e-5, atol=1e-7)
        assert any(not torch.equal(tensor, seen[-1][name][key]) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize("tiny", EXPORTED, indirect=True)
def test_exported_graphs_equal_torch_at_other_batch_sizes(tiny, tmp_path):
    given = scattered(tiny.build())
    tiny.save(given)
    recipe, _ = trained_recipe(Workspace(tiny.folder), tiny.settings())
    assert digest(recipe.state_dict()) == digest(given.state_dict())
    assert not any(module.training for module in recipe.modules())
    different = {repr(graph.module): (name, graph) for name, graph in recipe.exportable().graphs.items()}
    for name, graph in different.values():
        path = tmp_path / f"{name}.onnx"
        write_graph(graph, tiny.batch(2), path)
        found = largest_differences(
            list(paired_outputs(graph, path, [tiny.batch(count) for count in CHECKED_BATCHES], threads=1))
        )
        assert set(found) == set(graph.outputs)
        for output, difference in found.items():
            assert difference <= graph.bounds.get(output, graph.bound), f"{name}: {output}"


def test_the_example_of_a_request_has_the_shapes_and_types_of_the_signature(tiny):
    exportable = tiny.build().exportable()
    example, inputs = exportable.example(tiny.batch(3)), exportable.signature["inputs"]
    assert [entry["name"] for entry in inputs] == list(example)
    for entry in inputs:
        array = example[entry["name"]]
        assert (str(array.dtype), [-1, *array.shape[1:]], len(array)) == (entry["dtype"], entry["shape"], 3), entry["name"]
    assert {entry["shape"][0] for entry in exportable.signature["outputs"]} == {-1}
    assert bool(exportable.facts.get("style_width")) == ("reference" in example), "styles are read off references"


def test_another_run_and_a_network_s_own_file_are_starting_weights(tiny, tmp_path):
    first, second = scattered(tiny.build()), tiny.build(seed=1)
    settings = {"view": {"classes": {key: list(names) for key, names in tiny.views["main"].facts.classes.items()}}}
    (tmp_path / "weights.pt").write_bytes(serialise({"settings": settings, "state": first.state_dict()}))
    links = dict.fromkeys(first.published, Artifact(tmp_path / "weights.pt", ""))
    assert set(links) == {role for role in first.Roles["train"] if role.startswith("init")}
    starts = initialise(second, links)
    assert [line for start in starts for line in start.lines()] == []
    assert all(start.fitted.taken for start in starts)
    assert digest(second.state_dict()) == digest(first.state_dict())


@pytest.mark.parametrize("block", ["model", "train", "export", "evaluate"])
def test_a_misspelt_setting_is_refused(tiny, block):
    params = tiny.params()
    classes = {"train": tiny.settings().train, "evaluate": catalogue.evaluation(tiny.family, "recipe").Settings}
    known = getattr(classes.get(block), "model_fields", {})
    wrong = f"{next(iter(known), 'setting')}s"
    params["runs"]["tiny"][block] = params["runs"]["tiny"][block] | {wrong: 1}
    with pytest.raises(SettingsError, match=rf"runs\.tiny\.{block}\.{wrong}: unknown key .*; allowed: "):
        tiny.parse(params)


@pytest.mark.parametrize(("family", "setting"), ACTS, ids=lambda value: value)
def test_a_setting_acts(runs, trained, family, setting):
    changes = TINY[family]["acts"][setting]
    pair = changes if isinstance(changes, list) else [{}, changes]
    first, second = (
        digest(runs[family].train(steps=2, **change)[0].state_dict()) if change else trained(family, 2)[0] for change in pair
    )
    assert first != second


def test_every_setting_of_the_family_is_known_to_act(tiny):
    fields = set(catalogue.load("recipe", tiny.family, "recipe").Train.model_fields)
    assert fields - set(LoopSettings.model_fields) == set(tiny.entry["acts"]) | set(tiny.entry.get("idle", {}))


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What one process and each of two find, by family."""
    folder = tmp_path_factory.mktemp("together")
    command = [sys.executable, str(ROOT / "tests/families/together.py"), str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(PYTHONPATH=f"{ROOT}:{ROOT / 'tests'}"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(folder / f"{name}.pt", weights_only=True) for name in ("alone", "0", "1")]


@pytest.mark.slow
def test_two_processes_end_at_the_weights_of_one_with_noise_of_their_own(tiny, together):
    alone, *both = (found[tiny.family] for found in together)
    for found in both:
        assert found["state"].keys() == alone["state"].keys()
        for name, tensor in alone["state"].items():
            assert (found["state"][name] - tensor).abs().max() < 1e-9, name
    assert len({tuple(found["noise"]) for found in both}) == 2
