"""What the report says of a run's data makes the evaluation stale, and nothing else."""

import copy
import json

from workbench import toy_params, write_params

from components.core.settings import Workspace
from components.stages.code.stage import contents


def test_a_licence_changes_the_card_of_its_runs_alone(tmp_path):
    params = toy_params()
    params["runs"]["toy"]["recipe"] = "classification"
    params["runs"]["toy"]["model"] = {"name": "resnet18"}
    other = copy.deepcopy(params)
    other["datasets"]["digits"]["licence"] = "CC BY 4.0"
    texts = []
    for name, content in (("before", params), ("after", other)):
        (tmp_path / name).mkdir()
        write_params(tmp_path / name, content)
        texts.append(contents(Workspace(tmp_path / name)))
    before, after = texts
    assert {file for file in after if after[file] != before[file]} == {"card/toy.json"}
    card = json.loads(after["card/toy.json"])
    assert (card["licence"], card["source"], card["view"]["image_size"]) == ("CC BY 4.0", "digits", 8)
