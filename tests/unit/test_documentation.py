"""What the documents say of tables, rules and presets is what the code has."""

import re

import pandera.pandas as pa

from workflow_scripts.common import schemas


def test_every_column_of_every_table_is_explained(root):
    text = (root / "results" / "README.md").read_text()
    words = set(re.findall(r"`([a-z0-9_]+)`", text))
    tables = {name: t for name, t in vars(schemas).items() if isinstance(t, pa.DataFrameSchema)}
    assert len(tables) > 15
    for name, table in tables.items():
        assert name in text, f"results/README.md does not name {name}"
        columns = {column for column, kind in table.columns.items() if not kind.regex}
        assert columns <= words, f"{name}: {columns - words} not explained"


def test_every_step_is_a_rule_and_every_rule_with_a_script_a_step(root):
    rooms = root / "workflow_scripts"
    steps = {
        path.relative_to(rooms).with_suffix("").as_posix()
        for path in rooms.rglob("*.py")
        if "with step(snakemake)" in path.read_text()
    }
    beside = {"acquire": "phantom"}  # a room that has no file of rules
    rules = {}
    for path in (root / "rules").glob("*.smk"):
        text = path.read_text()
        names = re.findall(r"^\s*rule (\w+):", text, flags=re.MULTILINE)
        scripts = re.findall(r'"\.\./workflow_scripts/([\w/]+)\.py"', text)
        assert [script.split("/")[-1] for script in scripts] == names, path.name
        allowed = {path.stem, beside.get(path.stem)}
        assert {script.split("/")[0] for script in scripts} <= allowed, path.name
        rules.update(dict.fromkeys(scripts))
    assert steps == set(rules)


def test_rules_carry_configuration_and_code_and_scripts_never_the_global_one(root):
    for path in (root / "rules").glob("*.smk"):
        for rule in re.split(r"^\s*rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            name = rule.split(":")[0]
            assert "log:" in rule, name
            if name != "download_archive":  # pinned by its MD5
                assert "fingerprint(" in rule, name
            assert "retries" not in rule, name
    for path in (root / "workflow_scripts").rglob("*.py"):
        assert "snakemake.config" not in path.read_text(), path


def test_the_artefact_map_names_every_step(root):
    text = (root / "results" / "README.md").read_text()
    steps = {
        name
        for path in (root / "rules").glob("*.smk")
        for name in re.findall(r"^\s*rule (\w+):", path.read_text(), flags=re.MULTILINE)
    }
    assert {name for name in steps if f"`{name}`" not in text} == set()
