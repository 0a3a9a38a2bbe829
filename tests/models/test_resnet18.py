"""ResNet-18 for 32 px against plain convolutions that read OpenOOD's layout, and its published size."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from components.core.weights.reading import without_wrappers
from components.networks.resnets.resnet18 import ResNet18


def build(**settings) -> ResNet18:
    return ResNet18(**{"image_size": 32, "channels": 3, "num_classes": 4, "width": 4, **settings})


def made_up_file(prefix: str = "") -> dict[str, Tensor]:
    """A file in OpenOOD's layout at width 4: names and shapes written out, values random."""
    generator = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (4, 3, 3, 3)}
    norms = {"bn1": 4}
    widths = [4, 4, 8, 16, 32]
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name, width = f"layer{stage}.{block}", widths[stage]
            width_in = widths[stage - 1] if block == 0 else width
            shapes |= {f"{name}.conv1.weight": (width, width_in, 3, 3), f"{name}.conv2.weight": (width, width, 3, 3)}
            norms |= {f"{name}.bn1": width, f"{name}.bn2": width}
            if stage > 1 and block == 0:
                shapes |= {f"{name}.shortcut.0.weight": (width, width_in, 1, 1)}
                norms |= {f"{name}.shortcut.1": width}
    shapes |= {f"{name}.{kind}": (width,) for name, width in norms.items() for kind in ("weight", "bias", "running_mean")}
    shapes |= {"fc.weight": (4, 32), "fc.bias": (4,)}
    file = {key: 0.3 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    for name, width in norms.items():
        file |= {f"{name}.running_var": torch.linspace(0.5, 2, width), f"{name}.num_batches_tracked": torch.tensor(3)}
    return {prefix + key: value for key, value in file.items()}


def by_plain_convolutions(file: dict[str, Tensor], image: Tensor) -> Tensor:
    """Logits [N, K]: eq. 1 and 2 of the paper block by block."""

    def layer(conv: str, norm: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel = file[f"{conv}.weight"]
        x = F.conv2d(x, kernel, None, stride, kernel.shape[-1] // 2)
        weight, bias, mean, variance = (
            file[f"{norm}.{kind}"][:, None, None] for kind in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    x = layer("conv1", "bn1", image).clamp(min=0)
    for name in [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]:
        stride = 2 if name in ("layer2.0", "layer3.0", "layer4.0") else 1
        branch = layer(f"{name}.conv1", f"{name}.bn1", x, stride).clamp(min=0)
        branch = layer(f"{name}.conv2", f"{name}.bn2", branch)
        projected = layer(f"{name}.shortcut.0", f"{name}.shortcut.1", x, stride) if stride == 2 else x
        x = (branch + projected).clamp(min=0)
    return x.mean((2, 3)) @ file["fc.weight"].T + file["fc.bias"]


def test_number_of_parameters_is_openood_s() -> None:
    with torch.device("meta"):
        network = ResNet18(image_size=32, channels=3, num_classes=10)
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_173_962


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("size", [32, 20])
def test_a_published_file_gives_what_plain_convolutions_give(prefix, size) -> None:
    network = build().eval()
    assert network.load_published(without_wrappers(made_up_file(prefix))).lines() == []
    image = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    wanted = by_plain_convolutions(made_up_file(), image)
    assert torch.allclose(network(image)[0], wanted, atol=1e-5 * wanted.abs().max().item())


def test_renaming_twice_is_renaming_once() -> None:
    once = ResNet18.from_published(made_up_file())
    assert once.keys() == ResNet18.from_published(once).keys() == build().state_dict().keys()


def test_torchvision_s_file_is_taken_but_for_its_stem() -> None:
    """There a shortcut is called downsample, the first convolution has 7 x 7 pixels, and old files count no batches."""
    file = {name.replace("shortcut", "downsample"): value for name, value in made_up_file().items()}
    file = {name: value for name, value in file.items() if not name.endswith("num_batches_tracked")}
    network, width = build().eval(), len(file["conv1.weight"])
    own = network.conv1.weight.clone()
    fitted = network.load_published(file | {"conv1.weight": torch.ones(width, 3, 7, 7)})
    assert [note.partition(":")[0] for note in fitted.lines("fresh")] == ["conv1"]
    assert torch.equal(network.conv1.weight, own)
    assert torch.equal(network.layer2[0].shortcut[0].weight, file["layer2.0.downsample.0.weight"])
    assert torch.equal(network.bn1.weight, file["bn1.weight"])


def test_the_start_keeps_the_scale_of_the_gradient() -> None:
    """He et al. 2015, eq. 14: variance 2 / fan-out."""
    torch.manual_seed(0)
    weight = build(width=16).layer3[0].conv1.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


def test_a_wrong_width_is_refused_without_memory() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=r"^width: 0 is not allowed: at least 1"):
        build(width=0)
