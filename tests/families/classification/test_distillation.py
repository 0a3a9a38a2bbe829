"""A student of a frozen teacher: the losses against direct formulas, what is read and what is not, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from families.tiny import SHARED
from workbench import add_own, run_settings, toy_params, write_params, write_view

from components.core.artifact import Artifact
from components.core.config.strict import SettingsError, parse
from components.core.settings import Workspace
from components.families.classification.distillation import (
    DistillSettings,
    knowledge_distillation,
    symmetric_kl,
    symmetric_kl_of_several,
)
from components.families.classification.recipe import Classification
from components.stages.assemble import build_recipe, kept_links
from components.stages.checks import check_run
from components.stages.code.stage import digests_of
from components.stages.train import loop
from components.stages.train.checkpoint import Checkpoints
from components.stages.train.processes import digest
from components.stages.train.stage import write_outs
from components.stages.views.view import open_view

SEVERAL = {"classes": {"labels": ("a", "b", "c")}}
CLASSES = ("a", "b", "c")
TEACHER = ("resnet18", {"width": 8})
STUDENT = {"name": "vit", "patch": 4, "width": 8, "depth": 1, "heads": 2}


def softmax(logits):
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def test_the_divergence_is_that_of_the_papers_and_its_gradient_too():
    student, teacher = np.random.default_rng(0).normal(size=(2, 5, 7)) * 6
    p, q, e = softmax(student), softmax(teacher), 1e-12
    each = 0.5 * (q * np.log((q + e) / (p + e)) + p * np.log((p + e) / (q + e)))
    given = torch.tensor(student, requires_grad=True)
    found = symmetric_kl(given, torch.tensor(teacher))
    assert found.item() == pytest.approx(7 * each.mean(), rel=1e-12)
    assert symmetric_kl(torch.tensor(teacher), torch.tensor(student)).item() == pytest.approx(found.item(), rel=1e-12)
    found.backward()
    ratio = np.log((p + e) / (q + e))
    outer = 0.5 * (ratio + p / (p + e) - q / (p + e)) / 5  # of p
    np.testing.assert_allclose(given.grad, p * (outer - (p * outer).sum(1, keepdims=True)), rtol=1e-9, atol=1e-13)
    assert symmetric_kl(given.detach().float(), torch.tensor(teacher).float()).item() == pytest.approx(found.item(), rel=1e-5)


def test_a_certain_teacher_gives_a_finite_loss_and_half_precision_is_not_used():
    certain = torch.tensor([[200.0, 0.0, -200.0]])
    loss = symmetric_kl(-certain, certain)
    assert loss.item() == pytest.approx(np.log(1e12), rel=1e-3)  # q/2 log(1 / e) + p/2 log(1 / e)
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert symmetric_kl(logits, -logits) == symmetric_kl(logits.float(), -logits.float())


def test_the_divergence_of_several_classes_per_image_is_summed_over_them():
    student, teacher = np.random.default_rng(2).normal(size=(2, 5, 7)) * 3
    p, q = (1 / (1 + np.exp(-logits)) for logits in (student, teacher))
    e = 1e-12
    each = 0.5 * (q * np.log((q + e) / (p + e)) + p * np.log((p + e) / (q + e)))
    found = symmetric_kl_of_several(torch.tensor(student), torch.tensor(teacher))
    assert found.item() == pytest.approx(7 * each.sum(1).mean(), rel=1e-12)


def test_a_student_of_several_classes_per_image_learns_by_sigmoids(tmp_path):
    facts = replace(make_view(tmp_path / "outputs/views/few").facts, **SEVERAL)
    settings = run_settings(*TEACHER)
    torch.manual_seed(3)
    teacher = Classification.build(settings, {"main": facts}, {}).eval()
    torch.nn.init.normal_(teacher.classifier.network.head.weight)
    write_outs(Workspace(tmp_path), replace(settings, name="large"), facts, recipe=teacher, curves=loop.Curves(), resolved={})
    link = {"teacher": Artifact(tmp_path / "outputs" / "train" / "large", "")}
    student = Classification.build(settings_of({}), {"main": facts}, link)
    image = torch.rand(4, 3, 8, 8)
    logits, answer = student.classifier(image)[0], teacher.classifier(image)[0]
    scalars = student.training_step({"train": {"image": image, "labels": torch.zeros(4, 3)}}, 0)
    assert scalars["loss"].item() == pytest.approx(symmetric_kl_of_several(logits, answer).item(), rel=1e-5)
    assert scalars["teacher_agreement"].item() == pytest.approx(((logits > 0) == (answer > 0)).float().mean().item())
    found = student.distillation.agreement(torch.tensor([[0.5, -0.5], [0.5, 2.0]]), torch.tensor([[0.4, 3.0], [0.6, -0.1]]))
    assert found.item() == 0.5, "a logit above 0 is a yes"
    with pytest.raises(ValueError, match=r"distill\.loss: kd is not allowed with several classes per image"):
        Classification.build(settings_of({"loss": "kd"}), {"main": facts}, link)


def test_hinton_s_loss():
    student, teacher = np.random.default_rng(1).normal(size=(2, 5, 7)) * 3
    p, q = softmax(student / 4), softmax(teacher / 4)
    expected = 16 * (q * np.log(q / p)).sum(1).mean()
    assert knowledge_distillation(torch.tensor(student), torch.tensor(teacher)).item() == pytest.approx(expected, rel=1e-12)


def make_view(folder, classes=CLASSES, count=24, size=8, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    labels = np.arange(count) % len(classes)
    return open_view(write_view(folder, images=images, labels=labels, classes=classes))


def make_teacher(folder, view):
    """Weights of a network whose statistics and weights are nobody's else."""
    settings = run_settings(*TEACHER, standardise="half")
    torch.manual_seed(3)
    recipe = Classification.build(settings, {"main": view.facts}, {})
    for name, buffer in recipe.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.2)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    torch.nn.init.normal_(recipe.classifier.network.head.weight)
    write_outs(Workspace(folder), replace(settings, name="large"), view.facts, recipe=recipe, curves=loop.Curves(), resolved={})
    return recipe.eval(), Artifact(folder / "outputs" / "train" / "large", "")


