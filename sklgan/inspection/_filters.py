"""What filters of the discriminator answer to, and what a classifier makes of it."""

import numpy as np
import torch
from sklearn.utils import Bunch, check_array

from sklgan._features import pool
from sklgan._images import check_images
from sklgan._inference import check_gan, device_of
from sklgan._namespaces import without_namespace
from sklgan._placement import read_rows
from sklgan._tensors import as_tensor
from sklgan.inspection._checks import check_count
from sklgan.inspection._features_by_name import (
    activation_shapes,
    parse_features,
    peaks,
    receptive_fields,
)
from sklgan.inspection._guided_backprop import gradients_of, image_layout


def top_images(estimator, X, filters, *, n_images=9):
    """Find the images that filters of the discriminator answer to most.

    X is read once, batch by batch, and only the chosen images are kept, so that it may
    be larger than memory.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted.
    X : array-like, ImageSequence, or sequence of paths or of PIL images
        As in ``fit``.
    filters : str, tuple (layer, channel), or list of these
        ``(3, 17)`` or ``"conv3_ch017"``, the layer counted from 1 and the channel from
        0; a feature's name with row and column looks in that cell of the image alone.
    n_images : int, default=9
        Images a filter; all, where X has fewer.

    Returns
    -------
    top : :class:`~sklearn.utils.Bunch`
        With these attributes, the strongest image first:

        indices : ndarray of shape (n_filters, n_images), int64
            Rows of X; the earlier one of equals.
        responses : ndarray of shape (n_filters, n_images), float32
            The filter's maximum over its map.
        positions : ndarray of shape (n_filters, n_images, 2), int64
            Row and column of the map where that is; 0 for fully connected layers.
        boxes : ndarray of shape (n_filters, n_images, 4), int64, or None
            ``(top, left, bottom, right)``, the pixels that this position depends on, as
            :func:`receptive_fields` finds them. None for flat X.
        images : ndarray of shape (n_filters, n_images, ...)
            In the layout, dtype and range of the X given to ``fit``.
        crops : list of lists of ndarray, or None
            The pixels of the boxes, smaller at the borders. None for flat X.
        names : list of str
            One a filter.

    Raises
    ------
    ValueError
        If there is no such filter, or ``n_images`` is no int of at least 1.

    See Also
    --------
    TopImagesDisplay : Draw them.
    guided_backprop : The pixels in these images that matter.

    References
    ----------
    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013,
    section 4 (arXiv:1311.2901).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import top_images
    >>> X = load_digits().images[:100]
    >>> gan = DCGANFeatureExtractor(n_filters=4, max_epochs=2, random_state=0).fit(X)
    >>> top = top_images(gan, X, [(1, 0), (1, 3)], n_images=5)
    >>> top.names, top.images.shape
    (['conv1_ch000', 'conv1_ch003'], (2, 5, 8, 8))
    """
    check_gan(estimator)
    check_count("n_images", n_images, 1)
    features = parse_features(estimator, filters)
    rows = check_images(estimator, X, reset=False)
    responses, positions, indices = _strongest(estimator, rows, features, n_images)
    shapes = activation_shapes(estimator)
    widths = np.array([(*shapes[feature.layer - 1], 1, 1)[2] for feature in features])
    positions = np.stack(np.divmod(positions, widths[:, None]), axis=-1)
    images = _read(estimator, rows, indices)
    boxes = crops = None
    if estimator.image_shape_ is not None:
        boxes = _boxes(estimator, features, positions)
        crops = _crops(estimator, images, boxes)
    return Bunch(
        indices=indices,
        responses=responses,
        positions=positions,
        boxes=boxes,
        images=images,
        crops=crops,
        names=[feature.name for feature in features],
    )


def _strongest(estimator, rows, features, n_images):
    """Return responses, positions and indices, (n_features, n_images) each."""
    kept = [
        np.empty((len(features), 0), dtype)
        for dtype in (np.float32, np.int64, np.int64)
    ]

    def write(batch, activations, logits):
        found = [peaks(activations, feature) for feature in features]
        values, positions = (
            torch.stack(part).cpu().numpy() for part in zip(*found, strict=True)
        )
        indices = np.broadcast_to(np.arange(batch.start, batch.stop), values.shape)
        pool = [
            np.concatenate(pair, axis=1)
            for pair in zip(kept, (values, positions, indices), strict=True)
        ]
        # Stable, so that what is kept does not depend on the size of batches.
        order = np.argsort(-pool[0], axis=1, kind="stable")[:, :n_images]
        kept[:] = [np.take_along_axis(part, order, axis=1) for part in pool]

    estimator._discriminate(rows, write)
    return kept


