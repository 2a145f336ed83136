"""The metadata of a crate: Provenance Run Crate 0.5, on RO-Crate 1.1, in JSON-LD."""

import ast
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import yaml
from rocrate.model import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from workflow_scripts.common.files import sha256_of
from workflow_scripts.common.fingerprint import PACKAGE, ROOT
from workflow_scripts.common.numbers import count, things
from workflow_scripts.crate.contents import Map, encoding
from workflow_scripts.crate.run import Run
from workflow_scripts.trail.records import File, Record

VERSION = "1.1"  # of RO-Crate, on which the profiles below rest
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
# Words beyond those of RO-Crate itself, written out so that nobody has to fetch what they mean.
TERMS = {
    "sha256": "https://w3id.org/ro/terms/workflow-run#sha256",
    "resourceUsage": "https://w3id.org/ro/terms/workflow-run#resourceUsage",
    "buildInstructions": "https://codemeta.github.io/terms/buildInstructions",
}
WORKFLOW = "workflow"  # the folder with the code
SNAKEFILE = f"{WORKFLOW}/Snakefile"
CONFIGURATION = f"{WORKFLOW}/config.yaml"
LOCK = f"{WORKFLOW}/envs/requirements.lock"
LOCK_FORMAT = "https://pip.pypa.io/en/stable/reference/requirements-file-format/"
SNAKEMAKE = "https://snakemake.github.io"
MIT = "https://spdx.org/licenses/MIT"
NIH = (
    "The code is under the MIT licence. The data carry the terms of NIH ChestX-ray14, which ask to name "
    "the NIH Clinical Center as the provider of the data and to cite its paper."
)
OTHERS = (
    "The code is under the MIT licence. The data carry the terms of the images that the run was made "
    "from: settle those before you pass the crate on."
)
# Of what a job cost, beside its time: what that is, and its unit.
COSTS = {
    "cpu_seconds": (
        "Processor time of the job and of the processes that it started.",
        "https://qudt.org/vocab/unit/SEC",
    ),
    "peak_memory_mb": (
        "The most memory that the job, or a process that it started, held at once.",
        "https://qudt.org/vocab/unit/MebiBYTE",
    ),
}
TYPES = {bool: "Boolean", int: "Integer", float: "Float"}
Entities = dict[tuple[str, str], Entity]  # of files, by path and SHA-256


