"""Makes `products.pt`, the products of dense layers that only TorchScript reaches.

    python embedding/src/dense/make.py      (torch 2.11.0)

libtorch has oneDNN's products of packed matrices as operators of its own (`mkldnn::`, `onednn::`), which are not among
the functions that `tch` wraps. A TorchScript module may call them. It has neither weights nor state.
"""

import io
import pathlib
import zipfile

import torch


class Products(torch.nn.Module):
    @torch.jit.export
    def pack(self, weight: torch.Tensor) -> torch.Tensor:
        # The rows are a hint only: the layout serves any number of them.
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
        # Each row has a scale of its own, from its largest number: what a row becomes does not depend on its
        # neighbours. 128 stands for zero, because not every processor multiplies two signed numbers.
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
        # Without what says where this file was: the same module comes out wherever it is made.
        if not member.filename.endswith((".debug_pkl", "serialization_id")):
            wanted.writestr(zipfile.ZipInfo(member.filename), all_of_it.read(member))
