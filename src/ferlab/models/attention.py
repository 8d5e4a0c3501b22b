"""The attentional model that cs230 names for future work: a spatial transformer before four small convolutions, on 48x48 grey faces.

| model | source: parameters, accuracy | here: trainable (with running statistics) |
|---|---|---|
| attention_cnn | not stated, 70.02 % | 66,877 (66,897) |

A localisation network predicts an affine map, by which the face is resampled before it enters the classifier. Both are trained from the
labels alone; the initial map is the identity.

References:
    Minaee & Abdolrashidi (2019), Deep-Emotion: Facial Expression Recognition Using Attentional Convolutional Network, arXiv 1902.01019.
    Jaderberg, Simonyan, Zisserman & Kavukcuoglu (2015), Spatial Transformer Networks, arXiv 1506.02025.
    Widths and kernels, which the text does not give: the reimplementation github.com/omarsayed7/Deep-Emotion, deep_emotion.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ferlab.models.layers import numbered, sequential


def attention_cnn(num_classes: int = 7, in_channels: int = 1, *, dropout: float = 0.5) -> nn.Module:
    """Build a spatial transformer, four 3x3x10 convolutions without padding, a 2x2 pool after each second, FC 50 and the classes.

    Args:
        dropout: Rate before the hidden layer.
    """
    return sequential(
        {"transformer": SpatialTransformer(in_channels)},
        numbered(1, conv=nn.Conv2d(in_channels, 10, 3), relu=nn.ReLU()),
        numbered(2, conv=nn.Conv2d(10, 10, 3), relu=nn.ReLU(), pool=nn.MaxPool2d(2)),  # (N, 10, 22, 22)
        numbered(3, conv=nn.Conv2d(10, 10, 3), relu=nn.ReLU()),
        # ReLU before the pool: the values are the same, and Grad-CAM's map is twice as fine
        numbered(4, conv=nn.Conv2d(10, 10, 3), bn=nn.BatchNorm2d(10), relu=nn.ReLU(), pool=nn.MaxPool2d(2)),  # (N, 10, 9, 9)
        dropout=nn.Dropout(dropout),
        flatten=nn.Flatten(),
        fc1=nn.Linear(10 * 9 * 9, 50),
        relu5=nn.ReLU(),
        logits=nn.Linear(50, num_classes),
    )


class SpatialTransformer(nn.Module):
    """Resample faces, float32 (N, C, 48, 48), by an affine map predicted from each; outside the face is 0, the mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.localisation = sequential(
            numbered(1, conv=nn.Conv2d(channels, 8, 7), pool=nn.MaxPool2d(2), relu=nn.ReLU()),  # (N, 8, 21, 21)
            numbered(2, conv=nn.Conv2d(8, 10, 5), pool=nn.MaxPool2d(2), relu=nn.ReLU()),  # (N, 10, 8, 8)
            flatten=nn.Flatten(),
            fc1=nn.Linear(10 * 8 * 8, 32),
            relu3=nn.ReLU(),
            affine=nn.Linear(32, 6),
        )
        nn.init.zeros_(self.localisation.affine.weight)
        with torch.no_grad():
            self.localisation.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))

    def forward(self, faces: Tensor) -> Tensor:
        """Return the resampled faces, in the same shape."""
        return F.grid_sample(faces, self.grid(faces), align_corners=False)

    def grid(self, faces: Tensor) -> Tensor:
        """Return the sampling grid, (N, H, W, 2) as x and y; -1 and 1 are the edges of the face.

        Keep: `affine_grid` under autocast computes the grid in half precision, up to a tenth of a pixel off; here only the six numbers are.
        """
        affine = self.localisation(faces).view(-1, 2, 1, 1, 3)
        height, width = faces.shape[2:]
        y = ((torch.arange(height, device=faces.device) * 2 + 1) / height - 1).to(faces.dtype).view(1, 1, height, 1)
        x = ((torch.arange(width, device=faces.device) * 2 + 1) / width - 1).to(faces.dtype).view(1, 1, 1, width)
        places = affine[..., 0] * x + affine[..., 1] * y + affine[..., 2]  # (N, 2, H, W)
        return places.permute(0, 2, 3, 1)
