"""A Flower app that sends every node a message without content, round after round, and waits for the replies."""

import json
import time
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

_POLL_S = 0.1  # as heron's

client = ClientApp()
server = ServerApp()


@client.train("round")
def reply(message: Message, context: Context) -> Message:  # noqa: ARG001 - Flower calls it so
    """Reply with nothing."""
    return Message(RecordDict(), reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds and write the time at the end of each."""
    count = int(context.run_config["nodes"])
    while len(nodes := list(grid.get_node_ids())) < count:
        time.sleep(_POLL_S)
    times, started = [], time.monotonic()
    for _ in range(int(context.run_config["rounds"])):
        waiting = list(grid.push_messages([Message(RecordDict(), node, "train.round") for node in nodes]))
        while waiting:
            for message in grid.pull_messages(waiting):
                if message.has_error():
                    raise RuntimeError(f"error code {message.error.code} of Flower")
                waiting.remove(message.metadata.reply_to_message_id)
            if waiting:
                time.sleep(_POLL_S)
        times.append(time.monotonic() - started)
    Path(str(context.run_config["out"])).write_text(json.dumps(times))
