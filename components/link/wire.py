"""``python -m components.link.wire <run>``: make the folders where the run's pointer files stand.

DVC depends on the folder ``outputs/links/<run>/<stage>`` whether the run has links or not, so each holds one file that always
exists. Pointers whose link has left params.yaml are removed: the folder's hash must not depend on the past.
"""

from components.runtime import argument, run_command
from components.settings import Workspace

STAGES = ("train", "evaluate")


def main() -> None:
    run = argument("python -m components.link.wire <run>")
    workspace = Workspace()
    for stage in STAGES:
        folder = workspace.folder / "outputs" / "links" / run / stage
        folder.mkdir(parents=True, exist_ok=True)
        wanted = {"run", *workspace.links(run, stage)}
        for pointer in folder.iterdir():
            if pointer.name not in wanted:
                pointer.unlink()
        (folder / "run").write_text(f"{run}\n", encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