class Crate:
    """The metadata as it grows; `text` is what is written.

    Parameters
    ----------
    folder : the data folder, with the code already in it
    run : what ran
    config : the whole configuration, without folders of the machine
    code : paths of the workflow's files, below `folder`
    files : what every kind of file is
    version : of the workflow
    """

    def __init__(
        self, folder: Path, run: Run, config: dict, code: list[str], files: Map, version: str
    ) -> None:
        self.folder, self.run, self.config = folder, run, config
        self.code, self.files, self.version = code, files, version
        self.crate = ROCrate(version=VERSION)
        self.crate.metadata.extra_terms.update(TERMS)

    def text(self, references: Iterable[str]) -> str:
        """Return the metadata as JSON; `references` are the works that the run rests on."""
        self.add_code()
        entities = {(file.path, file.sha256): self.made(file) for file in self.run.made.values()}
        entities |= {(file.path, file.sha256): self.given(file) for file in self.run.given}
        jobs = [self.job(record, entities) for record in self.run.jobs]
        whole = self.whole(jobs, entities)
        self.root([whole, *jobs], references)
        return json.dumps(self.crate.metadata.generate(), indent=1, ensure_ascii=False) + "\n"

    # What there is.

    def file(self, path: str, description: str | None, **properties: Any) -> Entity:
        """Add a file of the crate by its path there; without its size and hash, these are taken."""
        here = self.folder / path
        properties = {
            "name": path,
            "description": description,
            "encodingFormat": encoding(path),
            "contentSize": str(here.stat().st_size),
            "sha256": properties.pop("sha256", None) or sha256_of(here),
        } | properties
        return self.crate.add_file(dest_path=path, properties=without_none(properties))

    def made(self, file: File) -> Entity:
        """Add a file that a job made."""
        path = str(Path(file.path).relative_to(self.folder))
        words = [self.files.description(path)]
        if file.rows is not None:
            words.append(things(file.rows, "row"))
        if path.endswith((".parquet", ".csv")):
            words.append("columns: README.md")
        return self.file(path, "; ".join(filter(None, words)), sha256=file.sha256)

    def given(self, file: File) -> Entity:
        """Add a file that lay outside the crate, and is not in it."""
        properties = {
            "@type": "CreativeWork",
            "name": file.path,
            "description": "A file that the run was given; not in the crate.",
            "contentSize": str(file.bytes),
            "sha256": file.sha256,
        }
        return self.thing(f"#given/{file.sha256[:16]}/{Path(file.path).name}", properties)

    def thing(self, name: str, properties: dict) -> Entity:
        """Add an entity that is no file of the crate."""
        name = quote(name, safe="/:#")
        return self.crate.add(ContextEntity(self.crate, name, properties=without_none(properties)))

    # The workflow.

    def add_code(self) -> None:
        """Add the workflow, its steps and the rest of its code."""
        workflow = self.crate.add_workflow(
            dest_path=SNAKEFILE,
            main=True,
            lang="snakemake",
            lang_version=software(self.run.jobs, "snakemake"),
            properties=self.workflow_properties(),
        )
        self.lock = self.file(
            LOCK,
            "The environment: exact versions and hashes of every package.",
            conformsTo={"@id": LOCK_FORMAT},
        )
        self.thing(LOCK_FORMAT, {"@type": "CreativeWork", "name": "Requirements file format"})
        self.configuration = self.file(
            CONFIGURATION,
            "The whole configuration of the run, with every default. Folders of the machine stand as "
            "…/name: put your own in their place.",
        )
        steps = {record.rule: script(record) for record in self.run.jobs}
        self.tools = {path: self.tool(path) for path in sorted(set(steps.values()))}
        self.steps = {
            rule: self.thing(
                f"{SNAKEFILE}#{rule}",
                {"@type": "HowToStep", "name": rule, "workExample": self.tools[path]},
            )
            for rule, path in steps.items()
        }
        rest = [
            self.file(path, None)
            for path in self.code
            if path not in {SNAKEFILE, LOCK, CONFIGURATION, *self.tools}
        ]
        parts = [workflow, self.lock, self.configuration, *self.tools.values(), *rest]
        folder = self.crate.add_dataset(
            dest_path=f"{WORKFLOW}/",
            properties={
                "name": "The workflow",
                "description": "Rules, steps, environment and configuration. In a copy of this folder, `make "
                "setup` and then `.venv/bin/snakemake --cores 2` run it again.",
            },
        )
        folder["hasPart"] = parts
        workflow["hasPart"] = list(self.tools.values())
        workflow["step"] = list(self.steps.values())
        workflow["buildInstructions"] = self.lock
        self.parameters = list(self.add_parameters(self.config))
        workflow["input"] = [value["exampleOfWork"] for value in self.parameters]
        self.workflow = workflow

    def workflow_properties(self) -> dict:
        """Return what is known of the workflow from CITATION.cff."""
        citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
        authors = [
            self.thing(f"#{author['name']}", {"@type": "Organization", "name": author["name"]})
            for author in citation["authors"]
        ]
        return {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            "name": citation["title"],
            "description": "Draws synthetic images, measures them, and asks whether a classifier "
            "gains from them.",
            "author": one_or_all(authors),
            "license": {"@id": MIT},
            "version": self.version,
            "encodingFormat": "text/plain",
            "contentSize": str((self.folder / SNAKEFILE).stat().st_size),
            "sha256": sha256_of(self.folder / SNAKEFILE),
        }

    def tool(self, path: str) -> Entity:
        """Add the code of a step, as what its first lines say."""
        module = ast.parse((self.folder / path).read_text(encoding="utf-8"))
        lines = (ast.get_docstring(module) or "").split("\n\n")[0]
        return self.file(
            path,
            " ".join(lines.split()),
            **{"@type": ["File", "SoftwareSourceCode"], "version": self.version},
        )

    def add_parameters(self, config: Any, path: str = "") -> Iterator[Entity]:
        """Add every value of the configuration, and the parameter that it is a value of."""
        if isinstance(config, dict) and config:
            for key, value in config.items():
                yield from self.add_parameters(value, f"{path}.{key}" if path else str(key))
        elif config is not None:
            plain = isinstance(config, str | int | float)
            value = config if plain else json.dumps(config, ensure_ascii=False)
            parameter = self.thing(
                f"#parameter/{path}",
                {
                    "@type": "FormalParameter",
                    "name": path,
                    "additionalType": TYPES.get(type(config), "Text"),
                },
            )
            yield self.thing(
                f"#value/{path}",
                {
                    "@type": "PropertyValue",
                    "name": path,
                    "value": value,
                    "exampleOfWork": parameter,
                },
            )

    # The run.

    def job(self, record: Record, entities: Entities) -> Entity:
        """Add the run of one job, with the files that it left beside what it made."""
        facts = record.facts
        name = Path(record.path).relative_to(self.folder / "provenance").with_suffix("")
        began = datetime.fromisoformat(facts["started"])
        ended = began + timedelta(seconds=facts["wall_seconds"])
        title = ", ".join([record.rule, *(f"{k} {v}" for k, v in record.wildcards.items())])
        action = self.thing(
            f"#{name}",
            {
                "@type": "CreateAction",
                "name": title,
                "description": circumstances(facts),
                "instrument": self.tools[script(record)],
                "object": one_or_all(some(record.inputs, entities)),
                "result": one_or_all(some(record.outputs, entities)),
                "startTime": began.isoformat(),
                "endTime": ended.isoformat(timespec="milliseconds"),
            },
        )
        action["resourceUsage"] = list(self.usage(str(name), facts))
        # No logs: they may name folders of the machine.
        for folder, suffix in (("benchmarks", "tsv"), ("provenance", "json")):
            path = f"{folder}/{name}.{suffix}"
            if (self.folder / path).is_file():
                self.file(path, self.files.description(path), about=action)
        return action

    def usage(self, name: str, facts: dict) -> Iterator[Entity]:
        """Add what a job cost."""
        for quantity, (meaning, unit) in COSTS.items():
            term = {"@type": "DefinedTerm", "name": quantity, "description": meaning}
            yield self.thing(
                f"#{name}/{quantity}",
                {
                    "@type": "PropertyValue",
                    "name": quantity,
                    "propertyID": self.thing(f"#{quantity}", term),
                    "unitCode": unit,
                    "value": facts[quantity],
                },
            )

    def whole(self, jobs: list[Entity], entities: Entities) -> Entity:
        """Add the run as one, and how Snakemake led it."""
        given = some(self.run.given, entities)
        wanted = [self.run.made[path] for path in self.run.wanted]
        whole = self.thing(
            "#run",
            {
                "@type": "CreateAction",
                "name": f"The run on the data set {self.config['dataset']['name']}",
                "description": f"{things(len(jobs), 'job')}, each described on its own.",
                "instrument": self.workflow,
                "object": [self.configuration, *given, *self.parameters],
                "result": one_or_all(some(wanted, entities)),
                "startTime": min(job["startTime"] for job in jobs),
                "endTime": max(job["endTime"] for job in jobs),
            },
        )
        engine = self.thing(
            SNAKEMAKE,
            {
                "@type": "SoftwareApplication",
                "name": "Snakemake",
                "url": {"@id": SNAKEMAKE},
                "softwareVersion": software(self.run.jobs, "snakemake"),
            },
        )
        controls = [
            self.thing(
                f"{job.id}/control",
                {
                    "@type": "ControlAction",
                    "name": f"Snakemake starts {job['name']}",
                    "instrument": self.steps[record.rule],
                    "object": job,
                },
            )
            for record, job in zip(self.run.jobs, jobs, strict=True)
        ]
        self.thing(
            "#snakemake",
            {
                "@type": "OrganizeAction",
                "name": "Snakemake runs the workflow",
                "instrument": engine,
                "object": controls,
                "result": whole,
                "startTime": whole["startTime"],
                "endTime": whole["endTime"],
            },
        )
        return whole

    # The whole.

    def root(self, actions: list[Entity], references: Iterable[str]) -> None:
        """Describe the crate itself."""
        dataset, root = self.config["dataset"], self.crate.root_dataset
        words = [
            f"A run of Synthorax on the data set {dataset['name']}, which asks whether synthetic "
            f"images help a classifier: {count(len(self.run.jobs))} jobs and all that they made. "
            "report/index.html shows what came out, README.md says what every file is, workflow/ holds "
            "the code, its environment and the configuration."
        ]
        if dataset["kind"] == "phantom":
            words.append("Every image was drawn by a program or generated: there are no patients.")
        if rest := self.undescribed():
            words.append(
                f"The folder holds {things(rest, 'file')} more that this run did not make, as those of other "
                "configurations; they are not described."
            )
        root["name"] = f"Synthorax run {dataset['name']}"
        root["description"] = " ".join(words)
        root["datePublished"] = datetime.now(UTC).isoformat(timespec="seconds")
        root["license"] = self.licence(dataset["kind"])
        root["conformsTo"] = [
            self.thing(
                profile,
                {"@type": "CreativeWork", "name": name, "version": profile.rsplit("/", 1)[1]},
            )
            for profile, name in PROFILES.items()
        ]
        readme = self.file("README.md", "What every file and every column is.")
        readme["about"] = root
        root["mentions"] = actions
        cited = [self.crate.dereference(f"{WORKFLOW}/CITATION.cff")]
        cited += [
            self.thing(f"#reference/{number}", {"@type": "CreativeWork", "name": text})
            for number, text in enumerate(references, 1)
        ]
        root["citation"] = cited

    def undescribed(self) -> int:
        """Return how many files are in the folder but not in the crate, its own aside."""
        own = {"README.md", "provenance/crate.json"}
        known = {unquote(entity.id) for entity in self.crate.data_entities} | own
        files = (path for path in self.folder.rglob("*") if path.is_file())
        names = (str(path.relative_to(self.folder)) for path in files)
        return sum(name not in known and not name.startswith("logs/") for name in names)

    def licence(self, kind: str) -> Entity:
        """Return under what terms the crate may be used."""
        mit = self.thing(MIT, {"@type": "CreativeWork", "name": "MIT License"})
        if kind == "phantom":
            return mit
        return self.thing(
            "#licence",
            {
                "@type": "CreativeWork",
                "name": "The terms of the data",
                "description": NIH if kind == "nih" else OTHERS,
            },
        )


