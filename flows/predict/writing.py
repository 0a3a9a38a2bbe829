"""Set a text in a translator's style, or as a diffusion model draws its classes: print, write, set on a page, read back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.config.strict import SettingsError
from components.core.files import read_json
from components.core.settings import Workspace
from flows.project import Project

if TYPE_CHECKING:
    import numpy as np

    from components.registry.predict.model import Model
    from components.registry.writing.hand import Hand
    from components.registry.writing.page import Layout
    from components.registry.writing.printing import Print
    from components.registry.writing.reading import Reading

HANDWRITTEN = "handwritten"  # domain of the source ``handwriting``
BRIGHT = ("handwriting", "glyphs")  # sources that draw bright ink
EXPORTS = "outputs/export/"
JUDGES = ("content", "classifier")  # roles of the judge of characters


def write_text(args: argparse.Namespace, project: Project, model: Model) -> int:
    """Write the command's page, and report what the judge reads otherwise; return the exit code."""
    from components.registry.predict.translate import write_png
    from components.registry.writing.hand import read_hand
    from components.registry.writing.page import set_page
    from components.registry.writing.printing import printer

    domain = domain_of(args, model)
    workspace = project.workspace
    dataset = dataset_of(workspace, args.run)
    bright = args.ink == "bright" if args.ink else has_bright_ink(workspace, args.run, dataset)
    side = side_of(model.served.facts)
    prints = printer(args.font or default_font(dataset, domain), dataset.get("source"), workspace.folder, side)(args.text)
    hand = read_hand(args.hand, side) if args.hand else None
    written = characters(args, model, domain, prints, hand, bright=bright)
    layout = layout_of(args, prints, written, hand)
    write_png(args.out, set_page(args.text, prints, written, layout, args.seed)[:, :, None])
    readings = judged(args, project, prints, written, bright=bright)
    sheet = args.out.with_name(f"{args.out.stem}_characters.png")
    if args.sheet:
        draw_sheet(sheet, f"{model.name}, {model.origin}: {domain or 'its classes'}", prints, written, readings)
    print(f"written: {args.out}" + (f", {sheet}" if args.sheet else ""))
    return 0


def domain_of(args: argparse.Namespace, model: Model) -> str | None:
    """Return the domain that a translator writes in; None for a generator of classes. SettingsError for any other model."""
    from components.registry.predict.translate import domain_index
    from components.registry.writing.style import must_draw

    if model.kind == "generator":
        must_draw(model, args.text, hand=args.hand is not None, domain=args.domain is not None)
        return None
    model.must_be("translator", "write")
    domain: str = args.domain or default_domain(model.served.facts["domains"])
    domain_index(model.served, domain)
    return domain


def characters(
    args: argparse.Namespace, model: Model, domain: str | None, prints: list[Print], hand: Hand | None, *, bright: bool
) -> np.ndarray:
    """Write the prints, uint8 [N, side, side], ink bright on 0: in the style of a domain, or as a generator's classes."""
    import numpy as np

    from components.registry.predict.translate import domain_index
    from components.registry.writing.style import draw_classes, write

    if domain is None:
        return draw_classes(model.served, [printed.character for printed in prints], seed=args.seed, bright=bright)
    return write(
        model.served,
        np.stack([printed.pixels for printed in prints]),
        domain_index(model.served, domain),
        samples=hand.samples if hand else None,
        seed=args.seed,
        variation=args.variation,
        bright=bright,
    )


def dataset_of(workspace: Workspace, run: str) -> dict[str, Any]:
    """Return the block of the data set that the run was trained on."""
    view = workspace.params.views[workspace.params.runs[run].view]
    return workspace.params.datasets[str(view["dataset"])]


def has_bright_ink(workspace: Workspace, run: str, dataset: dict[str, Any]) -> bool:
    """Whether the training pictures have bright ink: by their source, else by the mean of the view, if it is here."""
    if dataset.get("source") in BRIGHT:
        return True
    view = workspace.folder / "outputs" / "views" / workspace.params.runs[run].view / "view.json"
    if not view.is_file():
        raise SettingsError(f"--ink: {view} is not here, which would tell whether ink is bright or dark: name it")
    return bool(read_json(view)["mean"][0] < 0)


def default_domain(domains: list[str]) -> str:
    """Return the domain of handwriting. SettingsError if the model has none of this name."""
    if HANDWRITTEN not in domains:
        raise SettingsError(f"--domain: name the style's domain: {', '.join(domains)}")
    return HANDWRITTEN


