"""openwandb on loopback, for `test_wandb.py`; runs in ``.venv-wandb``: ``wandb_server.py PORT FOLDER [counts]``.

It is the server as it comes, plus a record of what it is told and does not keep (groups). With ``counts`` it answers a
client that goes on with a run as W&B does: how many rows the run has, and the last of them.
"""

import json
import os
import sys
from pathlib import Path

port, folder = int(sys.argv[1]), Path(sys.argv[2])
os.environ["OPENWANDB_DATA_DIR"] = str(folder)

import uvicorn  # noqa: E402
from openwandb import database, graphql_schema, server  # noqa: E402


def rows(run_id):
    return [int(metric["step"]) for metric in database.get_metrics(run_id, key="epoch")]


if "counts" in sys.argv:
    plain = graphql_schema._run_to_type

    def as_wandb_does(run):
        answer = plain(run)
        found = rows(run["run_id"])
        answer.history_line_count = len(found)
        answer.history_tail = json.dumps([json.dumps({"_step": found[-1]})] if found else [])
        answer.events_tail = "[]"
        answer._config_json = json.dumps({**json.loads(answer._config_json), "t": 1})
        return answer

    graphql_schema._run_to_type = as_wandb_does


async def recording(scope, receive, send):
    """The server, with every name and group that a run is given written to ``told.jsonl``."""
    body = b""

    async def heard():
        nonlocal body
        message = await receive()
        body += message.get("body", b"")
        return message

    await server.app(scope, heard, send)
    if scope["type"] == "http" and scope["path"] == "/graphql" and b"upsertBucket" in body:
        told = json.loads(body)["variables"]
        with (folder / "told.jsonl").open("a") as file:
            file.write(json.dumps({key: told.get(key) for key in ("name", "groupName", "displayName")}) + "\n")


uvicorn.run(recording, host="127.0.0.1", port=port, log_level="warning")