def script(record: Record) -> str:
    """Return the path in the crate of the code of a job's step: the file that is named as its rule."""
    folder = WORKFLOW / Path(PACKAGE)
    if record.facts["step"]:
        return str(folder / f"{record.facts['step']}.py")
    (path,) = (ROOT / PACKAGE).rglob(f"{record.rule}.py")
    return str(WORKFLOW / path.relative_to(ROOT))


def circumstances(facts: dict) -> str:
    """Return in a sentence or two where and how a job ran."""
    words = f"{things(facts['resources']['threads'], 'thread')} on {facts['hardware']['cpu']}"
    if facts["hardware"]["gpus"]:
        words += f", with {', '.join(facts['hardware']['gpus'])}"
    cached = facts["cache"]
    if cached:
        words += f". Taken from a cache: made {cached['started']} in {cached['wall_seconds']} s"
    return words + "."


def software(jobs: list[Record], name: str) -> str:
    """Return the versions of a library that the jobs ran with."""
    return ", ".join(sorted({job.facts["software"].get(name, "unknown") for job in jobs}))


def some(files: Iterable[File], entities: Entities) -> list[Entity]:
    """Return the entities of some files, each once."""
    return list(dict.fromkeys(entities[file.path, file.sha256] for file in files))


def one_or_all(values: list) -> Any:
    """Return the only value, or all: JSON-LD of a crate has no lists of one. None where there is none."""
    return values[0] if len(values) == 1 else values or None


def without_none(properties: dict) -> dict:
    """Return what is known."""
    return {key: value for key, value in properties.items() if value is not None}
