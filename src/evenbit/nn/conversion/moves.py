"""ATen ops that move, leave out or repeat numbers and do nothing else to them."""

import torch

aten = torch.ops.aten

MOVES = (
    aten.channel_shuffle.default,
    aten.chunk.default,
    aten.expand.default,
    aten.flatten.using_ints,
    aten.flip.default,
    aten.movedim.int,
    aten.movedim.intlist,
    aten.narrow.default,
    aten.native_channel_shuffle.default,
    aten.permute.default,
    aten.pixel_shuffle.default,
    aten.pixel_unshuffle.default,
    aten.repeat.default,
    aten.reshape.default,
    aten.roll.default,
    aten.select.int,
    aten.slice.Tensor,
    aten.split.Tensor,
    aten.split.sizes,
    aten.split_with_sizes.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.t.default,
    aten.transpose.int,
    aten.unbind.int,
    aten.unflatten.int,
    aten.unsqueeze.default,
    aten.upsample_nearest1d.vec,
    aten.upsample_nearest2d.vec,
    aten._upsample_nearest_exact1d.vec,
    aten._upsample_nearest_exact2d.vec,
    aten.view.default,
)
