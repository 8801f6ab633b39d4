"""Memory and time of a client without PyTorch, next to the same client with it.

    python benchmarks/lean_client.py [--quick] [--only NAME]

Each client is exported and checked. Memory is the largest resident memory of a fresh process that takes three local
steps on random examples and does nothing else: one process with PyTorch, one with onnxruntime and NumPy. Time is
processor time of a step, both clients in one process on one thread, in turns; the ratio is the median over the turns.
Of a text, the second half counts. Language models have random weights or those of `HERON_DATA`; GPT-2 Medium is cut
from its first ten blocks, so that no server's blocks are made. Saves benchmarks/results/lean_client.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results" / "lean_client.json"
STEPS = 3


@dataclass(frozen=True)
class Case:
    """One client.

    Attributes:
        recipe: its recipe.
        size: examples of a batch.
        memory_mib: goal for its largest resident memory.
        ratio: goal for its processor time over PyTorch's.
        changes: of the recipe.
        length: tokens of a text; 0 for images.
        repeats: turns of the measurement of time.
    """

    recipe: str
    size: int
    memory_mib: float
    ratio: float
    changes: tuple[str, ...] = ()
    length: int = 0
    repeats: int = 31

    def config(self) -> Any:
        """The recipe with its changes."""
        from heron.config import recipe_config

        return recipe_config(self.recipe, "heron", [*self.changes, "threads=1", f"client.batch_size={self.size}"])

    def batch(self, size: int, length: int) -> tuple[Any, Any]:
        """Random inputs and labels as arrays."""
        import numpy as np

        draw = np.random.default_rng(0)
        inputs = draw.integers(50_257, size=(size, length))
        labels = np.roll(inputs, -1, 1)
        labels[:, : length // 2] = -100
        return inputs, labels


_MEDIUM = Case("e2e-gpt2-medium", 1, 0.85 * 1024, 0.85, length=512, repeats=3)
CLIENTS = {
    "digits": Case("digits", 32, 75, 0.7),
    "digits, published": Case("digits-published", 32, 75, 0.7),
    "cifar10-resnet18-small": Case("cifar10-resnet18-small", 64, 90, 0.7),
    "cifar10-resnet18": Case("cifar10-resnet18", 256, 240, 0.7, repeats=5),
    "gpt2-mini": Case("e2e-gpt2-mini", 16, 130, 0.85, ("client.micro_batch=1",), length=160, repeats=5),
    "GPT-2 Medium": _MEDIUM,
    "GPT-2 Medium, int8 base": replace(_MEDIUM, memory_mib=0.52 * 1024, changes=("split.base=int8",)),
}


def network(case: Case, config: Any, *, whole: bool) -> Any:
    """A client's parts of a language model, with a server's where they are asked for; any other network."""
    import torch

    if not case.length:
        return config.split.build(config.seed)
    if "medium" not in case.recipe:
        return config.split.build(config.seed) if whole else config.split.build_client(config.seed)
    from heron.lm import Adaptation
    from heron.lm.cutting import client_part, cut_causal_lm
    from heron.lm.pretrained import load_causal_lm

    torch.manual_seed(0)
    settings = config.split
    blocks = settings.cut + settings.auxiliary_blocks
    model = load_causal_lm(settings.pretrained, random_weights=True, num_blocks=blocks + whole)
    Adaptation(settings.lora_rank, settings.lora_alpha, settings.lora_layers, settings.base).apply_(model, model.config)
    if whole:
        parts: Any = cut_causal_lm(model, settings.cut, settings.auxiliary_blocks)
    else:
        parts = client_part(model, settings.cut, with_auxiliary=True)
    for layer in parts.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    return parts


def export(name: str, folder: Path) -> None:
    """Write a client's bundle."""
    import torch

    from heron.algorithms import ALGORITHMS
    from heron.config import settings_with
    from heron.costs.client_step import zeros
    from heron.data import Batch
    from heron.engines.agreement import agree
    from heron.export import export_client
    from heron.tensors import as_tensor

    case = CLIENTS[name]
    config = case.config()
    split = network(case, config, whole=True)
    if case.length:
        example = Batch(*map(torch.from_numpy, case.batch(2, 24)))
    else:
        shapes = zeros(config.data.example, 6, "cpu")
        inputs = torch.randn(as_tensor(shapes.inputs).shape, generator=torch.Generator().manual_seed(0))
        example = Batch(inputs, torch.arange(6) % 10)
    settings = settings_with(config, {})
    terms = agree(split, ALGORITHMS["heron"], settings, config.split.criterion, example)
    export_client(split, terms, example, folder, criterion=config.split.criterion)