def _read(estimator, rows, indices):
    """Return rows as images in the layout and dtype of the X given to ``fit``."""
    # Each is decoded once, and files are read in order.
    needed, where = np.unique(indices, return_inverse=True)
    images = np.asarray(without_namespace(read_rows(rows, needed)))
    images = images.astype(estimator._input_layout["dtype"], copy=False)
    return images[where].reshape(*indices.shape, *image_layout(estimator))


def _boxes(estimator, features, positions):
    """Return the receptive fields of positions, (n_features, n_images, 4)."""
    fields = {
        layer: receptive_fields(estimator, layer)
        for layer in {feature.layer for feature in features}
    }
    return np.stack(
        [
            fields[feature.layer][tuple(position.T)]
            for feature, position in zip(features, positions, strict=True)
        ]
    )


def _crops(estimator, images, boxes):
    """Return the boxes' pixels; those of flattened images have rows and columns."""
    height, width, channels = estimator.image_shape_
    if estimator._input_layout["ndim"] == 2:
        shape = (height, width) if channels == 1 else (height, width, channels)
        images = images.reshape(*images.shape[:2], *shape)
    return [
        [
            image[top:bottom, left:right]
            for image, (top, left, bottom, right) in zip(*pair, strict=True)
        ]
        for pair in zip(images, boxes, strict=True)
    ]


def filter_importance(estimator, coef, *, names=None):
    """Project the weights of a linear classifier back to the filters.

    A filter's importance for a class is the Euclidean norm of the weights of its
    features: the cells of its pooled map.

    Parameters
    ----------
    estimator : DCGANFeatureExtractor
        Fitted; the classifier was fitted on its features.
    coef : array-like of shape (n_classes, n_features_out) or (n_features_out,)
        The classifier's ``coef_``. Weights of features of different scales cannot be
        compared: put a ``StandardScaler`` between, and pass ``coef_`` as it is; or
        pass ``coef_ * features.std(axis=0)``.
    names : array-like of str, default=None
        Names of coef's columns, if they are only some of ``get_feature_names_out()``.

    Returns
    -------
    importance : ndarray of shape (n_classes, n_filters), float64
        Not negative.
    filters : list of str
        Names of its columns, such as ``"conv3_ch017"``, which :func:`guided_backprop`
        and :func:`top_images` take.

    Raises
    ------
    ValueError
        If coef has another number of columns, or a name is not a feature's.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import filter_importance
    >>> X = load_digits().images[:50]
    >>> gan = DCGANFeatureExtractor(n_filters=4, max_epochs=0).fit(X)
    >>> coef = np.zeros((10, 64))
    >>> coef[7, [16, 17]] = 3, -4  # conv1_ch001_r0_c0 and conv1_ch001_r0_c1
    >>> importance, filters = filter_importance(gan, coef)
    >>> filters
    ['conv1_ch000', 'conv1_ch001', 'conv1_ch002', 'conv1_ch003']
    >>> importance[7].tolist()
    [0.0, 5.0, 0.0, 0.0]
    """
    coef, chosen = _check_coef(estimator, coef, names)
    owners = [
        name.rpartition("_r")[0] or name
        for name in estimator.get_feature_names_out()[chosen]
    ]
    filters = list(dict.fromkeys(owners))
    places = {name: k for k, name in enumerate(filters)}
    squares = np.zeros((len(filters), len(coef)))
    np.add.at(squares, [places[owner] for owner in owners], coef.T**2)
    return np.sqrt(squares.T), filters


