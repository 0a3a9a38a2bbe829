"""A monitor's report for readers: one line, and a page in Markdown for Prefect's UI. Names of images are only text in it."""

from __future__ import annotations

from flows.artifacts import BIGGEST, data_uri
from flows.watch import Report


def line(report: Report) -> str:
    """What was found, in one line."""
    found = report.content
    verdict = "drift" if report.drift else "no drift"
    figures = f"{found['rejected']:.1%} rejected ({found['rejected_expected']:.1%} expected), p {found['p']:.2g}"
    return f"{verdict} in {found['images']} new images: {figures}, stability index {found['psi']:.3f}"


def page(report: Report) -> str:
    """Figures, pictures, names of the strangest and of broken images."""
    found = report.content
    rows = {
        "champion": f"version {found['version']}, {found['detector']}, threshold {found['threshold']:.4g}",
        "images": f"{found['images']} new, {found['reference_images']} of validation",
        "rejected": f"{found['rejected']:.2%}; {found['rejected_expected']:.2%} expected (p {found['p_rejected']:.2g})",
        "scores, Kolmogorov-Smirnov": f"p {found['p_scores']:.2g}",
        "both": f"p {found['p']:.2g}; alarm below {found['alarm']:g}",
        "stability index": f"{found['psi']:.3f}; {found['psi_expected']:.3f} without drift, {found['psi_level']:g} counts",
        "images prepared by": found["prepared_by"],
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])
    pictures = [report.folder / name for name in ("histogram.png", "strangest.png")]
    shown = [f"![{path.stem}]({data_uri(path)})" for path in pictures if path.is_file() and path.stat().st_size <= BIGGEST]
    strangest, broken = (_listed(title, found[key]) for title, key in (("strangest", "strangest"), ("broken", "broken_names")))
    title = f"# {found['name']}, report {found['number']}: {line(report)}"
    return "\n\n".join(filter(None, [title, table, *shown, strangest, broken, f"`{report.folder}`"]))


def _listed(title: str, names: list[str]) -> str:
    """The names, indented: in such a block Markdown knows no markup. They hold no line breaks."""
    return "\n".join([f"{title}:", "", *(f"    {name}" for name in names)]) if names else ""
