"""``make bench``: speed as ratios, each measured in one run with both sides taking turns. It gates nothing."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")


sys.path.insert(0, str(Path(__file__).parents[1]))


def ratio(
    theirs: Callable[[], object], ours: Callable[[], object], rounds: int, of: Callable[[list[float]], float] = median
) -> tuple[float, float, float]:
    """(seconds theirs, seconds ours, theirs / ours): medians of ``rounds`` turns, or another figure; above 1 ours is faster."""
    times: dict[str, list[float]] = {"theirs": [], "ours": []}
    for turn in range(rounds + 1):
        for name, work in (("theirs", theirs), ("ours", ours)):
            start = time.perf_counter()
            work()
            if turn:
                times[name].append(time.perf_counter() - start)
    first, second = of(times["theirs"]), of(times["ours"])
    return first, second, first / second


def main() -> None:
    from augmentation import bench_augmentation
    from clip import bench_clip
    from detection import bench_detection
    from detr import bench_detr
    from limoe import bench_limoe
    from munit import bench_munit
    from noop import bench_noop
    from pixelcnn import bench_pixelcnn
    from planning import bench_planning
    from recipes import bench_recipes
    from rejecting import bench_rejecting
    from stargan import bench_stargan
    from stargan_v2 import bench_stargan_v2
    from stylegan2 import bench_stylegan2
    from training import bench_training

    benches = {
        "noop": bench_noop,
        "planning": bench_planning,
        "augmentation": bench_augmentation,
        "training": bench_training,
        "detection": bench_detection,
        "detr": bench_detr,
        "recipes": bench_recipes,
        "rejecting": bench_rejecting,
        "pixelcnn": bench_pixelcnn,
        "munit": bench_munit,
        "clip": bench_clip,
        "limoe": bench_limoe,
        "stargan": bench_stargan,
        "stargan_v2": bench_stargan_v2,
        "stylegan2": bench_stylegan2,
    }
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *benches], help="which (all)")
    for name in parser.parse_args().names or benches:
        for line in benches[name](ratio):
            print(f"{name:13} {line}", flush=True)


if __name__ == "__main__":
    main()
