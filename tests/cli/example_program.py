"""The program of the help's examples, and the commands in help texts."""

import re
import shlex

import nbformat

from dynamo_nb.cli.help import verb_help
from dynamo_nb.config.command_words import split_words

PROGRAM = """
from dynamo_nb import DynamoTransport, async_on_start, depends, dynamo_endpoint, service


@service
class Router:
    @dynamo_endpoint()
    async def choose(self) -> int:
        return 0


@service(workers=2)
class Backend:
    router = depends(Router)

    def __init__(self, suffix="!"):
        self.suffix = suffix

    @async_on_start
    async def load(self):
        print("no error so far")

    @dynamo_endpoint()
    async def generate(self, text: str):
        yield text + self.suffix


@service
class Frontend:
    backend = depends(Backend)

    @dynamo_endpoint(transports=[DynamoTransport.DEFAULT, DynamoTransport.HTTP])
    async def generate(self, text: str):
        async for word in self.backend.generate(text):
            yield word
"""
CONFIG = "Backend: {suffix: '?', workers: 3}"
PAYLOADS = '"hello"\n{"text": "world"}\n'
_COMMAND = re.compile(r"`(%?dynamo [a-z][^`]+)`")


def examples(prefix, target):
    """Every command in the help of the verbs: the examples, and those within texts; without the prefix."""
    for verb in verb_help(prefix, target):
        texts = [verb.help, *(parameter.help for parameter in verb.parameters)]
        lines = [example.line for example in verb.examples]
        lines += [found for text in texts for found in _COMMAND.findall(text)]
        yield from (line.removeprefix("%").removeprefix("dynamo ") for line in dict.fromkeys(lines))


def shortened(line):
    """An example with a short load in place of a long one, or with a plan in place of a deployment."""
    added = {"bench": " --duration 0.2", "serve": " --dry-run"}
    return line + added.get(line.partition(" ")[0], "")


def has_no_end(line):
    """True if a command runs until it is interrupted."""
    words, _ = split_words(shlex.split(line))
    return (words[0] in {"attach", "top"} and "--once" not in words) or (
        "-f" in words and words[0] in {"logs", "events"}
    )


def write_files(folder):
    """Writes the files that the examples name, except the bundle."""
    (folder / "hello.py").write_text(PROGRAM)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "lines.jsonl").write_text(PAYLOADS)
    (folder / "sizes.yaml").write_text("size: [1, 2]\n")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [nbformat.v4.new_code_cell("size = 1", metadata={"tags": ["parameters"]})]
    (folder / "notebooks").mkdir(exist_ok=True)
    for path in (folder / "hello.ipynb", folder / "notebooks" / "hello.ipynb"):
        nbformat.write(notebook, path)
