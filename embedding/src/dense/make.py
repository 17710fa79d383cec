"""Generates `products.pt`: matrix products of dense layers that only TorchScript can call.

    python embedding/src/dense/make.py      (torch 2.11.0)

libtorch exposes oneDNN's products of packed matrices as operators (`mkldnn::`, `onednn::`) that
`tch` does not wrap. A TorchScript module can call them. It has neither weights nor state.
"""

import io
import pathlib
import zipfile

import torch


class Products(torch.nn.Module):
    @torch.jit.export
    def pack(self, weight: torch.Tensor) -> torch.Tensor:
        # The number of rows is only a hint: the layout supports any number.
        return torch.ops.mkldnn._reorder_linear_weight(weight, 1024)

    @torch.jit.export
    def plain(self, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")

    @torch.jit.export
    def gelu(self, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "gelu", [], "none")

    @torch.jit.export
    def gelu_tanh(self, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "gelu", [], "tanh")

    @torch.jit.export
    def relu(self, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "relu", [], "")

    @torch.jit.export
    def silu(self, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "swish", [], "")

    @torch.jit.export
    def pack_int8(self, weight: torch.Tensor) -> torch.Tensor:
        return torch.ops.onednn.qlinear_prepack(weight, [1024, weight.size(1)])

    @torch.jit.export
    def int8(
        self,
        rows: torch.Tensor,
        weight: torch.Tensor,
        scale: torch.Tensor,
        zero: torch.Tensor,
        bias: torch.Tensor,
    ) -> torch.Tensor:
        # Each row is scaled by its largest value, so its result does not depend on other rows. The
        # zero point is 128, because not every processor multiplies two signed int8 values.
        most = torch.maximum(rows.amax(1, True), rows.amin(1, True).neg_()).clamp_min_(1e-12)
        small = (rows * (127.0 / most)).add_(128.5).to(torch.uint8)
        product = torch.ops.onednn.qlinear_pointwise(
            small, 1.0, 128, weight, scale, zero, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return product.mul_(most).add_(bias)


made = io.BytesIO()
torch.jit.save(torch.jit.script(Products()), made)
with (
    zipfile.ZipFile(made) as all_of_it,
    zipfile.ZipFile(pathlib.Path(__file__).with_name("products.pt"), "w") as wanted,
):
    for member in all_of_it.infolist():
        # Drop members that contain the path of this file, so that the output is reproducible.
        if not member.filename.endswith((".debug_pkl", "serialization_id")):
            wanted.writestr(zipfile.ZipInfo(member.filename), all_of_it.read(member))
