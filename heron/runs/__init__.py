"""Runs: the loop over rounds, the run directory, checkpoints and evaluation."""

from typing import TYPE_CHECKING

from heron.faces import lazy_face

if TYPE_CHECKING:
    from heron.runs.checkpoint import load_checkpoint as load_checkpoint
    from heron.runs.checkpoint import save_checkpoint as save_checkpoint
    from heron.runs.evaluation import Evaluation as Evaluation
    from heron.runs.evaluation import evaluate as evaluate
    from heron.runs.measures import Measure as Measure
    from heron.runs.model_file import model_bytes as model_bytes
    from heron.runs.run_directory import Metrics as Metrics
    from heron.runs.run_directory import RunDirectory as RunDirectory
    from heron.runs.run_directory import read_json as read_json
    from heron.runs.run_directory import write_json as write_json
    from heron.runs.run_loop import Engine as Engine
    from heron.runs.run_loop import Observer as Observer
    from heron.runs.run_loop import Run as Run
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "Engine": "heron.runs.run_loop",
            "Evaluation": "heron.runs.evaluation",
            "Measure": "heron.runs.measures",
            "Metrics": "heron.runs.run_directory",
            "Observer": "heron.runs.run_loop",
            "Run": "heron.runs.run_loop",
            "RunDirectory": "heron.runs.run_directory",
            "evaluate": "heron.runs.evaluation",
            "load_checkpoint": "heron.runs.checkpoint",
            "model_bytes": "heron.runs.model_file",
            "read_json": "heron.runs.run_directory",
            "save_checkpoint": "heron.runs.checkpoint",
            "write_json": "heron.runs.run_directory",
        },
    )
