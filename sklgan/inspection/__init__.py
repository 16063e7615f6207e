"""Look inside a fitted GAN: its latent space, its filters, what it has memorised.

All of it takes a fitted GAN estimator, and takes and returns images in the layout,
dtype and range of the X given to ``fit``.
"""

from sklgan.inspection._ablation import generate_without, object_filters
from sklgan.inspection._copies import CopyFigures
from sklgan.inspection._directions import directions
from sklgan.inspection._encoder import LatentEncoder, fit_encoder
from sklgan.inspection._features_by_name import receptive_fields
from sklgan.inspection._filters import decision_map, filter_importance, top_images
from sklgan.inspection._filters_display import GuidedBackpropDisplay, TopImagesDisplay
from sklgan.inspection._guided_backprop import guided_backprop, untrained_copy
from sklgan.inspection._latent import interpolate, traverse, vector_arithmetic
from sklgan.inspection._latent_displays import InterpolationDisplay, TraversalDisplay
from sklgan.inspection._memorization import MemorizationReport, memorization_report
from sklgan.inspection._memorization_display import MemorizationDisplay
from sklgan.inspection._neighbors import nearest_samples
from sklgan.inspection._project import project

__all__ = [
    "CopyFigures",
    "GuidedBackpropDisplay",
    "InterpolationDisplay",
    "LatentEncoder",
    "MemorizationDisplay",
    "MemorizationReport",
    "TopImagesDisplay",
    "TraversalDisplay",
    "decision_map",
    "directions",
    "filter_importance",
    "fit_encoder",
    "generate_without",
    "guided_backprop",
    "interpolate",
    "memorization_report",
    "nearest_samples",
    "object_filters",
    "project",
    "receptive_fields",
    "top_images",
    "traverse",
    "untrained_copy",
    "vector_arithmetic",
]
