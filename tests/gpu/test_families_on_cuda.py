"""Every family's tiny run on CUDA, in fp32 and bf16: it learns, resumes, names a broken loss; devices are not shared."""

import pytest
import torch
from families.tiny import TINY, Tiny
from gpu.on_device import largest_difference, module_difference, train_on

from components.core.runtime import exclusive_device, pick_device
from components.core.step import NonFiniteLoss

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")
# What one number says of: a likelihood or an error. The losses of adversarial families need not fall.
FALLING = dict.fromkeys(("classification", "diffusion", "noisy_classifier", "simmim"), "loss")
FALLING["pixelcnn"] = "bits_per_dim"


@pytest.fixture(scope="module", params=TINY)
def tiny(request, tmp_path_factory):
    return Tiny(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_loss_is_finite_and_falls_where_it_is_an_error(tiny, precision):
    steps = 40 if tiny.family in FALLING else 8  # longer, the learning rate of an adversarial tiny run is too large
    _, points = train_on(tiny, CUDA, precision, steps=steps, warmup=1, log_every=steps // 4, ema_decay=None)
    assert all(torch.isfinite(torch.tensor(list(point.values()))).all() for point in points)
    if tiny.family in FALLING:
        losses = [point[FALLING[tiny.family]] for point in points if FALLING[tiny.family] in point]
        assert losses[-1] < losses[0]


class Killed(BaseException):
    """Stands for SIGKILL within one process."""


def test_killed_and_resumed_is_the_undisturbed_training_up_to_rounding(tiny, tmp_path):
    def dies(recipe, step):
        seen.append(step)
        if seen == [0, 1, 2, 3]:
            raise Killed

    seen = []
    with pytest.raises(Killed):
        train_on(tiny, CUDA, "fp32", before=dies, checkpoints=tmp_path)
    resumed, _ = train_on(tiny, CUDA, "fp32", before=dies, checkpoints=tmp_path)
    assert seen == [0, 1, 2, 3, 2, 3]
    undisturbed, _ = train_on(tiny, CUDA, "fp32")
    assert largest_difference(resumed, undisturbed) < 1e-3


def test_the_networks_to_export_compute_on_cuda_what_they_compute_on_the_cpu(tiny):
    recipe, _ = train_on(tiny, CUDA, "fp32")
    assert module_difference(tiny, recipe, CUDA) < 2e-2  # TF32 has 10 bits of mantissa


def test_a_loss_that_is_not_finite_is_named_with_its_step(tiny):
    def breaks(recipe, step):
        if step == 2:
            with torch.no_grad():
                for parameter in recipe.parameters():
                    parameter.fill_(float("nan"))

    with pytest.raises(NonFiniteLoss, match="step 2: not finite"):
        train_on(tiny, CUDA, "fp32", before=breaks)


@pytest.mark.parametrize("family", ["classification", "diffusion"])
def test_compiled_networks_train_as_the_others(family, tmp_path):
    tiny = Tiny(family, tmp_path)
    train = {"workers": 0} | ({"mixing": None, "random_erasing": None} if family == "classification" else {})
    plain, _ = train_on(tiny, CUDA, "fp32", **train)
    compiled, _ = train_on(tiny, CUDA, "fp32", compile=True, **train)
    assert largest_difference(plain, compiled) < 2e-2


def test_batches_are_pinned(tmp_path):
    from components.stages.views.loader import training_batches

    tiny = Tiny("classification", tmp_path)
    recipe = tiny.build()
    (role, stream) = next(iter(recipe.streams().items()))
    feed = training_batches(tiny.views["main"], stream, role=role, seed=0, start_step=0, steps=2, workers=0)
    assert all(tensor.is_pinned() for tensor in next(feed).values())


def test_a_second_process_needs_a_device_of_its_own():
    with pytest.raises(ValueError, match="has no device left"):
        pick_device(torch.cuda.device_count())
    with exclusive_device(CUDA):
        assert pick_device(0).type == "cuda"
