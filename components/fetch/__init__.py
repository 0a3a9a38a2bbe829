"""Stage 1, fetch: bring a dataset's raw files, verified. ``SOURCES`` is the seam: adding a source is a file and a line."""

SOURCES: dict[str, str] = {
    "digits": "components.fetch.digits:Digits",
    "glyphs": "components.fetch.glyphs.source:Glyphs",
    "mnist": "components.fetch.idx:Idx",
    "fashion_mnist": "components.fetch.idx:Idx",
    "kmnist": "components.fetch.idx:Idx",
    "notmnist": "components.fetch.idx:Idx",
    "omniglot": "components.fetch.omniglot:Omniglot",
    "cifar10": "components.fetch.cifar10:Cifar10",
    "dtd": "components.fetch.dtd:Dtd",
    "noise": "components.fetch.noise:Noise",
    "folder": "components.fetch.folder:Folder",
    "mirrored": "components.fetch.mirrored.images:Mirrored",
    "handwriting": "components.fetch.mirrored.handwriting:Handwriting",
}
