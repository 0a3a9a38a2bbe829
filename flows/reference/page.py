"""The page docs/settings.md: every block of params.yaml, every key, what it takes, its default and its meaning.

``python -m flows docs`` writes it, ``--check`` compares it; both fail if a setting has no meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from components.core import catalogue
from components.core.config.params import DatasetSettings, Params, Pipeline, Run
from components.core.config.references import Link, Ood
from components.core.config.run import LOOP, imported, options_class, train_class
from components.core.settings import DETECT, GATES, VIEW
from flows import settings as operations
from flows.reference.tables import Setting, settings_of, table

PAGE = Path("docs") / "settings.md"
INTRODUCTION = """# Settings

Every key of `params.yaml`. The page is generated from the classes that read the file: `make docs` writes it, `make check`
compares it. A key without a default is required. An unknown key, a wrong type or a value out of range is refused before
anything starts, with its path, its value and what is allowed; `python -m components check` prints the file as the stages will
read it.

`links`, `detect`, `ood`, `pipeline` and the blocks of operations may be left out. `root`, `seed`, `runs.<name>.export`,
`runs.<name>.evaluate` and the `path` of a source with data of its own must stand in the file, since DVC reads it too:
`python -m flows plan` and `run` write those that are missing, and say so. A view that a run trains on, of a folder without
splits, gets `split: {by: image, validation: 0.1, test: 0.2}` in the same way.

A dot in a key leads into a block: `split.by: image` is `split: {by: image}`. `[]` stands for each entry of a list.
"""

Section = tuple[str, str, list[Setting]]  # heading, sentence below it, rows


def page() -> str:
    """Return the text of the page."""
    parts = [INTRODUCTION]
    for heading, sentence, rows in sections():
        parts.append("\n".join(filter(None, (f"{heading}\n", sentence and f"{sentence}\n", table(iter(rows))))))
    return "\n".join(part.rstrip() + "\n" for part in parts)


def unexplained() -> list[str]:
    """Return the settings without a meaning, as ``heading: key``."""
    return [f"{heading.lstrip('# ')}: {row.key}" for heading, _, rows in sections() for row in rows if not row.meaning]


def sections() -> list[Section]:
    """Return all sections in order."""
    return [*_file(), *_datasets(), *_views(), *_runs(), *_networks(), *_others(), *_operations()]


def _rows(cls: type[BaseModel], without: type[BaseModel] | None = None, own: Any = None, deep: bool = True) -> list[Setting]:
    """Return the rows of a class, without those that a base class has in the same form."""
    base = set(settings_of(without)) if without else set()
    return [row for row in settings_of(cls, own=own, deep=deep) if row not in base]


def _file() -> Iterator[Section]:
    yield "## The file", "", _rows(Params, deep=False)
    yield "## `pipeline`", "", _rows(Pipeline)


def _datasets() -> Iterator[Section]:
    yield "## `datasets.<name>`", "Raw files, fetched and verified.", _rows(DatasetSettings)
    by_class: dict[Any, list[str]] = {}
    for name in catalogue.names("source"):
        by_class.setdefault(catalogue.load("source", name, name), []).append(name)
    for source, names in by_class.items():
        listed = ", ".join(f"`{name}`" for name in names)
        yield f"### source {listed}", _summary(source), _rows(source.Settings, DatasetSettings, source.Settings)


def _views() -> Iterator[Section]:
    yield "## `views.<name>`", "A dataset prepared for training.", _rows(imported(VIEW))


def _runs() -> Iterator[Section]:
    loop = imported(LOOP)
    yield "## `runs.<name>`", "", _rows(Run, deep=False)
    yield (
        "### `train` of every recipe",
        "A recipe has its paper's defaults for some of these; they are listed with it.",
        _rows(loop),
    )
    yield "### `promote`", "Gates that a candidate must pass to become the champion.", _rows(imported(GATES))
    for name in catalogue.names("recipe"):
        recipe, evaluation = catalogue.load("recipe", name, name), catalogue.evaluation(name, name)
        blocks = {
            "train": (train_class(recipe), loop),
            "export": (recipe.Export, None),
            "evaluate": (evaluation.Settings, None),
        }
        rows = []
        for block, (cls, without) in blocks.items():
            own = {"train": recipe.Train}.get(block, cls)
            rows += [Setting(f"{block}.{row.key}", row.takes, row.default, row.meaning) for row in _rows(cls, without, own)]
        yield f"### recipe `{name}`", _summary(recipe), rows


def _networks() -> Iterator[Section]:
    yield "## `runs.<name>.model`", "`name` is one of the networks below; the other keys are its options.", []
    for name in catalogue.names("network"):
        network = catalogue.load("network", name, name)
        yield f"### model `{name}`", _summary(network), _rows(options_class(network), own=network)


def _others() -> Iterator[Section]:
    yield "## `links.<name>`", "An artifact that a run takes.", _rows(Link)
    yield "## `detect.<name>`", "Out-of-distribution detectors of one run.", _rows(imported(DETECT))
    for name in catalogue.names("detector"):
        detector = catalogue.load("detector", name, name)
        rows = _rows(options_class(detector), own=detector)
        if rows:
            yield f"### `options.{name}`", _summary(detector), rows
    yield "## `ood.<name>`", "A view that a run was not made for.", _rows(Ood)


def _operations() -> Iterator[Section]:
    yield "## `schedules`", "", _rows(operations.Schedules)
    yield "## `servers`", "", _rows(operations.Servers)
    yield "## `notify`", "", _rows(operations.Notify)
    yield "## `monitor.<run>`", "", _rows(operations.Monitor)


def _summary(cls: Any) -> str:
    """Return the first sentence of the class's docstring."""
    text = " ".join((cls.__doc__ or "").split())
    return text.partition(". ")[0].rstrip(".").replace("``", "`") + "." if text else ""
