"""XRAI: integrated gradients ranked by segments of the face, with PAIR's library.

References:
    Kapishnikov et al. (2019), XRAI: Better Attributions Through Regions, arXiv 1906.02825.
    Felzenszwalb & Huttenlocher (2004), Efficient Graph-Based Image Segmentation, IJCV: the segments.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ferlab.explanation.gradient_maps import integrated_gradients
from ferlab.explanation.passes import FACES_PER_GRADIENT

SIDE = 224  # pixels at which PAIR's constants hold: the face is segmented at this size
SCALES = (50, 100, 150, 250, 500, 1200)  # of Felzenszwalb's algorithm, for values of -1 to 1
SIGMA, SMALLEST = 0.8, 150  # blur before segmentation; pixels of a segment, at least
DILATION, GROWTH = 5, 50  # pixels by which a segment is dilated; new pixels it must add, at least


def xrai(module: nn.Module, images: Tensor, *, explained_class: Tensor, steps: int = 50, batch_size: int = FACES_PER_GRADIENT) -> Tensor:
    """XRAI: segments of the face in the order of their mean integrated gradient; signed.

    The integrated gradients are the mean over two baselines, the darkest and the brightest value of the face. PAIR's constants in pixels hold for
    faces of 224; they are scaled to the face, which at 48 pixels would otherwise be one segment.

    Args:
        module: Model in eval mode.
        images: Normalised faces (N, C, H, W) float32.
        explained_class: Class to explain per face (N,) int.
        steps: Points of the quadrature, per baseline.
        batch_size: Faces per forward and backward pass.

    Returns:
        (N, 1, H, W) float32: per pixel the mean integrated gradient of the pixels that its segment added, in units of the logit.
    """
    from saliency.core import XRAI, XRAIParameters  # Keep: it imports matplotlib, which the other methods do not need

    how = {"steps": steps, "batch_size": batch_size}
    parts = []
    for face, chosen in zip(images.split(1), explained_class.split(1), strict=True):
        ends = (float(face.min()), float(face.max()))
        parts.append(sum(integrated_gradients(module, face, explained_class=chosen, baseline=end, **how) for end in ends) / 2)
    asked = XRAIParameters()
    asked.experimental_params["min_pixel_diff"] = max(1, round(GROWTH * images.shape[2] * images.shape[3] / SIDE**2))
    maps = [
        XRAI().GetMask(base[0, 0].numpy(), None, segments=segment_face(face), base_attribution=base[0, 0].numpy(), extra_parameters=asked)
        for face, base in zip(images.cpu().numpy(), parts, strict=True)
    ]
    return torch.from_numpy(np.stack(maps).astype(np.float32))[:, None]


def segment_face(face: np.ndarray) -> list[np.ndarray]:
    """Return overlapping segments of a face (C, H, W) at six scales, as masks (H, W), as PAIR's XRAI has them at 224 pixels."""
    from skimage.morphology import dilation, disk
    from skimage.segmentation import felzenszwalb
    from skimage.transform import resize

    span = max(float(face.max() - face.min()), 1e-12)
    scaled = np.moveaxis(2 * (face - face.min()) / span - 1, 0, -1)  # (H, W, C), -1 to 1
    large = resize(scaled, (SIDE, SIDE), order=3, mode="constant", anti_aliasing=True)
    footprint = disk(max(1, round(DILATION * face.shape[1] / SIDE)))
    masks = []
    for scale in SCALES:
        labels = felzenszwalb(large, scale=scale, sigma=SIGMA, min_size=SMALLEST)
        small = resize(labels, face.shape[1:], order=0, preserve_range=True, mode="constant", anti_aliasing=False).astype(int)
        masks += [dilation(small == label, footprint=footprint) for label in np.unique(small)]
    return masks
