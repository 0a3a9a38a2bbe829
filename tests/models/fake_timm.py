"""A stand-in for timm, which no test needs: three tiny networks behind the part of its interface that is used."""

import sys

import torch
from torch import nn

WEIGHTS = {"tiny_conv": ["tiny_conv.own_in3", "tiny_conv.more_in3"], "tiny_tokens": ["tiny_tokens.own_in3"]}
offline = False


class Head(nn.Module):
    """Mean over pixels and the last layer, as in timm's ClassifierHead."""

    def __init__(self, width, num_classes, drop_rate):
        super().__init__()
        self.drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(width, num_classes) if num_classes else nn.Identity()

    def forward(self, x, pre_logits=False):
        return self.drop(x) if pre_logits else self.fc(self.drop(x))


class Network(nn.Module):
    fixed, classifier = False, "head.fc"

    def __init__(self, in_chans, num_classes, drop_rate=0.0):
        super().__init__()
        self.num_features = 24
        self.stem = nn.Conv2d(in_chans, 24, 4, 4)
        self.head = Head(24, num_classes, drop_rate)
        names = {"classifier": self.classifier, "first_conv": "stem", "fixed_input_size": self.fixed}
        self.pretrained_cfg = names

    def forward_head(self, x, pre_logits=False):
        return self.head(self.pooled(x), pre_logits)

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


class Conv(Network):
    """Maps [N, D, h, w]."""

    def __init__(self, in_chans, num_classes, drop_rate=0.0):
        super().__init__(in_chans, num_classes, drop_rate)
        self.norm = nn.BatchNorm2d(24)

    def forward_features(self, image):
        return self.norm(self.stem(image)).relu()

    def pooled(self, maps):
        return maps.mean((2, 3))


class Pixels(Network):
    """Maps [N, h, w, D], as of timm's Swin."""

    def forward_features(self, image):
        return self.stem(image).permute(0, 2, 3, 1).relu()

    def pooled(self, maps):
        return maps.mean((1, 2))


class Tokens(Network):
    """Tokens [N, T, D] with positions, of a distilled network with two heads."""

    fixed, classifier = True, ("head.fc", "head_dist")

    def __init__(self, in_chans, num_classes, drop_rate=0.0, img_size=(16, 16)):
        super().__init__(in_chans, num_classes, drop_rate)
        if img_size[0] % 4:
            raise AssertionError("Input height is no multiple of 4.\nMore of it.")
        self.grid = (img_size[0] // 4, img_size[1] // 4)
        self.positions = nn.Parameter(torch.randn(1, 24, *self.grid) * 0.02)
        if num_classes:
            self.head_dist = nn.Linear(24, num_classes)

    def forward_features(self, image):
        return (self.stem(image) + self.positions).relu().flatten(2).transpose(1, 2)

    def pooled(self, tokens):
        return tokens.mean(1)


def checkpoint_filter_fn(state, model):
    if isinstance(model, Tokens) and state["positions"].shape[2:] != model.grid:
        state["positions"] = nn.functional.interpolate(state["positions"], model.grid, mode="bicubic")
    return state


NETWORKS = {"tiny_conv": Conv, "tiny_pixels": Pixels, "tiny_tokens": Tokens}


def list_models(pretrained=False):
    return sorted(name for names in WEIGHTS.values() for name in names) if pretrained else sorted(NETWORKS)


def create_model(name, pretrained=False, in_chans=3, num_classes=3, **options):
    if pretrained and offline:
        raise OSError("the hub is out of reach\nand says so at length")
    return NETWORKS[name.partition(".")[0]](in_chans, num_classes, **options)


def install(patch):
    """Let ``import timm`` give this module."""
    patch.setitem(sys.modules, "timm", sys.modules[__name__])
