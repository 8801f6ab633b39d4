"""Model card of an exported run: a README.md with a front matter that model hubs read.

The form is that of the Hugging Face hub (Mitchell et al., "Model Cards for Model Reporting", FAccT 2019). Values of the
front matter are JSON, which is YAML, too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import heron
from heron.algorithms import ALGORITHMS
from heron.analysis import Quality, quality_of
from heron.config import RunConfig
from heron.report.privacy import exposure_limits, privacy_limit, statement_text
from heron.report.units import bytes_text, flops_text

_LOAD_LANGUAGE = """from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder, or its name on the hub
model = AutoModelForCausalLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)"""

_LOAD_CLASSIFIER = """import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = "."  # this folder, or its name on the hub
model = AutoModelForSequenceClassification.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
with torch.no_grad():
    scores = model(**tokenizer(["A text."], padding=True, truncation=True, return_tensors="pt")).logits"""

_LOAD_OTHER = """from pathlib import Path

from safetensors.torch import load_file

from heron.config import from_toml

folder = Path(".")  # this folder
config = from_toml((folder / "config.toml").read_text(encoding="utf-8"))
model = config.split.build(config.seed)
model.load_joined_state_dict(load_file(folder / "model.safetensors"))
model.eval()"""


@dataclass(frozen=True)
class ExportedModel:
    """An exported model, as its card describes it.

    Attributes:
        config: configuration of the run.
        num_parameters: number of values in the exported weights.
        metrics: rows of the finished rounds, oldest first.
        cost: content of the run's `cost.json`; empty if there is none.
        base_model: name of the pre-trained model; None where all weights were drawn.
        base_is_on_hub: whether that is a name on the hub, and not a folder.
        summary: content of the run's `summary.json`; empty if it is not complete.
    """

    config: RunConfig
    num_parameters: int
    metrics: Sequence[Mapping[str, Any]]
    cost: Mapping[str, Any]
    base_model: str | None = None
    base_is_on_hub: bool = False
    summary: Mapping[str, Any] = field(default_factory=dict)


def model_card(exported: ExportedModel) -> str:
    """Write the card: base model, data, algorithm, settings, metrics, limits, licence, and how to load the model.

    Args:
        exported: the model and its run.

    Returns:
        Markdown with a YAML front matter; it contains no path of this machine.
    """
    config, last = exported.config, exported.metrics[-1]
    quality = quality_of(exported.metrics)
    environment = Environment(
        loader=PackageLoader("heron.report", "assets"),
        autoescape=False,  # noqa: S701 - Markdown, of values that the user's own run contains
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"json": json.dumps, "cell": lambda value: str(value).replace("|", "\\|")}
    return environment.get_template("model_card.md.j2").render(
        config=config,
        algorithm=ALGORITHMS[config.algorithm],
        data=config.data,
        version=heron.__version__,
        front_matter=_front_matter(exported, quality),
        sentence=_sentence(exported),
        model=_model(exported),
        rounds_done=last["round"],
        repeatable=config.device == "cpu" and not config.privacy.is_on,
        results=_results(last, quality),
        costs=_costs(last, exported.cost),
        limits=_limits(exported),
        licence=_licence(exported),
        code=_code(config),
    )


def _code(config: RunConfig) -> str:
    """The program that loads the model."""
    if not config.split.reads_text:
        return _LOAD_OTHER
    if config.split.predicts == "tokens":
        return _LOAD_LANGUAGE
    if getattr(config.split, "pooling", None) != "mean":
        return _LOAD_CLASSIFIER
    # The class of a model that pools by the mean is a file of the folder.
    return _LOAD_CLASSIFIER.replace("from_pretrained(folder)", "from_pretrained(folder, trust_remote_code=True)", 1)


def _front_matter(exported: ExportedModel, quality: Quality) -> dict[str, Any]:
    config, data = exported.config, exported.config.data
    task = "image-classification"
    if config.split.reads_text:
        task = "text-generation" if config.split.predicts == "tokens" else "text-classification"
    values: dict[str, Any] = {
        "library_name": "transformers" if config.split.reads_text else "heron-sfl",
        "license": "unknown",
        "pipeline_tag": task,
        "tags": list(dict.fromkeys(("heron", config.algorithm, "federated-learning", "split-learning"))),
    }
    if exported.base_is_on_hub:
        values |= {"base_model": exported.base_model, "base_model_relation": "finetune"}
    if data.hub_name:
        values["datasets"] = [data.hub_name]
    value = quality.of(exported.metrics[-1])
    if value is not None:
        dataset = {"type": data.hub_name or data.name, "name": data.title or data.name, "split": "test"}
        result = {
            "task": {"type": task},
            "dataset": dataset,
            "metrics": [{"type": quality.name, "value": value, "name": f"test {quality.name}"}],
        }
        values["model-index"] = [{"name": f"{config.recipe}-{config.algorithm}", "results": [result]}]
    return values


def _sentence(exported: ExportedModel) -> str:
    if exported.base_model is None:
        return (
            "A network that was cut in two and trained by split federated learning. The weights are those of the whole "
            "network, without the auxiliary network."
        )
    kind = "causal language model" if exported.config.split.predicts == "tokens" else "classifier of texts"
    return (
        f"A {kind}, fine-tuned from `{_base_name(exported)}` by split federated learning: it was cut "
        "between blocks, clients trained the first ones and a server the rest. All parts are joined here, and LoRA is "
        "merged into float32 weights."
    )


def _base_name(exported: ExportedModel) -> str:
    """The name of a model on the hub, or the last part of a folder's path."""
    name = exported.base_model or ""
    return name if exported.base_is_on_hub else Path(name).name