@pytest.fixture
def place(tmp_path):
    views = {
        "main": make_view(tmp_path / "outputs/views/few"),
        "unlabelled": make_view(tmp_path / "outputs/views/many", seed=1),
    }
    teacher, link = make_teacher(tmp_path, views["main"])
    return tmp_path, views, teacher, link


def settings_of(distill, student=None, **train):
    student = student or (STUDENT["name"], {key: value for key, value in STUDENT.items() if key != "name"})
    block = SHARED | {"batch_size": 8, "optimizer": "sgd", "learning_rate": 0.05, "schedule": "constant", "warmup": 0}
    block |= {"ema_decay": None, "validate_every": 2} | train
    settings = run_settings(*student, **block)
    settings.train.__dict__["distill"] = parse(DistillSettings, distill, "distill")
    return settings


def train(place, distill, checkpoints=None, recipe=None, **changes):
    _, views, _, link = place
    settings = settings_of(distill, **changes)
    recipe = recipe or build_recipe(settings, views, {"teacher": link})
    curves = loop.train(recipe, views, settings.train, device=torch.device("cpu"), precision=settings.train.precision,
                        checkpoints=checkpoints, log=lambda step, point: None)  # fmt: skip
    return recipe, curves.to_csv()


BOTH = {"on": ["labelled", "unlabelled"], "labels": "ignore"}
ALONE = {"on": ["unlabelled"], "labels": "ignore", "unlabelled_batch_size": 6}


def test_the_teacher_answers_as_its_run_does_whatever_the_student_s_mode(place):
    _, views, teacher, link = place
    recipe = build_recipe(settings_of(BOTH), views, {"teacher": link}).train()
    image = torch.rand(5, 3, 8, 8) * 2 - 1
    before = digest(teacher.state_dict())
    answer = recipe.distillation.teacher(image)
    torch.testing.assert_close(answer, teacher.classifier(image)[0].detach())
    assert (answer - answer.mean(0)).abs().mean() > 0.1  # it tells these pictures apart
    assert not answer.requires_grad
    torch.testing.assert_close(recipe.distillation.teacher(image.double()), answer.double(), rtol=1e-4, atol=1e-4)
    train(place, BOTH, recipe=recipe)
    own = recipe.distillation.teacher
    assert digest(own.network.state_dict()) == digest(teacher.classifier.network.state_dict())
    assert digest(teacher.state_dict()) == before
    assert not [name for name in recipe.state_dict() if "teacher" in name]


def test_an_update_is_on_the_divergence_of_the_pictures_it_is_meant_for(place):
    """Against the formula, with the student's gradient of the same batch by hand."""
    _, views, teacher, link = place
    generator = torch.Generator().manual_seed(0)
    batches = {role: {"image": torch.rand(4, 3, 8, 8, generator=generator) * 2 - 1, "label": torch.arange(4) % 3}
               for role in ("train", "unlabelled")}  # fmt: skip
    for distill, roles, weight in ((BOTH, ("train", "unlabelled"), 0.0), (ALONE, ("unlabelled",), 0.0),
                                   ({"ground_truth": 0.5}, ("train",), 0.5)):  # fmt: skip
        recipe, again = (build_recipe(settings_of(distill), views, {"teacher": link}).train() for _ in range(2))
        given = {role: batches[role] for role in recipe.streams()}
        assert tuple(given) == roles
        torch.manual_seed(0)
        scalars = recipe.training_step(given, 0)
        torch.manual_seed(0)
        image = torch.cat([given[role]["image"] for role in roles])
        logits = again.classifier(image)[0]
        loss = symmetric_kl(logits, teacher.classifier(image)[0].detach())
        loss = loss + weight * torch.nn.functional.cross_entropy(logits[:4], torch.arange(4) % 3)
        again.optimizers["network"].zero_grad()
        loss.backward()
        again.optimizers["network"].step()
        assert scalars["loss"].item() == pytest.approx(loss.item(), rel=1e-6)
        for (name, tensor), other in zip(recipe.state_dict().items(), again.state_dict().values(), strict=True):
            torch.testing.assert_close(tensor, other, msg=name)


