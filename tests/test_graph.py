"""dvc.yaml against the code: a stage's deps are exactly the files that it runs through."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from components.core.settings import ROOT
from components.detectors import DETECTORS
from components.families import RECIPES
from components.networks import MODELS
from components.stages.code.closure import FAMILIES, closure, shipped_files
from components.stages.fetch import SOURCES

STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
ENTRIES = {
    "augment": ["components/stages/augment/__main__.py"],
    "wire": ["components/stages/link/wire.py"],
    "link": ["components/stages/link/__main__.py"],
    "train": ["components/stages/train/__main__.py"],
    "detect": ["components/stages/detect/__main__.py"],
    "export": ["components/stages/export/__main__.py"],
    "evaluate": ["components/stages/evaluate/__main__.py"],
    "ood": ["components/stages/detect/outside.py"],
    "ood_table": ["components/stages/detect/table.py"],
}
# The four catalogues: which entry a run uses stands in params.yaml, so a new entry makes nothing stale.
SEAMS = {"components.stages.fetch", "components.families", "components.networks", "components.detectors"}
# What a recipe imports in these methods is the business of the stages that call them.
CALLED_BY = {"evaluate": {"evaluate"}, "detection": {"detect", "ood"}}
# They record what happened and decide no byte of any out.
OBSERVERS = ("components.registry.tracking", "components.registry.model_registry", "components.registry.record")


@cache
def module_file(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def imported_modules(path: Path, *, skip_functions: frozenset[str], lazy: bool) -> set[str]:
    """Modules of ours that the file imports; not those for type checkers, nor those inside ``skip_functions``."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and re.search("TYPE_CHECKING|__name__", ast.dump(node.test)):
            return
        if isinstance(node, ast.FunctionDef) and (node.name in skip_functions or not lazy):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            package = ".".join(path.relative_to(ROOT).parts[: -node.level]) if node.level else ""
            module = ".".join(part for part in (package, node.module) if part)
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return {name for name in found if name.split(".")[0] == "components" and module_file(name)}


def needed_files(entries: list[str], stage: str) -> set[str]:
    """Every file with code that the stage may run, from its entry files on."""
    todo, seen = [ROOT / entry for entry in entries], set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        # settings.py imports a block's class when that block is read: the stage that lives by it imports the class itself.
        skip = frozenset(method for method, stages in CALLED_BY.items() if stage not in stages)
        modules = imported_modules(path, skip_functions=skip, lazy=path.name != "settings.py")
        todo += [module_file(module) for module in modules - SEAMS if not module.startswith(OBSERVERS)]
    files = {path.relative_to(ROOT).as_posix() for path in seen}
    return {file for file in files if not is_only_docstring(ROOT / file)}


@cache
def is_only_docstring(path: Path) -> bool:
    return all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text(encoding="utf-8")).body)


def code_deps(stage: str) -> list[str]:
    deps = [dep for dep in STAGES[stage]["do"].get("deps", []) if dep.startswith("${root}/")]
    filled = [dep.removeprefix("${root}/") for dep in deps]
    for dep in filled:
        assert (ROOT / dep).exists(), f"{stage}: {dep} does not exist"
    return filled


def recipe_files(stage: str, recipe: str, model: str) -> list[str]:
    detectors = [module_file(target.partition(":")[0]).relative_to(ROOT).as_posix() for target in DETECTORS.values()]
    recipe_file, model_file = f"components/families/{recipe}.py", f"components/networks/{model}.py"
    own = {
        "detect": [recipe_file, model_file, *detectors],
        "ood": [recipe_file, model_file, *detectors],
        "train": [recipe_file, model_file],
        "export": [recipe_file, model_file],
        "evaluate": [recipe_file],
    }
    return own.get(stage, [])


@cache
def made_of(recipe: str, model: str) -> dict[str, list[str]]:
    own = [f"recipes/{recipe}.py", f"models/{model}.py"]
    return {
        "trained": closure(own, skip=("evaluate",)),
        "evaluated": closure(own),
        "exported": [f"recipes/served/{recipe}.py", *shipped_files(recipe, model)],
    }


def wired(stage: str, recipe: str, model: str) -> set[str]:
    """The files whose digests reach the stage through ``wire``'s outs."""
    found = made_of(recipe, model)
    deps = [Path(dep) for dep in STAGES[stage]["do"].get("deps", []) if dep.startswith("outputs/code/")]
    return {f"components/{file}" for dep in deps for file in found[dep.stem]}


ONE_RECIPE, ONE_MODEL = next(iter(RECIPES)), next(iter(MODELS))


