"""Seeds, devices and precision: what every result hangs on, and no training says."""

import hashlib

import pytest
import torch

from components.core.runtime import mix, multiplies_bf16, pick_device, resolve_precision


def test_a_seed_is_63_bits_of_a_hash_of_its_parts_and_their_types():
    digest = hashlib.sha256(b"int:0\x1fstr:noise\x1fint:7").digest()
    assert mix(0, "noise", 7) == int.from_bytes(digest[:8], "little") // 2 == 5191861466599845309
    assert len({mix(1, 2), mix("1", 2), mix(1, "2"), mix(12), mix(2, 1)}) == 5
    assert 2**62 < max(mix(index) for index in range(50)) < 2**63


def test_a_process_alone_has_the_first_device(monkeypatch):
    monkeypatch.setenv("DARKROOM_DEVICE", "cuda:2,cuda:0")
    assert pick_device() == torch.device("cuda:2")
    monkeypatch.setenv("DARKROOM_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [pick_device(), pick_device(2)] == [torch.device("cuda:0"), torch.device("cuda:2")]
    monkeypatch.delenv("DARKROOM_DEVICE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device() == torch.device("cpu")


@pytest.mark.parametrize(("amx", "avx512", "multiplies"), [(0, 0, False), (1, 0, True), (0, 1, True)])
def test_a_cpu_multiplies_bf16_with_one_of_two_extensions(monkeypatch, amx, avx512, multiplies):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    cpu = torch.device("cpu")
    assert multiplies_bf16(cpu) is multiplies
    assert resolve_precision("auto", cpu, prefers_fp32=False) == ("bf16" if multiplies else "fp32")


@pytest.mark.parametrize(("capability", "multiplies"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_gpu_multiplies_bf16_from_ampere_on(monkeypatch, capability, multiplies):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert multiplies_bf16(torch.device("cuda:0")) is multiplies