def default_font(dataset: dict[str, Any], domain: str | None) -> str:
    """Return the font of the data set, of several the first that is not the target. SettingsError for none."""
    fonts = [str(font) for font in (dataset.get("fonts") or filter(None, [dataset.get("font")])) if font != domain]
    if not fonts:
        raise SettingsError("--font: the run's data set names no font; name an installed family, or a .ttf, .otf or .ttc file")
    return fonts[0]


def side_of(facts: dict[str, Any]) -> int:
    """Return the side of the translator's pictures in pixels. SettingsError unless they are square."""
    size = facts["image_size"]
    if not isinstance(size, int):
        raise SettingsError(f"RUN: pictures of {size[0]} x {size[1]} pixels; characters need square ones")
    return size


def layout_of(args: argparse.Namespace, prints: list[Print], written: np.ndarray, hand: Hand | None) -> Layout:
    """Return the layout with the hand's slant, spacing and drift; without a hand that of the font."""
    import numpy as np

    from components.registry.writing.hand import slant_of
    from components.registry.writing.page import Layout

    if hand is None:
        return Layout(args.em, args.columns)
    inked = [np.flatnonzero(printed.pixels.any(0)) for printed in prints]
    widths = [(columns[-1] + 1 - columns[0]) * printed.scale for columns, printed in zip(inked, prints, strict=True)]
    white = float(np.mean([printed.advance - width for printed, width in zip(prints, widths, strict=True)]))
    height = float(np.mean([np.ptp(np.flatnonzero(p.pixels.any(1))) * p.scale for p in prints]))
    slant = hand.slant - slant_of(list(written))
    return Layout(args.em, args.columns, slant, hand.spacing * height - white, hand.drift * height)


def judged(
    args: argparse.Namespace, project: Project, prints: list[Print], written: np.ndarray, *, bright: bool
) -> list[Reading] | None:
    """Let the judge read the characters and print its report; None without a judge."""
    from components.registry.predict.model import find_model
    from components.registry.writing.reading import read_back, report

    name = args.judge or linked_judge(project.workspace, args.run)
    if name is None:
        print("not read back: --judge names a classifier of characters")
        return None
    try:
        judge = find_model(project.workspace, name, local=args.local)
    except SettingsError as error:
        if args.judge:
            raise
        print(f"not read back: {error}")
        return None
    readings = read_back(judge, [printed.character for printed in prints], written, bright=bright)
    print("\n".join([f"judge {judge.name}, {judge.origin}", *report(readings)]))
    return readings


def linked_judge(workspace: Workspace, run: str) -> str | None:
    """Return the run whose export is linked as judge of a translator's content, or of a generator's classes."""
    links = [
        link for link in workspace.params.links.values() if (link.run, link.stage) == (run, "evaluate") and link.role in JUDGES
    ]
    names = [link.artifact.removeprefix(EXPORTS).split("/")[0] for link in links if link.artifact.startswith(EXPORTS)]
    return next((name for name in names if name in workspace.params.runs), None)


def draw_sheet(path: Path, title: str, prints: list[Print], written: np.ndarray, readings: list[Reading] | None) -> None:
    """Draw each character below its print; what the judge reads otherwise is marked."""
    import numpy as np

    from components.registry.predict.sheet import COLUMNS, EACH, PAPER, Tile, draw_page

    tiles: list[Tile] = []
    nothing = Tile(np.full((8, 8, 3), PAPER, np.uint8))
    for start in range(0, len(prints[: 2 * EACH]), COLUMNS):
        part = range(start, min(start + COLUMNS, len(prints)))
        tiles += [Tile(255 - prints[i].pixels[:, :, None], (code_point(prints[i].character),)) for i in part]
        tiles += [nothing] * (COLUMNS - len(part))
        tiles += [_written(written[i], readings[i] if readings else None) for i in part]
    draw_page(path, title, [("print, and below it what was written", tiles)])


def _written(picture: np.ndarray, reading: Reading | None) -> Any:
    from components.registry.predict.sheet import Tile

    if reading is None or reading.label is None:
        return Tile(255 - picture[:, :, None], ("not judged",))
    words = f"read as {code_point(reading.label)} {reading.probability:.2f}" if reading.differs else "read as written"
    return Tile(255 - picture[:, :, None], (words,), reading.differs)


def code_point(character: str) -> str:
    """Return the character if the sheet's font surely has it, else its code point."""
    return character if character.isascii() else " ".join(f"U+{ord(letter):04X}" for letter in character)