@pytest.mark.parametrize(
    ("recipe", "model"), [*((recipe, ONE_MODEL) for recipe in RECIPES), *((ONE_RECIPE, model) for model in MODELS)]
)
@pytest.mark.parametrize("stage", ENTRIES)
def test_deps_are_what_the_stage_runs_through(stage, recipe, model):
    needed = needed_files(ENTRIES[stage] + recipe_files(stage, recipe, model), stage)
    deps = code_deps(stage)
    missing = {file for file in needed if not any(file == dep or file.startswith(dep + "/") for dep in deps)}
    missing -= wired(stage, recipe, model)
    assert not missing, f"{stage} runs through files that are no dep in dvc.yaml"


@pytest.mark.parametrize("stage", ENTRIES)
def test_no_dep_is_idle(stage):
    """Some recipe's run goes through each of them."""
    needed = set().union(*(needed_files(ENTRIES[stage] + recipe_files(stage, recipe, ONE_MODEL), stage) for recipe in RECIPES))
    if stage == "wire":  # it reads what it takes the digests of
        needed |= {f"components/{family}/" for family in FAMILIES}
    idle = [dep for dep in code_deps(stage) if not any(file == dep or file.startswith(dep + "/") for file in needed)]
    assert not idle, f"{stage} depends on files that it never runs through"


def test_the_closure_follows_relative_and_lazy_imports_and_leaves_out_what_only_an_evaluation_needs():
    found = closure(["models/unet.py", "diffusion/samplers.py"])
    assert {"models/unet_stages.py", "models/unet_blocks.py", "models/published.py", "diffusion/schedules.py"} <= set(found)
    assert not [file for file in found if file.split("/")[0] not in FAMILIES or file.endswith("models/__init__.py")]
    assert "models/pixelcnn_cache.py" in closure(["models/pixelcnn_sampling.py"])


@pytest.mark.parametrize("source", SOURCES)
def test_a_dataset_depends_on_its_source_by_path_and_on_what_all_share(source):
    own = module_file(SOURCES[source].partition(":")[0]).relative_to(ROOT).as_posix()
    needed = needed_files(["components/stages/fetch/__main__.py", own], "fetch")
    shared = code_deps("fetch")
    path = own if Path(own).parent.name == "fetch" else Path(own).parent.as_posix()  # what Workspace.dataset demands of `path`
    missing = {file for file in needed if file not in shared and not (file == path or file.startswith(path + "/"))}
    assert not missing, f"{source} runs through files that are no dep in dvc.yaml"


def test_every_shared_file_of_fetch_is_used_by_a_source():
    entries = [module_file(target.partition(":")[0]).relative_to(ROOT).as_posix() for target in SOURCES.values()]
    needed = needed_files(["components/stages/fetch/__main__.py", *entries], "fetch")
    assert set(code_deps("fetch")) <= needed


@pytest.mark.parametrize(("catalogue", "folder"), [(RECIPES, "recipes"), (MODELS, "models")])
def test_an_entry_stands_in_the_file_of_its_name(catalogue, folder):
    """dvc.yaml finds the file of a run's recipe and model by name."""
    for name, target in catalogue.items():
        assert target.partition(":")[0] == f"components.{folder}.{name}"
    for name in RECIPES:
        assert (ROOT / f"components/families/served/{name}.py").is_file()


def test_served_code_imports_nothing_of_ours_and_torch_only_where_it_samples():
    for path in (ROOT / "components/families/served").glob("*.py"):
        assert not imported_modules(path, skip_functions=frozenset(), lazy=True), path
        assert not re.search(r"^(import|from) torch", path.read_text(), re.MULTILINE)


def test_what_may_be_shipped_imports_relatively():
    """Beside the served code there is no ``components``."""
    families = ("models", "diffusion", "adversarial", "serving")
    files = [file for family in families for file in (ROOT / "components" / family).glob("*.py")]
    files += [ROOT / "components" / file for recipe in RECIPES for file in shipped_files(recipe, ONE_MODEL)]
    assert [file.name for file in files if re.search(r"^\s*(import|from) components", file.read_text(), re.MULTILINE)] == []


def test_the_walk_finds_a_file_two_imports_away_and_a_lazy_one():
    needed = needed_files(["components/stages/train/__main__.py"], "train")
    assert {"components/stages/train/schedule.py", "components/core/settings.py"} <= needed
    assert "components/stages/augment/views.py" in needed_files(
        ["components/stages/assemble.py"], "train"
    )  # imported inside a function
