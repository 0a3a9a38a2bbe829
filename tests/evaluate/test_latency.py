"""How long the measurement of a served model takes, whatever the model."""

import numpy as np
import pytest

from components.stages.evaluate import latency


class Served:
    """Answers after ``seconds`` of a clock that only it moves."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.sizes, self.seconds = 0.0, [], seconds
        monkeypatch.setattr(latency.time, "perf_counter", lambda: self.now)

    def predict(self, inputs):
        self.sizes.append(len(inputs["image"]))
        self.now += self.seconds


@pytest.mark.parametrize(("seconds", "ones", "manys"), [(0.001, 220, 5), (0.1, 50, 5), (60.0, 3, 3)])
def test_a_slow_model_is_asked_less_often(monkeypatch, seconds, ones, manys):
    served = Served(monkeypatch, seconds)
    found = latency.measure_latency(served, {"image": np.zeros((2, 4))})
    assert (served.sizes.count(1), served.sizes.count(64)) == (pytest.approx(ones, abs=1), manys)
    assert found["latency_p50_ms"] == pytest.approx(1e3 * seconds)
    assert found["throughput_images_per_s"] == pytest.approx(64 / seconds, abs=0.1)
