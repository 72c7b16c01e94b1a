"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A local folder, a hub id, or 'minilm' (the encoder of the demo).")
]
Text = Annotated[
    str | None, typer.Option("--text", "-t", help="The text. [[name|words]] marks a span in it.", show_default=False)
]
File = Annotated[
    Path | None, typer.Option("--file", "-f", help="Read the text from this UTF-8 file instead.", show_default=False)
]
Chat = Annotated[bool, typer.Option("--chat", help="Send the text as a user's message, in the model's chat template.")]
Device = Annotated[str, typer.Option(help="Where to run: cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16, or auto: as the model was saved.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
