"""Latency of an exported ResNet-18 with ViM in its graph, against the same graph without."""

import tempfile
from pathlib import Path

import numpy as np
import torch

SIZE, WIDTH, CLASSES = 32, 64, 10
CALLS = {1: 10, 64: 1}  # batch -> calls of one turn


def bench_rejecting(ratio):
    """Milliseconds a call of both, one thread, the fastest turn; the bar is 5 % more."""
    from components.stages.export.onnx_graph import open_session

    with tempfile.TemporaryDirectory() as folder:
        sessions = [open_session(path, threads=1) for path in write_both(Path(folder))]
        for batch, calls in CALLS.items():
            image = np.random.default_rng(0).uniform(-1, 1, (batch, 3, SIZE, SIZE)).astype(np.float32)

            def turn(session, image=image, calls=calls):
                for _ in range(calls):
                    session.run(None, {"image": image})

            # A few percent are less than what a busy machine adds to a median; the fastest turns are those it left alone.
            first, second, times = ratio(lambda: turn(sessions[0]), lambda: turn(sessions[1]), rounds=41, of=min)
            bare, whole = first / calls * 1e3, second / calls * 1e3
            yield f"ResNet-18 batch {batch}: alone {bare:.2f} ms, with ViM {whole:.2f} ms: {1 / times - 1:+.1%}"


def write_both(folder):
    """The paths of the graph without and with ViM, which is fitted on made-up features."""
    from components.core.recipe import Graph
    from components.detectors.shared.protocol import Head
    from components.detectors.vim import ViM
    from components.families.classification.recipe import Classifier
    from components.networks.resnets.resnet18 import ResNet18
    from components.stages.export.detector import Detecting
    from components.stages.export.onnx_graph import write_graph

    torch.manual_seed(0)
    network = ResNet18(image_size=SIZE, channels=3, num_classes=CLASSES, width=WIDTH)
    classifier, head = Classifier(network, (0.0,) * 3, (1.0,) * 3).eval(), Head(network.head.weight, network.head.bias)
    features = torch.randn(2 * head.num_features, head.num_features).relu()
    logits = features @ head.weight.T + head.bias_or_zero()
    detector = ViM()
    detector.fit([(features, logits, torch.zeros(len(features), dtype=torch.int64))], head)
    modules = {
        ("logits", "features"): classifier,
        ("logits", "features", "ood_score", "is_ood"): Detecting(classifier, detector.float(), threshold=0.0).eval(),
    }
    for outputs, module in modules.items():
        path = folder / f"{len(outputs)}.onnx"
        write_graph(Graph(module, lambda batch: batch, outputs), {"image": torch.zeros(2, 3, SIZE, SIZE)}, path)
        yield path