@pytest.mark.parametrize("distill", [ALONE, BOTH], ids=["ssld", "skl_ugi"])
def test_no_label_is_read_by_the_updates(place, distill):
    folder = place[0]
    first, _ = train(place, distill)
    for name in ("few", "many"):
        np.save(folder / f"outputs/views/{name}/train.label.npy", np.zeros(24, dtype=np.int64))
    second, _ = train(place, distill)
    assert digest(first.state_dict()) == digest(second.state_dict())


@pytest.mark.parametrize("distill", [ALONE, BOTH | {"loss": "kd"}], ids=["ssld", "kd"])
def test_killed_and_resumed_ends_at_the_same_bits(place, distill):
    whole, curve = train(place, distill)
    checkpoints = Checkpoints(place[0] / "checkpoints")
    recipe = build_recipe(settings_of(distill), place[1], {"teacher": place[3]})
    step_of = recipe.training_step

    def killed(batches, step):
        if step == 3:
            raise KeyboardInterrupt
        return step_of(batches, step)

    recipe.training_step = killed
    with pytest.raises(KeyboardInterrupt):
        train(place, distill, checkpoints, recipe)
    resumed, again = train(place, distill, checkpoints)
    assert (digest(resumed.state_dict()), again) == (digest(whole.state_dict()), curve)


def test_the_curve_is_that_of_the_labelled_view(place):
    recipe, curve = train(place, ALONE, student=TEACHER, steps=2, batch_norm="reestimated")
    header = curve.decode().splitlines()[0].split(",")
    assert {"validation.accuracy", "loss", "teacher_agreement"} <= set(header)
    image = torch.from_numpy(np.array(place[1]["main"].split("validation").images)).permute(0, 3, 1, 2) / 127.5 - 1
    norm = next(layer for layer in recipe.modules() if isinstance(layer, torch.nn.BatchNorm2d))
    with torch.no_grad():
        seen = recipe.classifier.network.conv1((image - recipe.classifier.mean) / recipe.classifier.std)
    torch.testing.assert_close(norm.running_mean, seen.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)  # the few pictures' statistics


def test_a_student_learns_the_teacher_in_bf16_too(place):
    first = train(place, BOTH | {"teacher_precision": "bf16"}, steps=1)[0]
    assert digest(first.state_dict()) != digest(train(place, BOTH, steps=1)[0].state_dict())
    _, curve = train(place, BOTH, precision="bf16", steps=40, log_every=5, validate_every=0)
    losses = [float(line.split(",")[2]) for line in curve.decode().splitlines()[1:]]
    assert losses[-1] < 0.5 * losses[0], curve


def test_classes_in_another_order_are_matched_by_name(place):
    folder, _, teacher, link = place
    turned = make_view(folder / "outputs/views/turned", classes=("c", "a", "b"))
    recipe = build_recipe(settings_of({}), {"main": turned}, {"teacher": link})
    image = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(recipe.distillation.teacher(image), teacher.classifier(image)[0][:, [2, 0, 1]].detach())
    assert recipe.notes == ("teacher: its classes stand in another order; they are matched by their names",)


