"""Plots of the scores: histograms and ROC curves per view, and AUROC of all detectors and views, as PNG without timestamps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.metrics.detection import auroc, roc_curve
from components.stages.detect.figures import Row, Scores

BINS = 50
SHOWN = (0.001, 0.999)  # quantiles of the scores that bound a histogram, against outliers
COLUMNS = 4  # histograms side by side
BLUE, ORANGE = "#3b6ea8", "#e08a1e"


def draw(folder: Path, scores: Scores, compact: list[Row]) -> list[Path]:
    """Draw all plots into ``folder`` and return their paths."""
    paths = [folder / "auroc.png"]
    draw_overview(paths[0], compact, len(scores.views))
    for name in scores.views:
        paths += [folder / f"histograms_{name}.png", folder / f"roc_{name}.png"]
        draw_histograms(paths[-2], scores, name)
        draw_roc(paths[-1], scores, name)
    return paths


def _figure(width: float, height: float) -> Any:
    """Create an empty figure in inches of 100 pixels, without a window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100)
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Software": None})


def draw_histograms(path: Path, scores: Scores, view: str) -> None:
    """Draw a panel per detector: normalised histograms of the run's own view and of ``view``, and the threshold."""
    detectors = scores.detectors()
    columns = min(COLUMNS, len(detectors))
    rows = -(-len(detectors) // columns)
    figure = _figure(3.5 * columns, 2.3 * rows + 0.6)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, detector in zip(grid, detectors, strict=False):
        outside = scores.views[view].scores[detector]
        _draw_panel(axes, scores.inside[detector], outside, scores.thresholds[detector])
        axes.set_title(f"{detector}, AUROC {auroc(scores.inside[detector], outside):.3f}", fontsize=9)
    for axes in grid[len(detectors) :]:
        axes.set_visible(False)
    top = 1 - 0.45 / figure.get_figheight()
    labels = {"the run's own images": BLUE, f"{view} ({scores.views[view].kind})": ORANGE}
    handles = [_swatch(color, label) for label, color in labels.items()]
    handles.append(_line(f"threshold: {scores.tpr:.0%} of the validation images are above"))
    figure.legend(handles=handles, loc="upper center", ncols=3, fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, top))
    _save(figure, path)


def _swatch(color: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=color, alpha=0.6, label=label)


def _line(label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color="black", linestyle="--", linewidth=1, label=label)


def _draw_panel(axes: Any, inside: np.ndarray, outside: np.ndarray, threshold: float) -> None:
    """Draw one panel; scores outside its range are counted in the outermost bins."""
    everything = np.concatenate([inside, outside])
    low, high = np.quantile(everything, SHOWN)
    low, high = min(low, threshold), max(high, threshold)
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    for values, color in ((inside, BLUE), (outside, ORANGE)):
        counts, _ = np.histogram(values.clip(edges[0], edges[-1]), edges)
        axes.stairs(counts / len(values), edges, fill=True, color=color, alpha=0.6)
    axes.axvline(threshold, color="black", linestyle="--", linewidth=1)
    axes.locator_params(axis="x", nbins=4)  # more numbers with many digits would overlap
    axes.tick_params(labelsize=7)
    axes.set_yticks([])


def draw_roc(path: Path, scores: Scores, view: str) -> None:
    """Draw the ROC curves of all detectors, the run's own images as positive, in order of AUROC."""
    outside = scores.views[view].scores
    areas = {detector: auroc(scores.inside[detector], outside[detector]) for detector in scores.detectors()}
    figure = _figure(7.5, 5.2)
    axes = figure.subplots()
    colors = _colors(areas)
    for detector in sorted(areas, key=lambda name: -areas[name]):
        false, true = roc_curve(scores.inside[detector], outside[detector])
        axes.plot(false, true, label=f"{areas[detector]:.3f}  {detector}", linewidth=1.3, **colors[detector])
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1.005),
        xlabel=f"share of {view} taken for the run's own",
        ylabel="share of the run's own images recognised",
    )
    axes.legend(title="AUROC", loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)
    axes.set_aspect("equal")
    figure.tight_layout()
    _save(figure, path)


def _colors(detectors: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Assign each detector a colour and a line style, the same in the plots of all views."""
    return {name: {"color": f"C{i % 10}", "linestyle": ("-", "--")[i // 10 % 2]} for i, name in enumerate(detectors)}


def draw_overview(path: Path, compact: list[Row], num_views: int) -> None:
    """Draw AUROC as an annotated heat map: a row per detector, a column per view, then a line and the means."""
    views = list(compact[0])[1:]
    values = np.array([[row[view] for view in views] for row in compact])
    figure = _figure(0.85 * len(views) + 2.6, 0.34 * len(compact) + 1.6)
    axes = figure.subplots()
    axes.imshow(values, vmin=0.5, vmax=1, cmap="viridis", aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        color = "white" if value < 0.8 else "black"
        axes.text(column, row, f"{value:.3f}", ha="center", va="center", fontsize=8, color=color)
    axes.axvline(num_views - 0.5, color="white", linewidth=3)
    axes.set_xticks(range(len(views)), views, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(compact)), [row["detector"] for row in compact], fontsize=8)
    axes.set_title("AUROC, and its mean over near and far views", fontsize=10)
    figure.tight_layout()
    _save(figure, path)
