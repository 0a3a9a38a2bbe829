"""What a registered toy ships with."""

from pathlib import Path

import numpy as np
import onnxruntime


class Served:
    def __init__(self, folder):
        self.session = onnxruntime.InferenceSession(str(Path(folder) / "coder.onnx"), providers=["CPUExecutionProvider"])

    def predict(self, inputs, params=None):
        image = inputs["image"].astype(np.float32).transpose(0, 3, 1, 2) / 127.5 - 1
        coded = self.session.run(["coded"], {"image": image})[0]
        return {"coded": np.round((coded.transpose(0, 2, 3, 1) + 1) * 127.5).astype(np.uint8)}
