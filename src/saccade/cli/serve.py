"""``saccade serve``: the viewer on a page of this machine, with a model behind it."""

from __future__ import annotations

from typing import Annotated

import typer

from . import models, options
from .output import errors


def serve(
    model: options.Model,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 8765,
    tokens: Annotated[int, typer.Option(min=1, help="Longest prompt, in tokens.")] = 4096,
    new_tokens: Annotated[int, typer.Option(min=1, help="Most tokens to generate.")] = 128,
    seconds: Annotated[float, typer.Option(min=0.1, help="Longest time to generate.")] = 30.0,
    device: options.Device = "cpu",
    dtype: options.Dtype = "float32",
) -> None:
    """Type a prompt, mark words, drag a strength, and see text and masses with and without the edit.

    Serves this machine only, one request at a time; what is larger than the limits is refused with the reason.

    [dim]saccade serve reader[/]
    """
    from saccade.viewer.serve import Limits, create_app

    loaded = models.load(model, device, dtype)
    app = create_app(loaded.host, Limits(tokens=tokens, new_tokens=new_tokens, seconds=seconds))
    import uvicorn

    errors().print(f"{model} at http://127.0.0.1:{port} (Ctrl-C ends it)", highlight=False)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
