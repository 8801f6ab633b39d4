"""`heron client`: try a bundle on this device, without PyTorch; nothing is sent and nothing kept."""

import sys
from pathlib import Path

from heron.client.onnx_runtime import open_bundle
from heron.engines.bundle_examples import read_examples
from heron.engines.bundle_trial import Trial, try_bundle

_MIB = 1 << 20


def client_command(folder: Path, data: Path) -> None:
    """Check a bundle and its data, take a few local steps, and print what they cost here."""
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    trial = try_bundle(bundle, read_examples(data, manifest))
    rows = [
        ("bundle", f"{folder}, {manifest.made_with}"),
        ("algorithm", manifest.algorithm + (f", client.exact={manifest.exact}" if manifest.exact else "")),
        *_rows(trial),
    ]
    width = max(len(name) for name, _ in rows)
    sys.stdout.writelines(f"{name:{width}}  {value}\n" for name, value in rows)


def _rows(trial: Trial) -> list[tuple[str, str]]:
    memory = trial.peak_memory_bytes
    return [
        ("parameters", f"{trial.num_parameters:,} that learn"),
        ("examples", f"{trial.num_examples:,}"),
        ("peak memory", "not known on this system" if memory is None else f"{memory / _MIB:,.0f} MiB, whole process"),
        ("local step", f"{1e3 * trial.step_s:,.1f} ms"),
        ("upload", f"{trial.upload_bytes:,} bytes of smashed data and labels" if trial.upload_bytes else "nothing"),
        ("reply", f"{trial.reply_bytes:,} bytes a round"),
        ("loss", "none that this client sends" if trial.loss is None else f"{trial.loss:.4f} at random parameters"),
    ]
