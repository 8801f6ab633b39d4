"""`heron export`: a run's trained model as a folder that others can load, with a model card."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from heron.config import RunConfig, build_run, fingerprint, to_toml
from heron.config.run_files import read_config, refuse_occupied
from heron.errors import CheckpointError, ConfigError
from heron.lm import CausalLmSplit, ClassifierSplit, load_tokenizer, save_classifier, save_whole
from heron.lm.pretrained import located
from heron.report import ExportedModel, model_card
from heron.runs.checkpoint import load_checkpoint
from heron.runs.model_file import model_bytes
from heron.runs.run_directory import RunDirectory, read_json
from heron.split import SplitModel


def export_command(run: Path, out: Path) -> None:
    """Write a run's trained model, its configuration and its card; on failure nothing is written.

    A language model becomes a directory of `transformers`, any other network one file of weights.
    """
    with written_whole(out) as aside:
        config = read_config(run)
        split, num_rounds = trained_model(run, config)
        aside.mkdir(parents=True)
        if isinstance(split, CausalLmSplit):
            save_whole(split, tokenizer_of(config, split), aside)
        elif isinstance(split, ClassifierSplit):
            save_classifier(split, tokenizer_of(config, split), aside)
        else:
            (aside / "model.safetensors").write_bytes(model_bytes(split))
        (aside / "config.toml").write_text(to_toml(_without_paths(config)), encoding="utf-8")
        (aside / "README.md").write_text(model_card(_exported(run, config, split, num_rounds)), encoding="utf-8")
    sys.stdout.write(f"{out}\n")


def trained_model(directory: Path, config: RunConfig) -> tuple[SplitModel, int]:
    """Build a run's network with its latest global parameters.

    Args:
        directory: the run directory; none of its files changes.
        config: the configuration in it.

    Returns:
        The cut network, and the number of rounds that it was trained for.

    Raises:
        ConfigError: if no round is finished.
        CheckpointError: if the checkpoint is damaged or of another configuration.
    """
    if not RunDirectory(directory).checkpoint.exists():
        raise ConfigError(
            f"expected a run with at least one finished round in {directory}, found no checkpoint; train it with "
            f"`heron train --resume {directory}`"
        )
    # Without the run's directory: the run may be training elsewhere.
    servers = build_run(config, None).federation.servers
    tensors, facts = load_checkpoint(RunDirectory(directory).checkpoint)
    if facts.get("fingerprint") != fingerprint(config):
        raise CheckpointError(f"the checkpoint in {directory} was written by another configuration; name another run")
    servers.load_tensors(tensors)
    return servers.load_global_model(), int(facts["next_round"])


def tokenizer_of(config: RunConfig, split: CausalLmSplit | ClassifierSplit) -> Any:
    """Load the tokenizer of a run's language model."""
    source, ends = config.split.pretrained_source, config.split.predicts == "tokens"
    assert source is not None  # a language model has one
    return load_tokenizer(source, split.whole.config.vocab_size, needs_end=ends)


@contextmanager
def written_whole(out: Path) -> Iterator[Path]:
    """Name a folder next to `out` to write into; it is renamed to `out` if the block ends without an error.

    Raises:
        CheckpointError: if `out` is not empty or cannot be written.
    """
    refuse_occupied(out)
    aside = out.resolve().with_name(f"{out.resolve().name}.tmp")
    refuse_occupied(aside, ", or remove it if a crash left it")
    try:
        yield aside
        if out.is_dir():
            out.rmdir()
        aside.replace(out)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write {out}: {error}; choose a new, writable --out with enough space") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _exported(run: Path, config: RunConfig, split: SplitModel, num_rounds: int) -> ExportedModel:
    source, directory = config.split.pretrained_source, RunDirectory(run)
    return ExportedModel(
        config=config,
        num_parameters=sum(tensor.numel() for tensor in split.joined_state_dict().values()),
        metrics=directory.read_metrics()[:num_rounds],
        cost=read_json(directory.cost) if directory.cost.exists() else {},
        base_model=source,
        base_is_on_hub=source is not None and not located(source).is_dir(),
        summary=read_json(directory.summary) if directory.summary.exists() else {},
    )


def _without_paths(config: RunConfig) -> RunConfig:
    """The configuration with the names alone of files and folders of this machine; what they held is in it."""
    network: Any = config.split
    source = config.split.pretrained_source
    if source is not None and located(source).is_dir():
        network = replace(network, pretrained=Path(source).name)
    return replace(config, split=network, link=replace(config.link, profile=Path(config.link.profile).name))
