"""`heron split-model`, `heron export` and `heron generate`: divide language models, join them, generate text."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from heron.analysis import text_scores
from heron.config import build_run, fingerprint
from heron.config.run_files import read_config, refuse_occupied
from heron.data import load_e2e_prompts
from heron.errors import CheckpointError, ConfigError
from heron.lm import CausalLmSplit, continuations, load_tokenizer, save_whole, whole_model, write_parts
from heron.runs.checkpoint import load_checkpoint
from heron.runs.run_directory import RunDirectory, write_json

# Number of continuations that are printed; the JSON file contains all.
_SHOWN = 3


def split_model_command(source: str, cut: int, auxiliary_blocks: int, out: Path) -> None:
    """Write the parts of a pre-trained model; on failure nothing is written."""
    with _written_whole(out) as aside:
        manifest = write_parts(source, aside, num_client_blocks=cut, num_auxiliary_blocks=auxiliary_blocks)
    sizes = ", ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in manifest["bytes"].items())
    sys.stdout.write(f"{out}: {sizes}\n")


def export_command(run: Path, out: Path) -> None:
    """Write a run's trained model as a directory of `transformers`; on failure nothing is written."""
    with _written_whole(out) as aside:
        split, tokenizer = _trained(run)
        save_whole(split, tokenizer, aside)
    sys.stdout.write(f"{out}\n")


def generate_command(run: Path, num_prompts: int, json_path: Path | None) -> None:
    """Generate descriptions of test meaning representations with a run's model, and score them."""
    if num_prompts < 1:
        raise ConfigError(f"expected --prompts of at least 1, found {num_prompts}; raise it")
    split, tokenizer = _trained(run)
    prompts = load_e2e_prompts("test", num_prompts)
    texts = continuations(whole_model(split), tokenizer, [prompt.text for prompt in prompts])
    pairs = list(zip(prompts, texts, strict=True))
    scores = text_scores(texts, [prompt.references for prompt in prompts])
    result = {
        "run": str(run),
        "prompts": len(prompts),
        "bleu": scores.bleu,
        "rouge_l": scores.rouge_l,
        "texts": [{"prompt": prompt.text, "text": text} for prompt, text in pairs],
    }
    if json_path is not None:
        write_json(json_path, result)
    for prompt, text in pairs[:_SHOWN]:
        sys.stdout.write(f"{prompt.text}\n    {text}\n")
    sys.stdout.write(f"BLEU {scores.bleu:.1f}, ROUGE-L {scores.rouge_l:.3f} on {len(prompts)} prompts\n")


def _trained(directory: Path) -> tuple[CausalLmSplit, Any]:
    """A run's cut model with its latest global parameters, and the tokenizer."""
    config = read_config(directory)
    source = config.split.pretrained_source
    if source is None or not config.split.reads_text:
        raise ConfigError(
            f"expected the run of a language model in {directory}, found one of {config.split.model}; name another run"
        )
    if not RunDirectory(directory).checkpoint.exists():
        raise ConfigError(
            f"expected a run with at least one finished round in {directory}, found no checkpoint; train it with "
            f"`heron train --resume {directory}`"
        )
    # Without the run's directory: the run may be training elsewhere, and none of its files may change.
    servers = build_run(config, None).federation.servers
    tensors, facts = load_checkpoint(RunDirectory(directory).checkpoint)
    if facts.get("fingerprint") != fingerprint(config):
        raise CheckpointError(f"the checkpoint in {directory} was written by another configuration; name another run")
    servers.load_tensors(tensors)
    split = servers.load_global_model()
    assert isinstance(split, CausalLmSplit)  # the configuration builds no other model
    return split, load_tokenizer(source, split.whole.config.vocab_size)


@contextmanager
def _written_whole(out: Path) -> Iterator[Path]:
    """Make a folder next to `out` to write into; it is renamed to `out` if the block ends without an error.

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
