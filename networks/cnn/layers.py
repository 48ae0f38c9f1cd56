"""Layers that several networks share."""

from torch import nn


def normalised_convolution(
    n_in: int, n_out: int, width: int, stride: int = 1, bias: bool = False
) -> list[nn.Module]:
    """A convolution with padding, and its batch normalisation, which has the bias.

    Its first weights are those of He et al. (2015). `bias`: one more in the convolution itself.

    ```python
    nn.Sequential(*normalised_convolution(3, 8, 3))(torch.zeros(2, 3, 16, 16)).shape
    ```
    """
    layer = nn.Conv2d(n_in, n_out, width, stride, width // 2, bias=bias)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return [layer, nn.BatchNorm2d(n_out)]
