"""What tests of several rooms need: commands, a copy of the project with a toy recipe, small views."""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

from flows.dvc import merge_driver

ROOT = Path(__file__).resolve().parent.parent
TOY = Path(__file__).parent / "toy"


def environment(**extra: str) -> dict[str, str]:
    """The environment of a stage: the venv's bin first, one thread."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))}
    return clean | {"PATH": path, "OMP_NUM_THREADS": "1"} | extra


def run(*command: str, cwd: Path, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; a failure shows its output."""
    done = subprocess.run(command, cwd=cwd, env=environment(**extra), capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{command} -> {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


def free_ports(number: int) -> list[int]:
    """Ports that nobody uses now, below those that outgoing connections take: a server may need a minute to come to them."""
    found: set[int] = set()
    while len(found) < number:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.add(port)
    return sorted(found)


def make_project(folder: Path, params: dict) -> Path:
    """A clone-like copy of the code with the toy recipe in its catalogues, ``params`` as params.yaml, git and DVC ready."""
    folder.mkdir(parents=True)
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("components", "flows"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("dvc.yaml", ".dvcignore", ".gitattributes", ".gitignore", "requirements.lock"):
        shutil.copyfile(ROOT / name, folder / name)
    add_entry(folder / "components/families/__init__.py", '"toy": "components.families.toy.recipe:Toy"')
    add_entry(folder / "components/networks/__init__.py", '"toy_coder": "components.networks.toy_coder:Coder"')
    (folder / "components/families/toy").mkdir()
    for name in ("__init__.py", "recipe.py", "evaluation.py", "served.py"):
        shutil.copyfile(TOY / name, folder / "components/families/toy" / name)
    shutil.copyfile(TOY / "model.py", folder / "components/networks/toy_coder.py")
    write_params(folder, params)
    run("git", "init", "--quiet", cwd=folder)
    run("dvc", "init", "--quiet", cwd=folder)
    merge_driver.install(folder)  # as the first flow run does
    return folder


def add_entry(catalogue: Path, entry: str) -> None:
    text = catalogue.read_text(encoding="utf-8")
    assert text.rstrip().endswith("}")
    catalogue.write_text(text.rstrip()[:-1] + f"    {entry},\n}}\n", encoding="utf-8")


def write_params(folder: Path, params: dict) -> None:
    """YAML is a superset of JSON."""
    (folder / "params.yaml").write_text(json.dumps(params, indent=1), encoding="utf-8")


def toy_params(**train: object) -> dict:
    """The smallest params.yaml; blocks `detect` and `ood` are left out, as most users will."""
    view = {"dataset": "digits", "image_size": 8, "channels": 1, "split": {"by": "image", "validation": 0.1, "test": 0.2}}
    block = {
        "seed": 0,
        "threads": 1,
        "precision": "fp32",
        "steps": 30,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "ema_decay": 0.9,
    }
    return {
        "root": ".",
        "seed": 0,
        "pipeline": {"runs": ["toy"]},
        "datasets": {"digits": {"source": "digits", "path": "components/stages/fetch/built_in.txt"}},
        "views": {"plain": view, "turned": view | {"augment": [{"Affine": {"rotate": [-10, 10], "p": 1.0}}]}},
        "runs": {
            "toy": {
                "recipe": "toy",
                "view": "turned",
                "model": {"name": "toy_coder", "width": 4},
                "train": block | train,
                "export": {},
                "evaluate": {},
                "promote": {},
            }
        },
        "links": {"toy_other": {"run": "toy", "stage": "train", "role": "other", "from": "outputs/views/plain"}},
    }


def small_classifier(view: str) -> dict:
    """The block of a run that is trained in a second."""
    train = {"seed": 0, "threads": 1, "precision": "fp32", "steps": 4, "batch_size": 8}
    train |= {"optimizer": "sgd", "learning_rate": 0.1}
    blocks = {"model": {"name": "resnet18", "width": 8}, "train": train, "export": {}, "evaluate": {}, "promote": {}}
    return {"recipe": "classification", "view": view, **blocks}


def add_own(params: dict, **promote: object) -> dict:
    """``params`` with a classifier of the user's own folder ``pictures``: run "own", view and dataset "mine"."""
    split = {"by": "image", "validation": 0.2, "test": 0.2}
    params["datasets"]["mine"] = {"source": "folder", "path": "pictures"}
    params["views"]["mine"] = {"dataset": "mine", "image_size": 16, "channels": 3, "split": split}
    params["runs"]["own"] = small_classifier("mine") | {"promote": promote}
    return params


def run_settings(model: str, options: dict, **train: object):
    """A classification run's settings, parsed, with a small training."""
    from components.core.settings import ModelSettings, RunSettings
    from components.families.classification.evaluation import Settings as EvaluateSettings
    from components.families.classification.recipe import ExportSettings, TrainSettings
    from components.stages.train.settings import LoopSettings

    class Train(TrainSettings, LoopSettings):
        pass

    block = {"seed": 0, "threads": 1, "precision": "fp32", "steps": 10, "batch_size": 8, "optimizer": "adamw"}
    return RunSettings(
        name="test",
        recipe="classification",
        view="view",
        model=ModelSettings(model, options),
        train=Train(**block | {"learning_rate": 1e-3} | train),
        export=ExportSettings(),
        evaluate=EvaluateSettings(),
    )


def write_view(
    folder: Path, *, images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], policy: dict | None = None
) -> Path:
    """A view on disk with the same images in every split: uint8 [N, H, W, C], int64 [N]."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation", "test"):
        np.save(folder / f"{split}.image.npy", images)
        np.save(folder / f"{split}.label.npy", labels)
    scaled = images / 127.5 - 1
    facts = {
        "name": folder.name,
        "image_size": images.shape[1],
        "channels": images.shape[3],
        "classes": {"label": list(classes)},
        "mean": scaled.mean((0, 1, 2)).tolist(),
        "std": scaled.std((0, 1, 2)).tolist(),
        "counts": {split: len(images) for split in ("train", "validation", "test")},
        "digest": "0" * 64,
    }
    (folder / "view.json").write_text(json.dumps(facts))
    (folder / "policy.json").write_text(json.dumps(policy))
    return folder