def lean_step(name: str, folder: Path) -> Callable[[], object]:
    """A local step of an exported client."""
    import numpy as np

    from heron.algorithms import ALGORITHMS
    from heron.client.onnx_runtime import OnnxRuntime, open_bundle
    from heron.client.round import finish
    from heron.data.batch import Batch
    from heron.seeds import StepKey

    bundle = open_bundle(folder)
    manifest, settings = bundle.manifest, bundle.terms.settings
    algorithm = ALGORITHMS[manifest.algorithm]
    runtime = OnnxRuntime(bundle, settings.client)
    learner = algorithm.make_client(runtime, algorithm.learning(settings))
    draw = np.random.default_rng(0)
    arrays = (*manifest.probed, *manifest.trained, *manifest.buffers)
    learner.load({each.name: (0.05 * draw.standard_normal(each.shape)).astype(each.dtype) for each in arrays}, {})
    size, case = settings.client.batch_size, CLIENTS[name]
    if case.length:
        batch = Batch(*case.batch(size, case.length))
    else:
        inputs = draw.standard_normal((size, *manifest.inputs.shape)).astype(np.float32)
        batch = Batch(inputs, draw.integers(10, size=size))

    def step() -> None:
        generator = learner.step(batch, StepKey(0, 0, 0, 0))
        next(generator)
        finish(generator)

    return step


def torch_step(name: str) -> Callable[[], object]:
    """A local step of the same client in PyTorch."""
    from heron.algorithms import ALGORITHMS
    from heron.config import use_threads_and_device
    from heron.costs.client_step import local_step
    from heron.data import Batch

    case = CLIENTS[name]
    config = case.config()
    use_threads_and_device(config)
    split = network(case, config, whole=False)
    step = local_step(split, ALGORITHMS["heron"], config, config.data.example, config.split.criterion)
    if case.length:
        import torch

        step.batch = Batch(*map(torch.from_numpy, case.batch(case.size, case.length)))
    return step


def child(kind: str, name: str, folder: Path) -> None:
    """Take steps in this process and print its largest resident memory."""
    step = lean_step(name, folder) if kind == "lean" else torch_step(name)
    for _ in range(STEPS):
        step()
    assert kind == "torch" or "torch" not in sys.modules
    status = Path("/proc/self/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def resident_mib(kind: str, name: str, folder: Path) -> float:
    """Largest resident memory of a fresh process, in MiB."""
    words = [sys.executable, __file__, "--child", kind, "--only", name, "--folder", str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 1024


def time_ratio(name: str, folder: Path, repeats: int) -> dict[str, float]:
    """Processor time of a step over PyTorch's, in turns."""
    steps = {"lean": lean_step(name, folder), "torch": torch_step(name)}
    spent: dict[str, list[float]] = {kind: [] for kind in steps}
    for repeat in range(-1, repeats):
        for kind in list(steps)[:: 1 if repeat % 2 else -1]:
            started = time.process_time()
            steps[kind]()
            if repeat >= 0:
                spent[kind].append(time.process_time() - started)
    ratios = [lean / torch for lean, torch in zip(spent["lean"], spent["torch"], strict=True)]
    return {"time_ratio": statistics.median(ratios), "torch_step_s": statistics.median(spent["torch"])}


def measure(name: str, *, quick: bool) -> dict[str, Any]:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        export(name, folder)
        case = CLIENTS[name]
        row: dict[str, Any] = {"client": name, "memory_goal_mib": case.memory_mib, "time_goal": case.ratio}
        for kind in ("torch", "lean"):
            row[f"{kind}_mib"] = resident_mib(kind, name, folder)
        row |= time_ratio(name, folder, 3 if quick else case.repeats)
        row["bundle_bytes"] = sum(path.stat().st_size for path in folder.iterdir())
    print(
        f"| {name} | {row['torch_mib']:.0f} MiB | {row['lean_mib']:.0f} MiB (goal {row['memory_goal_mib']:.0f}) | "
        f"{row['time_ratio']:.2f} (goal {row['time_goal']}) | {row['bundle_bytes']:,} |",
        flush=True,
    )
    return row


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=CLIENTS, action="append", help="measure this client alone; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few repeats, and nothing is saved")
    parser.add_argument("--child", choices=["lean", "torch"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.only[0], options.folder)
        return
    from hardware import describe

    print("| client | PyTorch | onnxruntime and NumPy | CPU time of a step, ratio | bundle, bytes |")
    print("|---|---|---|---|---|")
    rows = [measure(name, quick=options.quick) for name in options.only or CLIENTS]
    if not options.quick and not options.only:
        RESULT.write_text(json.dumps({"hardware": describe(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