def decision_map(estimator, X, coef=None, *, scale=None, names=None, guided=True):
    """Project a linear classifier's decision back to the pixels of each image.

    The gradient of the decision with respect to the image, through the pooled features:
    a heat map an image and class. See :func:`guided_backprop`; guided, it shows what
    speaks for a class, while the plain gradient also shows what speaks against it.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted; a :class:`~sklgan.DCGANFeatureExtractor` where coef is given.
    X : array-like, ImageSequence, or sequence of paths or of PIL images
        As in ``fit``.
    coef : array-like of shape (n_classes, n_features_out) or (n_features_out,), \
default=None
        The classifier's ``coef_``; some of its rows are enough. None takes the
        discriminator's own logits: how real, or one a class or cluster.
    scale : array-like of shape (n_features_out,), default=None
        By which features were divided before the classifier: ``scale_`` of a
        ``StandardScaler``. None if they were not.
    names : array-like of str, default=None
        Names of coef's columns, if they are only some of ``get_feature_names_out()``.
    guided : bool, default=True
        False returns the gradient itself.

    Returns
    -------
    maps : ndarray of shape (n_samples, n_classes, ...), float32
        Change of the decision by unit of X, in the layout of X.
    decisions : ndarray of shape (n_samples, n_classes), float32
        What was differentiated: the classifier's ``decision_function`` without what
        does not depend on the image (intercept, and mean of a scaler); the logits.

    Raises
    ------
    ValueError
        If coef or scale has another number of columns, or a name is not a feature's.

    See Also
    --------
    filter_importance : The same, to the filters.

    References
    ----------
    Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks", 2013, section
    3 (arXiv:1312.6034), for the gradient of a class score.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.svm import LinearSVC
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import decision_map
    >>> X, y = load_digits().images[:50], load_digits().target[:50]
    >>> gan = DCGANFeatureExtractor(n_filters=4, max_epochs=0, random_state=0).fit(X)
    >>> svm = LinearSVC().fit(gan.transform(X), y)
    >>> maps, decisions = decision_map(gan, X[:5], svm.coef_)
    >>> maps.shape
    (5, 10, 8, 8)
    """
    check_gan(estimator)
    if coef is None:
        if scale is not None or names is not None:
            raise ValueError("scale and names belong to coef, which was not given.")
        n_outputs = estimator._architecture["n_outputs"]
        return gradients_of(
            estimator, X, lambda _, logits: logits, n_outputs, guided=guided
        )
    coef, chosen = _check_coef(estimator, coef, names)
    if scale is not None:
        coef = coef / _check_scale(scale, coef.shape[1])
    weights = np.zeros((estimator._n_features_out, len(coef)), dtype=np.float32)
    np.add.at(weights, chosen, coef.T)
    weights = as_tensor(weights).to(device_of(estimator.discriminator_))

    def decide(activations, logits):
        layers = zip(estimator.layers_, estimator._feature_shapes, strict=True)
        features = [pool(activations[k - 1], shape).flatten(1) for k, shape in layers]
        return torch.cat(features, dim=1) @ weights

    return gradients_of(estimator, X, decide, len(coef), guided=guided)


def _check_coef(estimator, coef, names):
    """Return coef in two dimensions, float64, and which features its columns are."""
    check_gan(estimator)
    if not hasattr(estimator, "get_feature_names_out"):
        raise TypeError(
            f"{type(estimator).__name__} has no features that a classifier could be "
            "fitted on; weights are projected back through a DCGANFeatureExtractor."
        )
    coef = np.atleast_2d(check_array(coef, ensure_2d=False, input_name="coef"))
    known = estimator.get_feature_names_out()
    places = {name: k for k, name in enumerate(known)}
    if names is None:
        names = known
    elif isinstance(names, str):
        names = [names]
    unknown = next((name for name in names if name not in places), None)
    if unknown is not None:
        raise ValueError(
            f"{unknown!r} is not among the estimator's get_feature_names_out()."
        )
    if coef.shape[1] != len(names):
        raise ValueError(
            f"coef has {coef.shape[1]} columns, but there are {len(names)} features; "
            "if the classifier saw only some, pass their names."
        )
    return coef, np.array([places[name] for name in names])


def _check_scale(scale, n_columns):
    """Return the scale of coef's columns, or say why it cannot be."""
    scale = check_array(scale, ensure_2d=False, input_name="scale")
    if scale.shape != (n_columns,) or not (scale > 0).all():
        raise ValueError(
            f"scale of shape {scale.shape} should have a positive number for each of "
            f"coef's {n_columns} columns, such as scale_ of a StandardScaler."
        )
    return scale
