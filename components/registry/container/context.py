"""Write the container context of a model: Dockerfile, requirements.txt, the export, and the code of its server."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from components.core.files import write_json, write_text
from components.core.settings import ROOT
from components.registry.container.pins import pins
from components.registry.predict.model import Model
from components.serving.float_graph import FLOAT
from components.stages.code.closure import COMPONENTS, closure

SERVER = "registry/container/server.py"  # below components/
MODULE = "components.registry.container.server"
PORT = 8080

DOCKERFILE = """\
# {name}, {origin}. Build: docker build --tag {tag} . Run: docker run --publish {port}:{port} {tag}
FROM python:{python}-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --requirement requirements.txt
COPY components components
COPY model model
COPY model.json .
USER 65534:65534
EXPOSE {port}
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}/ping')"]
CMD ["python", "-m", "{module}", "model", "--host", "0.0.0.0", "--port", "{port}"]
"""


def write_context(model: Model, folder: Path, lock: Path = ROOT / "requirements.lock") -> list[str]:
    """Write the context to ``folder``, which is empty, and return its requirements."""
    shutil.copytree(model.folder, folder / "model", ignore=shutil.ignore_patterns("__pycache__", FLOAT))
    for file in closure([SERVER]):
        (folder / "components" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(COMPONENTS / file, folder / "components" / file)
    requirements = pins(model.folder, lock)
    write_text(folder / "requirements.txt", "".join(f"{line}\n" for line in requirements))
    write_json(folder / "model.json", {"name": model.name, "version": model.origin})
    write_text(folder / "Dockerfile", dockerfile(model))
    return requirements


def dockerfile(model: Model) -> str:
    """Return the text of the Dockerfile, for this interpreter's version of Python."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    tag = model.name.lower()
    return DOCKERFILE.format(name=model.name, origin=model.origin, tag=tag, python=python, port=PORT, module=MODULE)


def golden_pictures(folder: Path) -> list[Path]:
    """Return the encoded golden pictures of the context's model; empty if its export has none."""
    file = folder / "model" / "golden.json"
    if not file.is_file():
        return []
    content = json.loads(file.read_text(encoding="utf-8"))
    return [folder / "model" / "golden" / entry["file"] for entry in content["pictures"]]
