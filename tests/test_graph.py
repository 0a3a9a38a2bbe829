"""dvc.yaml: every edge, and no file of code."""

import re

from ruamel.yaml import YAML

from components.core.config.params import Params
from components.core.inputs.record import record_path
from components.core.settings import ROOT
from components.stages.code.stage import MODULES

TEXT = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
STAGES = YAML(typ="safe").load(TEXT)["stages"]


def test_every_stage_has_its_entry_and_no_other():
    assert set(STAGES) == {"code", *MODULES}


def test_one_command_and_one_digest_of_code_each():
    for name, stage in STAGES.items():
        block = stage.get("do", stage)
        argument = "" if name == "code" else ' "$DVC_STAGE"'
        assert block["cmd"] == f"exec env PYTHONPATH='${{root}}' python -m components {name}{argument}"
        code = [dep for dep in block["deps"] if "code/" in dep or "components" in dep]
        code = [dep for dep in code if not re.search("/(links|scored|card)/", dep)]
        assert code == (["${root}/components"] if name == "code" else [f"outputs/code/{name}/${{key}}.json"])


def test_every_stage_records_its_inputs():
    """An entry of dvc.lock is compared with this out: a stage without it could be recorded with inputs it did not run with."""
    for name, stage in STAGES.items():
        stage_name = name if "do" not in stage else f"{name}@${{key}}"
        assert record_path(stage_name) in stage.get("do", stage)["outs"]


def test_no_value_of_params_stands_in_a_command_but_root():
    """A shell reads the command before anybody can check it; root's form is checked (``Params.root``)."""
    commands = re.findall(r"^ *cmd: (.*)$", TEXT, re.MULTILINE)
    assert {found for command in commands for found in re.findall(r"\$\{([^}]*)\}", command)} == {"root"}


def test_detectors_are_not_fitted_again_for_another_view_nor_scored_again_for_another_served_one():
    """A view and a served detector are named by stages that come after the fits alone."""
    fits = STAGES["detect"]["do"]
    assert fits["params"] == ["detect.${key}"]
    assert not [dep for dep in fits["deps"] if "ood" in dep.removeprefix("outputs/code/")]
    readers = {kind for kind, stage in STAGES.items() if "/served" in str(stage.get("do", stage)["deps"])}
    assert readers == set(), "a link brings it"
    assert {kind for kind, stage in STAGES.items() if "/fitted" in str(stage.get("do", stage)["deps"])} == {"ood"}


def test_runs_without_a_block_of_detect_have_no_stage_of_detection():
    stages = {kind: stage["foreach"] for kind, stage in STAGES.items() if "foreach" in stage}
    found = {kind for kind, blocks in stages.items() if blocks in ("${detect}", "${ood}")}
    assert found == {"detect", "ood", "ood_table"}
    assert not [dep for kind in set(stages) - found for dep in STAGES[kind]["do"]["deps"] if "detect" in dep or "ood" in dep]


def test_what_params_yaml_may_leave_out_is_merged_and_not_replaced():
    """Any other value of a variable than {} would contradict that of params.yaml: DVC refuses to redefine it."""
    optional = {name for name, field in Params.model_fields.items() if not field.is_required()}
    blocks = {name: value for entry in YAML(typ="safe").load(TEXT)["vars"] for name, value in entry.items()}
    assert all(value == {} for value in blocks.values())
    assert set(blocks) == optional & {stage["foreach"].strip("${}") for stage in STAGES.values() if "foreach" in stage}


def test_a_renamed_file_retrains_nothing():
    """Names are in the report on a view, which is an out of its own; an export takes the samples alone."""
    assert "outputs/view_report/${key}" in STAGES["augment"]["do"]["outs"]
    report = "outputs/view_report/${item.view}"
    readers = {kind: [dep for dep in stage.get("do", stage)["deps"] if "view_report" in dep] for kind, stage in STAGES.items()}
    assert {kind: deps for kind, deps in readers.items() if deps} == {"export": [f"{report}/samples"], "evaluate": [report]}


def test_it_can_be_read_on_one_page():
    assert len(TEXT.splitlines()) <= 200
