"""Exports whose graphs are answered by torch: what is served is tested without the seconds that a graph takes to be made.

The same tests run with real graphs in ONNX Runtime where ``slow`` tests run (fixture ``runtime``, tests/conftest.py).
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

MARK = "answered by torch: "
TYPES = {torch.float32: "tensor(float)", torch.uint8: "tensor(uint8)", torch.int64: "tensor(int64)", torch.bool: "tensor(bool)"}


class TorchSession:
    """What served code uses of an ``InferenceSession``, over a copy of the module as it was exported."""

    def __init__(self, module: nn.Module, inputs: dict[str, torch.Tensor], outputs: list[str]):
        self.module = copy.deepcopy(module)
        self.inputs = described(inputs)
        self.outputs = described(dict(zip(outputs, self.answer(inputs), strict=True)))

    def answer(self, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            answers: tuple[torch.Tensor, ...] = self.module(*(inputs[name] for name in self.inputs))
        return answers

    def get_inputs(self) -> list[SimpleNamespace]:
        return list(self.inputs.values())

    def get_outputs(self) -> list[SimpleNamespace]:
        return list(self.outputs.values())

    def run(self, wanted: list[str] | None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        given = {name: torch.from_numpy(array) for name, array in feed.items()}
        assert described(given) == self.inputs
        found = dict(zip(self.outputs, self.answer(given), strict=True))
        return [found[name].numpy() for name in wanted or self.outputs]


def described(tensors: dict[str, torch.Tensor]) -> dict[str, SimpleNamespace]:
    """Names, types and shapes by name, as ONNX Runtime tells them of a graph with a dynamic batch."""
    return {
        name: SimpleNamespace(name=name, type=TYPES[tensor.dtype], shape=["batch", *tensor.shape[1:]])
        for name, tensor in tensors.items()
    }


@contextmanager
def answered_by_torch() -> Iterator[None]:
    """Within it an exported graph is a file with a number, and opens as the module that was exported."""
    sessions: list[TorchSession] = []
    open_graph = onnxruntime.InferenceSession

    def export(module: nn.Module, inputs: tuple[torch.Tensor, ...], **options: Any) -> SimpleNamespace:
        given = dict(zip(options["input_names"], inputs, strict=True))
        sessions.append(TorchSession(module, given, options["output_names"]))
        values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch"]) for name in given]
        graph = onnx.helper.make_graph([], f"{MARK}{len(sessions) - 1}", values, [])
        return SimpleNamespace(model_proto=onnx.helper.make_model(graph))

    def open_either(path: str, *args: Any, **kwargs: Any) -> Any:
        name = onnx.load(path).graph.name
        return sessions[int(name.removeprefix(MARK))] if name.startswith(MARK) else open_graph(path, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", export)
        patch.setattr(onnxruntime, "InferenceSession", open_either)
        yield
