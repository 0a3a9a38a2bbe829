"""Stage 1, fetch: download or draw raw files, verified. A new source is a module and a line of ``SOURCES``."""

SOURCES: dict[str, str] = {
    "digits": "components.stages.fetch.digits:Digits",
    "glyphs": "components.stages.fetch.glyphs.source:Glyphs",
    "mnist": "components.stages.fetch.idx:Idx",
    "fashion_mnist": "components.stages.fetch.idx:Idx",
    "kmnist": "components.stages.fetch.idx:Idx",
    "notmnist": "components.stages.fetch.idx:Idx",
    "omniglot": "components.stages.fetch.omniglot:Omniglot",
    "cifar10": "components.stages.fetch.cifar10:Cifar10",
    "dtd": "components.stages.fetch.dtd:Dtd",
    "scenes": "components.stages.fetch.scenes.source:Scenes",
    "noise": "components.stages.fetch.noise:Noise",
    "folder": "components.stages.fetch.folder:Folder",
    "table": "components.stages.fetch.formats.tables.table:Table",
    "coco": "components.stages.fetch.formats.coco:CocoFiles",
    "voc": "components.stages.fetch.formats.voc:Voc",
    "yolo": "components.stages.fetch.formats.yolo:Yolo",
    "webdataset": "components.stages.fetch.formats.tars.webdataset:WebDataset",
    "huggingface": "components.stages.fetch.formats.arrow.huggingface:HuggingFace",
    "mirrored": "components.stages.fetch.mirrored.images:Mirrored",
    "handwriting": "components.stages.fetch.mirrored.handwriting:Handwriting",
}
