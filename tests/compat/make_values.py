"""Asks the installed peers and writes `tests/compat/values/PEER.json`.

    python -m tests.compat.make_values monai

One function a peer, which returns the versions asked and the cases; see `tests.compat.stored`.
"""

import sys
from importlib.metadata import version

from tests.compat import stored


def monai():
    """MONAI's losses."""
    from tests.compat import monai_cases as asked

    return _with(stored.ask_torch, asked.peer, asked.CASES, ("monai", "torch"))


def cuvis():
    """The loss nodes of cuvis-ai."""
    from tests.compat import cuvis_cases as asked

    return _with(stored.ask_torch, asked.peer, asked.CASES, ("cuvis-ai", "torch"))


def _with(ask, peer, cases, names):
    answers = [
        stored.record(*case, ask(peer(case[0], case[1]), stored.array(case[2]))) for case in cases
    ]
    return {name: version(name) for name in names}, answers


def smp():
    """The losses of segmentation-models-pytorch."""
    from tests.compat import smp_cases as asked

    names = ("segmentation-models-pytorch", "torch")
    return _with(stored.ask_torch, asked.peer, asked.CASES, names)


def kornia():
    """kornia's losses."""
    from tests.compat import kornia_cases as asked

    return _with(stored.ask_torch, asked.peer, asked.CASES, ("kornia", "torch"))


def torchvision():
    """torchvision's focal loss, derived anew from PyTorch's binary cross entropy."""
    from tests.compat import torchvision_cases as asked

    return _with(stored.ask_torch, asked.peer, asked.CASES, ("torch",))


def optax():
    """optax's losses."""
    from tests.compat import optax_cases as asked

    return _with(stored.ask, asked.peer, asked.CASES, ("optax", "jax"))


def exacta():
    """exacta's losses."""
    from tests.compat import exacta_cases as asked

    return _with(stored.ask_torch, asked.peer, asked.CASES, ("exacta", "torch"))


PEERS = {
    "monai": monai,
    "cuvis": cuvis,
    "smp": smp,
    "kornia": kornia,
    "torchvision": torchvision,
    "optax": optax,
    "exacta": exacta,
}


def main(peers):
    """Writes the files of the peers named, or of all."""
    for peer in peers or PEERS:
        source, cases = PEERS[peer]()
        stored.save(peer, source, cases)
        print(f"{peer}: {len(cases)} cases")


if __name__ == "__main__":
    main(sys.argv[1:])