def _model(exported: ExportedModel) -> dict[str, str]:
    network = exported.config.split
    facts = {"network": f"`{network.model}`, cut at `{network.cut}`", "parameters": f"{exported.num_parameters:,}"}
    if exported.base_model is not None:
        facts["base model"] = f"`{_base_name(exported)}`" + ("" if exported.base_is_on_hub else ", a local folder")
    return facts


def _results(row: Mapping[str, Any], quality: Quality) -> list[tuple[str, str, str]]:
    found = {split: quality.of(row, split) for split in ("test", "validation")}
    return [
        (split, quality.name, f"{quality.text(value)} {quality.unit}".strip())
        for split, value in found.items()
        if value is not None
    ]


def _costs(row: Mapping[str, Any], cost: Mapping[str, Any]) -> dict[str, str]:
    texts = {
        "uplink of all clients": bytes_text(row["uplink_bytes"]),
        "downlink of all clients": bytes_text(row["downlink_bytes"]),
    }
    if cost:
        texts["client peak memory of a step"] = bytes_text(cost["peak_memory_bytes"])
        texts["client compute of a step"] = flops_text(cost["flops_per_step"])
    return texts


def _limits(exported: ExportedModel) -> list[str]:
    config, done = exported.config, exported.metrics[-1]["round"]
    data = config.data.title or config.data.name
    limits = [
        f"One run with one seed, {config.seed}: other seeds give other results.",
        f"Its clients were {config.clients.total} shares of one data set.",
        f"Evaluated on {data} alone, on no other data and on no other task.",
        privacy_limit(exported.metrics[-1]),
        *filter(None, [statement_text(exported.summary)]),
        *exposure_limits(exported.summary),
    ]
    if done < config.rounds:
        limits.insert(0, f"The run was exported after {done} of {config.rounds} rounds.")
    if config.split.predicts == "tokens":
        limits.append("Texts that the model generates may be wrong. It keeps the biases of its base model and data.")
    return limits


def _licence(exported: ExportedModel) -> str:
    parts = ["heron does not choose a licence for these weights."]
    if exported.base_model is not None:
        parts.append(f"They are derived from `{_base_name(exported)}`: its licence applies.")
    terms = exported.config.data.licence or "see its source"
    parts.append(f"Data: {exported.config.data.title or exported.config.data.name} ({terms}).")
    parts.append("Check the terms and set `license` above before you publish the model.")
    return " ".join(parts)
