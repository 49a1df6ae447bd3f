"""The training step of the 3D U-Net against the same network in PyTorch, on the CPU, in one run.

    python -m lossbench.bench.unet_against_torch [--rounds 15] [--threads 2]

Value and gradient of the cross entropy with respect to the parameters, without an optimizer.
PyTorch is no dependency of lossbench: install `torch` (a CPU build will do) in the same
environment. Both networks start from the same parameters, and the script stops if their losses
differ. Their steps alternate, so that whatever else the machine does falls on both. PyTorch runs
in both its memory layouts.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossbench.models import UNet

SHAPE = (2, 48, 64, 48, 1)
CLASSES = 3
FEATURES = (8, 16, 32)


def jax_step(image: np.ndarray, labels: np.ndarray) -> tuple[Callable[[], float], dict, float]:
    """Compile the step; return it with its arguments, the parameters, the seconds it took."""
    model = UNet(num_classes=CLASSES, dims=3, features=FEATURES)
    variables = jax.jit(model.init)(jax.random.key(0), image)

    def loss(variables, image, labels):
        outputs: Any = model.apply(variables, image)
        logits = outputs["logits"]
        planes = [logits[..., i] for i in range(CLASSES)]
        top = jnp.maximum(jnp.maximum(planes[0], planes[1]), planes[2])
        normalizer = top + jnp.log(sum(jnp.exp(plane - top) for plane in planes))
        picked = sum(jnp.where(labels == i, plane, 0.0) for i, plane in enumerate(planes))
        return (normalizer - picked).mean()

    arguments = (variables, jnp.asarray(image), jnp.asarray(labels))
    start = time.perf_counter()
    step = jax.jit(jax.value_and_grad(loss)).lower(*arguments).compile()
    seconds = time.perf_counter() - start

    def run() -> float:
        value, _ = jax.block_until_ready(step(*arguments))
        return float(value)

    return run, variables["params"], seconds


def torch_step(
    torch: Any, image: np.ndarray, labels: np.ndarray, params: dict, channels_last: bool
) -> Callable[[], float]:
    """The same network, with the same parameters, as PyTorch modules."""
    nn = torch.nn

    def tensor(array, *order):
        return nn.Parameter(torch.from_numpy(np.array(array).transpose(order).copy()))

    def block(p):
        layers = []
        for i in range(2):
            taps, bias = np.asarray(p[f"kernel_{i}"]), p[f"bias_{i}"]
            conv = nn.Conv3d(taps.shape[3], taps.shape[4], 3, padding=1, bias=False)
            conv.weight = tensor(taps, 4, 3, 0, 1, 2)
            norm = nn.InstanceNorm3d(taps.shape[4], affine=True)
            norm.weight, norm.bias = tensor(p[f"scale_{i}"], 0), tensor(bias, 0)
            layers += [conv, norm, nn.LeakyReLU(0.01, inplace=True)]
        return nn.Sequential(*layers)

    def up(p, width):
        layer = nn.ConvTranspose3d(p["kernel"].shape[0], width, 2, stride=2, bias=False)
        layer.weight = tensor(p["kernel"], 0, 4, 1, 2, 3)
        return layer

    class Peer(nn.Module):
        def __init__(self):
            super().__init__()
            levels = range(len(FEATURES))
            self.down = nn.ModuleList(block(params[f"encode_{i}"]) for i in levels)
            self.up = nn.ModuleList(up(params[f"double_{i}"], FEATURES[i]) for i in levels[:-1])
            self.decode = nn.ModuleList(block(params[f"decode_{i}"]) for i in levels[:-1])
            self.head = nn.Conv3d(FEATURES[0], CLASSES, 1)
            head = params["head_1"]
            self.head.weight = tensor(head["kernel"][..., None, None, None], 1, 0, 2, 3, 4)
            self.head.bias = tensor(head["bias"], 0)

        def forward(self, x):
            skips = []
            for i, level in enumerate(self.down):
                if i:
                    skips.append(x)
                    x = nn.functional.max_pool3d(x, 2)
                x = level(x)
            for i in reversed(range(len(skips))):
                x = self.decode[i](torch.cat([skips[i], self.up[i](x)], 1))
            return self.head(x)

    peer = Peer()
    x = torch.from_numpy(np.moveaxis(image, -1, 1).copy())
    y = torch.from_numpy(labels.astype(np.int64))
    if channels_last:
        peer = peer.to(memory_format=torch.channels_last_3d)
        x = x.to(memory_format=torch.channels_last_3d)

    def run() -> float:
        peer.zero_grad()
        value = nn.functional.cross_entropy(peer(x), y)
        value.backward()
        return value.item()

    return run


def main() -> None:
    """Measure, and print one line a contestant."""
    parser = argparse.ArgumentParser(description="The 3D U-Net's training step against PyTorch's.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        sys.exit("PyTorch is not installed; `pip install torch` adds the peer of this comparison")
    torch.set_num_threads(options.threads)

    random = np.random.default_rng(0)
    image = random.standard_normal(SHAPE, dtype=np.float32)
    labels = random.integers(0, CLASSES, SHAPE[:-1], dtype=np.int32)
    ours, params, compile_seconds = jax_step(image, labels)
    steps = {
        "lossbench": ours,
        "torch, channels first": torch_step(torch, image, labels, params, False),
        "torch, channels last": torch_step(torch, image, labels, params, True),
    }
    losses = {name: step() for name, step in steps.items()}
    if max(losses.values()) - min(losses.values()) > 1e-4:
        sys.exit(f"the networks are not equal; their losses are {losses}")
    took: dict[str, list[float]] = {name: [] for name in steps}
    busy: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            start, start_busy = time.perf_counter(), time.process_time()
            step()
            took[name].append(1e3 * (time.perf_counter() - start))
            busy[name].append(1e3 * (time.process_time() - start_busy))
    print(f"jax {jax.__version__}, torch {torch.__version__}, {options.threads} threads")
    for name, times in took.items():
        print(
            f"{name:22} median {statistics.median(times):5.0f} ms, fastest {min(times):5.0f} ms, "
            f"all cores together {statistics.median(busy[name]):5.0f} ms"
        )
    for name in list(steps)[1:]:
        ratio = statistics.median(a / b for a, b in zip(took["lossbench"], took[name], strict=True))
        print(f"lossbench / {name}: {ratio:.2f}")
    print(f"lossbench compiled in {compile_seconds:.1f} s")


if __name__ == "__main__":
    main()
