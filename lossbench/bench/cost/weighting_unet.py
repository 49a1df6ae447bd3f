"""Our U-Net (in 2D and 3D, instance norm, no shortcuts) as PyTorch modules, channels first."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def network(torch: Any, params: Mapping[str, Any]) -> Any:
    """The network with the same parameters; its last layer is `head`.

    Args:
        torch: the module PyTorch.
        params: of `UNet`, without residuals and deep supervision.
    """
    nn = torch.nn
    dims = np.ndim(params["encode_0"]["kernel_0"]) - 2
    space = tuple(range(2, 2 + dims))
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
    norm = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dims]
    transposed = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[dims]
    pool = {2: nn.functional.max_pool2d, 3: nn.functional.max_pool3d}[dims]
    levels = sum(name.startswith("encode_") for name in params)

    def tensor(array: Any, *order: int) -> Any:
        return nn.Parameter(torch.from_numpy(np.array(array).transpose(order).copy()))

    def block(part: Mapping[str, Any]) -> Any:
        layers = []
        for i in range(2):
            taps = np.asarray(part[f"kernel_{i}"])
            layer = convolution(*taps.shape[-2:], 3, padding=1, bias=False)
            layer.weight = tensor(taps, dims + 1, dims, *range(dims))
            scaled = norm(taps.shape[-1], affine=True)
            scaled.weight, scaled.bias = tensor(part[f"scale_{i}"], 0), tensor(part[f"bias_{i}"], 0)
            layers += [layer, scaled, nn.LeakyReLU(0.01, inplace=True)]
        return nn.Sequential(*layers)

    def double(part: Mapping[str, Any]) -> Any:
        kernel = part["kernel"]
        layer = transposed(kernel.shape[0], kernel.shape[-1], 2, stride=2, bias=False)
        layer.weight = tensor(kernel, 0, dims + 1, *range(1, dims + 1))
        return layer

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.ModuleList(block(params[f"encode_{i}"]) for i in range(levels))
            self.widen = nn.ModuleList(double(params[f"double_{i}"]) for i in range(levels - 1))
            self.decode = nn.ModuleList(block(params[f"decode_{i}"]) for i in range(levels - 1))
            head = params["head_1"]
            self.head = convolution(*np.shape(head["kernel"]), 1)
            kernel = np.expand_dims(np.asarray(head["kernel"]).T, space)
            self.head.weight = tensor(kernel, *range(kernel.ndim))
            self.head.bias = tensor(head["bias"], 0)

        def forward(self, x: Any) -> Any:
            skips = []
            for i, level in enumerate(self.encode):
                if i:
                    skips.append(x)
                    x = pool(x, 2)
                x = level(x)
            for i in reversed(range(len(skips))):
                x = self.decode[i](torch.cat([skips[i], self.widen[i](x)], 1))
            return self.head(x)

    return UNet()
