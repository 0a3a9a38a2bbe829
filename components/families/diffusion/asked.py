"""Is what was asked for there? Samples for captions, read by a linked CLIP and searched by a linked detector.

Both also judge the real images of the same captions: what they do not see there, they cannot see in a sample.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.recipe import Metric, Report
from components.core.settings import RunSettings
from components.families.diffusion.samples import Objects, RealImages, sample_arguments
from components.families.diffusion.scores import sampled_index
from components.families.diffusion.settings import Conditions
from components.metrics.caption_sheet import caption_sheet
from components.metrics.retrieval import chance_of_recall, first_ranks
from components.metrics.samples.generated import check_judge
from components.serving.loading import load_served

if TYPE_CHECKING:
    from components.core.artifact import Artifact
    from components.families.diffusion.evaluation import Settings

JUDGES = {"clip": ("clip", "limoe"), "detector": ("detr",)}  # role -> recipes
ROWS, DRAWN = 8, 4  # of the sheet of captions: captions, samples of each


def check_judges(conditions: Conditions, linked: dict[str, RunSettings]) -> None:
    """ValueError for a linked judge of captions that is none, or of a run that is not asked by captions."""
    for role in (role for role in JUDGES if role in linked):
        where = f"evaluate: the link {role} leads to {linked[role].name!r}"
        if linked[role].recipe not in JUDGES[role]:
            raise ValueError(f"{where}, a {linked[role].recipe} run; {' or '.join(JUDGES[role])} is expected")
        if not conditions.captions:
            raise ValueError(f"{where}, which judges captions; this run has none (train.conditions.text without a template)")


def sheet_of_captions(served: Any, real: RealImages, settings: Settings) -> np.ndarray:
    """Draw captions, evenly spaced: the real image, framed, and samples beside it."""
    index = np.unique(np.linspace(0, len(real.images) - 1, min(ROWS, len(real.images))).astype(int))
    repeated = np.repeat(index, DRAWN)
    samples = served.sample(real.inputs(repeated), **sample_arguments(served, settings))
    samples = samples.reshape(len(index), DRAWN, *samples.shape[1:])
    pictures = np.concatenate([real.images[index][:, None], samples], axis=1)
    framed = np.zeros(pictures.shape[:2], bool)
    framed[:, 0] = True
    return caption_sheet([real.texts[k] for k in index], pictures, framed)


def add_asked(report: Report, served: Any, real: RealImages, settings: Settings, links: dict[str, Artifact]) -> None:
    """Draw ``samples`` images for captions of the split, and add what the linked judges find in them and in the real ones."""
    index = sampled_index(real, settings)
    images = {"": served.sample(real.inputs(index), **sample_arguments(served, settings)), "_real": real.images[index]}
    if "detector" in links and not real.objects:
        raise ValueError("evaluate: the link detector needs a view with boxes, which say what a caption asks for")
    for role in (role for role in JUDGES if role in links):
        judge, name = load_served(links[role].path), links[role].path.name
        check_judge(real.facts, judge.facts)
        rows = []
        for suffix, pixels in images.items():
            if role == "clip":
                figures = read(judge, pixels, [real.texts[k] for k in index])
            else:
                figures = searched(judge, pixels, [real.objects[k] for k in index], settings.threshold)
            named = {f"{key}{suffix}_{name}": value for key, value in figures.items() if key != "chance"}
            report.metrics.update({key: Metric(value, "max") for key, value in named.items()})
            rows.append({"images": "real" if suffix else "samples", "number": len(pixels)} | figures)
        report.tables[f"asked_{role}"] = rows


def read(clip: Any, images: np.ndarray, texts: list[str]) -> dict[str, float]:
    """Return the mean cosine of images uint8 [N, H, W, C] and their texts, and the share whose own text is the nearest.

    The choice is among the different texts of all images; ``chance``: that share of an order by chance.
    """
    different = list(dict.fromkeys(texts))
    own = np.array([different.index(text) for text in texts])
    vectors, words = clip.embed_image(images), clip.embed_text(different)
    relevant = [np.array([k]) for k in own]
    nearest = first_ranks(vectors, words, relevant) == 0
    cosine = float((vectors * words[own]).sum(1).mean())
    return {
        "caption_cosine": cosine,
        "caption_read": float(nearest.mean()),
        "chance": chance_of_recall(relevant, len(words), 1),
    }


def searched(detector: Any, images: np.ndarray, asked: list[Objects], threshold: float) -> dict[str, float]:
    """Return what a detector finds of the ``asked`` objects in images uint8 [N, H, W, C].

    ``objects_found``: the share of the asked ones; ``objects_asked_for``: the share of the found ones that were asked for;
    ``all_objects``: of images with exactly what was asked for; ``places_right``: of those of two different objects, found
    both, the share that stand to each other as asked, along the axis on which they are farther apart.
    """
    found = detections(detector, images, threshold)
    common = [sum((Counter(one.names) & Counter(two.names)).values()) for one, two in zip(asked, found, strict=True)]
    exact = [Counter(one.names) == Counter(two.names) for one, two in zip(asked, found, strict=True)]
    pairs = [
        (one, two)
        for one, two, same in zip(asked, found, exact, strict=True)
        if same and len(set(one.names)) == 2 == len(one.names)
    ]
    figures = {
        "objects_found": sum(common) / max(1, sum(len(one.names) for one in asked)),
        "objects_asked_for": sum(common) / max(1, sum(len(two.names) for two in found)),
        "all_objects": float(np.mean(exact)),
    }
    return figures | ({"places_right": float(np.mean([stands_as(one, two) for one, two in pairs]))} if pairs else {})


def detections(detector: Any, images: np.ndarray, threshold: float) -> list[Objects]:
    """Return the objects of each image whose score reaches the threshold."""
    answer = detector.predict({"image": images})
    height, width = images.shape[1:3]
    centres = (answer["boxes"][..., :2] + answer["boxes"][..., 2:]) / 2 / np.array([width, height])
    sure = answer["scores"] >= threshold
    rows = zip(answer["class_names"], centres, sure, strict=True)
    return [Objects(tuple(names[mask].tolist()), places[mask]) for names, places, mask in rows]


def stands_as(asked: Objects, found: Objects) -> bool:
    """Whether the two different objects of ``found`` stand to each other as those of ``asked``."""
    first, second = asked.names
    wanted = asked.centres[1] - asked.centres[0]
    there = found.centres[found.names.index(second)] - found.centres[found.names.index(first)]
    axis = int(np.abs(wanted).argmax())
    return bool(np.abs(there).argmax() == axis and there[axis] * wanted[axis] > 0)
