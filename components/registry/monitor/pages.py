"""``python -m components.registry.monitor.pages <view> <split> <folder> [--count N]``: write a view's images as PNG."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from components.command import run_command
from components.core.config.strict import check_name
from components.core.settings import Workspace
from components.stages.views.view import open_view

SPLITS = ("train", "validation", "test", "all")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m components.registry.monitor.pages", description=__doc__)
    parser.add_argument("view", type=check_name)
    parser.add_argument("split", choices=SPLITS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, help="number of images, evenly spread over the split (default: all)")
    args = parser.parse_args()
    number = write_pages(Workspace().folder / "outputs" / "views" / args.view, args.split, args.folder, args.count)
    print(f"{number} images of {args.view} in {args.folder}")


def write_pages(view: Path, split: str, folder: Path, count: int | None) -> int:
    """Write ``<split>-<index>.png`` for ``count`` images; return their number. ValueError for an unknown split."""
    content = open_view(view)
    splits = list(content.facts.counts) if split == "all" else [split]
    arrays = {name: content.split(name).images for name in splits}
    places = [(name, index) for name in splits for index in range(len(arrays[name]))]
    folder.mkdir(parents=True, exist_ok=True)
    chosen = np.linspace(0, len(places) - 1, len(places) if count is None else min(count, len(places))).round().astype(int)
    for name, index in (places[place] for place in chosen):
        pixels = arrays[name][index]
        Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(folder / f"{name}-{index:06d}.png")
    return len(chosen)


if __name__ == "__main__":
    run_command(main)
