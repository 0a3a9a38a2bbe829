"""MNIST and data sets of the same format (IDX, gzip): 28 x 28 grey images of ten classes, published train and test splits."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from components.core.config.params import DatasetSettings
from components.stages.fetch.dataset_files import write_index
from components.stages.fetch.downloads.bring import bring
from components.stages.fetch.downloads.published import Published

Split = Literal["train", "test"]

FILES: dict[Split, dict[str, str]] = {
    "train": {"image": "train-images-idx3-ubyte.gz", "label": "train-labels-idx1-ubyte.gz"},
    "test": {"image": "t10k-images-idx3-ubyte.gz", "label": "t10k-labels-idx1-ubyte.gz"},
}

# dataset -> URLs of its folder. The folder in a mirror has the dataset's name.
ADDRESSES: dict[str, tuple[str, ...]] = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    "fashion_mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    "kmnist": ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    "notmnist": ("https://raw.githubusercontent.com/davidflanagan/notMNIST-to-MNIST/master/",),
}

# dataset -> MD5 of the four .gz files in the order of FILES: as in torchvision/datasets/mnist.py. notMNIST's author publishes
# none: the sums are those of David Flanagan's copy in MNIST's format.
MD5: dict[str, tuple[str, str, str, str]] = {
    "mnist": (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fashion_mnist": (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "kmnist": (
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
    "notmnist": (
        "d916d7283fce4d08db9867c640ec0042",
        "eab59f88903339e01dac19deed3824c0",
        "2c87c839a4ef9b238846600eec8c35b7",
        "7ea9118cbafd0f6e3ee2ad771d782a01",
    ),
}

# Each 60,000 + 10,000: MNIST, handwritten digits (LeCun, Cortes, Burges 1998); Fashion-MNIST, articles of clothing (Xiao,
# Rasul, Vollgraf, arXiv:1708.07747); KMNIST, cursive Japanese characters (Clanuwat and others, arXiv:1812.01718); notMNIST,
# letters from many fonts (Bulatov 2011), sampled into MNIST's format by D. Flanagan.
CLASSES: dict[str, tuple[str, ...]] = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "kmnist": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    "notmnist": tuple("ABCDEFGHIJ"),
}


class Idx:
    """The dataset named by the setting ``source``, a key of the tables above."""

    class Settings(DatasetSettings):
        """``splits``: the published splits to download."""

        splits: tuple[Split, ...] = Field(default=("train", "test"), min_length=1)

        @field_validator("splits")
        @classmethod
        def _no_split_twice(cls, splits: tuple[Split, ...]) -> tuple[Split, ...]:
            if len(set(splits)) < len(splits):
                raise ValueError("a split is named twice")
            return splits

    @staticmethod
    def fetch(settings: Idx.Settings, out: Path, seed: int, workspace: Path) -> None:
        dataset = settings.source
        sums = dict(zip((name for files in FILES.values() for name in files.values()), MD5[dataset], strict=True))
        chosen = {split: FILES[split] for split in settings.splits}
        for name in (name for files in chosen.values() for name in files.values()):
            bring(Published(dataset, name, sums[name], tuple(address + name for address in ADDRESSES[dataset])), out / name)
        write_index(out, "idx", {split: dict(files) for split, files in chosen.items()}, {"label": CLASSES[dataset]})
