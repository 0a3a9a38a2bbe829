"""Stage ``export``: write graphs, served code and signature; fail if a graph differs from torch."""

import shutil
from pathlib import Path
from typing import Any

import torch

from components.core.artifact import Artifact, follow_links
from components.core.batch import Batch
from components.core.config.references import DETECTOR
from components.core.files import fresh_folder, write_arrays, write_json
from components.core.recipe import Exportable, Graph
from components.core.runtime import set_threads
from components.core.settings import Workspace
from components.stages.assemble import trained_recipe
from components.stages.augment.policy.policies import ViewSettings
from components.stages.export import agreement
from components.stages.export.detector import REFERENCE, SCORE, check_rejections, with_detector
from components.stages.export.onnx_graph import (
    CHECKED_BATCHES,
    PairedOutputs,
    largest_differences,
    largest_values,
    paired_outputs,
    write_graph,
)
from components.stages.export.pictures import with_preparation, write_golden
from components.stages.export.quantisable import check_quantisable
from components.stages.export.saliency import write_saliency
from components.stages.export.served_code import write_code
from components.stages.export.texts import write_tokeniser
from components.stages.views.view import View


def run(workspace: Workspace, name: str) -> None:
    """Export the run's final weights; a failure leaves the previous export."""
    settings = workspace.run(name)
    threads = settings.train.threads
    set_threads(threads)
    torch.manual_seed(settings.train.seed)
    recipe, views = trained_recipe(workspace, settings)
    links = follow_links(workspace, name, "export")
    quantised = getattr(settings.export, "quantise", None)
    check_quantisable(settings.export, links, views["main"].facts.counts, f"runs.{name}.export")
    detector = links.pop(DETECTOR, None)  # it becomes a part of the graph
    exportable: Exportable = with_detector(recipe.exportable(), detector.path) if detector else recipe.exportable()
    prepared: ViewSettings = workspace.view(settings.view)
    exportable = with_preparation(exportable, prepared.preparation)
    batches = validation_batches(views["main"])
    samples = workspace.folder / "outputs" / "view_report" / settings.view / "samples"
    out = workspace.folder / "outputs" / "export" / settings.name
    with fresh_folder(out) as folder:
        parity = write_graphs(exportable, batches, folder, threads)
        if quantised:
            from components.stages.export.quantise import quantise

            quantise(exportable, settings.export, views["main"], folder, seed=settings.train.seed, threads=threads)
            figures = agreement.write(settings.export, views["main"], folder, threads)
        write_rest(exportable, batches[0], folder)
        write_code(settings.recipe, folder)
        write_tokeniser(exportable, views["main"], folder)
        copy_linked(links, folder)
        if detector:
            shutil.copyfile(detector.path / REFERENCE, folder / REFERENCE)
        write_saliency(recipe, views["main"], folder)
        write_json(folder / "parity.json", parity)
        left_out = write_golden(folder, samples, views["main"])
    # The training is in dvc.lock, else this stage would not run: its checkpoints are no longer needed.
    shutil.rmtree(workspace.checkpoints(settings.name), ignore_errors=True)
    summary = ", ".join(f"{name} {entry['max_abs_difference']:.2g} of {entry['bound']:.2g}" for name, entry in parity.items())
    print(f"{settings.name}: ONNX Runtime against torch, largest difference: {summary}")
    if quantised:
        print(f"{settings.name}: {agreement.in_words(figures)}")
    if left_out:
        print(f"{settings.name}: {left_out}")


def validation_batches(view: View) -> list[Batch]:
    """Return real images for tracing and the check: a batch per size, from validation, or else test, or else train."""
    split = next(name for name in ("validation", "test", "train") if name in view.facts.counts)
    source = view.batches(split, max(CHECKED_BATCHES) + 1)
    first = next(iter(source))
    # Tracing uses two images: a batch size of one would be specialised. Small views repeat their images.
    sizes = (2, *CHECKED_BATCHES)
    return [{key: _take(tensor, size) for key, tensor in first.items()} for size in sizes]


def _take(tensor: torch.Tensor, size: int) -> torch.Tensor:
    return tensor[torch.arange(size) % len(tensor)]


def write_graphs(exportable: Exportable, batches: list[Batch], out: Path, threads: int) -> dict[str, Any]:
    """Write every graph and return its differences from torch; ValueError if one exceeds a bound of the graph."""
    parity: dict[str, Any] = {}
    for name, graph in exportable.graphs.items():
        path = out / f"{name}.onnx"
        write_graph(graph, batches[0], path)
        outputs = list(paired_outputs(graph, path, batches[1:], threads))
        parity |= compare(name, graph, outputs)
        if SCORE in graph.outputs:
            check_rejections(name, graph, outputs)
    return parity


def compare(name: str, graph: Graph, outputs: list[PairedOutputs]) -> dict[str, dict[str, Any]]:
    """Return the largest difference of the graph's outputs by its name, and of outputs with their own bound by theirs.

    ValueError if a difference exceeds its bound. The graph's bound is a share of an output's largest value, if that is above 1.
    """
    parity: dict[str, dict[str, Any]] = {}
    largest = largest_values(outputs)
    for output, worst in largest_differences(outputs).items():
        own = output in graph.bounds
        bound = graph.bounds[output] if own else float(f"{graph.bound * max(1.0, largest[output]):.3g}")
        if worst > bound:
            fault = f"{name}.onnx differs from torch by {worst:.3g} in {output}"
            raise ValueError(f"{fault}, the bound is {bound:g}: nothing is exported")
        entry = parity.setdefault(output if own else name, {"bound": bound, "batches": list(CHECKED_BATCHES)})
        entry["bound"] = max(bound, entry["bound"])
        entry["max_abs_difference"] = max(worst, entry.get("max_abs_difference", 0.0))
    return parity


def write_rest(exportable: Exportable, batch: Batch, out: Path) -> None:
    """Write facts, signature and example for the served code and the registry, and weights if it samples."""
    write_json(out / "facts.json", exportable.facts)
    write_json(out / "signature.json", exportable.signature)
    write_arrays(out / "example.npz", exportable.example(batch))
    if exportable.weights:
        from safetensors.torch import save_file

        save_file({name: tensor.contiguous() for name, tensor in exportable.weights.items()}, out / "weights.safetensors")


def copy_linked(links: dict[str, Artifact], out: Path) -> None:
    """Copy the linked exports that the served code uses to ``linked/<role>``."""
    for role, link in links.items():
        shutil.copytree(link.path, out / "linked" / role)
