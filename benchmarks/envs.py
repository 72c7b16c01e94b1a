"""Install peers, each in an environment of its own: ``python -m benchmarks.envs [PEER ...]``."""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from .harness import ENVS, python_of

PEERS = {path.stem: path for path in sorted((Path(__file__).parent / "peers").glob("*.txt"))}


def install(peer: str) -> None:
    """Create the environment of a peer: the torch of this environment first, then the peer beside it."""
    torch = f"torch=={metadata.version('torch').split('+')[0]}"
    subprocess.run([sys.executable, "-m", "venv", str(ENVS / peer)], check=True)
    pip = [str(python_of(peer)), "-m", "pip", "install", "--quiet", torch]
    subprocess.run(pip, check=True)
    subprocess.run([*pip, "--requirement", str(PEERS[peer])], check=True)


def main() -> None:
    """Install the peers that are named, by default all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.envs", description=__doc__)
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"any of {', '.join(PEERS)}; all by default")
    asked = parser.parse_args().peers
    unknown = sorted(set(asked) - set(PEERS))
    if unknown:
        parser.error(f"there is no peer {', '.join(unknown)}; the peers are {', '.join(PEERS)}.")
    for peer in asked or PEERS:
        print(f"installing {peer} ...")
        install(peer)


if __name__ == "__main__":
    main()