def test_a_teacher_or_a_view_that_does_not_fit_is_refused(place):
    folder, views, _, link = place
    other = make_view(folder / "outputs/views/other", classes=("a", "b", "z"))
    with pytest.raises(
        ValueError, match=r"train\.distill: the teacher has other classes than the view: it lacks z; the view lacks its c"
    ):
        build_recipe(settings_of({}), {"main": other}, {"teacher": link})
    grey = replace(views["main"].facts, channels=1, mean=(0.0,), std=(1.0,))
    with pytest.raises(ValueError, match="the teacher takes 3 channel"):
        Classification.build(settings_of({}), {"main": grey}, {"teacher": link})
    with pytest.raises(
        ValueError, match=r"distill\.labels: the unlabelled view 'many' has 3 classes; labels: ignore allows it"
    ):
        build_recipe(settings_of({"on": ["unlabelled"]}), views, {"teacher": link})
    with pytest.raises(ValueError, match=r"distill\.on: unlabelled needs a link"):
        build_recipe(settings_of(ALONE), {"main": views["main"]}, {"teacher": link})
    small = make_view(folder / "outputs/views/small", size=4)
    with pytest.raises(ValueError, match=r"distill\.on: the unlabelled view 'small' has 4 pixels"):
        build_recipe(settings_of(ALONE), views | {"unlabelled": small}, {"teacher": link})
    torch.save({"state": {}}, folder / "weights.pt")
    with pytest.raises(ValueError, match=r"is not the weights\.pt of a classification run"):
        build_recipe(settings_of({}), views, {"teacher": Artifact(folder / "weights.pt", "")})
    with pytest.raises(ValueError, match="needs a link of role teacher"):
        train(place, {}, recipe=build_recipe(settings_of({}), views, {}))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"on": []}, "on: .* is not allowed"),
        ({"on": ["labelled", "labelled"]}, "on: .* is not allowed"),
        ({"temperature": 2}, "temperature: not allowed with loss symmetric_kl"),
        ({"on": ["unlabelled"], "ground_truth": 0.1}, "ground_truth: needs labelled pictures"),
        ({"labels": "ignore"}, "labels: not allowed without unlabelled"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(block, message):
    with pytest.raises(SettingsError, match=message):
        parse(DistillSettings, block, "runs.x.train.distill")


def params(folder, **changes):
    """A student of run "own", on the toy project's pictures; ``changes``: of links, or of blocks by their path."""
    from PIL import Image

    for name, level in (("light", 200), ("dark", 40)):
        (folder / "pictures" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (level,) * 3).save(folder / "pictures" / name / "0.png")
    content = add_own(toy_params())
    own = content["runs"]["own"]
    content["views"]["more"] = content["views"]["mine"] | {"quality": False}
    student = own | {"model": STUDENT, "train": own["train"] | {"distill": {"on": ["unlabelled"], "labels": "ignore"}}}
    content["runs"] |= {"student": student}
    link = {"run": "student", "stage": "train"}
    content["links"] |= {
        "taught": link | {"role": "teacher", "from": "outputs/train/own"},
        "free": link | {"role": "unlabelled", "from": "outputs/views/more"},
    }
    for path, value in changes.items():
        target, keys = content, path.split("__")
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = value
    write_params(folder, content)
    return Workspace(folder)


def test_a_sound_student_is_accepted_and_its_teacher_s_network_is_a_part_of_its_code(tmp_path):
    workspace = params(tmp_path)
    check_run(workspace, "student")
    assert "components/networks/resnets/resnet18.py" in digests_of(workspace, "train", "student")
    assert "components/networks/resnets/resnet18.py" not in digests_of(workspace, "export", "student")
    assert kept_links(workspace, "student") == {}  # later stages need neither the teacher nor the pictures


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"links": {}}, r"runs\.student\.train\.distill: needs a link at stage train of role teacher"),
        ({"links": {}}, r"runs\.student\.train\.distill\.on: unlabelled needs a link"),
        ({"runs__student__train__distill": None}, r"links\.taught\.role: 'teacher' is not allowed: .* has no block distill"),
        ({"runs__student__train__distill": {}}, r"links\.free\.role: 'unlabelled' is not allowed: .*\.on does not name it"),
        ({"runs__student__train__distill": {"on": ["unlabelled"]}}, r"links\.free\.from: view 'more' has labels of 2 .*ignore"),
        ({"links__taught__from": "outputs/export/own"}, r"links\.taught\.from: .* a teacher is outputs/train/"),
        ({"links__taught__from": "outputs/train/student"}, r"links\.taught\.from: .* a teacher is outputs/train/"),
        ({"views__more__image_size": 20}, r"links\.free\.from: its images are 20 x 20 x 3"),
        ({"views__more__channels": 1}, r"links\.free\.from: its images are 16 x 16 x 1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_any_work(tmp_path, changes, fault):
    with pytest.raises(SettingsError, match=fault):
        check_run(params(tmp_path, **changes), "student")


def test_a_teacher_of_another_size_is_accepted_only_if_its_network_takes_these_pictures(tmp_path):
    workspace = params(tmp_path)
    content = json.loads((tmp_path / "params.yaml").read_text())
    content["views"]["large"] = content["views"]["mine"] | {"image_size": 32}
    content["runs"]["own"]["view"] = "large"
    write_params(tmp_path, content)
    check_run(Workspace(tmp_path), "student")
    content["runs"]["own"]["model"] = {"name": "vit", "patch": 4, "width": 16, "depth": 1, "heads": 2}
    write_params(tmp_path, content)
    with pytest.raises(SettingsError, match=r"links\.taught\.from: vit of run 'own' takes pictures of 32 x 32 alone"):
        check_run(Workspace(tmp_path), "student")
    assert workspace.folder == tmp_path
